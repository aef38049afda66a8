/**
 * One line of the access log: pino's JSON, written into a buffer. What an edge fixes is rendered once (`AccessEdge`); the
 * values of one request are added, escaped only where they need it.
 */
import type { ResponseFlag } from '#contract'
import { jsonText } from './json-text.ts'
import { LineBuffer, roomOfText } from './line-buffer.ts'

export type AccessReporter = 'source' | 'destination' | 'both'

/** What all lines of one edge share. Texts that are empty are left out of the line. */
export interface AccessEdgeDescription {
  /** `namespace/pod`; empty when the peer is not a known workload. */
  readonly source: string
  /** `spiffe://…`; empty without a verified identity. */
  readonly sourceIdentity: string
  readonly destination: string
  readonly destinationIdentity: string
  /** `NAME.NAMESPACE.svc.cluster.local`; empty when no Service stands behind the address. */
  readonly destinationService: string
  readonly protocol: string
  readonly direction: 'outbound' | 'inbound'
  readonly reporter: AccessReporter
}

const NOBODY = { source: '', sourceIdentity: '', destination: '', destinationIdentity: '', destinationService: '' }

/** Rendered once per connection or decision and kept by the caller, with what the last request had in common with it. */
export class AccessEdge {
  /** From the quote that ends the time to before the first value of the request. */
  readonly #requestPart: string
  readonly #connectionPart: string
  readonly #named: Named = { sourceAddress: '', route: '', rule: '', policy: '', apiVersion: '', upstream: '' }
  #method = ''
  #requestHead: Uint8Array | undefined
  #authority = ''
  #status = -1
  #flags: ResponseFlag = '-'
  #grpcStatus = -1
  #version = ''
  #result: Uint8Array = Buffer.alloc(0)

  constructor(pid: number, node: string, edge: AccessEdgeDescription) {
    const rest =
      `,"direction":"${edge.direction}","reporter":"${edge.reporter}"` +
      field('source', edge.source) +
      field('sourceIdentity', edge.sourceIdentity) +
      field('destination', edge.destination) +
      field('destinationIdentity', edge.destinationIdentity) +
      field('destinationService', edge.destinationService) +
      `,"protocol":${jsonText(edge.protocol)}`
    const process = `","pid":${pid},"node":${jsonText(node)}`
    this.#requestPart = `${process},"msg":"request"${rest}`
    this.#connectionPart = `${process},"msg":"connection"${rest}`
  }

  /** Read back out of what was rendered, for the few who ask: there are many edges. */
  describe(): AccessEdgeDescription {
    return { ...NOBODY, ...(JSON.parse(`{"time":"${this.#requestPart}}`) as AccessEdgeDescription) }
  }

  /** From the end of the time to the method: where it came from, what decided, where it went. */
  requestHead(record: AccessRecord): Uint8Array {
    const named = this.#named
    if (
      this.#requestHead === undefined ||
      record.method !== this.#method ||
      record.sourceAddress !== named.sourceAddress ||
      record.route !== named.route ||
      record.rule !== named.rule ||
      record.policy !== named.policy ||
      record.apiVersion !== named.apiVersion ||
      record.upstream !== named.upstream
    ) {
      this.#method = record.method
      named.sourceAddress = record.sourceAddress
      named.route = record.route
      named.rule = record.rule
      named.policy = record.policy
      named.apiVersion = record.apiVersion
      named.upstream = record.upstream
      const names = this.#requestPart + namesOf(record)
      this.#requestHead = Buffer.from(`${names},"method":${jsonText(record.method)},"path":`)
    }
    return this.#requestHead
  }

  /** From the path to the time it took: whom it was for, and how it ended. */
  result(record: AccessRecord): Uint8Array {
    if (
      record.status !== this.#status ||
      record.flags !== this.#flags ||
      record.authority !== this.#authority ||
      record.grpcStatus !== this.#grpcStatus ||
      record.version !== this.#version
    ) {
      this.#status = record.status
      this.#flags = record.flags
      this.#authority = record.authority
      this.#grpcStatus = record.grpcStatus
      this.#version = record.version
      const grpc = record.grpcStatus < 0 ? '' : `,"grpcStatus":${record.grpcStatus}`
      this.#result = Buffer.from(
        `,"authority":${jsonText(record.authority)},"status":${record.status},"flags":"${record.flags}"` +
          `${grpc}${field('version', record.version)},"durationMs":`,
      )
    }
    return this.#result
  }

  connectionHead(record: AccessRecord): Uint8Array {
    return Buffer.from(
      `${this.#connectionPart}${namesOf(record)}${field('sni', record.sni)},"flags":"${record.flags}","durationMs":`,
    )
  }
}

/** Seldom other than of the request before. */
type Named = {
  -readonly [Name in 'sourceAddress' | 'route' | 'rule' | 'policy' | 'apiVersion' | 'upstream']: AccessRecord[Name]
}

function namesOf(record: AccessRecord): string {
  return (
    field('sourceAddress', record.sourceAddress) +
    field('route', record.route) +
    field('rule', record.rule) +
    field('policy', record.policy) +
    field('apiVersion', record.apiVersion) +
    field('upstream', record.upstream)
  )
}

/**
 * The values of one request. Meant to be reused: the proxy keeps one and fills in every field each time.
 * Empty texts and negative numbers are left out of the line.
 */
