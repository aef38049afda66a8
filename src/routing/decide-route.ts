/** Where one HTTP request goes: pure, and without allocation unless the mesh itself answers it. */
import type { HttpFacts } from '#contract'
import type { Snapshot } from '#mesh'
import { isPreflight, preflightHeaders } from './cors.ts'
import type { ForwardDecision, PreflightDecision, RouteDecision } from './decision.ts'
import { pickShare } from './outcome.ts'
import { renderRedirect } from './redirect.ts'
import { type RouteRequest, routeGroupOf } from './route-group.ts'
import type { MatchTrace } from './route-index.ts'

/**
 * `random` in [0, 1) decides between weighted backends. Forward and fail decisions are frozen and the
 * same object for all requests with the same answer, as long as nothing they are made from changes.
 * `trace` is for explanations.
 */
export function decideRoute(
  snapshot: Snapshot,
  request: RouteRequest,
  facts: HttpFacts,
  random: number,
  trace?: MatchTrace,
): RouteDecision {
  const group = routeGroupOf(snapshot, request)
  if (group.index === undefined) return group.otherwise
  const candidate = group.index.find(facts, trace)
  if (candidate === undefined) return group.otherwise
  const outcome = pickShare(group.sharesOf(candidate), random)
  if (outcome === undefined) return group.otherwise
  if (outcome.kind === 'redirect-plan') return renderRedirect(outcome, facts)
  if (outcome.kind === 'forward' && outcome.cors !== undefined) return preflightOf(outcome, facts) ?? outcome
  return outcome
}

/** Undefined when the request is to be sent on. */
function preflightOf(decision: ForwardDecision, facts: HttpFacts): PreflightDecision | undefined {
  const { cors, route = '', rule = '', responseEdits } = decision
  if (cors === undefined || !isPreflight(facts)) return undefined
  const answer = { set: preflightHeaders(cors, facts), add: [], remove: [] }
  return { kind: 'preflight', route, rule, status: 200, responseEdits: [...responseEdits, answer] }
}
