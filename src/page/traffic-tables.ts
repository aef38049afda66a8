/** Services and edges as tables, by name: rows stay where they are while one looks. */
import type { EdgeRates, NamedRates, Rates, Traffic } from '#observer'
import { bytesText, percentileText, rateText, shareText } from './format.ts'
import { type Column, type Row, renderTable } from './table.ts'
import { isBusy, toldOnce } from './traffic-window.ts'

const RATE_COLUMNS: readonly Column[] = ['Req/s', 'Success', 'p50', 'p95', 'p99', 'Conns', 'Bytes/s'].map((head) => ({
  head,
  isNumber: true,
}))

/** Below it a row is marked: the word is its number. */
const GOOD_SHARE = 0.99

export function renderServices({ services }: Traffic): HTMLElement {
  const rows = services.filter(isBusy).toSorted(byName).map(serviceRow)
  return renderTable('Services', [{ head: 'Service' }, ...RATE_COLUMNS, { head: 'mTLS' }], rows)
}

/** @param of only those from or to it; empty: all, also those that are still */
export function renderEdges({ edges }: Traffic, of: string): HTMLElement {
  const rows = toldOnce(edges)
    .filter((edge) => of === '' || [edge.source, edge.destination, edge.service].includes(of))
    .map((edge) => ({ edge, key: `${edge.source} ${edge.destination} ${edge.service}` }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
  return renderTable(
    'Edges',
    [{ head: 'From' }, { head: 'To' }, { head: 'Service' }, ...RATE_COLUMNS, { head: 'mTLS' }, { head: 'Identity' }],
    rows.map(edgeRow),
  )
}

function serviceRow(row: NamedRates): Row {
  const secured =
    row.securedEdges === row.edges ? 'yes' : row.securedEdges === 0 ? 'no' : `${row.securedEdges} of ${row.edges}`
  return { key: row.name, cells: [row.name, ...rateCells(row), secured], ...moodOf(row) }
}

function edgeRow({ edge, key }: { readonly edge: EdgeRates; readonly key: string }): Row {
  const cells = [
    edge.source,
    edge.destination,
    edge.service === '' ? '-' : edge.service,
    ...rateCells(edge),
    edge.secured ? 'yes' : 'no',
    edge.sourceIdentity === '' ? '-' : edge.sourceIdentity,
  ]
  return { key, cells, ...(isBusy(edge) ? moodOf(edge) : { mood: 'dim' as const }) }
}

function moodOf({ successRate = 1 }: Rates): { readonly mood?: 'bad' } {
  return successRate < GOOD_SHARE ? { mood: 'bad' } : {}
}

function rateCells(row: Rates): string[] {
  return [
    rateText(row),
    shareText(row.successRate),
    percentileText(row.p50),
    percentileText(row.p95),
    percentileText(row.p99),
    String(row.connections),
    bytesText(row.bytesPerSecond),
  ]
}

function byName(a: { readonly name: string }, b: typeof a): number {
  return a.name < b.name ? -1 : 1
}
