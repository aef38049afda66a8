/** Percent-decoded; text that is no percent-encoded UTF-8 stays as it was sent. */
export function percentDecoded(text: string): string {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
