/** What proxies tell of requests is read as it was written, or not at all; and what spans are made of it. */
import fc from 'fast-check'
import t from 'tap'
import { readBatch, renderBatch, renderEdge, renderRow, spansOf, type TracedEdge, type TracedRequest } from '#tracing'

const PEER = { namespace: 'shop', pod: 'web-1', uid: 'u1', service: 'web', version: '' }
const EDGE: TracedEdge = {
  source: { namespace: 'shop', pod: 'client-1', uid: 'u2', service: 'client', version: 'v1' },
  destination: PEER,
  host: 'web.shop.svc.cluster.local',
  sides: 'both',
}
const REQUEST: TracedRequest = {
  traceId: '0af7651916cd43dd8448eb211c80319c',
  parentId: 'b7ad6b7169203331',
  clientId: '1111111111111111',
  serverId: '2222222222222222',
  sampled: true,
  reason: 'head',
  startMs: 1_763_000_000_000.125,
  durationMs: 12.5,
  method: 'GET',
  path: '/cart',
  authority: 'web:8080',
  isHttp2: false,
  isGrpc: false,
  isMirror: false,
  status: 200,
  grpcStatus: -1,
  flag: '-',
  why: '',
  clientAddress: '10.0.0.1',
  upstream: '10.0.0.2:8080',
  route: '',
  policy: '',
  requestId: '',
  bytesIn: 0,
  bytesOut: 5,
  retries: [],
}

const spans = (changes: Partial<TracedRequest>, edge: Partial<TracedEdge> = {}) =>
  spansOf({ ...EDGE, ...edge }, { ...REQUEST, ...changes })

t.test('a batch is read as it was written, whatever the texts in it', async () => {
  const text = fc.string({ maxLength: 60 })
  const changes = fc.record(
    {
      path: text,
      authority: text,
      why: text,
      requestId: text,
      status: fc.nat(599),
      sampled: fc.boolean(),
      isHttp2: fc.boolean(),
      isGrpc: fc.boolean(),
      isMirror: fc.boolean(),
      parentId: fc.constantFrom('', 'b7ad6b7169203331'),
      reason: fc.constantFrom('head', 'error', 'slow'),
      retries: fc.array(fc.record({ atMs: fc.nat(1000), upstream: text, why: text }), { maxLength: 3 }),
    },
    { requiredKeys: [] },
  )
  const other: TracedEdge = { source: undefined, destination: undefined, host: '', sides: 'server' }
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), changes), { maxLength: 5 }), (requests) => {
      const rows = requests.map(([isOther, some]) => renderRow(isOther ? 1 : 0, { ...REQUEST, ...some }))
      const read = readBatch(renderBatch([EDGE, other].map(renderEdge), rows))
      const meant = requests.map(([isOther, some]) => ({
        edge: isOther ? other : EDGE,
        request: { ...REQUEST, ...some },
      }))
      return JSON.stringify(read?.map(sorted)) === JSON.stringify(meant.map(sorted))
    }),
  )
})

function sorted(value: { readonly edge: TracedEdge; readonly request: TracedRequest }): unknown {
  return [value.edge, Object.entries(value.request).sort(([a], [b]) => (a < b ? -1 : 1))]
}

t.test('a batch that is not whole, or names ids that are none, is not read', async (t) => {
  const good = renderBatch([renderEdge(EDGE)], [renderRow(0, REQUEST)])
  t.equal(readBatch(good)?.length, 1)
  for (const bad of [
    '',
    'null',
    '[]',
    '[[],[]',
    good.slice(0, -1),
    good.replace('"0af7651916cd43dd8448eb211c80319c"', '"0af7"'),
    good.replace('"0af7651916cd43dd8448eb211c80319c"', '"0AF7651916CD43DD8448EB211C80319C"'),
    good.replace('"1111111111111111"', '7'),
    renderBatch([renderEdge(EDGE)], [renderRow(1, REQUEST)]),
    renderBatch([], [renderRow(0, REQUEST)]),
    good.replace('"/cart"', `"${'x'.repeat(17_000)}"`),
    good.replace('"web-1"', `"${'x'.repeat(5_000)}"`),
    renderBatch(
      [renderEdge(EDGE)],
      Array.from({ length: 2_000 }, () => renderRow(0, REQUEST)),
    ),
  ]) {
    t.equal(readBatch(bad), undefined, bad.slice(0, 80))
  }
  fc.assert(
    fc.property(fc.nat(good.length), fc.string({ maxLength: 3 }), (at, text) => {
      readBatch(good.slice(0, at) + text + good.slice(at + text.length))
      return true
    }),
  )
})

