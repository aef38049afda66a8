/** Spans of requests as a real collector gets them: one node, all ways a request can go. */
import grpc from '@grpc/grpc-js'
import t from 'tap'
import { FailingServer } from '../support/failing-server.ts'
import { GrpcPodClient, grpcServerIn } from '../support/grpc-pods.ts'
import { http2ClientIn, http2ServerIn } from '../support/http2-pods.ts'
import { OtlpReceiver, type SeenSpan } from '../support/otlp-receiver.ts'
import { openShop } from '../support/shop.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'
let traces = 0
/** A trace id that no other test has. */
const newTrace = () => `${String(++traces).padStart(4, '0')}${TRACE.slice(4)}`

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const other = await shop.pod('other')
const outsider = await shop.pod('outsider', { optedIn: false })
const web = await shop.pod('web', { labels: { app: 'web', version: 'v1' } })
const service = shop.service('web', {
  ports: [
    { name: 'http', port: 80, targetPort: 8080 },
    { name: 'grpc', port: 7001 },
    { name: 'http2', port: 7002 },
  ],
})
const failing = shop.service('failing')
const broken = new FailingServer(t, await shop.pod('failing'))
const server = new FailingServer(t, web)
shop.lab.apply(`
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: no-other, namespace: shop }
spec:
  selector: { matchLabels: { app: web } }
  action: DENY
  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/other] } }] }]`)
let receiver = await OtlpReceiver.start(shop.lab.node)
const url = OtlpReceiver.url(shop.lab.node)
await shop.start(['--trace-otlp', url, '--trace-sample', '0', '--trace-slow', '300ms'])

/** What the server got last. */
let got: NodeJS.Dict<string | string[]> = {}
server.answer = (request, response) => {
  got = request.headers
  server.ok(request, response)
}

const ask = (headers: Readonly<Record<string, string>>, target = '/', from = client) =>
  shop.ask(from, service.ipv4, 80, { headers, target })

t.test(
  'a sampled request is a span of its client and one of its server, and the application goes on from there',
  async (t) => {
    const traceId = newTrace()
    await ask({ traceparent: `00-${traceId}-${SPAN}-01`, tracestate: 'a=b', 'x-request-id': 'id-1' }, '/cart?secret=1')
    const [sent, served] = (await receiver.trace(traceId, 2)) as [SeenSpan, SeenSpan]
    const { traceparent, tracestate } = got
    t.match(sent, {
      scope: 'weir',
      name: 'GET',
      kind: 'client',
      parentId: SPAN,
      sampled: true,
      status: 'unset',
      resource: {
        'service.name': 'client',
        'service.namespace': 'shop',
        'k8s.namespace.name': 'shop',
        'k8s.pod.name': 'client',
        'k8s.pod.uid': client.uid,
        'k8s.node.name': shop.lab.node.name,
      },
      attributes: {
        'http.request.method': 'GET',
        'http.response.status_code': 200,
        'url.full': `http://${service.ipv4}:80/cart`,
        'server.address': service.ipv4,
        'server.port': 80,
        'network.protocol.version': '1.1',
        'network.peer.address': web.ipv4,
        'network.peer.port': 8080,
        'service.peer.name': 'web',
        'weir.request_id': 'id-1',
      },
    })
    t.match(served, {
      name: 'GET',
      kind: 'server',
      parentId: sent.spanId,
      resource: { 'service.name': 'web', 'service.version': 'v1', 'k8s.pod.name': 'web' },
      attributes: {
        'url.path': '/cart',
        'url.scheme': 'http',
        'client.address': client.ipv4,
        'service.peer.name': 'client',
      },
    })
    t.equal(traceparent, `00-${traceId}-${served.spanId}-01`)
    t.equal(tracestate, 'a=b')
    t.notMatch(JSON.stringify([sent, served]), 'secret')
    t.ok(sent.durationMs > 0 && Math.abs(sent.startMs - Date.now()) < 60_000)
  },
)

