/** What is compiled from one object alone: routes, policies, grants. Which of several with one name or one target counts is judged elsewhere. */
import type { MeshObject } from '#contract'
import { type ConfigMapObject, isInvalid, type KubernetesObject } from '#resources'
import { compileBackendTls, compileInvalidBackendTls } from './backend-tls.ts'
import { checkRequestAuthentication, compileInvalidPolicy, compilePolicy, type PolicyOptions } from './policies.ts'
import type { ProblemLog } from './problem-log.ts'
import { compileGrant, compileGrpcRoute, compileInvalidRoute, compileRoute } from './routes.ts'
import { compileInvalidStreamRoute, compileStreamRoute } from './stream-routes.ts'
import { compileInvalidTrafficPolicy, compileTrafficPolicy } from './traffic.ts'

export interface SingleContext {
  readonly policyOptions: PolicyOptions
  /** Those that BackendTLSPolicies may refer to, by `namespace/name`. */
  readonly configMaps: ReadonlyMap<string, ConfigMapObject>
}

/** Undefined for other kinds, and for what concerns nothing of the mesh. */
export function compileSingle(
  object: KubernetesObject,
  { policyOptions, configMaps }: SingleContext,
  problems: ProblemLog,
): MeshObject | undefined {
  if (isInvalid(object)) {
    if (object.kind === 'TrafficPolicy') return compileInvalidTrafficPolicy(object)
    if (object.kind === 'BackendTLSPolicy') return compileInvalidBackendTls(object)
    if (object.kind === 'TLSRoute' || object.kind === 'TCPRoute') return compileInvalidStreamRoute(object)
    return 'parentRefs' in object ? compileInvalidRoute(object) : compileInvalidPolicy(object, policyOptions)
  }
  switch (object.kind) {
    case 'HTTPRoute':
      return compileRoute(object, problems)
    case 'GRPCRoute':
      return compileGrpcRoute(object, problems)
    case 'TLSRoute':
    case 'TCPRoute':
      return compileStreamRoute(object, problems)
    case 'BackendTLSPolicy':
      return compileBackendTls(object, configMaps, problems)
    case 'ReferenceGrant':
      return compileGrant(object)
    case 'AuthorizationPolicy':
      return compilePolicy(object, policyOptions, problems)
    case 'TrafficPolicy':
      return compileTrafficPolicy(object)
    case 'RequestAuthentication':
      checkRequestAuthentication(object, problems)
      return undefined
    default:
      return undefined
  }
}

/** The group by which it is told from one of the same kind and name in another group, where both are put into the world; else empty. */
export function groupApart(object: KubernetesObject): string {
  const ofOneGroup =
    object.kind === 'TrafficPolicy' ||
    object.kind === 'BackendTLSPolicy' ||
    object.kind === 'TLSRoute' ||
    object.kind === 'TCPRoute'
  if (isInvalid(object)) return ofOneGroup ? '' : object.group
  return object.kind === 'AuthorizationPolicy' ? object.group : ''
}
