/** Requests of an older version of an API, translated to the newest and back, over HTTP/1.1 and HTTP/2. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import http2 from 'node:http2'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { connectSocketIn, listenSocketIn } from '../support/pod-sockets.ts'
import { connectIn } from '../support/raw-socket.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const pod = await shop.pod('web')
const web = shop.service('web')
const shadow = await shop.pod('shadow')
shop.service('shadow')
await shop.start()

interface Got {
  readonly method: string
  readonly target: string
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}
/** What the server saw, in order. */
const seen: Got[] = []
let answer: (response: http.ServerResponse, got: Got) => void = (response) => response.end()
const server = http.createServer((request, response) => {
  const pieces: Buffer[] = []
  request.on('data', (piece: Buffer) => pieces.push(piece))
  request.on('end', () => {
    const { method = '', url: target = '', headers } = request
    const got = { method, target, headers, body: Buffer.concat(pieces).toString() }
    seen.push(got)
    answer(response, got)
  })
})
server.keepAliveTimeout = 60_000
server.on('connection', (socket) => socket.on('error', () => {}))
server.listen({ fd: listenSocketIn(pod.netnsPath, 8080) })
await once(server, 'listening')
t.teardown(() => {
  server.close()
  server.closeAllConnections()
})

/** What the mirror saw. */
const copies: string[] = []
let copied = Promise.withResolvers<void>()
const mirror = http.createServer((request, response) => {
  let body = ''
  request.on('data', (piece: Buffer) => {
    body += piece.toString()
  })
  request.on('end', () => {
    copies.push(`${request.url} ${body}`)
    copied.resolve()
    response.end()
  })
})
mirror.listen({ fd: listenSocketIn(shadow.netnsPath, 8080) })
await once(mirror, 'listening')
t.teardown(() => {
  mirror.close()
  mirror.closeAllConnections()
})

const EXAMPLE = readFileSync(join(import.meta.dirname, '../../examples/version-translation.yaml'), 'utf8')
const V1 = 'application/vnd.shop.v1+json'

interface Ask {
  readonly method?: string
  readonly target?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
}
interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}
type Call = (ask: Ask) => Promise<Answer>

const overHttp1: Call = async ({ method = 'GET', target = '/v1', headers = {}, body }) => {
  const socket = await connectSocketIn(client.netnsPath, web.ipv4, 80)
  const request = http.request({ createConnection: () => socket, host: 'web', method, path: target, headers })
  request.end(body)
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  const pieces: Buffer[] = []
  for await (const piece of response) pieces.push(piece as Buffer)
  socket.destroy()
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(pieces).toString() }
}

const overHttp2: Call = async ({ method = 'GET', target = '/v1', headers = {}, body }) => {
  const socket = await connectSocketIn(client.netnsPath, web.ipv4, 80)
  const session = http2.connect('http://web', { createConnection: () => socket })
  session.on('error', () => {})
  const stream = session.request({ ':method': method, ':path': target, ...headers })
  stream.end(body)
  const [fields] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  const pieces: Buffer[] = []
  for await (const piece of stream) pieces.push(piece as Buffer)
  session.destroy()
  const { ':status': status, ...rest } = fields
  return { status: Number(status), headers: rest, body: Buffer.concat(pieces).toString() }
}

const json =
  (text: string, headers: http.OutgoingHttpHeaders = {}, status = 200) =>
  (response: http.ServerResponse) => {
    response.writeHead(status, { 'content-type': 'application/vnd.shop.v2+json', ...headers })
    response.end(text)
  }

await shop.apply(EXAMPLE)