t.test('a request that nobody samples passes on unsampled, and is told of only for how it went', async (t) => {
  const [fast, failed, slow, last] = [newTrace(), newTrace(), newTrace(), newTrace()]
  await ask({ traceparent: `00-${fast}-${SPAN}-00` })
  t.match(got['traceparent'], new RegExp(`^00-${fast}-(?!${SPAN})[0-9a-f]{16}-00$`))
  await ask({}, '/begun')
  t.match(got['traceparent'], /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/, 'one that begins here goes by the share')
  server.answer = server.fail(500)
  await ask({ traceparent: `00-${failed}-${SPAN}-00` })
  server.answer = (request, response) => setTimeout(() => server.ok(request, response), 320)
  await ask({ traceparent: `00-${slow}-${SPAN}-00` })
  server.answer = (request, response) => {
    got = request.headers
    server.ok(request, response)
  }
  await ask({ traceparent: `00-${last}-${SPAN}-01` })
  await receiver.trace(last, 2)
  const error = { 'error.type': '500', 'http.response.status_code': 500, 'weir.sent_for': 'error' }
  t.match(await receiver.trace(failed, 2), [
    { kind: 'client', sampled: false, status: 'error', attributes: error },
    { kind: 'server', sampled: false, status: 'error', attributes: error },
  ])
  t.match(await receiver.trace(slow, 2), [
    { status: 'unset', attributes: { 'weir.sent_for': 'slow' } },
    { status: 'unset', attributes: { 'weir.sent_for': 'slow' } },
  ])
  t.same(
    receiver.spans.filter(({ traceId }) => traceId === fast),
    [],
  )
  t.same(
    receiver.spans.filter(({ attributes }) => attributes['url.path'] === '/begun'),
    [],
  )
})

t.test('a refusal of the mesh is told of with its flag, its policy and its reason', async (t) => {
  const traceId = newTrace()
  t.equal((await ask({ traceparent: `00-${traceId}-${SPAN}-00` }, '/', other)).status, 403)
  const flagged = { 'error.type': 'weir.RBAC', 'weir.response_flag': 'RBAC', 'weir.policy': 'shop/no-other' }
  t.match(await receiver.trace(traceId, 2), [
    {
      kind: 'client',
      status: 'error',
      message: /no-other/,
      attributes: flagged,
      resource: { 'service.name': 'other' },
    },
    { kind: 'server', status: 'error', attributes: flagged, resource: { 'service.name': 'web' } },
  ])
})

t.test('a request from outside the mesh is a span of its server alone', async (t) => {
  const traceId = newTrace()
  await shop.ask(outsider, web.ipv4, 8080, { headers: { traceparent: `00-${traceId}-${SPAN}-01` } })
  const spans = await receiver.trace(traceId, 1)
  t.match(spans, [
    {
      kind: 'server',
      parentId: SPAN,
      resource: { 'service.name': 'web' },
      attributes: { 'client.address': outsider.ipv4 },
    },
  ])
  t.equal(got['traceparent'], `00-${traceId}-${spans[0]?.spanId}-01`)
  t.equal(spans.length, 1)
})

t.test('who calls what is not in the mesh makes its span, and the request goes on with that', async (t) => {
  const traceId = newTrace()
  const plain = new FailingServer(t, outsider)
  plain.answer = server.answer
  await shop.ask(client, outsider.ipv4, 8080, { headers: { traceparent: `00-${traceId}-${SPAN}-01` } })
  const spans = await receiver.trace(traceId, 1)
  t.match(spans, [{ kind: 'client', attributes: { 'network.peer.address': outsider.ipv4 } }])
  t.equal(got['traceparent'], `00-${traceId}-${spans[0]?.spanId}-01`)
})

t.test('a caller who speaks B3 is answered in B3', async (t) => {
  const one = newTrace()
  await ask({ b3: `${one}-${SPAN}-1` })
  const [sent, served] = await receiver.trace(one, 2)
  t.equal(sent?.parentId, SPAN)
  t.equal(got['b3'], `${one}-${served?.spanId}-1-${sent?.spanId}`)
  t.equal(got['traceparent'], `00-${one}-${served?.spanId}-01`)
  const half = newTrace().slice(0, 16)
  await ask({ 'X-B3-TraceId': half, 'X-B3-SpanId': SPAN, 'X-B3-Flags': '1' })
  const [first, second] = await receiver.trace(`${'0'.repeat(16)}${half}`, 2)
  t.match(got, {
    'x-b3-traceid': half,
    'x-b3-spanid': second?.spanId,
    'x-b3-parentspanid': first?.spanId,
    'x-b3-flags': '1',
    'x-b3-sampled': undefined,
  })
})

