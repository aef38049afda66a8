/** Clients and servers that speak different versions of HTTP, by what the Service declares; and WebSockets over both. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type http2 from 'node:http2'
import t from 'tap'
import { WebSocket, WebSocketServer } from 'ws'
import { openDataPath } from '../support/data-path.ts'
import { http2ClientIn, http2ServerIn } from '../support/http2-pods.ts'
import { connectSocketIn, listenSocketIn } from '../support/pod-sockets.ts'
import { RawSocket } from '../support/raw-socket.ts'

const path = await openDataPath(t)
t.teardown(() => path[Symbol.asyncDispose]())
/** Of a Service that says what is spoken: `http` ports from 8000 on, h2c ones from 8100 on. */
const declared = await path.change(() =>
  path.lab.addService({
    name: 'declared',
    namespace: 'shop',
    selector: { app: 'web' },
    ports: [
      ...Array.from({ length: 4 }, (_, i) => ({ name: `http-${i}`, port: 8000 + i })),
      ...Array.from({ length: 4 }, (_, i) => ({ name: `two-${i}`, port: 8100 + i, appProtocol: 'kubernetes.io/h2c' })),
    ],
  }),
)
const http2To = (port: number) => http2ClientIn(path.client.netnsPath, declared.ipv4, port)

async function listen(server: Server, port: number): Promise<AsyncDisposable> {
  server.listen({ fd: listenSocketIn(path.web.netnsPath, port) })
  await once(server, 'listening')
  return {
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
    },
  }
}

async function bodyOf(message: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of message) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

t.test('a client of HTTP/2 is served by a server of HTTP/1.1', async (t) => {
  const seen: string[] = []
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method, url, headers } = request
    if (url === '/early') response.writeEarlyHints({ link: '</s.css>; rel=preload' })
    const body = await bodyOf(request)
    const framing = headers['transfer-encoding'] ?? headers['content-length'] ?? 'none'
    seen.push(`${method} ${url} ${headers.host} ${framing} ${body.length} ${request.trailers['x-sum'] ?? ''}`)
    response.setHeader('x-cookie', String(headers.cookie))
    response.setHeader('x-weir-refusal', 'RBAC')
    if (url === '/length') response.end('ok')
    else {
      response.setHeader('trailer', 'x-end')
      response.write('o')
      response.addTrailers({ 'x-end': 'yes' })
      response.end('k')
    }
  }
  await using _server = await listen(
    createServer((request, response) => void serve(request, response)),
    8000,
  )
  using client = await http2To(8000)
  const length = await client.ask({ ':path': '/length', cookie: ['a=1', 'b=2'] })
  t.match(length, { status: 200, body: 'ok', headers: { 'content-length': '2', 'x-cookie': 'a=1; b=2' } })
  t.notOk('x-weir-refusal' in length.headers || 'connection' in length.headers || 'keep-alive' in length.headers)
  const chunked = await client.ask({ ':method': 'POST', ':path': '/chunked' }, 'x'.repeat(100_000))
  t.match(chunked, { status: 200, body: 'ok', trailers: { 'x-end': 'yes' } })
  const told = await client.ask({ ':method': 'PUT', ':path': '/length', 'content-length': '5' }, 'fives')
  t.equal(told.body, 'ok')
  const head = await client.ask({ ':method': 'HEAD', ':path': '/length' })
  t.match(head, { status: 200, body: '' })
  const trailed = client.request({ ':method': 'POST', ':path': '/length', te: 'trailers' }, { waitForTrailers: true })
  trailed.on('wantTrailers', () => trailed.sendTrailers({ 'x-sum': '7' }))
  trailed.end('body')
  trailed.resume()
  await once(trailed, 'end')
  const early = client.request({ ':path': '/early' })
  const [hints] = (await once(early, 'headers')) as [http2.IncomingHttpHeaders]
  t.match(hints['link'], /s\.css/)
  early.resume()
  await once(early, 'end')
  t.same(seen, [
    'GET /length web:8000 none 0 ',
    'POST /chunked web:8000 chunked 100000 ',
    'PUT /length web:8000 5 5 ',
    'HEAD /length web:8000 none 0 ',
    'POST /length web:8000 chunked 4 7',
    'GET /early web:8000 none 0 ',
  ])
  const both = await Promise.all(Array.from({ length: 20 }, () => client.ask({ ':path': '/length' })))
  t.ok(both.every(({ body }) => body === 'ok'))
})

