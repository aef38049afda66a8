/** A benchmark's results: rows of JSON, and the table people read. */

export interface BenchOptions {
  readonly connections: readonly number[]
  /** Length of one measurement. */
  readonly seconds: number
  /** Measurements per row, interleaved between the peers; the row is the one of median CPU. */
  readonly rounds: number
}

export interface BenchRow {
  readonly case: string
  readonly connections: number
  readonly peer: string
  /** User and system time of the proxy's processes over the requests done. */
  readonly cpuMicrosPerRequest: number
  readonly requestsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Peak resident memory of the proxy's processes so far in the run. */
  readonly rssMiB: number
}

/** The row whose CPU is the median. */
export function medianRow(rows: readonly BenchRow[]): BenchRow {
  const sorted = [...rows].sort((a, b) => a.cpuMicrosPerRequest - b.cpuMicrosPerRequest)
  const row = sorted[(sorted.length - 1) >> 1]
  if (row === undefined) throw new Error('No measurement to take the median of')
  return row
}

const COLUMNS: readonly (readonly [string, (row: BenchRow, weir: BenchRow | undefined) => string])[] = [
  ['connections', (row) => String(row.connections)],
  ['peer', (row) => row.peer],
  ['CPU µs/request', (row) => row.cpuMicrosPerRequest.toFixed(1)],
  ['weir / peer', (row, weir) => (weir ? (weir.cpuMicrosPerRequest / row.cpuMicrosPerRequest).toFixed(2) : '')],
  ['requests/s', (row) => row.requestsPerSecond.toFixed(0)],
  ['p50 ms', (row) => row.p50Ms.toFixed(2)],
  ['p99 ms', (row) => row.p99Ms.toFixed(2)],
  ['RSS MiB', (row) => row.rssMiB.toFixed(0)],
]

/** A Markdown table; `weir / peer` is the ratio of CPU per request at the same connections. */
export function renderTable(rows: readonly BenchRow[]): string {
  const weirAt = (row: BenchRow) =>
    rows.find(({ peer, connections }) => peer === 'weir' && connections === row.connections)
  const lines = rows.map((row) => COLUMNS.map(([, render]) => render(row, weirAt(row))))
  const table = [COLUMNS.map(([title]) => title), COLUMNS.map(() => '---'), ...lines]
  return table.map((cells) => `| ${cells.join(' | ')} |`).join('\n')
}
