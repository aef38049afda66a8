/** Quarantine on two nodes: who is cut off, from what and when; what still passes; how it ends, and how it does not. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type http2 from 'node:http2'
import { join } from 'node:path'
import t from 'tap'
import { bindSocket, closeFd, connectSocket, openTcpSocket, openUdpSocket, setMark } from '#linux'
import { askFrom } from '../support/dns-peers.ts'
import { answerOf, http2ClientIn, http2ServerIn } from '../support/http2-pods.ts'
import { openLab } from '../support/lab.ts'
import type { LogLine } from '../support/lab-agent.ts'
import { inside } from '../support/pod-sockets.ts'
import { connectIn, listenIn, type RawSocket } from '../support/raw-socket.ts'
import { Shop } from '../support/shop.ts'

const lab = await openLab({ t, nodes: 2 })
const shop = new Shop(lab)
t.teardown(() => shop[Symbol.asyncDispose]())
const [here, there] = lab.nodes
if (here === undefined || there === undefined) throw new Error('Two nodes were asked for')
const client = await shop.pod('client')
const plain = await shop.pod('plain', { optedIn: false })
const debug = await shop.pod('debug', { optedIn: false })
const container = {
  livenessProbe: { httpGet: { path: '/healthz', port: 8080 } },
  readinessProbe: { tcpSocket: { port: 7000 } },
}
const web = await shop.pod('web', { container })
const twin = await shop.pod('twin', { labels: { app: 'web' } })
const far = await there.addPod({ name: 'far', namespace: 'shop', serviceAccount: 'far' })
const ports = [
  { name: 'http', port: 80, targetPort: 8080 },
  { name: 'bytes', port: 7000 },
]
const service = shop.service('web', { ports })
const echo = async (connection: RawSocket) => {
  using _ = connection
  for (;;) await connection.send(await connection.until('\n'))
}
for (const pod of [web, twin, plain, debug]) {
  await shop.serve(pod)
  const streams = await http2ServerIn(pod.netnsPath, 7002, (stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
    stream.pipe(stream)
  })
  t.teardown(() => streams[Symbol.asyncDispose]())
  const bytes = await listenIn(pod.netnsPath, 7000, echo)
  t.teardown(() => bytes[Symbol.asyncDispose]())
}
const args = { proxies: 1, extraArgs: ['--ca-dir', join(lab.dir, 'ca')] }
let near = await here.startAgent(args)
const remote = await there.startAgent(args)

const ALLOWED = `${debug.ipv4}/32,${debug.ipv6}/128`
const CUT = { 'weir.dev/quarantine': 'true', 'weir.dev/quarantine-allow': ALLOWED }
const UPGRADE = 'GET / HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n'

/** Makes a change, and waits until both nodes go by it and the kernel does. */
async function change(annotations: Readonly<Record<string, string>>, done: string | undefined): Promise<void> {
  const [from, fromRemote] = [near.logs.length, remote.logs.length]
  web.update({ annotations })
  await Promise.all([
    near.waitFor('world applied', { from }),
    remote.waitFor('world applied', { from: fromRemote }),
    ...(done === undefined ? [] : [near.waitFor(done, { from })]),
  ])
}

async function spoken(from: { readonly netnsPath: string }, address: string, port = 7000): Promise<RawSocket> {
  const socket = await connectIn(from.netnsPath, address, port)
  await socket.send('hello\n')
  await socket.until('\n')
  return socket
}

/** A stream of HTTP/2 in progress: it has been answered, and echoes. */
async function streamed(
  from: { readonly netnsPath: string },
  address: string,
  headers: http2.OutgoingHttpHeaders = {},
): Promise<http2.ClientHttp2Stream> {
  const client = await http2ClientIn(from.netnsPath, address, 7002)
  t.teardown(() => client[Symbol.dispose]())
  const stream = client.request({ ':method': 'POST', ':path': '/stream', ...headers }, { endStream: false })
  stream.write('hello')
  await once(stream, 'data')
  return stream
}

