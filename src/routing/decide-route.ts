/** Where one HTTP request goes: pure, and without allocation unless the mesh itself answers it. */
import type { HttpFacts } from '#contract'
import type { Snapshot } from '#mesh'
import { isPreflight, preflightHeaders } from './cors.ts'
import type { FailDecision, ForwardDecision, PreflightDecision, RouteDecision } from './decision.ts'
import { versionedRequest } from './forwarded-facts.ts'
import { routeFacts } from './mesh-facts.ts'
import { pickShare, type Shares } from './outcome.ts'
import { renderRedirect } from './redirect.ts'
import { type RouteRequest, routeGroupOf } from './route-group.ts'
import type { Candidate, MatchTrace } from './route-index.ts'

/** Knows the backends of sessions (GEP-1619). */
export interface SessionPins<F extends HttpFacts> {
  /** Where the session that the request belongs to is; undefined when it belongs to none. Asked where the rule keeps any. */
  pin(candidate: Candidate, shares: Shares, facts: F): ForwardDecision | undefined
}

/**
 * `random` in [0, 1) decides between weighted backends. Forward and fail decisions are frozen and the
 * same object for all requests with the same answer, as long as nothing they are made from changes.
 * `trace` is for explanations.
 */
export function decideRoute<F extends HttpFacts>(
  snapshot: Snapshot,
  request: RouteRequest,
  facts: F,
  random: number,
  trace?: MatchTrace,
  sessions?: SessionPins<F>,
): RouteDecision {
  const group = routeGroupOf(snapshot, request)
  if (group.index === undefined) return accepted(group.otherwise, facts)
  const candidate = group.index.find(routeFacts(group, request, facts), trace)
  if (candidate === undefined) return accepted(group.otherwise, facts)
  const shares = group.sharesOf(candidate)
  // "A persistent session takes precedence over traffic split weights when selecting a backend after route matching."
  const pinned = candidate.rule?.session === undefined ? undefined : sessions?.pin(candidate, shares, facts)
  const outcome = pinned ?? pickShare(shares, random)
  if (outcome === undefined) return accepted(group.otherwise, facts)
  if (outcome.kind === 'redirect-plan') return renderRedirect(outcome, facts)
  if (outcome.kind === 'forward' && outcome.cors !== undefined)
    return preflightOf(outcome, facts) ?? accepted(outcome, facts)
  return accepted(outcome, facts)
}

/** Undefined when the request is to be sent on. */
function preflightOf(decision: ForwardDecision, facts: HttpFacts): PreflightDecision | undefined {
  const { cors, route = '', rule = '', responseEdits } = decision
  if (cors === undefined || !isPreflight(facts)) return undefined
  const answer = { set: preflightHeaders(cors, facts), add: [], remove: [] }
  return { kind: 'preflight', route, rule, status: 200, responseEdits: [...responseEdits, answer] }
}

/** A backend may refuse versions that it does not declare. */
function accepted(outcome: ForwardDecision | FailDecision, facts: HttpFacts): RouteDecision {
  if (outcome.kind !== 'forward' || outcome.versions?.refusesUnknown !== true) return outcome
  const recognised = versionedRequest(outcome, facts)?.recognised
  if (recognised?.kind !== 'unknown') return outcome
  const { namespace, name } = outcome.traffic ?? outcome.service
  const why = `${recognised.by} is no version that TrafficPolicy ${namespace}/${name} declares`
  return { kind: 'fail', route: outcome.route, rule: outcome.rule, refusal: 'unknownVersion', why }
}
