/** What consistent hashing goes by, of one request. */
import type { HashKey, HttpFacts } from '#contract'

/** Undefined when the request does not have it. */
export function requestKey(key: HashKey, http: Pick<HttpFacts, 'header'>, sourceAddress: string): string | undefined {
  switch (key.type) {
    case 'Header':
      return http.header(key.name)
    case 'Cookie':
      return cookiesOf(http.header('cookie'), key.name)[0]
    case 'Source':
      return sourceAddress
  }
}

/** All cookies of that name (RFC 6265 section 4.2); several header lines were joined with commas. */
export function cookiesOf(header: string | undefined, name: string): readonly string[] {
  const found: string[] = []
  for (const pair of header?.split(/[;,]/) ?? []) {
    const at = pair.indexOf('=')
    if (at > 0 && pair.slice(0, at).trim() === name) found.push(pair.slice(at + 1).trim())
  }
  return found
}
