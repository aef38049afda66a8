/**
 * Every way in which a request to the API server fails, as one error: what the server answered (a Status object),
 * or that it did not answer, in the words of someone who runs a cluster.
 */
import { errorLine, WeirError } from '#base'

/** Reasons of ours, beside those of the API server (`NotFound`, `Forbidden`, `Conflict`, `Expired`, …). */
export type LocalReason =
  /** No connection, or one that broke before the answer was whole. */
  | 'Unreachable'
  /** No whole answer in the time allowed. */
  | 'Timeout'
  /** The answer, or one event of a watch, is larger than allowed. */
  | 'TooLarge'
  /** The answer is no JSON, or none that Kubernetes gives. */
  | 'Malformed'
  /** The connection was closed on our side. */
  | 'Closed'

export interface KubernetesFailure {
  /** HTTP status; 0 where there was no answer. */
  readonly status: number
  readonly reason: LocalReason | (string & {})
  readonly message: string
  /** What the server asked to wait before another try, ms. */
  readonly retryAfterMs?: number
  readonly cause?: unknown
}

export class KubernetesError extends WeirError {
  override readonly name = 'KubernetesError'
  readonly status: number
  readonly reason: string
  readonly retryAfterMs: number | undefined

  constructor({ status, reason, message, retryAfterMs, cause }: KubernetesFailure) {
    super('WEIR_KUBERNETES_REQUEST', message, cause === undefined ? undefined : { cause })
    this.status = status
    this.reason = reason
    this.retryAfterMs = retryAfterMs
  }

  /** The server is not there, or cannot do its work: what is known of it grows old. */
  get isOutage(): boolean {
    return this.reason === 'Unreachable' || this.reason === 'Timeout' || this.status >= 500
  }
}

/** The place or the credentials of the API server cannot be made out; the message names the remedy. */
export class KubernetesConfigError extends WeirError {
  override readonly name = 'KubernetesConfigError'

  constructor(message: string, options?: { readonly cause?: unknown }) {
    super('WEIR_KUBERNETES_CONFIG', message, options)
  }
}

/** A refusal: `body` is what came with it, a Status object or anything that a proxy in between makes up. */
export function refusedError(action: string, status: number, body: string, retryAfter?: string): KubernetesError {
  const seconds = Number(retryAfter)
  const retryAfterMs = retryAfter !== undefined && seconds >= 0 ? { retryAfterMs: seconds * 1000 } : {}
  let said: { readonly message?: unknown; readonly reason?: unknown } = {}
  try {
    const value: unknown = JSON.parse(body)
    if (typeof value === 'object' && value !== null) said = value
  } catch {}
  const reason = typeof said.reason === 'string' && said.reason !== '' ? said.reason : REASONS[status]
  const text = typeof said.message === 'string' && said.message !== '' ? said.message : (reason ?? 'no reason given')
  const message = `${action}: ${status}: ${text.replaceAll(/\s+/g, ' ').slice(0, 500)}`
  return new KubernetesError({ status, reason: reason ?? `Status${status}`, message, ...retryAfterMs })
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  410: 'Expired',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
}

const PLAIN: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection broke',
  EPIPE: 'the connection broke',
  ERR_STREAM_PREMATURE_CLOSE: 'the connection broke',
  ETIMEDOUT: 'nobody answered',
  EHOSTUNREACH: 'there is no route to it',
  ENETUNREACH: 'there is no route to it',
  ENOTFOUND: 'its name is not known to DNS',
  EAI_AGAIN: 'DNS did not answer',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  SELF_SIGNED_CERT_IN_CHAIN: 'its certificate is not from the configured certificate authority',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its certificate is not from the configured certificate authority',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its certificate is not from the configured certificate authority',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is not from the configured certificate authority',
}

/** What Node threw on the way to the server or back. */
export function unreachableError(action: string, thrown: unknown): KubernetesError {
  if (thrown instanceof KubernetesError) return thrown
  const code = thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : ''
  const plain = PLAIN[code]
  const why = plain === undefined ? errorLine(thrown) : `${plain} (${code})`
  return new KubernetesError({ status: 0, reason: 'Unreachable', message: `${action}: ${why}`, cause: thrown })
}
