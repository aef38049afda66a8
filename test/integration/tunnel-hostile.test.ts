/** Port 15008 in the hands of those who should not come in, and peers that are not what they should be. */
import { once } from 'node:events'
import http2 from 'node:http2'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import tls from 'node:tls'
import t, { type Test } from 'tap'
import { openLab } from '../support/lab.ts'
import type { LabAgent, LogLine } from '../support/lab-agent.ts'
import { connectTlsIn, EXPIRED, LabAuthority, LabTlsServer, NOT_YET } from '../support/lab-tls.ts'
import { parsePrometheus } from '../support/prometheus-text.ts'
import { connectIn, listenIn, type RawSocket } from '../support/raw-socket.ts'

const HEAD_TIMEOUT_MS = 1_500
const CONNECT_TIMEOUT_MS = 500

const lab = await openLab({ t, nodes: 3 })
t.teardown(() => lab.close())
const [here, there, beyond] = lab.nodes
if (here === undefined || there === undefined || beyond === undefined) throw new Error('Three nodes were asked for')
const spec = (name: string) => ({ name, namespace: 'shop', serviceAccount: name, labels: { app: name } })
const client = await here.addPod(spec('client'))
const outsider = await here.addPod({ ...spec('outsider'), optedIn: false })
const web = await there.addPod(spec('web'))
const neighbour = await there.addPod(spec('neighbour'))
/** No agent serves its node: what answers on its port 15008 is ours. */
const fake = await beyond.addPod(spec('fake'))
const caDir = join(lab.dir, 'ca')
const args = (...more: string[]) => ({ proxies: 1, extraArgs: ['--ca-dir', caDir, ...more] })
const near = await here.startAgent(args('--connect-timeout-ms', String(CONNECT_TIMEOUT_MS)))
const far = await there.startAgent(args('--head-timeout-ms', String(HEAD_TIMEOUT_MS)))
const authority = new LabAuthority(caDir)
const idOf = (name: string) => `spiffe://cluster.local/ns/shop/sa/${name}`
const good = await authority.issue(idOf('client'))

const echo = ({ socket }: RawSocket) => socket.on('data', (bytes) => socket.write(bytes))
const application = await listenIn(web.netnsPath, 9000, echo)
t.teardown(() => application[Symbol.asyncDispose]())
/** Goes through a tunnel of its own to the same pod, all the while. */
const steady = await connectIn(client.netnsPath, web.ipv4, 9000)
t.teardown(() => steady[Symbol.dispose]())
async function talk(socket: RawSocket, word: string): Promise<string> {
  await socket.send(`${word}\n`)
  return socket.until('\n')
}
await talk(steady, '\0first')

async function refusedTunnels(agent: LabAgent): Promise<number> {
  const { stdout } = await agent.cli('metrics')
  const samples = parsePrometheus(stdout).filter(
    ({ name, labels }) =>
      name === 'istio_tcp_connections_closed_total' &&
      labels['response_flags'] === 'DPE' &&
      labels['destination_workload'] === 'web',
  )
  return samples.reduce((sum, { value }) => sum + value, 0)
}

async function restarts(agent: LabAgent): Promise<number> {
  const { stdout } = await agent.cli('status', ['--json'])
  const { proxies } = JSON.parse(stdout) as { proxies: { restarts: number }[] }
  return proxies.reduce((sum, proxy) => sum + proxy.restarts, 0)
}

const refusal = (reason: RegExp | string) => (line: LogLine) =>
  line['flags'] === 'DPE' &&
  line['destination'] === 'shop/web' &&
  (typeof reason === 'string' ? line['reason'] === `tunnel refused: ${reason}` : reason.test(String(line['reason'])))

/** Failing here is better than a test that hangs. */
async function ended(socket: Socket, what: string): Promise<void> {
  socket.resume()
  if (socket.closed) return
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const timer = setTimeout(() => reject(new Error(`The connection was not closed: ${what}`)), 20_000)
  socket.once('close', resolve)
  await promise.finally(() => clearTimeout(timer))
}

