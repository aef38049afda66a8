/** Active health checks: HTTP, gRPC and TCP, on this node and through the tunnel to another one. */
import { once } from 'node:events'
import { mkdirSync, writeFileSync } from 'node:fs'
import http2 from 'node:http2'
import net from 'node:net'
import { join } from 'node:path'
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { FailingServer } from '../support/failing-server.ts'
import { type LabPod, openLab } from '../support/lab.ts'
import type { LogLine } from '../support/lab-agent.ts'
import { connectSocketIn, listenSocketIn } from '../support/pod-sockets.ts'
import { listenIn } from '../support/raw-socket.ts'
import { Shop } from '../support/shop.ts'

const lab = await openLab({ t, nodes: ['left', 'right'] })
const shop = new Shop(lab)
t.teardown(() => shop[Symbol.asyncDispose]())
const spec = (name: string, app = name) => ({ name, namespace: 'shop', serviceAccount: name, labels: { app } })
const client = await lab.addPod(spec('client'))
const other = await lab.addPod(spec('other'))
const pods = [await lab.addPod(spec('near', 'web')), await lab.nodeNamed('right').addPod(spec('far', 'web'))] as const
const [nearPod, farPod] = pods
const servers = pods.map((pod) => new FailingServer(t, pod)) as [FailingServer, FailingServer]
const [near, far] = servers
const ports = [
  { name: 'http', port: 80, targetPort: 8080 },
  { name: 'grpc', port: 81, targetPort: 8081 },
  { name: 'tcp', port: 82, targetPort: 8082 },
]
const web = shop.service('web', { ports })
await shop.start(['--ca-dir', join(lab.dir, 'ca')])
await lab.nodeNamed('right').startAgent({ proxies: 1, extraArgs: ['--ca-dir', join(lab.dir, 'ca')] })

const policy = (check: string, more = '') => `
apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: web, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: web }]
  loadBalancing: { algorithm: RoundRobin }
  healthChecks: [{ interval: 100ms, jitterPercent: 0, timeout: 300ms, unhealthyThreshold: 2, healthyThreshold: 2, ${check} }]
  ${more}`

/** The change of one endpoint that the log tells of after `from`. */
async function changed(pod: LabPod, port: number, healthy: boolean, from: number): Promise<LogLine> {
  const endpoint = `${pod.ipv4}:${port}`
  const msg = healthy ? 'endpoint healthy' : 'endpoint unhealthy'
  const isIt = (line: LogLine) =>
    line['msg'] === msg && line['endpoint'] === endpoint && line['source'] === 'shop/client'
  return await shop.agent.waitFor(isIt, { from })
}

/** Who answers so many requests. */
async function by(count = 4, from: LabPod = client): Promise<readonly string[]> {
  const found = new Set<string>()
  for (let i = 0; i < count; i++) {
    const { by: name, status } = await shop.ask(from, web.ipv4, 80)
    found.add(status === 200 ? name : String(status))
  }
  return [...found].sort()
}

async function statusOf(): Promise<{ readonly unhealthy: readonly Record<string, unknown>[] }> {
  const { stdout } = await shop.agent.cli('status', ['--json'])
  return JSON.parse(stdout) as Awaited<ReturnType<typeof statusOf>>
}

const checks = (server: FailingServer) => server.bodies.filter((line) => line.startsWith('GET /healthz')).length

/** Waits for as many checks more. */
async function checkedAgain(server: FailingServer, times = 3): Promise<void> {
  for (const until = checks(server) + times; checks(server) < until; ) await new Promise((go) => setTimeout(go, 10))
}

/** As an application whose health is `status()`, and that answers all else well. */
function health(server: FailingServer, status: () => number | 'hang'): void {
  server.answer = (request, response) => {
    if (request.url !== '/healthz') server.ok(request, response)
    else {
      const now = status()
      if (now !== 'hang') server.fail(now)(request, response)
    }
  }
}

const WELL = () => 200

