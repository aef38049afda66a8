/** Names in a pod: the mesh's own are answered on the spot, all others by the name server, or as the pod wishes. */
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import codec, { type Answer } from 'dns-packet'
import t from 'tap'
import { closeFd, openNetns } from '#linux'
import { kernelState } from '../support/agent-pods.ts'
import { type Asked, askFrom, exchange, frameOf, framesOf, NameServer, type Says, tell } from '../support/dns-peers.ts'
import { type LabPod, openLab } from '../support/lab.ts'
import { connectSocketIn } from '../support/pod-sockets.ts'

const lab = await openLab({ t })
t.teardown(() => lab.close())
const client = await lab.addPod({ name: 'client', namespace: 'shop' })
const web = await lab.addPod({ name: 'web', namespace: 'shop', labels: { app: 'web' } })
await web.echoServer()
const ports = [{ name: 'http', port: 80, targetPort: 8080 }]
const service = lab.addService({ name: 'web', namespace: 'shop', selector: { app: 'web' }, ports })
const far = lab.addService({ name: 'api', namespace: 'bank', selector: { app: 'api' }, ports })
lab.addService({ name: 'db', namespace: 'shop', selector: { app: 'web' }, ports, headless: true })
lab.apply(`apiVersion: v1
kind: Service
metadata: { name: out, namespace: shop }
spec: { type: ExternalName, externalName: outside.example. }
`)

const many = (count: number): Answer[] =>
  Array.from({ length: count }, (_, i) => ({ type: 'A', name: 'many.example', ttl: 5, data: `192.0.2.${i}` }))
const forged: Answer[] = [{ type: 'A', name: 'lie.example', ttl: 5, data: '192.0.2.66' }]
const say: Record<string, Says | ((asked: Asked) => Says)> = {
  'example.org': [{ type: 'A', name: 'example.org', ttl: 5, data: '192.0.2.7' }],
  'outside.example': [{ type: 'A', name: 'outside.example', ttl: 5, data: '192.0.2.8' }],
  'many.example': many(60),
  'dead.example': 'silence',
  // Of the right question with another id, and of the right id with another question.
  'lie.example': ({ query: { id = 0, questions = [] } }) =>
    codec.encode({ id: id ^ 1, type: 'response', questions, answers: forged }),
  'lie2.example': ({ query: { id = 0 } }) =>
    codec.encode({ id, type: 'response', questions: [{ type: 'A', name: 'other.example' }], answers: forged }),
}
const upstream = new NameServer(lab.node.netnsPath, lab.node.ipv4, (asked) => {
  const said = say[asked.name] ?? 'NXDOMAIN'
  return typeof said === 'function' ? said(asked) : said
})
t.teardown(() => upstream[Symbol.dispose]())
const upstreamAsked = () => upstream.asked.splice(0).map(({ name, type, over }) => `${over} ${type} ${name}`)

const agent = await lab.startAgent({ proxies: 1, extraArgs: ['--dns-upstream', lab.node.ipv4] })

/** A connection on which no query is completed. */
const resting = await connectSocketIn(web.netnsPath, '10.96.250.250', 53)
resting.write('GET / HTTP/1.1\r\n')
const rested = once(resting, 'end').catch((thrown: NodeJS.ErrnoException) => thrown.code)

async function changed(edit: () => void, wanted: string): Promise<void> {
  const from = agent.logs.length
  edit()
  await agent.waitFor(wanted, { from })
}

t.test('a Service has its addresses by every form of its name, over UDP and TCP, on both families', async (t) => {
  for (const name of ['web', 'WEB.shop', 'web.shop.svc', 'web.shop.svc.cluster.local']) {
    for (const over of ['udp', 'tcp'] as const) {
      const { rcode, answers, packet } = await askFrom(client, name, 'A', { over })
      t.same([rcode, answers], ['NOERROR', [`A ${service.ipv4}`]], `${name} over ${over}`)
      t.equal(packet.answers?.[0]?.name, name, 'letters as they were asked')
      t.match(packet.answers, [{ ttl: 30 }])
    }
  }
  t.same((await askFrom(client, 'web', 'AAAA')).answers, [`AAAA ${service.ipv6}`])
  t.same((await askFrom(client, 'api.bank', 'A')).answers, [`A ${far.ipv4}`])
  const v6 = { server: 'fd96::fafa' }
  t.same((await askFrom(client, 'web', 'A', v6)).answers, [`A ${service.ipv4}`], 'asked over IPv6')
  t.same((await askFrom(client, 'web', 'A', { ...v6, over: 'tcp' })).answers, [`A ${service.ipv4}`])
  const nothing = await askFrom(client, 'web', 'TXT')
  t.same([nothing.rcode, nothing.answers], ['NOERROR', []], 'a known name without such a record')
  t.same(upstreamAsked(), [], 'nobody else heard of it')
})

