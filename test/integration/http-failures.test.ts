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
  const ports = [{ port: 80, targetPort: 8080 }]
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
    t.equal(server.connections.length, 40)
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
    const seen: string[] = []
    await using reach = await lab.listen(async (connection) => {
      // The first request of a connection is answered, the second meets a connection that ends.
      await connection.message()
      await connection.send(OK)
      const second = await connection.message()
      seen.push(second.start)
      connection.end()
    })
    using client = await reach.connect()
    await client.send(GET)
    await client.message()
    await client.send(GET)
    t.match((await client.message()).start, /200/, 'sent again on a new connection')
    t.equal(reach.server.connections.length, 2)
    await client.send(POST)
    t.match((await client.message()).start, /502/)
    t.equal(reach.server.connections.length, 2, 'a POST goes out once')
    t.same(seen, ['GET / HTTP/1.1', 'POST / HTTP/1.1'])
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
  t.equal(reach.server.connections.length, 2)
})

t.test('an upstream that is reset in the middle of its body resets the client', async (t) => {
  await using reach = await lab.listen(async (connection) => {
    await connection.message()
    await connection.send('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart')
  })
  using client = await reach.connect()
  await client.send(GET)
  await client.until('part')
  ;(await reach.server.connection(0)).reset()
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
  await (await reach.server.connection(0)).message()
  waiting.reset()
  await (await reach.server.connection(0)).ended()

  using sending = await reach.connect()
  await sending.send('POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 100\r\n\r\npart')
  const server = await reach.server.connection(1)
  await server.until('part')
  sending.socket.destroy()
  await server.ended()

  using reading = await reach.connect()
  await reading.send(GET)
  const third = await reach.server.connection(2)
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
