/** gRPC through the mesh: `@grpc/grpc-js` at both ends. */
import { once } from 'node:events'
import type http2 from 'node:http2'
import grpc from '@grpc/grpc-js'
import t from 'tap'
import { openDataPath } from '../support/data-path.ts'
import { ECHO, GrpcPodClient, grpcServerIn } from '../support/grpc-pods.ts'
import { answerOf, http2ClientIn, http2ServerIn } from '../support/http2-pods.ts'

const path = await openDataPath(t)
t.teardown(() => path[Symbol.asyncDispose]())
const service = await path.change(() =>
  path.lab.addService({
    name: 'echo',
    namespace: 'shop',
    selector: { app: 'web' },
    ports: [{ name: 'grpc', port: 7000 }],
  }),
)
const clientOf = (port = 7000) => new GrpcPodClient(path.client.netnsPath, service.ipv4, port)
const { status } = grpc

type Both = grpc.ServerDuplexStream<Buffer, Buffer>
type Unary = grpc.sendUnaryData<Buffer>
/** What the server saw of deadlines and cancellations. */
const seen: { remainingMs: number[]; cancelled: number } = { remainingMs: [], cancelled: 0 }
let failures = 0
const implementation: grpc.UntypedServiceImplementation = {
  Unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: Unary) => {
    const text = call.request.toString()
    const deadline = call.getDeadline()
    if (deadline !== Number.POSITIVE_INFINITY) seen.remainingMs.push(Number(deadline) - Date.now())
    if (text === 'slow') return
    if (text.startsWith('fail') && failures-- > 0) {
      done({ code: Number(text.slice(5)), details: 'as asked' })
      return
    }
    const trailer = new grpc.Metadata()
    trailer.set('x-end', 'yes')
    trailer.set('x-sent-bin', Buffer.from([0, 255]))
    trailer.set('x-key', String(call.metadata.get('x-key')[0]))
    done(null, call.request, trailer)
  },
  Up: (call: grpc.ServerReadableStream<Buffer, Buffer>, done: Unary) => {
    let size = 0
    call.on('data', (chunk: Buffer) => {
      size += chunk.length
    })
    call.on('end', () => done(null, Buffer.from(String(size))))
  },
  Down: (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
    for (let i = 0; i < Number(call.request); i++) call.write(Buffer.alloc(1000))
    call.end()
  },
  Both: (call: Both) => {
    call.on('data', (chunk: Buffer) => call.write(chunk))
    call.on('end', () => call.end())
    call.on('cancelled', () => seen.cancelled++)
    call.on('error', () => {})
  },
}

async function lineOf(method: string, match: (line: Record<string, unknown>) => boolean = () => true) {
  return path.agent.waitFor((line) => line['path'] === `/echo.Echo/${method}` && match(line), { from: 0 })
}

t.test('all four kinds of calls, with metadata and trailers', async (t) => {
  await using _server = await grpcServerIn(path.web.netnsPath, 7000, implementation)
  await using client = clientOf()
  const metadata = new grpc.Metadata()
  metadata.set('x-key', 'a key')
  const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => client.unary(`message ${i}`, metadata)))
  t.same(
    answers.map(({ body }) => body),
    answers.map((_, i) => `message ${i}`),
  )
  t.equal(answers[0]?.trailers.get('x-key')[0], 'a key')
  t.same(answers[0]?.trailers.get('x-sent-bin')[0], Buffer.from([0, 255]))

  const { Up, Down } = ECHO
  const size = await new Promise((resolve, reject) => {
    const up = client.client.makeClientStreamRequest(
      Up.path,
      Up.requestSerialize,
      Up.responseDeserialize,
      (error: grpc.ServiceError | null, value?: Buffer) => (error === null ? resolve(String(value)) : reject(error)),
    )
    for (let i = 0; i < 200; i++) up.write(Buffer.alloc(10_000))
    up.end()
  })
  t.equal(size, '2000000')

  const down = client.client.makeServerStreamRequest(
    Down.path,
    Down.requestSerialize,
    Down.responseDeserialize,
    Buffer.from('500'),
  )
  let received = 0
  for await (const chunk of down) received += (chunk as Buffer).length
  t.equal(received, 500_000)

  const both = client.both()
  for (const word of ['one', 'two']) {
    both.write(Buffer.from(word))
    t.equal(String((await once(both, 'data'))[0]), word)
  }
  both.end()
  const [ended] = (await once(both, 'status')) as [grpc.StatusObject]
  t.equal(ended.code, status.OK)
  t.match(await lineOf('Unary'), { protocol: 'grpc', version: 'HTTP/2', status: 200, grpcStatus: 0, flags: '-' })
  const { stdout } = await path.agent.cli('metrics', [])
  const counted = stdout.split('\n').filter((line) => line.startsWith('istio_requests_total{'))
  t.ok(
    counted.some((line) => line.includes('request_protocol="grpc"') && line.includes('grpc_response_status="0"')),
    counted.join('\n'),
  )
  const messages = (name: string, reporter: string) => {
    const found = new RegExp(
      `^istio_${name}_messages_total\\{reporter="${reporter}".*request_protocol="grpc".*\\} (\\d+)$`,
      'm',
    )
    return Number(found.exec(stdout)?.[1])
  }
  for (const reporter of ['source', 'destination']) {
    t.same([messages('request', reporter), messages('response', reporter)], [233, 533], reporter)
  }
})

