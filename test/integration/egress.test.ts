/** What pods call outside the cluster: declared hosts go where they are declared to be, and with REGISTRY_ONLY nothing else passes. */
import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import net from 'node:net'
import { join } from 'node:path'
import nodeTls from 'node:tls'
import t from 'tap'
import { ANNOTATION } from '#contract'
import { NameServer } from '../support/dns-peers.ts'
import type { LogLine } from '../support/lab-agent.ts'
import { connectSocketIn, listenSocketIn } from '../support/pod-sockets.ts'
import { connectIn } from '../support/raw-socket.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const ONLY = { [ANNOTATION.outboundTrafficPolicy]: 'REGISTRY_ONLY' }
const free = await shop.pod('free')
const held = await shop.pod('held', { annotations: ONLY })
const leaving = await shop.pod('leaving', { annotations: ONLY })
const web = await shop.pod('web')
await shop.serve(web)
const service = shop.service('web')

/** Addresses that belong to nobody in the cluster, each a machine of its own. */
const [GOOD, OTHER, EVIL] = ['198.51.100.1', '198.51.100.2', '198.51.100.66'] as const
for (const address of [GOOD, OTHER, EVIL]) await lab.node.exec('ip', ['addr', 'add', `${address}/32`, 'dev', 'lo'])
const at = (name: string) => join(lab.dir, name)
const { NODE_OPTIONS: _, ...env } = process.env
const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at('key'), '-out', at('crt')]
execFileSync('openssl', ['req', '-x509', '-days', '1', ...key, '-subj', '/CN=outside'], { env, stdio: 'ignore' })

const answer: http.RequestListener = ({ socket, headers }, response) => {
  response.setHeader('connection', 'close')
  response.end(`${socket.localAddress?.replace('::ffff:', '')} ${headers.host}`)
}
const tls = { key: readFileSync(at('key')), cert: readFileSync(at('crt')) }
const servers: readonly [net.Server, number][] = [
  [http.createServer(answer), 80],
  [http.createServer(answer), 8080],
  [https.createServer(tls, answer), 443],
  [
    net.createServer((socket) => socket.on('error', () => {}).end(`${socket.localAddress?.replace('::ffff:', '')}`)),
    7000,
  ],
]
for (const [server, port] of servers) {
  server.listen({ fd: listenSocketIn(lab.node.netnsPath, port) })
  t.teardown(() => server.close())
}

let goodAddress: string = GOOD
const names = new NameServer(lab.node.netnsPath, lab.node.ipv4, ({ name, type }) => {
  const known: Record<string, string> = {
    'api.example.com': goodAddress,
    'www.wild.example': OTHER,
    'evil.example': EVIL,
    'inside.example': '127.0.0.1',
    'sneak.example': web.ipv4,
  }
  const address = known[name]
  return type === 'A' && address !== undefined ? [{ type, name, ttl: 1, data: address }] : 'NXDOMAIN'
})
t.teardown(() => names[Symbol.dispose]())

const entry = (name: string, spec: string, namespace = 'shop'): string => `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: ${name}, namespace: ${namespace} }
spec: ${spec}`
const PORTS = 'ports: [{ number: 80, name: http, protocol: HTTP }, { number: 443, name: tls, protocol: TLS }]'
const API = entry('api', `{ hosts: [api.example.com], resolution: DNS, ${PORTS} }`)
const STATIC = entry(
  'machines',
  `{ hosts: [machines.example], resolution: STATIC, location: MESH_INTERNAL, endpoints: [{ address: ${GOOD} }, { address: ${OTHER}, ports: { http: 8080 } }], ports: [{ number: 80, name: http, protocol: HTTP, targetPort: 8080 }, { number: 7000, name: raw, protocol: TCP }] }`,
)
const WILD = entry('wild', `{ hosts: ["*.wild.example"], ${PORTS} }`)
const BYTES = entry(
  'bytes',
  `{ hosts: [bytes.example], addresses: [${OTHER}/32], ports: [{ number: 7000, name: raw, protocol: TCP }] }`,
)
lab.apply([API, STATIC, WILD, BYTES].join('\n---'), 'entries.yaml')
await shop.start(['--dns-upstream', lab.node.ipv4])