t.test('calls of gRPC have their method and status, and a failed one is told of', async (t) => {
  await using _server = await grpcServerIn(web.netnsPath, 7001, {
    Unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
      got = { traceparent: String(call.metadata.get('traceparent')[0]), b3: String(call.metadata.get('b3')[0]) }
      if (String(call.request) === 'fail') done({ code: grpc.status.UNAVAILABLE, details: 'no' })
      else if (String(call.request) === 'miss') done({ code: grpc.status.NOT_FOUND, details: 'no' })
      else done(null, call.request)
    },
  })
  await using echo = new GrpcPodClient(client.netnsPath, service.ipv4, 7001)
  const call = (message: string, headers: Readonly<Record<string, string>>) => {
    const metadata = new grpc.Metadata()
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
    return echo.unary(message, metadata).catch(() => undefined)
  }
  const [well, failed, missed] = [newTrace(), newTrace(), newTrace()]
  await call('hi', { traceparent: `00-${well}-${SPAN}-01`, b3: `${well}-${SPAN}-1` })
  const spans = await receiver.trace(well, 2)
  const of = { 'rpc.system.name': 'grpc', 'rpc.method': 'echo.Echo/Unary', 'network.protocol.version': '2' }
  t.match(spans, [
    {
      name: 'echo.Echo/Unary',
      kind: 'client',
      status: 'unset',
      attributes: { ...of, 'rpc.response.status_code': 'OK' },
    },
    { name: 'echo.Echo/Unary', kind: 'server', attributes: { ...of, 'service.peer.name': 'client' } },
  ])
  t.equal(got['traceparent'], `00-${well}-${spans[1]?.spanId}-01`)
  t.equal(got['b3'], `${well}-${spans[1]?.spanId}-1-${spans[0]?.spanId}`)
  await call('fail', { traceparent: `00-${failed}-${SPAN}-00` })
  const unavailable = {
    'error.type': 'UNAVAILABLE',
    'rpc.response.status_code': 'UNAVAILABLE',
    'weir.sent_for': 'error',
  }
  t.match(await receiver.trace(failed, 2), [
    { status: 'error', attributes: unavailable },
    { status: 'error', attributes: unavailable },
  ])
  await call('miss', { traceparent: `00-${missed}-${SPAN}-01` })
  t.match(await receiver.trace(missed, 2), [
    { status: 'error', attributes: { 'error.type': 'NOT_FOUND' } },
    { status: 'unset', attributes: { 'error.type': undefined, 'rpc.response.status_code': 'NOT_FOUND' } },
  ])
})

t.test('requests of HTTP/2 are spans as those of HTTP/1.1', async (t) => {
  await using _server = await http2ServerIn(web.netnsPath, 7002, (stream, headers) => {
    got = headers
    stream.respond({ ':status': 200 })
    stream.end('hello')
  })
  using session = await http2ClientIn(client.netnsPath, service.ipv4, 7002)
  const traceId = newTrace()
  await session.ask({ ':path': '/two', traceparent: `00-${traceId}-${SPAN}-01`, tracestate: 'a=b' })
  const spans = await receiver.trace(traceId, 2)
  t.match(spans, [
    { name: 'GET', attributes: { 'url.full': 'http://web:7002/two', 'network.protocol.version': '2' } },
    { name: 'GET', attributes: { 'url.path': '/two', 'server.address': 'web', 'server.port': 7002 } },
  ])
  t.match(got, { traceparent: `00-${traceId}-${spans[1]?.spanId}-01`, tracestate: 'a=b' })
})