t.test('nobody is checked before somebody asks; who fails gets nothing until it is well again', async (t) => {
  let farStatus: number | 'hang' = 200
  const seen: string[] = []
  for (const server of servers) server.reset()
  health(near, WELL)
  far.answer = (request, response) => {
    if (request.url === '/healthz') seen.push(String(request.headers['x-forwarded-client-cert']))
    far.fail(request.url === '/healthz' && farStatus !== 'hang' ? farStatus : 200)(request, response)
  }
  await shop.apply(policy('type: HTTP, http: { path: /healthz }'))
  await by(1, other)
  await checkedAgain(near)
  t.equal(
    near.bodies.some((line) => line.includes('POST')),
    false,
  )
  t.same(await by(), ['far', 'near'])
  await checkedAgain(far)
  t.match(
    seen[0],
    /URI=spiffe:\/\/cluster.local\/ns\/shop\/sa\/(client|other)$/,
    'the way of a request, identity included',
  )

  let from = shop.agent.logs.length
  farStatus = 503
  t.match(await changed(farPod, 8080, false, from), { service: 'shop/web:80', why: 'answered 503', proxy: 0 })
  t.same(await by(), ['near'])
  const { unhealthy } = await statusOf()
  t.match(
    unhealthy.find(({ source, endpoint }) => source === 'shop/client' && endpoint === `${farPod.ipv4}:8080`),
    { service: 'shop/web:80', endpoint: `${farPod.ipv4}:8080`, why: 'answered 503', proxy: 0 },
  )
  const { stdout } = await shop.agent.cli('status', [])
  t.match(stdout, /UNHEALTHY.*\n.*:8080 +shop\/web:80 +shop\/(client|other) .* answered 503/)
  const { steps } = await shop.explain(client, `http://${web.ipv4}/`)
  t.ok(
    steps.some((step) => /of shop\/web:80 does not pass its health checks for \d+ s \(answered 503\)/.test(step)),
    steps.join('\n'),
  )
  const metrics = (await shop.agent.cli('metrics', [])).stdout
  // Its addresses of both families.
  t.match(metrics, /weir_unhealthy_endpoints\{[^}]*source_service_account="client"[^}]*\} [12]\n/)
  t.match(metrics, /weir_health_checks_total\{[^}]*outcome="failed"[^}]*\} [1-9]/)

  from = shop.agent.logs.length
  farStatus = 200
  await changed(farPod, 8080, true, from)
  t.same(await by(), ['far', 'near'])
})

t.test('a check that hangs has failed, and when too few are well all are used', async (t) => {
  for (const server of servers) server.reset()
  health(far, () => 'hang')
  let nearStatus = 200
  health(near, () => nearStatus)
  const from = shop.agent.logs.length
  await shop.apply(
    policy('type: HTTP, http: { path: /healthz, statuses: ["200"] }', 'outlierDetection: { panicPercent: 50 }'),
  )
  await by(1)
  t.match(await changed(farPod, 8080, false, from), { why: 'no answer within 300 ms' })
  t.same(await by(), ['near'])
  nearStatus = 204
  t.match(await changed(nearPod, 8080, false, from), { why: 'answered 204' })
  t.same(await by(), ['far', 'near'])
})

t.test('what policy forbids to ask says nothing of the endpoint', async (t) => {
  for (const server of servers) server.reset()
  for (const server of servers) health(server, WELL)
  const deny = `
apiVersion: weir.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: no-health, namespace: shop }
spec: { action: DENY, rules: [{ to: [{ operation: { paths: [/healthz] } }] }] }`
  await shop.apply(policy('type: HTTP, http: { path: /healthz }'), deny)
  const from = shop.agent.logs.length
  near.bodies.length = 0
  far.bodies.length = 0
  const denied = async () => {
    const { stdout } = await shop.agent.cli('metrics', [])
    return Number(/weir_health_checks_total\{[^}]*outcome="denied"[^}]*\} (\d+)/.exec(stdout)?.[1] ?? 0)
  }
  await by(1)
  while ((await denied()) < 6);
  t.same(await by(), ['far', 'near'])
  t.equal(
    shop.agent.logs.slice(from).some((line) => line['msg'] === 'endpoint unhealthy'),
    false,
  )
  t.equal(checks(near) + checks(far), 0, 'and nothing of it reaches the application')
})

