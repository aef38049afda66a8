/** What rules say of looks: which things they are about, over which window, and what is not known. */
import t from 'tap'
import { parse } from 'yaml'
import type { Finding, MetricFamily } from '#contract'
import { parseAlerts } from '#observer/alerts'
import { type AlertLook, needsOwnFamilies, RuleJudge } from '../../../../src/observer/alerts/judge-rules.ts'

const NOW = Date.parse('2026-11-21T12:00:00Z')

function rulesOf(text: string) {
  const parsed = parseAlerts(parse(`rules:\n${text.replace(/^/gm, '  ')}`))
  if (parsed.kind === 'issues') throw new Error(JSON.stringify(parsed.issues))
  return parsed.alerts.rules
}

interface Counted {
  readonly source?: string
  readonly destination?: string
  readonly service?: string
  readonly reporter?: string
  readonly ok?: number
  readonly failed?: number
  /** Durations: up to 10, 100, 1000 ms, more. */
  readonly buckets?: readonly number[]
  readonly opened?: number
  readonly closed?: number
}

function families(edges: readonly Counted[]): readonly MetricFamily[] {
  const labels = ({
    source = 'shop/client',
    destination = 'shop/web',
    service = 'shop/web',
    reporter = 'source',
  }: Counted) => {
    const [fromNamespace, from] = source.split('/')
    const [toNamespace, to] = destination.split('/')
    const [serviceNamespace, name] = service.split('/')
    return {
      reporter,
      source_workload: from ?? 'unknown',
      source_workload_namespace: fromNamespace ?? '',
      destination_workload: to ?? 'unknown',
      destination_workload_namespace: toNamespace ?? '',
      destination_service_name: name ?? 'unknown',
      destination_service_namespace: serviceNamespace ?? '',
    }
  }
  const counter = (name: string, of: (edge: Counted) => readonly (readonly [object, number])[]): MetricFamily => ({
    name,
    help: '',
    type: 'counter',
    series: edges.flatMap((edge) =>
      of(edge).map(([more, value]) => ({ labels: { ...labels(edge), ...more }, values: [value] })),
    ),
  })
  return [
    counter('istio_requests_total', ({ ok = 0, failed = 0 }) => [
      [{ response_code: '200' }, ok],
      [{ response_code: '503' }, failed],
    ]),
    counter('istio_tcp_connections_opened_total', ({ opened = 0 }) => [[{}, opened]]),
    counter('istio_tcp_connections_closed_total', ({ closed = 0 }) => [[{}, closed]]),
    {
      name: 'istio_request_duration_milliseconds',
      help: '',
      type: 'histogram',
      buckets: [10, 100, 1000],
      series: edges.map((edge) => ({ labels: labels(edge), values: [...(edge.buckets ?? [0, 0, 0, 0]), 0] })),
    },
  ]
}

function gauge(name: string, series: readonly (readonly [Readonly<Record<string, string>>, number])[]): MetricFamily {
  return { name, help: '', type: 'gauge', series: series.map(([labels, value]) => ({ labels, values: [value] })) }
}

function look(atS: number, all: readonly MetricFamily[], findings?: readonly Finding[]): AlertLook {
  return { atMs: atS * 1000, nowMs: NOW + atS * 1000, families: all, findings }
}

/** `subject verdict value` of the only rule, after the last of the looks. */
function judged(text: string, looks: readonly AlertLook[]): readonly string[] {
  const judge = new RuleJudge('node-1', rulesOf(text))
  let last: ReturnType<RuleJudge['judge']> = []
  for (const one of looks) last = judge.judge(one)
  return (last[0]?.judged ?? []).map(({ subject, verdict, value }) => {
    return `${subject} ${verdict} ${value === undefined ? '-' : Number(value.toPrecision(4))}`
  })
}

