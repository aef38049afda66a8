/** Who may do what: every field of an AuthorizationPolicy, asked for by real clients, and the ways around it. */
import net from 'node:net'
import t from 'tap'
import type { LogLine } from '../support/lab-agent.ts'
import type { LabHost } from '../support/lab-host.ts'
import { listenSocketIn } from '../support/pod-sockets.ts'
import { connectIn, listenIn, type RawSocket } from '../support/raw-socket.ts'
import { type Answer, type Ask, openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const other = await shop.pod('other')
const guest = await shop.pod('guest', { namespace: 'away' })
const plain = await shop.pod('plain', { optedIn: false })
const web = await shop.pod('web')
const api = await shop.pod('api')
const farWeb = await shop.pod('far-web', { namespace: 'away', labels: { app: 'web' } })
for (const pod of [web, api, farWeb]) await shop.serve(pod)
const tcp = await listenIn(web.netnsPath, 7000, async (connection) => {
  for (;;) await connection.send(await connection.until('\n'))
})
t.teardown(() => tcp[Symbol.asyncDispose]())
const ports = [
  { name: 'http', port: 80, targetPort: 8080 },
  { name: 'bytes', port: 7000 },
]
const service = shop.service('web', { ports })
shop.service('api')
await shop.start()

/** An AuthorizationPolicy; `spec` is YAML in flow style, without the selector. */
function policy(spec: string, { name = 'web', namespace = 'shop', app = 'web' } = {}): string {
  const selector = app === '' ? '' : `selector: { matchLabels: { app: ${app} } }, `
  return `
apiVersion: weir.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: ${namespace} }
spec: { ${selector}${spec} }`
}

const ask = (from = client, request: Ask = {}, address = web.ipv4): Promise<Answer> =>
  shop.ask(from, address, 8080, request)
const status = async (from = client, request: Ask = {}, address = web.ipv4): Promise<number> =>
  (await ask(from, request, address)).status
const connectTcp = (from: { readonly netnsPath: string } = client): Promise<RawSocket> =>
  connectIn(from.netnsPath, web.ipv4, 7000)

/** Whether a line comes back over TCP, or how the connection ended. */
async function echo(from: { readonly netnsPath: string } = client): Promise<string> {
  using socket = await connectTcp(from)
  await socket.send('hello\n')
  return await socket.until('\n').catch(() => socket.ending)
}

t.test('without a policy all is allowed; an ALLOW policy denies all that it does not allow; DENY wins', async (t) => {
  const allowClient = 'action: ALLOW, rules: [{ from: [{ source: { serviceAccounts: [client] } }] }]'
  await shop.apply(policy(allowClient))
  t.same([await status(client), await status(other)], [200, 403])
  t.equal((await shop.ask(client, service.ipv4, 80)).status, 200, 'by the Service as by the pod')
  t.equal((await shop.ask(other, service.ipv4, 80)).status, 403)
  await shop.apply(
    policy(allowClient),
    policy('action: DENY, rules: [{ to: [{ operation: { methods: [POST] } }] }]', { name: 'no-post' }),
  )
  t.same([await status(client), await status(client, { method: 'POST' })], [200, 403], 'DENY before ALLOW')
  t.equal(await status(other, { method: 'POST' }), 403)
  await shop.apply(
    policy(allowClient),
    policy('rules: [{ to: [{ operation: { methods: [POST] } }] }]', { name: 'posts' }),
  )
  t.same([await status(other), await status(other, { method: 'POST' })], [403, 200], 'any ALLOW policy may allow')
  await shop.apply(policy('action: AUDIT, rules: [{}]'))
  t.equal(await status(other), 200, 'AUDIT only reports')
  await shop.apply(policy('action: ALLOW'))
  t.equal(await status(client), 403, 'an ALLOW policy without rules allows nothing')
  await shop.apply(policy('action: ALLOW, rules: [{}]'))
  t.equal(await status(other), 200, 'the empty rule matches everything')
  await shop.apply(policy('action: DENY, rules: [{}]'))
  t.equal(await status(client), 403)
  await shop.apply()
  t.equal(await status(other), 200)
})

t.test('a policy applies to a workload, a namespace or, in the root namespace, to the mesh', async (t) => {
  const deny = 'action: DENY, rules: [{}]'
  const reach = async () => [await status(), await status(client, {}, api.ipv4), await status(client, {}, farWeb.ipv4)]
  await shop.apply(policy(deny))
  t.same(await reach(), [403, 200, 200], 'the pods that a selector selects, of its own namespace')
  await shop.apply(policy(deny, { app: '' }))
  t.same(await reach(), [403, 403, 200], 'without a selector: the namespace')
  await shop.apply(policy(deny, { app: '', namespace: 'weir-system' }))
  t.same(await reach(), [403, 403, 403], 'in the root namespace: the mesh')
  await shop.apply(policy(deny, { namespace: 'weir-system' }))
  t.same(await reach(), [403, 200, 403], 'in the root namespace with a selector: those pods everywhere')
  await shop.apply(policy(`targetRefs: [{ group: "", kind: Service, name: api }], ${deny}`, { app: '' }))
  t.same(await reach(), [200, 403, 200], 'the pods of a Service')
  await shop.apply(policy(deny).replace('weir.dev/v1alpha1', 'security.istio.io/v1'))
  t.same(await reach(), [403, 200, 200], 'Istio’s kind is read as it is')
  await shop.apply(
    policy(deny, { app: '', namespace: 'weir-system', name: 'mesh' }),
    policy('action: ALLOW, rules: [{}]'),
  )
  t.equal(await status(), 403, 'a narrower ALLOW does not lift a wider DENY')
})

const header = (value: string): Ask => ({ headers: { 'x-a': value } })
/** A rule, what matches it and what does not: judged as ALLOW and as DENY. */
const FIELDS: readonly [string, readonly [LabHost, Ask?][], readonly [LabHost, Ask?][]][] = [
  ['from: [{ source: { principals: [cluster.local/ns/shop/sa/client] } }]', [[client]], [[other], [guest], [plain]]],
  ['from: [{ source: { principals: [cluster.local/ns/shop/*, "*/sa/guest"] } }]', [[client], [guest]], [[plain]]],
  ['from: [{ source: { principals: ["*"] } }]', [[client], [guest]], [[plain]]],
  ['from: [{ source: { notPrincipals: ["*"] } }]', [[plain]], [[client], [guest]]],
  ['from: [{ source: { notPrincipals: [cluster.local/ns/shop/sa/client] } }]', [[other], [plain]], [[client]]],
  ['from: [{ source: { namespaces: [shop] } }]', [[client]], [[guest], [plain]]],
  ['from: [{ source: { notNamespaces: [shop] } }]', [[guest], [plain]], [[client]]],
  ['from: [{ source: { serviceAccounts: [client, away/guest] } }]', [[client], [guest]], [[other], [plain]]],
  ['from: [{ source: { notServiceAccounts: [client] } }]', [[other], [guest], [plain]], [[client]]],
  [`from: [{ source: { ipBlocks: [${plain.ipv4}, ${client.ipv4}/32] } }]`, [[client], [plain]], [[other]]],
  [`from: [{ source: { notIpBlocks: [${client.ipv4}] } }]`, [[other]], [[client]]],
  [
    `from: [{ source: { remoteIpBlocks: [${client.ipv4}] } }]`,
    [[client]],
    [[other, { headers: { 'x-forwarded-for': client.ipv4 } }]],
  ],
  [
    'from: [{ source: { namespaces: [shop], notPrincipals: ["*/sa/other"] } }, { source: { namespaces: [away] } }]',
    [[client], [guest]],
    [[other], [plain]],
  ],
  [
    'to: [{ operation: { hosts: [web.example, "*.shop"] } }]',
    [
      [client, { headers: { host: 'WEB.example:80' } }],
      [client, { headers: { host: 'a.shop' } }],
    ],
    [[client, { headers: { host: 'web.example.org' } }]],
  ],
  ['to: [{ operation: { notHosts: [web.example] } }]', [[client]], [[client, { headers: { host: 'web.example' } }]]],
  ['to: [{ operation: { ports: ["8080"] } }]', [[client]], []],
  ['to: [{ operation: { ports: ["80"] } }]', [], [[client]]],
  ['to: [{ operation: { notPorts: ["80"] } }]', [[client]], []],
  [
    'to: [{ operation: { methods: [GET, "P*"] } }]',
    [[client], [client, { method: 'PUT' }]],
    [[client, { method: 'DELETE' }]],
  ],
  ['to: [{ operation: { notMethods: [GET] } }]', [[client, { method: 'POST' }]], [[client]]],
  [
    'to: [{ operation: { paths: [/a, /b/*, "*/c"] } }]',
    [
      [client, { target: '/a?x' }],
      [client, { target: '/b/z/y' }],
      [client, { target: '/x/c' }],
    ],
    [
      [client, { target: '/a/b' }],
      [client, { target: '/A' }],
      [client, { target: '/?x=/a' }],
    ],
  ],
  [
    'to: [{ operation: { paths: ["/u/{*}/p", "/f/{**}"] } }]',
    [
      [client, { target: '/u/1/p' }],
      [client, { target: '/f/a/b' }],
    ],
    [
      [client, { target: '/u/1/2/p' }],
      [client, { target: '/u//p' }],
    ],
  ],
  ['to: [{ operation: { notPaths: [/a*] } }]', [[client, { target: '/b' }]], [[client, { target: '/abc' }]]],
  [
    'to: [{ operation: { methods: [GET], paths: [/a] } }, { operation: { methods: [POST] } }]',
    [
      [client, { target: '/a' }],
      [client, { method: 'POST' }],
    ],
    [[client, { target: '/b' }]],
  ],
  [`when: [{ key: source.ip, values: [${client.ipv4}] }]`, [[client]], [[other]]],
  [`when: [{ key: remote.ip, notValues: [${client.ipv4}] }]`, [[other]], [[client]]],
  ['when: [{ key: source.namespace, values: [away] }]', [[guest]], [[client], [plain]]],
  ['when: [{ key: source.principal, notValues: ["*/sa/client"] }]', [[other], [plain]], [[client]]],
  ['when: [{ key: source.serviceAccount, values: ["shop/client"] }]', [[client]], [[other], [guest]]],
  [`when: [{ key: destination.ip, values: [${web.ipv4}] }]`, [[client]], []],
  ['when: [{ key: destination.port, values: ["8080"] }]', [[client]], []],
  [
    'when: [{ key: "request.headers[X-A]", values: [yes, "b*"] }]',
    [
      [client, header('yes')],
      [client, header('bc')],
    ],
    [[client, header('no')], [client]],
  ],
  ['when: [{ key: "request.headers[x-a]", notValues: ["*"] }]', [[client]], [[client, header('x')]]],
  ['when: [{ key: connection.sni, values: ["*"] }]', [], [[client]]],
  [
    'from: [{ source: { serviceAccounts: [client] } }], to: [{ operation: { methods: [GET] } }], when: [{ key: "request.headers[x-a]", values: ["1"] }]',
    [[client, header('1')]],
    [[client], [other, header('1')], [client, { ...header('1'), method: 'POST' }]],
  ],
]

t.test('every field matches what it should, allowing and denying', async (t) => {
  const words = (who: LabHost, request: Ask = {}) =>
    `${who.name} ${request.method ?? ''} ${request.target ?? ''} ${JSON.stringify(request.headers ?? {})}`
  for (const action of ['ALLOW', 'DENY']) {
    const [matched, others] = action === 'ALLOW' ? [200, 403] : [403, 200]
    for (const [rule, matching, failing] of FIELDS) {
      await shop.apply(policy(`action: ${action}, rules: [{ ${rule} }]`))
      for (const [who, request] of matching) {
        t.equal(await status(who as typeof client, request), matched, `${action} ${rule}: ${words(who, request)}`)
      }
      for (const [who, request] of failing) {
        t.equal(await status(who as typeof client, request), others, `${action} ${rule}: ${words(who, request)}`)
      }
    }
  }
})

/** Ways to write /admin that some server would read as /admin. */
const ADMIN = [
  '/admin',
  '//admin',
  '/%61dmin',
  '/%61%64%6d%69%6e',
  '/x/../admin',
  '/./admin',
  '/admin/',
  '/admin/.',
  '/admin//',
  '/admin;x',
  '/admin;x=1/',
  '/admin?x=1',
  '/x/%2e%2e/admin',
  '/x/..%2fadmin',
  '/%2e/admin',
  '/%252e/../admin',
  '/%2561dmin',
  '/x/..;/admin',
  '/x\\..\\admin',
  '\\admin',
  '/\\admin',
  '/%5cadmin',
  '/admin%2f',
  '/admin%00',
  '/%c0%afadmin',
  'http://web/admin',
  'http://web//admin',
  'HTTP://web/%61dmin?x',
]

t.test('no spelling of a path slips past a DENY policy', async (t) => {
  await shop.apply(policy('action: DENY, rules: [{ to: [{ operation: { paths: [/admin, /admin/*] } }] }]'))
  const before = shop.seen.length
  for (const target of ADMIN) {
    const got = await status(client, { target })
    t.ok(got === 403 || got === 400, `${target}: ${got}`)
  }
  t.same(shop.seen.slice(before), [], 'none of them reached the application')
  for (const target of ['/administrator', '/x/admin', '/', '/?x=/admin'])
    t.equal(await status(client, { target }), 200, target)
  t.equal(await status(client, { target: '/ADMIN' }), 200, 'paths are case-sensitive, as in Istio')
})

t.test('no spelling of a path slips into an ALLOW policy', async (t) => {
  await shop.apply(policy('action: ALLOW, rules: [{ to: [{ operation: { paths: [/public, /public/*] } }] }]'))
  const before = shop.seen.length
  const outside = [
    ...ADMIN,
    '/public/../admin',
    '/public/%2e%2e/admin',
    '/public/..%2fadmin',
    '/public/..\\admin',
    '/public/..;/admin',
    '/public/%252e%252e/admin',
    '/publicity',
    '/PUBLIC',
    'http://web/public/../admin',
  ]
  for (const target of outside) {
    const got = await status(client, { target })
    t.ok(got === 403 || got === 400, `${target}: ${got}`)
  }
  t.same(shop.seen.slice(before), [], 'none of them reached the application')
  for (const target of ['/public', '/public/x', '/public?x', 'http://web/public'])
    t.equal(await status(client, { target }), 200, target)
})

t.test('a path is judged as it arrives: a route’s rewrite neither opens nor closes one', async (t) => {
  const route = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules:
    - matches: [{ path: { value: /back } }]
      filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /admin } } }]
      backendRefs: [{ name: web, port: 80 }]
    - matches: [{ path: { value: /marked } }]
      filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-role, value: admin }] } }]
      backendRefs: [{ name: web, port: 80 }]
    - backendRefs: [{ name: web, port: 80 }]`
  const get = async (target: string, headers = {}) =>
    (await shop.ask(client, service.ipv4, 80, { target, headers })).status
  await shop.apply(route, policy('action: DENY, rules: [{ to: [{ operation: { paths: [/admin*] } }] }]'))
  t.same([await get('/back/x'), await get('/admin'), await get('/other')], [403, 403, 200])
  t.equal((await shop.explain(client, `http://${service.ipv4}/back/x`)).backends[0]?.endpoints[0]?.verdict, 'deny')
  await shop.apply(route, policy('action: ALLOW, rules: [{ to: [{ operation: { paths: [/admin*] } }] }]'))
  t.same([await get('/back/x'), await get('/back'), await get('/other')], [200, 200, 403])
  await shop.apply(
    route,
    policy('action: DENY, rules: [{ when: [{ key: "request.headers[x-role]", values: [admin] }] }]'),
  )
  t.same([await get('/marked'), await get('/other'), await get('/other', { 'x-role': 'admin' })], [403, 200, 403])
})

