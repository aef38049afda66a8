/** What goes on, as `weir top`, `edges`, `stat` and the metrics tell it: of real traffic, on two nodes. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openLab } from '../support/lab.ts'
import type { LabAgent } from '../support/lab-agent.ts'
import { parsePrometheus } from '../support/prometheus-text.ts'
import { askedMetrics } from '../support/promql-names.ts'
import { connectIn, listenIn } from '../support/raw-socket.ts'
import { Shop } from '../support/shop.ts'

const lab = await openLab({ t, nodes: 2 })
const shop = new Shop(lab)
t.teardown(() => shop[Symbol.asyncDispose]())
const [here, there] = lab.nodes
if (here === undefined || there === undefined) throw new Error('Two nodes were asked for')
const client = await shop.pod('client')
const plain = await shop.pod('plain', { optedIn: false })
const web = await shop.pod('web')
const far = await there.addPod({ name: 'far', namespace: 'shop', serviceAccount: 'far', labels: { app: 'far' } })
const service = shop.service('web', {
  ports: [
    { name: 'http', port: 80, targetPort: 8080 },
    { name: 'tcp-bytes', port: 7000 },
  ],
})
const remote = shop.service('far')
for (const pod of [web, far]) await shop.serve(pod)
const bytes = await listenIn(web.netnsPath, 7000, async (connection) => {
  using _ = connection
  for (;;) await connection.send(await connection.until('\n'))
})
t.teardown(() => bytes[Symbol.asyncDispose]())
const args = { proxies: 2, extraArgs: ['--ca-dir', join(lab.dir, 'ca')] }
const near = await here.startAgent(args)
const other = await there.startAgent(args)

interface RatesJson {
  readonly requests: number
  readonly requestsPerSecond: number
  readonly successRate?: number
  readonly p50?: { readonly estimateMs: number; readonly aboveMs: number; readonly atMostMs?: number }
  readonly connections: number
  readonly connectionsOpened: number
  readonly bytesPerSecond: number
}
interface EdgeJson extends RatesJson {
  readonly source: string
  readonly destination: string
  readonly service: string
  readonly secured: boolean
  readonly sourceIdentity: string
  readonly destinationIdentity: string
  readonly reporter: string
}
interface NamedJson extends RatesJson {
  readonly name: string
  readonly edges: number
  readonly securedEdges: number
}

async function json<T>(agent: LabAgent, verb: string, flags: readonly string[] = []): Promise<T> {
  const { code, stdout, stderr } = await agent.cli(verb, ['--json', ...flags])
  if (code !== 0) throw new Error(`weir ${verb} ended with ${code}: ${stderr}`)
  return JSON.parse(stdout) as T
}

/** Traffic until it is stopped, a few requests at a time. */
function load() {
  let stopped = false
  const running = (async () => {
    while (!stopped) {
      await Promise.all([
        shop.ask(client, service.ipv4, 80),
        shop.ask(client, remote.ipv4, 80),
        shop.ask(far, service.ipv4, 80),
        shop.ask(plain, web.ipv4, 8080),
      ])
    }
  })()
  return {
    [Symbol.asyncDispose]: async () => {
      stopped = true
      await running
    },
  }
}

const ID = 'spiffe://cluster.local/ns/shop/sa'

t.test('before anybody talks the verbs say so', async (t) => {
  t.match((await near.cli('edges')).stdout, /^Node node-1, .*\n\nNobody has talked yet\.\n$/)
  t.match((await near.cli('top', ['--window', '1'])).stdout, /^Node node-1, \d+\.\d s\..*\n\nNothing goes on\.\n$/)
  t.match((await near.cli('stat', ['--window', '1'])).stdout, /\n\nNothing\.\n$/)
  t.match(
    (await near.cli('stat', ['--window', '1', 'shop/wbe'])).stdout,
    /\n\nNothing of shop\/wbe was seen .* weir edges /,
  )
})

