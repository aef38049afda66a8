/**
 * Our HTTP/2 against other implementations: Node's `node:http2` (nghttp2 inside) at either end, and Debian's
 * `nghttp` and `h2load`. Loopback only, plain TCP.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http2 from 'node:http2'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { promisify } from 'node:util'
import t from 'tap'
import { H2_CANCEL, type H2Stream, Http2Session, type Http2SessionOptions, type Http2StreamOwner } from '#http'

const run = promisify(execFile)
const HEAD = [':method', 'GET', ':scheme', 'http', ':authority', 'web', ':path', '/']
const CONNECT = [':method', 'CONNECT', ':authority', '10.0.0.1:80']

/** A session over a socket: what a real caller does, in its simplest form. */
function overSocket(socket: Socket, options: Omit<Http2SessionOptions, 'transport'>): Http2Session {
  socket.setNoDelay(true)
  const session = new Http2Session({
    ...options,
    transport: {
      write: (bytes) => {
        socket.write(bytes, () => session.drained())
        return false
      },
      end: () => socket.end(),
      destroy: () => socket.destroy(),
      schedule: (flush) => setImmediate(flush),
    },
  })
  socket.on('data', (bytes: Buffer) => session.receive(bytes, bytes.length))
  socket.on('error', () => {})
  socket.on('close', () => session.transportClosed())
  socket.on('end', () => socket.end())
  const timer = setInterval(() => session.tick(performance.now()), 100)
  socket.on('close', () => clearInterval(timer))
  return session
}

type OnStream = NonNullable<Http2SessionOptions['onStream']>

