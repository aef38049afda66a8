/**
 * The mesh profile of the Gateway API's conformance (MESH-HTTP), feature by feature, written from the specification's text:
 * what the doc comments of HTTPRoute and GEP-1294 ask of a mesh, asked for by real clients.
 */
import http from 'node:http'
import t, { type Test } from 'tap'
import { FailingServer } from '../support/failing-server.ts'
import { http2ClientIn, http2ServerIn } from '../support/http2-pods.ts'
import type { LabPod } from '../support/lab.ts'
import { connectSocketIn } from '../support/pod-sockets.ts'
import { type Answer, type Ask, openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const stranger = await shop.pod('stranger', { namespace: 'consumer' })
const echo1 = await shop.pod('echo-1', { labels: { app: 'echo', version: 'v1' } })
const echo2 = await shop.pod('echo-2', { labels: { app: 'echo', version: 'v2' } })
const far = await shop.pod('far', { namespace: 'elsewhere' })
for (const pod of [echo1, echo2, far]) await shop.serve(pod)
const ports = [
  { name: 'http', port: 80, targetPort: 8080 },
  { name: 'http-alt', port: 8081, targetPort: 8080 },
]
const flakyPod = await shop.pod('flaky')
const flaky = new FailingServer(t, flakyPod)
shop.service('flaky')
const echo = shop.service('echo', { selector: { app: 'echo' }, ports })
const v1 = shop.service('echo-v1', { selector: { app: 'echo', version: 'v1' } })
shop.service('echo-v2', { selector: { app: 'echo', version: 'v2' } })
const farService = shop.service('far', { namespace: 'elsewhere' })
shop.service('empty', { selector: { app: 'nobody' } })
await shop.start()

const TO_V1 = 'backendRefs: [{ name: echo-v1, port: 80 }]'
const TO_V2 = 'backendRefs: [{ name: echo-v2, port: 80 }]'

interface RouteSpec {
  readonly name?: string
  readonly namespace?: string
  readonly parent?: string
  readonly hostnames?: string
}

/** An HTTPRoute of Service shop/echo; each rule as flow YAML. */
function route(rules: readonly string[], spec: RouteSpec = {}): string {
  const { name = 'echo', namespace = 'shop', parent = 'name: echo, namespace: shop', hostnames = '' } = spec
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name}, namespace: ${namespace} }
spec:
  parentRefs: [{ group: "", kind: Service, ${parent} }]
  hostnames: [${hostnames}]
  rules: [${rules.map((rule) => `{ ${rule} }`).join(', ')}]`
}

interface Way extends Ask {
  readonly from?: LabPod
  readonly address?: string
  readonly port?: number
}

function send(way: Way = {}): Promise<Answer> {
  const { from = client, address = echo.ipv4, port = 80, ...ask } = way
  return shop.ask(from, address, port, ask)
}

/** The server that answered, or the mesh's status. */
async function outcome(way: Way = {}): Promise<string> {
  const { by, status } = await send(way)
  return by === '' ? String(status) : by
}

async function outcomes(table: Readonly<Record<string, string>>, way: (key: string) => Way, t: Test): Promise<void> {
  for (const [key, expected] of Object.entries(table)) t.equal(await outcome(way(key)), expected, key)
}

async function counts(total: number): Promise<Readonly<Record<string, number>>> {
  const found: Record<string, number> = {}
  for (const name of await Promise.all(Array.from({ length: total }, () => outcome())))
    found[name] = (found[name] ?? 0) + 1
  return found
}

/** What comes back of a text that is sent after an upgrade; the server echoes. */
async function echoed(text: string): Promise<string> {
  const socket = await connectSocketIn(client.netnsPath, echo.ipv4, 80)
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  const headers = { connection: 'upgrade', upgrade: 'websocket' }
  const request = http.request({ createConnection: () => socket, host: 'echo.shop', headers })
  request.on('upgrade', (_response, upgraded) => {
    upgraded.on('data', (data: Buffer) => {
      resolve(data.toString())
      upgraded.destroy()
    })
    upgraded.write(text)
  })
  request.on('response', ({ statusCode }) => reject(new Error(`answered ${statusCode}`)))
  request.on('error', reject)
  request.end()
  return await promise
}

const modifier = (kind: 'Request' | 'Response', edits: string) =>
  `{ type: ${kind}HeaderModifier, ${kind.toLowerCase()}HeaderModifier: { ${edits} } }`
const redirect = (fields: string) => `filters: [{ type: RequestRedirect, requestRedirect: { ${fields} } }]`
const rewrite = (fields: string) => `filters: [{ type: URLRewrite, urlRewrite: { ${fields} } }]`

t.test('Mesh: without routes Services work as Kubernetes has them', async (t) => {
  t.match(await outcome(), /^echo-[12]$/)
  t.equal(await outcome({ address: v1.ipv4 }), 'echo-1')
  t.match(await outcome({ from: stranger }), /^echo-[12]$/, 'from another namespace, too')
})

t.test('Mesh: a route replaces what the Service would do, for its clients of all namespaces', async (t) => {
  await shop.apply(
    route([`matches: [{ path: { value: /v1 } }], ${TO_V1}`, `matches: [{ path: { value: /v2 } }], ${TO_V2}`]),
  )
  const table = { '/v1': 'echo-1', '/v2/a': 'echo-2', '/': '404' }
  await outcomes(table, (target) => ({ target }), t)
  await outcomes(table, (target) => ({ target, from: stranger }), t)
  t.match(await outcome({ address: v1.ipv4, target: '/' }), 'echo-1', 'the backend’s own frontend has no route')
})

t.test('Mesh: a route is for the frontend: requests to a pod’s address do not take it', async (t) => {
  await shop.apply(route([`filters: [${modifier('Response', 'set: [{ name: x-frontend, value: "yes" }]')}], ${TO_V1}`]))
  t.equal((await send()).headers['x-frontend'], 'yes')
  const direct = await send({ address: echo1.ipv4, port: 8080 })
  t.equal(direct.by, 'echo-1')
  t.notOk(direct.headers['x-frontend'])
})

t.test('MeshClusterIPMatching: the ClusterIP decides, not the Host header and not the route’s hostnames', async (t) => {
  await shop.apply(route([TO_V1], { hostnames: 'only.example' }))
  for (const host of ['echo', 'far.elsewhere', 'only.example', 'nobody.example'])
    t.equal(await outcome({ headers: { host } }), 'echo-1', host)
  t.equal(await outcome({ address: farService.ipv4, headers: { host: 'echo.shop' } }), 'far')
  if (echo.ipv6 !== undefined) t.equal(await outcome({ address: echo.ipv6 }), 'echo-1', 'the other family’s, too')
})

t.test('MeshConsumerRoute: a route of another namespace is for that namespace’s clients alone', async (t) => {
  await shop.apply(
    route([TO_V1]),
    route(
      [
        `filters: [${modifier('Request', 'set: [{ name: x-consumer, value: "yes" }]')}], backendRefs: [{ name: echo, namespace: shop, port: 80 }]`,
      ],
      {
        namespace: 'consumer',
        name: 'mine',
      },
    ),
  )
  const own = await send({ from: stranger })
  t.match(own.by, /^echo-[12]$/, 'to the Service itself, without a ReferenceGrant, past the producer’s route')
  t.equal(own.seen?.headers['x-consumer'], 'yes')
  const other = await send()
  t.equal(other.by, 'echo-1')
  t.notOk(other.seen?.headers['x-consumer'])
})

t.test(
  'HTTPRouteParentRefPort, HTTPRouteDestinationPortMatching: a parent with a port or a section binds that port alone',
  async (t) => {
    const marked = (name: string) =>
      `filters: [${modifier('Response', `set: [{ name: x-route, value: ${name} }]`)}], ${TO_V1}`
    const asked = async () => {
      const seen = [await send(), await send({ port: 8081 })]
      return seen.map(({ headers }) => headers['x-route'])
    }
    const parent = 'name: echo, namespace: shop'
    await shop.apply(route([marked('every')]))
    t.same(await asked(), ['every', 'every'])
    await shop.apply(route([marked('port')], { parent: `${parent}, port: 8081` }))
    t.same(await asked(), [undefined, 'port'])
    await shop.apply(route([marked('section')], { parent: `${parent}, sectionName: http` }))
    t.same(await asked(), ['section', undefined])
    await shop.apply(route([marked('both')], { parent: `${parent}, sectionName: http, port: 8081` }))
    t.same(await asked(), [undefined, undefined], 'both must fit')
    await shop.apply(
      route([marked('eighty')], { name: 'a', parent: `${parent}, port: 80` }),
      route([marked('alt')], { name: 'b', parent: `${parent}, port: 8081` }),
    )
    t.same(await asked(), ['eighty', 'alt'])
  },
)

t.test('HTTPRoute: paths match exactly, by whole elements, or by an expression of the whole path', async (t) => {
  await shop.apply(
    route([
      `matches: [{ path: { type: Exact, value: /exact } }, { path: { type: RegularExpression, value: "/r[0-9]+" } }], ${TO_V1}`,
      `matches: [{ path: { type: PathPrefix, value: /prefix/ } }], ${TO_V2}`,
    ]),
  )
  const table = {
    '/exact': 'echo-1',
    '/exact?query': 'echo-1',
    '/exact/': '404',
    '/EXACT': '404',
    '/r12': 'echo-1',
    '/r12/x': '404',
    '/prefix': 'echo-2',
    '/prefix/': 'echo-2',
    '/prefix/more': 'echo-2',
    '/prefixed': '404',
  }
  await outcomes(table, (target) => ({ target }), t)
})

t.test('HTTPRoute, HTTPRouteMethodMatching: headers and method match, all of one match, any of several', async (t) => {
  await shop.apply(
    route([
      `matches: [{ headers: [{ name: Version, value: two }, { name: color, type: RegularExpression, value: "blue|green" }] }, { method: DELETE }], ${TO_V2}`,
      TO_V1,
    ]),
  )
  const table: Readonly<Record<string, Way>> = {
    'echo-2 both': { headers: { version: 'two', color: 'green' } },
    'echo-2 names without regard to case': { headers: { VERSION: 'two', Color: 'blue' } },
    'echo-1 one of two': { headers: { version: 'two' } },
    'echo-1 values with regard to case': { headers: { version: 'Two', color: 'blue' } },
    'echo-1 the whole value': { headers: { version: 'two', color: 'bluegreen' } },
    'echo-2 the method alone': { method: 'DELETE' },
    'echo-1 another method': { method: 'POST' },
  }
  for (const [what, way] of Object.entries(table)) t.equal(await outcome(way), what.slice(0, 6), what)
})

t.test(
  'MeshHTTPRouteQueryParamMatching: parameters match by name and value, all of one match, any of several',
  async (t) => {
    await shop.apply(
      route([
        `matches: [{ queryParams: [{ name: animal, value: whale }, { name: sea, type: RegularExpression, value: "[a-z]+" }] }, { queryParams: [{ name: animal, value: dolphin }, { name: animal, value: shark }] }], ${TO_V2}`,
      ]),
    )
    const table = {
      '/?animal=whale&sea=north': 'echo-2',
      '/?sea=north&animal=whale&more=1': 'echo-2',
      '/?animal=whale': '404',
      '/?animal=whale&sea=7': '404',
      '/?Animal=whale&sea=north': '404',
      '/?animal=dolphin': 'echo-2',
      '/?animal=shark': '404',
      '/?animal=%77hale&sea=north': 'echo-2',
      '/': '404',
    }
    await outcomes(table, (target) => ({ target }), t)
  },
)

t.test(
  'HTTPRoute: the most specific match wins: path, method, headers, query parameters, then the first',
  async (t) => {
    const to = (name: string, match: string) =>
      `name: ${name}, matches: [{ ${match} }], ${TO_V1}, filters: [${modifier('Response', `set: [{ name: x-rule, value: ${name} }]`)}]`
    await shop.apply(
      route([
        to('everything', 'path: { value: / }'),
        to('first', 'path: { value: /a }'),
        to('second', 'path: { value: /a }'),
        to('query', 'path: { value: /a }, queryParams: [{ name: q, value: "1" }]'),
        to('header', 'path: { value: /a }, headers: [{ name: h, value: "1" }]'),
        to('method', 'path: { value: /a }, method: PUT'),
        to('longer', 'path: { value: /a/b }'),
        to('exact', 'path: { type: Exact, value: /a }'),
      ]),
    )
    const rule = async (way: Way) => (await send(way)).headers['x-rule']
    const all = { method: 'PUT', headers: { h: '1' } }
    t.equal(await rule({ ...all, target: '/a?q=1' }), 'exact')
    t.equal(await rule({ ...all, target: '/a/b?q=1' }), 'longer')
    t.equal(await rule({ ...all, target: '/a/c?q=1' }), 'method')
    t.equal(await rule({ headers: { h: '1' }, target: '/a/c?q=1' }), 'header')
    t.equal(await rule({ target: '/a/c?q=1' }), 'query')
    t.equal(await rule({ target: '/a/c' }), 'first')
    t.equal(await rule({ target: '/c' }), 'everything')
  },
)

t.test('MeshHTTPRouteNamedRouteRule: a rule’s name is the one that logs and weir explain know it by', async (t) => {
  await shop.apply(route([`name: named-rule, ${TO_V1}`, `matches: [{ path: { value: /other } }], ${TO_V2}`]))
  const from = shop.agent.logs.length
  t.equal(await outcome({ target: '/here' }), 'echo-1')
  t.match(await shop.agent.waitFor((line) => line['path'] === '/here', { from }), { rule: 'named-rule' })
  t.match(await shop.explain(client, `http://${echo.ipv4}/`), { route: 'shop/echo', rule: 'named-rule' })
  t.match(await shop.explain(client, `http://${echo.ipv4}/other`), { route: 'shop/echo', rule: '1' })
})

