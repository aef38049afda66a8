/**
 * Compiles a rule into what its requests get: weighted shares, each a forward decision, a redirect,
 * or a failure. References are resolved here, once per rule, and never on the path of a request.
 */
import type {
  CorsPlan,
  HeaderEdit,
  MeshService,
  ReferenceGrant,
  RetryPlan,
  Route,
  RouteBackend,
  RouteFilter,
  RouteRule,
  ServicePort,
  TrafficPolicy,
} from '#contract'
import { ROUTE_KIND } from '#contract'
import { planVersioning, type VersioningPlan } from '#translation'
import type { FailDecision, ForwardDecision, MirrorPlan } from './decision.ts'
import type { RedirectFilter, RedirectPlan } from './redirect.ts'

export type Outcome = ForwardDecision | FailDecision | RedirectPlan

export interface Share {
  readonly outcome: Outcome
  readonly weight: number
  /** `namespace/name:port` of the backend, for explanations; empty when there is none. */
  readonly backend: string
}

export interface Shares {
  /** Never empty; zero weights are left out. */
  readonly list: readonly Share[]
  readonly total: number
  /** Backends of weight 0: nobody gets there but by a session. */
  readonly unweighted: readonly Share[]
}

/** What the decisions of a group of routes have in common. */
export interface OutcomeContext {
  /** The Service and port that the client called. */
  readonly service: MeshService
  readonly port: ServicePort
  /** The Services that the routes refer to, by `namespace/name`; undefined for those that do not exist. */
  readonly backends: ReadonlyMap<string, MeshService | undefined>
  /** The TrafficPolicies of the Service and of the backends, as `backends`. */
  readonly traffic: ReadonlyMap<string, TrafficPolicy | undefined>
  /** ReferenceGrants by namespace, for every namespace that is referred to from another. */
  readonly grants: ReadonlyMap<string, readonly ReferenceGrant[]>
}

/** Why a rule with sessions cannot send them there. */
const AFFINITY = 'has sessionAffinity ClientIP, which does not go with sessionPersistence'
const NO_EDITS: readonly HeaderEdit[] = Object.freeze([])
const NO_FILTERS: readonly RouteFilter[] = Object.freeze([])

/** `random` in [0, 1) decides which share; the same number always gives the same share. */
export function pickShare(shares: Shares, random: number): Outcome | undefined {
  const { list } = shares
  if (list.length === 1) return list[0]?.outcome
  let left = random * shares.total
  for (const share of list) {
    left -= share.weight
    if (left < 0) return share.outcome
  }
  return list[list.length - 1]?.outcome
}

/** True when the decisions of a rule depend on which prefix matched. */
export function dependsOnPrefix(rule: RouteRule): boolean {
  const replaces = (filter: RouteFilter): boolean =>
    (filter.type === 'URLRewrite' || filter.type === 'RequestRedirect') && filter.path?.type === 'ReplacePrefixMatch'
  return rule.filters.some(replaces) || rule.backends.some((backend) => backend.filters.some(replaces))
}

/** `prefix` is undefined when the path was not matched by PathPrefix. */
export function compileShares(
  context: OutcomeContext,
  route: Route,
  rule: RouteRule,
  ruleName: string,
  prefix: string | undefined,
): Shares {
  const routeName = `${route.namespace}/${route.name}`
  const fail = (why: string): FailDecision => invalidRoute(routeName, ruleName, why)
  const filters = combineFilters(rule.filters, NO_FILTERS)
  if (filters.redirect !== undefined || filters.problem !== undefined) {
    return only(outcomeOf(filters, prefix, fail, context, routeName, ruleName) ?? fail('the rule has no backend'))
  }
  const list: Share[] = []
  const unweighted: Share[] = []
  let total = 0
  for (const backend of rule.backends) {
    if (backend.weight <= 0 && rule.session === undefined) continue
    const { namespace, name, port } = backend.service
    const outcome = compileBackend(context, route, rule, ruleName, backend, prefix, fail)
    const share = { outcome, weight: backend.weight, backend: `${namespace}/${name}:${port}` }
    if (backend.weight > 0) list.push(share)
    else unweighted.push(share)
    total += backend.weight
  }
  if (list.length > 0) return { list, total, unweighted }
  const why = rule.backends.length === 0 ? 'the rule has no backend' : 'all backends have weight 0'
  return { ...only(fail(why)), unweighted }
}

function only(outcome: Outcome): Shares {
  return { list: [{ outcome, weight: 1, backend: '' }], total: 1, unweighted: [] }
}

export function invalidRoute(route: string, rule: string | undefined, why: string): FailDecision {
  return Object.freeze({ kind: 'fail', route, rule, refusal: 'invalidRoute', why })
}

