/** HTTP/2 from pods, in clear text with prior knowledge: real clients and servers at both ends. */
import { once } from 'node:events'
import http2 from 'node:http2'
import t from 'tap'
import { openDataPath } from '../support/data-path.ts'
import { answerOf, http2ClientIn, http2ServerIn } from '../support/http2-pods.ts'
import { connectIn } from '../support/raw-socket.ts'

const path = await openDataPath(t)
t.teardown(() => path[Symbol.asyncDispose]())
const { NGHTTP2_CANCEL, NGHTTP2_REFUSED_STREAM, NGHTTP2_INTERNAL_ERROR } = http2.constants

const POST = { ':method': 'POST', ':path': '/' }
const clientOf = (port: number) => http2ClientIn(path.client.netnsPath, path.service.ipv4, port)
const closed = (stream: http2.ClientHttp2Stream) =>
  new Promise<void>((resolve) => stream.once('close', () => resolve()))
const echo = (stream: http2.ServerHttp2Stream): void => {
  stream.respond({ ':status': 200 })
  stream.pipe(stream)
}

t.test('requests of a client of HTTP/2 reach a server of HTTP/2 as streams of one session', async (t) => {
  const port = path.port()
  await using server = await http2ServerIn(path.web.netnsPath, port, (stream, headers) => {
    const xfcc = String(headers['x-forwarded-client-cert'])
    stream.respond({ ':status': 200, 'x-path': headers[':path'], 'x-xfcc': xfcc }, { waitForTrailers: true })
    stream.on('wantTrailers', () => stream.sendTrailers({ 'x-end': 'yes', 'x-weir-refusal': 'RBAC' }))
    stream.pipe(stream)
  })
  using client = await clientOf(port)
  const ask = (i: number) =>
    client.ask({ ...POST, ':path': `/${i}`, 'x-forwarded-client-cert': 'me', 'x-weir-a': 'b' }, 'x'.repeat(i * 1000))
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => ask(i)))
  t.same(
    answers.map(({ status, headers, body }) => [status, headers['x-path'], body.length]),
    answers.map((_, i) => [200, `/${i}`, i * 1000]),
  )
  t.ok(answers.every(({ trailers }) => trailers['x-end'] === 'yes' && trailers['x-weir-refusal'] === undefined))
  t.ok(answers.every(({ headers }) => /^By=spiffe:.*sa\/web;URI=spiffe:.*sa\/client$/.test(String(headers['x-xfcc']))))
  t.equal(server.used.size, 1)
})

t.test('nghttp and h2load are served', async (t) => {
  const port = path.port()
  await using _server = await http2ServerIn(path.web.netnsPath, port, echo)
  const url = `http://${path.service.ipv4}:${port}/`
  const one = await path.client.exec('nghttp', ['-nv', url])
  t.match(one.stdout, /:status: 200/)
  const many = await path.client.exec('h2load', ['-c8', '-m10', '-n2000', url])
  t.match(many.stdout, /2000 succeeded, 0 failed/)
})

t.test('a connection serves more requests than may be open at once', async (t) => {
  const port = path.port()
  await using _server = await http2ServerIn(path.web.netnsPath, port, echo)
  using client = await clientOf(port)
  for (let round = 0; round < 6; round++) {
    const answers = await Promise.all(Array.from({ length: 100 }, () => client.ask({ ':path': '/' })))
    t.ok(answers.every(({ status }) => status === 200))
  }
})

t.test('a server that takes one request each time, and then none, holds no connections', async (t) => {
  const port = path.port()
  await using server = await http2ServerIn(path.web.netnsPath, port, (stream) => {
    stream.session?.settings({ maxConcurrentStreams: 0 }, () => stream.end())
    stream.respond({ ':status': 200 })
  })
  using client = await clientOf(port)
  for (let i = 0; i < 30; i++) t.equal((await client.ask({ ':path': '/' })).status, 200)
  t.equal(server.opened, 30)
  t.ok(server.sessions.length <= 3, `${server.sessions.length} are open`)
})

