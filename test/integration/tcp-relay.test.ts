/** Opaque TCP: told from HTTP by its bytes alone, then left exactly as it is, ends and errors included. */
import { createHash, randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { answerAll, openDataPath } from '../support/data-path.ts'
import { connectIn } from '../support/raw-socket.ts'

const lab = await openDataPath(t)
t.teardown(() => lab.lab.close())

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const hash = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const REQUEST = 'GET /secret HTTP/1.1\r\nHost: web\r\nX-Forwarded-Client-Cert: forged\r\n\r\n'

t.test('a server that speaks first is heard while the client is silent, on any port and family', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.send('220 mail.example ESMTP\r\n')
    t.equal(await connection.until('\r\n'), 'EHLO me\r\n')
    await connection.send('250 hello\r\n')
  })
  for (const to of [lab.service.ipv4, lab.service.ipv6 ?? '', lab.web.ipv4, lab.web.ipv6 ?? '']) {
    using client = await connectIn(lab.client.netnsPath, to, reach.port)
    t.equal(await client.until('\r\n'), '220 mail.example ESMTP\r\n')
    await client.send('EHLO me\r\n')
    t.equal(await client.until('\r\n'), '250 hello\r\n')
  }
  using plain = await connectIn(`/run/netns/${lab.lab.node.netns}`, lab.web.ipv4, reach.port)
  t.equal(await plain.until('\r\n'), '220 mail.example ESMTP\r\n', 'from outside the mesh too')
  t.same(reach.server.failures, [])
})

t.test('the application sees the address of the client pod', async (t) => {
  await using reach = await lab.listen()
  using client = await connectIn(lab.client.netnsPath, lab.service.ipv6 ?? '', reach.port)
  await client.send('\0')
  t.equal((await reach.server.connection(0)).socket.remoteAddress, lab.client.ipv6)
})

t.test('a binary protocol whose client speaks first passes as it is', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    for (;;) await connection.send((await connection.bytes(256)).reverse())
  })
  using client = await reach.connect()
  const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i))
  for (let i = 0; i < 3; i++) {
    await client.send(all)
    t.same(await client.bytes(256), Buffer.from(all).reverse())
  }
})

t.test('a text protocol without a line end is passed on soon, though it might have become a request', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.send(await connection.bytes(14))
  })
  using client = await reach.connect()
  await client.send('JDWP-Handshake')
  t.equal(String(await client.bytes(14)), 'JDWP-Handshake')
})

t.test('each side may end first, and the other goes on', async (t) => {
  await using reach = await lab.listen()
  using client = await reach.connect()
  await client.send('\0question')
  client.end()
  const server = await reach.server.connection(0)
  t.equal(String(await server.rest()), '\0question')
  await server.send('a late answer')
  server.end()
  t.equal(String(await client.rest()), 'a late answer')
  t.equal(client.ending, 'end')

  using other = await reach.connect()
  await other.send('\0')
  const second = await reach.server.connection(1)
  await second.send('done')
  second.end()
  t.equal(String(await other.rest()), 'done')
  await other.send('still talking')
  other.end()
  t.equal(String(await second.rest()), '\0still talking')
  t.equal(second.ending, 'end')

  using silent = await reach.connect()
  silent.end()
  t.equal(await (await reach.server.connection(2)).ended(), 'end', 'an end without a byte too')
})

t.test('large transfers are exact in both directions at once', async (t) => {
  const bytes = randomBytes(32 << 20)
  await using reach = await lab.listen()
  using client = await reach.connect()
  await client.send('\0')
  const server = await reach.server.connection(0)
  await server.bytes(1)
  const sent = [client.send(bytes), server.send(bytes)]
  t.equal(hash(await server.bytes(bytes.length)), hash(bytes))
  t.equal(hash(await client.bytes(bytes.length)), hash(bytes))
  await Promise.all(sent)
})

t.test('a reset passes through, whoever sends it', async (t) => {
  await using reach = await lab.listen()
  using client = await reach.connect()
  await client.send('\0')
  const server = await reach.server.connection(0)
  await server.bytes(1)
  client.reset()
  t.equal(await server.ended(), 'reset')
  using other = await reach.connect()
  await other.send('\0')
  const second = await reach.server.connection(1)
  await second.bytes(1)
  second.reset()
  t.equal(await other.ended(), 'reset')
})

t.test('a reset is heard though its side is not read, since the other does not take what there is', async (t) => {
  await using reach = await lab.listen((connection) => connection.hold())
  using client = await reach.connect()
  client.socket.write(Buffer.alloc(32 << 20))
  await reach.server.connection(0)
  let written = -1
  while (written !== client.socket.bytesWritten - client.socket.writableLength) {
    written = client.socket.bytesWritten - client.socket.writableLength
    await lab.proxy()
  }
  const from = lab.agent.logs.length
  client.reset()
  t.match(await lab.agent.waitFor((line) => line['flags'] === 'DC', { from }), { reason: 'ECONNRESET' })
})

t.test('where nobody listens, the client is reset: silent or not', async (t) => {
  for (const first of ['', '\0']) {
    using client = await connectIn(lab.client.netnsPath, lab.service.ipv4, lab.port())
    if (first !== '') await client.send(first)
    t.equal(await client.ended(), 'reset')
  }
})

t.test('a request line in many packets is HTTP', async (t) => {
  const heads: string[] = []
  await using reach = await lab.listen((connection) => {
    connection.socket.on('data', (chunk: Buffer) => heads.push(String(chunk)))
    return answerAll(connection)
  })
  const cuts: [string, string[], number][] = [
    ['byte by byte', REQUEST.split(''), 1],
    ['GE, a pause, and the rest', ['GE', REQUEST.slice(2)], 400],
    ['G, a pause, and the rest', ['G', REQUEST.slice(1)], 400],
    ['after the method', ['GET', REQUEST.slice(3)], 400],
    ['a seldom method', ['PROPF', `IND${REQUEST.slice(3)}`], 400],
    ['after a silence', ['', REQUEST], 150],
  ]
  for (const [name, pieces, ms] of cuts) {
    using client = await reach.connect()
    for (const piece of pieces) {
      if (piece !== '') await client.send(piece)
      await pause(ms)
    }
    t.match((await client.message()).start, /200/, name)
    const wire = heads.splice(0).join('')
    t.match(wire, /traceparent/, `${name}: through the HTTP engine`)
    t.notMatch(wire, /forged/, name)
  }
})

t.test('TLS passes untouched', async (t) => {
  const { dir } = lab.lab
  const port = lab.port()
  const key = join(dir, 'key.pem')
  const made = await lab.web.exec('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'],
    ...['-subj', '/CN=web', '-keyout', key, '-out', join(dir, 'cert.pem')],
  ])
  t.equal(made.code, 0, made.stderr)
  writeFileSync(join(dir, 'page'), 'secret page')
  const script = `
    import { createServer } from 'node:tls'
    import { readFileSync } from 'node:fs'
    const read = (name) => readFileSync(${JSON.stringify(dir)} + '/' + name)
    createServer({ key: read('key.pem'), cert: read('cert.pem') }, (socket) => socket.end(read('page')))
      .listen(${port}, '::', () => console.log('listening'))`
  await lab.web.node(script)
  const { stdout } = await lab.client.exec('openssl', [
    ...['s_client', '-connect', `${lab.service.ipv4}:${port}`, '-CAfile', join(dir, 'cert.pem'), '-ign_eof'],
  ])
  t.match(stdout, /secret page/)
  t.match(stdout, /Verify return code: 0/)
})

t.test('nothing is left behind', async () => {
  await lab.drained()
})