t.test('answers without a body leave the connection to the next request', async (t) => {
  const server = createServer((request, response) => {
    response.writeHead(request.url === '/none' ? 204 : 200, request.url === '/none' ? {} : { 'content-length': '0' })
    response.end()
  })
  let connections = 0
  server.on('connection', () => connections++)
  await using _server = await listen(server, 8000)
  using client = await http2To(8000)
  for (const target of ['/none', '/empty', '/none', '/empty']) await client.ask({ ':path': target })
  for (let i = 0; i < 3; i++) await client.ask({ ':method': 'HEAD', ':path': '/empty' })
  t.equal(connections, 1)
})

t.test('a client of HTTP/1.1 is served by a server of HTTP/2', async (t) => {
  const seen: string[] = []
  await using server = await http2ServerIn(path.web.netnsPath, 8100, (stream, headers) => {
    let size = 0
    let sum = ''
    stream.on('trailers', (fields) => {
      sum = String(fields['x-sum'])
    })
    stream.on('data', (chunk: Buffer) => {
      size += chunk.length
    })
    stream.on('end', () => {
      const { ':method': method, ':path': target, ':authority': authority } = headers
      seen.push(`${method} ${target} ${authority} ${headers['connection'] ?? '-'} ${size} ${sum}`)
      if (target === '/length') {
        stream.respond({ ':status': 200, 'content-length': 2 })
        stream.end('ok')
        return
      }
      stream.respond({ ':status': 200 }, { waitForTrailers: true })
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': 'yes' }))
      stream.end('k'.repeat(100_000))
    })
  })
  using socket = new RawSocket(await connectSocketIn(path.client.netnsPath, declared.ipv4, 8100))
  for (let i = 0; i < 2; i++) {
    await socket.send('GET /length HTTP/1.1\r\nHost: w\r\nConnection: x-drop\r\nX-Drop: a\r\n\r\n')
    const { start, body, header } = await socket.message()
    t.match(start, /^HTTP\/1\.1 200/)
    t.same([body.toString(), header('connection'), header('content-length')], ['ok', undefined, '2'])
  }
  await socket.send(
    'POST /chunks HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n',
  )
  const { body, trailers } = await socket.message()
  t.same([body.length, trailers], [100_000, ['x-end: yes']])
  await socket.send('HEAD /length HTTP/1.1\r\nHost: w\r\n\r\n')
  t.match((await socket.message(true)).start, /^HTTP\/1\.1 200/)
  t.same(seen, ['GET /length w - 0 ', 'GET /length w - 0 ', 'POST /chunks w - 3 7', 'HEAD /length w - 0 '])
  t.equal(server.used.size, 1)
})

t.test('the version that is declared is spoken, and what does not speak it is a failure with its reason', async (t) => {
  await using _server = await listen(
    createServer((_request, response) => response.end('one')),
    8101,
  )
  using client = await http2To(8101)
  t.equal((await client.ask({ ':path': '/mismatch' })).status, 503)
  const line = await path.agent.waitFor((one) => one['path'] === '/mismatch', { from: 0 })
  t.match(line['reason'], /does not speak HTTP\/2/)
})

// ── WebSocket ───────────────────────────────────────────────────────────────────────────────────

function webSocketServer(port: number): Promise<AsyncDisposable> {
  const server = createServer()
  new WebSocketServer({ server }).on('connection', (socket) => {
    socket.on('message', (message, isBinary) => socket.send(message, { binary: isBinary }))
    socket.on('error', () => {})
  })
  return listen(server, port)
}

