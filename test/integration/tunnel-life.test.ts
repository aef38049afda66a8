/** Tunnels in the course of things: pods that go, proxies that end, links that break, readers that stall. */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import t from 'tap'
import { openLab } from '../support/lab.ts'
import type { LabAgent, LogLine } from '../support/lab-agent.ts'
import { renderPod } from '../support/lab-manifests.ts'
import type { LabPod } from '../support/lab-node.ts'
import { connectIn, listenIn, type RawSocket } from '../support/raw-socket.ts'

t.setTimeout(60_000)
const lab = await openLab({ t, nodes: 3, ipv6: false })
t.teardown(() => lab.close())
const [here, there, beyond] = lab.nodes
if (here === undefined || there === undefined || beyond === undefined) throw new Error('Three nodes were asked for')
const spec = (name: string, app = name) => ({ name, namespace: 'shop', serviceAccount: name, labels: { app } })
const client = await here.addPod(spec('client'))
const other = await here.addPod(spec('other'))
const web = await there.addPod(spec('web'))
const leaver = await there.addPod(spec('leaver', 'pair'))
const stayer = await here.addPod(spec('stayer', 'pair'))
const distant = await beyond.addPod(spec('distant'))
const ports = [{ name: 'http', port: 80, targetPort: 8080 }]
// By latency, the one that is asked for a slow answer once would get nothing for a while.
lab.apply(`
apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: pair, namespace: shop }
spec: { targetRefs: [{ kind: Service, name: pair }], loadBalancing: { algorithm: LeastRequest } }
`)
const pair = lab.addService({ name: 'pair', namespace: 'shop', selector: { app: 'pair' }, ports })
const extraArgs = [
  '--ca-dir',
  join(lab.dir, 'ca'),
  '--upstream-idle-timeout-ms',
  '1000',
  '--connect-timeout-ms',
  '3000',
]
const [near, far, away] = [
  await here.startAgent({ proxies: 1, extraArgs }),
  await there.startAgent({ proxies: 1, extraArgs }),
  await beyond.startAgent({ proxies: 1, extraArgs }),
]
const all = [near, far, away]
for (const pod of [web, leaver, stayer, distant]) await pod.echoServer()

const echo = ({ socket }: RawSocket) => socket.pipe(socket)
async function echoIn(pod: LabPod, port: number) {
  const server = await listenIn(pod.netnsPath, port, echo)
  t.teardown(() => server[Symbol.asyncDispose]())
  return server
}
await Promise.all([echoIn(web, 9000), echoIn(leaver, 9000), echoIn(distant, 9000)])

async function talk(socket: RawSocket, word: string): Promise<string> {
  await socket.send(`${word}\n`)
  return socket.until('\n')
}

async function connected(from: LabPod, to: LabPod): Promise<RawSocket> {
  const socket = await connectIn(from.netnsPath, to.ipv4, 9000)
  await talk(socket, '\0hello')
  return socket
}

const url = (address: string, path = '/', port = 8080) => `http://${address}:${port}${path}`

/** Waits until all nodes go by the manifests as they are after `edit`. */
async function change(edit: () => unknown, agents: readonly LabAgent[] = all): Promise<void> {
  const from = agents.map((agent) => agent.logs.length)
  await edit()
  await Promise.all(agents.map((agent, i) => agent.waitFor('world applied', { from: from[i] ?? 0 })))
}

const event = (msg: string, pod: string) => (line: LogLine) => line['msg'] === msg && line['pod'] === `shop/${pod}`

/** Asks until `from` has no tunnel to `to`. */
async function noTunnel(from: LabPod, to: LabPod): Promise<void> {
  for (let asked = 0; ; asked++) {
    const { stdout } = await from.exec('ss', ['-Htn', 'dport', '=', ':15008', 'and', 'dst', to.ipv4])
    if (!/ESTAB|FIN-WAIT-1|CLOSE-WAIT/.test(stdout)) return
    if (asked === 400) throw new Error(`There is still a tunnel: ${stdout}`)
  }
}