t.test('a cancelled call is cancelled at the server', async () => {
  await using _server = await grpcServerIn(path.web.netnsPath, 7000, implementation)
  await using client = clientOf()
  const call = client.both()
  call.write(Buffer.from('x'))
  await once(call, 'data')
  const before = seen.cancelled
  call.cancel()
  await lineOf('Both', (line) => line['flags'] === 'DC')
  while (seen.cancelled === before) await new Promise(setImmediate)
})

t.test('a deadline is passed on, and kept where the server does not', async (t) => {
  await using _server = await grpcServerIn(path.web.netnsPath, 7000, implementation)
  await using client = clientOf()
  await client.unary('quick', new grpc.Metadata(), { deadline: Date.now() + 60_000 })
  const remaining = seen.remainingMs.at(-1) ?? 0
  t.ok(remaining > 50_000 && remaining <= 60_000, `${remaining} ms`)
  await t.rejects(client.unary('slow', new grpc.Metadata(), { deadline: Date.now() + 300 }), {
    code: status.DEADLINE_EXCEEDED,
  })
  await path.change(() =>
    path.lab.apply(
      `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: echo, namespace: shop }
spec:
  parentRefs: [{ group: '', kind: Service, name: echo }]
  rules:
    - matches: [{ path: { type: Exact, value: /echo.Echo/Unary } }]
      timeouts: { request: 200ms }
      backendRefs: [{ name: echo, port: 7000 }]`,
      'route.yaml',
    ),
  )
  await t.rejects(client.unary('slow', new grpc.Metadata(), { deadline: Date.now() + 60_000 }), {
    code: status.DEADLINE_EXCEEDED,
  })
  const told = seen.remainingMs.at(-1) ?? 0
  t.ok(told <= 200, `${told} ms`)
  t.match(await lineOf('Unary', (line) => line['flags'] === 'UT'), { status: 200, grpcStatus: 4 })
  await path.change(() => path.lab.remove('route.yaml'))
})

t.test('what the mesh answers has a status of gRPC', async (t) => {
  await using client = clientOf()
  await t.rejects(client.unary('nobody'), {
    code: status.UNAVAILABLE,
    details: 'weir: could not connect to the upstream',
  })
  await using _server = await grpcServerIn(path.web.netnsPath, 7000, implementation)
  const rejected = async (manifest: string, code: number, details = ''): Promise<void> => {
    await path.change(() => path.lab.apply(manifest, 'object.yaml'))
    await t.rejects(client.unary('x'), { code, ...(details === '' ? {} : { details }) })
    await path.change(() => path.lab.remove('object.yaml'))
  }
  await rejected(
    `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: web, namespace: shop }
spec: { selector: { matchLabels: { app: web } } }`,
    status.PERMISSION_DENIED,
    'weir: denied by policy',
  )
  const traffic = (spec: string) => `
apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: echo, namespace: shop }
spec: { targetRefs: [{ group: '', kind: Service, name: echo }], ${spec} }`
  await rejected(traffic('faults: { abort: { status: 503 } }'), status.UNAVAILABLE)
  await path.change(() =>
    path.lab.apply(traffic('rateLimits: [{ requests: 1, interval: 1h, burst: 1 }]'), 'object.yaml'),
  )
  t.equal((await client.unary('first')).body, 'first')
  await t.rejects(client.unary('second'), { code: status.RESOURCE_EXHAUSTED })
  await path.change(() => path.lab.remove('object.yaml'))
  await rejected(
    `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: echo, namespace: shop }
spec:
  parentRefs: [{ group: '', kind: Service, name: echo }]
  rules: [{ matches: [{ path: { type: Exact, value: /other } }], backendRefs: [{ name: echo, port: 7000 }] }]`,
    status.UNIMPLEMENTED,
  )
})