t.test('HTTPRoute: weights share the requests; a weight of 0 gets none', async (t) => {
  const weights = (one: number, two: number) =>
    route([`backendRefs: [{ name: echo-v1, port: 80, weight: ${one} }, { name: echo-v2, port: 80, weight: ${two} }]`])
  await shop.apply(weights(7, 3))
  const shares = await counts(400)
  // Binomial, n = 400, p = 0.3: mean 120, standard deviation 9.2; the bounds are 5 of them away.
  t.ok((shares['echo-2'] ?? 0) > 74 && (shares['echo-2'] ?? 0) < 166, `three in ten: ${shares['echo-2']} of 400`)
  t.equal((shares['echo-1'] ?? 0) + (shares['echo-2'] ?? 0), 400)
  await shop.apply(weights(1, 0))
  t.same(await counts(50), { 'echo-1': 50 })
})

t.test(
  'HTTPRoute: references that lead nowhere answer 500, for their share; no ready endpoint answers 503',
  async (t) => {
    await shop.apply(route(['backendRefs: [{ name: nobody, port: 80 }]']))
    t.equal(await outcome(), '500')
    await shop.apply(route(['backendRefs: [{ name: nobody, port: 80, weight: 0 }, { name: echo-v1, port: 80 }]']))
    t.same(await counts(20), { 'echo-1': 20 })
    await shop.apply(route(['backendRefs: [{ name: empty, port: 80 }]']))
    t.equal(await outcome(), '503')
    await shop.apply(route(['matches: [{ path: { value: /a } }]']))
    t.equal(await outcome({ target: '/a' }), '500', 'a rule without backends')
  },
)

