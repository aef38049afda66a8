/**
 * What routing answers. Forward and fail decisions are made when a route table is compiled and are
 * frozen: every request that gets the same answer gets the same object, so callers may keep metric
 * handles and log fragments by its identity.
 */
import type {
  AppProtocol,
  CorsPlan,
  Endpoint,
  HeaderEdit,
  HttpFacts,
  MeshService,
  PathRewrite,
  REFUSAL,
  RetryPlan,
  TrafficPolicy,
} from '#contract'
import type { VersioningPlan } from '#translation'
import { renderTarget } from './rewrite.ts'

export interface ForwardDecision {
  readonly kind: 'forward'
  /** `namespace/name` of the HTTPRoute; undefined when the Service has no routes. */
  readonly route: string | undefined
  /** The rule's name, or its index as text; undefined with `route`. */
  readonly rule: string | undefined
  /** The backend. */
  readonly service: MeshService
  /** The backend's Service port. */
  readonly port: number
  /** What is declared of that port. */
  readonly protocol: AppProtocol
  /** Endpoints behind that port, usable or not: for `pickEndpoint`. Empty: answer `noEndpoint`. */
  readonly endpoints: readonly Endpoint[]
  /** To be applied in this order: the rule's, then the backend's. Empty when there are none. */
  readonly requestEdits: readonly HeaderEdit[]
  readonly responseEdits: readonly HeaderEdit[]
  /** What answers to other origins say beside; ask `responseEditsOf`. */
  readonly cors: CorsPlan | undefined
  /** True when the request target changes; ask `rewriteTarget` for the new one. */
  readonly rewrites: boolean
  /** New Host header; undefined keeps the client's. */
  readonly hostname: string | undefined
  readonly path: PathRewrite | undefined
  /** The matched PathPrefix, for ReplacePrefixMatch. */
  readonly prefix: string
  /** Undefined for no limit (also when the route says `0s`). */
  readonly requestTimeoutMs: number | undefined
  /** Of one try: the rule's, or else the retry policy's. */
  readonly backendRequestTimeoutMs: number | undefined
  /** The rule's own, or else that of the backend's TrafficPolicy. */
  readonly retry: RetryPlan | undefined
  /** The backend's. */
  readonly traffic: TrafficPolicy | undefined
  /** The versions of the backend's API, where its TrafficPolicy declares them and its port may speak HTTP. */
  readonly versions: VersioningPlan | undefined
  /** Where copies go; undefined for nowhere. */
  readonly mirrors: readonly MirrorPlan[] | undefined
}

export interface MirrorPlan {
  /** As the request's own but for its backend: the rule's filters apply, timeouts too. */
  readonly decision: ForwardDecision
  /** So many of so many requests. */
  readonly numerator: number
  readonly denominator: number
}

/** The mesh answers a browser that asks what it may do (CORS). */
export interface PreflightDecision {
  readonly kind: 'preflight'
  readonly route: string
  readonly rule: string
  readonly status: number
  readonly responseEdits: readonly HeaderEdit[]
}

export interface RedirectDecision {
  readonly kind: 'redirect'
  readonly route: string
  readonly rule: string
  readonly status: number
  /** Absolute URL for the Location header. */
  readonly location: string
  readonly responseEdits: readonly HeaderEdit[]
}

export interface FailDecision {
  readonly kind: 'fail'
  readonly route: string | undefined
  readonly rule: string | undefined
  readonly refusal: keyof typeof REFUSAL
  /** For logs, never for the client. */
  readonly why: string
}

export type RouteDecision = ForwardDecision | RedirectDecision | PreflightDecision | FailDecision

/** The request target (path and query) to send; only to be asked when `decision.rewrites`. */
export function rewriteTarget(decision: ForwardDecision, facts: HttpFacts): string {
  return renderTarget(decision.path, decision.prefix, facts)
}
