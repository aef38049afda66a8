/**
 * What the mesh answers in its own name, and the flag by which logs and metrics name the reason.
 * Flags are Envoy's where Envoy has one, so that existing dashboards and runbooks read them.
 */

/** Response flag: `-` when the answer is the application's own. */
export type ResponseFlag =
  /** No flag: the upstream's own answer. */
  | '-'
  /** Denied by authorization policy (Envoy RBAC: `UAEX` is external; Istio users look for this one). */
  | 'RBAC'
  /** No healthy upstream: the Service has no usable endpoint. */
  | 'UH'
  /** Upstream connection failure. */
  | 'UF'
  /** Upstream closed or reset the connection before it answered. */
  | 'UC'
  /** Upstream request timeout. */
  | 'UT'
  /** No route: a route's backend reference is invalid, or nothing matched. */
  | 'NR'
  /** Downstream closed before the answer was complete. */
  | 'DC'
  /** Malformed request from downstream. */
  | 'DPE'
  /** Malformed response from upstream. */
  | 'UPE'
  /** Downstream did not finish its request in time. */
  | 'SI'
  /** A limit was reached: a circuit breaker's, or one of the shared proxy (requests of this pod). */
  | 'UO'
  /** Load is shed: the proxy's event loop lags (Envoy: the overload manager). */
  | 'OM'
  /** The proxy is draining. */
  | 'DR'
  /** The answer was delayed by an injected fault. */
  | 'DI'
  /** An injected fault instead of an answer. */
  | 'FI'
  /** A local rate limit. */
  | 'RL'
  /** Not declared, and only what is declared may be called (`REGISTRY_ONLY`; Istio's BlackHoleCluster). */
  | 'BH'
  /** The upstream's own answer, after as many retries as there may be. */
  | 'URX'

export interface Refusal {
  readonly status: number
  readonly flag: ResponseFlag
  readonly body: string
  /** Told to the client in `retry-after`. */
  readonly retryAfterSeconds?: number
}

/**
 * Tells the caller's own node, through the tunnel, by which flag a request was refused: its log and metrics shall not take
 * the mesh's answer for the application's. Taken off there.
 */
export const REFUSAL_HEADER = 'x-weir-refusal'

/** The one table of what a client is told. Details go to the log, never to the client. */
export const REFUSAL = {
  denied: { status: 403, flag: 'RBAC', body: 'weir: denied by policy' },
  noEndpoint: { status: 503, flag: 'UH', body: 'weir: no healthy endpoint' },
  connectFailed: { status: 503, flag: 'UF', body: 'weir: could not connect to the upstream' },
  upstreamReset: { status: 502, flag: 'UC', body: 'weir: the upstream closed the connection' },
  upstreamMalformed: { status: 502, flag: 'UPE', body: 'weir: malformed response from the upstream' },
  requestTimeout: { status: 504, flag: 'UT', body: 'weir: the upstream did not answer in time' },
  clientTimeout: { status: 408, flag: 'SI', body: 'weir: the request did not arrive in time' },
  invalidRoute: { status: 500, flag: 'NR', body: 'weir: no valid backend' },
  noRoute: { status: 404, flag: 'NR', body: 'weir: no route' },
  malformed: { status: 400, flag: 'DPE', body: 'weir: malformed request' },
  notTunnelled: { status: 501, flag: 'DPE', body: 'weir: not served over HTTP/2' },
  tooLarge: { status: 431, flag: 'DPE', body: 'weir: request head too large' },
  unknownVersion: { status: 400, flag: 'NR', body: 'weir: unknown API version' },
  untranslatable: { status: 400, flag: 'DPE', body: 'weir: the body is no JSON that can be translated' },
  bodyTooLarge: { status: 413, flag: 'DPE', body: 'weir: the body is too large to be translated' },
  codedBody: { status: 415, flag: 'DPE', body: 'weir: the body must be JSON in UTF-8 without content-encoding' },
  answerUntranslatable: { status: 502, flag: 'UPE', body: 'weir: the answer cannot be translated' },
  holdingTooMuch: { status: 503, flag: 'UO', body: 'weir: too many bodies are being translated' },
  rateLimited: { status: 429, flag: 'RL', body: 'weir: too many requests' },
  overflow: { status: 503, flag: 'UO', body: 'weir: the circuit breaker of the upstream is open' },
  overload: { status: 503, flag: 'UO', body: 'weir: too many requests in flight' },
  shed: { status: 503, flag: 'OM', body: 'weir: overloaded, try again', retryAfterSeconds: 1 },
} as const satisfies Record<string, Refusal>

/** An injected fault. */
export function faultRefusal(status: number): Refusal {
  return { status, flag: 'FI', body: 'weir: fault injected' }
}

/** @param what such as `host a.example` */
export function undeclaredRefusal(what: string): Refusal {
  return { status: 502, flag: 'BH', body: `weir: ${what} is not declared` }
}

/** Flags by which the mesh says that it refused, rather than the application or the client. */
export const REFUSAL_FLAGS: ReadonlySet<string> = new Set([
  ...Object.values(REFUSAL).map(({ flag }) => flag),
  'FI',
  'BH',
])

/** The flag that another node names; undefined when it names none of a refusal. */
export function readRefusalFlag(text: string | undefined): ResponseFlag | undefined {
  return text !== undefined && REFUSAL_FLAGS.has(text) ? (text as ResponseFlag) : undefined
}
