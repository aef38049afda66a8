/** Routes and policies of a snapshot as lists, for people who ask what is in force. */
import type { AuthorizationPolicy, HttpRoute, RouteRule } from '#contract'
import type { Snapshot } from '#mesh'

export interface RouteListing {
  readonly namespace: string
  readonly name: string
  /** `namespace/name`, with `:port` or `:section` where the route names one. */
  readonly parents: readonly string[]
  readonly rules: readonly RouteRule[]
  /** Empty when the object is valid. */
  readonly invalid: string
}

export interface PolicyListing {
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

export function listRoutes(snapshot: Snapshot): RouteListing[] {
  const routes = Array.from(snapshot.httpRoutes(), routeListing)
  return routes.sort(byName)
}

export function listPolicies(snapshot: Snapshot): PolicyListing[] {
  const policies = [...snapshot.meshPolicies()]
  for (const inNamespace of snapshot.indexes().policiesByNamespace.values()) policies.push(...inNamespace)
  return policies.map(policyListing).sort(byName)
}

function routeListing(route: HttpRoute): RouteListing {
  const parents = route.parents.map(({ service, port, sectionName }) => {
    const section = port === undefined ? sectionName : String(port)
    return `${service.namespace}/${service.name}${section === undefined ? '' : `:${section}`}`
  })
  return { namespace: route.namespace, name: route.name, parents, rules: route.rules, invalid: route.invalid ?? '' }
}

function policyListing(policy: AuthorizationPolicy): PolicyListing {
  return {
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

function byName(a: { readonly namespace: string; readonly name: string }, b: typeof a): number {
  return `${a.namespace}/${a.name}` < `${b.namespace}/${b.name}` ? -1 : 1
}