t.test('an identity cannot be claimed: not by headers, and a client outside the mesh has none', async (t) => {
  await shop.apply(
    policy('action: ALLOW, rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/client] } }] }]'),
  )
  const claim = `By=spiffe://cluster.local/ns/shop/sa/web;URI=spiffe://cluster.local/ns/shop/sa/client`
  const headers = {
    'x-forwarded-client-cert': claim,
    'x-forwarded-for': client.ipv4,
    'x-real-ip': client.ipv4,
    forwarded: `for=${client.ipv4}`,
    'x-weir-principal': 'cluster.local/ns/shop/sa/client',
    'x-weir-source': 'shop/client',
  }
  for (const pod of [other, guest, plain]) t.equal(await status(pod, { headers }), 403, pod.name)
  const node = { netnsPath: `/run/netns/${shop.lab.node.netns}` } as typeof client
  t.equal(await status(node, { headers }), 403, 'the node')
  const { seen } = await ask(client, { headers: { ...headers, 'x-forwarded-client-cert': 'URI=spiffe://forged' } })
  t.equal(seen?.headers['x-forwarded-client-cert'], claim, 'the application is told the verified peer')
  t.notOk(seen?.headers['x-weir-principal'])
  t.equal(seen?.remoteAddress, client.ipv4)
  await shop.apply()
  const unknown = await ask(plain, { headers })
  t.equal(unknown.seen?.headers['x-forwarded-client-cert'], undefined, 'of a client without identity nothing is told')
  t.equal(unknown.seen?.remoteAddress, plain.ipv4)
})

