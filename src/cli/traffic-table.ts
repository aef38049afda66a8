/** Traffic as tables for people, sorted as they wish. */
import type { EdgeRates, NamedRates, Percentile, Rates, Traffic } from '#observer'
import { renderTable } from './table.ts'

export const SORTS = ['requests', 'success', 'p50', 'p95', 'p99', 'connections', 'bytes', 'name'] as const
export type Sort = (typeof SORTS)[number]

export const PERCENTILE_NOTE =
  'Percentiles are estimates within the buckets of a histogram (0.5, 1, 5, 10, 25, 50, 100 ms …): the true value lies in the same bucket.'

const RATE_HEAD = ['REQ/S', 'SUCCESS', 'P50', 'P95', 'P99', 'CONNS', 'BYTES/S']

/** Busiest, slowest, or least successful first; `name` by the alphabet. */
export function sorted<T extends Rates>(rows: readonly T[], sort: Sort, nameOf: (row: T) => string): T[] {
  const value = (row: T): number => {
    switch (sort) {
      case 'requests':
        return -row.requestsPerSecond
      case 'success':
        return row.successRate ?? 2
      case 'p50':
      case 'p95':
      case 'p99':
        return -(row[sort]?.estimateMs ?? -1)
      case 'connections':
        return -row.connections
      case 'bytes':
        return -row.bytesPerSecond
      case 'name':
        return 0
    }
  }
  return rows.toSorted((a, b) => value(a) - value(b) || (nameOf(a) < nameOf(b) ? -1 : 1))
}

export function edgeName({ source, destination, service }: EdgeRates): string {
  return `${source} ${destination} ${service}`
}

export function renderNamed(title: string, rows: readonly NamedRates[], sort: Sort): string {
  const lines = sorted(rows, sort, ({ name }) => name).map((row) => [
    row.name,
    ...rateCells(row),
    row.securedEdges === row.edges ? 'yes' : row.securedEdges === 0 ? 'no' : `${row.securedEdges} of ${row.edges}`,
  ])
  return lines.length === 0 ? '' : renderTable([title, ...RATE_HEAD, 'MTLS'], lines)
}

export function renderEdges(edges: readonly EdgeRates[], sort: Sort): string {
  const lines = sorted(edges, sort, edgeName).map((edge) => [
    edge.source,
    edge.destination,
    edge.service === '' ? '-' : edge.service,
    ...rateCells(edge),
    edge.secured ? 'yes' : 'no',
  ])
  return lines.length === 0 ? '' : renderTable(['FROM', 'TO', 'SERVICE', ...RATE_HEAD, 'MTLS'], lines)
}

export function renderHead({ node, seconds }: Traffic): string {
  return `Node ${node}, ${seconds.toFixed(1)} s. What its own pods sent and were sent; other nodes' agents tell theirs.\n`
}

function rateCells(row: Rates): string[] {
  return [
    row.requests === 0 ? '-' : row.requestsPerSecond.toFixed(1),
    row.successRate === undefined ? '-' : `${(Math.floor(row.successRate * 10_000) / 100).toFixed(2)} %`,
    percentileCell(row.p50),
    percentileCell(row.p95),
    percentileCell(row.p99),
    String(row.connections),
    row.bytesPerSecond === 0 ? '-' : bytesCell(row.bytesPerSecond),
  ]
}

function percentileCell(value: Percentile | undefined): string {
  if (value === undefined) return '-'
  if (value.atMostMs === undefined) return `>${value.aboveMs} ms`
  return `~${value.estimateMs < 10 ? value.estimateMs.toFixed(1) : value.estimateMs.toFixed(0)} ms`
}

function bytesCell(bytes: number): string {
  if (bytes < 1024) return bytes.toFixed(0)
  return bytes < 1 << 20 ? `${(bytes / 1024).toFixed(1)} Ki` : `${(bytes / (1 << 20)).toFixed(1)} Mi`
}
