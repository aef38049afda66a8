/** The request that `explain` is asked about, as routing sees it. */
import type { HttpFacts } from '#contract'
import type { ExplainQuery } from './explain-query.ts'

/** Undefined for what is not HTTP (`tcp://`, and `https://`, which the mesh does not look into). */
export function requestFacts(query: ExplainQuery): HttpFacts | undefined {
  if (query.to.protocol !== 'http:') return undefined
  const { pathname, search, host } = query.to
  return new ExplainedFacts(query.method, pathname, search.slice(1), query.headers.get('host') ?? host, query.headers)
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
