/**
 * Route matching written down as the Gateway API's text has it (HTTPRouteRule.matches, HTTPPathMatch, HTTPHeaderMatch,
 * HTTPQueryParamMatch; GEP-1294 for producer and consumer routes): slow, with no index and nothing shared with the matcher.
 * What the text leaves open is as docs/traffic.md says: expressions stand between exact paths and prefixes.
 */
import type { HttpFacts, HttpRoute, RouteMatch, StringMatch } from '#contract'

interface Entry {
  readonly route: HttpRoute
  readonly rule: string | undefined
  /** Undefined: an invalid route, last of all, and for every request. */
  readonly match: RouteMatch | undefined
  readonly at: number
}

function textHolds(wanted: StringMatch, value: string | undefined): boolean {
  if (value === undefined) return false
  return wanted.type === 'Exact' ? value === wanted.value : new RegExp(`^(?:${wanted.value})$`).test(value)
}

/** "Matches based on a URL path prefix split by /", element by element, a trailing slash ignored. */
function prefixHolds(prefix: string, path: string): boolean {
  if (prefix === '/') return true
  const wanted = prefix.replace(/\/$/, '').split('/')
  const have = path.split('/')
  return wanted.every((element, i) => have[i] === element)
}

function pathHolds({ type, value }: RouteMatch['path'], path: string): boolean {
  if (type === 'Exact') return path === value
  if (type === 'PathPrefix') return prefixHolds(value, path)
  return new RegExp(`^(?:${value})$`).test(path)
}

function firstOf<T extends { readonly name: string }>(entries: readonly T[], keyOf: (name: string) => string): T[] {
  return entries.filter((entry, i) => entries.findIndex((other) => keyOf(other.name) === keyOf(entry.name)) === i)
}

const lower = (name: string): string => name.toLowerCase()
const asIs = (name: string): string => name

function headersOf(match: RouteMatch) {
  return firstOf(match.headers, lower)
}

function queryOf(match: RouteMatch) {
  return firstOf(match.query, asIs)
}

function parameter(query: string, name: string): string | undefined {
  for (const part of query.split('&')) {
    const [key = '', ...rest] = part.split('=')
    if (part !== '' && decodeURIComponent(key) === name) return decodeURIComponent(rest.join('='))
  }
  return undefined
}

function holds(match: RouteMatch, facts: HttpFacts): boolean {
  if (!pathHolds(match.path, facts.path)) return false
  if (match.method !== undefined && match.method !== facts.method) return false
  for (const { name, match: wanted } of headersOf(match)) {
    const value = lower(name) === 'host' ? facts.authority : facts.header(lower(name))
    if (!textHolds(wanted, value)) return false
  }
  return queryOf(match).every(({ name, match: wanted }) => textHolds(wanted, parameter(facts.query, name)))
}

const KIND_ORDER = ['Exact', 'RegularExpression', 'PathPrefix']

function compare(a: Entry, b: Entry): number {
  if (a.match === undefined || b.match === undefined) {
    return Number(a.match === undefined) - Number(b.match === undefined) || compareRoutes(a, b)
  }
  const [one, other] = [a.match, b.match]
  return (
    KIND_ORDER.indexOf(one.path.type) - KIND_ORDER.indexOf(other.path.type) ||
    lengthOf(other) - lengthOf(one) ||
    Number(other.method !== undefined) - Number(one.method !== undefined) ||
    headersOf(other).length - headersOf(one).length ||
    queryOf(other).length - queryOf(one).length ||
    compareRoutes(a, b)
  )
}

/** `/a/` and `/a` are the same prefix. */
function lengthOf({ path: { type, value } }: RouteMatch): number {
  return type === 'PathPrefix' ? value.replace(/\/$/, '').length : value.length
}

function compareRoutes(a: Entry, b: Entry): number {
  const [one, other] = [a.route, b.route]
  const age = (route: HttpRoute): string => (route.createdAt === '' ? '~' : route.createdAt)
  const name = (route: HttpRoute): string => `${route.namespace}/${route.name}`
  const texts = [
    [age(one), age(other)],
    [name(one), name(other)],
  ] as const
  for (const [x, y] of texts) if (x !== y) return x < y ? -1 : 1
  return a.at - b.at
}

/** `route rule` that decides, with `-` for none. */
export function expectedRule(
  all: readonly HttpRoute[],
  serviceNamespace: string,
  clientNamespace: string,
  facts: HttpFacts,
): string {
  const byName = new Map(all.map((route) => [`${route.namespace}/${route.name}`, route]))
  const attached = [...byName.values()]
  const consumer = attached.filter(({ namespace }) => namespace === clientNamespace && namespace !== serviceNamespace)
  const group = consumer.length > 0 ? consumer : attached.filter(({ namespace }) => namespace === serviceNamespace)
  const entries = group.flatMap((route): Entry[] =>
    route.invalid !== undefined
      ? [{ route, rule: undefined, match: undefined, at: 0 }]
      : route.rules.flatMap((rule, at) =>
          rule.matches.map((match) => ({ route, rule: rule.name ?? String(at), match, at })),
        ),
  )
  const found = entries.sort(compare).find(({ match }) => match === undefined || holds(match, facts))
  return found === undefined ? '- -' : `${found.route.namespace}/${found.route.name} ${found.rule ?? '-'}`
}
