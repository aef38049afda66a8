/** Which traces are recorded: decided at their head for all who take part, or at the tail of one request by how it went. */
import { GRPC_SERVER_ERRORS } from '#contract'

/** Digits of a trace id that a decision goes by: the first 52 bits of its right half, as exactly as a number holds. */
const DIGITS_FROM = 16
const DIGITS_TO = 29
const BOUND = 2 ** 52

/**
 * As TraceIdRatioBased of OpenTelemetry's SDKs for Go, Python and Ruby: by the right half of the trace id, so that all who
 * see the trace decide the same, and whoever takes a greater share takes these, too. The half is random also where a trace
 * id of 64 bits was padded.
 */
export function isSampled(traceId: string, ratio: number): boolean {
  return Number.parseInt(traceId.slice(DIGITS_FROM, DIGITS_TO), 16) < ratio * BOUND
}

export interface RequestEnd {
  /** 0: no answer was sent. */
  readonly status: number
  /** -1: none came. */
  readonly grpcStatus: number
  readonly isGrpc: boolean
  /** `-` when nothing went wrong in between. */
  readonly flag: string
  /** How long the client waited: for the whole answer, or for the beginning of one that lasts. */
  readonly waitedMs: number
}

/** What is no fault of the answer. */
const HARMLESS_FLAGS: ReadonlySet<string> = new Set(['-', 'DI'])

/** Why a request is worth telling of although its trace is not recorded; undefined: it is not. */
export function tailReason(end: RequestEnd, slowMs: number): 'error' | 'slow' | undefined {
  const { status, grpcStatus, isGrpc, flag, waitedMs } = end
  if (!HARMLESS_FLAGS.has(flag) || status >= 500) return 'error'
  if (isGrpc && GRPC_SERVER_ERRORS.has(grpcStatus)) return 'error'
  return waitedMs >= slowMs ? 'slow' : undefined
}

/** So many a second, and no more at once. */
export class RateBound {
  readonly #perSecond: number
  #left: number
  #at: number

  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond
    this.#left = perSecond
    this.#at = nowMs
  }

  /** @param nowMs monotonic */
  take(nowMs: number): boolean {
    const gained = ((nowMs - this.#at) / 1000) * this.#perSecond
    this.#at = nowMs
    this.#left = Math.min(this.#perSecond, this.#left + gained)
    if (this.#left < 1) return false
    this.#left--
    return true
  }
}
