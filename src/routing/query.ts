/** Reads one parameter of a raw query string, without building a table of all of them. */
import { percentDecoded } from '#base'

/**
 * The first value of a parameter, percent-decoded; undefined when the parameter is absent, empty for
 * a name without `=`. A `+` stays a plus sign (RFC 3986; decoding it as a space is a habit of HTML
 * forms), and a sequence that is not valid percent-encoded UTF-8 stays as it was sent.
 */
export function firstQueryValue(query: string, name: string): string | undefined {
  let from = 0
  while (from < query.length) {
    let to = query.indexOf('&', from)
    if (to < 0) to = query.length
    let equals = query.indexOf('=', from)
    if (equals < 0 || equals > to) equals = to
    if (isNamed(query, from, equals, name)) return percentDecoded(query.slice(Math.min(equals + 1, to), to))
    from = to + 1
  }
  return undefined
}

function isNamed(query: string, from: number, to: number, name: string): boolean {
  if (to - from === name.length) return query.startsWith(name, from)
  // Encoding only ever makes a name longer.
  if (to - from < name.length) return false
  const raw = query.slice(from, to)
  return raw.includes('%') && percentDecoded(raw) === name
}
