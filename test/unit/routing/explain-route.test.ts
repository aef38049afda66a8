import t from 'tap'
import { explainRoute } from '#routing'
import { backend, calling, endpoint, facts, match, route, rule, service, snapshotOf, workload } from './mesh-fixture.ts'

const snapshot = snapshotOf(
  service('shop/web', { endpoints: { '80': [endpoint('10.0.0.1'), endpoint('10.0.0.2', { ready: false })] } }),
  service('shop/v2', { endpoints: {} }),
  route(
    'shop/r',
    [
      rule({
        name: 'canary',
        matches: [match('PathPrefix /', { headers: [{ name: 'x-canary', match: { type: 'Exact', value: 'yes' } }] })],
        backends: [backend('shop/v2')],
      }),
      rule({ backends: [backend('shop/web', 90), backend('shop/none', 10)], requestTimeoutMs: 500 }),
    ],
    { hostnames: ['web.example'] },
  ),
  route('client/own', [
    rule({
      matches: [match('PathPrefix /old')],
      backends: [],
      filters: [{ type: 'RequestRedirect', hostname: 'new.example', statusCode: 301 }],
    }),
  ]),
  route('shop/other-port', [rule()], { parents: [{ service: { namespace: 'shop', name: 'web' }, port: 81 }] }),
)

t.test('every step is told, in order', async (t) => {
  const lines = explainRoute(snapshot, calling(snapshot, 'shop/web', 80, workload('shop/pod')), facts(), 0)
  t.same(lines, [
    'Workload shop/pod calls Service shop/web, port 80 (http).',
    'HTTPRoute client/own is a consumer route: it binds clients in namespace client only.',
    'HTTPRoute shop/other-port binds another port of the Service.',
    'Hostnames of HTTPRoute shop/r do not count: a route with a Service as parent binds by ClusterIP.',
    'The producer routes apply: shop/r (2 matches; only those for this path are tried).',
    'HTTPRoute shop/r, rule canary (PathPrefix /) does not match: header x-canary must be "yes", but is absent.',
    'HTTPRoute shop/r, rule 1 (PathPrefix /) matches and decides.',
    '90 % of its requests go to shop/web:80 (1 of 2 endpoints usable).',
    '10 % of its requests fail with 500: backend Service shop/none does not exist.',
    'This request goes to Service shop/web, port 80 (1 of 2 endpoints usable).',
    'The whole request may take 500 ms.',
  ])
})

t.test('the failing share, an unusable backend and a redirect are told too', async (t) => {
  const request = calling(snapshot)
  t.equal(
    explainRoute(snapshot, request, facts(), 0.95).at(-1),
    'This request fails with 500: backend Service shop/none does not exist.',
  )
  t.equal(
    explainRoute(snapshot, request, facts({ headers: { 'x-canary': 'yes' } }), 0).at(-1),
    'It fails with 503: the Service has no usable endpoint.',
  )
  const consumer = calling(snapshot, 'shop/web', 80, workload('client/pod'))
  const lines = explainRoute(snapshot, consumer, facts({ path: '/old' }), 0)
  t.ok(
    lines.includes(
      "HTTPRoute shop/r is a producer route: the consumer routes of the client's own namespace replace it.",
    ),
  )
  t.equal(lines.at(-1), 'This request is answered 301 with Location http://new.example/old.')
  t.match(
    explainRoute(snapshot, consumer, facts({ path: '/new' }), 0).at(-1),
    /^This request fails with 404: no rule of the consumer HTTPRoutes/,
  )
})

t.test('a Service without routes is explained', async (t) => {
  const lines = explainRoute(snapshot, calling(snapshot, 'shop/v2'), facts(), 0)
  t.same(lines.slice(0, 2), ['An unknown client calls Service shop/v2, port 80 (http).', 'No route applies.'])
})

t.test(
  'where gRPC is spoken a failure has its status, too; a reason that asks ends in its question mark',
  async (t) => {
    const port = { name: 'grpc', port: 80, protocol: 'grpc' } as const
    const calls = service('shop/web', { ports: [port] })
    const last = (...routes: ReturnType<typeof route>[]) => {
      const request = { client: workload('shop/pod'), service: calls, port }
      return explainRoute(snapshotOf(calls, ...routes), request, facts(), 0).at(-1)
    }
    t.equal(
      last(route('shop/r', [rule({ matches: [match('Exact /none')] })])),
      'This request fails with 404 (UNIMPLEMENTED for gRPC): no rule of the producer HTTPRoutes matches (shop/r).',
    )
    t.equal(
      last(route('shop/r', [], { invalid: 'spec.rule: unknown field; did you mean rules?' })),
      'This request fails with 500 (UNAVAILABLE for gRPC): spec.rule: unknown field; did you mean rules?',
    )
  },
)