/** How a stream ends that nobody has ended: `cut` by a reset, or with its connection. */
const cutBy = async (stream: http2.ClientHttp2Stream): Promise<string> => {
  if (!stream.closed) await once(stream, 'close')
  return stream.rstCode === 0 && !stream.session?.destroyed ? 'ended' : 'cut'
}

const answers = async (socket: RawSocket): Promise<string> => {
  await socket.send('again\n')
  return await socket.until('\n')
}

const status = async (from: { readonly netnsPath: string }, address: string, target = '/', port = 8080) =>
  (await shop.ask(from, address, port, { target })).status

/** Packets that the quarantine of `web` has dropped, in both families. */
async function dropped(way: 'INPUT' | 'OUTPUT'): Promise<number> {
  const saved = await Promise.all(['iptables-save', 'ip6tables-save'].map((program) => web.exec(program, ['-c'])))
  const count = new RegExp(`\\[(\\d+):\\d+\\] -A WEIR_GUARD_${way} .*weir: quarantine.* -j DROP`)
  return saved.reduce((sum, { stdout }) => sum + Number(count.exec(stdout)?.[1] ?? 0), 0)
}

/** Does so, and resolves once the quarantine has dropped a packet that it did not drop before. */
async function drops(way: 'INPUT' | 'OUTPUT', act: () => unknown): Promise<boolean> {
  const before = await dropped(way)
  await act()
  try {
    for (let asked = 0; asked < 100; asked++) if ((await dropped(way)) > before) return true
    return false
  } finally {
    for (const fd of begun.splice(0)) closeFd(fd)
  }
}

/** Begins to connect; `drops` gives it up. */
function begin(from: { readonly netnsPath: string }, address: string, port: number, mark?: number): void {
  const fd = inside(from.netnsPath, () => {
    const socket = openTcpSocket(address.includes(':') ? 6 : 4)
    if (mark !== undefined) setMark(socket, mark)
    connectSocket(socket, { address, port })
    return socket
  })
  begun.push(fd)
}
const begun: number[] = []

/** A UDP socket of a pod, and what it has received. */
function udp(pod: { readonly netnsPath: string }, address: string, port: number) {
  const six = address.includes(':')
  const socket = createSocket(six ? 'udp6' : 'udp4')
  const received: string[] = []
  socket.on('message', (bytes) => received.push(bytes.toString()))
  socket.bind({
    fd: inside(pod.netnsPath, () => {
      const fd = openUdpSocket(six ? 6 : 4)
      bindSocket(fd, { address: six ? '::' : '0.0.0.0', port })
      return fd
    }),
  })
  t.teardown(() => socket.close())
  return { socket, received }
}

t.test('before: all of them reach each other', async (t) => {
  t.same(
    [await status(client, web.ipv4), await status(plain, web.ipv4), await status(web, plain.ipv4)],
    [200, 200, 200],
  )
  t.equal(await status(far, web.ipv4), 200)
})