/** A WebSocket of `ws` over a stream that is open already. */
async function webSocketOn(stream: http2.ClientHttp2Stream): Promise<WebSocket> {
  const socket = new WebSocket(null as unknown as string, undefined, {}) as unknown as WebSocket & {
    _isServer: boolean
    setSocket(socket: object, head: Buffer, options: object): void
  }
  // Without an address it takes itself for a server's.
  socket._isServer = false
  const duplex = Object.assign(stream, { setNoDelay: () => {}, setKeepAlive: () => {} })
  socket.setSocket(duplex, Buffer.alloc(0), {
    allowSynchronousEvents: true,
    maxPayload: 1 << 20,
    skipUTF8Validation: false,
  })
  return socket
}

const POLICY = (paths: string) => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: web, namespace: shop }
spec:
  selector: { matchLabels: { app: web } }
  rules: [{ to: [{ operation: { paths: [${paths}], methods: [GET] } }] }]`

for (const [what, port, open] of [
  [
    'over HTTP/1.1',
    8001,
    async (target: string) => {
      const raw = await connectSocketIn(path.client.netnsPath, declared.ipv4, 8001)
      const socket = new WebSocket(`ws://declared:8001${target}`, { createConnection: () => raw })
      await once(socket, 'open')
      return socket
    },
  ],
  [
    'over HTTP/2, to a server of HTTP/1.1',
    8002,
    async (target: string) => {
      const client = await http2To(8002)
      await once(client.session, 'remoteSettings')
      const stream = client.request(
        {
          ':method': 'CONNECT',
          ':protocol': 'websocket',
          ':path': target,
          'sec-websocket-version': '13',
        },
        { endStream: false },
      )
      const [head] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
      if (Number(head[':status']) !== 200) throw new Error(`Unexpected server response: ${head[':status']}`)
      return webSocketOn(stream)
    },
  ],
] as const) {
  t.test(`a WebSocket ${what}: authorized at its handshake, counted, and cut when a policy forbids it`, async (t) => {
    await using _server = await webSocketServer(port)
    await path.change(() => path.lab.apply(POLICY("'/chat*'"), 'policy.yaml'))
    const socket = await open(`/chat${port}`)
    socket.on('error', () => {})
    socket.send('hello')
    const [message] = (await once(socket, 'message')) as [Buffer]
    t.equal(message.toString(), 'hello')
    await t.rejects(open('/other'), /403/)
    const closed = once(socket, 'close')
    await path.change(() => path.lab.apply(POLICY("'/none'"), 'policy.yaml'))
    t.equal((await closed)[0], 1006)
    const line = await path.agent.waitFor((one) => one['path'] === `/chat${port}`, { from: 0 })
    t.match(line, { method: 'GET', flags: 'RBAC' })
    t.ok(Number(line['bytesIn']) >= 11 && Number(line['bytesOut']) >= 7, `${line['bytesIn']} ${line['bytesOut']}`)
    await path.change(() => path.lab.remove('policy.yaml'))
  })
}

t.test('a WebSocket over HTTP/2 to a server of HTTP/2 that takes it, and one of HTTP/1.1 bridged to it', async (t) => {
  await using _server = await http2ServerIn(
    path.web.netnsPath,
    8102,
    (stream, headers) => {
      if (headers[':protocol'] !== 'websocket' || headers[':method'] !== 'CONNECT')
        stream.respond({ ':status': 400 }, { endStream: true })
      else {
        stream.respond({ ':status': 200 })
        stream.pipe(stream)
      }
    },
    { enableConnectProtocol: true },
  )
  using client = await http2To(8102)
  await once(client.session, 'remoteSettings')
  const stream = client.request({ ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/a' }, { endStream: false })
  stream.write('bytes')
  t.equal(String((await once(stream, 'data'))[0]), 'bytes')
  stream.end()
  await once(stream, 'end')
  const raw = await connectSocketIn(path.client.netnsPath, declared.ipv4, 8102)
  const socket = new WebSocket('ws://declared:8102/b', { createConnection: () => raw })
  await once(socket, 'open')
  // What the server echoes is masked, which no server may send: it was let through as it is.
  socket.send('masked')
  const [error] = (await once(socket, 'error')) as [Error]
  t.match(error.message, /MASK must be clear/)
})
