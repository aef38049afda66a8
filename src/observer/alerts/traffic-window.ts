/**
 * What went on in the last minutes, per edge, from counters that only grow: of each look what was added, of the counters
 * themselves only the sums per edge.
 */
import type { MetricFamily } from '#contract'
import { addTally, type EdgeTally, edgeNames, isTold, newTally, type Tally, tallyEdges } from '#observer'

export interface EdgeTraffic {
  /** `namespace/workload`; `unknown` outside the mesh. */
  readonly source: string
  readonly destination: string
  /** `namespace/name`, or empty. */
  readonly service: string
  readonly tally: Tally
}

interface Step {
  readonly atMs: number
  readonly seconds: number
  /** Edges on which something went on. */
  readonly grown: ReadonlyMap<string, Tally>
}

/** Of more edges, those that come first in the counters are looked at. */
const MAX_EDGES = 2000
/** Looks may come closer together than meant. */
const MAX_STEPS = 120

export class TrafficWindow {
  readonly #longestMs: number
  #steps: Step[] = []
  #totals: ReadonlyMap<string, EdgeTally> | undefined
  #atMs = 0

  /** @param longestMs the longest window that will be asked for */
  constructor(longestMs: number) {
    this.#longestMs = longestMs
  }

  /** @param atMs of the counters; a look that is no later than the last one is left out */
  add(atMs: number, families: readonly MetricFamily[]): void {
    if (this.#totals !== undefined && atMs <= this.#atMs) return
    const totals = new Map([...tallyEdges([], families)].slice(0, MAX_EDGES))
    const before = this.#totals
    if (before !== undefined) {
      const grown = new Map<string, Tally>()
      for (const [key, total] of totals) {
        const growth = growthOf(before.get(key) ?? newTally(), total)
        if (growth !== undefined) grown.set(key, growth)
      }
      this.#steps.push({ atMs, seconds: (atMs - this.#atMs) / 1000, grown })
    }
    const from = atMs - this.#longestMs
    // What began before the window is in it while its end is.
    this.#steps = this.#steps.filter((step) => step.atMs > from).slice(-MAX_STEPS)
    this.#totals = totals
    this.#atMs = atMs
  }

  /**
   * All edges that were ever seen, each once, with what went on in the window. Undefined while there was only one look.
   */
  within(windowMs: number): { readonly seconds: number; readonly edges: readonly EdgeTraffic[] } | undefined {
    const steps = this.#steps.filter(({ atMs }) => atMs > this.#atMs - windowMs)
    const totals = this.#totals
    if (totals === undefined || steps.length === 0) return undefined
    const edges: EdgeTraffic[] = []
    for (const [key, total] of totals) {
      if (!isTold(total, totals)) continue
      const { openedEver, closedEver } = total
      const sum = steps.reduce<Tally>((all, { grown }) => addTally(all, grown.get(key) ?? NOTHING), newTally())
      edges.push({ ...edgeNames(total.labels), tally: { ...sum, openedEver, closedEver } })
    }
    return { seconds: steps.reduce((sum, { seconds }) => sum + seconds, 0), edges }
  }
}

const NOTHING: Tally = newTally()

/** Undefined: nothing was added. A proxy that was started again counts from 0: what it added is not known then, and not told. */
function growthOf(before: Tally, after: Tally): Tally | undefined {
  const buckets = after.buckets.map((count, at) => Math.max(0, count - (before.buckets[at] ?? 0)))
  const grown: Tally = {
    requests: Math.max(0, after.requests - before.requests),
    failed: Math.max(0, after.failed - before.failed),
    bounds: after.bounds,
    buckets,
    opened: Math.max(0, after.opened - before.opened),
    openedEver: 0,
    closedEver: 0,
    bytes: Math.max(0, after.bytes - before.bytes),
  }
  return grown.requests > 0 || grown.opened > 0 || grown.bytes > 0 ? grown : undefined
}