t.test('ReferenceGrant: a Service of another namespace is a backend where that namespace lets it be', async (t) => {
  const grant = (name: string) => `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: { name: shop, namespace: elsewhere }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop }]
  to: [{ group: "", kind: Service, name: ${name} }]`
  const toFar = route(['backendRefs: [{ name: far, namespace: elsewhere, port: 80 }]'])
  await shop.apply(toFar)
  t.equal(await outcome(), '500')
  await shop.apply(toFar, grant('another'))
  t.equal(await outcome(), '500')
  await shop.apply(toFar, grant('far'))
  t.equal(await outcome(), 'far')
})

t.test('HTTPRoute, HTTPRouteResponseHeaderModification: headers are set, added to and removed', async (t) => {
  const edits = 'set: [{ name: X-Set, value: new }], add: [{ name: X-Add, value: b }], remove: [X-Remove]'
  const onAnswer = 'set: [{ name: X-Mesh, value: yes-it-was }], add: [{ name: x-more, value: "1" }], remove: [Date]'
  await shop.apply(route([`filters: [${modifier('Request', edits)}, ${modifier('Response', onAnswer)}], ${TO_V1}`]))
  const answer = await send({ headers: { 'x-set': 'old', 'x-add': 'a', 'x-remove': 'gone', 'x-keep': 'kept' } })
  t.match(answer.seen?.headers, { 'x-set': 'new', 'x-add': 'a,b', 'x-remove': undefined, 'x-keep': 'kept' })
  t.match(answer.headers, { 'x-mesh': 'yes-it-was', 'x-more': '1', date: undefined })
  t.match((await send()).seen?.headers, { 'x-set': 'new', 'x-add': 'b' }, 'where there was none, too')
})