t.test('errors: the share of the window, per thing that matches, and not of too few requests', async (t) => {
  const rule = '- { name: A, service: shop/*, errors: { above: 50%, clear: 10%, minRequests: 10 } }'
  const counts = (ok: number, failed: number) =>
    families([
      { ok, failed },
      { service: 'other/web', failed: 99 },
    ])
  t.same(judged(rule, [look(0, counts(0, 0))]), [], 'one look tells no rate')
  t.same(judged(rule, [look(0, counts(5, 0)), look(10, counts(9, 6))]), ['shop/web over 0.6'])
  t.same(judged(rule, [look(0, counts(5, 0)), look(10, counts(13, 2))]), ['shop/web between 0.2'])
  t.same(judged(rule, [look(0, counts(5, 0)), look(10, counts(25, 2))]), ['shop/web clear 0.09091'])
  t.same(judged(rule, [look(0, counts(5, 0)), look(10, counts(5, 9))]), ['shop/web unknown 1'])
  t.same(judged(rule, [look(0, counts(5, 0)), look(10, counts(5, 0))]), ['shop/web unknown -'])
})

t.test('a window ends, and what was before it does not count', async (t) => {
  const rule = '- { name: A, service: shop/web, window: 20s, errors: { above: 50%, minRequests: 1 } }'
  const counts = (ok: number, failed: number) => families([{ ok, failed }])
  const looks = [look(0, counts(0, 0)), look(10, counts(0, 10)), look(20, counts(10, 10)), look(30, counts(20, 10))]
  t.same(judged(rule, looks.slice(0, 3)), ['shop/web clear 0.5'])
  t.same(judged(rule, looks), ['shop/web clear 0'])
})

t.test(
  'of more edges than there is room for, none crowds out another namespace’s, and what comes into view is not new',
  async (t) => {
    const rule = '- { name: A, service: shop/web, errors: { above: 20%, minRequests: 1 } }'
    const many = (source: string, ok: number) =>
      Array.from({ length: 1500 }, (_, i) => ({ source, service: `${source.split('/')[0]}/s${i}`, ok }))
    const busy = (ok: number, failed: number) => families([...many('evil/a', 1000), { ok, failed }])
    t.same(judged(rule, [look(0, busy(5, 0)), look(10, busy(10, 5))]), ['shop/web over 0.5'])
    const own = (ok: number) => families([...many('shop/client', 1000), { ok, failed: 500 }])
    t.same(judged(rule, [look(0, own(0)), look(10, own(1000))]), ['shop/web unknown -'])
    t.same(judged(rule, [look(0, own(0)), look(10, own(1000)), look(20, own(1100))]), ['shop/web clear 0'])
  },
)

t.test('a proxy that was started again counts from 0: what is less than before adds nothing', async (t) => {
  const rule = '- { name: A, service: shop/web, errors: { above: 50%, minRequests: 1 } }'
  const counts = (ok: number, failed: number) => families([{ ok, failed }])
  t.same(judged(rule, [look(0, counts(100, 100)), look(10, counts(5, 2))]), ['shop/web unknown -'])
  t.same(judged(rule, [look(0, counts(100, 100)), look(10, counts(5, 2)), look(20, counts(6, 5))]), [
    'shop/web over 0.75',
  ])
})

t.test('rate: a Service that is named outright is looked at also when nobody ever asked for it', async (t) => {
  const quiet = '- { name: A, service: shop/quiet, rate: { below: 1, clear: 2 } }'
  t.same(judged(quiet, [look(0, families([])), look(10, families([]))]), ['shop/quiet over 0'])
  t.same(judged(quiet, [look(0, families([]))]), ['shop/quiet unknown -'])
  const any = '- { name: A, service: "*", rate: { below: 1, clear: 2 } }'
  const counts = (ok: number) => families([{ ok }])
  t.same(judged(any, [look(0, counts(0)), look(10, counts(15))]), ['shop/web between 1.5'])
  t.same(judged(any, [look(0, counts(0)), look(10, counts(20))]), ['shop/web clear 2'])
})

