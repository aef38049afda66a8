/**
 * One line of the access log: pino's JSON, built by concatenation. What an edge fixes is rendered once
 * (`AccessEdge`); the values of one request are appended, escaped only where they need it.
 */
import type { ResponseFlag } from '#contract'
import { jsonText } from './json-text.ts'

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

/** Rendered once per connection or decision and kept by the caller. */
export class AccessEdge {
  /** From the quote that ends the time to before the first value of the request. */
  readonly requestPart: string
  readonly connectionPart: string

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
    this.requestPart = `${process},"msg":"request"${rest}`
    this.connectionPart = `${process},"msg":"connection"${rest}`
  }

  /** Read back out of what was rendered, for the few who ask: there are many edges. */
  describe(): AccessEdgeDescription {
    return { ...NOBODY, ...(JSON.parse(`{"time":"${this.requestPart}}`) as AccessEdgeDescription) }
  }
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

/** With its line feed. `timeMs` since the epoch. */
export function renderRequestLine(edge: AccessEdge, record: AccessRecord, timeMs: number): string {
  let line = (record.refused ? '{"level":40,"time":"' : '{"level":30,"time":"') + isoTime(timeMs) + edge.requestPart
  if (record.sourceAddress !== '') line += `,"sourceAddress":${jsonText(record.sourceAddress)}`
  if (record.route !== '') line += `,"route":${jsonText(record.route)}`
  if (record.rule !== '') line += `,"rule":${jsonText(record.rule)}`
  if (record.policy !== '') line += `,"policy":${jsonText(record.policy)}`
  if (record.apiVersion !== '') line += `,"apiVersion":${jsonText(record.apiVersion)}`
  if (record.upstream !== '') line += `,"upstream":${jsonText(record.upstream)}`
  line += `,"method":${jsonText(record.method)},"path":${jsonText(record.path)}`
  line += `,"authority":${jsonText(record.authority)},"status":${record.status},"flags":"${record.flags}"`
  if (record.grpcStatus >= 0) line += `,"grpcStatus":${record.grpcStatus}`
  if (record.version !== '') line += `,"version":"${record.version}"`
  line += `,"durationMs":${milliseconds(record.durationMs)}`
  if (record.upstreamMs >= 0) line += `,"upstreamMs":${milliseconds(record.upstreamMs)}`
  line += `,"bytesIn":${record.bytesIn},"bytesOut":${record.bytesOut}`
  if (record.traceId !== '') line += `,"traceId":${jsonText(record.traceId)}`
  if (record.requestId !== '') line += `,"requestId":${jsonText(record.requestId)}`
  if (record.reason !== '') line += `,"reason":${jsonText(record.reason)}`
  if (record.mirror) line += ',"mirror":true'
  return `${line}}\n`
}

/** The end of an opaque TCP connection; bytesIn came from the client. With its line feed. */
export function renderConnectionLine(edge: AccessEdge, record: AccessRecord, timeMs: number): string {
  let line = (record.refused ? '{"level":40,"time":"' : '{"level":30,"time":"') + isoTime(timeMs) + edge.connectionPart
  if (record.sourceAddress !== '') line += `,"sourceAddress":${jsonText(record.sourceAddress)}`
  if (record.route !== '') line += `,"route":${jsonText(record.route)}`
  if (record.rule !== '') line += `,"rule":${jsonText(record.rule)}`
  if (record.policy !== '') line += `,"policy":${jsonText(record.policy)}`
  if (record.upstream !== '') line += `,"upstream":${jsonText(record.upstream)}`
  if (record.sni !== '') line += `,"sni":${jsonText(record.sni)}`
  line += `,"flags":"${record.flags}","durationMs":${milliseconds(record.durationMs)}`
  if (record.reason !== '') line += `,"reason":${jsonText(record.reason)}`
  return `${line},"bytesIn":${record.bytesIn},"bytesOut":${record.bytesOut}}\n`
}

function field(name: string, value: string): string {
  return value === '' ? '' : `,"${name}":${jsonText(value)}`
}

let lastTimeMs = Number.NaN
let lastTime = ''

/** As pino's isoTime, like the agent's own lines; many requests share a millisecond, so its text is kept. */
function isoTime(timeMs: number): string {
  if (timeMs !== lastTimeMs) {
    lastTimeMs = timeMs
    lastTime = new Date(timeMs).toISOString()
  }
  return lastTime
}

/** To the microsecond; never NaN or Infinity, which JSON does not know. */
function milliseconds(value: number): string {
  if (!(value >= 0 && value < 9e12)) return '0'
  const micros = Math.round(value * 1000)
  const whole = Math.floor(micros / 1000)
  const rest = micros - whole * 1000
  return rest === 0 ? `${whole}` : `${whole}.${rest < 10 ? '00' : rest < 100 ? '0' : ''}${rest}`
}