t.test(
  'MeshHTTPRouteBackendRequestHeaderModification: a backend’s own filters are for its requests alone',
  async (t) => {
    const backend = (name: string) => {
      const edits = `set: [{ name: x-backend, value: ${name} }], add: [{ name: x-add, value: ${name} }], remove: [x-remove]`
      return `{ name: ${name}, port: 80, filters: [${modifier('Request', edits)}] }`
    }
    const rule = `filters: [${modifier('Request', 'add: [{ name: x-add, value: rule }]')}]`
    await shop.apply(
      route([`${rule}, backendRefs: [${backend('echo-v1')}, ${backend('echo-v2')}, { name: echo, port: 80 }]`]),
    )
    const seen = new Set<string>()
    const answers = await Promise.all(Array.from({ length: 60 }, () => send({ headers: { 'x-remove': '1' } })))
    for (const { seen: at } of answers) {
      const { 'x-backend': backend, 'x-add': added, 'x-remove': removed } = at?.headers ?? {}
      seen.add(`${backend} ${String(added)} ${removed}`)
      if (backend !== undefined) t.equal(at?.server, String(backend).replace('v', ''))
    }
    t.same([...seen].sort(), ['echo-v1 rule,echo-v1 undefined', 'echo-v2 rule,echo-v2 undefined', 'undefined rule 1'])
  },
)