t.test('data passes both ways at once, and interim answers come before the answer', async (t) => {
  const port = path.port()
  await using _server = await http2ServerIn(path.web.netnsPath, port, (stream) => {
    stream.additionalHeaders({ ':status': 103, link: '</style.css>' })
    echo(stream)
  })
  using client = await clientOf(port)
  const stream = client.request(POST, { endStream: false })
  const [early] = (await once(stream, 'headers')) as [http2.IncomingHttpHeaders]
  t.equal(early['link'], '</style.css>')
  for (const word of ['one', 'two']) {
    stream.write(word)
    const [back] = (await once(stream, 'data')) as [Buffer]
    t.equal(back.toString(), word)
  }
  stream.end()
  await closed(stream)
})

t.test('a reset passes on, with its code, in both directions', async (t) => {
  const port = path.port()
  const resets: number[] = []
  const { promise: cancelled, resolve } = Promise.withResolvers<void>()
  await using _server = await http2ServerIn(path.web.netnsPath, port, (stream, headers) => {
    stream.respond({ ':status': 200 })
    stream.write('begun')
    if (headers[':path'] === '/breaks') stream.on('data', () => stream.close(NGHTTP2_INTERNAL_ERROR))
    stream.on('close', () => {
      resets.push(stream.rstCode)
      if (headers[':path'] === '/cancelled') resolve()
    })
  })
  using client = await clientOf(port)
  const breaks = client.request({ ...POST, ':path': '/breaks' }, { endStream: false })
  await once(breaks, 'data')
  breaks.write('now')
  await closed(breaks)
  t.equal(breaks.rstCode, NGHTTP2_INTERNAL_ERROR)
  const cancel = client.request({ ...POST, ':path': '/cancelled' }, { endStream: false })
  await once(cancel, 'data')
  cancel.close(NGHTTP2_CANCEL)
  await cancelled
  t.same(resets, [NGHTTP2_INTERNAL_ERROR, NGHTTP2_CANCEL])
  await path.agent.waitFor((line) => line['path'] === '/cancelled' && line['flags'] === 'DC', { from: 0 })
})

t.test('a reader that stalls holds its own stream only, and the writer behind it', async (t) => {
  const port = path.port()
  let written = 0
  await using _server = await http2ServerIn(path.web.netnsPath, port, (stream, headers) => {
    if (headers[':path'] !== '/endless') {
      echo(stream)
      return
    }
    stream.respond({ ':status': 200 })
    const more = (): void => {
      do written += 65536
      while (!stream.destroyed && stream.write(Buffer.alloc(65536)))
    }
    stream.on('drain', more)
    more()
  })
  using client = await clientOf(port)
  const stalled = client.request({ ':path': '/endless' })
  await once(stalled, 'response')
  let before = -1
  // No more is written once every window on the way is used up.
  while (written !== before) {
    before = written
    for (let i = 0; i < 20; i++) t.equal((await client.ask(POST, 'still')).body, 'still')
  }
  t.ok(written < 8 << 20, `${written} bytes`)
  stalled.close(NGHTTP2_CANCEL)
})

/** Frames by hand (RFC 9113 section 4.1): a client that heeds no rule. */
function frame(type: number, flags: number, stream: number, payload: readonly number[] = []): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, Buffer.from(payload)])
}
const HEADERS = 1
const RST_STREAM = 3
const SETTINGS = 4
const GOAWAY = 7
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
/** GET of that path from `web`, without a body. */
const get = (stream: number, path: string) =>
  frame(HEADERS, 5, stream, [0x82, 0x86, 0x44, path.length, ...Buffer.from(path), 0x41, 3, ...Buffer.from('web')])

/** Error codes of the GOAWAY frames in what a server has sent. */
function goaways(sent: Buffer): number[] {
  const codes: number[] = []
  for (let at = 0; at + 9 <= sent.length; at += 9 + sent.readUIntBE(at, 3)) {
    if (sent[at + 3] === GOAWAY) codes.push(sent.readUInt32BE(at + 13))
  }
  return codes
}

