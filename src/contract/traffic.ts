/** How requests to a Service are balanced, tried again, bounded and disturbed: what TrafficPolicies compile to. */
import type { Versioning } from './versioning.ts'

export interface TrafficPolicy {
  readonly kind: 'traffic-policy'
  readonly namespace: string
  readonly name: string
  /** RFC 3339. Of several for one Service the oldest applies, then the first by name. Empty sorts last. */
  readonly createdAt: string
  /** Services that it targets, names in its own namespace. */
  readonly services: readonly string[]
  readonly balancing?: Balancing
  /** Of routes that say nothing of their own. */
  readonly retry?: RetryPlan
  readonly retryBudget?: RetryBudget
  readonly breaker?: BreakerLimits
  readonly outliers?: OutlierLimits
  /** Active; an endpoint has to pass all of them. Absent or empty: none. */
  readonly healthChecks?: readonly HealthCheck[]
  readonly rateLimits: readonly RateLimit[]
  readonly faults?: Faults
  readonly versioning?: Versioning
  /** The object did not validate: one line, with the field. It does not apply. */
  readonly invalid?: string
}

export type BalancingAlgorithm = 'PeakEwma' | 'LeastRequest' | 'RoundRobin' | 'Random' | 'ConsistentHash'

export type HashKey =
  | { readonly type: 'Header'; readonly name: string }
  | { readonly type: 'Cookie'; readonly name: string }
  /** The address of the calling pod. */
  | { readonly type: 'Source' }

export interface Balancing {
  readonly algorithm: BalancingAlgorithm
  /** Of ConsistentHash; a request without the header or cookie goes anywhere. */
  readonly hashOn?: HashKey
  /** Endpoints nearby first. */
  readonly locality?: LocalityPreference
  /** A new endpoint's share grows to a full one over this time, ms. */
  readonly slowStartMs?: number
}

export type LocalityLevel = 'Node' | 'Zone' | 'Region'

export interface LocalityPreference {
  /** Nearest first. */
  readonly levels: readonly LocalityLevel[]
  /** When fewer of a level's endpoints, and of the nearer ones, are available, the next level is used, too. */
  readonly failoverPercent: number
  /** For callers of the places they name, instead of the levels. */
  readonly weights?: readonly LocalityWeights[]
}

/** Where the requests of callers in one place go, as Istio's `distribute`. */
export interface LocalityWeights {
  readonly from: LocalityName
  readonly to: readonly LocalityShare[]
}

export interface LocalityShare {
  readonly place: LocalityName
  /** 1 … 100; together 100. */
  readonly percent: number
}

/** A region, or a zone of one; with neither, any place. */
export interface LocalityName {
  readonly region?: string
  readonly zone?: string
}

/** When and how often a request is tried again. */
export interface RetryPlan {
  /** Tries after the first. */
  readonly attempts: number
  /** Statuses of the application. */
  readonly codes: readonly number[]
  /** Statuses of gRPC calls that were answered without a message. */
  readonly grpcStatuses?: readonly number[]
  /** Nothing of the request was sent. */
  readonly connectFailure: boolean
  /** The connection ended before the answer began, or what came is no HTTP. */
  readonly reset: boolean
  /** The time of one try was over. */
  readonly timeout: boolean
  /** Least wait before the first retry, ms; each further one waits at least twice as long, up to the longest. */
  readonly backoffMs: number
  readonly maxBackoffMs: number
  readonly perTryTimeoutMs?: number
}

/** Per calling pod and Service, over ten seconds: so many retries that there are always, and a share of requests. */
export interface RetryBudget {
  /** 0 … 100. */
  readonly percent: number
  readonly minPerSecond: number
}

export const RETRY_BUDGET_DEFAULT: RetryBudget = { percent: 20, minPerSecond: 10 }

/** Per calling pod and Service, in each proxy. */
export interface BreakerLimits {
  readonly maxConnections?: number
  /** Requests that wait for a connection. */
  readonly maxPendingRequests?: number
  readonly maxRequests?: number
  /** Retries in progress. */
  readonly maxRetries?: number
}

/** Passive: by the outcome of requests, per calling pod and Service. 0 turns a test off. */
export interface OutlierLimits {
  /** In a row: 5xx, and all that counts below. */
  readonly consecutiveErrors: number
  /** In a row: 502, 503, 504, resets, timeouts, and all that counts below. */
  readonly consecutiveGatewayErrors: number
  readonly consecutiveConnectErrors: number
  readonly successRate?: SuccessRateLimits
  /** Window of the success rate, and time of good behaviour by which the next ejection gets shorter again, ms. */
  readonly intervalMs: number
  /** Of the first ejection; each further one is as much longer, ms. */
  readonly baseEjectionMs: number
  readonly maxEjectionMs: number
  /** At least one may always be ejected. */
  readonly maxEjectedPercent: number
  /** When fewer of the endpoints are left, all of them are used. */
  readonly panicPercent: number
}

/** Of endpoints without `OutlierLimits`, too: when fewer are left, all of them are used. */
export const PANIC_PERCENT_DEFAULT = 50

/** Active: what each endpoint is asked again and again, as long as pods of the node send requests to its Service. */
export interface HealthCheck {
  readonly probe: HealthProbe
  readonly intervalMs: number
  /** Each wait is longer by up to so much, ms. */
  readonly jitterMs: number
  /** From the connect to the last byte that is needed. */
  readonly timeoutMs: number
  /** Failures in a row that make an endpoint unhealthy; all are healthy at first. */
  readonly unhealthyThreshold: number
  readonly healthyThreshold: number
}

export type HealthProbe =
  | {
      readonly type: 'HTTP'
      /** With its query. */
      readonly path: string
      /** Absent: the Service's name. */
      readonly host?: string
      readonly statuses: readonly StatusRange[]
    }
  /** grpc.health.v1.Health/Check; an empty service asks for the server as a whole. */
  | { readonly type: 'GRPC'; readonly service: string; readonly host?: string }
  /** Texts in latin1, one character for each byte. */
  | { readonly type: 'TCP'; readonly send?: string; readonly expect?: string }

/** Both ends included. */
export interface StatusRange {
  readonly from: number
  readonly to: number
}

export interface SuccessRateLimits {
  /** Endpoints with that many requests are compared, when there are that many of them. */
  readonly minRequests: number
  readonly minEndpoints: number
  /** Ejected below mean − factor × standard deviation; in thousandths, as Envoy has it. */
  readonly stdevFactor: number
}

export type RateLimitKey =
  /** One bucket for all callers that a proxy serves. */
  | { readonly type: 'Service' }
  /** One for each calling service account. */
  | { readonly type: 'Source' }
  /** One for each value; requests without the header are not limited. */
  | { readonly type: 'Header'; readonly name: string }

/** A token bucket, in each proxy. */
export interface RateLimit {
  readonly key: RateLimitKey
  readonly requests: number
  readonly intervalMs: number
  /** What may come at once; the bucket's size. */
  readonly burst: number
}

export interface Faults {
  readonly delay?: { readonly percent: number; readonly ms: number }
  readonly abort?: { readonly percent: number; readonly status: number }
}
