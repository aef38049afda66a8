/** Requests and answers over kept-alive connections: order, reuse, framing of every kind, byte for byte. */
import { createHash, randomBytes } from 'node:crypto'
import t from 'tap'
import { answerAll, openDataPath } from '../support/data-path.ts'
import { connectIn, type RawSocket } from '../support/raw-socket.ts'

const lab = await openDataPath(t)
t.teardown(() => lab.lab.close())

const GET = 'GET / HTTP/1.1\r\nHost: web\r\n\r\n'
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'
const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const SIZES = [0, 1, 8191, 8192, 8193, 65536, (1 << 20) + 1]

t.test('a client connection and the upstream connection are kept and used again', async (t) => {
  await using reach = await lab.listen(answerAll)
  using client = await reach.connect()
  for (let i = 0; i < 20; i++) {
    await client.send(GET)
    const { start, body } = await client.message()
    t.match(start, /^HTTP\/1\.1 200/)
    t.equal(String(body), 'ok')
  }
  using second = await reach.connect()
  await second.send(GET)
  t.equal(String((await second.message()).body), 'ok')
  t.equal(reach.server.used.length, 1, 'one upstream connection served two client connections of one pod')
})

t.test('every way to a server works: ClusterIP and pod, IPv4 and IPv6, and plain from the node', async (t) => {
  await using reach = await lab.listen(answerAll)
  const ways: [string, string][] = [
    [lab.client.netnsPath, lab.service.ipv4],
    [lab.client.netnsPath, lab.service.ipv6 ?? ''],
    [lab.client.netnsPath, lab.web.ipv4],
    [lab.client.netnsPath, lab.web.ipv6 ?? ''],
    [`/run/netns/${lab.lab.node.netns}`, lab.web.ipv4],
    [`/run/netns/${lab.lab.node.netns}`, lab.web.ipv6 ?? ''],
  ]
  for (const [from, to] of ways) {
    using client = await connectIn(from, to, reach.port)
    await client.send(GET)
    t.equal(String((await client.message()).body), 'ok', `${from} to ${to}`)
  }
})

t.test('pipelined requests are answered in order though the first is slow', async (t) => {
  const first = Promise.withResolvers<void>()
  await using reach = await lab.listen((connection) =>
    (async () => {
      for (;;) {
        const { start } = await connection.message()
        const path = start.split(' ')[1] ?? ''
        if (path === '/0') await first.promise
        await connection.send(`HTTP/1.1 200 OK\r\ncontent-length: ${path.length}\r\n\r\n${path}`)
      }
    })().catch(() => {}),
  )
  using client = await reach.connect()
  await client.send(Array.from({ length: 50 }, (_, i) => `GET /${i} HTTP/1.1\r\nHost: web\r\n\r\n`).join(''))
  await reach.server.usedConnection(0)
  t.equal(client.received, 0)
  first.resolve()
  for (let i = 0; i < 50; i++) t.equal(String((await client.message()).body), `/${i}`)
})

t.test('thousands of pipelined requests are all answered, served or refused', async (t) => {
  await using reach = await lab.listen((connection) => answerAll(connection, (start) => start.split(' ')[1] ?? ''))
  using client = await reach.connect()
  const count = 5000
  const served = client.send(Array.from({ length: count }, (_, i) => `GET /${i} HTTP/1.1\r\nHost: w\r\n\r\n`).join(''))
  for (let i = 0; i < count; i++) {
    const { body } = await client.message()
    if (String(body) !== `/${i}`) t.fail(`answer ${i} is ${String(body)}`)
  }
  await served
  // Nobody listens on this port: each request is refused by the mesh without an upstream connection.
  using refused = await connectIn(lab.client.netnsPath, lab.service.ipv4, 8)
  const sent = refused.send('GET / HTTP/1.1\r\nHost: w\r\n\r\n'.repeat(count))
  for (let i = 0; i < count; i++) {
    const { start } = await refused.message()
    if (!start.includes('404')) t.fail(`answer ${i} is ${start}`)
  }
  await sent
  t.equal((await lab.proxy()).restarts, 0)
})

t.test('Connection: close is heeded on both sides', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.message()
    await connection.send('HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok')
    connection.end()
  })
  using client = await reach.connect()
  for (let i = 0; i < 3; i++) {
    await client.send(GET)
    const answer = await client.message()
    t.equal(answer.header('connection'), undefined, "the server's wish is not passed on")
  }
  t.equal(reach.server.used.length, 3, 'a new upstream connection each time')
  await client.send('GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n')
  t.equal((await client.message()).header('connection'), 'close')
  t.equal(await client.ended(), 'end')
})

