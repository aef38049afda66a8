import t from 'tap'
import type { BackendTls, ExternalHost, MeshService } from '#contract'
import { type Snapshot, World } from '#mesh'
import type { IdentityState } from '../../../agent/admin/backend.ts'
import type { Explanation, KnownHere } from '../../../agent/admin/explain.ts'
import { explain } from '../../../agent/admin/explain.ts'
import { readExplainQuery } from '../../../agent/admin/explain-query.ts'
import { FakeBackend, SHOP, workload } from './fake-backend.ts'

const { snapshot } = new FakeBackend()

function ask(from: string, to: string, more = ''): Explanation {
  return explainIn(snapshot, from, to, more)
}

function explainIn(snapshot: Snapshot, from: string, to: string, more = ''): Explanation {
  const query = readExplainQuery(new URLSearchParams(`from=${from}&to=${encodeURIComponent(to)}${more}`))
  if (typeof query === 'string') throw new Error(query)
  const found = explain(snapshot, 'cluster.local', query)
  if (typeof found === 'string') throw new Error(found)
  return found
}

t.test('a split names every backend with its share and what policy says there', async (t) => {
  const found = ask('shop/web-1', 'http://reviews/1')
  t.match(found, { route: 'shop/reviews', rule: 'split' })
  t.match(found.backends, [
    {
      service: 'shop/reviews-v1:80',
      percent: 90,
      outcome: 'forward',
      endpoints: [{ workload: 'shop/reviews-v1-1', usable: true, verdict: 'allow', policy: 'shop/only-web' }],
    },
    { service: 'shop/reviews-v2:80', percent: 10, outcome: 'forward' },
  ])
  t.equal(found.backends.length, 2)
  const words = found.steps.join('\n')
  t.match(words, /Service shop\/reviews/)
  t.match(words, /90 % of its requests go to shop\/reviews-v1:80/)
  t.match(words, /Policy at shop\/reviews-v1-1:8080:/)
})

t.test('a header decides the route', async (t) => {
  const found = ask('shop/web-1', 'http://reviews/1', '&header=X-Canary:%20yes')
  t.match(found, { rule: 'canary', backends: [{ service: 'shop/reviews-v2:80', percent: 100 }] })
  t.equal(found.backends.length, 1)
})

t.test('a method that no policy allows is denied, and the policy is named', async (t) => {
  const found = ask('shop/web-1', 'http://reviews/1', '&method=DELETE')
  t.match(found.backends[0]?.endpoints[0], { verdict: 'deny', policy: 'shop/only-web' })
  t.match(found.steps.join('\n'), /Denied: /)
})

t.test('a client that has not opted in has no identity and is not routed', async (t) => {
  const found = ask('shop/cron-1', 'http://reviews-v1/1')
  t.match(found, { route: '', backends: [{ endpoints: [{ verdict: 'deny' }] }] })
  t.match(found.steps.join('\n'), /has not opted in/)
})

t.test('every spelling of a Service finds it, also from another namespace', async (t) => {
  const hosts = [
    'reviews',
    'reviews.shop',
    'reviews.shop.svc',
    'Reviews.shop.svc.cluster.local',
    'reviews.shop.svc.cluster.local.',
    '10.9.0.1',
    '[fd00:9::1]',
  ]
  for (const host of hosts) t.equal(ask('shop/web-1', `http://${host}/`).route, 'shop/reviews', host)
  t.equal(ask('shop/web-1', 'reviews:80/x').route, 'shop/reviews', 'without a scheme')
})

t.test('a pod’s own address and a headless Service are not routed, but judged', async (t) => {
  for (const to of ['http://10.1.0.4:8080/', 'http://headless:8080/']) {
    const found = ask('shop/web-1', to)
    t.match(found, { route: '', backends: [{ service: 'shop/reviews-v1-1:8080', endpoints: [{ verdict: 'allow' }] }] })
  }
})

t.test('what the mesh does not know goes there as it is', async (t) => {
  for (const to of ['http://example.com/', 'http://192.0.2.1/', 'http://reviews.other/', 'http://a.b.c.d/']) {
    const found = ask('shop/web-1', to)
    t.equal(found.backends.length, 0, to)
    t.match(found.steps.join(' '), /The connection goes there as it is/, to)
  }
})

