/** Certificates that last seconds: both ends of the tunnels are renewed again and again, and nobody notices. */
import { join } from 'node:path'
import t from 'tap'
import { openLab } from '../support/lab.ts'
import { connectTlsIn, LabAuthority } from '../support/lab-tls.ts'
import { connectIn, listenIn, type RawSocket } from '../support/raw-socket.ts'

t.setTimeout(60_000)
const ROTATIONS = 2
const lab = await openLab({ t, nodes: 2, ipv6: false })
t.teardown(() => lab.close())
const [here, there] = lab.nodes
if (here === undefined || there === undefined) throw new Error('Two nodes were asked for')
const spec = (name: string) => ({ name, namespace: 'shop', serviceAccount: name, labels: { app: name } })
const client = await here.addPod(spec('client'))
const outsider = await here.addPod({ ...spec('outsider'), optedIn: false })
const web = await there.addPod(spec('web'))
const ports = [{ name: 'http', port: 80, targetPort: 8080 }]
const service = lab.addService({ name: 'web', namespace: 'shop', selector: { app: 'web' }, ports })
const caDir = join(lab.dir, 'ca')
const extraArgs = ['--ca-dir', caDir, '--cert-ttl', '6s']
const near = await here.startAgent({ proxies: 1, extraArgs })
const far = await there.startAgent({ proxies: 1, extraArgs })
await web.echoServer()

/** Serial number of what the server's end of new tunnels to `web` shows. */
async function serial(): Promise<string> {
  const visitor = await new LabAuthority(caDir).issue('spiffe://cluster.local/ns/shop/sa/visitor')
  const secure = await connectTlsIn(outsider.netnsPath, web.ipv4, visitor)
  await new Promise((resolve) => secure.once('secureConnect', resolve))
  const { serialNumber } = secure.getPeerCertificate()
  secure.destroy()
  return serialNumber
}

async function tunnelPorts(): Promise<readonly string[]> {
  const { stdout } = await client.exec('ss', ['-Htn', 'state', 'established', 'dport', '=', ':15008'])
  return [...stdout.matchAll(/:(\d+)\s+\S+:15008/g)].map(([, port]) => port ?? '')
}

const REQUEST = 'GET /rotated HTTP/1.1\r\nHost: web\r\n'

async function ask(socket: RawSocket, more = ''): Promise<string> {
  await socket.send(`${REQUEST}${more}\r\n`)
  return (await socket.message()).start
}

t.test('while certificates are renewed no request is lost and long streams go on', async (t) => {
  await using server = await listenIn(web.netnsPath, 9000, ({ socket }) => socket.pipe(socket))
  await using upgrader = await listenIn(web.netnsPath, 9001, async (connection) => {
    await connection.message()
    await connection.send('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n')
    connection.socket.pipe(connection.socket)
  })
  using stream = await connectIn(client.netnsPath, web.ipv4, 9000)
  using upgraded = await connectIn(client.netnsPath, web.ipv4, 9001)
  await upgraded.send('GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n')
  t.match((await upgraded.message()).start, /101/)
  const kept = await Promise.all(Array.from({ length: 4 }, () => connectIn(client.netnsPath, service.ipv4, 80)))
  const talk = async (socket: RawSocket, word: string) => {
    await socket.send(`\0${word}\n`)
    return socket.until('\n')
  }
  await talk(stream, 'first')
  const [firstTunnel] = await tunnelPorts()
  const serials = new Set<string>()
  const statuses = new Map<string, number>()
  const count = (start: string) => statuses.set(start, (statuses.get(start) ?? 0) + 1)
  while (serials.size <= ROTATIONS) {
    serials.add(await serial())
    for (let i = 0; i < 10; i++) {
      for (const start of await Promise.all(kept.map((socket) => ask(socket)))) count(start)
      using fresh = await connectIn(client.netnsPath, service.ipv4, 80)
      count(await ask(fresh, 'Connection: close\r\n'))
      t.equal(await talk(stream, `word-${i}`), `\0word-${i}\n`)
      t.equal(await talk(upgraded, `word-${i}`), `\0word-${i}\n`)
    }
  }
  t.same([...statuses.keys()], ['HTTP/1.1 200 OK'])
  t.ok((statuses.get('HTTP/1.1 200 OK') ?? 0) > 100)
  const tunnels = await tunnelPorts()
  t.ok(firstTunnel !== undefined && tunnels.includes(firstTunnel), 'the tunnel of the long streams is still there')
  t.ok(tunnels.length > 1, 'and what is new goes through another')
  for (const socket of [...kept, stream, upgraded]) socket[Symbol.dispose]()
  for (let asked = 0; (await tunnelPorts()).includes(firstTunnel ?? ''); asked++) {
    if (asked === 200) throw new Error('The first tunnel stays though nothing goes through it')
  }
  t.pass('with its last stream the old tunnel is closed')
  t.same([server.failures, upgrader.failures], [[], []])
  const refused = [...near.logs, ...far.logs].filter(
    (line) => 'flags' in line && !['-', 'DC'].includes(String(line['flags'])),
  )
  t.same(
    refused.filter((line) => line['sourceAddress'] !== outsider.ipv4),
    [],
  )
})