t.test('an endpoint whose calls fail is ejected, by the statuses that say that it is at fault', async (t) => {
  const calls = new Map<string, number>()
  let failing = { code: 0, inTrailers: false }
  const answers = (name: string): grpc.UntypedServiceImplementation => ({
    ...implementation,
    Unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: Unary) => {
      calls.set(name, (calls.get(name) ?? 0) + 1)
      if (name === 'good') {
        done(null, call.request)
        return
      }
      if (failing.inTrailers) call.sendMetadata(new grpc.Metadata())
      done({ code: failing.code, details: 'as asked' })
    },
  })
  await using cleanUp = new AsyncDisposableStack()
  for (const name of ['good', 'bad']) {
    const pod = await path.lab.addPod({ name, namespace: 'shop', labels: { app: 'pair' } })
    await path.agent.waitFor((line) => line['pod'] === `shop/${name}` && line['msg'] === 'pod enrolled', { from: 0 })
    cleanUp.use(await grpcServerIn(pod.netnsPath, 7000, answers(name)))
  }
  const { UNAVAILABLE, DEADLINE_EXCEEDED, UNKNOWN, INTERNAL, DATA_LOSS, UNIMPLEMENTED, NOT_FOUND } = status
  const cases = [
    { code: UNAVAILABLE, inTrailers: true, before: 3 },
    { code: UNAVAILABLE, inTrailers: false, before: 3 },
    { code: DEADLINE_EXCEEDED, inTrailers: true, before: 3 },
    { code: UNKNOWN, inTrailers: true, before: 5 },
    { code: INTERNAL, inTrailers: false, before: 5 },
    { code: DATA_LOSS, inTrailers: true, before: 5 },
    // Every endpoint would say the same: they are the caller's affair.
    { code: UNIMPLEMENTED, inTrailers: false, before: 10 },
    { code: NOT_FOUND, inTrailers: true, before: 10 },
  ]
  // What is known of an endpoint is known of a port of the Service: each case has its own.
  const pair = await path.change(() =>
    path.lab.addService({
      name: 'pair',
      namespace: 'shop',
      selector: { app: 'pair' },
      ports: cases.map((_, i) => ({ name: `grpc-${i}`, port: 7100 + i, targetPort: 7000 })),
    }),
  )
  await path.change(() =>
    path.lab.apply(
      `
apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: pair, namespace: shop }
spec:
  targetRefs: [{ group: '', kind: Service, name: pair }]
  loadBalancing: { algorithm: RoundRobin }
  outlierDetection:
    { consecutiveErrors: 5, consecutiveGatewayErrors: 3, baseEjectionTime: 5m, maxEjectedPercent: 50, panicPercent: 0 }`,
      'pair.yaml',
    ),
  )
  for (const [i, { before, ...how }] of cases.entries()) {
    await using client = new GrpcPodClient(path.client.netnsPath, pair.ipv4, 7100 + i)
    failing = how
    calls.clear()
    for (let call = 0; call < 20; call++) await client.unary('x').catch(() => {})
    t.same(Object.fromEntries(calls), { bad: before, good: 20 - before }, `${status[how.code]} ${how.inTrailers}`)
  }
  const { stdout } = await path.agent.cli('metrics', [])
  const ejected = (reason: string) =>
    new RegExp(`^weir_ejections_total\\{.*destination_service_name="pair".*reason="${reason}"\\} (\\d+)$`, 'm').exec(
      stdout,
    )?.[1]
  t.same([ejected('gateway-errors'), ejected('errors')], ['3', '3'])
})