const LOCATIONS: readonly (readonly [feature: string, fields: string, status: number, location: string])[] = [
  ['HTTPRoute', 'hostname: example.org', 302, 'http://example.org/old/a?q=1'],
  ['HTTPRoute', 'hostname: example.org, statusCode: 301', 301, 'http://example.org/old/a?q=1'],
  ['MeshHTTPRouteSchemeRedirect', 'scheme: https', 302, 'https://echo.shop/old/a?q=1'],
  ['MeshHTTPRouteSchemeRedirect', 'scheme: http, hostname: example.org', 302, 'http://example.org/old/a?q=1'],
  ['MeshHTTPRouteRedirectPort', 'port: 8083', 302, 'http://echo.shop:8083/old/a?q=1'],
  ['MeshHTTPRouteRedirectPort', 'port: 80', 302, 'http://echo.shop/old/a?q=1'],
  ['MeshHTTPRouteRedirectPort', 'scheme: https, port: 443', 302, 'https://echo.shop/old/a?q=1'],
  ['MeshHTTPRouteRedirectPort', 'scheme: https, port: 80', 302, 'https://echo.shop:80/old/a?q=1'],
  [
    'MeshHTTPRouteRedirectPath',
    'path: { type: ReplacePrefixMatch, replacePrefixMatch: /new }',
    302,
    'http://echo.shop/new/a?q=1',
  ],
  [
    'MeshHTTPRouteRedirectPath',
    'path: { type: ReplacePrefixMatch, replacePrefixMatch: / }',
    302,
    'http://echo.shop/a?q=1',
  ],
  [
    'MeshHTTPRouteRedirectPath',
    'hostname: example.org, path: { type: ReplaceFullPath, replaceFullPath: /whole }',
    302,
    'http://example.org/whole?q=1',
  ],
  ['HTTPRoute303RedirectStatusCode', 'hostname: example.org, statusCode: 303', 303, 'http://example.org/old/a?q=1'],
  ['HTTPRoute307RedirectStatusCode', 'hostname: example.org, statusCode: 307', 307, 'http://example.org/old/a?q=1'],
  ['HTTPRoute308RedirectStatusCode', 'hostname: example.org, statusCode: 308', 308, 'http://example.org/old/a?q=1'],
]

t.test(
  'MeshHTTPRouteSchemeRedirect, RedirectPort, RedirectPath and the statuses: the mesh answers with the Location',
  async (t) => {
    const before = shop.seen.length
    for (const [feature, fields, status, location] of LOCATIONS) {
      await shop.apply(route([`matches: [{ path: { value: /old } }], ${redirect(fields)}`]))
      const answer = await send({ target: '/old/a?q=1', headers: { host: 'echo.shop' } })
      t.same([answer.status, answer.headers.location], [status, location], `${feature}: ${fields}`)
    }
    await shop.apply(route([`matches: [{ path: { value: /old } }], ${redirect('hostname: example.org')}`]))
    const { headers } = await send({ target: '/old', port: 8081 })
    t.equal(headers.location, 'http://example.org:8081/old', 'the port that was called, where nothing says another')
    t.equal(shop.seen.length, before, 'no server was asked')
  },
)