export class AccessRecord {
  sourceAddress = ''
  /** `namespace/name` of the HTTPRoute, TLSRoute or TCPRoute. */
  route = ''
  rule = ''
  /** `namespace/name` of the policy that decided. */
  policy = ''
  /** Of the API, where versions are declared. */
  apiVersion = ''
  /** `ip:port`. */
  upstream = ''
  method = ''
  path = ''
  authority = ''
  /** Server name of the application's TLS. */
  sni = ''
  /** 0 when no answer was sent. */
  status = 0
  flags: ResponseFlag = '-'
  durationMs = 0
  /** Of a gRPC call; negative when none came. */
  grpcStatus = -1
  /** As the client speaks it. */
  version = ''
  /** Until the head of the upstream's answer; negative when there was none. */
  upstreamMs = -1
  bytesIn = 0
  bytesOut = 0
  /** Hexadecimal digits. */
  traceId = ''
  /** Of `x-request-id`. */
  requestId = ''
  /** The mesh itself refused it: the line is a warning. */
  refused = false
  /** Why it was refused or cut, in words; never told to the client. */
  reason = ''
  /** It is a copy of another request. */
  mirror = false

  reset(): void {
    this.sourceAddress = ''
    this.route = ''
    this.rule = ''
    this.policy = ''
    this.apiVersion = ''
    this.upstream = ''
    this.method = ''
    this.path = ''
    this.authority = ''
    this.sni = ''
    this.status = 0
    this.flags = '-'
    this.durationMs = 0
    this.grpcStatus = -1
    this.version = ''
    this.upstreamMs = -1
    this.bytesIn = 0
    this.bytesOut = 0
    this.traceId = ''
    this.requestId = ''
    this.refused = false
    this.reason = ''
    this.mirror = false
  }
}

/** Names of fields, and numbers. */
const FIXED_ROOM = 512
const UPSTREAM_MS = Buffer.from(',"upstreamMs":')
const BYTES_IN = Buffer.from(',"bytesIn":')
const BYTES_OUT = Buffer.from(',"bytesOut":')
const TRACE_ID = Buffer.from(',"traceId":"')
const REQUEST_ID = Buffer.from(',"requestId":')
const REASON = Buffer.from(',"reason":')
const QUOTE = Buffer.from('"')
const MIRROR_END = Buffer.from(',"mirror":true}\n')
const END = Buffer.from('}\n')

/** Writes a line with its line feed. @param timeMs since the epoch */
export function writeRequestLine(out: LineBuffer, edge: AccessEdge, record: AccessRecord, timeMs: number): void {
  const head = edge.requestHead(record)
  const result = edge.result(record)
  const ids = record.traceId.length + roomOfText(record.requestId)
  out.makeRoom(FIXED_ROOM + head.length + result.length + roomOfText(record.path) + ids + roomOfText(record.reason))
  out.part(startOfLine(record.refused, timeMs))
  out.part(head)
  out.text(record.path)
  out.part(result)
  out.milliseconds(record.durationMs)
  if (record.upstreamMs >= 0) {
    out.part(UPSTREAM_MS)
    out.milliseconds(record.upstreamMs)
  }
  writeBytes(out, record)
  if (record.traceId !== '') {
    out.part(TRACE_ID)
    out.ascii(record.traceId)
    out.part(QUOTE)
  }
  if (record.requestId !== '') {
    out.part(REQUEST_ID)
    out.text(record.requestId)
  }
  writeReason(out, record)
  out.part(record.mirror ? MIRROR_END : END)
}

/** For the few lines that are wanted as text. */
export function renderLine(
  write: typeof writeRequestLine | typeof writeConnectionLine,
  edge: AccessEdge,
  record: AccessRecord,
  timeMs: number,
): string {
  const out = new LineBuffer(Buffer.alloc(0), (bytes) => Buffer.allocUnsafe(bytes))
  write(out, edge, record, timeMs)
  return out.written.toString('latin1')
}

/** The end of an opaque TCP connection; bytesIn came from the client. As `writeRequestLine`. */
export function writeConnectionLine(out: LineBuffer, edge: AccessEdge, record: AccessRecord, timeMs: number): void {
  const head = edge.connectionHead(record)
  out.makeRoom(FIXED_ROOM + head.length + roomOfText(record.reason))
  out.part(startOfLine(record.refused, timeMs))
  out.part(head)
  out.milliseconds(record.durationMs)
  writeReason(out, record)
  writeBytes(out, record)
  out.part(END)
}

function writeBytes(out: LineBuffer, record: AccessRecord): void {
  out.part(BYTES_IN)
  out.integer(record.bytesIn)
  out.part(BYTES_OUT)
  out.integer(record.bytesOut)
}

function writeReason(out: LineBuffer, record: AccessRecord): void {
  if (record.reason === '') return
  out.part(REASON)
  out.text(record.reason)
}

function field(name: string, value: string): string {
  return value === '' ? '' : `,"${name}":${jsonText(value)}`
}

let lastTimeMs = Number.NaN
let plainStart: Uint8Array = Buffer.alloc(0)
let warningStart: Uint8Array = Buffer.alloc(0)

/** Level and time, as pino's isoTime, like the agent's own lines; many requests share a millisecond, so its text is kept. */
function startOfLine(refused: boolean, timeMs: number): Uint8Array {
  if (timeMs !== lastTimeMs) {
    lastTimeMs = timeMs
    const time = new Date(timeMs).toISOString()
    plainStart = Buffer.from(`{"level":30,"time":"${time}`)
    warningStart = Buffer.from(`{"level":40,"time":"${time}`)
  }
  return refused ? warningStart : plainStart
}