t.test('HTTP/1.0 clients are served, with and without Host and keep-alive', async (t) => {
  const seen: (string | undefined)[] = []
  await using reach = await lab.listen(async (connection) => {
    for (;;) {
      const request = await connection.message()
      seen.push(request.header('host'))
      await connection.send('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n')
    }
  })
  using plain = await reach.connect()
  await plain.send('GET / HTTP/1.0\r\n\r\n')
  const answer = await plain.message()
  t.equal(answer.header('transfer-encoding'), undefined, 'HTTP/1.0 knows no chunks')
  t.equal(String(answer.body), 'ok')
  t.equal(await plain.ended(), 'end')
  t.equal(seen[0], `${lab.service.ipv4}:${reach.port}`, 'a Host is made of the destination')

  await using fixed = await lab.listen(answerAll)
  using kept = await fixed.connect()
  for (let i = 0; i < 2; i++) {
    await kept.send('GET / HTTP/1.0\r\nHost: web\r\nConnection: keep-alive\r\n\r\n')
    t.equal((await kept.message()).header('connection'), 'keep-alive')
  }
  await kept.send('GET / HTTP/1.0\r\nHost: web\r\n\r\n')
  await kept.message()
  t.equal(await kept.ended(), 'end')
})

/** The bytes as chunks of odd sizes, with extensions. */
function chunked(bytes: Buffer, trailers = ''): Buffer {
  const out: Buffer[] = []
  for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 7 + 3) % 40_000) {
    const piece = bytes.subarray(at, at + size)
    out.push(Buffer.from(`${piece.length.toString(16)};name="value"\r\n`), piece, Buffer.from('\r\n'))
  }
  return Buffer.concat([...out, Buffer.from(`0\r\n${trailers}\r\n`)])
}

t.test('request bodies of every size arrive exactly, fixed and chunked, with trailers', async (t) => {
  const arrived: { hash: string; trailers: readonly string[]; length: string | undefined }[] = []
  await using reach = await lab.listen(async (connection) => {
    for (;;) {
      const request = await connection.message()
      arrived.push({ hash: hash(request.body), trailers: request.trailers, length: request.header('content-length') })
      await connection.send(OK)
    }
  })
  using client = await reach.connect()
  for (const size of SIZES) {
    const bytes = randomBytes(size)
    await client.send(
      Buffer.concat([Buffer.from(`POST / HTTP/1.1\r\nHost: w\r\nContent-Length: ${size}\r\n\r\n`), bytes]),
    )
    await client.message()
    t.same(arrived.pop(), { hash: hash(bytes), trailers: [], length: String(size) }, `fixed, ${size} bytes`)
    await client.send('POST / HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n')
    await client.send(
      chunked(bytes, 'X-Sum: 7\r\nHost: evil\r\nX-Forwarded-Client-Cert: forged\r\nContent-Length: 9\r\n'),
    )
    await client.message()
    t.same(arrived.pop(), { hash: hash(bytes), trailers: ['x-sum: 7'], length: undefined }, `chunked, ${size} bytes`)
  }
  t.equal(reach.server.used.length, 1)
})

t.test('chunk extensions are not passed on', async (t) => {
  const wire = Promise.withResolvers<string>()
  await using reach = await lab.listen(async (connection) => {
    await connection.until('\r\n\r\n')
    wire.resolve(await connection.until('0\r\n\r\n'))
    await connection.send(OK)
  })
  using client = await reach.connect()
  await client.send(
    'POST / HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1;"q"\r\nhello\r\n0;last\r\n\r\n',
  )
  await client.message()
  t.equal(await wire.promise, '5\r\nhello\r\n0\r\n\r\n')
})

