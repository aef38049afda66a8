/** Two nodes: what goes between mesh pods goes through mutual TLS, or not at all. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import https from 'node:https'
import { join } from 'node:path'
import t from 'tap'
import { CLIENT_HELLOS } from '../support/client-hellos.ts'
import { openLab } from '../support/lab.ts'
import type { LogLine } from '../support/lab-agent.ts'
import { listenSocketIn } from '../support/pod-sockets.ts'
import { connectIn, listenIn } from '../support/raw-socket.ts'

const lab = await openLab({ t, nodes: 2 })
t.teardown(() => lab.close())
const [here, there] = lab.nodes
if (here === undefined || there === undefined) throw new Error('Two nodes were asked for')
const spec = (name: string) => ({ name, namespace: 'shop', serviceAccount: name, labels: { app: name } })
const client = await here.addPod(spec('client'))
const other = await here.addPod(spec('other'))
const web = await there.addPod(spec('web'))
const plain = await there.addPod({ ...spec('plain'), optedIn: false })
const ports = [
  { name: 'http', port: 80, targetPort: 8080 },
  { name: 'bytes', port: 7000 },
]
const service = lab.addService({ name: 'web', namespace: 'shop', selector: { app: 'web' }, ports })
const args = { proxies: 1, extraArgs: ['--ca-dir', join(lab.dir, 'ca'), '--connect-timeout-ms', '3000'] }
const near = await here.startAgent(args)
const far = await there.startAgent(args)
await web.echoServer()
await plain.echoServer()

const url = (address: string, path = '/', port = 80) =>
  `http://${address.includes(':') ? `[${address}]` : address}:${port}${path}`
const request = (path: string) => (line: LogLine) => line['path'] === path

/** Waits until both nodes go by the manifests as they are after `edit`. */
async function change(edit: () => unknown): Promise<void> {
  const [fromNear, fromFar] = [near.logs.length, far.logs.length]
  await edit()
  await Promise.all([
    near.waitFor('world applied', { from: fromNear }),
    far.waitFor('world applied', { from: fromFar }),
  ])
}

t.test('a request crosses nodes in a tunnel: both ends proven, the client’s own address, no plain text', async (t) => {
  const capture = await lab.capture(here)
  const secret = `/${'plaintext'.repeat(20)}`
  for (const [address, peer] of [
    [service.ipv4, client.ipv4],
    [service.ipv6, client.ipv6],
  ] as const) {
    const seen = await client.echo(url(address ?? '', secret))
    t.match(seen, { name: 'web', remoteAddress: peer })
    t.equal(
      seen.headers['x-forwarded-client-cert'],
      'By=spiffe://cluster.local/ns/shop/sa/web;URI=spiffe://cluster.local/ns/shop/sa/client',
    )
  }
  const { bytes, flows } = await capture.stop()
  t.ok(bytes.length > 1000, 'something was captured')
  t.notOk(bytes.includes('plaintext'))
  t.ok(flows.every(({ sourcePort, destinationPort }) => [sourcePort, destinationPort].includes(15008)))
  const [source, destination] = [await near.waitFor(request(secret)), await far.waitFor(request(secret))]
  t.match(source, { reporter: 'source', source: 'shop/client', destination: 'shop/web', status: 200 })
  t.match(destination, {
    reporter: 'destination',
    direction: 'inbound',
    source: 'shop/client',
    sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/client',
    destination: 'shop/web',
  })
  t.equal(source['traceId'], destination['traceId'])
  const { stdout } = await far.cli('metrics')
  t.match(stdout, /^istio_requests_total\{reporter="destination".*connection_security_policy="mutual_tls".*\} /m)
})

t.test('bytes of any protocol cross, half-closed ends and servers that speak first too', async (t) => {
  await using server = await listenIn(web.netnsPath, 7000, async (connection) => {
    await connection.send('220 ready\r\n')
    const all = await connection.rest()
    await connection.send(`got ${all.length}`)
    connection.end()
  })
  using socket = await connectIn(client.netnsPath, service.ipv4, 7000)
  t.equal(await socket.until('\n'), '220 ready\r\n')
  await socket.send('x'.repeat(3_000_000))
  socket.end()
  t.equal(String(await socket.rest()), 'got 3000000')
  t.same(server.failures, [])
})

t.test('a thousand first requests at once open one tunnel', async (t) => {
  const asked = Array.from({ length: 1000 }, async () => {
    const socket = await connectIn(other.netnsPath, service.ipv4, 80)
    await socket.send('GET /thousand HTTP/1.1\r\nHost: w\r\nConnection: close\r\n\r\n')
    const { start } = await socket.message()
    socket[Symbol.dispose]()
    return start
  })
  for (const start of await Promise.all(asked)) if (!start.includes('200')) t.fail(start)
  const { stdout } = await other.exec('ss', ['-Htn', 'state', 'established', 'dport', '=', ':15008'])
  t.equal(stdout.trim().split('\n').length, 1)
})

