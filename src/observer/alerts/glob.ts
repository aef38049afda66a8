/** Names with `*`, as rules have them: `shop/*`, `*` + `/web`. `*` is any run of characters but `/`; alone it is everything. */

export function matchesGlob(pattern: string, name: string): boolean {
  if (pattern === '*') return true
  // Each star is tried once more from where it last held: no more than the product of both lengths.
  let at = 0
  let inName = 0
  let star = -1
  let heldTo = 0
  while (inName < name.length) {
    if (pattern[at] === '*') {
      star = at++
      heldTo = inName
    } else if (at < pattern.length && pattern[at] === name[inName]) {
      at++
      inName++
    } else if (star >= 0 && name[heldTo] !== '/') {
      at = star + 1
      inName = ++heldTo
    } else return false
  }
  while (pattern[at] === '*') at++
  return at === pattern.length
}

/** It can only mean one. */
export function isExact(pattern: string): boolean {
  return !pattern.includes('*')
}