t.test('a denied request gets 403 and nothing else to read; log and metrics name the policy and RBAC', async (t) => {
  await shop.apply(
    policy('action: DENY, rules: [{ to: [{ operation: { paths: [/secret] } }] }]', { name: 'no-secret' }),
  )
  const from = shop.agent.logs.length
  const answer = await ask(client, { target: '/secret?token=hidden' })
  t.match(answer, { status: 403, body: 'weir: denied by policy', by: '' })
  t.notMatch(JSON.stringify(answer.headers), /no-secret|shop/)
  const line = await shop.agent.waitFor((line) => line['path'] === '/secret', { from })
  t.match(line, {
    source: 'shop/client',
    sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/client',
    destination: 'shop/web',
    policy: 'shop/no-secret',
    path: '/secret',
    status: 403,
    flags: 'RBAC',
  })
  t.notMatch(JSON.stringify(line), /hidden/, 'the query is not logged')
  const { stdout } = await shop.agent.cli('metrics')
  t.match(
    stdout,
    /^istio_requests_total\{.*destination_workload="web".*response_flags="RBAC".*response_code="403".*\} [1-9]/m,
  )
})

t.test(
  'of TCP connections policy judges the connection; rules on HTTP never allow one, and always deny it',
  async (t) => {
    await shop.apply()
    t.equal(await echo(), 'hello\n', 'without a policy')
    const rules = (action: string, rule: string) => shop.apply(policy(`action: ${action}, rules: [{ ${rule} }]`))
    await rules('ALLOW', 'from: [{ source: { serviceAccounts: [client] } }], to: [{ operation: { ports: ["7000"] } }]')
    t.same([await echo(client), await echo(other), await echo(plain)], ['hello\n', 'reset', 'reset'])
    await rules('ALLOW', 'to: [{ operation: { ports: ["8080"] } }]')
    t.equal(await echo(), 'reset', 'another port')
    await rules('ALLOW', 'from: [{ source: { serviceAccounts: [client] } }], to: [{ operation: { methods: [GET] } }]')
    t.equal(await echo(), 'reset', 'an ALLOW rule that asks for a method')
    await rules('ALLOW', 'to: [{ operation: { notPaths: [/x] } }]')
    t.equal(await echo(), 'reset', 'also when it asks that the path is another')
    await rules('DENY', 'from: [{ source: { serviceAccounts: [other] } }], to: [{ operation: { methods: [POST] } }]')
    t.same([await echo(client), await echo(other)], ['hello\n', 'reset'], 'a DENY rule denies by the rest of the rule')
    t.same([await status(other), await status(other, { method: 'POST' })], [200, 403], 'and HTTP by all of it')
    await rules('DENY', 'to: [{ operation: { paths: [/admin] } }]')
    t.equal(await echo(), 'reset', 'also when nothing else is left of it')
    const from = shop.agent.logs.length
    t.equal(await echo(), 'reset')
    const refused = (line: LogLine) => line['flags'] === 'RBAC' && line['source'] === 'shop/client'
    t.match(await shop.agent.waitFor(refused, { from }), {
      msg: 'connection',
      destination: 'shop/web',
      flags: 'RBAC',
      policy: 'shop/web',
    })
    const { stdout } = await shop.agent.cli('metrics')
    t.match(
      stdout,
      /^istio_tcp_connections_closed_total\{.*destination_workload="web".*response_flags="RBAC".*\} [1-9]/m,
    )
  },
)