t.test('a breaker bounds calls, sessions and who waits; beyond it a call is UNAVAILABLE', async (t) => {
  const breaker = (limits: string) =>
    path.change(() =>
      path.lab.apply(
        `
apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: echo, namespace: shop }
spec:
  targetRefs: [{ group: '', kind: Service, name: echo }]
  circuitBreaker: ${limits}
  # node:http2 says that a stream is over before its place is free: who takes it at once may be reset.
  retry: { attempts: 5, failures: [Reset], backoff: { base: 10ms } }`,
        'breaker.yaml',
      ),
    )
  const held: http2.ServerHttp2Stream[] = []
  await using server = await http2ServerIn(
    path.web.netnsPath,
    7000,
    (stream) => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }))
      held.push(stream)
      server.server.emit('held')
    },
    { maxConcurrentStreams: 2 },
  )
  const holds = async (count: number): Promise<void> => {
    while (held.length < count) await once(server.server, 'held')
  }
  using client = await http2ClientIn(path.client.netnsPath, service.ipv4, 7000)
  const call = () =>
    answerOf(
      client.request({
        ':method': 'POST',
        ':path': '/echo.Echo/Held',
        'content-type': 'application/grpc',
        te: 'trailers',
      }),
    )
  const refused = async (): Promise<void> => {
    const { status: http, headers } = await call()
    t.same(
      [http, headers['grpc-status'], headers['grpc-message']],
      [200, '14', 'weir: the circuit breaker of the upstream is open'],
    )
  }
  const ok = async (calls: readonly ReturnType<typeof call>[]): Promise<void> => {
    for (const { trailers } of await Promise.all(calls)) t.equal(trailers['grpc-status'], '0')
  }

  await breaker('{ maxRequests: 2 }')
  const two = [call(), call()]
  await holds(2)
  await refused()
  for (const stream of held.splice(0)) stream.end()
  await ok(two)
  t.match(await lineOf('Held', (line) => line['grpcStatus'] === 14), { flags: 'UO', status: 200 })

  await breaker('{ maxConnections: 1, maxPendingRequests: 3 }')
  const { opened } = server
  const before = server.used.size
  const calls = [call(), call()]
  await holds(2)
  const waiting = [call(), call(), call()]
  // Those before it wait: the one session takes no more.
  await refused()
  t.equal(server.used.size, before + 1)
  held.shift()?.end()
  await holds(2)
  t.equal(server.used.size, before + 1, 'one of them has taken its place')
  // Who waits for a session finds room in the next one, all at once.
  server.sessions.at(-1)?.close()
  for (const stream of held.splice(0)) stream.end()
  await holds(2)
  t.equal(server.used.size, before + 2)
  for (const stream of held.splice(0)) stream.end()
  await ok([...calls, ...waiting])
  t.ok(server.opened >= opened + 2)
  await path.change(() => path.lab.remove('breaker.yaml'))
})

t.test('calls are tried again by the statuses that a policy names, and a policy change ends one', async (t) => {
  await using _server = await grpcServerIn(path.web.netnsPath, 7000, implementation)
  await using client = clientOf()
  await path.change(() =>
    path.lab.apply(
      `
apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: echo, namespace: shop }
spec:
  targetRefs: [{ group: '', kind: Service, name: echo }]
  retry: { grpcStatuses: [UNAVAILABLE], attempts: 2, backoff: { base: 1ms } }`,
      'retry.yaml',
    ),
  )
  failures = 2
  t.equal((await client.unary(`fail ${status.UNAVAILABLE}`)).body, `fail ${status.UNAVAILABLE}`)
  t.equal(failures, -1, 'the third try was answered')
  failures = 1
  await t.rejects(client.unary(`fail ${status.INTERNAL}`), { code: status.INTERNAL })
  const call = client.both()
  call.write(Buffer.from('x'))
  await once(call, 'data')
  const over = new Promise<grpc.StatusObject>((resolve) => call.once('status', resolve))
  await path.change(() =>
    path.lab.apply(
      `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: web, namespace: shop }
spec: { selector: { matchLabels: { app: web } } }`,
      'deny.yaml',
    ),
  )
  t.equal((await over).code, status.PERMISSION_DENIED)
})
