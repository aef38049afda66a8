/** Small limits: what is slow or idle ends, what moves does not. */
import { once } from 'node:events'
import http2 from 'node:http2'
import t from 'tap'
import { openDataPath } from '../support/data-path.ts'
import { http2ClientIn, http2ServerIn } from '../support/http2-pods.ts'

const lab = await openDataPath(t, [
  ...['--head-timeout-ms', '600', '--body-idle-timeout-ms', '600', '--client-idle-timeout-ms', '900'],
  ...['--upstream-idle-timeout-ms', '500', '--tcp-idle-timeout-ms', '700', '--max-requests-per-pod', '3'],
])
t.teardown(() => lab.lab.close())

const GET = 'GET / HTTP/1.1\r\nHost: w\r\n\r\n'
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

/** Sends a byte every 100 ms until the peer ends, or all is sent. */
async function drip(send: (text: string) => Promise<void>, text: string, over: () => boolean): Promise<void> {
  for (const byte of text) {
    if (over()) return
    await send(byte)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

t.test('a head that drips in is 408 when its time is over', async (t) => {
  await using reach = await lab.listen()
  using client = await reach.connect()
  const dripping = drip(
    (text) => client.send(text),
    `GET / HTTP/1.1\r\nX: ${'a'.repeat(100)}`,
    () => client.ending !== 'open' || client.received > 0,
  )
  t.match((await client.message()).start, /408/)
  await dripping
  await client.ended()
  t.equal(reach.server.used.length, 0)
})

t.test('a body that stands still is 408, and its upstream connection ends', async (t) => {
  await using reach = await lab.listen()
  using client = await reach.connect()
  await client.send('POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\npart')
  t.match((await client.message()).start, /408/)
  const server = await reach.server.usedConnection(0)
  await server.ended()
  t.match(String(server.peek()), /part$/)
})

t.test('a body that drips but moves is served', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    t.equal(String((await connection.message()).body), 'a'.repeat(10))
    await connection.send(OK)
  })
  using client = await reach.connect()
  await client.send('POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 10\r\n\r\n')
  await drip(
    (text) => client.send(text),
    'a'.repeat(10),
    () => false,
  )
  t.match((await client.message()).start, /200/)
})

t.test('a server that is slow to take a body is not the client’s fault', async (t) => {
  const size = 24 << 20
  await using reach = await lab.listen(async (connection) => {
    await connection.until('\r\n\r\n')
    connection.hold()
    await new Promise((resolve) => setTimeout(resolve, 1500))
    connection.unhold()
    await connection.bytes(size)
    await connection.send(OK)
  })
  using client = await reach.connect()
  void client.send(`POST / HTTP/1.1\r\nHost: w\r\nContent-Length: ${size}\r\n\r\n`)
  void client.send(Buffer.alloc(size))
  t.match((await client.message()).start, /200/)
  t.same(reach.server.failures, [])
})

t.test('a slow client still gets the end of a last answer', async (t) => {
  const size = 8 << 20
  await using reach = await lab.listen(async (connection) => {
    await connection.message()
    await connection.send(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\n`)
    await connection.send(Buffer.alloc(size))
  })
  using client = await reach.connect()
  await client.send('GET / HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n')
  t.equal((await client.message()).body.length, size)
  t.equal(await client.ended(), 'end')
})

t.test('a reader that takes nothing is cut off', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.message()
    await connection.send('HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n')
    await connection.send(Buffer.alloc(100_000_000))
  })
  using client = await reach.connect()
  client.hold()
  await client.send(GET)
  const server = await reach.server.usedConnection(0)
  await server.ended()
  t.pass('the server is let go')
})

t.test('idle connections of both sides are closed', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.message()
    await connection.send(OK)
  })
  using client = await reach.connect()
  await client.send(GET)
  await client.message()
  const server = await reach.server.usedConnection(0)
  t.equal(await server.ended(), 'end', 'the pooled connection')
  t.equal(await client.ended(), 'end', 'the client connection')
})

t.test('silent connections, opaque connections and tunnels without a byte are closed', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.wait('a byte', () => (connection.received > 0 ? true : undefined))
    if (connection.peek().includes('upgrade: x')) {
      await connection.send('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n')
    }
  })
  for (const first of ['', '\0\0', 'GET / HTTP/1.1\r\nHost: w\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n']) {
    using client = await reach.connect()
    if (first !== '') await client.send(first)
    t.equal(await client.ended(), 'end', JSON.stringify(first))
  }
  for (const connection of reach.server.connections) t.equal(await connection.ended(), 'end')
})

t.test(
  'a WebSocket over HTTP/2 ends when it is idle, not while either side speaks, and its connection goes on',
  async (t) => {
    const port = lab.port()
    const ended: string[] = []
    let opened: (stream: http2.ServerHttp2Stream) => void = () => {}
    await using _server = await http2ServerIn(
      lab.web.netnsPath,
      port,
      (stream, headers) => {
        stream.respond({ ':status': 200 })
        stream.resume()
        stream.on('close', () => ended.push(`${headers[':path']} ${stream.rstCode}`))
        opened(stream)
      },
      { enableConnectProtocol: true },
    )
    using client = await http2ClientIn(lab.client.netnsPath, lab.service.ipv4, port)
    await once(client.session, 'remoteSettings')
    const open = async (path: string) => {
      const there = new Promise<http2.ServerHttp2Stream>((resolve) => {
        opened = resolve
      })
      const here = client.request(
        { ':method': 'CONNECT', ':protocol': 'websocket', ':path': path },
        { endStream: false },
      )
      here.resume()
      const over = once(here, 'close')
      return { here, there: await there, over }
    }
    const idle = await open('/idle')
    const asking = await open('/asking')
    const told = await open('/told')
    // Until the idle one has ended, and as long again.
    let rounds = 0
    const idleOver = idle.over.then(() => rounds)
    while (rounds < 8 || !idle.here.closed || rounds < 2 * (await idleOver)) {
      rounds++
      asking.here.write('x')
      told.there.write('x')
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    t.equal(idle.here.rstCode, http2.constants.NGHTTP2_CANCEL)
    t.same(ended, ['/idle 8'], 'at the server too')
    t.notOk(asking.here.closed || told.here.closed)
    await Promise.all([asking.over, told.over])
    t.same(ended.slice(1).sort(), ['/asking 8', '/told 8'])
    t.notOk(client.session.closed)
  },
)

t.test('a pod may hold so many requests in flight, and no more', async (t) => {
  await using reach = await lab.listen()
  const clients = []
  for (let i = 0; i < 3; i++) {
    const client = await reach.connect()
    clients.push(client)
    await client.send(GET)
    await reach.server.usedConnection(i)
  }
  using more = await reach.connect()
  await more.send(GET + GET)
  for (let i = 0; i < 2; i++) t.match((await more.message()).start, /503/)
  for (const client of clients) client.reset()
})

t.test('nothing is left behind', async () => {
  await lab.drained()
})