t.test('a policy that changes while the server of a silent client is still being connected is obeyed', async (t) => {
  await shop.apply()
  // A server whose queue is full: connections to it wait.
  const descriptor = listenSocketIn(web.netnsPath, 7001, 0)
  const fillers = Array.from({ length: 3 }, () => connectIn(web.netnsPath, '127.0.0.1', 7001))
  using silent = await connectIn(client.netnsPath, web.ipv4, 7001)
  const dialled = async () => (await web.exec('ss', ['-Htn', 'state', 'syn-sent', 'src', client.ipv4])).stdout.trim()
  for (let asked = 0; (await dialled()) === ''; asked++) if (asked === 200) throw new Error('It is not dialled')
  await shop.apply(policy('action: DENY, rules: [{ from: [{ source: { principals: ["*"] } }] }]'))
  const server = net.createServer((socket) => socket.on('error', () => {}).write('220 secret\r\n'))
  server.listen({ fd: descriptor })
  t.equal(await silent.ended(), 'reset')
  t.equal(silent.received, 0)
  for (const filler of await Promise.all(fillers)) filler[Symbol.dispose]()
  server.close()
})

t.test(
  'a policy change judges open connections again: what is denied now is cut, what is allowed goes on',
  async (t) => {
    await shop.apply()
    const open = async (from: typeof client) => {
      const bytes = await connectTcp(from)
      await bytes.send('one\n')
      await bytes.until('one\n')
      const socket = await connectIn(from.netnsPath, web.ipv4, 8080)
      await socket.send('GET /ws HTTP/1.1\r\nhost: web\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n')
      t.match((await socket.message()).start, /101/)
      await socket.send('ping')
      await socket.until('ping')
      const stream = await connectIn(from.netnsPath, web.ipv4, 8080)
      const key = `stream${from.name}`
      await stream.send(`GET /?stream&wait=${key} HTTP/1.1\r\nhost: web\r\n\r\n`)
      await stream.until('begun ')
      const waiting = await connectIn(from.netnsPath, web.ipv4, 8080)
      const arrived = shop.arrival(`wait${from.name}`)
      await waiting.send(`GET /?wait=wait${from.name} HTTP/1.1\r\nhost: web\r\n\r\n`)
      await arrived
      const idle = await connectIn(from.netnsPath, web.ipv4, 8080)
      await idle.send('GET / HTTP/1.1\r\nhost: web\r\n\r\n')
      await idle.message()
      return { bytes, socket, stream, waiting, idle, key }
    }
    const cut = await open(other)
    const kept = await open(client)
    await shop.apply(policy('action: DENY, rules: [{ from: [{ source: { serviceAccounts: [other] } }] }]'))
    t.equal(await cut.bytes.ended(), 'reset', 'bytes')
    t.equal(await cut.socket.ended(), 'reset', 'a WebSocket')
    t.equal(await cut.stream.ended(), 'reset', 'an answer that has begun: the client cannot take it for a whole one')
    t.match((await cut.waiting.message()).start, /403/, 'a request that is not answered yet')
    await cut.idle.send('GET / HTTP/1.1\r\nhost: web\r\n\r\n')
    t.match((await cut.idle.message()).start, /403/, 'the next request of a kept connection')

    await kept.bytes.send('two\n')
    t.equal(await kept.bytes.until('two\n'), 'two\n')
    await kept.socket.send('pong')
    t.equal(await kept.socket.until('pong'), 'pong')
    shop.release(kept.key, 'end')
    t.match(await kept.stream.until('end'), 'end')
    shop.release('waitclient', 'at last')
    t.match((await kept.waiting.message()).body.toString(), /at last/)
    await kept.idle.send('GET / HTTP/1.1\r\nhost: web\r\n\r\n')
    t.match((await kept.idle.message()).start, /200/)
    for (const { bytes, socket, stream, waiting, idle } of [cut, kept]) {
      for (const one of [bytes, socket, stream, waiting, idle]) one[Symbol.dispose]()
    }
  },
)