t.test('ports by SRV, pods of a headless Service, an ExternalName as an alias', async (t) => {
  const domain = 'shop.svc.cluster.local'
  const srv = await askFrom(client, `_http._tcp.web.${domain}`, 'SRV')
  t.same(srv.answers, [`SRV web.${domain} 80`])
  t.match(srv.packet.additionals, [
    { type: 'A', data: service.ipv4 },
    { type: 'AAAA', data: service.ipv6 },
  ])
  t.same((await askFrom(client, 'db', 'A')).answers, [`A ${web.ipv4}`])
  t.same((await askFrom(client, 'db', 'AAAA')).answers, [`AAAA ${web.ipv6}`])
  const dashed = web.ipv4.replaceAll('.', '-')
  const dashed6 = web.ipv6?.replaceAll(':', '-')
  t.strictSame(
    (await askFrom(client, `_http._tcp.db.${domain}`, 'SRV')).answers,
    [`SRV ${dashed}.db.${domain} 8080`, `SRV ${dashed6}.db.${domain} 8080`].sort(),
  )
  t.same((await askFrom(client, `${dashed}.db.${domain}`, 'A')).answers, [`A ${web.ipv4}`])
  t.same(upstreamAsked(), [])
  t.same((await askFrom(client, 'out', 'A')).answers, ['A 192.0.2.8', 'CNAME outside.example'])
  t.same(upstreamAsked(), ['udp A outside.example'])
})

t.test('everything else is the name server’s to answer, with the size and transport the client chose', async (t) => {
  t.same((await askFrom(client, 'example.org')).answers, ['A 192.0.2.7'])
  t.equal((await askFrom(client, 'nothing.shop.svc.cluster.local')).rcode, 'NXDOMAIN')
  const cut = await askFrom(client, 'many.example')
  t.same([cut.truncated, cut.answers.length], [true, 0])
  t.equal((await askFrom(client, 'many.example', 'A', { over: 'tcp' })).answers.length, 60)
  t.ok(
    upstream.asked.filter(({ over }) => over === 'udp').every(({ port }) => port > 60_999),
    'from ports that no socket of the pod is given by the kernel',
  )
  t.same(upstreamAsked(), [
    'udp A example.org',
    'udp A nothing.shop.svc.cluster.local',
    'udp A many.example',
    'tcp A many.example',
  ])
})

t.test('a large headless Service is truncated to what the client takes, and whole over TCP', async (t) => {
  const addresses = Array.from({ length: 80 }, (_, i) => `10.200.0.${i + 1}`)
  await changed(() => {
    lab.addService({ name: 'crowd', namespace: 'shop', ports, headless: true })
    lab.apply({
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'crowd-1', namespace: 'shop', labels: { 'kubernetes.io/service-name': 'crowd' } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080 }],
      endpoints: addresses.map((address, i) => ({ addresses: [address], ...(i === 0 ? { hostname: 'first' } : {}) })),
    } as never)
  }, 'world applied')
  while ((await askFrom(client, 'first.crowd.shop.svc.cluster.local')).answers.length === 0);
  const small = await askFrom(client, 'crowd')
  t.same([small.truncated, small.answers.length], [true, 0])
  t.ok(small.bytes.length <= 512)
  t.equal((await askFrom(client, 'crowd', 'A', { edns: 4096 })).answers.length, 80)
  t.equal((await askFrom(client, 'crowd', 'A', { over: 'tcp' })).answers.length, 80)
})