/** Our server on a port of its own. */
async function ourServer(onStream: OnStream, options: Partial<Http2SessionOptions> = {}) {
  const sessions: Http2Session[] = []
  const ends: { code: number; problem: string }[] = []
  const server = createServer((socket) => {
    const onClose = (code: number, problem: string) => ends.push({ code, problem })
    sessions.push(overSocket(socket, { role: 'server', onStream, onClose, ...options }))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    sessions,
    ends,
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) session.close()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Our client, connected to `port`. */
async function ourClient(port: number, options: Partial<Http2SessionOptions> = {}) {
  const socket = connect({ port, host: '127.0.0.1' })
  await once(socket, 'connect')
  const session = overSocket(socket, { role: 'client', ...options })
  return { socket, session, [Symbol.dispose]: () => socket.destroy() }
}

/** A server of `node:http2`. */
async function nodeServer(onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void) {
  const server = http2.createServer({ settings: { enableConnectProtocol: true, maxConcurrentStreams: 500 } })
  const sessions: http2.ServerHttp2Session[] = []
  server.on('session', (session) => sessions.push(session))
  server.on('stream', onStream)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    port,
    sessions,
    [Symbol.asyncDispose]: async () => {
      for (const session of sessions) session.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Collects a stream and tells when it has closed. */
class Collector implements Http2StreamOwner {
  readonly heads: (readonly string[])[] = []
  readonly hash = createHash('sha256')
  trailers: readonly string[] | undefined
  text = ''
  bytes = 0
  ended = false
  readonly closed = Promise.withResolvers<number>()
  readonly head = Promise.withResolvers<readonly string[]>()
  onDrain: () => void = () => {}
  onPiece: (count: number) => void = () => {}
  readonly #keepText: boolean

  constructor(keepText = true) {
    this.#keepText = keepText
  }
  onData(bytes: Buffer, length: number): void {
    this.bytes += length
    this.hash.update(bytes.subarray(0, length))
    if (this.#keepText) this.text += bytes.toString('latin1', 0, length)
    this.onPiece(length)
  }
  onHeaders(headers: readonly string[]): void {
    this.heads.push(headers)
    this.head.resolve(headers)
  }
  onTrailers(headers: readonly string[]): void {
    this.trailers = headers
  }
  onEnd(): void {
    this.ended = true
  }
  onClose(status: number): void {
    this.closed.resolve(status)
  }
}

function begin(
  session: Http2Session,
  headers: readonly string[],
  endStream: boolean,
  owner: Http2StreamOwner,
): H2Stream {
  const stream = session.open(headers, endStream)
  if (stream === undefined) throw new Error('No stream')
  stream.owner = owner
  stream.resume()
  return stream
}

/** Writes `total` bytes as fast as they are taken; gives their hash. */
function pour(stream: H2Stream, owner: Collector, total: number, done: () => void): { readonly digest: () => string } {
  const hash = createHash('sha256')
  let left = total
  const more = () => {
    while (left > 0) {
      const bytes = Buffer.alloc(Math.min(left, 50_000), left % 251)
      hash.update(bytes)
      left -= bytes.length
      if (!stream.writeBytes(bytes)) return
    }
    owner.onDrain = () => {}
    done()
  }
  owner.onDrain = more
  more()
  return { digest: () => hash.digest('hex') }
}

/** Answers a GET with a line, echoes everything else with trailers that tell its size. */
const echo: OnStream = (stream, headers) => {
  const owner = new Collector(false)
  stream.owner = owner
  if (headers[1] === 'GET') {
    stream.respond([':status', '200', 'content-type', 'text/plain', 'content-length', '6'], false)
    stream.writeText('hello\n')
    stream.end()
    stream.resume()
    return
  }
  stream.respond([':status', '200', 'x-server', 'ours'], false)
  let paused = 0
  stream.owner = {
    onData: (bytes, length) => {
      owner.onData(bytes, length)
      if (!stream.writeSlice(bytes, 0, length)) {
        paused++
        stream.pause()
      }
    },
    onDrain: () => stream.resume(),
    onEnd: () => stream.sendTrailers(['x-bytes', String(owner.bytes), 'x-paused', paused > 0 ? 'yes' : 'no']),
    onClose: () => {},
  }
  stream.resume()
}

t.test('our server, client of node:http2: requests, interim heads, trailers, many at once', async (t) => {
  await using server = await ourServer((stream, headers, endStream) => {
    if (headers.includes('/early')) stream.respond([':status', '103', 'link', '</style.css>'], false)
    echo(stream, headers, endStream)
  })
  const client = http2.connect(`http://127.0.0.1:${server.port}`)
  t.teardown(() => client.destroy())
  const early = client.request({ ':path': '/early' })
  const interim = once(early, 'headers')
  const [head] = await once(early, 'response')
  t.equal(head[':status'], 200)
  t.equal((await interim)[0].link, '</style.css>')
  const answers = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const body = `body ${i} `.repeat(i)
      const request = client.request({
        ':method': 'POST',
        ':path': `/${i}`,
        'x-i': String(i),
        authorization: `secret ${i}`,
      })
      request.end(body)
      let text = ''
      request.setEncoding('latin1').on('data', (piece: string) => (text += piece))
      const trailers = once(request, 'trailers')
      await once(request, 'end')
      return text === body && (await trailers)[0]['x-bytes'] === String(body.length)
    }),
  )
  t.equal(answers.filter((ok) => ok).length, 200)
  t.equal(client.remoteSettings.enableConnectProtocol, true)
  t.ok((client.remoteSettings.initialWindowSize ?? 0) > 65_535)
})

t.test(
  'our server, client of node:http2: a CONNECT tunnel with half-close, a reset and a large body that stalls',
  async (t) => {
    const resets: number[] = []
    await using server = await ourServer((stream, headers, endStream) => {
      echo(stream, headers, endStream)
      const owner = stream.owner
      stream.owner = {
        onData: (bytes, length) => owner.onData(bytes, length),
        onEnd: () => owner.onEnd(),
        onDrain: () => owner.onDrain(),
        onClose: (status) => status !== 0 && resets.push(stream.errorCode),
      }
    })
    const client = http2.connect(`http://127.0.0.1:${server.port}`)
    t.teardown(() => client.destroy())
    const tunnel = client.request({ ':method': 'CONNECT', ':authority': '10.0.0.1:80' }, { endStream: false })
    const [head] = await once(tunnel, 'response')
    t.equal(head['x-server'], 'ours')
    tunnel.write('ping')
    t.equal(String((await once(tunnel, 'data'))[0]), 'ping')
    tunnel.end('last')
    t.equal(String((await once(tunnel, 'data'))[0]), 'last', 'our side is open after their end')
    await once(tunnel, 'close')

    const abort = new AbortController()
    const cancelled = client.request({ ':method': 'POST', ':path': '/' }, { signal: abort.signal })
    const aborted = Promise.withResolvers<void>()
    cancelled.on('error', () => {}).on('close', aborted.resolve)
    await once(cancelled, 'response')
    abort.abort()
    await aborted.promise

    const large = client.request({ ':method': 'POST', ':path': '/large' })
    const sent = createHash('sha256')
    const got = createHash('sha256')
    const total = 20_000_000
    let pushed = 0
    const push = () => {
      while (pushed < total) {
        const bytes = Buffer.alloc(40_000, pushed % 253)
        sent.update(bytes)
        pushed += bytes.length
        if (!large.write(bytes)) {
          large.once('drain', push)
          return
        }
      }
      large.end()
    }
    const trailers = once(large, 'trailers')
    push()
    // Nobody reads for now: their window closes, then ours.
    await once(large, 'response')
    let last = -1
    while (pushed !== last) {
      last = pushed
      const pinged = Promise.withResolvers<void>()
      client.ping(() => pinged.resolve())
      await pinged.promise
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    t.ok(pushed < 4_000_000, `${pushed} bytes were let in before the writer was held`)
    let received = 0
    large.on('data', (bytes: Buffer) => {
      received += bytes.length
      got.update(bytes)
    })
    await once(large, 'end')
    t.equal(received, total)
    t.equal(got.digest('hex'), sent.digest('hex'))
    t.same((await trailers)[0]['x-paused'], 'yes')
    t.same(resets, [H2_CANCEL])
  },
)

t.test('our server, client of node:http2: GOAWAY lets what is open finish', async (t) => {
  const answer = Promise.withResolvers<void>()
  const seen = Promise.withResolvers<void>()
  await using server = await ourServer((stream) => {
    stream.owner = new Collector()
    stream.resume()
    seen.resolve()
    void answer.promise.then(() => {
      stream.respond([':status', '200'], false)
      stream.writeText('finished')
      stream.end()
    })
  })
  const client = http2.connect(`http://127.0.0.1:${server.port}`)
  const request = client.request({ ':path': '/' })
  let text = ''
  request.setEncoding('latin1').on('data', (piece: string) => (text += piece))
  await Promise.all([once(client, 'remoteSettings'), seen.promise])
  const goaway = once(client, 'goaway')
  server.sessions[0]?.goaway()
  t.equal((await goaway)[0], 0)
  answer.resolve()
  await once(request, 'end')
  t.equal(text, 'finished')
  if (!client.destroyed) await once(client, 'close')
  t.same(server.ends, [{ code: 0, problem: '' }])
})

t.test('our client, server of node:http2: requests, interim heads, trailers, many at once', async (t) => {
  await using server = await nodeServer((stream, headers) => {
    if (headers[':path'] === '/early') stream.additionalHeaders({ ':status': 103, link: '</style.css>' })
    stream.respond({ ':status': 200, 'x-echo': String(headers['x-i']) }, { waitForTrailers: true })
    let bytes = 0
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-bytes': String(bytes) }))
    stream.on('data', (piece: Buffer) => (bytes += piece.length))
    stream.pipe(stream)
  })
  using client = await ourClient(server.port)
  const early = new Collector()
  begin(client.session, [...HEAD.slice(0, 6), ':path', '/early'], true, early)
  t.equal(await early.closed.promise, 0)
  t.same(
    early.heads.map((head) => head[1]),
    ['103', '200'],
  )
  t.same(early.trailers, ['x-bytes', '0'])
  const results = await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      const owner = new Collector()
      const body = `body ${i} `.repeat(i)
      const headers = [':method', 'POST', ':scheme', 'http', ':authority', 'web', ':path', '/', 'x-i', String(i)]
      const stream = begin(client.session, headers, false, owner)
      stream.writeText(body)
      stream.end()
      const status = await owner.closed.promise
      return status === 0 && owner.text === body && owner.ended && owner.trailers?.[1] === String(body.length)
    }),
  )
  t.equal(results.filter((ok) => ok).length, 200)
  t.equal(client.session.peerTakesExtendedConnect, true)
  const pinged = Promise.withResolvers<boolean>()
  client.session.ping((alive) => pinged.resolve(alive))
  t.equal(await pinged.promise, true)
})

