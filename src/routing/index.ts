/** Request facts and a snapshot of the mesh → where the request goes. Pure: no I/O, no clock, no chance of its own. */
export { pickEndpoint, usableEndpoints } from './balance.ts'
export { decideRoute } from './decide-route.ts'
export type { FailDecision, ForwardDecision, RedirectDecision, RouteDecision } from './decision.ts'
export { rewriteTarget } from './decision.ts'
export { explainRoute } from './explain-route.ts'
export { forwardedFacts } from './forwarded-facts.ts'
export type { RouteRequest } from './route-group.ts'
export type { Candidate, MatchTrace } from './route-index.ts'
