/** Requests that two servers might read differently: refused, the connection closed, nothing reaches the application. */
import t, { type Test } from 'tap'
import { openDataPath } from '../support/data-path.ts'
import { connectIn } from '../support/raw-socket.ts'
import { MALFORMED_CHUNKS, MALFORMED_HEADS } from '../support/smuggling-vectors.ts'

const lab = await openDataPath(t)
t.teardown(() => lab.lab.close())

const GOOD = 'GET /good HTTP/1.1\r\nHost: web\r\n\r\n'
const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n'

/** A server that answers what it can read, but no POST before its end, and keeps every byte that reached it. */
async function recorder(t: Test) {
  let wire = ''
  const reach = await lab.listen((connection) => {
    connection.socket.on('data', (chunk: Buffer) => {
      wire += chunk.toString('latin1')
      const requests = chunk.toString('latin1').match(/^(?!POST )\S+ \S+ HTTP\/1\.1\r$/gm)?.length ?? 0
      for (let i = 0; i < requests; i++) connection.socket.write('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood')
    })
  })
  t.teardown(() => reach[Symbol.asyncDispose]())
  return { reach, wire: () => wire }
}

t.test('a malformed head gets 400 and a closed connection, and reaches no application', async (t) => {
  const { reach, wire } = await recorder(t)
  for (const [name, text] of Object.entries(MALFORMED_HEADS)) {
    for (const target of [lab.service.ipv4, lab.web.ipv4]) {
      using client = await connectIn(lab.client.netnsPath, target, reach.port)
      await client.send(text + SMUGGLED)
      const answer = await client.message()
      t.match(answer.start, /^HTTP\/1\.1 400 /, name)
      t.equal(answer.header('connection'), 'close', name)
      t.equal(String(await client.rest()), '', `${name}: nothing follows`)
    }
  }
  using plain = await connectIn(`/run/netns/${lab.lab.node.netns}`, lab.web.ipv4, reach.port)
  await plain.send(MALFORMED_HEADS['Content-Length and Transfer-Encoding'] + SMUGGLED)
  t.match((await plain.message()).start, /400/, 'inbound from outside the mesh too')
  t.equal(wire(), '')
})

t.test('a good request before a malformed one is answered first, and only it arrives', async (t) => {
  const { reach, wire } = await recorder(t)
  let served = 0
  for (const [name, text] of Object.entries(MALFORMED_HEADS)) {
    using client = await reach.connect()
    await client.send(GOOD + text + SMUGGLED)
    t.equal(String((await client.message()).body), 'good', name)
    t.match((await client.message()).start, /400/, name)
    t.equal(String(await client.rest()), '', name)
    served++
  }
  t.equal(wire().split('GET ').length - 1, served, 'as many requests as good ones')
  t.notMatch(wire(), /smuggled/)
  t.notMatch(wire(), /POST|CONNECT/)
})

t.test('a malformed chunked body is cut off: what follows it reaches no application', async (t) => {
  const { reach, wire } = await recorder(t)
  for (const [name, text] of Object.entries(MALFORMED_CHUNKS)) {
    for (const cut of [0, 1]) {
      using client = await reach.connect()
      const head = 'POST /chunked HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n'
      if (cut === 0) await client.send(head + text + SMUGGLED)
      else {
        await client.send(head)
        await client.send(text + SMUGGLED)
      }
      t.match((await client.message()).start, /400/, name)
      t.equal(String(await client.rest()), '', name)
    }
  }
  t.notMatch(wire(), /smuggled/)
  t.notMatch(wire(), /\r\n0\r\n\r\n/, 'no such body is ended as if it were whole')
})