t.test('latency: the percentile of all that was asked of a thing', async (t) => {
  const rule = '- { name: A, workload: shop/*, latency: { percentile: p50, aboveMs: 100, minRequests: 4 } }'
  const two = (buckets: readonly number[]) =>
    families([
      { ok: 4, buckets },
      { source: 'shop/other', service: '', ok: 4, buckets },
    ])
  t.same(judged(rule, [look(0, families([])), look(10, two([1, 1, 2, 0]))]), ['shop/web clear 100'])
  t.same(judged(rule, [look(0, families([])), look(10, two([0, 1, 3, 0]))]), ['shop/web over 400'])
})

t.test('edges, namespaces, the node: each sums up what is its own, and nothing twice', async (t) => {
  const all = families([
    { ok: 10 },
    { ok: 10, reporter: 'destination' },
    { source: 'shop/client', destination: 'shop/db', service: 'shop/db', ok: 20 },
    { source: 'far/client', destination: 'shop/web', service: '', reporter: 'destination', ok: 40 },
    { source: 'shop/client', destination: 'unknown', service: 'out/side', ok: 80 },
  ])
  const of = (scope: string) =>
    judged(`- { name: A, ${scope} rate: { above: 1000 } }`, [look(0, families([])), look(10, all)])
  t.same(of('edge: { from: shop/client, to: "shop/*" },'), [
    'shop/client -> shop/web clear 1',
    'shop/client -> shop/db clear 2',
  ])
  t.same(of('edge: { to: unknown },'), ['shop/client -> unknown clear 8'])
  t.same(of('namespace: "*",'), ['shop clear 7', 'out clear 8'])
  t.same(of('service: "*",'), ['shop/web clear 1', 'shop/db clear 2', 'out/side clear 8'])
  t.same(of('workload: "shop/*",'), ['shop/web clear 5', 'shop/db clear 2'])
  t.same(of(''), [' clear 15'])
})

t.test('saturation: of the node, or of each process', async (t) => {
  const node = (busy: number, available: number, lag: number, cpuSeconds: number) => [
    gauge('weir_node_cpu_busy_ratio', [[{}, busy]]),
    gauge('weir_node_memory_total_bytes', [[{}, 100]]),
    gauge('weir_node_memory_available_bytes', [[{}, available]]),
    gauge('weir_event_loop_lag_milliseconds', [
      [{ process: 'agent' }, 1],
      [{ process: 'proxy-0' }, lag],
    ]),
    gauge('weir_process_cpu_seconds_total', [
      [{ process: 'agent' }, 0],
      [{ process: 'proxy-0' }, cpuSeconds],
    ]),
  ]
  const of = (condition: string) =>
    judged(`- { name: A, saturation: { ${condition} } }`, [
      look(0, node(0, 100, 0, 5)),
      look(10, node(0.95, 20, 300, 14)),
    ])
  t.same(of('of: cpu, above: 90%'), [' over 0.95'])
  t.same(of('of: memory, above: 90%'), [' clear 0.8'])
  t.same(of('of: event-loop-lag, aboveMs: 250'), ['agent clear 1', 'proxy-0 over 300'])
  t.same(of('of: proxy-cpu, above: 80%'), ['proxy-0 over 0.9'])
  t.same(judged('- { name: A, saturation: { of: cpu, above: 90% } }', [look(0, [])]), [' unknown -'])
})

t.test('certificates: each identity by what its certificate has left', async (t) => {
  const ends = (atS: number) => [
    gauge('weir_certificate_expiry_timestamp_seconds', [[{ identity: 'spiffe://c/ns/shop/sa/web' }, NOW / 1000 + atS]]),
  ]
  const rule = '- { name: A, certificate: { expiresWithin: 1h, clear: 2h } }'
  t.same(judged(rule, [look(0, ends(3599))]), ['spiffe://c/ns/shop/sa/web over 3599000'])
  t.same(judged(rule, [look(0, ends(3600))]), ['spiffe://c/ns/shop/sa/web between 3600000'])
  t.same(judged(rule, [look(0, ends(7200))]), ['spiffe://c/ns/shop/sa/web clear 7200000'])
  const says = (atS: number) => new RuleJudge('node-1', rulesOf(rule)).judge(look(0, ends(atS)))[0]?.judged[0]?.summary
  t.equal(says(3599), 'The certificate of spiffe://c/ns/shop/sa/web ends in 59m59s, within 1h')
  t.equal(says(-1), 'The certificate of spiffe://c/ns/shop/sa/web has ended')
  const other = '- { name: A, identity: "spiffe://c/ns/other/sa/*", certificate: { expiresWithin: 1h } }'
  t.same(judged(other, [look(0, ends(1))]), [])
})