for (const [name, call] of [
  ['HTTP/1.1', overHttp1],
  ['HTTP/2', overHttp2],
] as const) {
  t.test(`${name}: an old request arrives as a new one, and the answer comes back as an old one`, async (t) => {
    seen.length = 0
    answer = json(
      '{"id":12345678901234567890,"items":[{"title":"a","price":1.0}],"address":{"street":"s"},"version":2}',
      {
        etag: '"tag"',
        'content-digest': 'sha-256=:x:',
        location: '/v2/accounts/7',
      },
    )
    const got = await call({
      method: 'POST',
      target: '/v1/users/7?q=x&debug=1&z=%7E',
      headers: { 'content-type': V1, 'x-user': 'ann', 'x-legacy': '1', digest: 'old', 'accept-encoding': 'gzip' },
      body: '{"big":12345678901234567890,"one":1.0,"items":[{"name":"ä"}],"street":"s","debug":true}',
    })
    const [request] = seen
    t.equal(request?.target, '/v2/accounts/7?query=x&z=%7E&limit=20')
    t.equal(
      request?.body,
      '{"big":12345678901234567890,"one":1.0,"items":[{"title":"ä"}],"address":{"street":"s"},"currency":"EUR"}',
    )
    const headers = request?.headers ?? {}
    t.equal(headers['content-length'], String(Buffer.byteLength(request?.body ?? '')))
    t.equal(headers['content-type'], 'application/vnd.shop.v2+json')
    t.equal(headers['x-account'], 'ann')
    t.equal(headers['api-version'], '2')
    t.equal(headers['accept-encoding'], 'identity')
    for (const gone of ['x-user', 'x-legacy', 'digest', 'transfer-encoding']) t.equal(headers[gone], undefined, gone)

    t.equal(got.status, 200)
    t.equal(got.body, '{"id":12345678901234567890,"items":[{"name":"a","price":1.0}],"version":1,"street":"s"}')
    t.equal(got.headers['content-length'], String(Buffer.byteLength(got.body)))
    t.equal(got.headers['content-type'], V1)
    t.equal(got.headers.etag, 'W/"tag"')
    t.equal(got.headers.location, '/v1/users/7')
    t.equal(got.headers['content-digest'], undefined)
    t.equal(got.headers['deprecation'], '@1767225600')
    t.equal(got.headers['sunset'], 'Fri, 01 Jan 2027 00:00:00 GMT')
    t.equal(got.headers['link'], '<https://shop.example/api/v2>; rel="deprecation"')
  })

  t.test(`${name}: the newest version, and what is no JSON, pass as they are`, async (t) => {
    seen.length = 0
    const body = '{ "items" : [{"name":1}] }'
    answer = json(body, { etag: '"tag"' })
    const newest = await call({
      method: 'POST',
      target: '/v2/x?q=1',
      headers: { 'content-type': 'application/json' },
      body,
    })
    t.equal(seen[0]?.target, '/v2/x?q=1')
    t.equal(seen[0]?.body, body)
    t.equal(newest.body, body)
    t.equal(newest.headers.etag, '"tag"')
    t.equal(newest.headers['deprecation'], undefined)
    answer = (response) => response.writeHead(200, { 'content-type': 'text/plain' }).end('{"title":1}')
    const text = await call({
      method: 'POST',
      target: '/v1/x',
      headers: { 'content-type': 'text/plain' },
      body: '{"name"',
    })
    t.equal(seen[1]?.target, '/v2/x?limit=20')
    t.equal(seen[1]?.body, '{"name"')
    t.equal(text.body, '{"title":1}')
  })

  t.test(`${name}: an error has rules of its own, HEAD and 304 have no body and no length`, async (t) => {
    answer = json('{"detail":"no","items":[{"title":1}]}', {}, 404)
    t.equal((await call({})).body, '{"error":"no","items":[{"title":1}]}')
    answer = (response) => response.writeHead(200, { 'content-type': V1, 'content-length': '999', etag: '"a"' }).end()
    const head = await call({ method: 'HEAD' })
    t.equal(head.headers['content-length'], undefined)
    t.equal(head.headers.etag, 'W/"a"')
    answer = (response) => response.writeHead(304, { etag: '"a"' }).end()
    const same = await call({ headers: { 'if-none-match': 'W/"a"', 'if-match': 'W/"b"', range: 'bytes=0-1' } })
    t.equal(same.status, 304)
    t.equal(same.headers.etag, 'W/"a"')
    const { headers = {} } = seen.at(-1) ?? {}
    t.equal(headers['if-none-match'], 'W/"a"')
    t.equal(headers['if-match'], '"b"')
    t.equal(headers.range, undefined)
  })

  t.test(`${name}: what cannot be translated is refused, and never arrives`, async (t) => {
    seen.length = 0
    answer = json('{}')
    const send = async (body: string | Buffer, more: Record<string, string> = {}): Promise<string> => {
      const got = await call({ method: 'POST', headers: { 'content-type': V1, ...more }, body })
      return `${got.status} ${got.body}`
    }
    t.equal(await send('{"a":'), '400 weir: the body is no JSON that can be translated')
    t.equal(await send('{"a":1,"a":2}'), '400 weir: the body is no JSON that can be translated')
    t.equal(await send('{"street":1,"address":2}'), '400 weir: the body is no JSON that can be translated')
    t.equal(
      await send(gzipSync('{}'), { 'content-encoding': 'gzip' }),
      '415 weir: the body must be JSON in UTF-8 without content-encoding',
    )
    t.equal(
      await send('{}', { 'content-type': `${V1}; charset=utf-16` }),
      '415 weir: the body must be JSON in UTF-8 without content-encoding',
    )
    t.equal(seen.length, 0)
    answer = json('{"title":')
    t.equal((await call({})).status, 502)
    answer = json('{}', { 'content-encoding': 'gzip' })
    t.equal((await call({})).body, 'weir: the answer cannot be translated')
    answer = json(`"${'x'.repeat(1_100_000)}"`)
    t.equal((await call({})).status, 502)
    answer = (response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': '10' })
      response.write('{"a"')
      setImmediate(() => response.destroy())
    }
    t.equal((await call({})).status, 502, 'nothing of half an answer is told')
    answer = json('{}')
    t.equal((await call({})).status, 200, 'and all goes on')
  })

  t.test(`${name}: a body as large as may be passes, in many pieces both ways`, async (t) => {
    const list = Array.from({ length: 20_000 }, (_, i) => `{"name":"item ${i} ${'x'.repeat(25)}"}`).join(',')
    answer = (response, got) => {
      response.writeHead(200, { 'content-type': 'application/json' })
      for (let at = 0; at < got.body.length; at += 30_000) response.write(got.body.slice(at, at + 30_000))
      response.end()
    }
    const body = `{"items":[${list}]}`
    const got = await call({ method: 'POST', headers: { 'content-type': 'application/json' }, body })
    t.ok(body.length > 900_000 && body.length < 1_000_000)
    t.equal(seen.at(-1)?.body, `${body.replaceAll('"name"', '"title"').slice(0, -1)},"currency":"EUR"}`)
    t.equal(got.body, `${body.slice(0, -1)},"currency":"EUR","version":1}`)
  })
}