function compileBackend(
  context: OutcomeContext,
  route: Route,
  rule: RouteRule,
  ruleName: string,
  backend: RouteBackend,
  prefix: string | undefined,
  fail: (why: string) => FailDecision,
): Outcome {
  const { namespace, name, port } = backend.service
  const label = `backend Service ${namespace}/${name}`
  if (backend.invalid !== undefined) return fail(backend.invalid)
  if (!mayRefer(context, route, backend)) {
    return fail(
      `${label}: no ReferenceGrant in ${namespace} lets ${ROUTE_KIND[route.kind]}s of ${route.namespace} refer to it`,
    )
  }
  const service = context.backends.get(`${namespace}/${name}`)
  if (service === undefined) return fail(`${label} does not exist`)
  if (!service.ports.some((known) => known.port === port)) return fail(`${label} has no port ${port}`)
  // "The route MUST be rejected" (GEP-1619, "Session Affinity in K8S Services").
  if (rule.session !== undefined && service.clientAffinity) return fail(`${label} ${AFFINITY}`)
  const filters = combineFilters(rule.filters, backend.filters)
  const routeName = `${route.namespace}/${route.name}`
  const early = outcomeOf(filters, prefix, fail, context, routeName, ruleName)
  if (early !== undefined) return early
  const mirrors = compileMirrors(context, route, rule, ruleName, [...rule.filters, ...backend.filters], prefix)
  return forward(context, service, port, {
    route: routeName,
    rule: ruleName,
    filters,
    mirrors,
    prefix: prefix ?? '',
    requestTimeoutMs: rule.requestTimeoutMs || undefined,
    backendRequestTimeoutMs: rule.backendRequestTimeoutMs || undefined,
    retry: rule.retry,
  })
}

/**
 * "If the referent cannot be found, this BackendRef is invalid and must be dropped" (HTTPRequestMirrorFilter): what can't be
 * mirrored is told where references are checked, and disturbs nothing.
 */
function compileMirrors(
  context: OutcomeContext,
  route: Route,
  rule: RouteRule,
  ruleName: string,
  filters: readonly RouteFilter[],
  prefix: string | undefined,
): readonly MirrorPlan[] | undefined {
  const plans: MirrorPlan[] = []
  for (const filter of filters) {
    if (filter.type !== 'RequestMirror' || filter.numerator === 0) continue
    const { backend, numerator, denominator } = filter
    const { namespace, name, port } = backend.service
    const service = context.backends.get(`${namespace}/${name}`)
    if (backend.invalid !== undefined || service === undefined || !mayRefer(context, route, backend)) continue
    if (!service.ports.some((known) => known.port === port)) continue
    const decision = forward(context, service, port, {
      route: `${route.namespace}/${route.name}`,
      rule: ruleName,
      filters: combineFilters(rule.filters, NO_FILTERS),
      mirrors: undefined,
      prefix: prefix ?? '',
      requestTimeoutMs: rule.requestTimeoutMs || MIRROR_TIMEOUT_MS,
      backendRequestTimeoutMs: rule.backendRequestTimeoutMs || undefined,
      retry: NO_RETRY,
    })
    plans.push({ decision, numerator, denominator })
  }
  return plans.length === 0 ? undefined : Object.freeze(plans)
}

/** Nobody waits for the answer to a copy; it may not go on forever. */
const MIRROR_TIMEOUT_MS = 15_000
/** Nor is one sent twice. */
const NO_RETRY: RetryPlan = Object.freeze({
  attempts: 0,
  codes: [],
  connectFailure: false,
  reset: false,
  timeout: false,
  backoffMs: 0,
  maxBackoffMs: 0,
})

/**
 * References across namespaces need a ReferenceGrant. (GEP-1294 lets a mesh go without; Weir asks for
 * it, so that a namespace decides itself who sends it traffic.) The Service that the client called is
 * no new reference: a consumer route may always send requests on to where they were going.
 */
function mayRefer(context: OutcomeContext, route: Route, backend: Pick<RouteBackend, 'service'>): boolean {
  const { namespace, name } = backend.service
  if (namespace === route.namespace) return true
  if (namespace === context.service.namespace && name === context.service.name) return true
  const grants = context.grants.get(namespace)
  const kind = ROUTE_KIND[route.kind]
  return (
    grants?.some(
      (grant) =>
        grant.from.some((from) => from.kind === kind && from.namespace === route.namespace) &&
        grant.to.some((to) => to.kind === 'Service' && (to.name === undefined || to.name === name)),
    ) ?? false
  )
}

interface Filters {
  requestEdits: readonly HeaderEdit[]
  responseEdits: readonly HeaderEdit[]
  hostname: string | undefined
  path: ForwardDecision['path']
  redirect: RedirectFilter | undefined
  cors: CorsPlan | undefined
  problem: string | undefined
}