/** Body, or `000` where there is no answer, after the status. */
async function curl(from: typeof held, url: string, more: readonly string[] = []): Promise<string> {
  const { stdout } = await from.exec('curl', ['-sk', '-m', '6', '-w', ' %{http_code}', ...more, url])
  return stdout
}
/** As if the name had that address: what a resolver of the pod's own might say. */
const pretend = (name: string, port: number, address: string): string[] => ['--resolve', `${name}:${port}:${address}`]
const logged = (from: number, wanted: (line: LogLine) => boolean): Promise<LogLine> =>
  shop.agent.waitFor(wanted, { from })

async function bytes(from: typeof held, address: string, port = 7000): Promise<string> {
  using socket = await connectIn(from.netnsPath, address, port)
  // A silent client of a server that speaks first, and then one that speaks.
  await socket.send('\0').catch(() => {})
  return String(await socket.rest())
}

t.test('a declared host is answered with an address of its own, and reached where the name server says', async (t) => {
  const { stdout } = await held.exec('getent', ['ahostsv4', 'api.example.com'])
  t.match(stdout, /^240\.240\.\d+\.\d+ /, 'nobody else has it')
  t.equal(await curl(held, 'http://api.example.com/'), `${GOOD} api.example.com 200`)
  t.equal(await curl(held, 'https://api.example.com/'), `${GOOD} api.example.com 200`)
  t.equal(await curl(free, 'http://api.example.com/'), `${GOOD} api.example.com 200`, 'of pods that may call all, too')
  const from = shop.agent.logs.length
  await curl(held, 'http://api.example.com/logged')
  t.match(await logged(from, ({ path }) => path === '/logged'), { destinationService: 'api.example.com', flags: '-' })
})

t.test('what the name server says is kept for as long as it says, and asked again then', async (t) => {
  goodAddress = OTHER
  const deadline = Date.now() + 8000
  let seen = ''
  while (!seen.startsWith(OTHER) && Date.now() < deadline) seen = await curl(held, 'http://api.example.com/')
  t.equal(seen, `${OTHER} api.example.com 200`)
  goodAddress = GOOD
  while (!seen.startsWith(GOOD) && Date.now() < deadline) seen = await curl(held, 'http://api.example.com/')
  t.equal(seen, `${GOOD} api.example.com 200`)
})

t.test('machines outside are balanced, each with its own port', async (t) => {
  const seen = new Set<string>()
  for (let i = 0; i < 40 && seen.size < 2; i++) seen.add(await curl(held, 'http://machines.example/'))
  t.same([...seen].sort(), [`${GOOD} machines.example 200`, `${OTHER} machines.example 200`])
  const { stdout } = await held.exec('getent', ['ahostsv4', 'machines.example'])
  t.match(await bytes(held, stdout.split(' ')[0] ?? ''), /^198\.51\.100\.[12]$/, 'also of bytes')
})

t.test('by default everything else passes as it is', async (t) => {
  t.equal(await curl(free, 'http://evil.example/'), `${EVIL} evil.example 200`)
  t.equal(await curl(free, 'https://evil.example/'), `${EVIL} evil.example 200`)
  t.equal(await bytes(free, EVIL), EVIL)
})

t.test('REGISTRY_ONLY: HTTP to what is not declared is answered 502 with the host', async (t) => {
  const from = shop.agent.logs.length
  t.equal(await curl(held, 'http://evil.example/x'), 'weir: host evil.example is not declared 502')
  const line = await logged(from, ({ path }) => path === '/x')
  t.match(line, { flags: 'BH', status: 502, level: 40, reason: /REGISTRY_ONLY.*add a ServiceEntry/ })
  t.equal(await curl(held, `http://${EVIL}/`), `weir: host ${EVIL} is not declared 502`, 'nor by address')
})

t.test('REGISTRY_ONLY: requests of HTTP/2 are held to the same', async (t) => {
  const h2 = ['--http2-prior-knowledge']
  t.equal(await curl(held, 'http://evil.example/', h2), 'weir: host evil.example is not declared 502')
  t.match(await curl(held, 'http://api.example.com/', h2), new RegExp(`^${GOOD} .*200$`))
  const lie = pretend('api.example.com', 80, EVIL)
  t.match(await curl(held, 'http://api.example.com/', [...h2, ...lie]), new RegExp(`^${GOOD} .*200$`))
})