t.test('a body that is too large is refused at once when it says so, else as soon as it is', async (t) => {
  seen.length = 0
  using told = await connectIn(client.netnsPath, web.ipv4, 80)
  await told.send(`POST /v1 HTTP/1.1\r\nHost: w\r\nContent-Type: ${V1}\r\nContent-Length: 1048577\r\n\r\n`)
  t.match((await told.message()).start, / 413 /)
  using chunked = await connectIn(client.netnsPath, web.ipv4, 80)
  await chunked.send(`POST /v1 HTTP/1.1\r\nHost: w\r\nContent-Type: ${V1}\r\nTransfer-Encoding: chunked\r\n\r\n`)
  for (let i = 0; i < 5; i++) await chunked.send(`40000\r\n${' '.repeat(0x40000)}\r\n`)
  t.match((await chunked.message()).start, / 413 /)
  t.equal(seen.length, 0)
})

t.test('who waits to be told to continue is told by the mesh', async (t) => {
  seen.length = 0
  answer = json('{}')
  using socket = await connectIn(client.netnsPath, web.ipv4, 80)
  await socket.send(
    `POST /v1 HTTP/1.1\r\nHost: w\r\nContent-Type: ${V1}\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n`,
  )
  t.match((await socket.message(true)).start, / 100 /)
  await socket.send('{"debug":')
  await socket.send('1}')
  t.match((await socket.message()).start, / 200 /)
  t.equal(seen[0]?.body, '{"currency":"EUR"}')
  t.equal(seen[0]?.headers.expect, undefined)
})