/** Header edits of the rule come before those of the backend; a backend's rewrite replaces the rule's. */
function combineFilters(ofRule: readonly RouteFilter[], ofBackend: readonly RouteFilter[]): Filters {
  const requestEdits: HeaderEdit[] = []
  const responseEdits: HeaderEdit[] = []
  let hostname: string | undefined
  let path: ForwardDecision['path']
  let redirect: RedirectFilter | undefined
  let cors: CorsPlan | undefined
  let rewrites = false
  for (const filter of [...ofRule, ...ofBackend]) {
    switch (filter.type) {
      case 'RequestHeaderModifier':
        requestEdits.push(filter.edit)
        break
      case 'ResponseHeaderModifier':
        responseEdits.push(filter.edit)
        break
      case 'URLRewrite':
        rewrites = true
        hostname = filter.hostname ?? hostname
        path = filter.path ?? path
        break
      case 'RequestRedirect':
        redirect = filter
        break
      case 'CORS':
        cors = filter.cors
        break
      case 'RequestMirror':
        break
    }
  }
  return {
    requestEdits: requestEdits.length === 0 ? NO_EDITS : Object.freeze(requestEdits),
    responseEdits: responseEdits.length === 0 ? NO_EDITS : Object.freeze(responseEdits),
    hostname,
    path,
    redirect,
    cors,
    problem: redirect !== undefined && rewrites ? 'URLRewrite and RequestRedirect do not go together' : undefined,
  }
}

/** The outcome when filters alone decide it; undefined when the request goes on to a backend. */
function outcomeOf(
  filters: Filters,
  prefix: string | undefined,
  fail: (why: string) => FailDecision,
  context: OutcomeContext,
  route: string,
  rule: string,
): Outcome | undefined {
  if (filters.problem !== undefined) return fail(filters.problem)
  const path = filters.redirect?.path ?? filters.path
  if (path?.type === 'ReplacePrefixMatch' && prefix === undefined) {
    return fail('ReplacePrefixMatch needs a PathPrefix match')
  }
  if (filters.redirect === undefined) return undefined
  return Object.freeze({
    kind: 'redirect-plan',
    route,
    rule,
    filter: filters.redirect,
    prefix: prefix ?? '',
    service: context.service,
    servicePort: context.port.port,
    responseEdits: filters.responseEdits,
  })
}

/** Where requests go when no route is attached: to the Service itself. */
export function defaultForward(context: OutcomeContext): ForwardDecision {
  return forward(context, context.service, context.port.port, {
    route: undefined,
    rule: undefined,
    filters: combineFilters(NO_FILTERS, NO_FILTERS),
    mirrors: undefined,
    prefix: '',
    requestTimeoutMs: undefined,
    backendRequestTimeoutMs: undefined,
    retry: undefined,
  })
}

function forward(
  context: OutcomeContext,
  service: MeshService,
  port: number,
  how: {
    readonly route: string | undefined
    readonly rule: string | undefined
    readonly filters: Filters
    readonly mirrors: readonly MirrorPlan[] | undefined
    readonly prefix: string
    readonly requestTimeoutMs: number | undefined
    readonly backendRequestTimeoutMs: number | undefined
    readonly retry: RetryPlan | undefined
  },
): ForwardDecision {
  const traffic = context.traffic.get(`${service.namespace}/${service.name}`)
  const retry = how.retry ?? traffic?.retry
  return Object.freeze({
    kind: 'forward',
    route: how.route,
    rule: how.rule,
    service,
    port,
    protocol: service.ports.find((known) => known.port === port)?.protocol ?? 'unknown',
    endpoints: service.endpoints[String(port)] ?? NO_ENDPOINTS,
    requestEdits: how.filters.requestEdits,
    responseEdits: how.filters.responseEdits,
    cors: how.filters.cors,
    rewrites: how.filters.path !== undefined,
    hostname: how.filters.hostname,
    path: how.filters.path,
    prefix: how.prefix,
    requestTimeoutMs: how.requestTimeoutMs,
    backendRequestTimeoutMs: how.backendRequestTimeoutMs ?? retry?.perTryTimeoutMs,
    retry: retry !== undefined && retry.attempts > 0 ? retry : undefined,
    traffic,
    versions: versionsOf(traffic, service, port),
    mirrors: how.mirrors,
  })
}

/** Messages of gRPC are no JSON, and its streams are not held back. */
export function versionsOf(
  traffic: TrafficPolicy | undefined,
  service: MeshService,
  port: number,
): VersioningPlan | undefined {
  if (traffic?.versioning === undefined) return undefined
  const protocol = service.ports.find((known) => known.port === port)?.protocol
  return protocol === 'grpc' ? undefined : planVersioning(traffic.versioning)
}

const NO_ENDPOINTS: ForwardDecision['endpoints'] = Object.freeze([])
