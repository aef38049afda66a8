/**
 * What gRPC adds to HTTP/2: its statuses, and how they and HTTP's stand for each other (grpc.io "HTTP to gRPC Status Code
 * Mapping", and Envoy's `grpcToHttpStatus`), its deadline, its way to say that there is no message.
 */
import { GRPC_STATUS, type Refusal } from '#contract'
import { outcomeOfStatus, type TryOutcome } from '#routing'

/** `application/grpc`, with or without a message format; gRPC-Web is ordinary HTTP. */
export function isGrpcContentType(value: string): boolean {
  if (!value.toLowerCase().startsWith('application/grpc')) return false
  const after = value.charCodeAt(16)
  return value.length === 16 || after === 43 || after === 59
}

/** What a client makes of an HTTP status without a `grpc-status`. */
export function grpcStatusOfHttp(status: number): number {
  switch (status) {
    case 200:
      return GRPC_STATUS.OK
    case 400:
      return GRPC_STATUS.INTERNAL
    case 401:
      return GRPC_STATUS.UNAUTHENTICATED
    case 403:
      return GRPC_STATUS.PERMISSION_DENIED
    case 404:
      return GRPC_STATUS.UNIMPLEMENTED
    case 429:
    case 502:
    case 503:
    case 504:
      return GRPC_STATUS.UNAVAILABLE
    default:
      return GRPC_STATUS.UNKNOWN
  }
}

/** Of an answer of the mesh's own, where it knows better than the HTTP status says. */
export function grpcStatusOfRefusal({ status, flag }: Refusal): number {
  switch (flag) {
    case 'UT':
    case 'SI':
      return GRPC_STATUS.DEADLINE_EXCEEDED
    case 'RL':
      return GRPC_STATUS.RESOURCE_EXHAUSTED
    case 'NR':
      // A route whose backends are all invalid is UNAVAILABLE (Gateway API, GRPCRoute backendRefs).
      return status === 404 ? GRPC_STATUS.UNIMPLEMENTED : GRPC_STATUS.UNAVAILABLE
    default:
      return status === 501 ? GRPC_STATUS.UNIMPLEMENTED : grpcStatusOfHttp(status)
  }
}

/**
 * For outlier detection: as of the HTTP status that Envoy gives it; one that is the caller's fault is no failure. Nor is
 * UNIMPLEMENTED, which Envoy makes a 501: asking for a method that no endpoint has would eject them.
 */
export function outcomeOfGrpc(status: number): TryOutcome {
  switch (status) {
    case GRPC_STATUS.DEADLINE_EXCEEDED:
      return outcomeOfStatus(504)
    case GRPC_STATUS.UNAVAILABLE:
      return outcomeOfStatus(503)
    case GRPC_STATUS.UNKNOWN:
    case GRPC_STATUS.INTERNAL:
    case GRPC_STATUS.DATA_LOSS:
      return outcomeOfStatus(500)
    default:
      return 'ok'
  }
}

/** The number in a `grpc-status` field; UNKNOWN when it is none. */
export function parseGrpcStatus(value: string): number {
  return /^\d{1,3}$/.test(value) ? Number(value) : GRPC_STATUS.UNKNOWN
}

const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 }
/** Longest that a timer of the run time can wait. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** Milliseconds of a `grpc-timeout` field; undefined when it is malformed. */
export function parseGrpcTimeout(value: string): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(value)
  if (match === null) return undefined
  return Math.min(MAX_TIMER_MS, Number(match[1]) * (UNIT_MS[match[2] as string] as number))
}

/** The field for so many milliseconds, at least one. */
export function renderGrpcTimeout(ms: number): string {
  const whole = Math.max(1, Math.ceil(ms))
  return whole < 1e8 ? `${whole}m` : `${Math.ceil(whole / 1000)}S`
}

/** Headers of an answer without a message: "Trailers-Only". */
export function trailersOnly(status: number, message: string): string[] {
  return [
    ':status',
    '200',
    'content-type',
    'application/grpc',
    'grpc-status',
    String(status),
    'grpc-message',
    encodeMessage(message),
  ]
}

/** Percent-encoding of the gRPC protocol's `Status-Message`; the mesh's own messages are ASCII. */
function encodeMessage(message: string): string {
  return message.replaceAll(
    /[^ -$&-~]/g,
    (char) => `%${char.charCodeAt(0).toString(16).padStart(2, '0').toUpperCase()}`,
  )
}