t.test('top: each edge once, with its rates and whether it is secured, of this node’s pods', async (t) => {
  using held = await connectIn(client.netnsPath, service.ipv4, 7000)
  await held.send('hello\n')
  await held.until('\n')
  await using _ = load()
  const top = await json<{ node: string; seconds: number; edges: EdgeJson[]; services: NamedJson[] }>(near, 'top', [
    '--window',
    '2',
  ])
  t.equal(top.node, 'node-1')
  const edges = new Map(top.edges.map((edge) => [`${edge.source} ${edge.destination} ${edge.service}`, edge]))
  t.match(edges.get('shop/client shop/web shop/web'), {
    secured: true,
    reporter: 'source',
    successRate: 1,
    connections: 1,
    sourceIdentity: `${ID}/client`,
    destinationIdentity: `${ID}/web`,
  })
  t.match(edges.get('shop/client shop/far shop/far'), { secured: true, reporter: 'source', successRate: 1 })
  t.match(edges.get('shop/far shop/web '), { secured: true, reporter: 'destination', sourceIdentity: `${ID}/far` })
  t.match(edges.get('unknown shop/web '), { secured: false, reporter: 'destination', sourceIdentity: '' })
  t.equal(edges.size, 4)
  for (const { requests, requestsPerSecond, p50 } of edges.values()) {
    t.ok(requests > 0 && Math.abs(requestsPerSecond - requests / top.seconds) < 0.01)
    t.ok(p50 !== undefined && p50.aboveMs <= p50.estimateMs && p50.estimateMs <= (p50.atMostMs ?? 0))
  }
  t.match(
    top.services.find(({ name }) => name === 'shop/web'),
    { edges: 1, securedEdges: 1, connections: 1 },
  )
  const { stdout } = await near.cli('top', ['--once', '--window', '1', '--sort', 'p99'])
  t.match(stdout, /^SERVICE +REQ\/S +SUCCESS +P50 +P95 +P99 +CONNS +BYTES\/S +MTLS$/m)
  t.match(stdout, /^shop\/client +shop\/far +shop\/far +\d+\.\d +100\.00 % +~\d.* ms +~.* +0 +\S.* +yes$/m)
  t.match(stdout, /^unknown +shop\/web +- .* no$/m)
  t.match(stdout, /Percentiles are estimates within the buckets/)
})

t.test('the other node’s agent tells what its own pods did', async (t) => {
  const { node, edges } = await json<{ node: string; edges: EdgeJson[] }>(other, 'edges')
  t.equal(node, 'node-2')
  const byName = new Map(edges.map((edge) => [edge.destination, edge]))
  t.equal(edges.length, 2)
  t.match(byName.get('shop/far'), { source: 'shop/client', service: '', secured: true })
  t.match(byName.get('shop/web'), { source: 'shop/far', service: 'shop/web', secured: true })
  const { stdout } = await other.cli('edges')
  t.match(stdout, /^shop\/far +shop\/web +shop\/web +yes +\d+ +0 +spiffe:\/\/.*\/far +spiffe:\/\/.*\/web$/m)
})

t.test('stat: failures count for the Service that was asked, also when nobody is behind it', async (t) => {
  const from = near.logs.length
  const gone = shop.service('gone', { selector: { app: 'nobody' } })
  await near.waitFor('world applied', { from })
  await using _ = load()
  const asking = (async () => {
    for (let i = 0; i < 20; i++) await shop.ask(client, gone.ipv4, 80)
  })()
  const looks = [
    json<{ services: NamedJson[] }>(near, 'stat', ['--window', '2', 'shop']),
    json<{ services: NamedJson[]; workloads: NamedJson[] }>(near, 'stat', ['--window', '2', 'shop/web']),
  ] as const
  await asking
  const [{ services }, one] = await Promise.all(looks)
  t.same(services.map(({ name }) => name).sort(), ['shop/far', 'shop/gone', 'shop/web'])
  t.equal(services.find(({ name }) => name === 'shop/web')?.successRate, 1)
  t.same([one.services.map(({ name }) => name), one.workloads.map(({ name }) => name)], [['shop/web'], ['shop/web']])
  for (let i = 0; i < 3; i++) await shop.ask(client, gone.ipv4, 80)
  const { edges } = await json<{ edges: EdgeJson[] }>(near, 'edges')
  t.match(
    edges.find((edge) => edge.service === 'shop/gone'),
    { source: 'shop/client', destination: 'unknown', secured: false, requests: 23 },
  )
})

t.test('a flag that cannot be meant is refused', async (t) => {
  t.match(await near.cli('top', ['--window', '0']), { code: 64, stderr: /expected seconds from 1 to 600, got "0"/ })
  t.match(await near.cli('stat', ['--sort', 'beauty']), { code: 64, stderr: /--sort: expected one of requests, / })
  t.match(await near.cli('edges', ['shop']), { code: 64, stderr: /takes no argument "shop"/ })
})

async function scrape(agent = near) {
  return parsePrometheus((await agent.cli('metrics')).stdout)
}