/** Runs what is hostile to `web`, and checks that it was counted and that nobody else noticed. */
async function besiege(t: Test, count: number, attack: () => Promise<void>): Promise<void> {
  const [before, connections] = [await refusedTunnels(far), application.connections.length]
  await attack()
  t.equal((await refusedTunnels(far)) - before, count, 'each is counted')
  t.equal(application.connections.length, connections, 'nothing reached the application')
  t.equal(await talk(steady, '\0still'), '\0still\n', 'the others’ tunnel goes on')
  t.equal(await restarts(far), 0)
}

t.test('who does not prove a workload of the mesh is refused, with the reason in the log', async (t) => {
  const odd = (...values: string[]) =>
    authority.issueOdd(values.map((value) => ({ type: value.startsWith('spiffe:') ? 'url' : 'dns', value })))
  const rogue = await authority.issueOdd([{ type: 'url', value: idOf('client') }], { selfSigned: true })
  const { ca } = good
  const cases: readonly [string, tls.ConnectionOptions, RegExp | string][] = [
    ['expired', await authority.issue(idOf('client'), EXPIRED), /does not verify: certificate has expired$/],
    ['not yet valid', await authority.issue(idOf('client'), NOT_YET), /does not verify: certificate is not yet valid$/],
    [
      'of another trust domain',
      await authority.issue('spiffe://elsewhere/ns/shop/sa/client'),
      'the peer is of trust domain elsewhere, not cluster.local',
    ],
    ['self-signed', rogue, /does not verify: self-signed certificate$/],
    ['without names', await odd(), "the peer's certificate has no SPIFFE ID"],
    ['with two URIs', await odd(idOf('client'), idOf('web')), /certificate is not a workload's: URI:.*, URI:/],
    ['with a URI and a DNS name', await odd(idOf('client'), 'client'), /certificate is not a workload's: URI:/],
    ['with a DNS name', await odd('client.shop.svc'), /certificate is not a workload's: DNS:client.shop.svc$/],
    ['with the name of a namespace', await odd('spiffe://cluster.local/ns/shop'), /certificate is not a workload's/],
    ['no certificate', { ca }, 'the peer sent no certificate'],
    ['TLS 1.2', { ...good, maxVersion: 'TLSv1.2' }, 'TLS failed: unsupported protocol'],
    ['no ALPN', { ...good, ALPNProtocols: [] }, 'the peer does not speak HTTP/2'],
    ['http/1.1', { ...good, ALPNProtocols: ['http/1.1'] }, 'TLS failed: no application protocol'],
    ['ChaCha20', { ...good, ciphers: 'TLS_CHACHA20_POLY1305_SHA256' }, 'TLS failed: no shared cipher'],
  ]
  await besiege(t, cases.length, async () => {
    for (const [what, options, reason] of cases) {
      const from = far.logs.length
      const secure = await connectTlsIn(outsider.netnsPath, web.ipv4, options)
      await ended(secure, what)
      t.match(await far.waitFor(refusal(reason), { from }), { sourceAddress: outsider.ipv4 }, what)
    }
  })
})

t.test('who speaks no TLS, or takes for ever, is cut in bounded time', async (t) => {
  await besiege(t, 7, async () => {
    const from = far.logs.length
    const silent = await connectIn(outsider.netnsPath, web.ipv4, 15008)
    const half = await connectIn(outsider.netnsPath, web.ipv4, 15008)
    // The head of a TLS record that promises more than comes.
    await half.send(Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]))
    const mute = await connectTlsIn(outsider.netnsPath, web.ipv4, good)
    await once(mute, 'secureConnect')
    const garbage = await connectIn(outsider.netnsPath, web.ipv4, 15008)
    await garbage.send('GET / HTTP/1.1\r\nHost: web\r\n\r\n')
    await garbage.ended()
    await far.waitFor(refusal('TLS failed: http request'), { from })
    const inside = await connectTlsIn(outsider.netnsPath, web.ipv4, good)
    inside.write('GET / HTTP/1.1\r\nHost: web\r\n\r\n')
    await ended(inside, 'no HTTP/2 inside')
    await far.waitFor(refusal('HTTP/2 failed: no HTTP/2 preface (PROTOCOL_ERROR)'), { from })
    const gone = await connectIn(outsider.netnsPath, web.ipv4, 15008)
    gone.reset()
    const left = await connectIn(outsider.netnsPath, web.ipv4, 15008)
    left.socket.destroy()
    await far.waitFor(refusal(/closed during the handshake|the peer left during/), { from })
    await far.waitFor(refusal('the peer left during the TLS handshake'), { from })
    await Promise.all([silent.ended(), half.ended(), ended(mute, 'silent after the handshake')])
    await far.waitFor(refusal('HTTP/2 failed: no SETTINGS (SETTINGS_TIMEOUT)'), { from })
    const slow = () => far.logs.slice(from).filter(refusal('the TLS handshake took too long')).length
    await far.process.until('both slow ones to be refused', () => slow() === 2 || undefined)
  })
})

interface Answer {
  readonly status: number
  readonly reason: unknown
  readonly code: number
}

t.test('a CONNECT leads to the pod itself and to its applications, and nowhere else', async (t) => {
  const secure = await connectTlsIn(outsider.netnsPath, web.ipv4, good)
  const session = http2.connect('https://web', { createConnection: () => secure })
  session.on('error', () => {})
  t.teardown(() => session.destroy())
  const ask = async (headers: http2.OutgoingHttpHeaders): Promise<Answer> => {
    const stream = session.request(headers)
    stream.on('error', () => {})
    let status = 0
    let reason: unknown
    stream.on('response', (got) => {
      status = Number(got[':status'])
      reason = got['x-weir-reason']
    })
    stream.resume()
    await once(stream, 'close').catch(() => {})
    return { status, reason, code: stream.rstCode }
  }
  const notOurs = 'the authority is not an address and port of this pod'
  const notApplication = 'the port is not one of the application'
  const connect = (authority: string) => ({ ':method': 'CONNECT', ':authority': authority })
  const get = { ':method': 'GET', ':scheme': 'https', ':path': '/', ':authority': `${web.ipv4}:9000` }
  const cases: readonly [http2.OutgoingHttpHeaders, string][] = [
    [connect('127.0.0.1:9000'), notOurs],
    [connect('[::1]:9000'), notOurs],
    [connect('[::ffff:127.0.0.1]:9000'), notOurs],
    [connect('0.0.0.0:9000'), notOurs],
    [connect(`${neighbour.ipv4}:9000`), notOurs],
    [connect(`${there.ipv4}:9000`), notOurs],
    [connect('169.254.169.254:80'), notOurs],
    [connect('web.shop.svc.cluster.local:9000'), notOurs],
    [connect('web:9000'), notOurs],
    [connect(`${web.ipv4}:0`), notOurs],
    [connect(`${web.ipv4}:09000`), notOurs],
    [connect(`${web.ipv4}:65536`), notApplication],
    [connect(`${web.ipv4}:15001`), notApplication],
    [connect(`${web.ipv4}:15006`), notApplication],
    [connect(`${web.ipv4}:15008`), notApplication],
    [connect(`${web.ipv4}:15053`), notApplication],
    [get, 'only CONNECT is served here'],
    [{ ...get, ':method': 'POST' }, 'only CONNECT is served here'],
    [{ ...get, ':method': 'CONNECT', ':protocol': 'websocket' }, 'only CONNECT is served here'],
  ]
  if (session.remoteSettings?.enableConnectProtocol !== true) await once(session, 'remoteSettings')
  await besiege(t, cases.length, async () => {
    const from = far.logs.length
    for (const [headers, reason] of cases) {
      const asked = `${String(headers[':method'])} ${String(headers[':authority'])}`
      t.match(await ask(headers), { status: 400, reason, code: 0 }, asked)
      t.match(
        await far.waitFor(refusal(`${reason}: ${asked} by ${idOf('client')}`), { from }),
        { sourceAddress: outsider.ipv4 },
        asked,
      )
    }
  })
  const malformed = [web.ipv4, `${web.ipv4}:`, `x@${web.ipv4}:9000`, '']
  await besiege(t, malformed.length, async () => {
    for (const authority of malformed) {
      const from = far.logs.length
      const { status, code } = await ask(connect(authority))
      t.ok(status === 400 || code === http2.constants.NGHTTP2_PROTOCOL_ERROR, `${authority}: ${status} ${code}`)
      const told = await far.waitFor(refusal(new RegExp(`by ${idOf('client')}$`)), { from })
      t.match(told, { sourceAddress: outsider.ipv4 }, authority)
    }
  })
  const from = far.logs.length
  const closed = session.request(connect(`${web.ipv4}:9999`))
  closed.on('error', () => {})
  closed.write('\0')
  closed.resume()
  await once(closed, 'close')
  t.not(closed.rstCode, 0, 'a port that nobody listens on resets the stream')
  t.match(await far.waitFor((line) => line['flags'] === 'UF', { from }), {
    reason: 'ECONNREFUSED',
    sourceIdentity: idOf('client'),
  })
  const stream = session.request(connect(`${web.ipv4}:9000`))
  const [answer] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
  t.match(answer, { ':status': 200, baggage: /k8s\.namespace\.name=shop,k8s\.deployment\.name=web,service\.name=web,/ })
  stream.write('\0in order\n')
  t.equal(
    String(((await once(stream, 'data')) as [Buffer])[0]),
    '\0in order\n',
    'the same tunnel serves what is in order',
  )
  stream.destroy()
})

// ── The other way round: what is at the other end is not the pod we mean ─────────────────────────

const server = new LabTlsServer(fake.netnsPath)
t.teardown(() => server[Symbol.asyncDispose]())
const trusted = await authority.issue(idOf('fake'))
const bad = 'never in plain text'.replaceAll(' ', '-')

function secured(credentials: tls.SecureContextOptions, then: (secure: tls.TLSSocket) => void, alpn = ['h2']) {
  return (socket: Socket) => {
    const options = { isServer: true, requestCert: true, rejectUnauthorized: false, ALPNProtocols: alpn }
    const secure = new tls.TLSSocket(socket, { ...options, secureContext: tls.createSecureContext(credentials) })
    secure.on('error', () => {})
    secure.once('secure', () => then(secure))
  }
}

/** Node's own HTTP/2, in order but for what it does with streams. */
function speaking(serve: (stream: http2.ServerHttp2Stream) => void, settings: http2.Settings = {}) {
  const peer = http2.createSecureServer({ ...trusted, requestCert: true, rejectUnauthorized: false, settings })
  peer.on('sessionError', () => {})
  peer.on('stream', (stream: http2.ServerHttp2Stream) => {
    stream.on('error', () => {})
    serve(stream)
  })
  return (socket: Socket) => peer.emit('connection', socket)
}

t.test('a tunnel to whoever is not the pod is not opened: 503 or a reset, and never plain text', async (t) => {
  const nothing = () => {}
  const end = "the tunnel's other end"
  const identity = (name: string) => authority.issue(idOf(name))
  const cases: readonly [string, (socket: Socket) => unknown, RegExp][] = [
    [
      'another identity',
      secured(await identity('web'), nothing),
      /end is spiffe:\/\/cluster.local\/ns\/shop\/sa\/web, not spiffe:\/\/cluster.local\/ns\/shop\/sa\/fake$/,
    ],
    [
      'expired',
      secured(await authority.issue(idOf('fake'), EXPIRED), nothing),
      /does not verify: certificate has expired$/,
    ],
    [
      'self-signed',
      secured(await authority.issueOdd([{ type: 'url', value: idOf('fake') }], { selfSigned: true }), nothing),
      /does not verify: self-signed certificate$/,
    ],
    [
      'another trust domain',
      secured(await authority.issue('spiffe://elsewhere/ns/shop/sa/fake'), nothing),
      /^the peer is of trust domain elsewhere, not cluster.local$/,
    ],
    ['no HTTP/2', secured(trusted, nothing, []), new RegExp(`^${end} does not speak HTTP/2$`)],
    ['TLS 1.2', secured({ ...trusted, maxVersion: 'TLSv1.2' }, nothing), new RegExp(`^TLS with ${end} failed: `)],
    ['no TLS', (socket) => socket.write('HTTP/1.1 200 OK\r\n\r\n'), new RegExp(`^TLS with ${end} failed: `)],
    ['silence', nothing, /^the tunnel could not be opened in time$/],
    ['a reset', (socket) => socket.resetAndDestroy(), /closed during the handshake$|ECONNRESET$/],
    ['no SETTINGS', secured(trusted, nothing), /^the tunnel could not be opened in time$/],
    [
      'garbage instead of HTTP/2',
      secured(trusted, (secure) => secure.write(Buffer.alloc(100, 0x7a))),
      /^the tunnel's HTTP\/2 failed: /,
    ],
    ['no stream allowed', speaking(nothing, { maxConcurrentStreams: 0 }), new RegExp(`^${end} takes no connections$`)],
    ['no answer to CONNECT', speaking(nothing), new RegExp(`^${end} did not answer in time$`)],
    [
      '503',
      speaking((stream) => stream.respond({ ':status': 503, 'x-weir-reason': 'not today' }, { endStream: true })),
      new RegExp(`^${end} answered 503: not today$`),
    ],
    [
      'streams refused',
      speaking((stream) => stream.close(http2.constants.NGHTTP2_REFUSED_STREAM)),
      /^the tunnel refused the connection$/,
    ],
    [
      'a connection that ends in the middle',
      speaking((stream) => stream.session?.destroy()),
      /^the tunnel refused the connection$|^the tunnel's other end closed it$/,
    ],
  ]
  const capture = await lab.capture(beyond)
  for (const [what, serve, reason] of cases) {
    server.restart(serve)
    const from = near.logs.length
    const accepted = server.accepted
    const failed = (protocol: string) => (line: LogLine) => line['protocol'] === protocol && line['flags'] === 'UF'
    const { status } = await client.curl(`http://${fake.ipv4}:8080/${bad}`)
    t.equal(status, 503, what)
    t.match(await near.waitFor(failed('http'), { from }), { reason, destination: 'shop/fake', status: 503 }, what)
    using socket = await connectIn(client.netnsPath, fake.ipv4, 7000)
    await socket.send(`\0${bad}`)
    t.equal(await socket.ended(), 'reset', what)
    t.match(await near.waitFor(failed('tcp'), { from }), { reason, destination: 'shop/fake' }, what)
    t.ok(server.accepted > accepted, 'it was tried')
  }
  const { bytes } = await capture.stop()
  t.ok(bytes.length > 10_000)
  t.notOk(bytes.includes(bad))
  t.equal(await talk(steady, '\0still'), '\0still\n')
  t.equal(await restarts(near), 0)
})

t.test('what a peer refuses has closed its connections, and a good one serves again', async (t) => {
  server.restart(
    speaking((stream) => {
      stream.respond({ ':status': 200 })
      stream.pipe(stream)
    }),
  )
  using socket = await connectIn(client.netnsPath, fake.ipv4, 7000)
  t.equal(await talk(socket, '\0good'), '\0good\n')
  const { stdout } = await client.exec('ss', [
    '-Htn',
    'state',
    'established',
    'dport',
    '=',
    ':15008',
    'and',
    'dst',
    fake.ipv4,
  ])
  t.equal(stdout.trim().split('\n').length, 1, stdout)
})

t.test('a peer that takes five streams at once gets as many tunnels as it takes', async (t) => {
  const another = await here.addPod(spec('another'))
  await near.waitFor((line) => line['msg'] === 'pod enrolled' && line['pod'] === 'shop/another')
  let most = 0
  server.restart((socket) => {
    let open = 0
    const serve = speaking(
      (stream) => {
        most = Math.max(most, ++open)
        stream.on('close', () => open--)
        stream.respond({ ':status': 200 })
        stream.pipe(stream)
      },
      { maxConcurrentStreams: 5 },
    )
    serve(socket)
  })
  const before = server.accepted
  const sockets = await Promise.all(Array.from({ length: 23 }, () => connectIn(another.netnsPath, fake.ipv4, 7000)))
  const answers = await Promise.all(sockets.map((socket, i) => talk(socket, `\0${i}`)))
  t.same(
    answers,
    sockets.map((_, i) => `\0${i}\n`),
  )
  t.equal(most, 5)
  t.ok(server.accepted - before >= 5 && server.accepted - before <= 8, `${server.accepted - before} tunnels`)
  for (const socket of sockets) socket[Symbol.dispose]()
})
