/** Upstreams that fail and clients that leave: what each side is told, what is sent again, and what never is. */
import t from 'tap'
import { answerAll, openDataPath } from '../support/data-path.ts'
import { connectIn, listenIn } from '../support/raw-socket.ts'

const lab = await openDataPath(t)
t.teardown(() => lab.lab.close())

const GET = 'GET / HTTP/1.1\r\nHost: w\r\n\r\n'
const POST = 'POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 2\r\n\r\nhi'
const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'

t.test('a Service without an endpoint is 503', async (t) => {
  const empty = await lab.change(() =>
    lab.lab.addService({ name: 'empty', namespace: 'shop', selector: { app: 'nobody' }, ports: [{ port: 80 }] }),
  )
  using client = await connectIn(lab.client.netnsPath, empty.ipv4, 80)
  for (let i = 0; i < 2; i++) {
    await client.send(GET)
    const answer = await client.message()
    t.match(answer.start, /503/)
    t.equal(String(answer.body), 'weir: no healthy endpoint')
  }
})

t.test('an endpoint that cannot be reached is left for another, and 503 when there is none', async (t) => {
  const pods = []
  for (const name of ['pair-1', 'pair-2']) {
    pods.push(await lab.lab.addPod({ name, namespace: 'shop', labels: { app: 'pair' } }))
  }
  for (const { name } of pods) {
    await lab.agent.waitFor((line) => line['pod'] === `shop/${name}` && line['msg'] === 'pod enrolled')
  }
  // Declared, so that no connection is opened ahead where nobody listens: that resets a client that is slow to speak.
  const ports = [{ name: 'http', port: 80, targetPort: 8080 }]
  const pair = await lab.change(() =>
    lab.lab.addService({ name: 'pair', namespace: 'shop', selector: { app: 'pair' }, ports }),
  )
  const second = pods[1]
  if (second === undefined) throw new Error('No second pod')
  {
    await using server = await listenIn(second.netnsPath, 8080, async (connection) => {
      const request = await connection.message()
      t.match(request.header('x-forwarded-client-cert'), /By=spiffe:/)
      await connection.send(OK.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'))
      connection.end()
    })
    using client = await connectIn(lab.client.netnsPath, pair.ipv4, 80)
    for (let i = 0; i < 40; i++) {
      await client.send(i % 2 === 0 ? GET : POST)
      t.match((await client.message()).start, /200/)
    }
    t.equal(server.used.length, 40)
    t.same(server.failures, [])
  }
  using client = await connectIn(lab.client.netnsPath, pair.ipv4, 80)
  await client.send(GET)
  const answer = await client.message()
  t.match(answer.start, /503/)
  t.equal(String(answer.body), 'weir: could not connect to the upstream')
})

t.test(
  'an idempotent request is sent again when a kept connection turns out to be closed; a POST is not',
  async (t) => {
    const arrived = new Map<string, number>()
    await using reach = await lab.listen(async (connection) => {
      // The first request of a connection is answered, the second meets a connection that ends.
      const next = async (): Promise<void> => {
        const { start } = await connection.message()
        arrived.set(start, (arrived.get(start) ?? 0) + 1)
      }
      await next()
      await connection.send(OK)
      await next()
      connection.end()
    })
    using client = await reach.connect()
    // Until one meets a kept connection: one that was opened ahead and not used yet answers.
    const ask = async (method: string, met: (status: string, times: number) => boolean) => {
      for (let i = 0; ; i++) {
        const start = `${method} /${i} HTTP/1.1`
        await client.send(`${start}\r\nHost: w\r\nContent-Length: 2\r\n\r\nhi`)
        const status = (await client.message()).start.slice(9, 12)
        const times = arrived.get(start) ?? 0
        if (met(status, times) || i === 4) return [status, times]
      }
    }
    t.same(await ask('PUT', (_status, times) => times > 1), ['200', 2], 'sent again on another connection')
    t.same(await ask('POST', (status) => status !== '200'), ['502', 1], 'a POST goes out once')
  },
)

t.test('a fresh connection that closes before its answer is 502, and nothing is sent again', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.message()
    connection.end()
  })
  using client = await reach.connect()
  await client.send(GET)
  t.match((await client.message()).start, /502/)
  reach.server.serve = async (connection) => {
    await connection.message()
    await connection.send('HTTP/1.1 200 OK\r\ncont')
    connection.reset()
  }
  await client.send(GET)
  t.match((await client.message()).start, /502/, 'in the middle of its head too')
  t.equal(reach.server.used.length, 2)
})

t.test('an upstream that is reset in the middle of its body resets the client', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.message()
    await connection.send('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart')
  })
  using client = await reach.connect()
  await client.send(GET)
  await client.until('part')
  ;(await reach.server.usedConnection(0)).reset()
  t.equal(await client.ended(), 'reset')
})

t.test('a request body that turns malformed after the answer began does not put a second answer into it', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.until('\r\n\r\n')
    await connection.send('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart')
  })
  for (const malformed of ['xyz\r\n', undefined]) {
    using client = await reach.connect()
    await client.send('POST / HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n')
    await client.until('part')
    if (malformed === undefined) client.end()
    else await client.send(malformed)
    t.equal(await client.ended(), 'reset')
    t.equal(client.peek().length, 0)
  }
})

t.test('a client that leaves takes its upstream connection with it', async (t) => {
  await using reach = await lab.listen()
  using waiting = await reach.connect()
  await waiting.send(GET)
  await (await reach.server.usedConnection(0)).message()
  waiting.reset()
  await (await reach.server.usedConnection(0)).ended()

  using sending = await reach.connect()
  await sending.send('POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\npart')
  const server = await reach.server.usedConnection(1)
  await server.until('part')
  sending.socket.destroy()
  await server.ended()

  using reading = await reach.connect()
  await reading.send(GET)
  const third = await reach.server.usedConnection(2)
  await third.message()
  await third.send('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n')
  await reading.until('hi')
  reading.socket.destroy()
  await third.ended()
  t.pass('each server saw the end')
})

t.test('a client that only ended its side still gets its answers', async (t) => {
  await using reach = await lab.listen(answerAll)
  using client = await reach.connect()
  await client.send(GET + GET + GET)
  client.end()
  for (let i = 0; i < 3; i++) t.match((await client.message()).start, /200/)
  t.equal(await client.ended(), 'end')
})

t.test('nothing is left behind', async () => {
  await lab.drained()
})