t.test(
  'our client, server of node:http2: a CONNECT tunnel with half-close, a large body that stalls, a refusal',
  async (t) => {
    const held: http2.ServerHttp2Stream[] = []
    await using server = await nodeServer((stream, headers) => {
      stream.on('error', () => {})
      if (headers[':method'] === 'CONNECT') {
        stream.respond({ ':status': 200 })
        stream.write('220 ready\r\n')
        stream.pipe(stream)
      } else if (headers[':path'] === '/refused') stream.close(http2.constants.NGHTTP2_REFUSED_STREAM)
      else {
        stream.respond({ ':status': 200 })
        held.push(stream)
      }
    })
    using client = await ourClient(server.port)
    const owner = new Collector()
    const tunnel = begin(client.session, CONNECT, false, owner)
    owner.onPiece = () => {
      if (owner.text === '220 ready\r\n') tunnel.writeText('hello')
      else if (owner.text.endsWith('hello')) tunnel.end()
    }
    t.equal(await owner.closed.promise, 0)
    t.equal(owner.text, '220 ready\r\nhello')

    const refused = new Collector()
    const stream = begin(client.session, [...HEAD.slice(0, 6), ':path', '/refused'], true, refused)
    t.equal(await refused.closed.promise, -111)
    t.equal(stream.errorCode, 7)

    const large = new Collector(false)
    const upload = begin(client.session, [':method', 'POST', ...HEAD.slice(2)], false, large)
    const sent = pour(upload, large, 20_000_000, () => upload.end())
    await large.head.promise
    t.equal(upload.pendingWrites, 1, 'held by their window')
    const paused = client.session.outbound.backlog
    t.equal(paused, 0)
    upload.pause()
    held[0]?.pipe(held[0])
    // They read, we do not: our window closes, then theirs.
    const quiet = async () => {
      let before = -1
      while (before !== client.session.queuedBytes) {
        before = client.session.queuedBytes
        const pinged = Promise.withResolvers<boolean>()
        client.session.ping((alive) => pinged.resolve(alive))
        await pinged.promise
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
    await quiet()
    t.equal(client.session.queuedBytes, client.session.limits.streamWindowBytes, 'one window is held, and no more')
    t.equal(upload.pendingWrites, 1)
    upload.resume()
    t.equal(await large.closed.promise, 0)
    t.equal(large.bytes, 20_000_000)
    t.equal(large.hash.digest('hex'), sent.digest())
  },
)

t.test('our client, server of node:http2: GOAWAY lets what is open finish', async (t) => {
  const streams: http2.ServerHttp2Stream[] = []
  await using server = await nodeServer((stream) => {
    stream.respond({ ':status': 200 })
    streams.push(stream)
  })
  const goaway = Promise.withResolvers<number>()
  const closed = Promise.withResolvers<number>()
  using client = await ourClient(server.port, { onGoaway: (_, code) => goaway.resolve(code), onClose: closed.resolve })
  const owner = new Collector()
  begin(client.session, HEAD, true, owner)
  await owner.head.promise
  server.sessions[0]?.close()
  t.equal(await goaway.promise, 0)
  t.equal(client.session.canOpen, false)
  streams[0]?.end('finished')
  t.equal(await owner.closed.promise, 0)
  t.equal(owner.text, 'finished')
  t.equal(await closed.promise, 0)
  if (!client.socket.destroyed) await once(client.socket, 'close')
})

t.test('our server, nghttp: a request, an upload and what it says of the conversation', async (t) => {
  await using server = await ourServer(echo)
  const url = `http://127.0.0.1:${server.port}/`
  const { stdout } = await run('nghttp', ['-nv', url, `${url}two`])
  t.match(stdout, /recv HEADERS frame/)
  t.match(stdout, /:status: 200/)
  t.match(stdout, /SETTINGS_ENABLE_CONNECT_PROTOCOL\(0x08\):1/)
  t.notMatch(stdout, /error_code=(?!NO_ERROR)/)
  const { stdout: body } = await run('nghttp', [url])
  t.equal(body, 'hello\n')
  const { stdout: upload } = await run('nghttp', ['-d', '/bin/ls', '-nv', url], { maxBuffer: 1 << 26 })
  const bytes = /x-bytes: (\d+)/.exec(upload)?.[1]
  t.ok(Number(bytes) > 100_000, 'the upload came whole')
  t.ok(server.ends.every(({ code }) => code === 0))
})

t.test('our server, h2load: thousands of requests over few connections', async (t) => {
  await using server = await ourServer(echo)
  const url = `http://127.0.0.1:${server.port}/`
  const { stdout } = await run('h2load', ['-n', '2000', '-c', '4', '-m', '50', url])
  t.match(stdout, /2000 succeeded, 0 failed, 0 errored, 0 timeout/)
  const { stdout: posted } = await run('h2load', ['-n', '200', '-c', '2', '-m', '10', '-d', '/bin/ls', url])
  t.match(posted, /200 succeeded, 0 failed, 0 errored, 0 timeout/)
  t.ok(server.ends.every(({ code }) => code === 0))
})
