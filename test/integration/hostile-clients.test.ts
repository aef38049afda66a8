/** What one hostile client can do to others, and to what is decided about it: nothing. */
import { readdirSync } from 'node:fs'
import t from 'tap'
import { connectIn, listenIn } from '../support/raw-socket.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const other = await shop.pod('other')
const web = await shop.pod('web')
await shop.serve(web)
const agent = await shop.start(['--connect-timeout-ms', '300'])

const policy = (spec: string): string => `
apiVersion: weir.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: lock, namespace: shop }
spec: ${spec}`

t.test('a request that is open does not keep policy from seeing new labels', async (t) => {
  await shop.apply(
    policy(
      '{ selector: { matchLabels: { tier: locked } }, action: DENY, rules: [{ to: [{ operation: { methods: [GET] } }] }] }',
    ),
  )
  const arrived = shop.arrival('held')
  const held = shop.ask(client, web.ipv4, 8080, { target: '/?wait=held', method: 'POST' })
  await arrived
  await shop.change(() => web.update({ labels: { app: 'web', tier: 'locked' } }))
  t.equal((await shop.ask(other, web.ipv4, 8080)).status, 403)
  shop.release('held')
  t.equal((await held).status, 200)
  await shop.change(() => web.update({ labels: { app: 'web' } }))
  t.equal((await shop.ask(other, web.ipv4, 8080)).status, 200)
  await shop.apply()
})

t.test('policy judges no header that Connection takes away, and none in the name of the mesh', async (t) => {
  const rule = (when: string) => policy(`{ action: ALLOW, rules: [{ when: [${when}] }] }`)
  await shop.apply(rule('{ key: "request.headers[x-tenant]", values: [a] }'))
  const ask = async (headers: Record<string, string>) => (await shop.ask(client, web.ipv4, 8080, { headers })).status
  t.equal(await ask({ 'x-tenant': 'a' }), 200)
  t.equal(await ask({ 'x-tenant': 'a', connection: 'close, X-Tenant' }), 403)
  await shop.apply(rule('{ key: "request.headers[x-forwarded-client-cert]", values: ["*"] }'))
  t.equal(await ask({ 'x-forwarded-client-cert': 'URI=spiffe://cluster.local/ns/shop/sa/admin' }), 403)
  await shop.apply()
  const { seen } = await shop.ask(client, web.ipv4, 8080, {
    headers: {
      x_forwarded_client_cert: 'forged',
      X_Weir_Identity: 'forged',
      Transfer_Encoding: 'chunked',
      x_mine: '1',
    },
  })
  t.notMatch(JSON.stringify(seen?.headers), /forged|chunked/, 'nor one that only CGI reads as such')
  t.equal(seen?.headers['x_mine'], '1')
})

t.test('a chunk per byte is one write per read: bodies are joined', async (t) => {
  const received = Promise.withResolvers<string>()
  await using server = await listenIn(web.netnsPath, 9000, async (connection) => {
    await connection.until('\r\n\r\n')
    received.resolve(await connection.until('\r\n0\r\n\r\n'))
    await connection.send(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${'1\r\ny\r\n'.repeat(500)}0\r\n\r\n`)
  })
  using socket = await connectIn(client.netnsPath, web.ipv4, 9000)
  await socket.send(
    `POST / HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(500)}0\r\n\r\n`,
  )
  const request = await received.promise
  t.equal(request.replaceAll(/[0-9a-f]+\r\n|\r\n/g, ''), 'x'.repeat(500))
  t.ok(request.split('\r\n').length < 50, 'in far fewer chunks')
  const answer = await socket.until('\r\n0\r\n\r\n')
  t.ok(answer.split('\r\n').length < 50)
  t.same(server.failures, [])
})

t.test('destinations that never answer leave no socket behind', async (t) => {
  const pid = await agent.proxyPid()
  // Besides a stock of unconnected sockets.
  const before = readdirSync(`/proc/${pid}/fd`).length
  // Nobody has the address: its SYNs are lost.
  const sockets = await Promise.all(
    Array.from({ length: 300 }, async () => {
      const socket = await connectIn(client.netnsPath, web.ipv4.replace(/\d+$/, '250'), 9)
      // At once: whoever says nothing until the dialling has failed gets a reset.
      await socket.send('GET / HTTP/1.1\r\nHost: w\r\n\r\n')
      return socket
    }),
  )
  for (const socket of sockets) {
    t.match((await socket.message()).start, /503|504/)
    socket[Symbol.dispose]()
  }
  for (let asked = 0; readdirSync(`/proc/${pid}/fd`).length > before + 100; asked++) {
    if (asked === 100) throw new Error('The descriptors stay')
    await agent.proxyPid()
  }
})

t.test('thousands of refused requests in one go are all answered, and nobody waits for them', async (t) => {
  await shop.apply(policy('{ action: DENY, rules: [{ to: [{ operation: { paths: [/no] } }] }] }'))
  using flood = await connectIn(client.netnsPath, web.ipv4, 8080)
  const sending = flood.send('GET /no HTTP/1.1\r\nHost: w\r\n\r\n'.repeat(3000))
  t.equal((await shop.ask(other, web.ipv4, 8080)).status, 200)
  await sending
  for (let i = 0; i < 3000; i++) {
    const { start } = await flood.message()
    if (!start.includes('403')) t.fail(start)
  }
  await shop.apply()
})