t.test('a port that the Service does not have is told with those it has', async (t) => {
  const found = ask('shop/web-1', 'http://reviews:81/')
  t.match(found.destination, /no port 81; it has 80/)
  t.match(found.backends, [{ outcome: 'fail', percent: 100, detail: '404: Service shop/reviews has no port 81' }])
  t.match(found.steps.at(-1), 'This request is answered with 404')
  const tcp = ask('shop/web-1', 'tcp://reviews:81')
  t.match(tcp.backends, [{ outcome: 'fail', detail: 'reset: Service shop/reviews has no port 81' }])
})

t.test('TCP is judged without the request: an ALLOW rule on methods never matches it', async (t) => {
  const found = ask('shop/web-1', 'tcp://reviews-v1:80')
  t.match(found.backends[0]?.endpoints[0], { verdict: 'deny' })
})

t.test('questions that make no sense are answered with the field', async (t) => {
  const wrong: [string, RegExp][] = [
    ['from=web-1&to=http://reviews', /^Field from/],
    ['from=shop/web-1', /^Field to/],
    ['from=shop/web-1&to=ftp://reviews', /^Field to: scheme ftp/],
    ['from=shop/web-1&to=ws://reviews', /^Field to: scheme ws:.*: the handshake of a WebSocket is a GET, ask for http/],
    ['from=shop/web-1&to=grpc://reviews', /^Field to: scheme grpc:.* with --method POST$/],
    ['from=shop/web-1&to=http://reviews&method=G%20T', /^Field method/],
    ['from=shop/web-1&to=http://reviews&header=nothing', /^Field header/],
  ]
  for (const [query, line] of wrong) t.match(readExplainQuery(new URLSearchParams(query)), line)
  const query = readExplainQuery(new URLSearchParams('from=shop/nobody&to=http://reviews'))
  t.match(
    typeof query === 'string' ? query : explain(snapshot, 'cluster.local', query),
    /^Pod shop\/nobody is not known/,
  )
})

t.test('a pod with addresses of both families is told once', async (t) => {
  const backend = new FakeBackend()
  const reviews = backend.snapshot.service('shop/reviews-v1')
  if (reviews === undefined) throw new Error('The fake shop has no reviews-v1')
  const [endpoint, ...others] = reviews.endpoints['80'] ?? []
  if (endpoint === undefined) throw new Error('reviews-v1 has no endpoint')
  const both = { ...reviews, endpoints: { 80: [endpoint, { ...endpoint, address: 'fd00::4' }, ...others] } }
  backend.world.apply({ version: 2, reset: false, upsert: [both], remove: [] })
  const found = explainIn(backend.snapshot, 'shop/web-1', 'http://reviews-v1/1')
  t.equal(found.backends[0]?.endpoints.length, 2)
  t.strictSame(
    found.steps.filter((step) => step.startsWith('Policy at')),
    ['Policy at shop/reviews-v1-1:8080:'],
  )
})

t.test('a name is told as it was asked for', async (t) => {
  t.equal(ask('shop/web-1', 'http://reviews/').steps[0]?.startsWith('reviews is Service shop/reviews, '), true)
})

t.test('an endpoint of which only the address is known is judged as the pod that it is', async (t) => {
  const shop = new FakeBackend()
  const entry: ExternalHost = { entry: 'outside', resolution: 'STATIC', cidrs: [] }
  const outside: MeshService = {
    kind: 'service',
    namespace: 'shop',
    name: 'api.example',
    addresses: ['240.240.0.1'],
    ports: [{ name: 'http', port: 80, protocol: 'http' }],
    endpoints: { 80: [{ address: '10.1.0.5', port: 8080, ready: true, terminating: false }] },
    sliced: false,
    external: entry,
  }
  shop.world.apply({ version: 2, reset: false, upsert: [outside], remove: [] })
  const found = explainIn(shop.snapshot, 'shop/web-1', 'http://api.example/', '&method=DELETE')
  t.match(found.backends, [
    { endpoints: [{ workload: 'shop/reviews-v2-1', verdict: 'deny', policy: 'shop/only-web' }] },
  ])
})

