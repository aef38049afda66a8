/** Plain traffic from outside the mesh: what PeerAuthentication takes, and the kubelet's probes, which always pass. */
import t from 'tap'

import { connectIn, listenIn } from '../support/raw-socket.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const plain = await shop.pod('plain', { optedIn: false })
const web = await shop.pod('web', {
  container: {
    livenessProbe: { httpGet: { path: '/healthz', port: 8080 } },
    readinessProbe: { tcpSocket: { port: 7000 } },
  },
})
await shop.serve(web)
await shop.serve(web, 9090, 'web-9090')
const tcp = await listenIn(web.netnsPath, 7000, async (connection) => {
  for (;;) await connection.send(await connection.until('\n'))
})
t.teardown(() => tcp[Symbol.asyncDispose]())
await shop.start()
const { node } = shop.lab

function peer(spec: string): string {
  return `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: shop }
spec: ${spec}`
}
const DENY_ALL = `
apiVersion: weir.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: deny-all, namespace: shop }
spec: { action: DENY, rules: [{}] }`

const status = async (
  from: { readonly netnsPath: string },
  target = '/',
  port = 8080,
  address = web.ipv4,
): Promise<number> => (await shop.ask(from, address, port, { target })).status

async function echo(from: { readonly netnsPath: string }): Promise<string> {
  using socket = await connectIn(from.netnsPath, web.ipv4, 7000)
  await socket.send('hello\n')
  return await socket.until('\n').catch(() => socket.ending)
}

t.test('STRICT refuses plain traffic on all ports but those excepted; the mesh passes', async (t) => {
  t.same([await status(client), await status(plain), await echo(plain)], [200, 200, 'hello\n'], 'PERMISSIVE by default')
  await shop.apply(peer('{ mtls: { mode: STRICT } }'))
  t.same([await status(client), await status(plain)], [200, 403])
  t.same([await echo(client), await echo(plain)], ['hello\n', 'reset'])
  t.match(await shop.agent.waitFor((line) => line['status'] === 403), {
    policy: 'PeerAuthentication shop/default',
    flags: 'RBAC',
    reason: 'Plain traffic is refused: PeerAuthentication shop/default is STRICT',
  })
  t.equal(await status(plain, '/', 8080, web.ipv6), 403)
  await shop.apply(
    peer(
      '{ selector: { matchLabels: { app: web } }, mtls: { mode: STRICT }, portLevelMtls: { 9090: { mode: PERMISSIVE } } }',
    ),
  )
  t.same([await status(plain), await status(plain, '/', 9090)], [403, 200])
  const { backends } = await shop.explain(plain, `http://${web.ipv4}:8080/`)
  t.match(backends[0]?.endpoints[0], { verdict: 'deny', policy: 'PeerAuthentication shop/default' })
  await shop.apply()
  t.equal(await status(plain), 200)
})

t.test('a change to STRICT cuts plain connections that are open', async (t) => {
  using socket = await connectIn(plain.netnsPath, web.ipv4, 7000)
  await socket.send('hello\n')
  await socket.until('\n')
  await shop.apply(peer('{ mtls: { mode: STRICT } }'))
  t.equal(await socket.ended(), 'reset')
  await shop.apply()
})

t.test('probes reach the application whatever policy says, from the node alone and for nothing wider', async (t) => {
  await shop.apply(peer('{ mtls: { mode: STRICT } }'), DENY_ALL)
  t.equal(await status(node, '/healthz'), 200)
  t.equal(await status(node, '/healthz?full=1'), 200)
  t.equal(await echo(node), 'hello\n', 'a TCP probe')
  t.equal(await status(node, '/healthz', 8080, web.ipv6), 200)
  t.equal(await status(node, '/'), 403, 'another path')
  t.equal(await status(node, '/healthz/../admin'), 403)
  t.equal(await status(node, '//healthz'), 403)
  t.equal(await status(node, '/healthz', 9090), 403, 'another port')
  t.equal((await shop.ask(node, web.ipv4, 8080, { target: '/healthz', method: 'POST' })).status, 403, 'another method')
  t.equal(await status(plain, '/healthz'), 403, 'from another address')
  t.equal(await status(client, '/healthz'), 403, 'from the mesh')
  await shop.apply()
})

t.test('an application that asks for it sees its own pod as its peer, not the client', async (t) => {
  const peers = async (): Promise<readonly unknown[]> => [
    (await shop.ask(client, web.ipv4, 8080)).seen?.remoteAddress,
    (await shop.ask(plain, web.ipv4, 8080)).seen?.remoteAddress,
    (await shop.ask(client, web.ipv6 ?? '', 8080)).seen?.remoteAddress,
  ]
  t.same(await peers(), [client.ipv4, plain.ipv4, client.ipv6])
  await shop.change(() => web.update({ annotations: { 'weir.dev/client-address': 'hidden' } }))
  t.same(await peers(), [web.ipv4, web.ipv4, web.ipv6])
})
