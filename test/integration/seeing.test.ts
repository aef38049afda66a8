/** What `weir` shows of a running agent: words and JSON agree, and both agree with what becomes of real requests. */
import t from 'tap'
import type { LogLine } from '../support/lab-agent.ts'
import { parsePrometheus, type Sample } from '../support/prometheus-text.ts'
import { connectIn, listenIn } from '../support/raw-socket.ts'
import { type Ask, openShop } from '../support/shop.ts'

const ADMIN = '127.0.0.1:15000'
const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const client = await shop.pod('client')
const other = await shop.pod('other')
const v1 = await shop.pod('v1', { labels: { app: 'reviews', version: 'v1' } })
const v2 = await shop.pod('v2', { labels: { app: 'reviews', version: 'v2' } })
const outsider = await shop.pod('outsider', { optedIn: false })
for (const pod of [v1, v2]) await shop.serve(pod)
const reviews = shop.service('reviews')
const only = Object.fromEntries(
  ['v1', 'v2'].map((version) => [version, shop.service(version, { selector: { app: 'reviews', version } })]),
)
const nobody = shop.service('nobody')
const raw = shop.service('raw', { selector: { version: 'v1' }, ports: [{ name: 'tcp', port: 9000 }] })
lab.apply(
  `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: reviews, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: reviews }]
  rules:
    - name: canary
      matches: [{ headers: [{ name: x-canary, value: "yes" }] }]
      backendRefs: [{ name: v2, port: 80 }]
    - matches: [{ path: { value: /old } }]
      filters: [{ type: RequestRedirect, requestRedirect: { path: { type: ReplaceFullPath, replaceFullPath: /new } } }]
    - matches: [{ path: { value: /split } }]
      backendRefs: [{ name: v1, port: 80, weight: 3 }, { name: v2, port: 80, weight: 1 }]
    - matches: [{ path: { value: /broken } }]
      backendRefs: [{ name: missing, port: 80 }]
    - matches: [{ path: { value: / } }]
      backendRefs: [{ name: v1, port: 80 }]
---
apiVersion: weir.dev/v1alpha1
kind: AuthorizationPolicy
metadata: { name: no-other, namespace: shop }
spec:
  selector: { matchLabels: { app: reviews } }
  action: DENY
  rules: [{ from: [{ source: { serviceAccounts: [other] } }] }]
`,
  'rules.yaml',
)
const agent = await shop.start()

async function json<T>(verb: string, args: readonly string[] = [], code = 0): Promise<T> {
  const answer = await agent.cli(verb, ['--json', ...args])
  if (answer.code !== code) throw new Error(`weir ${verb} --json ended with ${answer.code}: ${answer.stderr}`)
  return JSON.parse(answer.stdout) as T
}

async function words(verb: string, args: readonly string[] = [], code = 0): Promise<string> {
  const answer = await agent.cli(verb, args)
  if (answer.code !== code) throw new Error(`weir ${verb} ended with ${answer.code}: ${answer.stderr}`)
  return answer.stdout
}

/** Cells of a printed table, without its head. */
function rows(table: string): string[][] {
  return table
    .trimEnd()
    .split('\n')
    .slice(1)
    .map((line) => line.split(/ {2,}/))
}

interface PodJson {
  readonly namespace: string
  readonly name: string
  readonly state: string
  readonly addresses: readonly string[]
  readonly serviceAccount: string
}

