/** One measurement: wrk against a URL, and what the proxy's processes used meanwhile. */
import { readFileSync } from 'node:fs'
import type { LabHost } from '../support/lab-host.ts'
import type { BenchRow } from './rows.ts'

/** Clock ticks per second of /proc/PID/stat: fixed at 100 by the kernel's user interface. */
const TICKS_PER_SECOND = 100

/** User and system CPU of a process with all its threads, µs. */
export function cpuMicros(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return ((Number(fields[11]) + Number(fields[12])) * 1e6) / TICKS_PER_SECOND
}

/** Peak resident memory of a process, MiB. */
export function peakMiB(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
}

export const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

/** wrk's durations, e.g. `641.00us`. */
function milliseconds(text: string): number {
  const match = /^([\d.]+)(us|ms|s)$/.exec(text)
  if (match === null) throw new Error(`wrk printed a duration that is not understood: ${text}`)
  return Number(match[1]) * (match[2] === 'us' ? 0.001 : match[2] === 'ms' ? 1 : 1000)
}

export interface Load {
  readonly host: LabHost
  readonly url: string
  readonly connections: number
  readonly seconds: number
  /** Header lines that the client sends. */
  readonly headers?: readonly string[]
  /** The proxy's processes. */
  readonly pids: readonly number[]
}

export async function measure(load: Load, name: string, peer: string): Promise<BenchRow> {
  const { host, url, connections, seconds, pids, headers = [] } = load
  const before = sum(pids.map(cpuMicros))
  const args = [
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '--latency',
    ...headers.flatMap((line) => ['-H', line]),
    url,
  ]
  const { stdout, stderr, code } = await host.exec('wrk', args, { timeoutMs: (seconds + 20) * 1000 })
  const used = sum(pids.map(cpuMicros)) - before
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0)
  // Answers other than 2xx or broken connections: what was measured is not what was meant.
  if (code !== 0 || requests === 0 || /Non-2xx|Socket errors/.test(stdout)) {
    throw new Error(`${name}, ${peer}: wrk failed\n${stdout}${stderr}`)
  }
  const at = (percent: string) => milliseconds(new RegExp(`^ +${percent}% +(\\S+)`, 'm').exec(stdout)?.[1] ?? '')
  return {
    case: name,
    connections,
    peer,
    cpuMicrosPerRequest: used / requests,
    requestsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1] ?? 0),
    p50Ms: at('50'),
    p99Ms: at('99'),
    rssMiB: sum(pids.map(peakMiB)),
  }
}
