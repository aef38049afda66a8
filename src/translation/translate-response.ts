/** What becomes of the answer to a request of an older version: its header fields, and by which rules its body. */
import type { HeaderEdit } from '#contract'
import type { CompiledRule } from './body-rules.ts'
import { HeaderChanges } from './header-changes.ts'
import type { VersionPlan } from './plan.ts'
import { restoreLocation } from './target.ts'
import { BODY_DIGESTS, bodyKind } from './translate-request.ts'

export interface ResponseFacts {
  readonly status: number
  /** By its lower-case name; several lines are joined with `, `. */
  header(lowerCaseName: string): string | undefined
}

export interface TranslatedResponse {
  readonly edit: HeaderEdit
  /** Empty: the body passes as it is. */
  readonly rules: readonly CompiledRule[]
  /** The answer would have to be translated, and cannot. */
  readonly problem?: string
}

const NO_RULES: readonly CompiledRule[] = Object.freeze([])

/** @param authority that the client asked for */
export function translateResponse(version: VersionPlan, authority: string, facts: ResponseFacts): TranslatedResponse {
  const headers = new HeaderChanges((name) => facts.header(name))
  const { declared, prefixes } = version
  let rules = NO_RULES
  let problem: string | undefined
  if (declared.request !== undefined || declared.response !== undefined) {
    const candidates = rulesFor(version, facts.status)
    // A 304 has the entity tag that the whole answer would have (RFC 9110 section 15.4.5), but often no type.
    if (candidates.length > 0) {
      const kind = facts.status === 304 ? 'json' : bodyKind((name) => facts.header(name))
      if (kind === 'json') {
        rules = facts.status === 304 ? NO_RULES : candidates
        transformed(headers)
        if (facts.status === 206) problem = 'the answer is a part, which nobody asked for'
      } else if (kind !== 'other') problem = kind === 'encoded' ? 'the answer is encoded' : 'the answer is not in UTF-8'
    }
    for (const name of ['location', 'content-location']) {
      const before = prefixes.length === 0 ? undefined : headers.get(name)
      if (before === undefined) continue
      const restored = restoreLocation(prefixes, before, authority)
      if (restored !== before) headers.set(name, restored)
    }
    if (declared.response?.headers !== undefined) headers.apply(declared.response.headers)
  }
  const { deprecation, sunset, link } = declared.deprecation ?? {}
  if (deprecation !== undefined) headers.set('deprecation', deprecation)
  if (sunset !== undefined) headers.set('sunset', sunset)
  if (link !== undefined) {
    const before = headers.get('link')
    headers.set('link', before === undefined ? link : `${before}, ${link}`)
  }
  const edit = headers.edit()
  return problem === undefined ? { edit, rules } : { edit, rules, problem }
}

function rulesFor({ responseBody, errorBody }: VersionPlan, status: number): readonly CompiledRule[] {
  if ((status >= 200 && status < 300) || status === 304) return responseBody
  return status >= 400 ? errorBody : NO_RULES
}

/** What was said of the bytes of the answer is not true of those that the client gets. */
function transformed(headers: HeaderChanges): void {
  for (const name of [...BODY_DIGESTS, 'accept-ranges', 'trailer']) headers.remove(name)
  const tag = headers.get('etag')
  // The same in meaning, not in its bytes (RFC 9110 section 8.8.1).
  if (tag?.startsWith('"')) headers.set('etag', `W/${tag}`)
}
