import fc from 'fast-check'
import t from 'tap'
import type { HttpFacts, HttpRoute, RouteMatch } from '#contract'
import { decideRoute } from '#routing'
import { backend, calling, facts, route, rule, service, snapshotOf } from './mesh-fixture.ts'

interface Entry {
  readonly match: RouteMatch
  readonly route: HttpRoute
  readonly ruleIndex: number
}

/** The specification read literally: every match is tried, and the best of those that hold wins. */
function naive(routes: readonly HttpRoute[], request: HttpFacts): string | undefined {
  const holding: Entry[] = []
  for (const route of routes) {
    route.rules.forEach((rule, ruleIndex) => {
      for (const match of rule.matches) if (naivelyHolds(match, request)) holding.push({ match, route, ruleIndex })
    })
  }
  const best = holding.sort(naiveOrder)[0]
  return best === undefined ? undefined : `${best.route.namespace}/${best.route.name} ${best.ruleIndex}`
}

function naivelyHolds(match: RouteMatch, request: HttpFacts): boolean {
  const { type, value } = match.path
  const elements = (path: string): string[] => path.replace(/\/$/, '').split('/')
  const wanted = elements(value)
  const given = elements(request.path)
  const pathHolds =
    type === 'Exact'
      ? request.path === value
      : type === 'PathPrefix'
        ? wanted.every((element, i) => given[i] === element)
        : new RegExp(`^(?:${value})$`).test(request.path)
  const query = new URLSearchParams(request.query)
  return (
    pathHolds &&
    (match.method === undefined || match.method === request.method) &&
    match.headers.every((header) => request.header(header.name) === header.match.value) &&
    match.query.every((parameter) => query.get(parameter.name) === parameter.match.value)
  )
}

function naiveOrder(a: Entry, b: Entry): number {
  const rank = { Exact: 0, RegularExpression: 1, PathPrefix: 2 }
  const pathLength = (entry: Entry): number =>
    entry.match.path.type === 'PathPrefix'
      ? entry.match.path.value.replace(/\/$/, '').length
      : entry.match.path.value.length
  return (
    rank[a.match.path.type] - rank[b.match.path.type] ||
    pathLength(b) - pathLength(a) ||
    Number(b.match.method !== undefined) - Number(a.match.method !== undefined) ||
    b.match.headers.length - a.match.headers.length ||
    b.match.query.length - a.match.query.length ||
    Date.parse(a.route.createdAt) - Date.parse(b.route.createdAt) ||
    (a.route.name < b.route.name ? -1 : a.route.name > b.route.name ? 1 : 0) ||
    a.ruleIndex - b.ruleIndex
  )
}

const element = fc.constantFrom('a', 'b', 'ab')
const path = fc
  .tuple(fc.array(element, { maxLength: 4 }), fc.boolean())
  .map(([parts, slash]) => (parts.length === 0 ? '/' : `/${parts.join('/')}${slash ? '/' : ''}`))
const pathMatch: fc.Arbitrary<RouteMatch['path']> = fc.oneof(
  path.map((value) => ({ type: 'Exact' as const, value })),
  path.map((value) => ({ type: 'PathPrefix' as const, value })),
  fc.constantFrom('/a.*', '/(a|b)/.*', '.*b', '/ab?').map((value) => ({ type: 'RegularExpression' as const, value })),
)
const conditions = fc.uniqueArray(fc.record({ name: fc.constantFrom('x', 'y'), value: fc.constantFrom('1', '2') }), {
  selector: (entry) => entry.name,
  maxLength: 2,
})
const toMatches = (list: readonly { name: string; value: string }[]): RouteMatch['headers'] =>
  list.map(({ name, value }) => ({ name, match: { type: 'Exact', value } }))
const match: fc.Arbitrary<RouteMatch> = fc
  .tuple(pathMatch, fc.option(fc.constantFrom('GET', 'PUT'), { nil: undefined }), conditions, conditions)
  .map(([path, method, headers, query]) => ({
    path,
    headers: toMatches(headers),
    query: toMatches(query),
    ...(method === undefined ? {} : { method }),
  }))
const routes = fc
  .array(
    fc.tuple(
      fc.array(fc.array(match, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 4 }),
      fc.constantFrom('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z'),
    ),
    { maxLength: 5 },
  )
  .map((list) =>
    list.map(([rules, createdAt], i) =>
      route(
        `shop/r${i}`,
        rules.map((matches) => rule({ matches })),
        { createdAt },
      ),
    ),
  )
const request = fc
  .record({
    path,
    method: fc.constantFrom('GET', 'PUT', 'POST'),
    query: fc.constantFrom('', 'x=1', 'x=1&y=2', 'y=1&x=2'),
    headers: fc.constantFrom<Record<string, string>>({}, { x: '1' }, { x: '1', y: '2' }, { x: '2', y: '1' }),
  })
  .map((input) => facts(input))

t.test('the index finds the match that trying them all finds', async (t) => {
  let found = 0
  fc.assert(
    fc.property(routes, fc.array(request, { minLength: 1, maxLength: 10 }), (routes, requests) => {
      const snapshot = snapshotOf(service('shop/web'), ...routes)
      for (const request of requests) {
        const decision = decideRoute(snapshot, calling(snapshot), request, 0)
        const got =
          decision.kind === 'forward' && decision.route !== undefined ? `${decision.route} ${decision.rule}` : undefined
        const want = naive(routes, request)
        if (want !== undefined) found += 1
        if (got !== want) throw new Error(`${request.method} ${request.path}: got ${got}, want ${want}`)
      }
    }),
    { interruptAfterTimeLimit: 2000, numRuns: 2000 },
  )
  t.ok(found > 0, 'some requests matched')
})

t.test('a large table looks only at candidates for the path of the request', async (t) => {
  const many: HttpRoute[] = []
  for (let i = 0; i < 1000; i += 1) {
    const rules = Array.from({ length: 10 }, (_, j) => {
      const type = j % 2 === 0 ? ('Exact' as const) : ('PathPrefix' as const)
      return rule({
        matches: [{ path: { type, value: `/r${i}/rule${j}` }, headers: [], query: [] }],
        backends: [backend('shop/web')],
      })
    })
    many.push(route(`shop/r${i}`, rules))
  }
  const snapshot = snapshotOf(service('shop/web'), ...many)
  let considered = 0
  const trace = { considered: () => (considered += 1) }
  for (const [path, expected] of [
    ['/r999/rule9/deep/er', 'shop/r999'],
    ['/r0/rule0', 'shop/r0'],
    ['/r500/rule2', 'shop/r500'],
    ['/r500/rule2/', undefined],
  ] as const) {
    considered = 0
    const decision = decideRoute(snapshot, calling(snapshot), facts({ path }), 0, trace)
    t.equal(decision.kind === 'forward' ? decision.route : undefined, expected, path)
    t.equal(considered, expected === undefined ? 0 : 1, `${path} looks at one match at most`)
  }
})