t.test(
  'a pod that resets streams without end is cut off, one that never reads waits, and another is served meanwhile',
  async (t) => {
    const port = path.port()
    let stalled = 0
    await using _server = await http2ServerIn(path.web.netnsPath, port, (stream, headers) => {
      if (headers[':path'] === '/never') return
      if (headers[':path'] === '/long') {
        stalled++
        stream.respond({ ':status': 200 })
        stream.end(Buffer.alloc(40_000))
      } else echo(stream)
    })
    using client = await clientOf(port)
    const served = async (when: string): Promise<void> => {
      const bodies = await Promise.all(Array.from({ length: 10 }, () => client.ask(POST, 'x'.repeat(200_000))))
      t.ok(
        bodies.every(({ status, body }) => status === 200 && body.length === 200_000),
        when,
      )
    }
    await served('before')

    using reader = await connectIn(path.other.netnsPath, path.service.ipv4, port)
    // Windows of 0 bytes: nothing of the bodies may be sent.
    const noWindow = frame(SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0])
    await reader.send(
      Buffer.concat([PREFACE, noWindow, ...Array.from({ length: 200 }, (_, i) => get(2 * i + 1, '/long'))]),
    )
    while (stalled < 200) await served('while 200 answers are not read')

    using resetter = await connectIn(path.other.netnsPath, path.service.ipv4, port)
    const reset = (count: number, first: number) =>
      resetter.send(
        Buffer.concat(
          Array.from({ length: count }, (_, i) => {
            const stream = first + 2 * i
            return Buffer.concat([get(stream, '/never'), frame(RST_STREAM, 0, stream, [0, 0, 0, NGHTTP2_CANCEL])])
          }),
        ),
      )
    await resetter.send(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0)]))
    const from = path.agent.logs.length
    let sent = 0
    while (resetter.ending === 'open' && sent < 10_000) {
      await reset(500, 2 * sent + 1)
      sent += 500
      await served(`after ${sent} resets`)
    }
    t.same(goaways(await resetter.rest()), [http2.constants.NGHTTP2_ENHANCE_YOUR_CALM])
    t.ok(sent >= 1000, `${sent} resets`)
    t.match(await path.agent.waitFor((line) => line['flags'] === 'DPE', { from }), { source: 'shop/other' })
    t.equal(reader.ending, 'open')
    await served('at the end')
  },
)

t.test('a stream that is refused, or above the last of a GOAWAY, is sent again with its body', async (t) => {
  const port = path.port()
  let refusals = 0
  await using server = await http2ServerIn(path.web.netnsPath, port, (stream, headers) => {
    if (headers[':path'] === '/refused' && refusals++ === 0) stream.close(NGHTTP2_REFUSED_STREAM)
    else echo(stream)
  })
  using client = await clientOf(port)
  const answer = await client.ask({ ...POST, ':path': '/refused' }, 'body')
  t.equal(answer.body, 'body')
  t.equal(refusals, 2)
  let answered = 0
  let going = true
  const lane = async (): Promise<void> => {
    while (going) {
      const { status, body } = await client.ask(POST, 'a body')
      if (status !== 200 || body !== 'a body') throw new Error(`${status} ${body}`)
      answered++
    }
  }
  const lanes = Array.from({ length: 20 }, lane)
  for (let round = 0; round < 5; round++) {
    const { opened } = server
    const session = server.sessions.at(-1)
    const soon = answered + 50
    while (answered < soon) await new Promise(setImmediate)
    session?.close()
    while (server.opened === opened) await new Promise(setImmediate)
  }
  going = false
  await Promise.all(lanes)
  t.ok(answered > 250)
})

