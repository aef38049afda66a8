/** Routes and policies of a snapshot as lists, for people who ask what is in force. */
import type { AuthorizationPolicy, Route, RouteBackend, RouteRule, StreamRoute, TrafficPolicy } from '#contract'
import { ROUTE_KIND } from '#contract'
import type { Snapshot } from '#mesh'
import type { PeerAuthenticationStatus } from './backend.ts'

export interface RouteListing {
  readonly kind: 'HTTPRoute' | 'GRPCRoute' | 'TLSRoute' | 'TCPRoute'
  readonly namespace: string
  readonly name: string
  /** `namespace/name`, with `:port` or `:section` where the route names one. */
  readonly parents: readonly string[]
  /** Of a TLSRoute. */
  readonly hostnames: readonly string[]
  /** Without matches and filters where connections are routed. */
  readonly rules: readonly RouteRule[]
  /** Empty when the object is valid. */
  readonly invalid: string
}

export interface PolicyListing {
  readonly kind: 'AuthorizationPolicy'
  readonly namespace: string
  readonly name: string
  readonly action: AuthorizationPolicy['action']
  readonly scope: AuthorizationPolicy['scope']
  readonly selector: Readonly<Record<string, string>>
  readonly services: readonly string[]
  readonly rules: number
  /** Empty when the object is valid; else it denies what it selects. */
  readonly invalid: string
}

export interface PeerAuthenticationListing extends PeerAuthenticationStatus {
  readonly kind: 'PeerAuthentication'
}

export interface TrafficListing {
  readonly kind: 'TrafficPolicy'
  readonly namespace: string
  readonly name: string
  /** Names of the Services that it targets. */
  readonly services: readonly string[]
  /** Those of them for which no older one applies. */
  readonly applies: readonly string[]
  /** What it is about, e.g. `retry`. */
  readonly says: readonly string[]
  /** Empty when the object is valid; else it does not apply. */
  readonly invalid: string
}

export function listRoutes(snapshot: Snapshot): RouteListing[] {
  const routes = Array.from(snapshot.routes(), (route) => routeListing(route, snapshot))
  const streams = Array.from(snapshot.streamRoutes(), (route) => streamListing(route, snapshot))
  return [...routes.sort(byName), ...streams.sort(byName)]
}

/** AuthorizationPolicies, then PeerAuthentications, then TrafficPolicies. */
export function listPolicies(
  snapshot: Snapshot,
  peerAuthentications: readonly PeerAuthenticationStatus[],
): (PolicyListing | PeerAuthenticationListing | TrafficListing)[] {
  const policies = [...snapshot.meshPolicies()]
  for (const inNamespace of snapshot.indexes().policiesByNamespace.values()) policies.push(...inNamespace)
  return [
    ...policies.map(policyListing).sort(byName),
    ...peerAuthentications
      .map((one): PeerAuthenticationListing => ({ kind: 'PeerAuthentication', ...one }))
      .sort(byName),
    ...listTrafficPolicies(snapshot),
  ]
}

function listTrafficPolicies(snapshot: Snapshot): TrafficListing[] {
  const found = new Set([...snapshot.indexes().trafficByService.values()].flat())
  return Array.from(found, (policy): TrafficListing => {
    const { namespace, name, services, invalid = '' } = policy
    const applies = services.filter((service) => snapshot.trafficPolicy(`${namespace}/${service}`) === policy)
    return { kind: 'TrafficPolicy', namespace, name, services, applies, says: sectionsOf(policy), invalid }
  }).sort(byName)
}

function sectionsOf(policy: TrafficPolicy): readonly string[] {
  const { balancing, retry, retryBudget, breaker, outliers, healthChecks, rateLimits, faults, versioning } = policy
  const sections = {
    loadBalancing: balancing,
    retry,
    retryBudget,
    circuitBreaker: breaker,
    outlierDetection: outliers,
    healthChecks,
    rateLimits: rateLimits.length === 0 ? undefined : rateLimits,
    faults,
    versioning,
  }
  return Object.entries(sections).flatMap(([name, value]) => (value === undefined ? [] : [name]))
}

function routeListing(route: Route, snapshot: Snapshot): RouteListing {
  const rules = route.rules.map((rule) => {
    return { ...rule, backends: rule.backends.map((backend) => markedBackend(backend, snapshot)) }
  })
  const { kind, namespace, name, invalid = '' } = route
  return { kind: ROUTE_KIND[kind], namespace, name, parents: parentTexts(route), hostnames: [], rules, invalid }
}

function streamListing(route: StreamRoute, snapshot: Snapshot): RouteListing {
  const rules = route.rules.map((rule): RouteRule => {
    const backends = rule.backends.map((backend) => markedBackend({ ...backend, filters: [] }, snapshot))
    return { ...rule, matches: [], filters: [], backends }
  })
  const { namespace, name, hostnames, invalid = '' } = route
  const kind = route.kind === 'tls-route' ? 'TLSRoute' : 'TCPRoute'
  return { kind, namespace, name, parents: parentTexts(route), hostnames, rules, invalid }
}

function parentTexts(route: Pick<Route, 'parents'>): readonly string[] {
  return route.parents.map(({ service, port, sectionName }) => {
    const section = port === undefined ? sectionName : String(port)
    return `${service.namespace}/${service.name}${section === undefined ? '' : `:${section}`}`
  })
}

/** `invalid` also where the reference is well-formed and leads nowhere now. */
function markedBackend(backend: RouteBackend, snapshot: Snapshot): RouteBackend {
  const { namespace, name, port } = backend.service
  if (backend.invalid !== undefined) return backend
  const service = snapshot.service(`${namespace}/${name}`)
  if (service === undefined) return { ...backend, invalid: 'no such Service' }
  return service.ports.some((known) => known.port === port)
    ? backend
    : { ...backend, invalid: 'the Service has no such port' }
}

function policyListing(policy: AuthorizationPolicy): PolicyListing {
  return {
    kind: 'AuthorizationPolicy',
    namespace: policy.namespace,
    name: policy.name,
    action: policy.action,
    scope: policy.scope,
    selector: policy.selector,
    services: policy.services,
    rules: policy.rules.length,
    invalid: policy.invalid ?? '',
  }
}

/** The order of lists: what they are made from has none. */
export function byName(a: { readonly namespace: string; readonly name: string }, b: typeof a): number {
  return `${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1
}