t.test('response bodies of every size arrive exactly, fixed, chunked and to the end of the connection', async (t) => {
  let next: (connection: RawSocket) => Promise<void> = async () => {}
  await using reach = await lab.listen(async (connection) => {
    while (connection.ending === 'open') {
      await connection.message()
      await next(connection)
    }
  })
  using client = await reach.connect()
  for (const size of SIZES) {
    const bytes = randomBytes(size)
    for (const kind of ['fixed', 'chunked', 'to the end'] as const) {
      next = async (connection) => {
        if (kind === 'fixed') await connection.send(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n`)
        else
          await connection.send(`HTTP/1.1 200 OK\r\n${kind === 'chunked' ? 'transfer-encoding: chunked\r\n' : ''}\r\n`)
        await connection.send(kind === 'chunked' ? chunked(bytes, 'X-Sum: 9\r\n') : bytes)
        if (kind === 'to the end') connection.end()
      }
      await client.send(GET)
      const answer = await client.message()
      t.equal(hash(answer.body), hash(bytes), `${kind}, ${size} bytes`)
      if (kind === 'chunked') t.same(answer.trailers, ['x-sum: 9'])
      if (kind === 'to the end') t.equal(answer.header('transfer-encoding'), 'chunked', 'framed anew')
    }
  }
})

t.test('a truncated response is an error at the client, whatever its framing', async (t) => {
  for (const head of ['content-length: 50', 'transfer-encoding: chunked']) {
    await using reach = await lab.listen(async (connection) => {
      await connection.message()
      await connection.send(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n5\r\nhello\r\n`)
      connection.end()
    })
    using client = await reach.connect()
    await client.send('GET / HTTP/1.0\r\n\r\n')
    t.equal(await client.ended(), 'reset', head)
  }
})

t.test('answers without a body are read as such', async (t) => {
  const answers = [
    'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n',
    'HTTP/1.1 204 No Content\r\n\r\n',
    'HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n',
    'HTTP/1.1 304 Not Modified\r\ncontent-length: 1000\r\n\r\n',
    'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok',
  ]
  await using reach = await lab.listen(async (connection) => {
    for (const answer of answers) {
      await connection.message()
      await connection.send(answer)
    }
  })
  using client = await reach.connect()
  const lengths: (string | undefined)[] = []
  for (const [i] of answers.entries()) {
    await client.send(i < 2 ? GET.replace('GET', 'HEAD') : GET)
    lengths.push((await client.message(i < 2)).header('content-length'))
  }
  t.same(lengths, ['1000', undefined, undefined, undefined, '1000', '2'])
  t.equal(reach.server.used.length, 1)
})

t.test('100-continue is passed through, and so is its refusal', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    for (;;) {
      const head = await connection.until('\r\n\r\n')
      t.match(head, /expect: 100-continue/i)
      if (head.includes('/refuse')) {
        await connection.send('HTTP/1.1 417 Expectation Failed\r\ncontent-length: 0\r\n\r\n')
        continue
      }
      await connection.send('HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n')
      t.equal(String(await connection.bytes(5)), 'hello')
      await connection.send(OK)
    }
  })
  using client = await reach.connect()
  const head = (path: string) => `POST ${path} HTTP/1.1\r\nHost: w\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`
  await client.send(head('/'))
  const hints = await client.message()
  t.match(hints.start, /103/)
  t.equal(hints.header('link'), '</a>')
  t.match((await client.message()).start, /100/)
  await client.send('hello')
  t.match((await client.message()).start, /200/)
  await client.send(head('/refuse'))
  t.match((await client.message()).start, /417/)
  t.equal(await client.ended(), 'end', 'the body that was never sent cannot be told from a next request')
})

t.test('an early final answer reaches a client that is still sending', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.until('\r\n\r\n')
    await connection.send('HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig')
  })
  using client = await reach.connect()
  await client.send('POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 100000000\r\n\r\n')
  await client.send(Buffer.alloc(100_000))
  const answer = await client.message()
  t.match(answer.start, /413/)
  t.equal(String(answer.body), 'big')
  t.equal(await client.ended(), 'end')
})

t.test('an empty line between requests is ignored, however it is cut', async (t) => {
  await using reach = await lab.listen(answerAll)
  using client = await reach.connect()
  for (const before of [['\r\n'], ['\r', '\n'], ['\r\n\r', '\n\r\n']]) {
    await client.send(GET)
    await client.message()
    for (const piece of before) {
      await client.send(piece)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await client.send(GET)
    t.match((await client.message()).start, /200/)
  }
})

t.test('a flood of interim answers is refused, not passed on without end', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.until('\r\n\r\n')
    await connection.send('HTTP/1.1 102 \r\n\r\n'.repeat(20_000))
  })
  using client = await reach.connect()
  await client.send(GET)
  const all = String(await client.until('502'))
  t.ok(all.split('102').length < 100)
})

t.test('nothing is left behind', async () => {
  await lab.drained()
})
