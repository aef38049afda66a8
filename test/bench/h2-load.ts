/** One measurement of HTTP/2: h2load against a URL, and what the proxy's processes used meanwhile. */
import { readFileSync, rmSync } from 'node:fs'
import { cpuMicros, type Load, peakMiB, sum } from './load.ts'
import type { BenchRow } from './rows.ts'

/** Streams open at once in each connection. */
const STREAMS = 10

export interface Http2Load extends Load {
  /** The body of each request; without one it is a GET. */
  readonly bodyFile?: string
  /** Where h2load writes the latencies. */
  readonly logFile: string
}

export async function measureHttp2(load: Http2Load, name: string, peer: string): Promise<BenchRow> {
  const { host, url, connections, seconds, pids, headers = [], bodyFile, logFile } = load
  rmSync(logFile, { force: true })
  const before = sum(pids.map(cpuMicros))
  const args = [
    `-c${connections}`,
    `-m${STREAMS}`,
    '-t1',
    `-D${seconds}`,
    `--log-file=${logFile}`,
    ...headers.flatMap((line) => ['-H', line]),
    ...(bodyFile === undefined ? [] : ['-d', bodyFile]),
    url,
  ]
  const { stdout, stderr, code } = await host.exec('h2load', args, { timeoutMs: (seconds + 20) * 1000 })
  const used = sum(pids.map(cpuMicros)) - before
  const count = (what: string) => Number(new RegExp(`(\\d+) ${what}`).exec(stdout)?.[1] ?? -1)
  const requests = count('succeeded')
  if (code !== 0 || requests <= 0 || count('failed') !== 0 || count('3xx') + count('4xx') + count('5xx') !== 0) {
    throw new Error(`${name}, ${peer}: h2load failed\n${stdout}${stderr}`)
  }
  // Per request: start, status, microseconds.
  const times = readFileSync(logFile, 'latin1')
    .split('\n')
    .map((line) => Number(line.split('\t')[2]))
    .filter((micros) => micros > 0)
    .sort((one, other) => one - other)
  const at = (share: number) => (times[Math.floor(times.length * share)] ?? 0) / 1000
  return {
    case: name,
    connections,
    peer,
    cpuMicrosPerRequest: used / requests,
    requestsPerSecond: requests / seconds,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    rssMiB: sum(pids.map(peakMiB)),
  }
}
