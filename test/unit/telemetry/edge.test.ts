import t from 'tap'
import type { MetricSeries, ResponseFlag } from '#contract'
import type { EdgeDescription, WorkloadLabels } from '#telemetry'
import {
  createIstioFamilies,
  EdgeCache,
  Metrics,
  REPORT_BOTH,
  REPORT_DESTINATION,
  REPORT_SOURCE,
  UNKNOWN_WORKLOAD,
} from '#telemetry'

function workload(name: string): WorkloadLabels {
  const principal = `spiffe://cluster.local/ns/shop/sa/${name}`
  return { namespace: 'shop', workload: name, app: name, version: 'v1', principal }
}

const WEB_TO_REVIEWS: EdgeDescription = {
  source: workload('web'),
  destination: workload('reviews'),
  service: { host: 'reviews.shop.svc.cluster.local', name: 'reviews', namespace: 'shop' },
  protocol: 'http',
  securityPolicy: 'mutual_tls',
}

function setUp() {
  const metrics = new Metrics()
  const cache = new EdgeCache(createIstioFamilies(metrics))
  const series = (name: string): readonly MetricSeries[] =>
    metrics.snapshot().families.find((family) => family.name === name)?.series ?? []
  return { cache, series }
}

t.test('a request on one node is reported by both sides, with the Istio label set', async (t) => {
  const { cache, series } = setUp()
  cache.request(WEB_TO_REVIEWS).record(200, '-', 0.7, 10, 120, REPORT_BOTH)
  const shared = {
    source_workload: 'web',
    source_workload_namespace: 'shop',
    source_principal: 'spiffe://cluster.local/ns/shop/sa/web',
    source_app: 'web',
    source_version: 'v1',
    source_canonical_service: 'web',
    source_canonical_revision: 'v1',
    source_cluster: 'Kubernetes',
    destination_workload: 'reviews',
    destination_workload_namespace: 'shop',
    destination_principal: 'spiffe://cluster.local/ns/shop/sa/reviews',
    destination_app: 'reviews',
    destination_version: 'v1',
    destination_canonical_service: 'reviews',
    destination_canonical_revision: 'v1',
    destination_cluster: 'Kubernetes',
    destination_service: 'reviews.shop.svc.cluster.local',
    destination_service_name: 'reviews',
    destination_service_namespace: 'shop',
    request_protocol: 'http',
    response_flags: '-',
    response_code: '200',
    grpc_response_status: '',
  }
  t.strictSame(series('istio_requests_total'), [
    { labels: { ...shared, reporter: 'source', connection_security_policy: 'unknown' }, values: [1] },
    { labels: { ...shared, reporter: 'destination', connection_security_policy: 'mutual_tls' }, values: [1] },
  ])
  const durations = series('istio_request_duration_milliseconds')
  t.equal(durations.length, 2)
  t.strictSame(durations[0]?.values.slice(0, 3), [0, 1, 0])
  t.equal(durations[0]?.values.at(-1), 0.7)
  t.equal(series('istio_request_bytes')[1]?.values.at(-1), 10)
  t.equal(series('istio_response_bytes')[1]?.values.at(-1), 120)
})

t.test('outcomes are counted apart, each under its code and flag', async (t) => {
  const { cache, series } = setUp()
  const edge = cache.request(WEB_TO_REVIEWS)
  const outcomes: [number, ResponseFlag][] = [
    [200, '-'],
    [403, 'RBAC'],
    [200, '-'],
    [503, 'UH'],
    [503, 'UF'],
    [403, '-'],
  ]
  for (const [status, flag] of outcomes) edge.record(status, flag, 1, 0, 0, REPORT_SOURCE)
  const counted = series('istio_requests_total').map(({ labels, values }) => [
    labels['response_code'],
    labels['response_flags'],
    values[0],
  ])
  t.strictSame(counted, [
    ['200', '-', 2],
    ['403', 'RBAC', 1],
    ['503', 'UH', 1],
    ['503', 'UF', 1],
    ['403', '-', 1],
  ])
})

t.test('an application that invents status codes cannot fill the table', async (t) => {
  const { cache, series } = setUp()
  const edge = cache.request(WEB_TO_REVIEWS)
  for (let status = 100; status < 1000; status++) edge.record(status, '-', 1, 0, 0, REPORT_DESTINATION)
  const counted = series('istio_requests_total')
  t.equal(counted.length, 65)
  t.equal(counted.find(({ labels }) => labels['response_code'] === 'other')?.values[0], 900 - 64)
  t.equal(
    counted.reduce((sum, { values }) => sum + (values[0] ?? 0), 0),
    900,
  )
})

t.test('equal descriptions share an edge, and a cache that started over loses no count', async (t) => {
  const metrics = new Metrics()
  const cache = new EdgeCache(createIstioFamilies(metrics), 1)
  const first = cache.request(WEB_TO_REVIEWS)
  t.equal(cache.request({ ...WEB_TO_REVIEWS }), first)
  first.record(200, '-', 1, 0, 0, REPORT_SOURCE)
  cache.request({ ...WEB_TO_REVIEWS, source: UNKNOWN_WORKLOAD })
  const again = cache.request(WEB_TO_REVIEWS)
  t.not(again, first)
  again.record(200, '-', 1, 0, 0, REPORT_SOURCE)
  const requests = metrics.snapshot().families.find(({ name }) => name === 'istio_requests_total')
  t.strictSame(
    requests?.series.map(({ values }) => values),
    [[2]],
  )
})

t.test('a source without identity reads unknown throughout', async (t) => {
  const { cache, series } = setUp()
  const edge = cache.request({ ...WEB_TO_REVIEWS, source: UNKNOWN_WORKLOAD, securityPolicy: 'none' })
  edge.record(200, '-', 1, 0, 0, REPORT_DESTINATION)
  const labels = series('istio_requests_total')[0]?.labels ?? {}
  const ofSource = Object.keys(labels).filter((name) => name.startsWith('source_'))
  t.equal(ofSource.length, 8)
  for (const name of ofSource) t.equal(labels[name], 'unknown', name)
  t.equal(labels['connection_security_policy'], 'none')
})

t.test('TCP connections are counted without a response code; the flag is known at the end', async (t) => {
  const { cache, series } = setUp()
  const edge = cache.tcp({ ...WEB_TO_REVIEWS, protocol: 'tcp' })
  edge.opened(REPORT_BOTH)
  edge.sent(100, REPORT_BOTH)
  edge.received(7, REPORT_SOURCE)
  edge.closed('RBAC', REPORT_BOTH)
  t.strictSame(
    series('istio_tcp_connections_opened_total').map(({ values }) => values[0]),
    [1, 1],
  )
  t.strictSame(
    series('istio_tcp_sent_bytes_total').map(({ values }) => values[0]),
    [100, 100],
  )
  t.strictSame(
    series('istio_tcp_received_bytes_total').map(({ values }) => values[0]),
    [7, 0],
  )
  const [closed] = series('istio_tcp_connections_closed_total')
  t.equal(closed?.labels['response_flags'], 'RBAC')
  t.notOk('response_code' in (closed?.labels ?? {}))
  t.equal(closed?.labels['request_protocol'], 'tcp')
})
