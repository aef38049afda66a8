/** What went on over windows of looks, per pair of a caller and what it asks for. */
import type { LookHistory } from './look-history.ts'
import type { Edge, EdgeSample, NodeLook } from './node-look.ts'

/** Fewer requests in a window say nothing about a rate. */
export const MIN_REQUESTS = 20

/** A caller and what it asks for: a Service, or the workload where there is none. */
export interface PairSum {
  readonly source: string
  /** What was asked for, else the destination. */
  readonly target: string
  /** `namespace/name`; empty when a pod was asked for by its address. */
  readonly service: string
  /** What answered, the busiest first is not promised; `unknown` is not among them. */
  readonly destinations: Map<string, { requests: number; failed: number }>
  requests: number
  failed: number
  denied: number
  durationMs: number
  readonly reasons: Record<string, number>
}

export type Pairs = ReadonlyMap<string, PairSum>

/** By `source -> target`. */
export function sumPairs(looks: readonly NodeLook[]): Pairs {
  const pairs = new Map<string, PairSum>()
  for (const { edges } of looks) {
    for (const sample of edges) {
      const name = pairName(sample.edge)
      const sum = pairs.get(name) ?? newPair(sample.edge)
      pairs.set(name, sum)
      addSample(sum, sample)
    }
  }
  return pairs
}

export function pairName({ source, destination, service }: Edge): string {
  return `${source} -> ${service === '' ? destination : service}`
}

function newPair({ source, destination, service }: Edge): PairSum {
  return {
    source,
    target: service === '' ? destination : service,
    service,
    destinations: new Map(),
    requests: 0,
    failed: 0,
    denied: 0,
    durationMs: 0,
    reasons: {},
  }
}

function addSample(sum: PairSum, { edge, requests, failed, denied, durationMs, reasons }: EdgeSample): void {
  sum.requests += requests
  sum.failed += failed
  sum.denied += denied
  sum.durationMs += durationMs
  for (const [reason, count] of Object.entries(reasons)) sum.reasons[reason] = (sum.reasons[reason] ?? 0) + count
  if (edge.destination === 'unknown') return
  const reached = sum.destinations.get(edge.destination) ?? { requests: 0, failed: 0 }
  sum.destinations.set(edge.destination, reached)
  reached.requests += requests
  reached.failed += failed
}

/** Now, of those edges: requests, and failures for those reasons. */
export function recentSum(
  history: LookHistory,
  isMeant: (sample: EdgeSample) => boolean,
  reasons: RegExp,
): { readonly requests: number; readonly failed: number } {
  let requests = 0
  let failed = 0
  for (const { edges } of history.recent) {
    for (const sample of edges) {
      if (!isMeant(sample)) continue
      requests += sample.requests
      for (const [reason, count] of Object.entries(sample.reasons)) if (reasons.test(reason)) failed += count
    }
  }
  return { requests, failed }
}

/**
 * The first of the last looks without a break in which it was so; looks without a request say nothing.
 * @returns where it is in `looks`; their end when it is not so in the last that says something
 */
export function beginning(
  looks: readonly NodeLook[],
  pair: string,
  isSo: (sum: { readonly requests: number; readonly failed: number; readonly denied: number }) => boolean,
): number {
  let first = looks.length
  for (let at = looks.length - 1; at >= 0; at--) {
    let [requests, failed, denied] = [0, 0, 0]
    for (const sample of looks[at]?.edges ?? []) {
      if (pairName(sample.edge) !== pair) continue
      requests += sample.requests
      failed += sample.failed
      denied += sample.denied
    }
    if (requests === 0) continue
    if (!isSo({ requests, failed, denied })) break
    first = at
  }
  return first
}