t.test('a resolver’s own way: search list, fallback to TCP, then a request by name', async (t) => {
  const conf = join(lab.dir, 'resolv.conf')
  writeFileSync(conf, 'nameserver 10.96.250.250\nsearch shop.svc.cluster.local svc.cluster.local\noptions ndots:5\n')
  const asUser = (...command: string[]) =>
    client.exec('unshare', ['-m', 'sh', '-c', `mount --bind ${conf} /etc/resolv.conf && exec "$@"`, 'sh', ...command])
  for (const name of ['web', 'web.shop', 'web.shop.svc.cluster.local']) {
    const { code, stdout, stderr } = await asUser('curl', '-sS', '-m', '8', `http://${name}/`)
    t.equal(code, 0, stderr)
    t.equal((JSON.parse(stdout) as { name: string }).name, 'web', name)
  }
  const { stdout } = await asUser('getent', 'ahostsv4', 'many.example')
  t.equal(new Set(stdout.split('\n').flatMap((line) => /^192\S+/.exec(line) ?? [])).size, 60)
})

t.test('what makes no sense is answered or dropped, and the next query is answered', async (t) => {
  const of = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex')
  const rcodeOf = async (hex: string) => tell(await exchange(client, of(hex))).rcode
  t.equal(await rcodeOf('0001 0100 0000 0000 0000 0000'), 'FORMERR', 'no question')
  t.equal(await rcodeOf('0001 0100 0001 0000 0000 0000 3f61'), 'FORMERR', 'a name that does not end')
  t.equal(await rcodeOf('0001 0100 0001 0000 0000 0000 c00c 0001 0001'), 'FORMERR', 'a name that points to itself')
  t.equal(await rcodeOf('0001 2900 0000 0000 0000 0000'), 'NOTIMP', 'an update')
  await t.rejects(exchange(client, of('0001 8100 0001 0000 0000 0000'), { over: 'tcp' }), 'a reply is no query')
  t.same((await askFrom(client, 'web')).answers, [`A ${service.ipv4}`])
})

t.test('a name server that is silent costs bounded time, one that is wrong is not heard', async (t) => {
  upstreamAsked()
  const told = await Promise.all([
    askFrom(client, 'dead.example'),
    askFrom(client, 'dead.example', 'A', { over: 'tcp' }),
    askFrom(client, 'lie.example'),
    askFrom(client, 'lie2.example'),
  ])
  t.strictSame(
    told.map(({ rcode }) => rcode),
    Array(4).fill('SERVFAIL'),
  )
  const twice = ['tcp A dead.example', 'udp A dead.example', 'udp A lie.example', 'udp A lie2.example']
  t.same(upstreamAsked().sort(), twice.flatMap((asked) => [asked, asked]).sort())
})

t.test('queries that nobody answers are held up to a number, others of the pod go on meanwhile', async (t) => {
  const refused = async () =>
    Number(/_queries_total\{.*"refused".*\} (\d+)/.exec((await agent.cli('metrics')).stdout)?.[1])
  const held = Array.from({ length: 150 }, () => askFrom(client, 'dead.example'))
  t.match(await Promise.race(held), { rcode: 'SERVFAIL' }, 'one too many is told at once')
  t.equal((await askFrom(client, 'web')).rcode, 'NOERROR', 'what the mesh knows needs nobody')
  t.equal((await askFrom(web, 'example.org')).rcode, 'NOERROR', 'another pod is not concerned')
  t.equal(await refused(), 22)
  t.strictSame(new Set((await Promise.all(held)).map(({ rcode }) => rcode)), new Set(['SERVFAIL']))
  t.equal((await askFrom(client, 'example.org')).rcode, 'NOERROR')
  t.equal(await refused(), 22)
  upstreamAsked()
})

t.test('a connection carries many queries, answered as they are ready', async (t) => {
  const socket = await connectSocketIn(client.netnsPath, '10.96.250.250', 53)
  const names = ['dead.example', ...Array.from({ length: 40 }, (_, i) => (i % 2 === 0 ? 'web' : 'example.org'))]
  const queries = names.map((name, id) => codec.encode({ id, questions: [{ name, type: 'A' }] }))
  socket.write(Buffer.concat(queries.map(frameOf)))
  const ids: number[] = []
  for await (const reply of framesOf(socket)) {
    ids.push(reply.readUInt16BE(0))
    if (ids.length === names.length) break
  }
  socket.destroy()
  upstreamAsked()
  t.equal(ids.at(-1), 0, 'the one that waits holds up no other')
  t.equal(await rested, 'ECONNRESET', 'one without a query is closed')
  t.strictSame(
    ids.toSorted((a, b) => a - b),
    names.map((_, id) => id),
  )
})

