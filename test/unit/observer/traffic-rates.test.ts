import fc from 'fast-check'
import t from 'tap'
import type { MetricFamily, TrafficAnswer } from '#contract'
import { percentile } from '../../../src/observer/percentile.ts'
import { trafficBetween } from '../../../src/observer/traffic-rates.ts'

const BOUNDS = [1, 10, 100]

t.test('A percentile is estimated within its bucket, whose bounds are told', async (t) => {
  t.same(percentile(BOUNDS, [0, 10, 0, 0, 50], 0.5), { estimateMs: 5.5, aboveMs: 1, atMostMs: 10 })
  t.same(percentile(BOUNDS, [99, 0, 1, 0, 0], 0.5), { estimateMs: 50 / 99, aboveMs: 0, atMostMs: 1 })
  t.match(percentile(BOUNDS, [99, 0, 1, 0, 0], 0.995), { aboveMs: 10, atMostMs: 100 })
  t.same(percentile(BOUNDS, [0, 0, 0, 4, 0], 0.99), { estimateMs: 100, aboveMs: 100 }, 'beyond the last bound')
  t.equal(percentile(BOUNDS, [0, 0, 0, 0, 0], 0.5), undefined)
  t.equal(percentile([], [], 0.5), undefined)
})

t.test('Whatever was measured, the true percentile lies in the bucket that is told', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 99, noNaN: true }), { minLength: 1 }),
      fc.constantFrom(0.5, 0.95, 0.99),
      (values, share) => {
        const counts = [0, 0, 0, 0]
        for (const value of values) {
          const at = BOUNDS.findIndex((bound) => value <= bound)
          counts[at] = (counts[at] ?? 0) + 1
        }
        const truth = values.toSorted((a, b) => a - b)[Math.ceil(share * values.length) - 1] ?? 0
        const told = percentile(BOUNDS, counts, share)
        if (told?.atMostMs === undefined) return false
        const inBucket = told.aboveMs <= told.estimateMs && told.estimateMs <= told.atMostMs
        return inBucket && truth <= told.atMostMs && (truth > told.aboveMs || told.aboveMs === 0)
      },
    ),
    { numRuns: 300 },
  )
})

const EDGE = {
  source_workload: 'web',
  source_workload_namespace: 'shop',
  source_principal: 'spiffe://web',
  destination_workload: 'db',
  destination_workload_namespace: 'data',
  destination_principal: 'spiffe://db',
  destination_service_name: 'db',
  destination_service_namespace: 'data',
  connection_security_policy: 'unknown',
}
type Change = Readonly<Record<string, string>>
const counter = (name: string, ...series: readonly (readonly [Change, number])[]): MetricFamily => ({
  name,
  help: '',
  type: 'counter',
  series: series.map(([labels, value]) => ({ labels: { ...EDGE, reporter: 'source', ...labels }, values: [value] })),
})
const answer = (atMs: number, ...families: MetricFamily[]): TrafficAnswer => ({ node: 'a', atMs, families })
const requests = (...series: readonly (readonly [Change, number])[]) => counter('istio_requests_total', ...series)

t.test('Rates are of what grew meanwhile; 5xx and no answer are failures', async (t) => {
  const before = answer(0, requests([{ response_code: '200' }, 10], [{ response_code: '503' }, 5]))
  const after = answer(
    2_000,
    requests([{ response_code: '200' }, 16], [{ response_code: '503' }, 6], [{ response_code: '0' }, 1]),
  )
  const { edges, services, workloads, seconds } = trafficBetween(before, after)
  t.equal(seconds, 2)
  t.match(edges, [
    { source: 'shop/web', destination: 'data/db', requests: 8, requestsPerSecond: 4, successRate: 0.75, secured: true },
  ])
  t.match([services, workloads], [[{ name: 'data/db', edges: 1, securedEdges: 1, requests: 8 }], [{ name: 'data/db' }]])
})

t.test('What both ends report is told once, by the source', async (t) => {
  const both = requests([{}, 8], [{ reporter: 'destination', connection_security_policy: 'mutual_tls' }, 8])
  t.match(trafficBetween(undefined, answer(0, both)).edges, [{ reporter: 'source', requests: 8 }])
  const arrived = { reporter: 'destination', destination_service_name: 'unknown', source_workload: 'far' }
  const { edges } = trafficBetween(undefined, answer(0, requests([{}, 8], [arrived, 3])))
  t.same(
    edges.map(({ requests: count, service, secured }) => [count, service, secured]),
    [
      [8, 'data/db', true],
      [3, '', false],
    ],
  )
})

t.test('An edge of which a part is not secured is not', async (t) => {
  const mixed = requests(
    [{ destination_version: 'v1' }, 1],
    [{ destination_version: 'v2', source_principal: 'unknown' }, 1],
  )
  t.match(trafficBetween(undefined, answer(0, mixed)).edges, [{ secured: false, requests: 2 }])
})

t.test('A proxy that was started again counts from 0', async (t) => {
  const { edges } = trafficBetween(answer(0, requests([{}, 100])), answer(1_000, requests([{}, 7])))
  t.match(edges, [{ requests: 7 }])
})

t.test('Connections that are open are those opened and not closed, whenever that was', async (t) => {
  const at = (atMs: number, opened: number, closed: number) =>
    answer(
      atMs,
      counter('istio_tcp_connections_opened_total', [{}, opened]),
      counter(
        'istio_tcp_connections_closed_total',
        [{ response_flags: '-' }, closed - 1],
        [{ response_flags: 'UF' }, 1],
      ),
      counter('istio_tcp_received_bytes_total', [{}, opened * 100]),
    )
  t.match(trafficBetween(at(0, 5, 2), at(1_000, 7, 3)).edges, [
    { connections: 4, connectionsOpened: 2, bytesPerSecond: 200, requests: 0 },
  ])
})
