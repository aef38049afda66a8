/** A side that does not read holds the other side's writer: little is kept in between, and nothing is lost. */
import { createHash } from 'node:crypto'
import t from 'tap'
import { openDataPath } from '../support/data-path.ts'
import type { RawSocket } from '../support/raw-socket.ts'

const lab = await openDataPath(t)
t.teardown(() => lab.lab.close())

type Check = Pick<typeof t, 'ok' | 'equal'>

const MIB = 1 << 20
const TOTAL = 256 * MIB
/** Kernel buffers of four sockets included. */
const BOUND = 24 * MIB
const PIECE = Buffer.alloc(MIB, 'weir')

/** Writes all of it, waiting for the socket; `sent` is what it could get rid of. */
function pour(socket: RawSocket): { sent: () => number; done: Promise<void> } {
  let sent = 0
  const done = (async () => {
    while (sent < TOTAL) {
      await socket.send(PIECE)
      sent += PIECE.length
    }
  })()
  return { sent: () => sent, done }
}

/** Resolves when the writer has stood still, with what it had sent by then. */
async function stalled(sent: () => number): Promise<number> {
  let before = -1
  for (let still = 0; still < 5; ) {
    await new Promise((resolve) => setTimeout(resolve, 60))
    still = sent() === before ? still + 1 : 0
    before = sent()
  }
  return before
}

/** Reads on and counts what comes, without keeping it. */
function drain(socket: RawSocket, total: number): Promise<string> {
  const hash = createHash('sha256')
  let count = socket.peek().length
  hash.update(socket.peek())
  const { promise, resolve } = Promise.withResolvers<string>()
  socket.socket.removeAllListeners('data')
  socket.socket.on('data', (chunk: Buffer) => {
    hash.update(chunk)
    count += chunk.length
    if (count >= total) resolve(`${count} ${hash.copy().digest('hex')}`)
  })
  socket.unhold()
  return promise
}

const expected = (() => {
  const hash = createHash('sha256')
  for (let at = 0; at < TOTAL; at += PIECE.length) hash.update(PIECE)
  return `${TOTAL} ${hash.digest('hex')}`
})()

async function held(t: Check, from: RawSocket, to: RawSocket): Promise<void> {
  const before = (await lab.proxy()).rssBytes
  const { sent, done } = pour(from)
  const got = await stalled(sent)
  t.ok(got < BOUND, `the writer got rid of ${got} bytes`)
  const grown = (await lab.proxy()).rssBytes - before
  t.ok(grown < 24 * MIB, `the proxy grew by ${grown} bytes`)
  const all = drain(to, TOTAL)
  await done
  t.equal(await all, expected)
}

t.test('a server that does not read holds the client', async (t) => {
  const server = Promise.withResolvers<RawSocket>()
  await using reach = await lab.listen(async (connection) => {
    await connection.until('\r\n\r\n')
    connection.hold()
    server.resolve(connection)
  })
  using client = await reach.connect()
  await client.send(`POST / HTTP/1.1\r\nHost: w\r\nContent-Length: ${TOTAL}\r\n\r\n`)
  await held(t, client, await server.promise)
  await (await server.promise).send('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
  t.equal(String((await client.message()).body), 'ok')
})

t.test('a client that does not read holds the server', async (t) => {
  const server = Promise.withResolvers<RawSocket>()
  await using reach = await lab.listen(async (connection) => {
    await connection.message()
    await connection.send(`HTTP/1.1 200 OK\r\ncontent-length: ${TOTAL}\r\n\r\n`)
    server.resolve(connection)
  })
  using client = await reach.connect()
  await client.send('GET / HTTP/1.1\r\nHost: w\r\n\r\n')
  await client.until('\r\n\r\n')
  client.hold()
  await held(t, await server.promise, client)
})

t.test('opaque bytes are held in both directions', async (t) => {
  await using reach = await lab.listen()
  for (const upwards of [true, false]) {
    using client = await reach.connect()
    await client.send('\0\x01')
    const server = await reach.server.usedConnection(upwards ? 0 : 1)
    await server.bytes(2)
    const reader = upwards ? server : client
    reader.hold()
    await held(t, upwards ? client : server, reader)
  }
})

t.test('a client that takes no answers is not served further requests', async (t) => {
  let served = 0
  const answer = Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${MIB}\r\n\r\n`), PIECE])
  await using reach = await lab.listen(async (connection) => {
    for (;;) {
      await connection.message()
      served++
      await connection.send(answer)
    }
  })
  using client = await reach.connect()
  client.hold()
  await client.send('GET / HTTP/1.1\r\nHost: w\r\n\r\n'.repeat(200))
  const before = await stalled(() => served)
  t.ok(before < 60, `${before} of 200 were served`)
  client.unhold()
  for (let i = 0; i < 200; i++) t.equal((await client.message()).body.length, MIB)
})

t.test('nothing is left behind', async () => {
  await lab.drained()
})