t.test('texts that a client chose are cut', async (t) => {
  const long = 'x'.repeat(100_000)
  const retries = Array.from({ length: 100 }, () => ({ atMs: 1, upstream: `${'x'.repeat(253)}:65535`, why: 'reset' }))
  const row = renderRow(0, { ...REQUEST, path: long, authority: long, method: long, why: long, retries })
  t.ok(row.length < 8_000)
  t.equal(readBatch(renderBatch([renderEdge(EDGE)], [row]))?.length, 1)
})

t.test('each side is a span of its own peer, the server a child of the client', async (t) => {
  t.match(spans({}), [
    {
      side: 'client',
      spanId: '1111111111111111',
      parentId: 'b7ad6b7169203331',
      parentIsRemote: true,
      peer: EDGE.source,
    },
    { side: 'server', spanId: '2222222222222222', parentId: '1111111111111111', parentIsRemote: false, peer: PEER },
  ])
  t.match(spans({ clientId: '' }, { sides: 'server', source: undefined }), [
    { side: 'server', parentId: 'b7ad6b7169203331', parentIsRemote: true },
  ])
  t.match(spans({ serverId: '', parentId: '' }, { sides: 'client' }), [{ side: 'client', parentId: '' }])
})

t.test('what never left is no span of the server, unless it was refused there', async (t) => {
  for (const flag of ['UF', 'UO', 'RL', 'FI', 'OM']) {
    t.same(
      spans({ flag, status: 503 }).map(({ side }) => side),
      ['client'],
      flag,
    )
  }
  for (const flag of ['RBAC', 'UT', 'UC', '-']) t.equal(spans({ flag }).length, 2, flag)
  t.equal(
    spans({ flag: 'UF', status: 503, clientId: '' }, { sides: 'server' }).length,
    1,
    'its application is not there',
  )
})

t.test('to a client a 4xx is an error, to a server it is not', async (t) => {
  const errors = (changes: Partial<TracedRequest>) => spans(changes).map(({ attributes }) => attributes['error.type'])
  t.same(errors({}), [undefined, undefined])
  t.same(errors({ status: 404 }), ['404', undefined])
  t.same(errors({ status: 503 }), ['503', '503'])
  t.same(errors({ status: 403, flag: 'RBAC' }), ['weir.RBAC', 'weir.RBAC'])
  t.same(errors({ isGrpc: true, grpcStatus: 3 }), ['INVALID_ARGUMENT', undefined])
  t.same(errors({ isGrpc: true, grpcStatus: 99 }), ['99', undefined])
  t.equal(spans({ status: 503 })[0]?.error?.message, '')
  t.equal(spans({ status: 503, flag: 'UH', why: 'no healthy endpoint' })[0]?.error?.message, 'no healthy endpoint')
})

t.test('methods that nobody knows do not become names', async (t) => {
  t.match(spans({ method: 'BREW' })[0], {
    name: 'HTTP',
    attributes: { 'http.request.method': '_OTHER', 'http.request.method_original': 'BREW' },
  })
  t.match(spans({ method: '' })[0]?.attributes, {
    'http.request.method': '_OTHER',
    'http.request.method_original': undefined,
  })
})

t.test('addresses are told without their ports, of both families', async (t) => {
  const of = (authority: string, upstream = '[fd57::2]:8080') => spans({ authority, upstream })[0]?.attributes
  t.match(of('web'), { 'server.address': 'web', 'server.port': 80 })
  t.match(of('[fd57::1]:81'), { 'server.address': 'fd57::1', 'server.port': 81, 'network.peer.address': 'fd57::2' })
  t.match(of(''), { 'server.address': 'web.shop.svc.cluster.local', 'server.port': 8080 })
  t.match(of('', ''), { 'server.port': 80, 'network.peer.address': undefined })
})
