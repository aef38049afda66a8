/**
 * What became of each route and policy, in the words of their APIs: conditions for `status`. Pure; times and the
 * generation that was looked at are added by whoever writes them.
 */
import {
  type AuthorizationPolicyObject,
  type BackendRefSpec,
  type GrpcRouteObject,
  type HttpRouteObject,
  isCoreGroup,
  isInvalid,
  type KubernetesObject,
  type ParentRefSpec,
  type PeerAuthenticationObject,
  type ReferenceGrantObject,
  type RequestAuthenticationObject,
  type ServiceObject,
  type TcpRouteObject,
  type TlsRouteObject,
  type TrafficPolicyObject,
  targetRefsOf,
  type ValidObject,
} from '#resources'
import { BackendTlsConditions } from './backend-tls-status.ts'
import { accepted, type Condition, condition, type ParentConditions } from './condition.ts'
import { mirrorRefs } from './mirror-refs.ts'
import { hasClientAffinity } from './references.ts'
import { GrpcBindings } from './route-conflicts.ts'
import { applyingTrafficPolicies } from './traffic-conflicts.ts'

interface Judged {
  readonly group: string
  readonly kind: string
  readonly namespace: string
  readonly name: string
  readonly generation: number | undefined
}

/** Of a route: one entry for each Service among its parents (Gateway API, RouteStatus). */
export type RouteStatus = Judged & { readonly of: 'route'; readonly parents: readonly ParentConditions[] }
export type PolicyStatus = Judged & { readonly of: 'policy'; readonly conditions: readonly Condition[] }
/** Of a policy of the Gateway API: one entry for each of its Services (PolicyStatus). */
export type AncestorStatus = Judged & { readonly of: 'ancestors'; readonly ancestors: readonly ParentConditions[] }
export type ObjectStatus = RouteStatus | PolicyStatus | AncestorStatus

type Policy = AuthorizationPolicyObject | PeerAuthenticationObject | RequestAuthenticationObject | TrafficPolicyObject

type RouteObject = HttpRouteObject | GrpcRouteObject | TlsRouteObject | TcpRouteObject

function isRoute(object: ValidObject): object is RouteObject {
  const { kind } = object
  return kind === 'HTTPRoute' || kind === 'GRPCRoute' || kind === 'TLSRoute' || kind === 'TCPRoute'
}

/** The type of the condition that policies get. */
const POLICY_CONDITION = 'WeirAccepted'

/** Of all routes with a Service parent, and of all policies, in the order of the objects. */
export function conditionsOf(objects: readonly KubernetesObject[]): readonly ObjectStatus[] {
  const services = new Map<string, ServiceObject>()
  const grants: ReferenceGrantObject[] = []
  for (const object of objects) {
    if (isInvalid(object)) continue
    if (object.kind === 'Service') services.set(`${object.metadata.namespace}/${object.metadata.name}`, object)
    else if (object.kind === 'ReferenceGrant') grants.push(object)
  }
  const overruling = applyingTrafficPolicies(objects)
  const grpc = new GrpcBindings(objects)
  const backendTls = new BackendTlsConditions(objects, services)
  const found: ObjectStatus[] = []
  for (const object of objects) {
    const { group, kind, metadata } = object
    const { namespace, name, generation } = metadata
    const judged = { group, kind, namespace, name, generation }
    if (isInvalid(object)) {
      if (object.kind === 'BackendTLSPolicy') {
        found.push({ ...judged, of: 'ancestors', ancestors: backendTls.ofInvalid(object) })
      } else if ('parentRefs' in object) {
        const isStream = object.kind === 'TLSRoute' || object.kind === 'TCPRoute'
        const fate = isStream ? 'its connections are reset' : 'its requests get 500'
        const refused = accepted('UnsupportedValue', `${object.invalid}; ${fate}`)
        const parents = ours(object.parentRefs).map((parentRef) => ({ parentRef, conditions: [refused] }))
        if (parents.length > 0) found.push({ ...judged, of: 'route', parents })
      } else {
        const effect = object.kind === 'TrafficPolicy' ? 'does not apply' : 'denies what it selects'
        const message = `${object.invalid}; until it is mended it ${effect}`
        found.push({ ...judged, of: 'policy', conditions: [condition(POLICY_CONDITION, 'Invalid', message)] })
      }
    } else if (isRoute(object)) {
      const refs = backendsResolved(object, services, grants)
      const parents = ours(object.spec.parentRefs).map((parentRef) => ({
        parentRef,
        conditions: [parentAccepted(parentRef, object, services, grpc), refs],
      }))
      if (parents.length > 0) found.push({ ...judged, of: 'route', parents })
    } else if (object.kind === 'BackendTLSPolicy') {
      found.push({ ...judged, of: 'ancestors', ancestors: backendTls.of(object) })
    } else if (object.kind === 'TrafficPolicy') {
      const condition = overruled(object, overruling) ?? policyAccepted(object, services)
      found.push({ ...judged, of: 'policy', conditions: [condition] })
    } else if (
      object.kind === 'AuthorizationPolicy' ||
      object.kind === 'PeerAuthentication' ||
      object.kind === 'RequestAuthentication'
    ) {
      found.push({ ...judged, of: 'policy', conditions: [policyAccepted(object, services)] })
    }
  }
  return found
}

function ours(refs: readonly ParentRefSpec[]): readonly ParentRefSpec[] {
  return refs.filter(({ group, kind }) => isCoreGroup(group) && kind === 'Service')
}

