/** Connections that leave HTTP: WebSocket, CONNECT, and the upgrades that the mesh does not take part in. */
import t from 'tap'
import { answerAll, openDataPath } from '../support/data-path.ts'

const lab = await openDataPath(t)
t.teardown(() => lab.lab.close())

const UPGRADE = (to: string) => `GET /ws HTTP/1.1\r\nHost: w\r\nConnection: Upgrade\r\nUpgrade: ${to}\r\n\r\n`
const SWITCH = 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n'

t.test('a WebSocket client and server talk as if the mesh were not there', async (t) => {
  const port = lab.port()
  await lab.web.echoServer({ port })
  const ws = new URL('../../node_modules/ws/wrapper.mjs', import.meta.url)
  const script = `
    const { WebSocket } = await import(${JSON.stringify(ws.href)})
    const socket = new WebSocket('ws://${lab.service.ipv4}:${port}/chat')
    const big = Buffer.alloc(300_000, 7)
    socket.on('error', (error) => { console.log('listening', error.message); process.exit(1) })
    socket.on('open', () => socket.send('hello'))
    socket.on('message', (data, binary) => {
      if (!binary) socket.send(big)
      else { console.log('same', big.equals(data)); socket.close(4001, 'enough') }
    })
    socket.on('close', (code) => console.log('listening', code))`
  const client = await lab.client.node(script)
  t.match(client.stdout, /same true\nlistening 4001/)
})

t.test('bytes flow both ways after an upgrade, with those sent ahead, and half-close is kept', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    const head = await connection.until('\r\n\r\n')
    t.match(head, /connection: upgrade\r\nupgrade: websocket\r\n/i)
    await connection.send(`${SWITCH}first`)
    t.equal(String(await connection.rest()), 'early and late')
    await connection.send(' last')
    connection.end()
  })
  using client = await reach.connect()
  await client.send(`${UPGRADE('websocket')}early`)
  const head = await client.until('\r\n\r\n')
  t.match(head, /connection: upgrade\r\nupgrade: websocket/i)
  t.equal(await client.until('first'), 'first')
  await client.send(' and late')
  client.end()
  t.equal(String(await client.rest()), ' last')
  t.equal(client.ending, 'end')
  t.same(reach.server.failures, [])
})

t.test('a refused upgrade is a normal answer, and the connection goes on', async (t) => {
  await using reach = await lab.listen(answerAll)
  using client = await reach.connect()
  for (let i = 0; i < 2; i++) {
    await client.send(`${UPGRADE('websocket')}GET /next HTTP/1.1\r\nHost: w\r\n\r\n`)
    t.match((await client.message()).start, /200/)
    t.match((await client.message()).start, /200/, 'what came behind it is the next request')
  }
})

t.test('an upgrade to HTTP/2 is left out, alone or in a list: nothing would judge its requests', async (t) => {
  const heads: string[] = []
  await using reach = await lab.listen(async (connection) => {
    for (;;) {
      heads.push(await connection.until('\r\n\r\n'))
      await connection.send('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
    }
  })
  using client = await reach.connect()
  for (const to of ['h2c', 'H2C', 'websocket, h2c', 'h2c,websocket', 'HTTP/2.0']) {
    await client.send(UPGRADE(to).replace('\r\n\r\n', '\r\nHTTP2-Settings: AAMAAABk\r\n\r\n'))
    t.match((await client.message()).start, /200/)
    t.notMatch(heads.pop(), /upgrade|settings/i, to)
  }
})

t.test('CONNECT opens a tunnel when the server says so, and is a request when not', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    t.match(await connection.until('\r\n\r\n'), /^CONNECT db:5432 HTTP\/1\.1\r\nHost: db:5432\r\n/)
    await connection.send('HTTP/1.1 200 Connection Established\r\ncontent-length: 7\r\n\r\n')
    t.equal(await connection.until('ping'), 'ping')
    await connection.send('pong')
  })
  using client = await reach.connect()
  await client.send('CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\n')
  t.notMatch(await client.until('\r\n\r\n'), /content-length|transfer-encoding/i)
  await client.send('ping')
  t.equal(await client.until('pong'), 'pong')
  t.same(reach.server.failures, [])

  await using refusing = await lab.listen(async (connection) => {
    // Whichever connection a request comes on: the mesh may have dialled one ahead of it.
    for (;;) {
      const refused = (await connection.until('\r\n\r\n')).startsWith('CONNECT ')
      const status = refused ? '405 Method Not Allowed' : '200 OK'
      await connection.send(`HTTP/1.1 ${status}\r\ncontent-length: 0\r\n\r\n`)
    }
  })
  using other = await refusing.connect()
  await other.send('CONNECT db:5432 HTTP/1.1\r\nHost: db:5432\r\n\r\nGET / HTTP/1.1\r\nHost: w\r\n\r\n')
  t.match((await other.message()).start, /405/)
  t.match((await other.message()).start, /200/)
})

t.test('an end of either side in a tunnel ends the other', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.until('\r\n\r\n')
    await connection.send(SWITCH)
  })
  using first = await reach.connect()
  await first.send(UPGRADE('websocket'))
  await first.until('\r\n\r\n')
  first.reset()
  await (await reach.server.usedConnection(0)).ended()
  using second = await reach.connect()
  await second.send(UPGRADE('websocket'))
  await second.until('\r\n\r\n')
  ;(await reach.server.usedConnection(1)).reset()
  t.equal(await second.ended(), 'reset')
})

t.test('nothing is left behind', async () => {
  await lab.drained()
})