const POST = 'POST /in-flight HTTP/1.1\r\nHost: pod\r\nContent-Length: 2\r\n\r\nhi'

interface ProxyState {
  readonly pid: number
  readonly rssBytes: number
}

async function proxyOf(agent: LabAgent): Promise<ProxyState> {
  const { stdout } = await agent.cli('status', ['--json'])
  const [proxy] = (JSON.parse(stdout) as { proxies: ProxyState[] }).proxies
  if (proxy === undefined) throw new Error(`No proxy in ${stdout}`)
  return proxy
}

// A link that breaks is noticed by what is not answered any more, which takes its time: the other tests run meanwhile.
const broken = await connected(client, distant)
const brokenClosed = Promise.withResolvers<number>()
broken.socket.once('close', () => brokenClosed.resolve(performance.now() - brokenAt))
const brokenFrom = near.logs.length
await lab.cut(here, beyond)
const brokenAt = performance.now()

t.test('a pod being deleted gets nothing new, finishes what it has, and its tunnels close', async (t) => {
  const slow = client.curl(url(leaver.ipv4, '/slow?delayMs=1500'))
  const stream = await connected(client, leaver)
  await change(() => leaver.update({ metadata: { deletionTimestamp: new Date().toISOString() } }))
  const names = new Set<string>()
  for (let i = 0; i < 20; i++) names.add((await client.echo(url(pair.ipv4, '/after', 80))).name)
  t.same([...names], ['stayer'])
  t.equal(await talk(stream, '\0still'), '\0still\n')
  t.equal((await slow).status, 200)
  stream.end()
  t.equal(await stream.ended(), 'end')
  await noTunnel(client, leaver)
})

t.test('a pod that gets the address of another inherits none of its tunnels', async (t) => {
  const from = far.logs.length
  const stream = await connected(client, web)
  using kept = await connectIn(client.netnsPath, web.ipv4, 8080)
  await kept.send('GET / HTTP/1.1\r\nhost: web\r\n\r\n')
  t.match((await kept.message()).start, /200/)
  t.match(
    (await client.echo(url(web.ipv4))).headers['x-forwarded-client-cert'],
    /^By=spiffe:\/\/cluster.local\/ns\/shop\/sa\/web;/,
  )
  await change(() => {
    const place = { uid: randomUUID(), nodeName: there.name, netnsPath: web.netnsPath, hostIps: there.addresses }
    lab.remove('pod-shop-web.yaml')
    lab.apply(renderPod(spec('heir'), { ...place, addresses: web.addresses }))
  })
  await far.waitFor(event('pod enrolled', 'heir'), { from })
  await kept.send('GET / HTTP/1.1\r\nhost: web\r\ncookie: for web alone\r\n\r\n')
  t.match((await kept.message()).start, /503/, 'what was said to the one is not said to the other')
  t.equal(await kept.ended(), 'end')
  t.match(
    (await client.echo(url(web.ipv4))).headers['x-forwarded-client-cert'],
    /^By=spiffe:\/\/cluster.local\/ns\/shop\/sa\/heir;/,
  )
  t.match(await far.waitFor((line) => line['destination'] === 'shop/heir', { from }), {
    destinationIdentity: 'spiffe://cluster.local/ns/shop/sa/heir',
  })
  stream[Symbol.dispose]()
})

