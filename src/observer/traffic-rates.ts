/**
 * Two answers of `/traffic` → what went on between them: per edge, per Service, per workload. Pure.
 *
 * Both ends may be on the node, and then both report. An edge is told by its source where that is here, since it also knows
 * what never arrived, else by its destination; so nothing is counted twice.
 */
import type { MetricFamily, TrafficAnswer } from '#contract'
import { type Percentile, percentile } from './percentile.ts'

export interface Rates {
  readonly requests: number
  readonly requestsPerSecond: number
  /** 0 … 1: without an answer of 5xx, a gRPC status that stands for one, or none; undefined without requests. */
  readonly successRate?: number
  readonly p50?: Percentile
  readonly p95?: Percentile
  readonly p99?: Percentile
  /** Opaque connections that are open at the end. */
  readonly connections: number
  readonly connectionsOpened: number
  /** Of bodies and opaque connections, both ways. */
  readonly bytesPerSecond: number
}

export interface EdgeRates extends Rates {
  /** `namespace/workload`; `unknown` outside the mesh. */
  readonly source: string
  readonly destination: string
  /** `namespace/name`; empty when a pod was called by its own address, or the caller's node alone knows it. */
  readonly service: string
  /** SPIFFE IDs; empty when not proven. */
  readonly sourceIdentity: string
  readonly destinationIdentity: string
  readonly secured: boolean
  readonly reporter: 'source' | 'destination'
}

export interface NamedRates extends Rates {
  readonly name: string
  /** Edges into it, and how many of them are secured. */
  readonly edges: number
  readonly securedEdges: number
}

export interface Traffic {
  readonly node: string
  readonly seconds: number
  readonly edges: readonly EdgeRates[]
  readonly services: readonly NamedRates[]
  /** What they are asked, as destinations. */
  readonly workloads: readonly NamedRates[]
}

/** Counts that can be added up. */
interface Tally {
  requests: number
  failed: number
  bounds: readonly number[]
  buckets: number[]
  opened: number
  openedEver: number
  closedEver: number
  bytes: number
}

export interface EdgeTally extends Tally {
  readonly labels: Labels
}

export type Labels = Readonly<Record<string, string>>

/** `before` undefined: since the proxies were started. */
export function trafficBetween(before: TrafficAnswer | undefined, after: TrafficAnswer): Traffic {
  const seconds = before === undefined ? 0 : Math.max(0.001, (after.atMs - before.atMs) / 1000)
  const tallies = tallyEdges(before?.families ?? [], after.families)
  const told = [...tallies.values()].filter((tally) => isTold(tally, tallies))
  const group = (nameOf: (labels: Labels) => string): NamedRates[] => {
    const groups = new Map<string, EdgeTally[]>()
    for (const tally of told) {
      const name = nameOf(tally.labels)
      if (name !== '') groups.set(name, [...(groups.get(name) ?? []), tally])
    }
    return [...groups].map(([name, members]) => ({
      name,
      ...ratesOf(members.reduce<Tally>(addTally, newTally()), seconds),
      edges: members.length,
      securedEdges: members.filter(({ labels }) => isSecured(labels)).length,
    }))
  }
  return {
    node: after.node,
    seconds,
    edges: told.map((tally) => ({ ...edgeOf(tally.labels), ...ratesOf(tally, seconds) })),
    services: group(serviceOf),
    workloads: group((labels) => workloadOf(labels, 'destination')),
  }
}

/** Of the two reports of an edge this is the one that counts: the source's, where there is one. */
export function isTold({ labels }: EdgeTally, all: ReadonlyMap<string, EdgeTally>): boolean {
  return labels['reporter'] === 'source' || !all.has(edgeKey({ ...labels, reporter: 'source' }))
}

const UNKNOWN = 'unknown'

function edgeOf(labels: Labels) {
  const identity = (name: string) => (labels[name] === UNKNOWN ? '' : (labels[name] ?? ''))
  const reporter: 'source' | 'destination' = labels['reporter'] === 'source' ? 'source' : 'destination'
  return {
    ...edgeNames(labels),
    sourceIdentity: identity('source_principal'),
    destinationIdentity: identity('destination_principal'),
    secured: isSecured(labels),
    reporter,
  }
}

/** Its ends, and what was asked for. */
export function edgeNames(labels: Labels) {
  return {
    source: workloadOf(labels, 'source'),
    destination: workloadOf(labels, 'destination'),
    service: serviceOf(labels),
  }
}

function workloadOf(labels: Labels, end: 'source' | 'destination'): string {
  const name = labels[`${end}_workload`] ?? UNKNOWN
  return name === UNKNOWN ? UNKNOWN : `${labels[`${end}_workload_namespace`] ?? ''}/${name}`
}

function serviceOf(labels: Labels): string {
  const name = labels['destination_service_name'] ?? UNKNOWN
  return name === UNKNOWN ? '' : `${labels['destination_service_namespace'] ?? ''}/${name}`
}

/** A source does not say it in as many words (Istio's labels); a destination has a principal there once it is proven. */
function isSecured(labels: Labels): boolean {
  if (labels['reporter'] === 'destination') return labels['connection_security_policy'] === 'mutual_tls'
  return [labels['source_principal'], labels['destination_principal']].every((one) => one !== UNKNOWN && one !== '')
}