t.test('the check of a pod that ends is dropped, and all of them with the policy', async (t) => {
  for (const server of servers) server.reset()
  health(near, WELL)
  health(far, () => 'hang')
  await shop.apply(policy('type: HTTP, http: { path: /healthz }'))
  await by(1)
  await checkedAgain(near)
  const from = shop.agent.logs.length
  await shop.change(() => farPod.update({ metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }))
  await checkedAgain(near)
  const seen = checks(far)
  await checkedAgain(near, 5)
  t.equal(checks(far), seen, 'it is asked no more')
  await shop.change(() => farPod.update({ metadata: {} }))
  await shop.apply()
  const told = shop.agent.logs.length
  const asked = [checks(near), checks(far)]
  for (let i = 0; i < 20; i++) await by(1)
  t.same([checks(near), checks(far)], asked)
  t.equal(
    shop.agent.logs.slice(told).some((line) => String(line['msg']).startsWith('endpoint ')),
    false,
  )
  t.ok(from <= told)
  t.same((await statusOf()).unhealthy, [])
})

t.test('gRPC: what the health service says of a service is its state', async (t) => {
  const states = new Map<string, number>([
    ['near', 1],
    ['far', 1],
  ])
  const asked: string[] = []
  for (const pod of pods) {
    const server = new Server()
    const serialize = (value: number) => Buffer.from([8, value])
    const definition = {
      Check: {
        path: '/grpc.health.v1.Health/Check',
        requestStream: false,
        responseStream: false,
        requestSerialize: (text: string) => Buffer.from(text),
        requestDeserialize: (bytes: Buffer) => bytes.subarray(2).toString(),
        responseSerialize: serialize,
        responseDeserialize: (bytes: Buffer) => bytes[1] ?? 0,
      },
    } as const
    server.addService(definition, {
      Check: (call: ServerUnaryCall<string, number>, callback: sendUnaryData<number>) => {
        asked.push(call.request)
        const state = states.get(pod.name) ?? 0
        if (state < 0) callback({ code: 5, details: 'unknown service' })
        else callback(null, state)
      },
    })
    serveIn(t, server, pod, 8081)
  }
  let from = shop.agent.logs.length
  await shop.apply(policy('type: GRPC, grpc: { service: shop.Cart }'))
  await callGrpc()
  while (asked.length < 6) await new Promise((go) => setTimeout(go, 10))
  t.same(new Set(asked), new Set(['shop.Cart']))
  for (const pod of pods) {
    from = shop.agent.logs.length
    states.set(pod.name, 2)
    t.match(await changed(pod, 8081, false, from), { why: 'answered NOT_SERVING', service: 'shop/web:81' })
    states.set(pod.name, 1)
    await changed(pod, 8081, true, from)
    from = shop.agent.logs.length
    states.set(pod.name, -1)
    t.match(await changed(pod, 8081, false, from), { why: 'answered grpc-status 5: unknown service' })
    states.set(pod.name, 1)
    await changed(pod, 8081, true, from)
  }
})

t.test('TCP: a connection is enough, unless something is expected; a tunnel alone is not', async (t) => {
  let from = shop.agent.logs.length
  const listeners = await Promise.all(
    pods.map((pod) => listenIn(pod.netnsPath, 8082, (socket) => socket.send('hello'))),
  )
  await shop.apply(policy('type: TCP'))
  t.equal(await talk(82), 'hello')
  for (const [index, pod] of pods.entries()) {
    await listeners[index]?.[Symbol.asyncDispose]()
    const { why } = await changed(pod, 8082, false, from)
    t.match(why, index === 0 ? /^could not connect: ECONNREFUSED/ : /^the application takes no connection/)
    listeners[index] = await listenIn(pod.netnsPath, 8082, (socket) => socket.send('hello'))
    await changed(pod, 8082, true, from)
  }
  for (const listener of listeners) await listener[Symbol.asyncDispose]()

  const words = ['+PONG', '+PONG']
  const answering = await Promise.all(
    pods.map((pod, index) =>
      listenIn(pod.netnsPath, 8082, async (socket) => {
        await socket.wait('PING', () => socket.peek().includes('PING\r\n') || undefined)
        await socket.send(`${words[index]}\r\n`)
      }),
    ),
  )
  await shop.apply(policy('type: TCP, tcp: { send: "PING\\r\\n", expect: "+PONG" }'))
  await talk(82, 'PING\r\n')
  for (const [index, pod] of pods.entries()) {
    from = shop.agent.logs.length
    words[index] = '-ERR loading'
    t.match(await changed(pod, 8082, false, from), { why: 'no answer within 300 ms' })
    // Connections go by it, too.
    for (let i = 0; i < 4; i++) t.equal(await talk(82, 'PING\r\n'), '+PONG\r\n')
    words[index] = '+PONG'
    await changed(pod, 8082, true, from)
  }
  for (const listener of answering) await listener[Symbol.asyncDispose]()
})

