/** Names in a sentence: the first few, and how many more. */
const MAX_NAMES = 5

export function listed(names: readonly string[]): string {
  if (names.length <= MAX_NAMES) return names.join(', ')
  return `${names.slice(0, MAX_NAMES).join(', ')} and ${names.length - MAX_NAMES} more`
}