t.test('no line of the log has a key twice', async (t) => {
  const lines = agent.process.stdout.split('\n').filter((line) => line.includes('"proxy up"'))
  t.equal(lines.length > 0, true)
  for (const line of lines) {
    const keys = Array.from(line.matchAll(/(?<=[{,])"(\w+)":/g), ([, key]) => key)
    t.strictSame(keys, [...new Set(keys)], line)
  }
})

t.test('status and check say what runs, in words as in JSON', async (t) => {
  // One backend of a route is not there, on purpose.
  const status = await json<Record<string, unknown> & { proxies: Record<string, unknown>[] }>('status', [], 1)
  t.match(status, {
    node: 'node-1',
    ready: true,
    optedInPods: 4,
    enrolledPods: 4,
    repairs: 0,
    problems: [
      {
        severity: 'error',
        subject: 'rules.yaml (document 1): HTTPRoute shop/reviews',
        message: /backendRefs\[0\]: Service shop\/missing does not exist; the requests of this rule get 500/,
      },
      { severity: 'warning', subject: /Service shop\/nobody$/, message: /app=nobody matches no Pod/ },
    ],
    source: `directory ${lab.manifestsDir}`,
    proxies: [{ id: 0, state: 'up', pods: 4, restarts: 0 }],
  })
  const text = await words('status', [], 1)
  t.match(text, new RegExp(`^Agent +node-1, version ${status['version']}, pid ${status['pid']}, up `, 'm'))
  t.match(text, `world version ${status['worldVersion']}`)
  t.match(text, '4 of 4 opted in are enrolled')
  t.match(text, '\nProblems\n  error: rules.yaml')
  const [proxy] = status.proxies
  t.match(text, new RegExp(`^${proxy?.['id']} +up +${proxy?.['pid']} +${proxy?.['worldVersion']} `, 'm'))

  const checks = await json<{ result: string; what: string }[]>('check', [], 1)
  t.same(
    (await words('check', [], 1)).trimEnd().split('\n'),
    checks.map(({ result, what }) => `${result.padEnd(7)}  ${what}`),
  )
  t.same(
    checks.filter(({ result }) => result !== 'ok').map(({ result, what }) => `${result} ${what.split(': ')[1]}`),
    ['failure HTTPRoute shop/reviews', 'warning Service shop/nobody'],
  )
  for (const name of ['agent ready', 'proxy 0 up', 'pod shop/client enrolled']) {
    t.ok(
      checks.some(({ what }) => what.startsWith(name)),
      name,
    )
  }
})

t.test('pods, routes, policies and config say the same in words as in JSON', async (t) => {
  const pods = await json<PodJson[]>('pods')
  t.same(pods.map(({ name, state }) => `${name} ${state}`).sort(), [
    'client enrolled',
    'other enrolled',
    'outsider outside',
    'v1 enrolled',
    'v2 enrolled',
  ])
  t.same(
    rows(await words('pods')).map((row) => row.slice(0, 4)),
    pods.map(({ namespace, name, state, serviceAccount, addresses }) => [
      `${namespace}/${name}`,
      state === 'outside' ? 'not in mesh' : state,
      `${namespace}/${serviceAccount}`,
      addresses.join(','),
    ]),
  )
  t.same(pods.find(({ name }) => name === 'client')?.addresses, client.addresses)

  const [route, ...more] = await json<{ name: string; parents: string[]; rules: { name?: string }[] }[]>('routes')
  t.same([route?.name, route?.parents, route?.rules.length, more], ['reviews', ['shop/reviews'], 5, []])
  const routes = rows(await words('routes'))
  t.same(routes.length, 5)
  t.match(routes[0]?.join(' '), /^HTTPRoute shop\/reviews shop\/reviews canary .*x-canary:yes 100% shop\/v2:80$/)
  t.match(routes[2]?.join(' '), '75% shop/v1:80, 25% shop/v2:80')

  const policies = await json<Record<string, unknown>[]>('policies')
  t.match(policies, [{ namespace: 'shop', name: 'no-other', action: 'DENY', selector: { app: 'reviews' }, rules: 1 }])
  t.same(rows(await words('policies'))[0], ['shop/no-other', 'DENY', 'app=reviews', '1'])

  const config = await json<Record<string, unknown>>('config')
  const source = { kind: 'directory', directory: lab.manifestsDir }
  t.match(config, { node: 'node-1', source, admin: ADMIN, trustDomain: 'cluster.local' })
  t.same(
    rows(await words('config')),
    Object.entries(config).map(([name, value]) => [name, typeof value === 'string' ? value : JSON.stringify(value)]),
  )
})

interface Case {
  readonly name: string
  readonly from?: typeof client
  readonly to: string
  readonly port?: number
  readonly ask?: Ask
  /** What explain says of each share: outcome, share, detail and the verdict at its endpoints. */
  readonly says: readonly string[]
  /** What became of the request: who answered, or the status. */
  readonly was: readonly string[]
  readonly words: RegExp
}

const V1 = 'forward 100 shop/v1 allow'
const CASES: readonly Case[] = [
  {
    name: 'routed by a header',
    to: reviews.ipv4,
    ask: { headers: { 'x-canary': 'yes' } },
    says: ['forward 100 shop/v2 allow'],
    was: ['v2'],
    words: /shop\/reviews.*canary/s,
  },
  { name: 'routed by the last rule', to: reviews.ipv4, says: [V1], was: ['v1'], words: /shop\/reviews/ },
  {
    name: 'weighted',
    to: reviews.ipv4,
    ask: { target: '/split/a' },
    says: ['forward 75 shop/v1 allow', 'forward 25 shop/v2 allow'],
    was: ['v1', 'v2'],
    words: /shop\/v1:80.*shop\/v2:80/s,
  },
  {
    name: 'redirected',
    to: reviews.ipv4,
    ask: { target: '/old' },
    says: ['redirect 100 302 with Location'],
    was: ['302'],
    words: /302/,
  },
  {
    name: 'denied by a policy',
    from: other,
    to: reviews.ipv4,
    says: ['forward 100 shop/v1 deny shop/no-other'],
    was: ['403'],
    words: /[Dd]enied.*shop\/no-other/,
  },
  { name: 'without endpoints', to: nobody.ipv4, says: ['fail 100 503:'], was: ['503'], words: /503/ },
  {
    name: 'to a backend that is not there',
    to: reviews.ipv4,
    ask: { target: '/broken' },
    says: ['fail 100 500:'],
    was: ['500'],
    words: /500.*missing|missing.*500/s,
  },
  { name: 'to a pod', to: v2.ipv4, port: 8080, says: ['forward 100 shop/v2 allow'], was: ['v2'], words: /not routed/ },
  { name: 'to a port that is not there', to: v1.ipv4, port: 8999, says: [V1], was: ['503'], words: /not routed/ },
  {
    name: 'to a port that the Service does not have',
    to: reviews.ipv4,
    port: 81,
    says: ['fail 100 404:'],
    was: ['404'],
    words: /no port 81.*it has 80.*404/s,
  },
]

t.test('what explain says is what becomes of the request', async (t) => {
  for (const { name, from = client, to, port = 80, ask = {}, says, was, words: text } of CASES) {
    const url = `http://${to}:${port}${ask.target ?? '/'}`
    const explained = await shop.explain(from, url, ask)
    const said = explained.backends.map(({ outcome, percent, detail, endpoints }) =>
      [outcome, percent, detail, ...endpoints.flatMap((one) => [one.workload, one.verdict, one.policy])]
        .filter((part) => part !== '')
        .join(' '),
    )
    t.equal(said.length, says.length, name)
    for (const [index, share] of says.entries()) t.match(said[index], share, name)
    const headers = Object.entries(ask.headers ?? {}).flatMap(([key, value]) => ['--header', `${key}:${String(value)}`])
    const printed = await words('explain', ['--from', `shop/${from.name}`, '--to', url, ...headers])
    t.equal(printed, `${explained.steps.join('\n')}\n`, `${name}: words and JSON`)
    t.match(printed, text, name)
    const seen = new Set<string>()
    for (let asked = 0; asked < (was.length > 1 ? 30 : 1); asked++) {
      const answer = await shop.ask(from, to, port, ask)
      seen.add(answer.by || String(answer.status))
    }
    t.same([...seen].sort(), was, `${name}: what it was`)
  }
})

t.test('explain of a name, of plain TCP and of places outside the mesh', async (t) => {
  await using _server = await listenIn(v1.netnsPath, 9000, (connection) => connection.socket.end('hello'))
  await using _outside = await listenIn(outsider.netnsPath, 9000, (connection) => connection.socket.end('hello'))
  const named = await shop.explain(client, 'http://reviews.shop.svc.cluster.local/')
  t.match(named, { route: 'shop/reviews', backends: [{ service: 'shop/v1:80', outcome: 'forward' }] })
  for (const [from, verdict, text] of [
    [client, 'allow', 'hello'],
    [other, 'deny', ''],
  ] as const) {
    const explained = await shop.explain(from, `tcp://${raw.ipv4}:9000`)
    t.match(explained.backends, [{ outcome: 'forward', endpoints: [{ workload: 'shop/v1', verdict }] }])
    using socket = await connectIn(from.netnsPath, raw.ipv4, 9000)
    t.equal(await socket.rest().then(String, () => ''), text, `TCP from ${from.name}`)
  }
  for (const [to, why] of [
    [`${nobody.ipv4}:80`, 'reset: no healthy endpoint of shop/nobody'],
    [`${raw.ipv4}:9001`, 'reset: Service shop/raw has no port 9001'],
  ] as const) {
    const explained = await shop.explain(client, `tcp://${to}`)
    t.match(explained.backends, [{ outcome: 'fail', detail: why }])
    t.match(explained.steps.at(-1), /^The connection is reset: /)
    using socket = await connectIn(client.netnsPath, to.replace(/:.*/, ''), Number(to.replace(/.*:/, '')))
    await socket.send('no HTTP\n')
    t.equal(await socket.ended(), 'reset', why)
  }
  const unknown = await words('explain', ['--from', 'shop/client', '--to', 'tcp://192.0.2.1:9000'])
  t.match(unknown, /an address that the mesh does not know\.\n[\s\S]*The connection goes there as it is\./)
  t.match((await shop.explain(client, `tcp://${outsider.ipv4}:9000`)).steps.join(), 'not opted in: no policy')
  using socket = await connectIn(other.netnsPath, outsider.ipv4, 9000)
  t.equal(String(await socket.rest()), 'hello', 'and so it is')

  const nobodys = await agent.cli('explain', ['--json', '--from', 'shop/none', '--to', 'http://reviews'])
  t.same([nobodys.code, nobodys.stdout], [64, ''])
  t.match(nobodys.stderr, /^Pod shop\/none is not known to the mesh[^\n]*\n$/)
})

const lineOf = (path: string) => agent.waitFor((line: LogLine) => line['msg'] === 'request' && line['path'] === path)
const spiffe = (account: string) => `spiffe://cluster.local/ns/shop/sa/${account}`

t.test('each request leaves one line that names both ends, the rule and the outcome, and nothing secret', async (t) => {
  const secret = { authorization: 'Bearer s3cr3t', cookie: 'c=s3cr3t', 'x-canary': 'yes' }
  await shop.ask(client, reviews.ipv4, 80, { target: '/seen?token=s3cr3t', method: 'PUT', headers: secret })
  const line = await lineOf('/seen')
  t.match(line, {
    level: 30,
    node: 'node-1',
    reporter: 'both',
    direction: 'outbound',
    source: 'shop/client',
    sourceIdentity: spiffe('client'),
    sourceAddress: client.ipv4,
    destination: 'shop/v2',
    destinationIdentity: spiffe('v2'),
    destinationService: 'v2.shop.svc.cluster.local',
    protocol: 'http',
    route: 'shop/reviews',
    rule: 'canary',
    upstream: `${v2.ipv4}:8080`,
    method: 'PUT',
    path: '/seen',
    status: 200,
    flags: '-',
    bytesIn: Number,
    bytesOut: Number,
    durationMs: Number,
    upstreamMs: Number,
    traceId: /^[0-9a-f]{32}$/,
  })
  t.ok(Number(line['upstreamMs']) <= Number(line['durationMs']))
  t.notMatch(JSON.stringify(agent.logs), 's3cr3t')

  await shop.ask(other, reviews.ipv4, 80, { target: '/denied' })
  const denied = { level: 40, source: 'shop/other', policy: 'shop/no-other', status: 403, flags: 'RBAC' }
  t.match(await lineOf('/denied'), denied)
  await shop.ask(client, nobody.ipv4, 80, { target: '/nobody' })
  t.match(await lineOf('/nobody'), { level: 40, status: 503, flags: 'UH', source: 'shop/client' })
  await shop.ask(client, reviews.ipv4, 80, { target: '/broken/line' })
  t.match(await lineOf('/broken/line'), { status: 500, flags: 'NR', route: 'shop/reviews' })
  await shop.ask(outsider, v1.ipv4, 8080, { target: '/stranger' })
  const stranger = await lineOf('/stranger')
  t.match(stranger, { reporter: 'destination', direction: 'inbound', destination: 'shop/v1', status: 200 })
  t.notOk('sourceIdentity' in stranger, 'who is not in the mesh has no identity')
  const count = (path: string) => agent.logs.filter((one) => one['path'] === path).length
  t.same(['/seen', '/denied', '/nobody', '/broken/line', '/stranger'].map(count), [1, 1, 1, 1, 1])
})

const admin = (path: string, args: readonly string[] = []) => lab.node.curl(`http://${ADMIN}${path}`, args)

t.test('metrics add up with the requests that were made', async (t) => {
  const scrape = async () => parsePrometheus((await admin('/metrics')).body)
  const sum = (samples: readonly Sample[], name: string, wanted: Record<string, string>) =>
    samples
      .filter((one) => one.name === name && Object.entries(wanted).every(([key, value]) => one.labels[key] === value))
      .reduce((total, { value }) => total + value, 0)
  await using server = await listenIn(v1.netnsPath, 9000, async (connection) => {
    connection.socket.end(`got ${await connection.bytes(5)}`)
  })
  const before = await scrape()
  const body = 'x'.repeat(1000)
  const counted = (from: typeof client) => shop.ask(from, only['v1']?.ipv4 ?? '', 80, { target: '/counted' })
  for (let asked = 0; asked < 7; asked++) await counted(client)
  await client.curl(`http://${only['v1']?.ipv4}/counted`, ['-d', body])
  for (let asked = 0; asked < 3; asked++) await counted(other)
  using socket = await connectIn(client.netnsPath, raw.ipv4, 9000)
  await socket.send('hello')
  t.equal(String(await socket.rest()), 'got hello')
  socket.end()
  await agent.waitFor((line) => line['msg'] === 'connection' && line['bytesOut'] === 'got hello'.length)
  const after = await scrape()
  const grown = (name: string, wanted: Record<string, string>) => sum(after, name, wanted) - sum(before, name, wanted)
  const lines = () => agent.logs.filter((line) => line['path'] === '/counted' && line['status'] === 200)
  await agent.waitFor(() => lines().length === 8)
  const logged = (field: string) => lines().reduce((total, line) => total + Number(line[field]), 0)
  t.same([logged('bytesIn'), logged('bytesOut')], [body.length, 8 * 'v1'.length], 'bytes of bodies')
  for (const reporter of ['source', 'destination']) {
    const edge = { reporter, source_workload: 'client', destination_workload: 'v1' }
    const ok = { ...edge, response_code: '200', request_protocol: 'http', source_principal: spiffe('client') }
    t.equal(grown('istio_requests_total', ok), 8, reporter)
    t.equal(grown('istio_request_duration_milliseconds_count', ok), 8, 'as many durations')
    t.equal(grown('istio_request_duration_milliseconds_bucket', { ...ok, le: '+Inf' }), 8)
    t.equal(grown('istio_request_bytes_count', ok), 8)
    t.equal(grown('istio_request_bytes_sum', ok), logged('bytesIn'), 'the bytes that the log names')
    t.equal(grown('istio_response_bytes_sum', ok), logged('bytesOut'))
    const refused = { reporter, source_workload: 'other', response_code: '403', response_flags: 'RBAC' }
    t.equal(grown('istio_requests_total', refused), 3)
    const tcp = { ...edge, request_protocol: 'tcp', destination_service_name: 'raw' }
    t.equal(grown('istio_tcp_connections_opened_total', tcp), 1)
    t.equal(grown('istio_tcp_connections_closed_total', tcp), 1)
    t.equal(grown('istio_tcp_received_bytes_total', tcp), 'hello'.length)
    t.equal(grown('istio_tcp_sent_bytes_total', tcp), 'got hello'.length)
  }
  t.equal(sum(after, 'weir_enrolled_pods', {}), 4)
  t.same(server.failures, [])

  const { families } = await json<{ families: { name: string; type: string; series: unknown[] }[] }>('metrics')
  const printed = await words('metrics')
  t.same(
    families.filter(({ series }) => series.length > 0).map(({ name, type }) => `# TYPE ${name} ${type}`),
    printed.split('\n').filter((line) => line.startsWith('# TYPE ')),
  )
  parsePrometheus(printed)
})

t.test('the admin address tells whether the agent lives and is ready, and answers reading only', async (t) => {
  for (const path of ['/healthz/live', '/healthz/ready']) {
    t.match(await admin(path), { status: 200, body: 'ok\n' }, path)
  }
  t.match((await admin('/metrics')).headers['content-type']?.[0], /^text\/plain; version=0\.0\.4/)
  t.equal((await admin('/nothing')).status, 404)
  t.equal((await admin('/config', ['-X', 'POST'])).status, 405)
  t.match(JSON.parse((await admin('/status')).body), { node: 'node-1', ready: true })
  t.not((await client.curl(`http://${lab.node.ipv4}:15000/status`)).status, 200, 'no pod reaches it')
})
