/** Which version of an API a request is of: by its path, then a header, then its Content-Type, then what it accepts. */
import type { HttpFacts, VersionMatch } from '#contract'
import { type MediaType, parseAccept, parseMediaType } from './media-type.ts'
import type { VersioningPlan, VersionPlan } from './plan.ts'

export interface Recognised {
  /** Undefined when it names none and there is no default, or names one that is not declared. */
  readonly version: VersionPlan | undefined
  /** What told of it, in words; `named` tells a version that is not declared. */
  readonly by: string
  readonly kind: 'declared' | 'default' | 'none' | 'unknown'
}

const NONE: Recognised = Object.freeze({ version: undefined, by: 'it names no version', kind: 'none' })

export function recogniseVersion(plan: VersioningPlan, facts: HttpFacts): Recognised {
  const byPath = matchPath(plan, facts.path)
  if (byPath !== undefined) return byPath
  let unknown = ''
  for (const name of plan.headers) {
    const value = facts.header(name)?.trim()
    if (value === undefined || value === '') continue
    for (const version of plan.versions) {
      if (version.matches.some((match) => match.type === 'Header' && match.name === name && match.value === value))
        return { version, by: `header ${name}: ${value}`, kind: 'declared' }
    }
    if (unknown === '') unknown = `header ${name}: ${value}`
  }
  if (plan.mediaTypes) {
    const contentType = facts.header('content-type')
    const sent = contentType === undefined ? undefined : parseMediaType(contentType)
    if (sent !== undefined) {
      const version = firstOf(plan, sent)
      if (version !== undefined) return { version, by: `content-type: ${sent.name}`, kind: 'declared' }
      if (unknown === '') unknown = undeclaredParameter(plan, sent, 'content-type')
    }
    const accept = facts.header('accept')
    if (accept !== undefined) {
      const ranges = parseAccept(accept).sort((a, b) => b.q - a.q)
      const accepted = bestAccepted(plan, ranges)
      if (accepted !== undefined) return accepted
      for (const range of ranges)
        if (unknown === '' && range.q > 0) unknown = undeclaredParameter(plan, range, 'accept')
    }
  }
  if (unknown !== '') return { version: undefined, by: unknown, kind: 'unknown' }
  const { otherwise } = plan
  return otherwise === undefined ? NONE : { version: otherwise, by: 'it names no version', kind: 'default' }
}

/** The longest prefix of whole path elements. */
function matchPath(plan: VersioningPlan, path: string): Recognised | undefined {
  for (const { prefix, version } of plan.prefixes) {
    if (hasPrefix(path, prefix)) return { version, by: `path prefix ${prefix === '' ? '/' : prefix}`, kind: 'declared' }
  }
  return undefined
}

/** `prefix` without a slash at its end. */
export function hasPrefix(path: string, prefix: string): boolean {
  return path.startsWith(prefix) && (path.length === prefix.length || path.charCodeAt(prefix.length) === 47)
}

/** Of the highest weight; of several of the same weight the version that is declared first. */
function bestAccepted(plan: VersioningPlan, ranges: readonly MediaType[]): Recognised | undefined {
  let best: { readonly version: VersionPlan; readonly range: MediaType } | undefined
  for (const range of ranges) {
    if (range.q === 0 || (best !== undefined && range.q < best.range.q)) break
    const version = firstOf(plan, range)
    if (version === undefined) continue
    if (best === undefined || plan.versions.indexOf(version) < plan.versions.indexOf(best.version))
      best = { version, range }
  }
  return best && { version: best.version, by: `accept: ${best.range.name}`, kind: 'declared' }
}

/** The version with the match that says most; of equal ones that which is declared first. */
function firstOf(plan: VersioningPlan, type: MediaType): VersionPlan | undefined {
  let best: VersionPlan | undefined
  let most = -1
  for (const version of plan.versions) {
    for (const match of version.matches) {
      if (match.type !== 'MediaType' || match.parameters.length <= most || !fits(match, type)) continue
      best = version
      most = match.parameters.length
    }
  }
  return best
}

function fits(match: Extract<VersionMatch, { type: 'MediaType' }>, type: MediaType): boolean {
  if (match.mediaType !== type.name) return false
  return match.parameters.every(({ name, value }) => type.parameters.get(name)?.toLowerCase() === value)
}

/** A parameter that tells versions apart, with a value that none of them has. */
function undeclaredParameter(plan: VersioningPlan, type: MediaType, header: string): string {
  for (const { matches } of plan.versions) {
    for (const match of matches) {
      if (match.type !== 'MediaType' || match.mediaType !== type.name) continue
      for (const { name } of match.parameters) {
        const value = type.parameters.get(name)
        if (value !== undefined) return `${header}: ${type.name}; ${name}=${value}`
      }
    }
  }
  return ''
}