t.test('REGISTRY_ONLY: TLS and TCP to what is not declared are reset, and the log says why', async (t) => {
  const from = shop.agent.logs.length
  t.equal(await curl(held, 'https://evil.example/'), ' 000')
  const line = await logged(from, ({ sni }) => sni === 'evil.example')
  t.match(line, { flags: 'BH', reason: /^host evil.example is not declared/, level: 40 })
  t.equal(await curl(held, `https://${EVIL}/`), ' 000', 'without a name')
  t.equal(await bytes(held, EVIL).catch(() => ''), '')
  await logged(from, ({ reason }) => /^address 198.51.100.66:7000 is not declared/.test(String(reason)))
})

t.test('REGISTRY_ONLY: a declared name sent to another address goes to the declared host', async (t) => {
  t.equal(
    await curl(held, 'http://api.example.com/', pretend('api.example.com', 80, EVIL)),
    `${GOOD} api.example.com 200`,
  )
  t.equal(
    await curl(held, 'https://api.example.com/', pretend('api.example.com', 443, EVIL)),
    `${GOOD} api.example.com 200`,
  )
  for (const host of ['API.Example.com', 'api.example.com.', 'api.example.com:80']) {
    t.equal(await curl(held, `http://${EVIL}/`, ['-H', `Host: ${host}`]), `${GOOD} ${host} 200`, host)
  }
  const absolute = ['--request-target', 'http://api.example.com/', '-H', 'Host: evil.example']
  t.match(await curl(held, `http://${EVIL}/`, absolute), new RegExp(`^${GOOD} .* 200$`), 'absolute form')
  const lying = ['--request-target', 'http://evil.example/', '-H', 'Host: api.example.com']
  t.notMatch(await curl(held, `http://${EVIL}/`, lying), EVIL, 'its host, not the header’s, counts')
  t.notMatch(await curl(held, 'http://api.example.com/', ['-H', 'Host: evil.example']), EVIL, 'to a declared address')
})

t.test('REGISTRY_ONLY: a wildcard allows the names below it, wherever the client says they are', async (t) => {
  t.equal(await curl(held, 'http://www.wild.example/'), `${OTHER} www.wild.example 200`)
  t.equal(await curl(held, 'https://www.wild.example/'), `${OTHER} www.wild.example 200`)
  const lie = pretend('www.wild.example', 443, EVIL)
  t.equal(await curl(held, 'https://www.wild.example/', lie), `${OTHER} www.wild.example 200`)
  t.equal(
    await curl(held, 'http://x.wild.example/', pretend('x.wild.example', 80, EVIL)),
    'weir: could not connect to the upstream 503',
  )
  t.equal(
    await curl(held, 'http://wild.example/', pretend('wild.example', 80, EVIL)),
    'weir: host wild.example is not declared 502',
  )
})

t.test('REGISTRY_ONLY: an address declared for TCP takes bytes at that port and no other', async (t) => {
  t.equal(await bytes(held, OTHER), OTHER)
  t.match(await curl(held, `http://${OTHER}/`), /is not declared 502$/)
})

t.test('REGISTRY_ONLY: Services and pods of the cluster are declared', async (t) => {
  t.equal((await shop.ask(held, service.ipv4, 80)).status, 200)
  t.equal((await shop.ask(held, web.ipv4, 8080)).status, 200)
})

t.test('explain tells where a call outside goes, or that it is refused', async (t) => {
  const declared = await shop.explain(held, 'http://api.example.com/')
  t.match(declared.backends, [{ service: 'shop/api.example.com:80', outcome: 'forward', percent: 100 }])
  const tls = await shop.explain(held, `https://${EVIL}`, { sni: 'www.wild.example' })
  t.match(tls.steps.join(' '), /\*\.wild\.example is declared: it goes to www\.wild\.example/)
  const refused = await shop.explain(held, 'http://evil.example/')
  t.match(refused.backends, [{ outcome: 'fail', detail: /^502: host evil.example is not declared/ }])
  const passing = await shop.explain(free, 'http://evil.example/')
  t.match(passing, { backends: [], steps: /goes there as it is/ })
})

t.test('a name server cannot send a pod to itself', async (t) => {
  await shop.change(() => lab.apply(entry('in', `{ hosts: [inside.example], resolution: DNS, ${PORTS} }`), 'in.yaml'))
  t.equal(await curl(held, 'http://inside.example/'), 'weir: could not connect to the upstream 503')
})

