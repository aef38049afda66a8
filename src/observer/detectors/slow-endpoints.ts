/** Endpoints of a Service that take much longer to answer than the others of it. */
import type { Detected } from '../detected.ts'
import type { LookHistory } from '../look-history.ts'
import { secondsOf } from '../look-history.ts'
import type { NodeLook } from '../node-look.ts'
import { MIN_REQUESTS } from '../recent-traffic.ts'
import { durationWords, explainCommand, millis, podLogsCommand } from '../words.ts'

/** So many times the median of its peers, and by so much: below that a user does not notice. */
export const SLOW_FACTOR = 3
export const STILL_SLOW_FACTOR = 2
export const SLOW_BY_MS = 20
/** It gets few requests, because balancing avoids it: so few are enough of its own, where its peers have enough. */
export const MIN_ANSWERS = 5
const CRITICAL_MS = 1_000

interface EndpointSum {
  readonly endpoint: string
  readonly pod: string
  answers: number
  answersMs: number
}

export function detectSlowEndpoints(history: LookHistory): readonly Detected[] {
  const { last } = history
  if (last === undefined) return []
  return [...sumsByService(history.recent)].flatMap(([service, sums]) => {
    const known = sums.filter(({ answers }) => answers >= MIN_ANSWERS)
    return known.flatMap((one): Detected[] => {
      const peers = known.filter((other) => other !== one)
      const asked = peers.reduce((sum, { answers }) => sum + answers, 0)
      if (peers.length === 0 || asked < MIN_REQUESTS) return []
      const subject = `${service} ${one.endpoint}`
      const told = history.told('endpoint-slow', subject)
      const usual = median(peers.map(meanOf))
      const mean = meanOf(one)
      if (mean < usual * (told === undefined ? SLOW_FACTOR : STILL_SLOW_FACTOR) || mean - usual < SLOW_BY_MS) return []
      const window = durationWords(secondsOf(history.recent) * 1000)
      return [
        {
          kind: 'endpoint-slow',
          severity: mean >= CRITICAL_MS ? 'critical' : 'warning',
          subject,
          says: `Endpoint ${one.endpoint} of Service ${service}${one.pod === '' ? '' : ` (pod ${one.pod})`} takes ${millis(mean)} to answer, its peers ${millis(usual)}`,
          evidence: [
            `${one.answers} answers from it in the last ${window}, ${asked} from its ${peers.length === 1 ? 'peer' : `${peers.length} peers`}`,
          ],
          next: nextCommand(last, one.pod, service),
          sinceMs: told?.sinceMs ?? history.recent.find((look) => has(look, one.endpoint))?.atMs ?? last.atMs,
          hurt: one.answers,
        },
      ]
    })
  })
}

function nextCommand(last: NodeLook, name: string, service: string): string {
  const pod = last.pods.find((one) => one.name === name)
  const logs = pod && podLogsCommand(pod)
  const caller = last.edges.find(({ edge }) => edge.service === service.replace(/:\d+$/, ''))?.edge.source
  return logs ?? explainCommand(last, caller ?? 'unknown', service) ?? `weir stat ${service.replace(/:\d+$/, '')}`
}

function has({ endpoints }: NodeLook, endpoint: string): boolean {
  return endpoints.some((one) => one.endpoint === endpoint)
}

function sumsByService(looks: readonly NodeLook[]): ReadonlyMap<string, readonly EndpointSum[]> {
  const services = new Map<string, Map<string, EndpointSum>>()
  for (const { endpoints } of looks) {
    for (const { service, endpoint, pod, answers, answersMs } of endpoints) {
      const sums = services.get(service) ?? new Map<string, EndpointSum>()
      services.set(service, sums)
      const sum = sums.get(endpoint) ?? { endpoint, pod, answers: 0, answersMs: 0 }
      sums.set(endpoint, sum)
      sum.answers += answers
      sum.answersMs += answersMs
    }
  }
  return new Map(Array.from(services, ([service, sums]) => [service, [...sums.values()]]))
}

function meanOf({ answers, answersMs }: EndpointSum): number {
  return answersMs / answers
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const half = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? (sorted[half] ?? 0) : ((sorted[half - 1] ?? 0) + (sorted[half] ?? 0)) / 2
}
