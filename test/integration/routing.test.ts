/** Every match of the Gateway API, weights, filters and references, asked for by real clients. */
import t from 'tap'
import type { LabPod } from '../support/lab.ts'
import { type Answer, type Ask, openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const stranger = await shop.pod('stranger', { namespace: 'other' })
const plain = await shop.pod('plain', { optedIn: false })
const servers: LabPod[] = []
for (const name of ['web', 'v1', 'v2', 'far']) {
  const ports = [{ name: 'named', containerPort: 8080 }]
  servers.push(await shop.pod(name, name === 'far' ? { namespace: 'other', ports } : { ports }))
}
await Promise.all(servers.map((pod) => shop.serve(pod)))
const [webPod] = servers as [LabPod]
await shop.serve(webPod, 9090, 'web-admin')
const web = shop.service('web', {
  ports: [
    { name: 'http', port: 80, targetPort: 'named' },
    { name: 'admin', port: 9000, targetPort: 9090 },
  ],
})
shop.service('v1')
shop.service('v2')
shop.service('nobody')
shop.service('far', { namespace: 'other' })
await shop.start()

interface RouteOptions {
  readonly name?: string
  readonly namespace?: string
  readonly parent?: string
  readonly createdAt?: string
  readonly hostnames?: string
}

/** An HTTPRoute of Service shop/web; `rules` is YAML in flow style. */
function route(
  rules: string,
  { name = 'web', namespace = 'shop', parent = '', createdAt, hostnames }: RouteOptions = {},
) {
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: ${name}, namespace: ${namespace}${createdAt === undefined ? '' : `, creationTimestamp: "${createdAt}"`} }
spec:
  parentRefs: [{ group: "", kind: Service, name: web, namespace: shop${parent} }]
${hostnames === undefined ? '' : `  hostnames: [${hostnames}]\n`}  rules: ${rules}`
}
const V1 = 'backendRefs: [{ name: v1, port: 80 }]'
const V2 = 'backendRefs: [{ name: v2, port: 80 }]'

const ask = (request: Ask = {}, from = client, port = 80, address = web.ipv4): Promise<Answer> =>
  shop.ask(from, address, port, request)

/** What became of a request, in a word: the server that answered, or the mesh's status. */
async function outcome(request: Ask = {}, from = client, port = 80, address = web.ipv4): Promise<string> {
  const answer = await ask(request, from, port, address)
  return answer.by || String(answer.status)
}

/** Asks for real and asks `weir explain`, which must say the same. */
async function outcomeExplained(request: Ask = {}, from = client, port = 80, address = web.ipv4): Promise<string> {
  const real = await outcome(request, from, port, address)
  const host = address.includes(':') ? `[${address}]` : address
  const explained = await shop.explain(from, `http://${host}:${port}${request.target ?? '/'}`, request)
  const possible = explained.backends.flatMap(({ outcome, detail, endpoints }) =>
    outcome === 'forward'
      ? endpoints
          .filter(({ usable }) => usable)
          .map(({ verdict, workload }) => (verdict === 'deny' ? '403' : workload.replace(/^.*\//, '')))
      : [detail.slice(0, 3)],
  )
  if (!possible.includes(real.replace('web-admin', 'web'))) {
    throw new Error(`weir explain says ${possible.join(' or ')}, but it was ${real}\n${explained.steps.join('\n')}`)
  }
  return real
}

t.test(
  'Services are reached by ClusterIP and by pod IP, over IPv4 and IPv6, by number and by name of a port',
  async (t) => {
    await shop.apply(route(`[{ ${V1} }]`))
    t.equal(await outcomeExplained(), 'v1', 'the route applies to the ClusterIP')
    t.equal(await outcomeExplained({}, client, 80, web.ipv6), 'v1', 'and to the IPv6 ClusterIP')
    t.equal(await outcomeExplained({}, client, 8080, webPod.ipv4), 'web', 'and not to the pod itself')
    t.equal(await outcomeExplained({}, client, 8080, webPod.ipv6), 'web')
    t.equal(await outcome({}, client, 8000), '404', 'a port that the Service does not have')
    await shop.apply(route(`[{ ${V1} }]`, { parent: ', port: 9000' }))
    t.equal(await outcomeExplained(), 'web', 'without a route: the named targetPort')
    t.equal(await outcomeExplained({}, client, 9000), 'v1', 'a route for one port of two')
    await shop.apply(route(`[{ ${V1} }]`, { parent: ', sectionName: http' }))
    t.equal(await outcomeExplained(), 'v1', 'a port by its name')
    t.equal(await outcomeExplained({}, client, 9000), 'web-admin', 'the other port has no route')
    const { seen } = await ask({}, client, 80, web.ipv6)
    t.equal(seen?.remoteAddress, client.ipv6, 'the server sees the pod’s address of that family')
  },
)

t.test('paths match exactly, by whole segments, or by an expression', async (t) => {
  await shop.apply(
    route(`
  - { matches: [{ path: { type: Exact, value: /exact } }], ${V1} }
  - { matches: [{ path: { type: PathPrefix, value: /v2 } }], ${V2} }
  - { matches: [{ path: { type: RegularExpression, value: "/item/[0-9]+" } }], backendRefs: [{ name: web, port: 80 }] }`),
  )
  const expected: Record<string, string> = {
    '/exact': 'v1',
    '/exact?a=/v2': 'v1',
    '/exact/': '404',
    '/Exact': '404',
    '/v2': 'v2',
    '/v2/': 'v2',
    '/v2/deep/path?x': 'v2',
    '/v2example': '404',
    '/item/12': 'web',
    '/item/12/more': '404',
    '/item/x': '404',
    '/': '404',
  }
  for (const [target, server] of Object.entries(expected)) t.equal(await outcomeExplained({ target }), server, target)
})

t.test('headers, query parameters and the method are matched, all of them together', async (t) => {
  await shop.apply(
    route(`
  - matches:
      - { method: POST, headers: [{ name: X-Team, value: blue }], queryParams: [{ name: v, value: "1" }] }
      - { headers: [{ name: x-canary, type: RegularExpression, value: "v[0-9]" }] }
    ${V2}
  - { matches: [{ path: { value: / } }], ${V1} }`),
  )
  const all = { method: 'POST', target: '/?v=1', headers: { 'x-team': 'blue' } }
  t.equal(await outcomeExplained(all), 'v2')
  t.equal(await outcomeExplained({ ...all, method: 'GET' }), 'v1', 'another method')
  t.equal(await outcomeExplained({ ...all, target: '/?v=2&v=1' }), 'v1', 'the first value of a parameter counts')
  t.equal(await outcomeExplained({ ...all, headers: { 'x-team': 'Blue' } }), 'v1', 'values are case-sensitive')
  t.equal(await outcomeExplained({ ...all, headers: { 'X-TEAM': 'blue' } }), 'v2', 'names are not')
  t.equal(await outcomeExplained({ headers: { 'x-canary': 'v7' } }), 'v2', 'or the other match')
  t.equal(await outcomeExplained({ headers: { 'x-canary': 'v77' } }), 'v1', 'an expression matches the whole value')
})

t.test('the more specific match wins, over all routes; then the older route, then the name', async (t) => {
  const header = 'headers: [{ name: a, value: "1" }]'
  const two = 'headers: [{ name: a, value: "1" }, { name: b, value: "1" }]'
  const prefix = (value: string) => `path: { type: PathPrefix, value: ${value} }`
  await shop.apply(
    route(`[{ matches: [{ ${prefix('/a')}, ${two} }, { ${prefix('/q')}, ${header} }], ${V1} }]`, {
      name: 'old',
      createdAt: '2020-01-01T00:00:00Z',
    }),
    route(
      `
  - { matches: [{ ${prefix('/a/b')} }, { path: { type: Exact, value: /a } }, { ${prefix('/q')}, method: GET }], ${V2} }
  - { matches: [{ ${prefix('/a')}, ${header} }], backendRefs: [{ name: web, port: 80 }] }`,
      { name: 'young', createdAt: '2024-01-01T00:00:00Z' },
    ),
  )
  const headers = { a: '1', b: '1' }
  t.equal(await outcomeExplained({ target: '/a/b', headers }), 'v2', 'a longer prefix before headers')
  t.equal(await outcomeExplained({ target: '/a', headers }), 'v2', 'an exact path before a prefix')
  t.equal(await outcomeExplained({ target: '/a/x', headers }), 'v1', 'two headers before one')
  t.equal(await outcomeExplained({ target: '/a/x', headers: { a: '1' } }), 'web')
  t.equal(await outcomeExplained({ target: '/q', headers }), 'v2', 'a method before headers')

  const tie = `[{ matches: [{ ${prefix('/')} }],`
  await shop.apply(
    route(`${tie} ${V1} }]`, { name: 'zz', createdAt: '2020-01-01T00:00:00Z' }),
    route(`${tie} ${V2} }]`, { name: 'aa', createdAt: '2024-01-01T00:00:00Z' }),
  )
  t.equal(await outcomeExplained(), 'v1', 'the older route')
  await shop.apply(
    route(`${tie} ${V1} }]`, { name: 'zz', createdAt: '2024-01-01T00:00:00Z' }),
    route(`${tie} ${V2} }]`, { name: 'aa', createdAt: '2024-01-01T00:00:00Z' }),
  )
  t.equal(await outcomeExplained(), 'v2', 'of the same age: the first by name')
  await shop.apply(route(`${tie} ${V1} }, { matches: [{ ${prefix('/')} }], ${V2} }]`))
  t.equal(await outcomeExplained(), 'v1', 'within a route: the first rule')
})

t.test('a route binds by ClusterIP: neither its hostnames nor the Host header count', async (t) => {
  await shop.apply(route(`[{ ${V1} }]`, { hostnames: 'only.example' }))
  t.equal(await outcomeExplained({ headers: { host: 'other.example' } }), 'v1')
  t.equal(await outcomeExplained({ headers: { host: 'v2.shop.svc.cluster.local' } }), 'v1', 'another Service’s name')
  const answer = await ask({ headers: { host: 'other.example' } })
  t.equal(answer.seen?.headers['host'], 'other.example', 'the Host goes on as it came')
  await shop.apply(route(`[{ matches: [{ headers: [{ name: host, value: a.example }] }], ${V2} }]`))
  t.equal(await outcomeExplained({ headers: { host: 'a.example' } }), 'v2', 'a match of the header Host does select')
  t.equal(await outcomeExplained({ headers: { host: 'b.example' } }), '404')
})

t.test('backends share requests by weight, and weight 0 gets none', async (t) => {
  const weights = (a: number, b: number, c: string) =>
    route(
      `[{ backendRefs: [{ name: v1, port: 80, weight: ${a} }, { name: v2, port: 80, weight: ${b} }, { name: ${c}, port: 80, weight: 0 }] }]`,
    )
  const count = async (requests: number) => {
    const counts: Record<string, number> = {}
    for (let i = 0; i < requests; i += 20) {
      for (const name of await Promise.all(Array.from({ length: 20 }, () => outcome())))
        counts[name] = (counts[name] ?? 0) + 1
    }
    return counts
  }
  await shop.apply(weights(3, 1, 'web'))
  const counts = await count(400)
  t.equal((counts['v1'] ?? 0) + (counts['v2'] ?? 0), 400, 'all are answered by the two')
  // Binomial, n = 400, p = 1/4: mean 100, standard deviation 8.7; these bounds are 6 of them away.
  t.ok((counts['v2'] ?? 0) > 48 && (counts['v2'] ?? 0) < 152, `about a quarter: ${counts['v2']}`)
  await shop.apply(weights(0, 5, 'web'))
  t.same(await count(40), { v2: 40 })
  await shop.apply(weights(0, 0, 'web'))
  t.equal(await outcomeExplained(), '500', 'all weights 0')
})

t.test('a reference that cannot work gets its share of 500s, and only its share', async (t) => {
  const half = (bad: string) => route(`[{ backendRefs: [{ name: v1, port: 80 }, ${bad}] }]`)
  const bad = {
    'a Service that does not exist': '{ name: missing, port: 80 }',
    'a port that it does not have': '{ name: v2, port: 81 }',
    'no port': '{ name: v2 }',
    'another kind': '{ group: example.org, kind: Bucket, name: b }',
    'another namespace without a grant': '{ name: far, namespace: other, port: 80 }',
  }
  for (const [what, backend] of Object.entries(bad)) {
    await shop.apply(half(backend))
    const outcomes = await Promise.all(Array.from({ length: 60 }, () => outcome()))
    const failed = outcomes.filter((name) => name === '500').length
    t.equal(outcomes.filter((name) => name === 'v1').length, 60 - failed, `${what}: the others are served`)
    // Binomial, n = 60, p = 1/2: the chance to be outside is below 1e-9.
    t.ok(failed > 7 && failed < 53, `${what}: ${failed} of 60 failed`)
    await outcomeExplained()
  }
  await shop.apply(route('[{ matches: [{ path: { value: /a } }] }]'))
  t.equal(await outcomeExplained({ target: '/a' }), '500', 'a rule without backends')
  t.equal(await outcomeExplained({ target: '/b' }), '404', 'no rule matches')
  await shop.apply(route('[{ backendRefs: [{ name: nobody, port: 80 }] }]'))
  t.equal(await outcomeExplained(), '503', 'a Service without endpoints')
})

t.test('a ReferenceGrant lets a route refer to another namespace, from the moment it exists to its end', async (t) => {
  const grant = (from: string, to: string) => `
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: { name: from-shop, namespace: other }
spec:
  from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: ${from} }]
  to: [{ group: "", kind: Service${to} }]`
  const far = route('[{ backendRefs: [{ name: far, namespace: other, port: 80 }] }]')
  await shop.apply(far)
  t.equal(await outcomeExplained(), '500')
  await shop.apply(far, grant('shop', ''))
  t.equal(await outcomeExplained(), 'far')
  await shop.apply(far, grant('shop', ', name: near'))
  t.equal(await outcomeExplained(), '500', 'a grant for another Service')
  await shop.apply(far, grant('shop', ', name: far'))
  t.equal(await outcomeExplained(), 'far')
  await shop.apply(far, grant('elsewhere', ''))
  t.equal(await outcomeExplained(), '500', 'a grant for another namespace')
  await shop.apply(far, grant('shop', ''))
  t.equal(await outcomeExplained(), 'far')
  await shop.apply(far)
  t.equal(await outcomeExplained(), '500', 'the grant is gone')
})

t.test('a consumer route binds the clients of its own namespace only, in place of the producer’s routes', async (t) => {
  await shop.apply(
    route(`[{ matches: [{ path: { value: /only } }], ${V1} }]`),
    route(`[{ matches: [{ path: { value: /far } }], backendRefs: [{ name: far, port: 80 }] }]`, {
      namespace: 'other',
      name: 'mine',
    }),
  )
  t.equal(await outcomeExplained({ target: '/far' }, stranger), 'far')
  t.equal(await outcomeExplained({ target: '/only' }, stranger), '404', 'the producer’s routes do not apply to it')
  t.equal(await outcomeExplained({ target: '/far' }), '404', 'and its route to nobody else')
  t.equal(await outcomeExplained({ target: '/only' }), 'v1')
})

t.test('filters change requests and responses as the route says', async (t) => {
  const header = (kind: string, edits: string) =>
    `{ type: ${kind}HeaderModifier, ${kind.toLowerCase()}HeaderModifier: ${edits} }`
  await shop.apply(
    route(`
  - filters:
      - ${header('Request', '{ set: [{ name: X-Set, value: new }], add: [{ name: x-add, value: b }], remove: [X-Gone] }')}
      - ${header('Response', '{ set: [{ name: x-from, value: weir }], add: [{ name: x-extra, value: "1" }], remove: [Date] }')}
    backendRefs:
      - name: v1
        port: 80
        filters: [${header('Request', '{ add: [{ name: x-add, value: c }] }')}]`),
  )
  const answer = await ask({ headers: { 'x-set': ['old', 'older'], 'x-add': 'a', 'x-gone': '1', 'x-stays': '1' } })
  t.equal(answer.seen?.headers['x-set'], 'new', 'set replaces all values, whatever the case of the name')
  t.equal(answer.seen?.headers['x-add'], 'a,b,c', 'add comes after; the backend’s after the rule’s')
  t.notOk(answer.seen?.headers['x-gone'], 'removed')
  t.equal(answer.seen?.headers['x-stays'], '1')
  t.match(answer.headers, { 'x-from': 'weir', 'x-extra': '1' })
  t.notOk(answer.headers['date'])
})

t.test('URLRewrite changes path and Host, and keeps the query', async (t) => {
  const rewrite = (value: string) =>
    route(`[{ matches: [{ path: { value: /old } }], filters: [{ type: URLRewrite, urlRewrite: ${value} }], ${V1} }]`)
  const seen = async (target: string) => (await ask({ target })).seen
  await shop.apply(rewrite('{ hostname: new.example, path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } }'))
  t.equal((await seen('/old/a/b?x=/old'))?.target, '/new/a/b?x=/old')
  t.equal((await seen('/old'))?.target, '/new')
  t.equal((await seen('/old/'))?.target, '/new/')
  t.equal((await seen('/old'))?.headers['host'], 'new.example')
  await shop.apply(rewrite('{ path: { type: ReplacePrefixMatch, replacePrefixMatch: / } }'))
  t.equal((await seen('/old/a'))?.target, '/a')
  t.equal((await seen('/old?q'))?.target, '/?q')
  await shop.apply(rewrite('{ path: { type: ReplaceFullPath, replaceFullPath: /whole } }'))
  t.equal((await seen('/old/a?b=c'))?.target, '/whole?b=c')
})

t.test('RequestRedirect answers by itself, with the Location that the route says', async (t) => {
  const redirect = (fields: string) =>
    route(
      `[{ matches: [{ path: { value: /old } }], filters: [{ type: RequestRedirect, requestRedirect: ${fields} }] }]`,
    )
  const cases: [string, number, string][] = [
    ['{ scheme: https }', 302, 'https://web.shop/old/a?q=1'],
    ['{ hostname: new.example, statusCode: 301 }', 301, 'http://new.example/old/a?q=1'],
    ['{ port: 8443, statusCode: 303 }', 303, 'http://web.shop:8443/old/a?q=1'],
    [
      '{ path: { type: ReplacePrefixMatch, replacePrefixMatch: /new }, statusCode: 307 }',
      307,
      'http://web.shop/new/a?q=1',
    ],
    [
      '{ path: { type: ReplaceFullPath, replaceFullPath: /x }, scheme: https, port: 443, statusCode: 308 }',
      308,
      'https://web.shop/x?q=1',
    ],
  ]
  for (const [fields, status, location] of cases) {
    await shop.apply(redirect(fields))
    const before = shop.seen.length
    const request = { target: '/old/a?q=1', headers: { host: 'web.shop' } }
    const answer = await ask(request)
    t.equal(answer.status, status, fields)
    t.equal(answer.headers.location, location)
    t.equal(shop.seen.length, before, 'no server is asked')
    const explained = await shop.explain(client, `http://${web.ipv4}/old/a?q=1`, request)
    t.same(
      explained.backends.map(({ outcome, detail }) => [outcome, detail]),
      [['redirect', `${status} with Location ${location}`]],
    )
  }
})

t.test('a timeout longer than any timer waits all the same', async (t) => {
  for (const timeouts of ['{ request: 9999h }', '{ request: 9999h, backendRequest: 600h }']) {
    await shop.apply(route(`[{ timeouts: ${timeouts}, ${V1} }]`))
    const arrived = shop.arrival('long')
    const answer = ask({ target: '/?wait=long' })
    await Promise.race([arrived, answer])
    for (let i = 0; i < 10; i++) await ask({ target: '/' })
    shop.release('long')
    t.equal((await answer).status, 200, timeouts)
  }
})

t.test('a request that takes longer than its timeout is answered 504, whichever timeout it is', async (t) => {
  for (const timeouts of [
    '{ request: 150ms }',
    '{ backendRequest: 150ms }',
    '{ request: 5s, backendRequest: 150ms }',
  ]) {
    await shop.apply(route(`[{ timeouts: ${timeouts}, ${V1} }]`))
    const from = shop.agent.logs.length
    const answer = await ask({ target: '/?hang' })
    t.equal(answer.status, 504, timeouts)
    t.equal(answer.body, 'weir: the upstream did not answer in time')
    t.match(await shop.agent.waitFor((line) => line['status'] === 504, { from }), {
      status: 504,
      flags: 'UT',
      route: 'shop/web',
      rule: '0',
    })
    t.equal(await outcome(), 'v1', 'one that is quick enough is served')
  }
})

t.test('requests go to ready pods only, and spread over them', async (t) => {
  const pods: LabPod[] = []
  const from = shop.agent.logs.length
  for (const name of ['many-1', 'many-2', 'many-3']) pods.push(await shop.pod(name, { labels: { app: 'many' } }))
  // One that is not enrolled yet refuses, and others get its share.
  for (const { name } of pods)
    await shop.agent.waitFor((line) => line['msg'] === 'pod enrolled' && line['pod'] === `shop/${name}`, { from })
  for (const pod of pods) await shop.serve(pod)
  let many = { ipv4: '', ipv6: undefined as string | undefined }
  await shop.change(() => {
    many = shop.service('many')
  })
  const spread = async () => {
    const names = await Promise.all(Array.from({ length: 60 }, () => outcome({}, client, 80, many.ipv4)))
    return Map.groupBy(names, (name) => name)
  }
  const first = await spread()
  t.same([...first.keys()].sort(), ['many-1', 'many-2', 'many-3'])
  // 60 at once, each to the less loaded of two: far from even would be a broken balance.
  for (const [name, got] of first) t.ok(got.length >= 5 && got.length <= 40, `${name} got ${got.length} of 60`)
  await shop.change(() => pods[1]?.update({ ready: false }))
  t.same([...(await spread()).keys()].sort(), ['many-1', 'many-3'], 'not to the one that is not ready')
  t.match(await outcomeExplained({}, client, 80, many.ipv4), /^many-[13]$/)
  await shop.change(() => {
    for (const pod of pods) pod.update({ ready: false })
  })
  t.equal(await outcomeExplained({}, client, 80, many.ipv4), '503', 'none is ready')
})

t.test('EndpointSlices, where there are any, say where a Service goes, not its selector', async (t) => {
  const slice = (ready: boolean) => `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, namespace: shop, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
ports: [{ name: http, port: 8080, protocol: TCP }]
endpoints: [{ addresses: ["${servers[2]?.ipv4}"], conditions: { ready: ${ready} }, targetRef: { kind: Pod, name: v2, namespace: shop } }]`
  await shop.apply()
  t.equal(await outcomeExplained(), 'web')
  await shop.apply(slice(true))
  t.equal(await outcomeExplained(), 'v2')
  await shop.apply(slice(false))
  t.equal(await outcomeExplained(), '503')
  await shop.apply()
  t.equal(await outcomeExplained(), 'web', 'the selector counts again')
})

t.test('a client outside the mesh is not routed', async (t) => {
  await shop.apply(route(`[{ ${V1} }]`))
  t.equal(await outcomeExplained({}, plain, 8080, webPod.ipv4), 'web')
})

t.test('an invalid route answers 500 and says which field is wrong; mended, it routes again', async (t) => {
  await shop.apply(route(`[{ matches: [{ path: { type: Exact, value: nowhere } }], ${V1} }]`))
  t.equal(await outcomeExplained(), '500')
  const { stdout } = await shop.agent.cli('status')
  t.match(stdout, /test\.yaml.*HTTPRoute shop\/web: spec\.rules\[0\]\.matches\[0\]\.path\.value: a path begins with \//)
  await shop.apply(route(`[{ ${V1} }]`))
  t.equal(await outcomeExplained(), 'v1')
  t.equal((await shop.agent.cli('status')).code, 0)
})