t.test('a declared host that is a mesh pod is not reached without the caller’s identity', async (t) => {
  const ports = 'ports: [{ number: 8080, name: http, protocol: HTTP }]'
  const deny = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: not-held, namespace: shop }
spec:
  selector: { matchLabels: { app: web } }
  action: DENY
  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/held] } }] }]`
  const byName = entry('sneak', `{ hosts: [sneak.example], resolution: DNS, ${ports} }`)
  await shop.change(() => lab.apply([byName, deny].join('\n---'), 'sneak.yaml'))
  t.match(await curl(held, `http://${web.ipv4}:8080/`), /denied by policy 403$/)
  const from = shop.agent.logs.length
  t.equal(await curl(held, 'http://sneak.example:8080/'), 'weir: could not connect to the upstream 503')
  await logged(from, ({ reason }) => /sneak\.example/.test(String(reason)))
  const byAddress = `{ hosts: [vip.example], resolution: STATIC, endpoints: [{ address: ${service.ipv4} }], ${PORTS} }`
  const logs = shop.agent.logs.length
  await shop.change(() => lab.apply(entry('sneak', byAddress), 'sneak.yaml'))
  const { problem } = await logged(logs, ({ msg }) => msg === 'problem')
  t.match(problem, /spec.endpoints\[0\].address: .* is the address of a Service/)
  t.equal(await curl(held, 'http://vip.example/'), 'weir: no healthy endpoint 503')
  await shop.change(() => lab.remove('sneak.yaml'))
})

t.test('an entry cannot take the address of a pod', async (t) => {
  const spec = `{ hosts: [thief.example], addresses: [${web.ipv4}], resolution: STATIC, endpoints: [{ address: ${EVIL} }], ports: [{ number: 8080, name: http, protocol: HTTP, targetPort: 80 }] }`
  await shop.change(() => lab.apply(entry('thief', spec, 'away'), 'thief.yaml'))
  t.equal((await shop.ask(held, web.ipv4, 8080)).by, 'web')
  await shop.change(() => lab.remove('thief.yaml'))
})

t.test('an entry of another namespace counts where it is exported to', async (t) => {
  const spec = (exportTo: string) => `{ hosts: [evil.example], exportTo: ${exportTo}, resolution: DNS, ${PORTS} }`
  await shop.change(() => lab.apply(entry('e', spec('["."]'), 'away'), 'e.yaml'))
  t.equal(await curl(held, 'http://evil.example/'), 'weir: host evil.example is not declared 502')
  await shop.change(() => lab.apply(entry('e', spec('[shop]'), 'away'), 'e.yaml'))
  t.equal(await curl(held, 'http://evil.example/'), `${EVIL} evil.example 200`)
  await shop.change(() => lab.remove('e.yaml'))
})

t.test('REGISTRY_ONLY: what a pod has open as it goes is held to it to the end', async (t) => {
  using socket = await connectIn(leaving.netnsPath, EVIL, 80)
  await socket.send('GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n')
  t.match((await socket.message()).start, / 502 /)
  await shop.change(() => lab.remove('pod-shop-leaving.yaml'))
  await socket.send('GET /last HTTP/1.1\r\nhost: evil.example\r\n\r\n')
  const last = await socket.message()
  t.match(last.start, / 502 /)
  t.match(String(last.body), /is not declared/)
})

t.test('open connections are cut when their host is not declared any more', async (t) => {
  await shop.change(() => lab.remove('in.yaml'))
  const socket = await connectSocketIn(held.netnsPath, OTHER, 443)
  const secure = nodeTls.connect({ socket, servername: 'www.wild.example', rejectUnauthorized: false })
  await once(secure, 'secureConnect')
  const ended = new Promise((resolve) => secure.once('close', resolve).on('error', () => {}))
  const from = shop.agent.logs.length
  await shop.change(() => lab.apply([API, STATIC, BYTES].join('\n---'), 'entries.yaml'))
  await ended
  const line = await logged(from, ({ sni }) => sni === 'www.wild.example')
  t.match(line, { flags: 'RBAC', reason: /cut by a policy change: host www.wild.example is not declared/ })
})

t.test('a ServiceEntry with what the mesh does not do is refused by name, and the last good one stays', async (t) => {
  const from = shop.agent.logs.length
  lab.apply(API.replace('resolution: DNS', 'resolution: DNS, workloadSelector: {}'), 'entries.yaml')
  const line = await logged(from, ({ msg }) => msg === 'problem')
  t.match(line['problem'], /spec.workloadSelector: is not supported/)
  t.equal(await curl(held, 'http://api.example.com/'), `${GOOD} api.example.com 200`)
})
