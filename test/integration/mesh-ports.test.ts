/** The mesh's own listeners are no way into a pod, and their port numbers mean nothing outside the mesh. */
import t from 'tap'
import { answerAll, openDataPath } from '../support/data-path.ts'
import { connectIn, listenIn } from '../support/raw-socket.ts'

const lab = await openDataPath(t)
t.teardown(() => lab.lab.close())
const GET = 'GET / HTTP/1.1\r\nHost: w\r\n\r\n'

t.test('a connection straight to a listener of the mesh ends without an answer, and the proxy lives on', async (t) => {
  for (const port of [15001, 15006]) {
    for (const address of ['127.0.0.1', lab.client.ipv4, lab.web.ipv4]) {
      using socket = await connectIn(lab.client.netnsPath, address, port)
      await socket.send(GET).catch(() => undefined)
      t.match(await socket.ended(), /reset|end/, `${address}:${port}`)
      t.equal(socket.peek().length, 0)
    }
  }
  await using reach = await lab.listen(answerAll)
  using client = await reach.connect()
  await client.send(GET)
  t.match((await client.message()).start, /200/)
})

t.test('the same port of what is outside the mesh is a port like any other', async (t) => {
  const plain = await lab.lab.addPod({ name: 'plain', namespace: 'shop', optedIn: false })
  for (const port of [15001, 15006, 15008, 15053]) {
    await using _server = await listenIn(plain.netnsPath, port, answerAll)
    using client = await connectIn(lab.client.netnsPath, plain.ipv4, port)
    await client.send(GET)
    t.match((await client.message()).start, /200/, String(port))
  }
})