t.test('findings: those of the kinds, severities and subjects meant, and gone when they are gone', async (t) => {
  const found = (kind: Finding['kind'], severity: Finding['severity'], subject: string): Finding => {
    return { kind, severity, subject, says: 'It is so.', evidence: [], next: 'weir routes', sinceMs: 0 }
  }
  const all = [found('no-endpoints', 'critical', 'shop/web'), found('pod-silent', 'info', 'shop/web-1')]
  t.same(judged('- { name: A, finding: [no-endpoints] }', [look(0, [], all)]), ['no-endpoints shop/web over -'])
  t.same(judged('- { name: A, finding: { severity: [info] } }', [look(0, [], all)]), ['pod-silent shop/web-1 over -'])
  t.same(judged('- { name: A, finding: {}, subject: shop/web }', [look(0, [], all)]), ['no-endpoints shop/web over -'])
  const judge = new RuleJudge('node-1', rulesOf('- { name: A, finding: {} }'))
  t.match(judge.judge(look(0, [], all)), [
    { others: 'clear', judged: [{ summary: 'It is so.', next: 'weir routes' }, {}] },
  ])
  t.match(judge.judge(look(1, [])), [{ others: 'unknown', judged: [] }])
})

t.test('expressions: of the thing, of the node, of any metric, with an end of their own', async (t) => {
  const counts = (ok: number, failed: number) => [
    ...families([{ ok, failed, opened: 7, closed: 3 }]),
    gauge('weir_event_loop_lag_milliseconds', [[{ process: 'agent' }, 12]]),
    gauge('weir_problems', [[{}, 2]]),
  ]
  const looks = [look(0, counts(0, 0)), look(10, counts(90, 10))]
  const of = (expression: string) => judged(`- { name: A, service: shop/web, expression: '${expression}' }`, looks)
  t.same(of('errors / requests > 5% and requests >= 100'), ['shop/web over 0.1'])
  t.same(of('requests > 100'), ['shop/web clear 100'])
  t.same(of('connections == 4 and lag == 12 and metric("weir_problems") == 2'), ['shop/web over 4'])
  t.same(of('rate("istio_requests_total", {response_code="503"}) == 1'), ['shop/web over 1'])
  t.same(of('p99 > 1s'), ['shop/web unknown -'], 'nothing was measured')
  const both = (ok: number, failed: number) =>
    judged('- { name: A, service: shop/web, expression: errorRate > 50%, clearWhen: errors == 0 }', [
      look(0, counts(0, 0)),
      look(10, counts(ok, failed)),
    ])
  t.same(both(4, 6), ['shop/web over 0.6'])
  t.same(both(9, 1), ['shop/web between 0.1'])
  t.same(both(9, 0), ['shop/web clear 0'])
  t.same(both(0, 0), ['shop/web unknown -'])
})

t.test('only rules that look beyond traffic and findings make the agent gather more', async (t) => {
  const needs = (text: string) => needsOwnFamilies(rulesOf(`- { name: A, ${text} }`))
  t.notOk(needs('errors: { above: 5% }'))
  t.notOk(needs('finding: {}'))
  t.notOk(needs('expression: errors / requests > 1 and not p99 > 1'))
  t.ok(needs('certificate: { expiresWithin: 1h }'))
  t.ok(needs('saturation: { of: cpu, above: 5% }'))
  t.ok(needs('expression: errors > 1 and -lag < 5'))
  t.ok(needs('expression: errors > 1, clearWhen: metric("a") > 1'))
})