t.test(
  'MeshHTTPRouteRewritePath, HTTPRouteHostRewrite: path and Host change on the way, the query stays',
  async (t) => {
    const cases: readonly (readonly [fields: string, target: string, seen: string, host: string])[] = [
      ['path: { type: ReplacePrefixMatch, replacePrefixMatch: /one }', '/old/two?q', '/one/two?q', 'echo.shop'],
      ['path: { type: ReplacePrefixMatch, replacePrefixMatch: /one/ }', '/old/two', '/one/two', 'echo.shop'],
      ['path: { type: ReplacePrefixMatch, replacePrefixMatch: / }', '/old/two', '/two', 'echo.shop'],
      ['path: { type: ReplacePrefixMatch, replacePrefixMatch: "" }', '/old', '/', 'echo.shop'],
      ['path: { type: ReplaceFullPath, replaceFullPath: /full }', '/old/two?q', '/full?q', 'echo.shop'],
      ['hostname: one.example', '/old', '/old', 'one.example'],
      ['hostname: one.example, path: { type: ReplaceFullPath, replaceFullPath: /x }', '/old', '/x', 'one.example'],
    ]
    for (const [fields, target, seen, host] of cases) {
      await shop.apply(route([`matches: [{ path: { value: /old } }], ${rewrite(fields)}, ${TO_V1}`]))
      const { seen: at } = await send({ target, headers: { host: 'echo.shop' } })
      t.same([at?.target, at?.headers.host], [seen, host], `${fields}: ${target}`)
    }
  },
)

t.test('HTTPRouteBackendURLRewrite, HTTPRouteBackendRequestRedirect: also as filters of one backend', async (t) => {
  const one = `{ name: echo-v1, port: 80, ${rewrite('hostname: v1.example')} }`
  const two = `{ name: echo-v2, port: 80, ${redirect('hostname: v2.example')} }`
  await shop.apply(route([`backendRefs: [${one}, ${two}]`]))
  const found = new Set<string>()
  for (const { seen, headers } of await Promise.all(Array.from({ length: 40 }, () => send())))
    found.add(seen?.headers.host ?? headers.location ?? '')
  t.same([...found].sort(), ['http://v2.example/', 'v1.example'])
})

t.test('HTTPRouteRequestTimeout, HTTPRouteBackendTimeout: what takes too long is answered 504', async (t) => {
  for (const timeouts of ['request: 100ms', 'backendRequest: 100ms', 'request: 3s, backendRequest: 100ms']) {
    await shop.apply(route([`timeouts: { ${timeouts} }, ${TO_V1}`]))
    t.equal(await outcome({ target: '/?hang' }), '504', timeouts)
    t.equal(await outcome(), 'echo-1')
  }
})

t.test(
  'HTTPRouteRetry, RetryBackendTimeout, RetryConnectionError: what fails is tried again, as often as is said',
  async (t) => {
    const rule = (fields: string) => route([`${fields}, backendRefs: [{ name: flaky, port: 80 }]`])
    /** The first `count` requests fail, and what comes after is answered. */
    const failing = (count: number, fail: FailingServer['answer']) => {
      flaky.reset()
      flaky.answer = (request, response) => {
        if (flaky.bodies.length <= count) fail(request, response)
        else flaky.ok(request, response)
      }
    }
    const asked = async () => [(await send()).status, flaky.bodies.length]
    const busy = flaky.fail(503)
    await shop.apply(rule('name: none'))
    failing(1, busy)
    t.same(await asked(), [503, 1], 'without retry nothing is')
    await shop.apply(rule('retry: { codes: [503], attempts: 2, backoff: 1ms }'))
    failing(2, busy)
    t.same(await asked(), [200, 3])
    failing(3, busy)
    t.same(await asked(), [503, 3], 'then the last answer is the answer')
    failing(1, flaky.fail(500))
    t.same(await asked(), [500, 1], 'a code that is not named is not retried')
    failing(1, (request) => request.socket.destroy())
    t.same(await asked(), [200, 2], 'a connection that breaks')
    await shop.apply(rule('timeouts: { backendRequest: 100ms }, retry: { attempts: 1, backoff: 1ms }'))
    failing(1, () => undefined)
    t.same(await asked(), [200, 2], 'a try that takes too long')
    failing(2, () => undefined)
    t.same(await asked(), [504, 2])
  },
)