t.test('a policy that does not validate denies what it selects, and says which field is wrong', async (t) => {
  await shop.apply(policy('action: ALLOW, rules: [{ to: [{ operation: { methods: [GET, "P*T"] } }] }]'))
  t.equal(await status(), 403)
  t.equal(await status(client, {}, api.ipv4), 200, 'and nothing else')
  t.equal(await echo(), 'reset')
  const field = 'spec.rules[0].to[0].operation.methods[1]'
  const told = await shop.agent.cli('status')
  t.equal(told.code, 1)
  t.ok(
    told.stdout.includes(`test.yaml (document 1): AuthorizationPolicy shop/web: ${field}: a * may stand only`),
    told.stdout,
  )
  const listed = await shop.agent.cli('policies')
  t.equal(listed.code, 1)
  t.ok(listed.stdout.includes(field), listed.stdout)
  await shop.apply(policy('action: ALLOW, rules: [{ to: [{ operation: { methods: [GET, "P*"] } }] }]'))
  t.equal(await status(), 200)
  t.equal((await shop.agent.cli('status')).code, 0)
  await shop.apply(policy('action: DENY, rules: [{ form: [] }]').replace('selector', 'selektor'))
  t.same(
    [await status(), await status(client, {}, api.ipv4), await status(client, {}, farWeb.ipv4)],
    [403, 403, 200],
    'without a readable selector: the whole namespace',
  )
  await shop.apply()
  t.equal(await status(), 200)
})
