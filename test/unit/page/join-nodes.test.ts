import t from 'tap'
import type { DiagnoseAnswer, Finding, TrafficAnswer } from '#contract'
import { trafficBetween } from '#observer'
import { addTraffic, joinFindings } from '../../../src/page/join-nodes.ts'

function finding(severity: Finding['severity'], subject: string): Finding {
  return { kind: 'error-rate', severity, subject, says: 'x', evidence: [], next: '', sinceMs: 0 }
}
function answer(node: string, ...findings: Finding[]): DiagnoseAnswer {
  return { node, atMs: 1, windowMs: 60_000, looks: 3, lookMs: 5_000, findings }
}

t.test('findings of all nodes: the worst first, each with its node', (t) => {
  const joined = joinFindings([
    ['node-1', answer('node-1', finding('warning', 'a'), finding('info', 'b'))],
    ['node-2', answer('node-2', finding('critical', 'c'))],
  ])
  t.same(
    joined.findings.map(({ subject }) => subject),
    ['c (node-2)', 'a (node-1)', 'b (node-1)'],
  )
  t.same(joinFindings([]).findings, [])
  t.end()
})

const LABELS = {
  reporter: 'source',
  source_workload: 'client',
  source_workload_namespace: 'shop',
  destination_workload: 'web',
  destination_workload_namespace: 'shop',
  destination_service_name: 'web',
  destination_service_namespace: 'shop',
  response_code: '200',
}
function traffic(node: string, count: number): TrafficAnswer {
  const series = [{ labels: LABELS, values: [count] }]
  return { node, atMs: 0, families: [{ name: 'istio_requests_total', help: '', type: 'counter', series }] }
}
function all(atMs: number, counts: Record<string, number>): TrafficAnswer {
  return addTraffic(new Map(Object.entries(counts).map(([node, count]) => [node, traffic(node, count)])), atMs)
}

t.test('traffic of the same workload on two nodes is added up, whatever each has counted before', (t) => {
  const { edges, services } = trafficBetween(all(0, { a: 1_000, b: 5 }), all(2_000, { a: 1_010, b: 25 }))
  t.match(edges, [{ source: 'shop/client', destination: 'shop/web', requests: 30, requestsPerSecond: 15 }])
  t.match(services, [{ name: 'shop/web', requests: 30 }])
  t.end()
})

t.test('which nodes it is of is told, so that a window begins anew with another one', (t) => {
  t.equal(all(0, { b: 1, a: 1 }).node, 'a b')
  t.end()
})
