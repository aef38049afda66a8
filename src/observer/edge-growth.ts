/**
 * What the counters of a node's proxies have grown by from one look to the next, per edge. Of what was counted before, only
 * the sums are kept.
 */
import type { MetricFamily } from '#contract'
import { fairShare, namespaceIn } from './fair-share.ts'
import type { Edge, EdgeSample } from './node-look.ts'
import { edgeKey, edgeNames, isFailure, type Labels } from './traffic-rates.ts'

/** Of more edges at one time, the busiest of each namespace that calls are told. */
const MAX_EDGES = 500

interface Growing {
  readonly edge: Edge
  readonly reporter: string
  requests: number
  failed: number
  denied: number
  reasons: Record<string, number>
  durationMs: number
}

/** Flags of a connection that is not what its peers wanted, with no status beside it. */
const CONNECTION_FAILURES: ReadonlySet<string> = new Set(['UF', 'UH', 'UT', 'UO', 'NR', 'OM', 'BH'])

/** A client that went away, or did not finish what it said: nobody failed it. */
const CALLERS_OWN: ReadonlySet<string> = new Set(['DC', 'DPE', 'SI'])

/** What one process counted since it was started. */
export interface CountedBy {
  /** Another one each time it is started. */
  readonly process: string
  readonly families: readonly MetricFamily[]
}

export class EdgeGrowth {
  /** By process. */
  #before = new Map<string, ReadonlyMap<string, number>>()
  /** Each edge is one object, however many looks tell of it. */
  #edges = new Map<string, Edge>()
  #isFirst = true

  /**
   * What was counted since the call before; nothing at the first.
   * @param alive processes; what one of them that gives no answer now has counted is told when it answers again
   */
  grown(answers: readonly CountedBy[], alive: ReadonlySet<string>): readonly EdgeSample[] {
    const found = new Map<string, Growing>()
    const edges = new Map<string, Edge>()
    for (const { process, families } of answers) {
      const before = this.#before.get(process) ?? new Map<string, number>()
      this.#before.set(process, this.#count(families, before, found, edges))
    }
    for (const process of this.#before.keys()) if (!alive.has(process)) this.#before.delete(process)
    this.#edges = edges
    const isFirst = this.#isFirst
    this.#isFirst = false
    return isFirst ? [] : toldOnce(found)
  }

  /** Adds what one process counted; its new totals. */
  #count(
    families: readonly MetricFamily[],
    before: ReadonlyMap<string, number>,
    found: Map<string, Growing>,
    edges: Map<string, Edge>,
  ): ReadonlyMap<string, number> {
    const totals = new Map<string, number>()
    for (const family of families) {
      const count = COUNTED[family.name]
      if (count === undefined) continue
      for (const { labels, values } of family.series) {
        const key = edgeKey(labels)
        const whole = `${family.name} ${key} ${outcomeKey(labels)}`
        // Series that differ in what is not asked here are one.
        const counted = totals.get(whole) ?? 0
        const total = counted + (values.at(-1) ?? 0)
        totals.set(whole, total)
        const edge = this.#edges.get(key) ?? edges.get(key) ?? edgeNames(labels)
        edges.set(key, edge)
        const growing = found.get(key) ?? newGrowing(edge, labels['reporter'] ?? '')
        found.set(key, growing)
        count(growing, labels, Math.max(0, total - Math.max(before.get(whole) ?? 0, counted)))
      }
    }
    return totals
  }
}

const COUNTED: Readonly<Record<string, (growing: Growing, labels: Labels, grown: number) => void>> = {
  istio_requests_total: (growing, labels, grown) => {
    growing.requests += grown
    const flag = labels['response_flags'] ?? '-'
    if (flag === 'RBAC') growing.denied += grown
    else if (isFailure(labels) && !CALLERS_OWN.has(flag)) addFailure(growing, `${flag} ${statusOf(labels)}`, grown)
  },
  istio_request_duration_milliseconds: (growing, _labels, grown) => {
    growing.durationMs += grown
  },
  istio_tcp_connections_closed_total: (growing, labels, grown) => {
    growing.requests += grown
    const flag = labels['response_flags'] ?? '-'
    if (flag === 'RBAC') growing.denied += grown
    else if (CONNECTION_FAILURES.has(flag)) addFailure(growing, `${flag} 0`, grown)
  },
}

/** What is to be asked for. */
export const COUNTED_FAMILIES: readonly string[] = Object.keys(COUNTED)

function addFailure(growing: Growing, reason: string, count: number): void {
  if (count === 0) return
  growing.failed += count
  growing.reasons[reason] = (growing.reasons[reason] ?? 0) + count
}

function statusOf(labels: Labels): string {
  const grpc = labels['grpc_response_status'] ?? ''
  return grpc === '' || grpc === '0' ? (labels['response_code'] ?? '0') : `gRPC ${grpc}`
}

/** An edge is told by its source where that is here, since it also knows what never arrived. */
function toldOnce(found: ReadonlyMap<string, Growing>): readonly EdgeSample[] {
  const bySource = new Set<string>()
  for (const { reporter, edge } of found.values()) if (reporter === 'source') bySource.add(nameOf(edge))
  const busiest = [...found.values()]
    .filter(({ reporter, edge, requests }) => requests > 0 && (reporter === 'source' || !bySource.has(nameOf(edge))))
    .sort((a, b) => b.requests - a.requests)
  return fairShare(busiest, MAX_EDGES, ({ edge }) => namespaceIn(edge.source)).map(
    ({ reporter: _reporter, ...sample }) => sample,
  )
}

export function nameOf({ source, destination, service }: Edge): string {
  return `${source}\n${destination}\n${service}`
}

function newGrowing(edge: Edge, reporter: string): Growing {
  return { edge, reporter, requests: 0, failed: 0, denied: 0, reasons: {}, durationMs: 0 }
}

function outcomeKey(labels: Labels): string {
  return `${labels['response_code'] ?? ''} ${labels['grpc_response_status'] ?? ''} ${labels['response_flags'] ?? ''}`
}