t.test('as many sessions as the MAX_CONCURRENT_STREAMS of the server asks for', async (t) => {
  const port = path.port()
  const held: http2.ServerHttp2Stream[] = []
  let most = 0
  await using server = await http2ServerIn(
    path.web.netnsPath,
    port,
    (stream) => {
      held.push(stream)
      most = Math.max(most, held.filter((other) => other.session === stream.session).length)
      if (held.length === 10) for (const one of held) echo(one)
    },
    { maxConcurrentStreams: 4 },
  )
  using client = await clientOf(port)
  const answers = await Promise.all(Array.from({ length: 10 }, () => client.ask(POST, 'x')))
  t.ok(answers.every(({ status }) => status === 200))
  t.equal(server.used.size, 3)
  t.equal(most, 4)
})

t.test('what no server answers is answered by the mesh', async (t) => {
  using client = await clientOf(path.port())
  const answer = await client.ask({ ':path': '/nobody' })
  t.equal(answer.status, 503)
  t.match(answer.body, /could not connect/)
  const line = await path.agent.waitFor((one) => one['path'] === '/nobody', { from: 0 })
  t.match(line, { flags: 'UF', version: 'HTTP/2', status: 503 })
  const head = await client.ask({ ':path': '/nobody', ':method': 'HEAD' })
  t.same([head.status, head.body], [503, ''])
  const connect = client.request({ ':method': 'CONNECT', ':authority': 'web:80' })
  t.equal((await answerOf(connect)).status, 501)
})

t.test('policy is judged for each stream, and a change of it cuts those it forbids', async (t) => {
  const port = path.port()
  await using _server = await http2ServerIn(path.web.netnsPath, port, echo)
  using client = await clientOf(port)
  const policy = (rules: string) => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: web, namespace: shop }
spec:
  selector: { matchLabels: { app: web } }
  rules: ${rules}`
  await path.change(() =>
    path.lab.apply(policy("[{ to: [{ operation: { paths: ['/open', '/long'] } }] }]"), 'policy.yaml'),
  )
  t.equal((await client.ask({ ...POST, ':path': '/open' }, 'x')).status, 200)
  const denied = await client.ask({ ...POST, ':path': '/closed' }, 'x')
  t.same([denied.status, denied.body], [403, 'weir: denied by policy'])
  const long = client.request({ ...POST, ':path': '/long' }, { endStream: false })
  long.write('x')
  await once(long, 'data')
  const cut = closed(long)
  await path.change(() => path.lab.apply(policy("[{ to: [{ operation: { paths: ['/open'] } }] }]"), 'policy.yaml'))
  await cut
  t.equal(long.rstCode, NGHTTP2_CANCEL)
  t.equal((await client.ask({ ...POST, ':path': '/open' }, 'x')).status, 200, 'on the same connection')
  await path.change(() => path.lab.remove('policy.yaml'))
})

t.test('an upgrade to h2c is answered over HTTP/1.1', async (t) => {
  await using reach = await path.listen(async (connection) => {
    const { lines } = await connection.message()
    const told = lines.some((line) => /^(?:upgrade|http2-settings):/i.test(line))
    await connection.send(`HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n${told ? 'no' : 'ok'}`)
  })
  using socket = await reach.connect()
  await socket.send(
    'GET / HTTP/1.1\r\nHost: w\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n',
  )
  const { start, body } = await socket.message()
  t.same([start, body.toString()], ['HTTP/1.1 200 OK', 'ok'])
})

t.test('a proxy that drains says GOAWAY, and what is open ends first', async (t) => {
  const port = path.port()
  await using _server = await http2ServerIn(path.web.netnsPath, port, echo)
  using client = await clientOf(port)
  const long = client.request(POST, { endStream: false })
  long.write('x')
  await once(long, 'data')
  const goaway = once(client.session, 'goaway')
  const stopped = path.agent.stop()
  t.equal((await goaway)[0], http2.constants.NGHTTP2_NO_ERROR)
  long.end('y')
  const [last] = (await once(long, 'data')) as [Buffer]
  t.equal(last.toString(), 'y')
  await stopped
})
