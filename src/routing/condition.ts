/**
 * The conditions of a route match beside its path (method, headers, query parameters), compiled so
 * that checking one allocates nothing.
 */
import type { HttpFacts, RouteMatch, StringMatch } from '#contract'
import { compileRegex, type LinearRegex } from './linear-regex.ts'
import { firstQueryValue } from './query.ts'

export interface Condition {
  readonly what: 'method' | 'header' | 'query'
  /** Header names in lower case; empty for the method. */
  readonly name: string
  /** The expected value, or the expression as written. */
  readonly value: string
  /** Undefined for an exact comparison. */
  readonly regex: LinearRegex | undefined
}

export interface CompiledConditions {
  /** Cheapest first: method, headers, query. */
  readonly all: readonly Condition[]
  readonly headers: number
  readonly query: number
  /** An expression that cannot be read: the match can never be decided. */
  readonly error: string | undefined
}

/**
 * Of several entries for one header (names compared without case) or one query parameter only the
 * first counts, as the Gateway API says of `HTTPHeaderMatch.name` and `HTTPQueryParamMatch.name`.
 */
export function compileConditions(match: RouteMatch): CompiledConditions {
  const all: Condition[] = []
  let error: string | undefined
  const add = (what: 'header' | 'query', name: string, match: StringMatch): boolean => {
    if (all.some((known) => known.what === what && known.name === name)) return false
    let regex: LinearRegex | undefined
    if (match.type === 'RegularExpression') {
      const compiled = compileRegex(match.value)
      if (compiled.ok) regex = compiled.regex
      else error ??= `${what} ${name}: ${compiled.error}`
    }
    all.push({ what, name, value: match.value, regex })
    return true
  }
  if (match.method !== undefined) all.push({ what: 'method', name: '', value: match.method, regex: undefined })
  let headers = 0
  for (const header of match.headers) if (add('header', header.name.toLowerCase(), header.match)) headers += 1
  let query = 0
  for (const parameter of match.query) if (add('query', parameter.name, parameter.match)) query += 1
  return { all, headers, query, error }
}

/** The value that a request has for a condition; undefined if absent. */
export function valueFor(condition: Condition, facts: HttpFacts): string | undefined {
  switch (condition.what) {
    case 'method':
      return facts.method
    case 'header':
      // An absolute-form target overrides Host (RFC 9112 section 3.2.2), and HTTP/2 has only the authority.
      return condition.name === 'host' ? facts.authority : facts.header(condition.name)
    case 'query':
      return firstQueryValue(facts.query, condition.name)
  }
}

export function holds(condition: Condition, facts: HttpFacts): boolean {
  const value = valueFor(condition, facts)
  if (value === undefined) return false
  return condition.regex === undefined ? value === condition.value : condition.regex.matches(value)
}
