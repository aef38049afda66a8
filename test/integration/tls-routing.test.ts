/** TLS of applications: untouched, routed and authorised by the name that it asks for; TCP by weights. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { CLIENT_HELLOS } from '../support/client-hellos.ts'
import type { LogLine } from '../support/lab-agent.ts'
import type { LabPod } from '../support/lab-node.ts'
import { connectIn, listenIn } from '../support/raw-socket.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const other = await shop.pod('other')
const blue = await shop.pod('blue')
const green = await shop.pod('green')
const ports = [
  { name: 'https', port: 443, targetPort: 8443, appProtocol: 'https' },
  { name: 'any', port: 9443, targetPort: 8443 },
  { name: 'bytes', port: 7000, appProtocol: 'tcp' },
  { name: 'maybe', port: 7001, targetPort: 7000 },
]
const service = shop.service('web', { selector: { app: 'nobody' }, ports })
for (const name of ['blue', 'green']) shop.service(name, { ports })

/** An `openssl s_server` that answers with its own name. */
async function serveTls(pod: LabPod): Promise<void> {
  const at = (file: string) => join(shop.lab.dir, `${pod.name}.${file}`)
  const subject = ['-subj', `/CN=${pod.name}`, '-addext', `subjectAltName=DNS:*.example.com,DNS:${pod.name}.example`]
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
  execFileSync('openssl', ['req', '-x509', '-days', '1', ...key, ...subject], { env, stdio: 'ignore' })
  const server = pod.spawn('openssl', ['s_server', '-accept', '8443', '-key', at('key'), '-cert', at('crt'), '-www'])
  await server.waitForLine(/ACCEPT/)
}
const bytes = await Promise.all(
  [blue, green].map(async (pod) => {
    await serveTls(pod)
    return await listenIn(pod.netnsPath, 7000, async (connection) => {
      await connection.bytes(1)
      await connection.send(pod.name)
      connection.end()
    })
  }),
)
t.teardown(() => Promise.all(bytes.map((server) => server[Symbol.asyncDispose]())))
await shop.start()

let inUse = ''
/** As `shop.apply`, which waits for a change: there is none where the objects are those in use. */
async function use(...documents: readonly string[]): Promise<void> {
  const text = documents.join('---')
  if (text !== inUse) await shop.apply(...documents)
  inUse = text
}

interface Route {
  readonly name?: string
  readonly hostnames?: string
  readonly backends: string
  readonly port?: number
}
const route = (kind: 'TLSRoute' | 'TCPRoute', { name = 'r', hostnames, backends, port }: Route): string => `
apiVersion: gateway.networking.k8s.io/v1
kind: ${kind}
metadata: { name: ${name}, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web${port === undefined ? '' : `, port: ${port}`} }]
  ${hostnames === undefined ? '' : `hostnames: ${hostnames}`}
  rules: [{ backendRefs: ${backends} }]`
const policy = (action: string, when: string, app = 'blue'): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: by-name, namespace: shop }
spec: { selector: { matchLabels: { app: ${app} } }, action: ${action}, rules: [{ when: [${when}] }] }`
const toBlue = '[{ name: blue, port: 443 }]'
const toGreen = '[{ name: green, port: 443 }]'
const BY_NAME = [
  route('TLSRoute', { name: 'all', hostnames: '["*.example.com"]', backends: toBlue }),
  route('TLSRoute', { name: 'one', hostnames: '[www.example.com]', backends: toGreen }),
]

/** Whose certificate curl is shown; or how it failed. */
async function curl(name: string, { port = 443, address = service.ipv4, from = client, more = [] as string[] } = {}) {
  const to = `${name}:${port}:${address}`
  const { stderr } = await from.exec('curl', ['-skv', '-m', '8', '--resolve', to, ...more, `https://${name}:${port}/`])
  return /subject: CN=(\w+)/.exec(stderr)?.[1] ?? 'refused'
}

function connectionLine(from: number, wanted: (line: LogLine) => boolean): Promise<LogLine> {
  return shop.agent.waitFor((line) => line['msg'] === 'connection' && wanted(line), { from })
}

