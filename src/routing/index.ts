/** Request facts and a snapshot of the mesh → where the request goes. Pure: no I/O, no clock, no chance of its own. */
export type { LoadOf } from './balance.ts'
export { pickBy, pickEndpoint, usableEndpoints } from './balance.ts'
export { responseEditsOf } from './cors.ts'
export { decideRoute, type SessionPins } from './decide-route.ts'
export type { FailDecision, ForwardDecision, MirrorPlan, RedirectDecision, RouteDecision } from './decision.ts'
export { rewriteTarget } from './decision.ts'
export { bareName, decideEgress, declaresHosts, type EgressDecision } from './egress.ts'
export type { EndpointHealth } from './endpoint-health.ts'
export { newEndpointHealth, observeCheck } from './endpoint-health.ts'
export type { EndpointLoad } from './endpoint-load.ts'
export { latencyNow, newEndpointLoad, observeFailure, observeLatency } from './endpoint-load.ts'
export { explainRoute } from './explain-route.ts'
export { forwardedFacts, type VersionedRequest, versionedRequest } from './forwarded-facts.ts'
export { hashDraw } from './hash-ring.ts'
export { compileRegex } from './linear-regex.ts'
export { nearest, type Place, sharedLevel } from './locality.ts'
export { distribute, drawGroup, type WeightedEndpoints } from './locality-weights.ts'
export type { Shares } from './outcome.ts'
export type { EjectionReason, TryOutcome } from './outliers.ts'
export { OutlierDetector, outcomeOfStatus } from './outliers.ts'
export { type LimitedCaller, RateLimiter } from './rate-limit.ts'
export { cookiesOf, requestKey } from './request-key.ts'
export { mayRetry, RetryWindow, retryDelayMs, type TryFailure } from './retry.ts'
export { type RouteRequest, routeGroupOf } from './route-group.ts'
export type { Candidate, MatchTrace } from './route-index.ts'
export {
  decideStream,
  explainStreamRoutes,
  type StreamDecision,
  type StreamRoutes,
  streamRoutesOf,
} from './stream-route.ts'