t.test('policy at the destination judges the identity that the tunnel proves', async (t) => {
  const policy = (spec: string) => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: web, namespace: shop }
spec: { selector: { matchLabels: { app: web } }, ${spec} }
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: default, namespace: shop }
spec: { mtls: { mode: STRICT } }`
  const allow = 'action: ALLOW, rules: [{ from: [{ source: { serviceAccounts: [client] } }] }]'
  await change(() => lab.apply(policy(allow), 'policy.yaml'))
  const status = async (from: typeof client, path: string) => (await from.curl(url(service.ipv4, path))).status
  t.same([await status(client, '/may'), await status(other, '/not')], [200, 403])
  const [there, here] = [await far.waitFor(request('/not')), await near.waitFor(request('/not'))]
  t.match(there, { policy: 'shop/web', flags: 'RBAC', source: 'shop/other' })
  t.match(
    here,
    { flags: 'RBAC', status: 403, reason: /refused by the mesh at the destination/ },
    'the caller’s log too',
  )
  t.equal(there['traceId'], here['traceId'])
  const { headers } = await other.curl(url(service.ipv4, '/not'))
  t.notMatch(JSON.stringify(headers), /x-weir/)
  t.equal((await plain.curl(url(web.ipv4, '/', 8080))).status, 403, 'STRICT: not without an identity')
  await change(() => lab.apply('# nothing', 'policy.yaml'))
})

t.test('a pod outside the mesh gets plain traffic', async (t) => {
  const seen = await client.echo(url(plain.ipv4, '/', 8080))
  t.match(seen, { name: 'plain', remoteAddress: client.ipv4 })
})

t.test('where no tunnel can be had there is an error, never plain text', async (t) => {
  const stranger = await there.addPod(spec('stranger'))
  await stranger.echoServer()
  await far.waitFor((line) => line['msg'] === 'pod enrolled' && line['pod'] === 'shop/stranger')
  await lab.cut(here, there)
  const capture = await lab.capture(here)
  const { status, body } = await client.curl(url(stranger.ipv4, '/secret', 8080))
  t.same([status, body], [503, 'weir: could not connect to the upstream'])
  const { bytes } = await capture.stop()
  t.notOk(bytes.includes('secret'))
  t.match(await near.waitFor(request('/secret')), { flags: 'UF', status: 503 })
  await lab.heal(here, there)
  t.equal((await client.curl(url(stranger.ipv4, '/again', 8080))).status, 200)
})

t.test('the server name of an application’s own TLS is authorised at the other end of the tunnel', async (t) => {
  await using server = await listenIn(web.netnsPath, 7000, async (connection) => {
    t.same(await connection.bytes(hello.length), hello, 'as the client sent it')
    await connection.send('\x16')
  })
  const hello = Buffer.from(CLIENT_HELLOS['curl'] ?? '', 'base64')
  const policy = (name: string) => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: by-name, namespace: shop }
spec:
  selector: { matchLabels: { app: web } }
  rules: [{ when: [{ key: connection.sni, values: [${name}] }] }]`
  const ask = async (): Promise<string> => {
    using socket = await connectIn(client.netnsPath, service.ipv4, 7000)
    await socket.send(hello)
    return await socket.bytes(1).then(String, () => 'refused')
  }
  await change(() => lab.apply(policy('shop.example.com'), 'by-name.yaml'))
  t.equal(await ask(), '\x16')
  await change(() => lab.apply(policy('other.example.com'), 'by-name.yaml'))
  const from = far.logs.length
  t.equal(await ask(), 'refused')
  const line = await far.waitFor(({ sni }) => sni === 'shop.example.com', { from })
  t.match(line, { flags: 'RBAC', policy: 'shop/by-name', sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/client' })
  await change(() => lab.remove('by-name.yaml'))
  t.same(server.failures, [])
})

t.test('TLS to a backend of another node goes inside the tunnel', async (t) => {
  const at = (file: string) => join(lab.dir, file)
  const { NODE_OPTIONS: _, ...env } = process.env
  const key = [
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    at('key'),
    '-out',
    at('crt'),
  ]
  const names = ['-subj', '/CN=web', '-addext', 'subjectAltName=DNS:web.example']
  execFileSync('openssl', ['req', '-x509', '-days', '1', ...key, ...names], { env, stdio: 'ignore' })
  const secure = { name: 'web-tls', namespace: 'shop', selector: { app: 'web' } }
  const { ipv4 } = lab.addService({ ...secure, ports: [{ name: 'http', port: 80, targetPort: 8443 }] })
  const server = https.createServer({ key: readFileSync(at('key')), cert: readFileSync(at('crt')) }, (_, response) => {
    response.end('over TLS')
  })
  server.listen({ fd: listenSocketIn(web.netnsPath, 8443) })
  t.teardown(() => server.close().closeAllConnections())
  const roots = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'roots', namespace: 'shop' } }
  const policy = `
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: { name: web-tls, namespace: shop }
spec:
  targetRefs: [{ group: "", kind: Service, name: web-tls }]
  validation: { hostname: web.example, caCertificateRefs: [{ group: "", kind: ConfigMap, name: roots }] }`
  const map = JSON.stringify({ ...roots, data: { 'ca.crt': readFileSync(at('crt'), 'utf8') } })
  await change(() => lab.apply(`${map}\n---${policy}`, 'backend-tls.yaml'))
  const { status, body } = await client.curl(url(ipv4, '/secured'))
  t.same([status, body], [200, 'over TLS'])
  t.match(await near.waitFor(request('/secured')), { flags: '-', destination: 'shop/web', status: 200 })
})
