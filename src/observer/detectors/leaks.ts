/**
 * What grows without end and has not failed yet: the memory of proxies, of the agent and of pods, and the time that answers
 * take. Told when it would reach its limit within an hour at this pace.
 */
import type { Detected } from '../detected.ts'
import type { LookHistory } from '../look-history.ts'
import type { NodeLook } from '../node-look.ts'
import { MIN_REQUESTS, pairName } from '../recent-traffic.ts'
import { type Growth, type Point, steadyGrowth } from '../trend.ts'
import { durationWords, explainCommand, logsCommand, mebibytes, millis, placeWords, podLogsCommand } from '../words.ts'

/** Four minutes of looks: a cache that fills and a program that starts have settled by then. */
export const LEAK_LOOKS = 24
/** Enough time for somebody to do something. */
export const HORIZON_MS = 3_600_000
/** What grows by less since the first look is no reason to get up. */
const MEMORY_GROWTH_SHARE = 0.1
const LATENCY_GROWTH_FACTOR = 1.5
const LATENCY_GROWTH_MS = 10
/** Answers that take so long are given up by most clients. */
export const LATENCY_LIMIT_MS = 5_000

export function detectLeaks(history: LookHistory): readonly Detected[] {
  const { last } = history
  if (last === undefined || history.looks.length < LEAK_LOOKS) return []
  return [...memoryLeaks(history, last), ...latencyLeaks(history, last)]
}

interface Grower {
  readonly subject: string
  readonly what: string
  readonly next: string
  readonly limitBytes: number
  bytesAt(look: NodeLook): number | undefined
}

function memoryLeaks(history: LookHistory, last: NodeLook): readonly Detected[] {
  return growers(last).flatMap((grower): Detected[] => {
    const growth = growthOf(history, (look) => grower.bytesAt(look))
    if (growth === undefined || growth.to < growth.from * (1 + MEMORY_GROWTH_SHARE)) return []
    const leftMs = (grower.limitBytes - growth.to) / growth.perMs
    if (leftMs > HORIZON_MS) return []
    const { subject, what, next, limitBytes } = grower
    return [
      {
        kind: 'memory-leak',
        severity: 'warning',
        subject,
        says: `The memory of ${what} grows steadily, and reaches what there is for it in about ${durationWords(leftMs)}`,
        evidence: [
          `From ${mebibytes(growth.from)} to ${mebibytes(growth.to)} in ${durationWords(spanMs(history))}; there are ${mebibytes(limitBytes)} for it`,
        ],
        next,
        sinceMs: history.told('memory-leak', subject)?.sinceMs ?? history.looks[0]?.atMs ?? last.atMs,
        hurt: 0,
      },
    ]
  })
}

function growers({ proxies, pods, node }: NodeLook): readonly Grower[] {
  const ours = proxies.reduce((sum, { rssBytes }) => sum + rssBytes, node.agentRssBytes)
  const forOurs = Math.min(node.memoryAvailableBytes, (node.agentLimitBytes ?? Number.POSITIVE_INFINITY) - ours)
  return [
    ...proxies.map(
      ({ id, rssBytes }): Grower => ({
        subject: `proxy ${id}`,
        what: `proxy ${id} of this node`,
        next: 'weir top --sort connections',
        limitBytes: rssBytes + forOurs,
        bytesAt: (look) => look.proxies.find((one) => one.id === id)?.rssBytes,
      }),
    ),
    {
      subject: 'agent',
      what: 'the agent of this node',
      next: 'weir status',
      limitBytes: node.agentRssBytes + forOurs,
      bytesAt: (look) => look.node.agentRssBytes,
    },
    ...pods.flatMap((pod): Grower[] => {
      const { name, memoryBytes, memoryLimitBytes } = pod
      if (memoryBytes === undefined) return []
      return [
        {
          subject: name,
          what: `pod ${name}`,
          next: podLogsCommand(pod) ?? 'weir pods',
          limitBytes: memoryLimitBytes ?? memoryBytes + node.memoryAvailableBytes,
          bytesAt: (look) => look.pods.find((one) => one.name === name)?.memoryBytes,
        },
      ]
    }),
  ]
}

function latencyLeaks(history: LookHistory, last: NodeLook): readonly Detected[] {
  return [...meansPerPair(history)].flatMap(
    ([name, { points, requests, source, service, destinations }]): Detected[] => {
      if (points.length < LEAK_LOOKS || requests < MIN_REQUESTS * 3) return []
      const growth = steadyGrowth(points)
      if (growth === undefined) return []
      const { from, to, perMs } = growth
      if (to < from * LATENCY_GROWTH_FACTOR || to - from < LATENCY_GROWTH_MS) return []
      const leftMs = (LATENCY_LIMIT_MS - to) / perMs
      if (leftMs > HORIZON_MS) return []
      const [, target = ''] = name.split(' -> ')
      const logs = [...destinations].map((one) => logsCommand(last, one)).find((command) => command !== undefined)
      return [
        {
          kind: 'latency-leak',
          severity: 'warning',
          subject: name,
          says: `Answers from ${placeWords(target)} to ${placeWords(source)} take longer and longer, and reach ${LATENCY_LIMIT_MS / 1000} s in about ${durationWords(leftMs)}`,
          evidence: [
            `From ${millis(from)} to ${millis(to)} on average in ${durationWords(spanMs(history))}, over ${requests} requests`,
          ],
          next:
            logs ??
            explainCommand(last, source, service) ??
            (target === 'unknown' ? 'weir edges' : `weir stat ${target}`),
          sinceMs: history.told('latency-leak', name)?.sinceMs ?? history.looks[0]?.atMs ?? last.atMs,
          hurt: 0,
        },
      ]
    },
  )
}

interface PairMeans {
  readonly source: string
  readonly service: string
  readonly destinations: Set<string>
  readonly points: Point[]
  requests: number
}

/** The mean of each look in which anything was asked. */
function meansPerPair({ looks }: LookHistory): ReadonlyMap<string, PairMeans> {
  const pairs = new Map<string, PairMeans>()
  for (const { atMs, edges } of looks) {
    const here = new Map<string, { requests: number; durationMs: number }>()
    for (const { edge, requests, durationMs } of edges) {
      // Opaque connections last as long as they are used.
      if (durationMs === 0) continue
      const name = pairName(edge)
      const sum = here.get(name) ?? { requests: 0, durationMs: 0 }
      here.set(name, { requests: sum.requests + requests, durationMs: sum.durationMs + durationMs })
      const { source, service } = edge
      const pair = pairs.get(name) ?? { source, service, destinations: new Set(), points: [], requests: 0 }
      pairs.set(name, pair)
      pair.destinations.add(edge.destination)
    }
    for (const [name, { requests, durationMs }] of here) {
      const pair = pairs.get(name)
      pair?.points.push({ atMs, value: durationMs / requests })
      if (pair !== undefined) pair.requests += requests
    }
  }
  return pairs
}

function growthOf({ looks }: LookHistory, valueAt: (look: NodeLook) => number | undefined): Growth | undefined {
  const points = looks.flatMap((look): Point[] => {
    const value = valueAt(look)
    return value === undefined || value === 0 ? [] : [{ atMs: look.atMs, value }]
  })
  return points.length < LEAK_LOOKS ? undefined : steadyGrowth(points)
}

function spanMs({ looks }: LookHistory): number {
  return (looks.at(-1)?.atMs ?? 0) - (looks[0]?.atMs ?? 0)
}