t.test('what runs is cut at once, in both directions, whatever it speaks; the debugger’s goes on', async (t) => {
  const held = {
    'a relay from the mesh': await spoken(client, web.ipv4),
    'a relay from the mesh over IPv6': await spoken(client, web.ipv6 ?? ''),
    'a relay from outside': await spoken(plain, web.ipv4),
    'a stream of a tunnel': await spoken(far, web.ipv4),
    'a relay that it opened': await spoken(web, plain.ipv4),
  }
  using upgraded = await connectIn(client.netnsPath, web.ipv4, 8080)
  await upgraded.send(UPGRADE)
  await upgraded.until('\r\n\r\n')
  using debugging = await spoken(debug, web.ipv4)
  using toDebugger = await spoken(web, debug.ipv4)
  const streams = {
    'a stream from the mesh': await streamed(client, web.ipv4),
    'a stream from another node': await streamed(far, web.ipv4),
    'a stream from outside': await streamed(plain, web.ipv4),
    'a stream that it opened': await streamed(web, twin.ipv4),
  }
  const cutStreams = Object.entries(streams).map(async ([what, stream]) => [what, await cutBy(stream)])
  const grpcCall = await streamed(client, web.ipv4, { 'content-type': 'application/grpc', te: 'trailers' })
  const grpcEnd = answerOf(grpcCall)
  const streamOfDebugger = await streamed(debug, web.ipv4)
  const arrived = [shop.arrival('near'), shop.arrival('far')]
  const waiting = [
    shop.ask(client, web.ipv4, 8080, { target: '/?wait=near' }),
    shop.ask(far, web.ipv4, 8080, { target: '/?wait=far' }),
  ]
  await Promise.all(arrived)
  const from = near.logs.length
  await change(CUT, 'pod in quarantine')
  for (const [what, socket] of Object.entries(held)) {
    using _ = socket
    t.equal(await socket.ended(), 'reset', what)
  }
  t.match(await upgraded.ended(), /end|reset/, 'a WebSocket')
  t.same(
    (await Promise.all(waiting)).map((answer) => answer.status),
    [403, 403],
    'requests in progress',
  )
  t.same(
    await Promise.all(cutStreams),
    Object.keys(streams).map((what) => [what, 'cut']),
  )
  t.equal((await grpcEnd).trailers['grpc-status'], '7', 'PERMISSION_DENIED')
  streamOfDebugger.write('again')
  t.equal(String((await once(streamOfDebugger, 'data'))[0]), 'again')
  t.equal(await answers(debugging), 'again\n')
  t.equal(await answers(toDebugger), 'again\n')
  const cut = (line: LogLine) => line['policy'] === 'Quarantine shop/web' && line['msg'] === 'connection'
  t.match(await near.waitFor(cut, { from }), {
    flags: 'RBAC',
    reason: `cut by a policy change: Pod shop/web is in quarantine: ${ALLOWED.replace(',', ', ')} may speak with it`,
  })
})

t.test('nothing new reaches it or leaves it but the debugger’s, and the log names the reason', async (t) => {
  for (const address of [web.ipv4, web.ipv6 ?? '']) {
    const from = near.logs.length
    t.same([await status(client, address), await status(far, address)], [403, 403], 'from the mesh')
    t.match(await near.waitFor((line) => line['status'] === 403, { from }), {
      source: 'shop/client',
      destination: 'shop/web',
      policy: 'Quarantine shop/web',
      flags: 'RBAC',
    })
    t.ok(await drops('INPUT', () => begin(plain, address, 8080)), 'from outside: not even a handshake')
  }
  using relayed = await connectIn(client.netnsPath, web.ipv4, 7000)
  await relayed.send('hello\n')
  t.equal(await relayed.ended(), 'reset')
  for (const [own, other, friend] of [
    [web.ipv4, plain.ipv4, debug.ipv4],
    [web.ipv6 ?? '', plain.ipv6 ?? '', debug.ipv6 ?? ''],
  ] as const) {
    t.same([await status(debug, own), await status(web, friend)], [200, 200], 'the debugger')
    t.equal(await status(web, other), 403, 'it calls another pod')
    t.ok(await drops('OUTPUT', () => begin(web, other, 7000, 0x539)), 'a socket that bears the mark of ours')
  }
  t.equal(await status(web, service.ipv4, '/', 80), 403, 'it calls a Service')
  t.equal(await status(web, client.ipv4), 403, 'it calls a mesh pod')
})