t.test('nginx and HAProxy are asked as they are, and found out when they stop', async (t) => {
  const kinds = [
    await lab.addPod(spec('nginx', 'real')),
    await lab.nodeNamed('right').addPod(spec('haproxy', 'real')),
  ] as const
  const real = shop.service('real')
  const dir = join(lab.dir, 'real')
  mkdirSync(dir)
  const nginx = `daemon off; master_process off; pid ${dir}/nginx.pid; error_log ${dir}/nginx.err;
events { worker_connections 64; }
http { access_log off; server { listen 8080; listen [::]:8080;
location = /healthz { return 204; } location / { add_header x-by nginx; return 200 nginx; } } }`
  const haproxy = `global
  log stderr local0 emerg
defaults
  mode http
  timeout connect 1s
  timeout client 5s
  timeout server 5s
frontend all
  bind :::8080 v4v6
  http-request return status 204 if { path /healthz }
  http-request return status 200 content-type text/plain string haproxy hdr x-by haproxy
`
  writeFileSync(join(dir, 'nginx.conf'), nginx)
  writeFileSync(join(dir, 'haproxy.cfg'), haproxy)
  const programs = [
    kinds[0].spawn('nginx', ['-c', join(dir, 'nginx.conf')]),
    kinds[1].spawn('haproxy', ['-db', '-f', join(dir, 'haproxy.cfg')]),
  ] as const
  for (const pod of kinds) while ((await pod.curl('http://127.0.0.1:8080/healthz')).status !== 204);
  await shop.apply(policy('type: HTTP, http: { path: /healthz }').replaceAll('web', 'real'))
  const names = async () => {
    const found = new Set<string>()
    for (let i = 0; i < 6; i++) found.add((await shop.ask(client, real.ipv4, 80)).body)
    return found
  }
  t.same(await names(), new Set(['nginx', 'haproxy']))
  for (const [index, pod] of kinds.entries()) {
    const from = shop.agent.logs.length
    programs[index]?.kill('SIGSTOP')
    t.match(await changed(pod, 8080, false, from), { why: 'no answer within 300 ms' })
    t.same(await names(), new Set([index === 0 ? 'haproxy' : 'nginx']))
    programs[index]?.kill('SIGCONT')
    await changed(pod, 8080, true, from)
  }
})

/** A gRPC server on a port of a pod, in this process. */
function serveIn(t: Test, server: Server, pod: LabPod, port: number): void {
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
  const listener = net.createServer((socket) => injector.injectConnection(socket))
  listener.listen({ fd: listenSocketIn(pod.netnsPath, port) })
  t.teardown(() => {
    listener.close()
    server.forceShutdown()
  })
}

/** One request to the Service's gRPC port. */
async function callGrpc(): Promise<void> {
  const socket = await connectSocketIn(client.netnsPath, web.ipv4, 81)
  const session = http2.connect('http://web.shop', { createConnection: () => socket })
  const headers = { ':method': 'POST', ':path': '/grpc.health.v1.Health/Check', te: 'trailers' }
  const stream = session.request({ ...headers, 'content-type': 'application/grpc' })
  stream.end(Buffer.concat([Buffer.from([0, 0, 0, 0, 11, 10, 9]), Buffer.from('shop.Cart')]))
  stream.resume()
  await once(stream, 'close')
  session.destroy()
}

/** One connection to the Service from the client: says `text`, and returns what comes first. */
async function talk(port: number, text = ''): Promise<string> {
  const socket: net.Socket = await connectSocketIn(client.netnsPath, web.ipv4, port)
  const { promise, resolve } = Promise.withResolvers<string>()
  socket.once('data', (bytes: Buffer) => resolve(bytes.toString('latin1')))
  socket.on('error', () => resolve('error'))
  socket.once('close', () => resolve('closed'))
  if (text !== '') socket.write(text)
  const answer = await promise
  socket.destroy()
  return answer
}
