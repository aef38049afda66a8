/**
 * What a proxy tells of a traced request: enough for the spans of its one or two sides. Batches are JSON of short rows in
 * a fixed order; what reads them goes by nothing that it has not checked.
 */

/** A pod at one end. */
export interface TracedPeer {
  readonly namespace: string
  readonly pod: string
  readonly uid: string
  /** Its owner, as metrics name it; the pod where it has none. */
  readonly service: string
  readonly version: string
}

/** Who talks to whom: the same for many requests. */
export interface TracedEdge {
  readonly source: TracedPeer | undefined
  readonly destination: TracedPeer | undefined
  /** Host name of the Service that was called; empty: none. */
  readonly host: string
  /** Which sides are this node's to tell of. */
  readonly sides: 'client' | 'server' | 'both'
}

export interface Retry {
  /** After the beginning, ms. */
  readonly atMs: number
  /** `address:port` that failed. */
  readonly upstream: string
  readonly why: string
}

export interface TracedRequest {
  readonly traceId: string
  /** Empty: the trace begins here. */
  readonly parentId: string
  /** Empty where there is no such span. */
  readonly clientId: string
  readonly serverId: string
  readonly sampled: boolean
  /** Why it is told of. */
  readonly reason: 'head' | 'error' | 'slow'
  /** Since the epoch, with fractions. */
  readonly startMs: number
  readonly durationMs: number
  readonly method: string
  readonly path: string
  readonly authority: string
  readonly isHttp2: boolean
  readonly isGrpc: boolean
  /** It is a copy of another. */
  readonly isMirror: boolean
  /** 0: no answer was sent. */
  readonly status: number
  /** -1: none came. */
  readonly grpcStatus: number
  readonly flag: string
  /** In words; empty when there is nothing to say. */
  readonly why: string
  readonly clientAddress: string
  /** `address:port`; empty: it went nowhere. */
  readonly upstream: string
  readonly route: string
  readonly policy: string
  readonly requestId: string
  readonly bytesIn: number
  readonly bytesOut: number
  readonly retries: readonly Retry[]
}

export interface TracedOnEdge {
  readonly edge: TracedEdge
  readonly request: TracedRequest
  /** Of all texts of both, at least. */
  readonly characters: number
}

/**
 * Whose a request is where many share what there is room for: of the pod that called; of one that came from outside the
 * mesh, of the pod that was called.
 */
export function sharerOf({ source, destination }: TracedEdge): string {
  return source?.uid ?? `to ${destination?.uid ?? ''}`
}

/** Of what is read, characters; what `renderRow` and `renderEdge` make is shorter. */
const MAX_ROW = 16_384
const MAX_EDGE = 4_096
const MAX_ROWS = 1_024
const MAX_PATH = 1024
const MAX_TEXT = 512
const MAX_RETRIES = 16
const REASONS = ['head', 'error', 'slow'] as const
const SIDES = ['client', 'server', 'both'] as const

/** @param edge its place in the batch's list */
export function renderRow(edge: number, request: TracedRequest): string {
  const bits =
    (request.sampled ? 1 : 0) | (request.isHttp2 ? 2 : 0) | (request.isGrpc ? 4 : 0) | (request.isMirror ? 8 : 0)
  return JSON.stringify([
    edge,
    request.traceId,
    request.parentId,
    request.clientId,
    request.serverId,
    bits,
    REASONS.indexOf(request.reason),
    Math.round(request.startMs * 1000) / 1000,
    Math.round(request.durationMs * 1000) / 1000,
    request.method.slice(0, 64),
    request.path.slice(0, MAX_PATH),
    request.authority.slice(0, MAX_TEXT),
    request.status,
    request.grpcStatus,
    request.flag,
    request.why.slice(0, MAX_TEXT),
    request.clientAddress,
    request.upstream,
    request.route,
    request.policy,
    request.requestId,
    request.bytesIn,
    request.bytesOut,
    request.retries
      .slice(0, MAX_RETRIES)
      .map(({ atMs, upstream, why }) => [Math.round(atMs * 1000) / 1000, upstream, why]),
  ])
}