t.test('a pod that opts out asks for itself, at once, and back again', async (t) => {
  const server = { server: lab.node.ipv4 }
  await changed(() => client.update({ annotations: { 'weir.dev/dns': 'disabled' } }), 'rules changed')
  t.equal((await askFrom(client, 'web.shop', 'A', server)).rcode, 'NXDOMAIN')
  t.same(upstreamAsked(), ['udp A web.shop'])
  t.equal((await client.curl(`http://${service.ipv4}/`)).status, 200, 'and is still in the mesh')
  await changed(() => client.update({ annotations: { 'weir.dev/exclude-outbound-ports': '53' } }), 'rules changed')
  for (const over of ['udp', 'tcp'] as const) {
    t.equal((await askFrom(client, 'web.shop', 'A', { ...server, over })).rcode, 'NXDOMAIN', `excluded port, ${over}`)
  }
  t.same(upstreamAsked(), ['udp A web.shop', 'tcp A web.shop'])
  await changed(() => client.update({ annotations: {} }), 'rules changed')
  t.same((await askFrom(client, 'web.shop', 'A', server)).answers, [`A ${service.ipv4}`])
})

t.test('flushed redirects are put back, and queries are counted', async (t) => {
  const from = agent.logs.length
  await client.exec('iptables', ['-t', 'nat', '-F', 'WEIR_OUTPUT'])
  await agent.waitFor(({ msg }) => /repaired/.test(String(msg)), { from })
  t.same((await askFrom(client, 'web.shop')).answers, [`A ${service.ipv4}`])
  const { stdout } = await agent.cli('metrics')
  const counted = Object.fromEntries(
    [...stdout.matchAll(/^weir_dns_queries_total\{.*outcome="(\w+)".*\} (\d+)$/gm)].map(([, k = '', v]) => [
      k,
      Number(v),
    ]),
  )
  t.match(counted, { malformed: 5, failed: 133, refused: 22 })
  t.ok(
    (counted['answered'] ?? 0) > 10 && (counted['forwarded'] ?? 0) > 3 && counted['empty'] === 1,
    JSON.stringify(counted),
  )
})

t.test(
  'another pod cannot answer beforehand: what waits on a socket from before it was connected is not heard',
  async (t) => {
    const query = codec.encode({
      id: 4242,
      type: 'query',
      flags: codec.RECURSION_DESIRED,
      questions: [{ name: 'example.org', type: 'A', class: 'IN' }],
    })
    t.same(tell(await exchange(client, query)).answers, ['A 192.0.2.7'])
    const reply = codec.encode({
      id: 4242,
      type: 'response',
      flags: codec.RECURSION_AVAILABLE,
      questions: [{ name: 'example.org', type: 'A', class: 'IN' }],
      answers: [{ type: 'A', name: 'example.org', ttl: 3600, data: '192.0.2.66' }],
    })
    // Above ip_local_port_range, where the sockets wait.
    const spray = `
    const socket = require('node:dgram').createSocket('udp4').on('error', () => {})
    const bytes = Buffer.from('${reply.toString('hex')}', 'hex')
    const send = (port) => new Promise((resolve) => socket.send(bytes, port, '${client.ipv4}', resolve))
    ;(async () => { for (let port = 61000; port < 65536; port++) await send(port); socket.close() })()`
    await web.exec(process.execPath, ['-e', spray])
    for (let i = 0; i < 3; i++) t.same(tell(await exchange(client, query)).answers, ['A 192.0.2.7'])
  },
)

t.test('a pod that leaves keeps nothing of it', async (t) => {
  const fresh = await lab.addPod({ name: 'fresh', namespace: 'shop', optedIn: false })
  const stateOf = ({ name, netnsPath: path, ipv4: v4 }: LabPod) => {
    const fd = openNetns(path)
    try {
      return kernelState({ name, path, fd, v4, v6: '' })
    } finally {
      closeFd(fd)
    }
  }
  t.not(stateOf(client), stateOf(fresh))
  await changed(() => client.update({ optedIn: false }), 'pod un-enrolled')
  t.equal(stateOf(client), stateOf(fresh))
  t.equal((await client.exec('ss', ['-Hlntu'])).stdout, '')
  t.equal((await askFrom(client, 'web.shop', 'A', { server: lab.node.ipv4 })).rcode, 'NXDOMAIN')
})