t.test('an unregistered method, and white space before a request, are judged as HTTP', async (t) => {
  const { reach, wire } = await recorder(t)
  const forged = ' /x HTTP/1.1\r\nHost: web\r\nX-Forwarded-Client-Cert: forged\r\n\r\n'
  const beginnings = [
    '\r\n\r\n\r\n\r\nGET',
    `${'\r\n'.repeat(6000)}GET`,
    '\n\n\n\n\n\nGET',
    '\t GET',
    'get',
    'X'.repeat(40),
    'X'.repeat(300),
    `FROB /${'a'.repeat(9000)}`,
  ]
  for (const beginning of beginnings) {
    using client = await reach.connect()
    await client.send(beginning.includes('/') ? beginning + forged.slice(3) : beginning + forged)
    t.match((await client.message()).start, /HTTP\/1\.1 [24]00/, JSON.stringify(beginning.slice(0, 20)))
  }
  t.notMatch(wire(), /forged/)
})

t.test('a request that begins too slowly to be told apart never arrives as opaque bytes', async (t) => {
  const { reach, wire } = await recorder(t)
  for (const beginning of ['\r\n', 'XYZ', 'get']) {
    using client = await reach.connect()
    const before = reach.server.used.length
    await client.send(beginning)
    // Detection has given up, and sent on what it had.
    await reach.server.usedConnection(before)
    const rest = beginning === '\r\n' ? 'GET /x' : ' /x'
    await client.send(`${rest} HTTP/1.1\r\nHost: web\r\nX-Forwarded-Client-Cert: forged\r\n\r\n`)
    t.equal(await client.ended(), 'reset', JSON.stringify(beginning))
  }
  t.notMatch(wire(), /forged/)
})

t.test('heads beyond the bounds get 431', async (t) => {
  const { reach, wire } = await recorder(t)
  for (const text of [
    `GET /${'a'.repeat(70_000)} HTTP/1.1\r\nHost: web\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: web\r\nX: ${'a'.repeat(70_000)}\r\n\r\n`,
    `GET / HTTP/1.1\r\nHost: web\r\n${'X: y\r\n'.repeat(200)}\r\n`,
    `GET / HTTP/1.1\r\nHost: web\r\n${'X: y\r\n'.repeat(20_000)}`,
  ]) {
    using client = await reach.connect()
    void client.send(text)
    t.match((await client.message()).start, /431/)
    await client.ended()
  }
  using large = await reach.connect()
  await large.send(GOOD.replace('Host', `X: ${'a'.repeat(60_000)}\r\nHost`))
  t.match((await large.message()).start, /200/, 'one just below them is served')
  t.equal(wire().split('GET').length, 2)
})

t.test('a malformed response is 502 and its connection is never used again', async (t) => {
  const heads = [
    'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok',
    'HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok',
    'HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n',
    'HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n',
    'HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n',
    'HTTP/1.1 200 OK\r\nx : a\r\n\r\n',
    'HTTP/1.1 200 OK\ncontent-length: 2\n\nok',
    'HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n',
    'HTTP/1.1 20 OK\r\n\r\n',
    'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n',
    'HTTP/2 200\r\n\r\n',
    'hello\r\n',
    `HTTP/1.1 200 OK\r\nx: ${'a'.repeat(200_000)}\r\n\r\n`,
  ]
  let next = ''
  await using reach = await lab.listen(async (connection) => {
    await connection.message()
    await connection.send(next)
  })
  using client = await reach.connect()
  for (const [i, head] of heads.entries()) {
    next = head
    await client.send(GOOD)
    const answer = await client.message()
    t.match(answer.start, /502/, JSON.stringify(head.slice(0, 60)))
    t.equal(String(answer.body), 'weir: malformed response from the upstream')
    await (await reach.server.usedConnection(i)).ended()
  }
  t.equal(reach.server.used.length, heads.length)
})

t.test('bytes after a response are nobody’s answer', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.message()
    await connection.send(
      'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged',
    )
  })
  using client = await reach.connect()
  for (let i = 0; i < 3; i++) {
    await client.send(GOOD)
    t.equal(String((await client.message()).body), 'ok')
  }
  t.equal(reach.server.used.length, 3)
})

t.test('a malformed chunk in a response cuts the client off', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.message()
    await connection.send('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n')
    await connection.send('xyz\r\n')
  })
  using client = await reach.connect()
  await client.send(GOOD)
  t.equal(await client.ended(), 'reset')
})

t.test('nothing is left behind', async () => {
  await lab.drained()
})