function parentAccepted(
  ref: ParentRefSpec,
  route: RouteObject,
  services: ReadonlyMap<string, ServiceObject>,
  grpc: GrpcBindings,
): Condition {
  const name = `${ref.namespace ?? route.metadata.namespace}/${ref.name}`
  const service = services.get(name)
  if (service === undefined) return accepted('NoMatchingParent', `Service ${name} does not exist`)
  const ports = tcpPorts(service)
  if (ref.port !== undefined && !ports.some(({ port }) => port === ref.port)) {
    return accepted('NoMatchingParent', `Service ${name} has no TCP port ${ref.port}`)
  }
  if (ref.sectionName !== undefined && !ports.some((port) => port.name === ref.sectionName)) {
    return accepted('NoMatchingParent', `Service ${name} has no TCP port named ${ref.sectionName}`)
  }
  const clash = route.spec.rules.some(
    (rule) => 'sessionPersistence' in rule && rule.backendRefs.some((one) => hasClientAffinity(route, one, services)),
  )
  if (clash) {
    const message =
      'a backend has sessionAffinity ClientIP, which does not go with sessionPersistence; its requests get 500'
    return accepted('UnsupportedValue', message)
  }
  const conflict = route.kind === 'HTTPRoute' ? grpc.conflictOf(route, ref, service) : undefined
  if (conflict === undefined) return accepted('Accepted', '')
  const where = `GRPCRoute ${conflict.route} applies to port ${conflict.ports.join(', ')} of Service ${name}`
  return accepted(conflict.whole ? 'Conflicted' : 'Accepted', `${where}: only routes of one kind can`)
}

/** The first reference that leads nowhere stands for all; its requests get 500. */
function backendsResolved(
  route: RouteObject,
  services: ReadonlyMap<string, ServiceObject>,
  grants: readonly ReferenceGrantObject[],
): Condition {
  for (const [at, rule] of route.spec.rules.entries()) {
    const field = `spec.rules[${at}]`
    const backends = rule.backendRefs.map((ref, index) => [`${field}.backendRefs[${index}]`, ref] as const)
    for (const [place, ref] of [...backends, ...mirrorRefs(rule, field)]) {
      const wrong = backendFault(route, ref, services, grants)
      if (wrong === undefined) continue
      const message = `${place}: ${wrong.message}`
      return condition('ResolvedRefs', wrong.reason, message)
    }
  }
  return condition('ResolvedRefs', 'ResolvedRefs', '')
}

function backendFault(
  route: RouteObject,
  ref: Pick<BackendRefSpec, 'group' | 'kind' | 'name' | 'namespace' | 'port'>,
  services: ReadonlyMap<string, ServiceObject>,
  grants: readonly ReferenceGrantObject[],
): { readonly reason: string; readonly message: string } | undefined {
  const from = route.metadata.namespace
  const namespace = ref.namespace ?? from
  const name = `${namespace}/${ref.name}`
  if (!isCoreGroup(ref.group) || ref.kind !== 'Service') {
    return { reason: 'InvalidKind', message: `${ref.kind} ${name} is no backend: only Services are` }
  }
  if (namespace !== from && !grants.some((grant) => grantsBackend(grant, route, namespace, ref.name))) {
    const message = `Service ${name} is in another namespace: a ReferenceGrant there must allow ${route.kind}s of ${from}`
    return { reason: 'RefNotPermitted', message }
  }
  const service = services.get(name)
  if (service === undefined) return { reason: 'BackendNotFound', message: `Service ${name} does not exist` }
  if (ref.port === undefined) return { reason: 'BackendNotFound', message: `Service ${name} needs a port` }
  if (tcpPorts(service).some(({ port }) => port === ref.port)) return undefined
  return { reason: 'BackendNotFound', message: `Service ${name} has no TCP port ${ref.port}` }
}

function grantsBackend(grant: ReferenceGrantObject, route: RouteObject, namespace: string, name: string): boolean {
  const { kind, metadata } = route
  return (
    grant.metadata.namespace === namespace &&
    grant.spec.from.some(
      (one) => one.group === ROUTE_GROUP && one.kind === kind && one.namespace === metadata.namespace,
    ) &&
    grant.spec.to.some((one) => isCoreGroup(one.group) && one.kind === 'Service' && (one.name || name) === name)
  )
}

const ROUTE_GROUP = 'gateway.networking.k8s.io'

function policyAccepted(policy: Policy, services: ReadonlyMap<string, ServiceObject>): Condition {
  for (const { group, kind, name } of targetRefsOf(policy.spec)) {
    if (isCoreGroup(group) && kind === 'Service' && !services.has(`${policy.metadata.namespace}/${name}`)) {
      const message = `Service ${policy.metadata.namespace}/${name} does not exist: it applies to nothing there`
      return condition(POLICY_CONDITION, 'TargetNotFound', message)
    }
  }
  return condition(POLICY_CONDITION, 'Accepted', '')
}

/** Of the first Service for which another policy applies. */
function overruled(
  policy: TrafficPolicyObject,
  applying: ReadonlyMap<string, TrafficPolicyObject>,
): Condition | undefined {
  for (const { name } of policy.spec.targetRefs) {
    const other = applying.get(`${policy.metadata.namespace}/${name}`)
    if (other === undefined || other === policy) continue
    const message = `TrafficPolicy ${other.metadata.name} is older and applies to Service ${name} instead: merge them`
    return condition(POLICY_CONDITION, 'Conflicted', message)
  }
  return undefined
}

function tcpPorts(service: ServiceObject): ServiceObject['spec']['ports'] {
  return service.spec.ports.filter(({ protocol }) => protocol === 'TCP')
}
