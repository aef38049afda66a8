/**
 * Cross-origin requests of browsers (Fetch standard, "HTTP-CORS protocol"; Gateway API GEP-1767): the mesh answers their
 * preflights, and marks the answers that scripts of other origins may read.
 */
import type { CorsPlan, HeaderEdit, HttpFacts } from '#contract'
import type { ForwardDecision } from './decision.ts'

type Header = HeaderEdit['set'][number]

/** A preflight asks whether the real request may be made. */
export function isPreflight(facts: HttpFacts): boolean {
  return (
    facts.method === 'OPTIONS' &&
    facts.header('origin') !== undefined &&
    facts.header('access-control-request-method') !== undefined
  )
}

/** The header fields of the answer to a preflight; none when the origin is not allowed: the browser then gives up. */
export function preflightHeaders(plan: CorsPlan, facts: HttpFacts): readonly Header[] {
  const headers = originHeaders(plan, facts)
  if (headers.length === 0) return headers
  const list = (name: string, allowed: readonly string[], asked: string): void => {
    const wildcard = allowed.includes('*')
    // A credentialed request may not be answered with a wildcard: what it asks for is named.
    const value = wildcard && plan.credentials ? facts.header(asked) : allowed.join(', ')
    if (value !== undefined && value !== '') headers.push({ name, value })
  }
  list('access-control-allow-methods', plan.methods, 'access-control-request-method')
  list('access-control-allow-headers', plan.headers, 'access-control-request-headers')
  headers.push({ name: 'access-control-max-age', value: String(plan.maxAgeSeconds) })
  return headers
}

/** The edits of an answer: the route's, and what a script of another origin may do with it. */
export function responseEditsOf(decision: ForwardDecision, facts: HttpFacts): readonly HeaderEdit[] {
  const { cors, responseEdits } = decision
  if (cors === undefined) return responseEdits
  const headers = originHeaders(cors, facts)
  if (headers.length === 0) return responseEdits
  const { expose, credentials } = cors
  // `*` would be taken for a name where the request is credentialed.
  if (expose.length > 0 && !(credentials && expose.includes('*')))
    headers.push({ name: 'access-control-expose-headers', value: expose.join(', ') })
  const vary = headers.filter(({ name }) => name === 'vary')
  return [...responseEdits, { set: headers.filter(({ name }) => name !== 'vary'), add: vary, remove: [] }]
}

/** Empty when the request is of no other origin, or of one that is not allowed. */
function originHeaders(plan: CorsPlan, facts: HttpFacts): Header[] {
  const origin = facts.header('origin')
  if (origin === undefined || !plan.origins.some((allowed) => matchesOrigin(allowed, origin))) return []
  if (plan.origins.includes('*') && !plan.credentials) return [{ name: 'access-control-allow-origin', value: '*' }]
  const headers = [
    { name: 'access-control-allow-origin', value: origin },
    // What is cached for one origin is not what another one gets.
    { name: 'vary', value: 'Origin' },
  ]
  if (plan.credentials) headers.push({ name: 'access-control-allow-credentials', value: 'true' })
  return headers
}

const ORIGIN = /^(https?):\/\/([^/:@]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?$/i

/** Ports that are not written are 80 and 443; a `*` in the host stands for any number of labels to the left. */
function matchesOrigin(allowed: string, origin: string): boolean {
  if (allowed === '*' || allowed === origin) return true
  const want = ORIGIN.exec(allowed.toLowerCase())
  const got = ORIGIN.exec(origin.toLowerCase())
  if (want === null || got === null) return false
  const [, scheme = '', host = '', port = defaultPort(scheme)] = want
  const [, gotScheme = '', gotHost = '', gotPort = defaultPort(gotScheme)] = got
  if (scheme !== gotScheme || port !== gotPort) return false
  return host.startsWith('*') ? gotHost.length >= host.length && gotHost.endsWith(host.slice(1)) : host === gotHost
}

function defaultPort(scheme: string): string {
  return scheme === 'https' ? '443' : '80'
}