t.test('UDP, ICMP and names do not get out either', async (t) => {
  for (const [address, other, friend, port] of [
    [web.ipv4, plain.ipv4, debug.ipv4, 6004],
    [web.ipv6 ?? '', plain.ipv6 ?? '', debug.ipv6 ?? '', 6006],
  ] as const) {
    const own = udp(web, address, port)
    const stranger = udp(plain, other, port)
    const debugger_ = udp(debug, friend, port)
    t.ok(await drops('OUTPUT', () => own.socket.send('out', port, other)))
    own.socket.send('to the debugger', port, friend)
    if (debugger_.received.length === 0) await once(debugger_.socket, 'message')
    t.same([debugger_.received, stranger.received], [['to the debugger'], []])
    const ping = (address: string) => web.exec('ping', ['-c', '1', '-W', '1', address])
    t.equal((await ping(friend)).code, 0)
    t.not((await ping(other)).code, 0)
    t.ok(await drops('INPUT', () => stranger.socket.send('in', port, address)))
    t.same(own.received, [])
  }
  t.equal((await askFrom(web, 'web.shop.svc.cluster.local')).rcode, 'REFUSED', 'a name of the mesh')
  t.equal((await askFrom(web, 'secret.attacker.example', 'A', { over: 'tcp' })).rcode, 'REFUSED')
  t.equal((await askFrom(client, 'web.shop.svc.cluster.local')).rcode, 'NOERROR')
})

t.test('the kubelet’s probes pass, and nothing wider', async (t) => {
  for (const address of [web.ipv4, web.ipv6 ?? '']) {
    t.equal(await status(here, address, '/healthz'), 200)
    using probe = await spoken(here, address)
    t.equal(await answers(probe), 'again\n')
    t.equal(await status(here, address, '/secrets'), 403)
    t.ok(await drops('INPUT', () => begin(here, address, 9999)), 'a port that is not probed')
  }
})

t.test('it is no endpoint of its Service any more, on any node', async (t) => {
  for (const from of [client, far]) {
    const by = await Promise.all(Array.from({ length: 8 }, async () => (await shop.ask(from, service.ipv4, 80)).by))
    t.same([...new Set(by)], ['twin'])
  }
})

t.test('status, pods and explain say so', async (t) => {
  const { stdout } = await near.cli('status')
  t.match(stdout, `Quarantine  shop/web, in force, allowed: ${ALLOWED.replace(',', ', ')}\n`)
  const told = JSON.parse((await near.cli('status', ['--json'])).stdout) as Record<string, unknown>
  t.same(told['quarantined'], [{ pod: 'shop/web', allow: ALLOWED.split(','), inForce: true }])
  const explain = async (from: string, to: string) => (await near.cli('explain', ['--from', from, '--to', to])).stdout
  t.match(await explain('shop/client', `http://${web.ipv4}:8080/`), /Denied: Pod shop\/web is in quarantine/)
  t.match(await explain('shop/web', `http://${plain.ipv4}:8080/`), /The client is in quarantine: it may speak with/)
  t.match(await explain('shop/debug', `http://${web.ipv4}:8080/`), /Allowed:/)
})

t.test('who can change rules in the pod does not get out for long', async (t) => {
  const from = near.logs.length
  await web.exec('iptables', ['-F', 'WEIR_GUARD_OUTPUT'])
  t.match(await near.waitFor('rules repaired', { from }), { missing: ['IPv4 filter chain WEIR_GUARD_OUTPUT'] })
  t.ok(await drops('OUTPUT', () => begin(web, plain.ipv4, 7000, 0x539)))
})

t.test('what is excluded from the mesh is not excluded from quarantine', async (t) => {
  const excluded = {
    'weir.dev/exclude-outbound-ports': '7000',
    'weir.dev/exclude-inbound-ports': '8080',
    'weir.dev/exclude-outbound-cidrs': `${plain.ipv4}/24`,
  }
  await change({}, 'pod released')
  t.equal(await status(client, web.ipv4), 200, 'released')
  const from = near.logs.length
  web.update({ annotations: excluded })
  await near.waitFor('rules changed', { from })
  using direct = await spoken(web, plain.ipv4)
  await change({ ...excluded, ...CUT }, 'pod in quarantine')
  t.ok(await drops('OUTPUT', () => direct.send('out\n')), 'a connection that never met the proxy')
  t.equal(await status(web, plain.ipv4), 403)
  t.ok(await drops('INPUT', () => begin(plain, web.ipv4, 8080)))
  t.equal(await status(here, web.ipv4, '/healthz'), 200, 'a probe of an excluded port')
  t.equal(await status(debug, web.ipv4), 200)
})

