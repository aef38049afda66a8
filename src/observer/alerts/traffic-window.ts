/**
 * What went on in the last minutes, per edge, from counters that only grow: of each look what was added, as compact as can
 * be, since there are many of them; of the counters themselves only the sums per edge.
 */
import type { MetricFamily } from '#contract'
import { type EdgeTally, edgeNames, fairShare, isTold, namespaceIn, tallyEdges } from '#observer'

/** Of an edge, or of several together. */
export interface TrafficSum {
  requests: number
  failed: number
  bytes: number
  /** Open at the last look. */
  connections: number
  /** Upper bounds of the histogram of durations. */
  bounds: readonly number[]
  /** Not cumulative, and one more than there are bounds. */
  readonly buckets: number[]
}

export interface EdgeTraffic {
  /** `namespace/workload`; `unknown` outside the mesh. */
  readonly source: string
  readonly destination: string
  /** `namespace/name`, or empty. */
  readonly service: string
  readonly sum: TrafficSum
}

export interface WindowTraffic {
  readonly seconds: number
  readonly edges: readonly EdgeTraffic[]
}

/** What one look added to an edge. */
interface Grown {
  readonly requests: number
  readonly failed: number
  readonly bytes: number
  /** Places and counts by turns, of those that are not 0. */
  readonly buckets: readonly number[]
}

interface Step {
  readonly atMs: number
  readonly seconds: number
  /** Edges on which something went on. */
  readonly grown: ReadonlyMap<string, Grown>
}

/** Of more edges, the busiest of each namespace that calls, since the proxies were started, are looked at. */
const MAX_EDGES = 1000
/** Looks may come closer together than meant. */
const MAX_STEPS = 120

export class TrafficWindow {
  readonly #longestMs: number
  #steps: Step[] = []
  #totals: ReadonlyMap<string, EdgeTally> | undefined
  /** Not all that were counted are among them. */
  #isCut = false
  #atMs = 0
  /** Of the last look, by the window: many rules have the same. */
  readonly #sums = new Map<number, WindowTraffic>()

  /** @param longestMs the longest window that will be asked for */
  constructor(longestMs: number) {
    this.#longestMs = longestMs
  }

  /** @param atMs of the counters; a look that is no later than the last one is left out */
  add(atMs: number, families: readonly MetricFamily[]): void {
    if (this.#totals !== undefined && atMs <= this.#atMs) return
    const all = tallyEdges([], families)
    const totals = busiest(all)
    const before = this.#totals
    if (before !== undefined) {
      const grown = new Map<string, Grown>()
      for (const [key, total] of totals) {
        // What came into view has not begun now: it was counted before, and left out.
        if (this.#isCut && !before.has(key)) continue
        const growth = growthOf(before.get(key), total)
        if (growth !== undefined) grown.set(key, growth)
      }
      this.#steps.push({ atMs, seconds: (atMs - this.#atMs) / 1000, grown })
    }
    const from = atMs - this.#longestMs
    // What began before the window is in it while its end is.
    this.#steps = this.#steps.filter((step) => step.atMs > from).slice(-MAX_STEPS)
    this.#totals = totals
    this.#isCut = totals.size < all.size
    this.#atMs = atMs
    this.#sums.clear()
  }

  /** All edges that are known, each once, with what went on in the window. Undefined while there was only one look. */
  within(windowMs: number): WindowTraffic | undefined {
    const known = this.#sums.get(windowMs)
    if (known !== undefined) return known
    const steps = this.#steps.filter(({ atMs }) => atMs > this.#atMs - windowMs)
    const totals = this.#totals
    if (totals === undefined || steps.length === 0) return undefined
    const edges: EdgeTraffic[] = []
    for (const [key, total] of totals) {
      if (!isTold(total, totals)) continue
      const sum = newSum()
      sum.bounds = total.bounds
      sum.connections = Math.max(0, total.openedEver - total.closedEver)
      for (const { grown } of steps) addGrown(sum, grown.get(key))
      edges.push({ ...edgeNames(total.labels), sum })
    }
    const found = { seconds: steps.reduce((sum, { seconds }) => sum + seconds, 0), edges }
    this.#sums.set(windowMs, found)
    return found
  }
}

export function newSum(): TrafficSum {
  return { requests: 0, failed: 0, bytes: 0, connections: 0, bounds: [], buckets: [] }
}

export function addSum(into: TrafficSum, one: TrafficSum): void {
  into.requests += one.requests
  into.failed += one.failed
  into.bytes += one.bytes
  into.connections += one.connections
  if (one.bounds.length > 0) into.bounds = one.bounds
  for (const [at, count] of one.buckets.entries()) into.buckets[at] = (into.buckets[at] ?? 0) + count
}

function addGrown(into: TrafficSum, grown: Grown | undefined): void {
  if (grown === undefined) return
  into.requests += grown.requests
  into.failed += grown.failed
  into.bytes += grown.bytes
  while (into.buckets.length <= into.bounds.length) into.buckets.push(0)
  for (let at = 0; at < grown.buckets.length; at += 2) {
    const place = grown.buckets[at] ?? 0
    into.buckets[place] = (into.buckets[place] ?? 0) + (grown.buckets[at + 1] ?? 0)
  }
}

function busiest(all: ReadonlyMap<string, EdgeTally>): ReadonlyMap<string, EdgeTally> {
  if (all.size <= MAX_EDGES) return all
  const weight = ({ requests, openedEver }: EdgeTally) => requests + openedEver
  const sorted = [...all].sort(([, a], [, b]) => weight(b) - weight(a))
  return new Map(fairShare(sorted, MAX_EDGES, ([, { labels }]) => namespaceIn(edgeNames(labels).source)))
}

/** Undefined: nothing was added. A proxy that was started again counts from 0: what it added is not known then, and not told. */
function growthOf(before: EdgeTally | undefined, after: EdgeTally): Grown | undefined {
  const requests = Math.max(0, after.requests - (before?.requests ?? 0))
  const failed = Math.max(0, after.failed - (before?.failed ?? 0))
  const bytes = Math.max(0, after.bytes - (before?.bytes ?? 0))
  if (requests === 0 && bytes === 0) return undefined
  const buckets: number[] = []
  for (const [at, count] of after.buckets.entries()) {
    const grown = count - (before?.buckets[at] ?? 0)
    if (grown > 0) buckets.push(at, grown)
  }
  return { requests, failed, bytes, buckets }
}
