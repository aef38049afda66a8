/** The request that `explain` is asked about, as routing sees it and, after the route's edits, as policy sees it. */
import type { HttpFacts } from '#contract'
import type { ForwardDecision } from '#routing'
import { rewriteTarget } from '#routing'
import type { ExplainQuery } from './explain-query.ts'

/** Undefined for what is not HTTP (`tcp://`, and `https://`, which the mesh does not look into). */
export function requestFacts(query: ExplainQuery): HttpFacts | undefined {
  if (query.to.protocol !== 'http:') return undefined
  const { pathname, search, host } = query.to
  return new ExplainedFacts(query.method, pathname, search.slice(1), query.headers.get('host') ?? host, query.headers)
}

/** What arrives at the backend. */
export function forwardedFacts(facts: HttpFacts, query: ExplainQuery, decision: ForwardDecision): HttpFacts {
  const target = decision.rewrites ? rewriteTarget(decision, facts) : `${facts.path}?${facts.query}`
  const at = target.indexOf('?')
  const headers = new Map(query.headers)
  for (const edit of decision.requestEdits) {
    for (const { name, value } of edit.set) headers.set(name.toLowerCase(), value)
    for (const { name, value } of edit.add) {
      const before = headers.get(name.toLowerCase())
      headers.set(name.toLowerCase(), before === undefined ? value : `${before}, ${value}`)
    }
    for (const name of edit.remove) headers.delete(name.toLowerCase())
  }
  const path = at === -1 ? target : target.slice(0, at)
  const rest = at === -1 ? '' : target.slice(at + 1)
  return new ExplainedFacts(facts.method, path, rest, decision.hostname ?? facts.authority, headers)
}

class ExplainedFacts implements HttpFacts {
  readonly method: string
  readonly path: string
  readonly query: string
  readonly authority: string
  readonly #headers: ReadonlyMap<string, string>

  constructor(method: string, path: string, query: string, authority: string, headers: ReadonlyMap<string, string>) {
    this.method = method
    this.path = path
    this.query = query
    this.authority = authority
    this.#headers = headers
  }

  header(lowerCaseName: string): string | undefined {
    return lowerCaseName === 'host' ? this.authority : this.#headers.get(lowerCaseName)
  }
}