t.test('what a policy now denies is cut inside the tunnel, and nothing else', async (t) => {
  const [denied, allowed] = [await connected(client, web), await connected(other, web)]
  const from = far.logs.length
  const deny = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: heir, namespace: shop }
spec:
  selector: { matchLabels: { app: heir } }
  action: DENY
  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/client] } }] }]`
  await change(() => lab.apply(deny, 'policy.yaml'))
  t.equal(await denied.ended(), 'reset')
  t.match(await far.waitFor((line) => line['flags'] === 'RBAC', { from }), {
    source: 'shop/client',
    policy: 'shop/heir',
  })
  t.equal(await talk(allowed, '\0still'), '\0still\n')
  t.equal((await client.curl(url(web.ipv4))).status, 403)
  t.equal((await other.curl(url(web.ipv4))).status, 200)
  await change(() => lab.apply('# nothing', 'policy.yaml'))
  t.equal(await talk(allowed, '\0still'), '\0still\n')
  allowed[Symbol.dispose]()
})

t.test('a stalled reader holds its writer, and nobody else', async (t) => {
  const OFFERED = 500
  const MOST_GROWTH_BYTES = 64 * 1024 * 1024
  await using server = await listenIn(web.netnsPath, 9001, (connection) => connection.hold())
  using writer = await connectIn(client.netnsPath, web.ipv4, 9001)
  const beside = await connected(client, web)
  const before = [await proxyOf(near), await proxyOf(far)]
  const block = Buffer.alloc(1024 * 1024, '.')
  let taken = 0
  for (let i = 0; i < OFFERED; i++) writer.socket.write(block, () => taken++)
  const reader = await server.connection(0)
  for (let i = 0; i < 500; i++) await talk(beside, '\0beside')
  const stalledAt = taken
  const after = [await proxyOf(near), await proxyOf(far)]
  for (let i = 0; i < 100; i++) await talk(beside, '\0beside')
  t.equal(taken, stalledAt, 'the writer is held')
  t.ok(taken < 64, `${taken} MiB are on their way`)
  for (const [i, { rssBytes, pid }] of after.entries()) {
    t.equal(pid, before[i]?.pid)
    const growth = rssBytes - (before[i]?.rssBytes ?? 0)
    t.ok(growth < MOST_GROWTH_BYTES, `proxy ${i} has grown by ${growth >> 20} MiB`)
  }
  reader.unhold()
  await reader.wait('more than was on its way', () => (reader.received > 100 * block.length ? true : undefined))
  t.equal(await talk(beside, '\0beside'), '\0beside\n')
  writer.reset()
  t.equal(await reader.ended(), 'reset')
  beside[Symbol.dispose]()
})

t.test('very many stalled readers hold nobody else either', async (t) => {
  const STALLED = 60
  await using server = await listenIn(web.netnsPath, 9001, (connection) => connection.hold())
  const beside = await connected(client, web)
  const block = Buffer.alloc(2 * 1024 * 1024, '.')
  const writers = await Promise.all(
    Array.from({ length: STALLED }, async () => {
      const writer = await connectIn(client.netnsPath, web.ipv4, 9001)
      writer.socket.write(block)
      return writer
    }),
  )
  for (let i = 0; i < STALLED; i++) await server.connection(i)
  for (let i = 0; i < 200; i++) await talk(beside, '\0beside')
  using late = await connected(client, web)
  t.equal(await talk(late, '\0late'), '\0late\n')
  t.equal((await client.curl(url(web.ipv4))).status, 200)
  for (const writer of writers) writer.reset()
  beside[Symbol.dispose]()
})

t.test('a tunnel without use is closed, and opened again when wanted', async (t) => {
  await noTunnel(client, web)
  await noTunnel(other, web)
  t.equal((await client.curl(url(web.ipv4))).status, 200)
})

t.test('a pod that opts out finishes what came through its tunnels, and gets plain traffic then', async (t) => {
  leaver.update({ metadata: {} })
  await far.waitFor(event('pod enrolled', 'leaver'))
  const stream = await connected(client, leaver)
  const slow = client.curl(url(leaver.ipv4, '/slow?delayMs=800'))
  const from = far.logs.length
  await change(() => leaver.update({ optedIn: false }))
  await far.waitFor(event('pod draining', 'leaver'), { from })
  t.equal(await talk(stream, '\0still'), '\0still\n')
  const plain = await client.echo(url(leaver.ipv4))
  t.notOk(plain.headers['x-forwarded-client-cert'])
  t.equal((await slow).status, 200)
  stream.end()
  t.equal(await stream.ended(), 'end')
  await far.waitFor(event('pod un-enrolled', 'leaver'), { from })
  await noTunnel(client, leaver)
  const again = far.logs.length
  await change(() => leaver.update({ optedIn: true }))
  await far.waitFor(event('pod enrolled', 'leaver'), { from: again })
  t.match((await client.echo(url(leaver.ipv4))).headers['x-forwarded-client-cert'], /sa\/leaver;/)
})

t.test('a proxy that is killed at the other end takes what is in flight with it, and no more', async (t) => {
  const stream = await connected(client, web)
  const from = near.logs.length
  const { pid } = await proxyOf(far)
  await using server = await listenIn(web.netnsPath, 9002)
  using slow = await connectIn(client.netnsPath, web.ipv4, 9002)
  await slow.send(POST)
  await (await server.connection(0)).message()
  process.kill(pid, 'SIGKILL')
  t.equal(await stream.ended(), 'reset')
  t.match(await near.waitFor((line) => line['protocol'] === 'tcp' && line['flags'] !== '-', { from }), { flags: 'UC' })
  t.match((await slow.message()).start, /502/)
  t.match(await near.waitFor((line) => line['path'] === '/in-flight', { from }), { flags: 'UC' })
  for (let i = 0; i < 5; i++) t.equal((await client.curl(url(web.ipv4, '/next'))).status, 200)
  t.not((await proxyOf(far)).pid, pid)
})

t.test('an agent that ends lets its tunnels finish, and requests go to where they are served', async (t) => {
  using socket = await connectIn(client.netnsPath, pair.ipv4, 80)
  const ask = async () => {
    await socket.send('GET /drain HTTP/1.1\r\nHost: pair\r\n\r\n')
    const { start, body } = await socket.message()
    return `${start.split(' ')[1]} ${(JSON.parse(String(body)) as { name: string }).name}`
  }
  const seen: string[] = []
  while (!(seen.includes('200 leaver') && seen.includes('200 stayer'))) seen.push(await ask())
  await using server = await listenIn(leaver.netnsPath, 9002)
  using slow = await connectIn(client.netnsPath, leaver.ipv4, 9002)
  await slow.send(POST)
  const busy = await server.connection(0)
  await busy.message()
  let over = false
  const stopped = far.stop().finally(() => {
    over = true
  })
  for (let i = 0; i < 20; i++) seen.push(await ask())
  t.notOk(over, 'it waits for what is in flight')
  await busy.send('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone')
  t.equal(String((await slow.message()).body), 'done')
  while (!over) seen.push(await ask())
  t.equal(await stopped, 0)
  for (let i = 0; i < 20; i++) seen.push(await ask())
  t.same([...new Set(seen)].sort(), ['200 leaver', '200 stayer'])
  t.same([...new Set(seen.slice(-20))], ['200 stayer'])
})

t.test('a link that breaks is noticed by both ends, and what is new works once it is mended', async (t) => {
  const tookMs = await brokenClosed.promise
  t.ok(tookMs < 35_000, `${Math.round(tookMs)} ms`)
  t.equal(broken.ending, 'reset')
  t.match(
    await near.waitFor((line) => line['destination'] === 'shop/distant' && line['protocol'] === 'tcp', {
      from: brokenFrom,
    }),
    {
      flags: 'UC',
    },
  )
  await away.waitFor((line) => /the peer does not answer/.test(String(line['reason'])))
  await lab.heal(here, beyond)
  t.equal((await client.curl(url(distant.ipv4))).status, 200)
})

t.test(
  'a pod that is given another service account goes on under that identity, and nothing under the old one',
  async (t) => {
    const held = await connected(client, distant)
    const from = near.logs.length
    client.update({ serviceAccount: 'changed' })
    await near.waitFor(event('pod enrolled', 'client'), { from })
    t.match(await held.ended(), /reset|end/)
    t.match(
      (await client.echo(url(distant.ipv4))).headers['x-forwarded-client-cert'],
      /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/changed$/,
    )
  },
)