t.test('TLS goes where its server name leads: exact before wildcard, on ports declared and not', async (t) => {
  await use(...BY_NAME)
  for (const port of [443, 9443]) {
    t.equal(await curl('www.example.com', { port }), 'green')
    t.equal(await curl('shop.example.com', { port }), 'blue')
    t.equal(await curl('a.b.example.com', { port }), 'blue')
  }
  t.equal(await curl('www.example.com', { address: service.ipv6 ?? '' }), 'green')
  const { stdout } = await client.exec(
    'openssl',
    ['s_client', '-connect', `${service.ipv4}:443`, '-servername', 'WWW.Example.com'],
    { input: 'GET / HTTP/1.0\r\n\r\n' },
  )
  t.match(stdout, /subject=CN = green/, 'of openssl too, in any spelling')
  t.match(stdout, /Protocol {2}: TLSv1.3|TLSv1.3/, 'and its session is with the server itself')
})

t.test('what no TLSRoute matches is reset, with flag NR and the name in the log', async (t) => {
  await use(...BY_NAME)
  const from = shop.agent.logs.length
  t.equal(await curl('www.example.org'), 'refused')
  const line = await connectionLine(from, ({ sni }) => sni === 'www.example.org')
  t.match(line, { flags: 'NR', reason: /no hostname is www.example.org/, level: 40 })
  const { code, stdout } = await client.exec('openssl', [
    's_client',
    '-connect',
    `${service.ipv4}:443`,
    '-noservername',
  ])
  t.not(code, 0)
  t.notMatch(stdout, /subject=/)
  await connectionLine(from, ({ reason }) => /names no server/.test(String(reason)))
})

t.test('the log names server name, route and rule', async (t) => {
  await use(...BY_NAME)
  const from = shop.agent.logs.length
  await curl('www.example.com')
  const line = await connectionLine(from, ({ sni }) => sni === 'www.example.com')
  t.match(line, { route: 'shop/one', rule: '0', flags: '-', destination: 'shop/green' })
  t.equal(line['destinationService'], 'green.shop.svc.cluster.local')
})

t.test('a hello in single bytes is routed as one in a packet', async (t) => {
  await use(...BY_NAME)
  const hello = Buffer.from(CLIENT_HELLOS['curl'] ?? '', 'base64')
  for (const size of [1, 100, hello.length]) {
    const from = shop.agent.logs.length
    using socket = await connectIn(client.netnsPath, service.ipv4, 443)
    for (let at = 0; at < hello.length; at += size) {
      await socket.send(hello.subarray(at, at + size))
      if (size > 1) await delay(1)
    }
    t.equal((await socket.bytes(1))[0], 22, 'a ServerHello')
    socket.reset()
    t.match(await connectionLine(from, ({ sni }) => sni === 'shop.example.com'), { destination: 'shop/blue' })
  }
})

t.test('a policy for the server name holds on the node and is told by explain', async (t) => {
  const key = '{ key: connection.sni, values: [shop.example.com] }'
  await use(...BY_NAME, policy('ALLOW', key))
  t.equal(await curl('shop.example.com'), 'blue')
  t.equal(await curl('other.example.com'), 'refused')
  const from = shop.agent.logs.length
  t.equal(await curl('other.example.com', { address: blue.ipv4, port: 8443 }), 'refused', 'to the pod itself too')
  t.match(await connectionLine(from, ({ sni }) => sni === 'other.example.com'), {
    flags: 'RBAC',
    policy: 'shop/by-name',
  })
  t.equal(await curl('shop.example.com', { address: blue.ipv4, port: 8443 }), 'blue')
  const { code } = await client.exec('openssl', ['s_client', '-connect', `${blue.ipv4}:8443`, '-noservername'])
  t.not(code, 0, 'nor without a name')
  await use(...BY_NAME, policy('DENY', key))
  t.equal(await curl('shop.example.com'), 'refused')
  t.equal(await curl('other.example.com'), 'blue')
  await use(...BY_NAME, policy('DENY', '{ key: connection.sni, notValues: ["*.example.com"] }'))
  t.equal(await curl('shop.example.com'), 'blue')
  t.equal(await curl('blue.example', { address: blue.ipv4, port: 8443 }), 'refused')

  const explained = await shop.explain(client, 'https://web', { sni: 'shop.example.com' })
  t.match(explained, { route: 'shop/all', backends: [{ service: 'shop/blue:443', percent: 100, outcome: 'forward' }] })
  const none = await shop.explain(client, 'https://web')
  t.match(none.backends, [{ outcome: 'fail', detail: /no hostname is web/ }])
})

