/** RequestRedirect: the Location a client is sent to. */
import type { HeaderEdit, HttpFacts, MeshService, RouteFilter } from '#contract'
import type { RedirectDecision } from './decision.ts'
import { renderTarget } from './rewrite.ts'

export type RedirectFilter = Extract<RouteFilter, { readonly type: 'RequestRedirect' }>

/** A redirect without its Location, which depends on the request. */
export interface RedirectPlan {
  readonly kind: 'redirect-plan'
  readonly route: string
  readonly rule: string
  readonly filter: RedirectFilter
  readonly prefix: string
  /** The Service and port that the client called; the port stands for the specification's listener port. */
  readonly service: MeshService
  readonly servicePort: number
  readonly responseEdits: readonly HeaderEdit[]
}

export function renderRedirect(plan: RedirectPlan, facts: HttpFacts): RedirectDecision {
  return {
    kind: 'redirect',
    route: plan.route,
    rule: plan.rule,
    status: plan.filter.statusCode,
    location: renderLocation(plan, facts),
    responseEdits: plan.responseEdits,
  }
}

/**
 * Port (HTTPRequestRedirectFilter.port): the filter's, else the well-known port of the filter's scheme,
 * else the port called; not written where it is the default of the scheme. The scheme of a request
 * that routing sees is always http. The query is kept.
 */
function renderLocation(plan: RedirectPlan, facts: HttpFacts): string {
  const { filter, service } = plan
  const scheme = filter.scheme ?? 'http'
  const host = filter.hostname ?? (hostOf(facts.authority) || `${service.name}.${service.namespace}.svc`)
  const standardPort = scheme === 'https' ? 443 : 80
  const port = filter.port ?? (filter.scheme === undefined ? plan.servicePort : standardPort)
  const suffix = port === standardPort ? '' : `:${port}`
  const target = renderTarget(filter.path, plan.prefix, facts)
  return `${scheme}://${host}${suffix}${target === '*' ? '' : target}`
}

/** Without the port; the brackets of an IPv6 address stay. */
function hostOf(authority: string): string {
  const colon = authority.lastIndexOf(':')
  return colon > authority.lastIndexOf(']') ? authority.slice(0, colon) : authority
}