t.test('an opaque connection is in the metrics while it lasts', async (t) => {
  using held = await connectIn(client.netnsPath, service.ipv4, 7000)
  await held.send(`${'x'.repeat(9_999)}\n`)
  await held.until('\n')
  const received = async () =>
    (await scrape())
      .filter(({ name, labels }) => name === 'istio_tcp_received_bytes_total' && labels['reporter'] === 'source')
      .reduce((sum, { value }) => sum + value, 0)
  const closed = async () =>
    (await scrape())
      .filter(({ name }) => name === 'istio_tcp_connections_closed_total')
      .reduce((sum, { value }) => sum + value, 0)
  const before = await closed()
  for (let asked = 0; asked < 40 && (await received()) < 10_000; asked++);
  t.ok((await received()) >= 10_000)
  t.equal(await closed(), before)
})

t.test('the metrics tell what each pod takes of the proxies, and how full the node is', async (t) => {
  const samples = await scrape()
  const value = (name: string, labels: Readonly<Record<string, string>> = {}) =>
    samples.find((one) => one.name === name && Object.entries(labels).every(([key, text]) => one.labels[key] === text))
      ?.value
  const pod = { namespace: 'shop', pod: 'client' }
  t.ok((value('weir_pod_requests_total', pod) ?? 0) > 10)
  t.ok((value('weir_pod_connections_total', pod) ?? 0) >= 2)
  t.ok((value('weir_pod_received_bytes_total', pod) ?? 0) >= 10_000)
  t.ok((value('weir_pod_cpu_seconds_total', pod) ?? 0) > 0)
  t.equal(value('weir_pod_requests_in_flight', pod), 0)
  t.equal(value('weir_pod_requests_total', { pod: 'plain' }), undefined, 'only pods that it serves')
  for (const process of ['agent', 'proxy-0', 'proxy-1']) {
    t.ok((value('weir_event_loop_lag_milliseconds', { process }) ?? -1) >= 0, process)
  }
  t.ok((value('weir_node_cpus') ?? 0) >= 1)
  const busy = value('weir_node_cpu_busy_ratio') ?? -1
  t.ok(busy >= 0 && busy <= 1)
  t.ok((value('weir_node_memory_available_bytes') ?? 0) < (value('weir_node_memory_total_bytes') ?? 0))
  t.ok((value('weir_node_filesystem_size_bytes', { mount: '/' }) ?? 0) > 0)
  t.ok((value('weir_node_tcp_sent_segments_total', { namespace: 'shop' }) ?? 0) > 0)
  const again = await scrape()
  const tookMs = (all: typeof samples) => all.find(({ name }) => name === 'weir_node_sample_milliseconds')?.value
  t.equal(tookMs(again), tookMs(samples), 'the node is not looked at for each scrape')
})

t.test('every metric and label that the Grafana board asks for is there', async (t) => {
  const text = readFileSync(join(import.meta.dirname, '../../examples/grafana/weir.json'), 'utf8')
  const board = JSON.parse(text) as {
    readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[]
    readonly templating: { readonly list: readonly { readonly query: string | { readonly query: string } }[] }
  }
  const samples = [...(await scrape()), ...(await scrape(other))]
  const labelsOf = new Map<string, Set<string>>()
  for (const { name, labels } of samples) {
    const known = labelsOf.get(name) ?? new Set(['instance'])
    labelsOf.set(name, new Set([...known, ...Object.keys(labels)]))
  }
  const check = (title: string, name: string, labels: readonly string[]) => {
    t.ok(labelsOf.has(name), `${title}: ${name}`)
    for (const label of labels) t.ok(labelsOf.get(name)?.has(label), `${title}: ${name} has ${label}`)
  }
  let asked = 0
  for (const { title, targets = [] } of board.panels) {
    for (const { expr } of targets) {
      const metrics = askedMetrics(expr)
      t.ok(metrics.length > 0, expr)
      asked += metrics.length
      for (const { name, labels } of metrics) check(title, name, labels)
    }
  }
  t.ok(asked > 25)
  for (const { query } of board.templating.list) {
    if (typeof query === 'string') continue
    const [, selector = '', label = ''] = /^label_values\((.*), (\w+)\)$/.exec(query.query) ?? []
    for (const { name, labels } of askedMetrics(selector)) check('variable', name, [...labels, label])
  }
  t.throws(() => {
    for (const { name } of askedMetrics('rate(istio_request_total[1m])')) if (!labelsOf.has(name)) throw new Error(name)
  }, 'a name that is not there is noticed')
})