t.test('a value that cannot be read means quarantine without an exception, and is told', async (t) => {
  await change({ ...CUT, 'weir.dev/quarantine': 'yes' }, 'rules changed')
  t.equal(await status(client, web.ipv4), 403)
  t.ok(await drops('INPUT', () => begin(debug, web.ipv4, 8080)))
  t.equal(await status(here, web.ipv4, '/healthz'), 200)
  const { code, stdout } = await near.cli('status')
  t.equal(code, 1)
  t.match(
    stdout,
    'metadata.annotations[weir.dev/quarantine]: expected true or false, got "yes"; the pod is in quarantine, and nobody is allowed: correct the value',
  )
  await change({ ...CUT, 'weir.dev/quarantine-allow': `${debug.ipv4}, 0.0.0.0/0, me` }, 'rules changed')
  t.equal(await status(debug, web.ipv4), 200)
  t.match(
    (await near.cli('status')).stdout,
    'expected a CIDR block such as 10.0.0.5/32, got "0.0.0.0/0", and 1 more like it: these entries allow nothing',
  )
})

t.test('the command says what to write into the manifest, and refuses what it cannot mean', async (t) => {
  t.match(await near.cli('quarantine', ['shop/client', '--allow', '10.0.0.5/32']), {
    code: 1,
    stdout: [
      `In the manifest of Pod shop/client (directory ${lab.manifestsDir}), write:`,
      'metadata:',
      '  annotations:',
      '    weir.dev/quarantine: "true"',
      '    weir.dev/quarantine-allow: "10.0.0.5/32"',
      '',
    ].join('\n'),
  })
  t.match(await near.cli('release', ['shop/web']), { code: 1, stdout: /remove:\n {4}weir.dev\/quarantine\n/ })
  t.match(await near.cli('quarantine', ['shop/plain']), {
    code: 1,
    stderr: /is not in the mesh, and cannot be cut off/,
  })
  t.match(await near.cli('quarantine', ['shop/nobody']), { code: 1, stderr: /is not known to the agent/ })
  t.match(await near.cli('quarantine', ['shop/web', '--allow', '0.0.0.0/0']), { code: 64, stderr: /expected a CIDR/ })
  t.match(await near.cli('quarantine', []), { code: 64, stderr: /needs one NAMESPACE\/POD/ })
})

t.test(
  'it outlasts the agent: the pod stays cut off, and alive; the next agent goes on, and releases it',
  async (t) => {
    await change(CUT, undefined)
    t.equal(await near.stop(), 0)
    t.equal(await status(here, web.ipv4, '/healthz'), 200, 'probes go straight to the application')
    t.equal(await status(debug, web.ipv4), 200)
    t.ok(await drops('INPUT', () => begin(plain, web.ipv4, 8080)))
    t.ok(await drops('OUTPUT', () => begin(web, plain.ipv4, 8080)))
    t.equal((await client.exec('iptables-save')).stdout, '', 'the others are free')
    near = await here.startAgent(args)
    t.equal(await status(client, web.ipv4), 403)
    await change({}, 'pod released')
    t.same(
      [await status(client, web.ipv4), await status(plain, web.ipv4), await status(web, plain.ipv4)],
      [200, 200, 200],
    )
    t.equal(await near.stop(), 0)
    t.same([(await web.exec('iptables-save')).stdout, (await web.exec('ip6tables-save')).stdout], ['', ''])
  },
)
