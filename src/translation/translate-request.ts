/**
 * A request of an older version as the Service sees it: its target and header fields. Policy judges this one, for it is
 * what the application gets.
 */
import type { HeaderEdit, HttpFacts } from '#contract'
import { HeaderChanges } from './header-changes.ts'
import { isJson, parseMediaType } from './media-type.ts'
import type { VersionPlan } from './plan.ts'
import { translatePath, translateQuery } from './target.ts'

/** Fields that tell about the very bytes of a body (RFC 9110 and 9530, RFC 1864): wrong of another body. */
export const BODY_DIGESTS = ['content-md5', 'digest', 'content-digest', 'repr-digest'] as const

export class TranslatedRequest implements HttpFacts {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly authority: string
  readonly version: VersionPlan
  readonly #headers: HeaderChanges

  constructor(version: VersionPlan, facts: HttpFacts) {
    this.version = version
    this.method = facts.method
    this.authority = facts.authority
    this.path = translatePath(version.prefixes, facts.path)
    this.query = version.query === undefined ? facts.query : translateQuery(version.query, facts.query)
    const headers = new HeaderChanges((name) => facts.header(name))
    // Judged by the body that the client sent, before its type is changed.
    if (bodyOfRequest(version, facts) === 'json') for (const name of BODY_DIGESTS) headers.remove(name)
    if (version.responseBody.length + version.errorBody.length > 0) wholeAnswer(headers)
    if (version.declared.request?.headers !== undefined) headers.apply(version.declared.request.headers)
    this.#headers = headers
  }

  get target(): string {
    return this.query === '' ? this.path : `${this.path}?${this.query}`
  }

  header(lowerCaseName: string): string | undefined {
    return this.#headers.get(lowerCaseName)
  }

  edit(): HeaderEdit {
    return this.#headers.edit()
  }
}

/** Asks for an answer that can be translated: not encoded, not a part; and undoes what was done to its entity tag. */
function wholeAnswer(headers: HeaderChanges): void {
  headers.set('accept-encoding', 'identity')
  for (const name of ['range', 'if-range', 'want-content-digest', 'want-repr-digest', 'want-digest']) {
    headers.remove(name)
  }
  // The client has weak tags of us only, which If-Match would never match (RFC 9110 section 13.1.1).
  const ifMatch = headers.get('if-match')
  if (ifMatch !== undefined) headers.set('if-match', ifMatch.replace(/(^|,\s*)W\/"/g, '$1"'))
}

/**
 * `json`: to be translated. `encoded` and `charset`: it would have to be, but cannot. `other`: it passes as it is. Asked of
 * requests with a body.
 */
export type BodyKind = 'json' | 'other' | 'encoded' | 'charset'

export function bodyOfRequest(version: VersionPlan, facts: Pick<HttpFacts, 'header'>): BodyKind {
  return version.requestBody.length === 0 ? 'other' : bodyKind((name) => facts.header(name))
}

export function bodyKind(header: (lowerCaseName: string) => string | undefined): BodyKind {
  const type = parseMediaType(header('content-type') ?? '')
  if (type === undefined || !isJson(type)) return 'other'
  const coding = header('content-encoding')?.trim().toLowerCase() ?? ''
  if (coding !== '' && coding !== 'identity') return 'encoded'
  const charset = type.parameters.get('charset')?.toLowerCase()
  return charset === undefined || charset === 'utf-8' || charset === 'utf8' || charset === 'us-ascii'
    ? 'json'
    : 'charset'
}