t.test('a hello that nobody can be sure of is neither allowed nor let pass a DENY', async (t) => {
  const hello = Buffer.from(CLIENT_HELLOS['openssl s_client without a name'] ?? '', 'base64')
  await use(policy('DENY', '{ key: connection.sni, values: [evil.example] }'))
  for (const [what, first] of [
    ['an alert first', Buffer.concat([Buffer.from([21, 3, 1, 0, 2, 1, 0]), hello])],
    ['half a hello, then the end', hello.subarray(0, 60)],
  ] as const) {
    using socket = await connectIn(client.netnsPath, blue.ipv4, 8443)
    await socket.send(first)
    socket.end()
    t.not(await socket.ended(), 'open', what)
    t.equal(String(socket.peek()), '', `${what}: nothing came back`)
  }
  await use()
  t.equal(await curl('www.example.com', { address: blue.ipv4, port: 8443 }), 'blue')
})

t.test('a TCPRoute shares connections by weight, of ports declared tcp and of others', async (t) => {
  const backends = '[{ name: blue, port: 7000, weight: 3 }, { name: green, port: 7000 }]'
  await use(route('TCPRoute', { backends }))
  for (const port of [7000, 7001]) {
    const seen = { blue: 0, green: 0 }
    await Promise.all(
      Array.from({ length: 200 }, async () => {
        using socket = await connectIn(client.netnsPath, service.ipv4, port)
        await socket.send('\0')
        const name = String(await socket.rest())
        if (name === 'blue' || name === 'green') seen[name]++
      }),
    )
    t.equal(seen.blue + seen.green, 200)
    // Five standard deviations of a fair draw (6.1) around 50.
    t.ok(seen.green > 19 && seen.green < 81, `${port}: ${seen.green} of 200 to green`)
  }
  const explained = await shop.explain(client, 'tcp://web:7000')
  t.match(explained.backends, [
    { service: 'shop/blue:7000', percent: 75 },
    { service: 'shop/green:7000', percent: 25 },
  ])
})

t.test('the share of a backend that is not there is reset; policy judges where a route leads', async (t) => {
  await use(route('TCPRoute', { backends: '[{ name: none, port: 7000 }]' }))
  const ask = async (from = client): Promise<string> => {
    using socket = await connectIn(from.netnsPath, service.ipv4, 7000)
    await socket.send('\0').catch(() => {})
    return String(await socket.rest().catch(() => ''))
  }
  const from = shop.agent.logs.length
  t.equal(await ask(), '')
  const line = await connectionLine(from, ({ flags }) => flags === 'NR')
  t.match(line, { route: 'shop/r', reason: 'backend Service shop/none does not exist' })
  const allowClient = policy('ALLOW', '{ key: source.serviceAccount, values: [client] }')
  await use(route('TCPRoute', { backends: '[{ name: blue, port: 7000 }]' }), allowClient)
  t.equal(await ask(), 'blue')
  t.equal(await ask(other), '')
})

t.test('HTTP goes by HTTPRoutes where there are some, and by a TCPRoute as bytes where there are none', async (t) => {
  const tcp = route('TCPRoute', { backends: '[{ name: green, port: 7000 }]' })
  const http = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: h, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules: [{ filters: [{ type: RequestRedirect, requestRedirect: { statusCode: 301 } }] }]`
  const ask = async (): Promise<string> => {
    using socket = await connectIn(client.netnsPath, service.ipv4, 7001)
    await socket.send('GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n')
    return String(await socket.rest())
  }
  await use(tcp)
  t.equal(await ask(), 'green')
  await use(tcp, http)
  t.match(await ask(), /^HTTP\/1.1 301 /)
})

t.test('routes that do not validate reset, and say what is wrong', async (t) => {
  await use(route('TLSRoute', { backends: toBlue }))
  t.match(JSON.stringify(shop.agent.logs), /TLSRoute shop\/r: spec.hostnames: is missing/)
  t.equal(await curl('www.example.com'), 'refused')
})

t.test('the certificates are the servers’ own: nothing was decrypted', async (t) => {
  await use(...BY_NAME)
  const more = ['--cacert', join(shop.lab.dir, 'green.crt')]
  const args = [
    '-sv',
    '-m',
    '8',
    '--resolve',
    `www.example.com:443:${service.ipv4}`,
    ...more,
    'https://www.example.com/',
  ]
  const { code, stdout } = await client.exec('curl', args)
  t.equal(code, 0)
  t.match(stdout, /s_server/)
  t.match(readFileSync(join(shop.lab.dir, 'green.crt'), 'utf8'), /BEGIN CERTIFICATE/)
})