t.test('the log, the metric and weir explain tell the version', async (t) => {
  answer = json('{}')
  await overHttp1({ target: '/v1/told' })
  const line = await shop.agent.waitFor((one) => one['path'] === '/v1/told', { from: 0 })
  t.equal(line['apiVersion'], '1')
  await overHttp1({ target: '/neither' })
  const { stdout } = await shop.agent.cli('metrics', [])
  const lines = stdout.split('\n').filter((text) => text.startsWith('weir_api_version_requests_total{'))
  const versions = lines.map((text) => /[{,]version="([^"]*)"/.exec(text)?.[1] ?? '').sort((a, b) => (a < b ? -1 : 1))
  t.same(versions, ['1', '2', 'none'])
  t.ok(lines.every((text) => text.includes('source_workload="client"')))
  const { steps } = await shop.explain(client, `http://${web.ipv4}/v1/users?q=1`)
  for (const step of [
    'It is of API version 1, by path prefix /v1.',
    'Its target /v1/users?q=1 is translated to /v2/accounts?query=1&limit=20.',
    'In the JSON of an answer 4xx or 5xx: /detail is renamed to "error".',
    'Its answers tell that the version is going (Deprecation: @1767225600, Sunset: Fri, 01 Jan 2027 00:00:00 GMT).',
  ])
    t.ok(steps.includes(step), `${step}\n${steps.join('\n')}`)
})

t.test('policy judges what arrives, not what was sent', async (t) => {
  const deny = `
apiVersion: weir.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: no-accounts, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: web }]
  action: DENY
  rules: [{ to: [{ operation: { paths: [/v2/accounts*] } }] }]`
  await shop.apply(EXAMPLE, deny)
  answer = json('{}')
  t.equal((await overHttp1({ target: '/v1/users/7' })).status, 403)
  t.equal((await overHttp1({ target: '/v1/other' })).status, 200)
  await shop.apply(EXAMPLE, deny.replace('/v2/accounts*', '/v1/users*'))
  t.equal((await overHttp1({ target: '/v1/users/7' })).status, 200)
})

t.test('a translated request is tried again as it was translated', async (t) => {
  await shop.apply(
    EXAMPLE.replace('  versioning:', '  retry: { codes: [503], attempts: 1, backoff: { base: 1ms } }\n  versioning:'),
  )
  seen.length = 0
  answer = (response) => (seen.length === 1 ? response.writeHead(503).end() : json('{"items":[{"title":1}]}')(response))
  for (const call of [overHttp1, overHttp2]) {
    seen.length = 0
    const got = await call({ method: 'PUT', headers: { 'content-type': V1 }, body: '{"street":"s"}' })
    t.equal(got.body, '{"items":[{"name":1}],"version":1}')
    t.same(
      seen.map(({ target, body }) => `${target} ${body}`),
      [
        '/v2?limit=20 {"address":{"street":"s"},"currency":"EUR"}',
        '/v2?limit=20 {"address":{"street":"s"},"currency":"EUR"}',
      ],
    )
  }
})

t.test('a mirror gets what the client sent: which version it speaks is its own matter', async (t) => {
  const route = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules:
    - backendRefs: [{ name: web, port: 80 }]
      filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: shadow, port: 80 } } }]`
  await shop.apply(EXAMPLE, route)
  answer = json('{}')
  const body = '{"street":"s"}'
  for (const call of [overHttp1, overHttp2]) {
    copied = Promise.withResolvers()
    t.equal((await call({ method: 'POST', headers: { 'content-type': V1 }, body })).status, 200)
    t.equal(seen.at(-1)?.body, '{"address":{"street":"s"},"currency":"EUR"}')
    await copied.promise
    t.equal(copies.at(-1), `/v1 ${body}`)
  }
})