const EDGE_LABELS = [
  'reporter',
  'source_workload',
  'source_workload_namespace',
  'destination_workload',
  'destination_workload_namespace',
  'destination_service_name',
  'destination_service_namespace',
]

/** Of both ends and the Service, as one of them reports it. */
export function edgeKey(labels: Labels): string {
  let key = ''
  for (const name of EDGE_LABELS) key += `${labels[name] ?? ''}\n`
  return key
}

export function tallyEdges(before: readonly MetricFamily[], after: readonly MetricFamily[]): Map<string, EdgeTally> {
  const tallies = new Map<string, EdgeTally>()
  for (const family of after) {
    const count = COUNTED[family.name]
    if (count === undefined) continue
    const known = new Map(
      before.find(({ name }) => name === family.name)?.series.map((one) => [seriesKey(one.labels), one.values]),
    )
    for (const { labels, values } of family.series) {
      const key = edgeKey(labels)
      const found = tallies.get(key)
      // Versions of a workload are one edge; what is proven in one of them, is not in all.
      const isWeaker = found !== undefined && isSecured(found.labels) && !isSecured(labels)
      const tally: EdgeTally = found === undefined ? { ...newTally(), labels } : isWeaker ? { ...found, labels } : found
      tallies.set(key, tally)
      // The key of a series is dear, and there is nothing to find before the first look.
      const old = known.size === 0 ? undefined : known.get(seriesKey(labels))
      // A proxy that was started again counts from 0.
      const isAnew = old?.some((value, at) => value > (values[at] ?? 0)) === true
      count(
        tally,
        values.map((value, at) => value - (isAnew ? 0 : (old?.[at] ?? 0))),
        { labels, values, bounds: family.buckets ?? [] },
      )
    }
  }
  return tallies
}

/** UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS: what OpenTelemetry holds against a server. */
const GRPC_FAILURES: ReadonlySet<string> = new Set(['2', '4', '12', '13', '14', '15'])

/** Requests so labelled got no answer, 5xx, or a gRPC status that stands for one. */
export function isFailure(labels: Labels): boolean {
  const status = Number(labels['response_code'])
  return status === 0 || status >= 500 || GRPC_FAILURES.has(labels['grpc_response_status'] ?? '')
}

interface Counted {
  readonly labels: Labels
  /** Since the start. */
  readonly values: readonly number[]
  readonly bounds: readonly number[]
}

const COUNTED: Readonly<Record<string, (tally: Tally, grown: readonly number[], counted: Counted) => void>> = {
  istio_requests_total: (tally, [grown = 0], { labels }) => {
    tally.requests += grown
    if (isFailure(labels)) tally.failed += grown
  },
  istio_request_duration_milliseconds: (tally, grown, { bounds }) => {
    tally.bounds = bounds
    tally.buckets = addAll(tally.buckets, grown.slice(0, bounds.length + 1))
  },
  istio_request_bytes: (tally, grown) => {
    tally.bytes += grown.at(-1) ?? 0
  },
  istio_response_bytes: (tally, grown) => {
    tally.bytes += grown.at(-1) ?? 0
  },
  istio_tcp_sent_bytes_total: (tally, [grown = 0]) => {
    tally.bytes += grown
  },
  istio_tcp_received_bytes_total: (tally, [grown = 0]) => {
    tally.bytes += grown
  },
  istio_tcp_connections_opened_total: (tally, [grown = 0], { values }) => {
    tally.opened += grown
    tally.openedEver += values[0] ?? 0
  },
  istio_tcp_connections_closed_total: (tally, _grown, { values }) => {
    tally.closedEver += values[0] ?? 0
  },
}

function seriesKey(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)))
}

function newTally(): Tally {
  return { requests: 0, failed: 0, bounds: [], buckets: [], opened: 0, openedEver: 0, closedEver: 0, bytes: 0 }
}

function addTally(into: Tally, one: Tally): Tally {
  return {
    requests: into.requests + one.requests,
    failed: into.failed + one.failed,
    bounds: one.bounds.length > 0 ? one.bounds : into.bounds,
    buckets: addAll(into.buckets, one.buckets),
    opened: into.opened + one.opened,
    openedEver: into.openedEver + one.openedEver,
    closedEver: into.closedEver + one.closedEver,
    bytes: into.bytes + one.bytes,
  }
}

function addAll(into: readonly number[], more: readonly number[]): number[] {
  return Array.from({ length: Math.max(into.length, more.length) }, (_, at) => (into[at] ?? 0) + (more[at] ?? 0))
}

function ratesOf(tally: Tally, seconds: number): Rates {
  const { requests, failed, bounds, buckets } = tally
  const perSecond = (count: number) => (seconds === 0 ? 0 : count / seconds)
  const at = (share: number) => percentile(bounds, buckets, share)
  const [p50, p95, p99] = [at(0.5), at(0.95), at(0.99)]
  return {
    requests,
    requestsPerSecond: perSecond(requests),
    ...(requests > 0 ? { successRate: 1 - failed / requests } : {}),
    ...(p50 === undefined ? {} : { p50 }),
    ...(p95 === undefined ? {} : { p95 }),
    ...(p99 === undefined ? {} : { p99 }),
    connections: Math.max(0, tally.openedEver - tally.closedEver),
    connectionsOpened: tally.opened,
    bytesPerSecond: perSecond(tally.bytes),
  }
}
