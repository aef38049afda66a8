/**
 * The spans of a traced request, named and described as OpenTelemetry's semantic conventions have it (HTTP spans, stable;
 * RPC spans, release candidate). What they do not know is `weir.…`. No query strings: they hold what is nobody's business.
 */
import { GRPC_SERVER_ERRORS, grpcStatusName } from '#contract'
import type { TracedEdge, TracedPeer, TracedRequest } from './traced-request.ts'

export type SpanAttributes = Readonly<Record<string, string | number | boolean>>

export interface Span {
  readonly side: 'client' | 'server'
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  /** Empty: the trace begins with it. */
  readonly parentId: string
  /** Its parent came from elsewhere. */
  readonly parentIsRemote: boolean
  readonly sampled: boolean
  readonly startMs: number
  readonly durationMs: number
  /** Whose span it is. */
  readonly peer: TracedPeer | undefined
  readonly attributes: SpanAttributes
  readonly events: readonly { readonly name: string; readonly atMs: number; readonly attributes: SpanAttributes }[]
  /** Undefined: it went well. */
  readonly error: { readonly message: string } | undefined
}

/** As RFC 9110 and RFC 5789 name them, and QUERY; others are told apart by `http.request.method_original`. */
const METHODS = /^(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|QUERY)$/
/** The mesh answered before anything went to the destination. */
const NOT_SENT: ReadonlySet<string> = new Set(['UF', 'UO', 'RL', 'FI', 'OM'])
/** Flags of answers that are the application's own. */
const OWN_ANSWER: ReadonlySet<string> = new Set(['-', 'DI', 'URX'])

/** One, or that of the client and that of the server. */
export function spansOf(edge: TracedEdge, request: TracedRequest): readonly Span[] {
  const { sides } = edge
  const { clientId, serverId, parentId, flag } = request
  const spans: Span[] = []
  if (sides !== 'server' && clientId !== '') spans.push(spanOf('client', edge, request, clientId, parentId))
  const isThere = sides === 'server' || (sides === 'both' && !NOT_SENT.has(flag))
  if (isThere && serverId !== '') {
    spans.push(spanOf('server', edge, request, serverId, sides === 'both' ? clientId : parentId))
  }
  return spans
}

function spanOf(side: Span['side'], edge: TracedEdge, request: TracedRequest, spanId: string, parentId: string): Span {
  const { traceId, sampled, startMs, durationMs, isGrpc, retries } = request
  const errorType = errorTypeOf(side, request)
  const isOurs = side === 'client'
  return {
    side,
    name: isGrpc ? rpcMethod(request.path) : METHODS.test(request.method) ? request.method : 'HTTP',
    traceId,
    spanId,
    parentId,
    parentIsRemote: parentId !== request.clientId,
    sampled,
    startMs,
    durationMs,
    peer: isOurs ? edge.source : edge.destination,
    attributes: {
      ...(isGrpc ? grpcAttributes(request) : httpAttributes(side, request)),
      ...networkAttributes(side, edge, request),
      ...peerAttributes(isOurs ? edge.destination : edge.source),
      ...(errorType === '' ? {} : { 'error.type': errorType }),
      ...(isOurs && retries.length > 0 ? { 'http.request.resend_count': retries.length } : {}),
      ...meshAttributes(request),
    },
    events: isOurs
      ? retries.map(({ atMs, upstream, why }) => ({
          name: 'weir.retry',
          atMs: startMs + atMs,
          attributes: { ...peerSocket(upstream), 'weir.reason': why },
        }))
      : [],
    error: errorType === '' ? undefined : { message: OWN_ANSWER.has(request.flag) ? '' : request.why },
  }
}

/** Empty: no error. To a client 4xx is one, to a server it is not (HTTP spans, Status). */
function errorTypeOf(side: Span['side'], { flag, status, isGrpc, grpcStatus }: TracedRequest): string {
  if (!OWN_ANSWER.has(flag)) return `weir.${flag}`
  if (isGrpc && grpcStatus >= 0) {
    const isError = side === 'client' ? grpcStatus > 0 : GRPC_SERVER_ERRORS.has(grpcStatus)
    return isError ? grpcStatusName(grpcStatus) : ''
  }
  return status >= (side === 'client' ? 400 : 500) ? String(status) : ''
}

function httpAttributes(side: Span['side'], request: TracedRequest): SpanAttributes {
  const { method, path, authority, status, bytesIn, bytesOut } = request
  const known = METHODS.test(method)
  return {
    'http.request.method': known ? method : '_OTHER',
    ...(known || method === '' ? {} : { 'http.request.method_original': method }),
    ...(side === 'client' ? { 'url.full': `http://${authority}${path}` } : { 'url.scheme': 'http', 'url.path': path }),
    ...(status > 0 ? { 'http.response.status_code': status } : {}),
    'http.request.body.size': bytesIn,
    'http.response.body.size': bytesOut,
  }
}

function grpcAttributes({ path, grpcStatus }: TracedRequest): SpanAttributes {
  return {
    'rpc.system.name': 'grpc',
    'rpc.method': rpcMethod(path),
    ...(grpcStatus >= 0 ? { 'rpc.response.status_code': grpcStatusName(grpcStatus) } : {}),
  }
}

function networkAttributes(side: Span['side'], { host }: TracedEdge, request: TracedRequest): SpanAttributes {
  const { authority, isHttp2, clientAddress, upstream } = request
  const server = splitSocket(authority)
  const peer = splitSocket(upstream)
  return {
    'network.protocol.version': isHttp2 ? '2' : '1.1',
    'server.address': server.address || host || peer.address,
    'server.port': server.port ?? (server.address === '' ? (peer.port ?? 80) : 80),
    ...(side === 'server' ? { 'client.address': clientAddress, 'network.peer.address': clientAddress } : {}),
    ...(side === 'client' ? peerSocket(upstream) : {}),
  }
}

function peerSocket(upstream: string): SpanAttributes {
  const { address, port } = splitSocket(upstream)
  if (address === '') return {}
  return { 'network.peer.address': address, ...(port === undefined ? {} : { 'network.peer.port': port }) }
}

function peerAttributes(peer: TracedPeer | undefined): SpanAttributes {
  return peer === undefined ? {} : { 'service.peer.name': peer.service, 'service.peer.namespace': peer.namespace }
}

function meshAttributes({ flag, reason, route, policy, requestId, isMirror }: TracedRequest): SpanAttributes {
  return {
    ...(flag === '-' ? {} : { 'weir.response_flag': flag }),
    ...(reason === 'head' ? {} : { 'weir.sent_for': reason }),
    ...(route === '' ? {} : { 'weir.route': route }),
    ...(policy === '' ? {} : { 'weir.policy': policy }),
    ...(requestId === '' ? {} : { 'weir.request_id': requestId }),
    ...(isMirror ? { 'weir.mirror': true } : {}),
  }
}

/** The fully qualified one: the path without its first slash. */
function rpcMethod(path: string): string {
  return path.startsWith('/') ? path.slice(1) : path
}

/** `host`, `host:port`, `[v6]:port`. */
function splitSocket(text: string): { readonly address: string; readonly port: number | undefined } {
  const [, six, plain = '', port] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text) ?? []
  return { address: six ?? plain, port: port === undefined ? undefined : Number(port) }
}