t.test('HTTPRouteBackendProtocolWebSocket: an upgrade goes through the route', async (t) => {
  await shop.change(() =>
    shop.service('echo-v1', {
      selector: { app: 'echo', version: 'v1' },
      ports: [{ name: 'ws', port: 80, targetPort: 8080, appProtocol: 'kubernetes.io/ws' }],
    }),
  )
  await shop.apply(route([TO_V1]))
  t.equal(await echoed('hello'), 'hello')
})

t.test(
  'HTTPRouteCORS: preflights are answered by the mesh, and answers marked for the origins that may read them',
  async (t) => {
    const cors = `allowOrigins: ["https://*.example.org"], allowMethods: [PUT], allowHeaders: [x-token], exposeHeaders: [x-total], allowCredentials: true, maxAge: 30`
    await shop.apply(route([`filters: [{ type: CORS, cors: { ${cors} } }], ${TO_V1}`]))
    const before = shop.seen.length
    const asked = { 'access-control-request-method': 'PUT', 'access-control-request-headers': 'x-token' }
    const preflight = (origin: string) => send({ method: 'OPTIONS', target: '/cors', headers: { origin, ...asked } })
    const allowed = await preflight('https://app.example.org')
    t.equal(allowed.status, 200)
    t.match(allowed.headers, {
      'access-control-allow-origin': 'https://app.example.org',
      'access-control-allow-methods': 'PUT',
      'access-control-allow-headers': 'x-token',
      'access-control-allow-credentials': 'true',
      'access-control-max-age': '30',
      vary: 'Origin',
      location: undefined,
    })
    const other = await preflight('https://evil.test')
    t.match(other, { status: 200, headers: { 'access-control-allow-origin': undefined } })
    t.equal(shop.seen.length, before, 'no server was asked')
    const real = await send({ method: 'PUT', headers: { origin: 'https://app.example.org' } })
    t.match(real, {
      by: 'echo-1',
      headers: { 'access-control-allow-origin': 'https://app.example.org', 'access-control-expose-headers': 'x-total' },
    })
    const plain = await send()
    t.match(plain, { by: 'echo-1', headers: { 'access-control-allow-origin': undefined, vary: undefined } })
    const explained = await shop.explain(client, `http://${echo.ipv4}/`, {
      method: 'OPTIONS',
      headers: { origin: 'https://app.example.org', ...asked },
    })
    t.match(explained.backends, [{ outcome: 'preflight', detail: '200' }])
    t.match(explained.steps.join(' '), 'CORS preflight: it is answered 200 with access-control-allow-origin')
  },
)

t.test('HTTPRouteCORS, HTTPRouteBackendProtocolH2C: over HTTP/2 it is the same', async (t) => {
  await using server = await http2ServerIn(echo1.netnsPath, 50051, (stream, headers) => {
    stream.respond({ ':status': 200, 'x-path': headers[':path'] })
    stream.end()
  })
  await shop.change(() => {
    const h2c = [{ name: 'h2c', port: 80, targetPort: 50051, appProtocol: 'kubernetes.io/h2c' }]
    shop.service('echo-h2c', { selector: { version: 'v1' }, ports: h2c })
  })
  const cors = 'allowOrigins: ["https://app.example.org"], allowMethods: [PUT]'
  await shop.apply(route([`filters: [{ type: CORS, cors: { ${cors} } }], backendRefs: [{ name: echo-h2c, port: 80 }]`]))
  t.equal((await send({ target: '/one' })).headers['x-path'], '/one', 'from HTTP/1.1, too')
  using h2 = await http2ClientIn(client.netnsPath, echo.ipv4, 80)
  const origin = 'https://app.example.org'
  const asked = { ':method': 'OPTIONS', ':path': '/', origin, 'access-control-request-method': 'PUT' }
  const preflight = await h2.ask(asked)
  t.equal(preflight.status, 200)
  t.match(preflight.headers, { 'access-control-allow-origin': origin, 'access-control-allow-methods': 'PUT' })
  t.notOk('location' in preflight.headers)
  const real = await h2.ask({ ':method': 'PUT', ':path': '/two', origin })
  t.match(real.headers, { 'x-path': '/two', 'access-control-allow-origin': origin, vary: 'Origin' })
  t.equal(server.opened, 1)
})