t.test('what is tried again has the times it failed in the span of the client', async (t) => {
  await shop.apply(`
apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: failing, namespace: shop }
spec:
  targetRefs: [{ group: '', kind: Service, name: failing }]
  retry: { attempts: 2, codes: [503], backoff: { base: 1ms } }`)
  const traceId = newTrace()
  let asked = 0
  const ids = new Set<unknown>()
  broken.answer = (request, response) => {
    ids.add(request.headers['traceparent'])
    if (asked++ < 2) broken.fail(503)(request, response)
    else broken.ok(request, response)
  }
  const headers = { traceparent: `00-${traceId}-${SPAN}-01` }
  t.equal((await shop.ask(client, failing.ipv4, 80, { headers })).status, 200)
  const [sent, served] = await receiver.trace(traceId, 2)
  t.match(sent?.attributes, { 'http.request.resend_count': 2, 'http.response.status_code': 200 })
  t.match(sent?.events, [
    { name: 'weir.retry', attributes: { 'weir.reason': 'status 503', 'network.peer.port': 8080 } },
    { name: 'weir.retry', attributes: { 'weir.reason': 'status 503' } },
  ])
  t.equal(served?.events.length, 0)
  t.same(ids, new Set([`00-${traceId}-${served?.spanId}-01`]), 'each try is of the same span')
})

t.test('a copy for a mirror is in the trace of the request', async (t) => {
  await shop.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web, port: 80 }]
  rules:
    - filters:
        - { type: RequestMirror, requestMirror: { backendRef: { name: failing, port: 80 } } }
        - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-set, value: yes }] } }
      backendRefs: [{ name: web, port: 80 }]`)
  broken.answer = broken.fail(500)
  await ask({}, '/mirrored')
  const copy = await receiver.span('the copy', ({ attributes }) => attributes['weir.mirror'] === true)
  t.equal(copy.traceId, String(got['traceparent']).slice(3, 35))
  const given = newTrace()
  await ask({ traceparent: `00-${given}-${SPAN}-01` }, '/mirrored')
  const spans = await receiver.trace(given, 4)
  t.same(new Set(spans.slice(0, 2).map(({ parentId }) => parentId)), new Set([SPAN]))
  const served = spans.find(({ kind, resource }) => kind === 'server' && resource['service.name'] === 'web')
  t.equal(got['traceparent'], `00-${given}-${served?.spanId}-01`)
  await shop.apply()
})

t.test('while the collector is away requests go on, and their spans are sent when it is back', async (t) => {
  const dropped = async () => {
    const { stdout } = await shop.agent.cli('metrics')
    return stdout.split('\n').filter((line) => /^weir_spans_dropped_total/.test(line) && !line.endsWith(' 0'))
  }
  await receiver.stop()
  const from = shop.agent.logs.length
  const lost = [newTrace(), newTrace()] as const
  for (const traceId of lost) await ask({ traceparent: `00-${traceId}-${SPAN}-01` })
  const warning = await shop.agent.waitFor(({ problem }) => /^Spans not taken by/.test(String(problem)), { from })
  t.match(warning['problem'], `Spans not taken by ${url}: `)
  t.equal((await ask({ traceparent: `00-${newTrace()}-${SPAN}-01` })).status, 200)
  receiver = await OtlpReceiver.start(shop.lab.node)
  for (const traceId of lost) t.equal((await receiver.trace(traceId, 2)).length, 2)
  t.equal(shop.agent.logs.slice(from).filter(({ problem }) => problem !== undefined).length, 1, 'it is said once')
  t.same(await dropped(), [])
  await receiver.stop()
  receiver = await OtlpReceiver.start(shop.lab.node, 400)
  await ask({ traceparent: `00-${newTrace()}-${SPAN}-01` })
  let lines: readonly string[] = []
  while (lines.length === 0) lines = await dropped()
  t.same(lines, ['weir_spans_dropped_total{reason="collector"} 1'], 'what it refuses is counted')
})

t.test('what was not sent yet is sent when the agent ends', async (t) => {
  await receiver.stop()
  receiver = await OtlpReceiver.start(shop.lab.node)
  const traceId = newTrace()
  await ask({ traceparent: `00-${traceId}-${SPAN}-01` })
  await shop.agent.stop()
  t.equal((await receiver.trace(traceId, 2)).length, 2)
})
