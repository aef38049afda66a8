/** Path and query of an older version → those of the newest. What no rule names stays as it was sent, byte for byte. */
import { percentDecoded } from '#base'
import type { QueryTranslation } from '#contract'
import type { VersionPlan } from './plan.ts'
import { hasPrefix } from './recognise.ts'

type Prefixes = VersionPlan['prefixes']

/** The longest prefix that fits is replaced; the asterisk form of OPTIONS names no path and stays. */
export function translatePath(prefixes: Prefixes, path: string): string {
  if (path === '*') return path
  for (const { from, to } of prefixes) if (hasPrefix(path, from)) return to + path.slice(from.length) || '/'
  return path
}

/** Back; undefined when no prefix fits. */
export function restorePath(prefixes: Prefixes, path: string): string | undefined {
  let best: Prefixes[number] | undefined
  for (const prefix of prefixes) {
    if (hasPrefix(path, prefix.to) && (best === undefined || prefix.to.length > best.to.length)) best = prefix
  }
  return best && (best.from + path.slice(best.to.length) || '/')
}

/**
 * Location or Content-Location of an answer (RFC 9110 sections 10.2.2 and 8.7) in the paths of the older version; what
 * leads to another authority than the request's stays as it is.
 */
export function restoreLocation(prefixes: Prefixes, location: string, authority: string): string {
  const origin = /^https?:\/\/([^/?#]*)/i.exec(location)
  if (origin !== null && origin[1]?.toLowerCase() !== authority.toLowerCase()) return location
  const start = origin?.[0].length ?? 0
  if (location.charCodeAt(start) !== 47 || location.startsWith('//', start)) return location
  const rest = location.slice(start).search(/[?#]/)
  const end = rest < 0 ? location.length : start + rest
  const restored = restorePath(prefixes, location.slice(start, end))
  return restored === undefined ? location : location.slice(0, start) + restored + location.slice(end)
}

/** Renames, then removes, then adds what is missing. */
export function translateQuery({ rename, remove, default: defaults }: QueryTranslation, query: string): string {
  const parts: string[] = []
  const present = new Set<string>()
  for (const part of query === '' ? [] : query.split('&')) {
    const equals = part.indexOf('=')
    const name = percentDecoded(equals < 0 ? part : part.slice(0, equals))
    const to = rename.find(({ from }) => from === name)?.to ?? name
    if (remove.includes(to)) continue
    present.add(to)
    parts.push(to === name ? part : encodeURIComponent(to) + (equals < 0 ? '' : part.slice(equals)))
  }
  for (const { name, value } of defaults) {
    if (!present.has(name)) parts.push(`${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
  }
  return parts.join('&')
}
