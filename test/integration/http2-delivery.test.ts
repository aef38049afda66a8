/** Over HTTP/2 and gRPC, too: copies of requests, sessions, load that is shed. */
import { setTimeout as delay } from 'node:timers/promises'
import grpc from '@grpc/grpc-js'
import t from 'tap'
import { GrpcPodClient, grpcServerIn } from '../support/grpc-pods.ts'
import { http2ClientIn, http2ServerIn } from '../support/http2-pods.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const web = [await shop.pod('web-1', { labels: { app: 'web' } }), await shop.pod('web-2', { labels: { app: 'web' } })]
const dark = await shop.pod('dark')
const ports = [
  { name: 'grpc', port: 81, targetPort: 8081 },
  { name: 'http2', port: 82, targetPort: 8082 },
]
const service = shop.service('web', { ports })
shop.service('dark', { ports })
await shop.start(['--shed-lag-ms', '200', '--resume-lag-ms', '100'])

const route = (kind: string, port: number, rule: string) => `
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: { name: web-${port}, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web, port: ${port} }]
  rules: [{ backendRefs: [{ name: web, port: ${port} }], ${rule} }]`
const mirror = (port: number) =>
  `filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: dark, port: ${port} } } }]`

async function until(holds: () => boolean, what: string): Promise<void> {
  for (let i = 0; !holds(); i++) {
    if (i > 400) throw new Error(`${what} never comes`)
    await delay(10)
  }
}

t.test('a call of gRPC is mirrored as a whole', async (t) => {
  const got: string[] = []
  const echo = (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) =>
    done(null, call.request)
  await using _one = await grpcServerIn(web[0]?.netnsPath ?? '', 8081, { Unary: echo })
  await using _two = await grpcServerIn(web[1]?.netnsPath ?? '', 8081, { Unary: echo })
  await using _dark = await grpcServerIn(dark.netnsPath, 8081, {
    Unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
      got.push(`${call.request.toString()} ${String(call.metadata.get('x-own')[0])}`)
      done({ code: grpc.status.INTERNAL, details: 'dark' })
    },
  })
  await shop.apply(route('GRPCRoute', 81, mirror(81)))
  await using calls = new GrpcPodClient(client.netnsPath, service.ipv4, 81)
  const metadata = new grpc.Metadata()
  metadata.set('x-own', 'a')
  for (let i = 0; i < 3; i++) t.equal((await calls.unary(`message ${i}`, metadata)).body, `message ${i}`)
  await until(() => got.length === 3, 'a copy')
  t.same(got.sort(), ['message 0 a', 'message 1 a', 'message 2 a'])
  const line = await shop.agent.waitFor((one) => one['mirror'] === true, { from: 0 })
  t.match(line, { path: '/echo.Echo/Unary', destination: 'shop/dark' })
})

t.test('requests of HTTP/2 are mirrored, and keep to their session', async (t) => {
  const got: string[] = []
  const servers = []
  for (const pod of [...web, dark]) {
    const server = await http2ServerIn(pod.netnsPath, 8082, (stream, headers) => {
      let size = 0
      stream.on('data', (chunk: Buffer) => {
        size += chunk.length
      })
      stream.on('end', () => {
        if (pod === dark) got.push(`${headers[':method']} ${headers[':path']} ${headers['cookie'] ?? '-'} ${size}`)
        stream.respond({ ':status': 200, 'x-by': pod.name })
        stream.end()
      })
    })
    servers.push(server)
  }
  await shop.apply(route('HTTPRoute', 82, `${mirror(82)}, sessionPersistence: { sessionName: h2 }`))
  using session = await http2ClientIn(client.netnsPath, service.ipv4, 82)
  const ask = (headers: Record<string, string>, body = '') =>
    session.ask({ ':method': 'POST', ':path': '/a?b=c', ...headers }, body)
  const first = await ask({}, 'x'.repeat(50_000))
  t.equal(first.status, 200)
  const [cookie = ''] = first.headers['set-cookie'] ?? []
  t.match(cookie, /^h2=[\w-]{54}; Path=\/; HttpOnly; SameSite=Strict$/)
  const value = cookie.split(';')[0] ?? ''
  for (let i = 0; i < 6; i++) {
    const answer = await ask({ cookie: `a=b; ${value}` })
    t.equal(answer.headers['x-by'], first.headers['x-by'])
    t.equal(answer.headers['set-cookie'], undefined)
  }
  await ask({}, 'x'.repeat(70_000))
  await until(() => got.length >= 7, 'a copy')
  t.same([...got].sort(), ['POST /a?b=c - 50000', ...Array.from({ length: 6 }, () => `POST /a?b=c a=b; ${value} 0`)])
  for (const server of servers) await server[Symbol.asyncDispose]()
})

t.test('a call that is shed is UNAVAILABLE', async (t) => {
  await shop.apply()
  const echo = (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) =>
    done(null, call.request)
  await using _one = await grpcServerIn(web[0]?.netnsPath ?? '', 8081, { Unary: echo })
  await using _two = await grpcServerIn(web[1]?.netnsPath ?? '', 8081, { Unary: echo })
  await using calls = new GrpcPodClient(client.netnsPath, service.ipv4, 81)
  t.equal((await calls.unary('before')).body, 'before')
  const pid = await shop.agent.proxyPid()
  t.teardown(() => process.kill(pid, 'SIGCONT'))
  let call: Promise<unknown> = Promise.resolve()
  // Each time it goes on it finds its clock far behind; what came meanwhile is read after that.
  for (let i = 0; i < 4; i++) {
    process.kill(pid, 'SIGSTOP')
    await delay(250)
    if (i === 3) call = t.rejects(calls.unary('meanwhile'), { code: grpc.status.UNAVAILABLE })
    await delay(250)
    process.kill(pid, 'SIGCONT')
    if (i < 3) await delay(20)
  }
  await call
  const from = shop.agent.logs.findLastIndex((line) => line['msg'] === 'proxy sheds load: its event loop lags')
  await shop.agent.waitFor('proxy takes all requests again', { from: Math.max(0, from) })
  t.equal((await calls.unary('after')).body, 'after')
})