export function renderEdge({ source, destination, host, sides }: TracedEdge): string {
  return JSON.stringify([peerRow(source), peerRow(destination), host, SIDES.indexOf(sides)])
}

function peerRow(peer: TracedPeer | undefined): readonly string[] {
  return peer === undefined ? [] : [peer.namespace, peer.pod, peer.uid, peer.service, peer.version]
}

/** @param edges of `renderEdge` @param rows of `renderRow` */
export function renderBatch(edges: readonly string[], rows: readonly string[]): string {
  return `[[${edges.join(',')}],[${rows.join(',')}]]`
}

/** Undefined when it is not what `renderBatch` makes. */
export function readBatch(text: string): readonly TracedOnEdge[] | undefined {
  try {
    const [edges, rows] = list(JSON.parse(text))
    const read = list(edges).map((edge) => ({ edge: readEdge(edge), characters: charactersOf(edge) }))
    if (list(rows).length > MAX_ROWS) throw new Malformed()
    return list(rows).map((row) => readRow(read, list(row)))
  } catch {
    return undefined
  }
}

class Malformed extends Error {}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new Malformed()
  return value
}

function text(value: unknown): string {
  if (typeof value !== 'string') throw new Malformed()
  return value
}

function number(value: unknown): number {
  if (typeof value !== 'number') throw new Malformed()
  return value
}

/** Characters of all texts in it. */
function bounded(row: readonly unknown[], max: number): number {
  const characters = charactersOf(row)
  if (characters > max) throw new Malformed()
  return characters
}

function charactersOf(value: unknown): number {
  if (typeof value === 'string') return value.length
  return Array.isArray(value) ? value.reduce<number>((sum, item) => sum + 8 + charactersOf(item), 0) : 0
}

/** @param digits how many of them; none is allowed too where `optional` */
function id(value: unknown, digits: 16 | 32, optional: boolean): string {
  const found = text(value)
  if (optional && found === '') return found
  if (found.length !== digits || !/^[0-9a-f]+$/.test(found)) throw new Malformed()
  return found
}

function one<T>(of: readonly T[], index: unknown): T {
  const found = of[number(index)]
  if (found === undefined) throw new Malformed()
  return found
}

function readEdge(value: unknown): TracedEdge {
  bounded(list(value), MAX_EDGE)
  const [source, destination, host, sides] = list(value)
  return { source: readPeer(source), destination: readPeer(destination), host: text(host), sides: one(SIDES, sides) }
}

function readPeer(value: unknown): TracedPeer | undefined {
  const row = list(value)
  if (row.length === 0) return undefined
  const [namespace, pod, uid, service, version] = row
  return {
    namespace: text(namespace),
    pod: text(pod),
    uid: text(uid),
    service: text(service),
    version: text(version),
  }
}

function readRow(
  edges: readonly { readonly edge: TracedEdge; readonly characters: number }[],
  row: readonly unknown[],
): TracedOnEdge {
  const characters = bounded(row, MAX_ROW)
  const bits = number(row[5])
  const { edge, characters: ofEdge } = one(edges, row[0])
  return {
    edge,
    characters: characters + ofEdge,
    request: {
      traceId: id(row[1], 32, false),
      parentId: id(row[2], 16, true),
      clientId: id(row[3], 16, true),
      serverId: id(row[4], 16, true),
      sampled: (bits & 1) !== 0,
      isHttp2: (bits & 2) !== 0,
      isGrpc: (bits & 4) !== 0,
      isMirror: (bits & 8) !== 0,
      reason: one(REASONS, row[6]),
      startMs: number(row[7]),
      durationMs: number(row[8]),
      method: text(row[9]),
      path: text(row[10]),
      authority: text(row[11]),
      status: number(row[12]),
      grpcStatus: number(row[13]),
      flag: text(row[14]),
      why: text(row[15]),
      clientAddress: text(row[16]),
      upstream: text(row[17]),
      route: text(row[18]),
      policy: text(row[19]),
      requestId: text(row[20]),
      bytesIn: number(row[21]),
      bytesOut: number(row[22]),
      retries: list(row[23]).map((retry) => {
        const [atMs, upstream, why] = list(retry)
        return { atMs: number(atMs), upstream: text(upstream), why: text(why) }
      }),
    },
  }
}