t.test('TLS to a backend is told, and a policy of it that cannot be carried out is a failure', async (t) => {
  const shop = new FakeBackend()
  const tls: BackendTls = {
    kind: 'backend-tls',
    namespace: 'shop',
    name: 'tls',
    createdAt: '',
    targets: [{ service: 'reviews-v1' }],
    hostname: 'reviews.example',
    names: [],
  }
  const after = (policy: BackendTls, version: number) => {
    shop.world.apply({ version, reset: false, upsert: [policy], remove: [] })
    return explainIn(shop.snapshot, 'shop/web-1', 'http://reviews-v1/')
  }
  const good = after(tls, 2)
  t.match(good.backends, [{ outcome: 'forward' }])
  t.ok(
    good.steps.includes(
      'The mesh speaks TLS to the endpoint, asks for reviews.example, and its certificate must be for reviews.example: BackendTLSPolicy shop/tls applies.',
    ),
  )
  const broken = after({ ...tls, invalid: 'ConfigMap shop/roots does not exist' }, 3)
  const why = 'BackendTLSPolicy shop/tls: ConfigMap shop/roots does not exist'
  t.match(broken.backends, [{ service: 'shop/reviews-v1:80', outcome: 'fail', detail: `503: ${why}`, endpoints: [] }])
  t.ok(broken.steps.includes(`It fails with 503: ${why}.`))
})

t.test('between nodes it tells of the tunnel, who proves what to whom, and what stands in the way', async (t) => {
  const world = new World()
  const plain = { mode: 'DISABLE', ports: {}, policy: 'shop/plain' } as const
  const pods = [
    workload('near-1', '10.2.0.1', { node: 'node-1' }),
    workload('far-1', '10.2.0.2', { node: 'node-2' }),
    workload('plain-1', '10.2.0.3', { node: 'node-2', optedIn: false }),
    workload('open-1', '10.2.0.4', { node: 'node-2', peerModes: plain }),
  ]
  world.apply({ version: 1, reset: true, upsert: [...SHOP, ...pods], remove: [] })
  const between = (to: string, from = 'shop/web-1', known: KnownHere = {}) => {
    const query = readExplainQuery(new URLSearchParams(`from=${from}&to=http://${to}:8080/`))
    if (typeof query === 'string') throw new Error(query)
    const found = explain(world.snapshot, 'cluster.local', query, known)
    if (typeof found === 'string') throw new Error(found)
    return found.steps.filter((step) => step.startsWith('Between nodes:'))
  }
  const id = (account: string) => `spiffe://cluster.local/ns/shop/sa/${account}`
  const tunnel = `Between nodes: to shop/far-1 on node-2 through a tunnel with mutual TLS, ${id('web')} calling ${id('far')}.`
  t.strictSame(between('10.2.0.1'), [])
  t.strictSame(between('10.2.0.2'), [tunnel])
  t.match(between('10.2.0.3'), ['Between nodes: to shop/plain-1 on node-2 in plain text: that pod has not opted in.'])
  t.match(between('10.2.0.4'), [/in plain text: PeerAuthentication shop\/plain is DISABLE\.$/])
  t.match(between('10.2.0.2', 'shop/cron-1'), [/in plain text: the client has not opted in\.$/])
  const [base] = new FakeBackend().identityList
  if (base === undefined) throw new Error('The fake backend has no identity')
  const withState = (state: IdentityState['state'], lastError = '') =>
    between('10.2.0.2', 'shop/web-1', { identities: [{ ...base, state, lastError }] })
  t.strictSame(withState('valid'), [tunnel])
  t.strictSame(withState('failing', 'the CA is away'), [tunnel])
  t.strictSame(withState('pending', 'the CA is away'), [
    `${tunnel} It fails now: the client has no certificate yet: the CA is away.`,
  ])
  t.strictSame(withState('expired'), [`${tunnel} It fails now: the client's certificate has ended.`])
  t.match(withState('revoked'), [/It fails now: the client's certificate is revoked/])
})

t.test('a pod that asks its own DNS server is told so where a name is asked for', async (t) => {
  const own = (to: string, uid: string) => {
    const query = readExplainQuery(new URLSearchParams(`from=shop/web-1&to=http://${to}/`))
    if (typeof query === 'string') throw new Error(query)
    const found = explain(snapshot, 'cluster.local', query, { asksOwnDns: (asked) => asked === uid })
    return typeof found === 'string' ? found : found.steps.some((step) => /asks its own DNS server/.test(step))
  }
  t.strictSame(
    [own('reviews', 'uid-web-1'), own('10.9.0.1', 'uid-web-1'), own('[fd00:9::1]', 'uid-web-1'), own('reviews', 'x')],
    [true, false, false, false],
  )
})
