/** Kubernetes object types as far as the mesh needs them, and their validation with exact field paths. */
export { canonicalAddress, canonicalCidr, canonicalNetwork } from './address.ts'
export type { AuthorizationRuleSpec, AuthorizationSourceSpec } from './authorization-policy.ts'
export type { GrpcRouteMatchSpec, GrpcRouteRuleSpec } from './grpc-route.ts'
export { type HealthCheckSpec, parseStatuses } from './health-check.ts'
export type { BackendRefSpec, ParentRefSpec, RouteRuleBody } from './http-route.ts'
export { isCoreGroup } from './http-route.ts'
export { parseLocality } from './locality-weights.ts'
export type { Metadata, OwnerReference } from './metadata.ts'
export { describeObject } from './metadata.ts'
export type {
  AuthorizationPolicyObject,
  BackendTlsPolicyObject,
  ConfigMapObject,
  EndpointSliceObject,
  GrpcRouteObject,
  HttpRouteObject,
  InvalidBackendTls,
  InvalidObject,
  InvalidPolicy,
  InvalidRoute,
  InvalidStreamRoute,
  InvalidTrafficPolicy,
  KubernetesObject,
  NamespaceObject,
  NodeObject,
  PeerAuthenticationObject,
  PodObject,
  ReferenceGrantObject,
  RequestAuthenticationObject,
  ServiceAccountObject,
  ServiceEntryObject,
  ServiceObject,
  TcpRouteObject,
  TlsRouteObject,
  TrafficPolicyObject,
  ValidObject,
} from './objects.ts'
export { isInvalid, objectKey } from './objects.ts'
export type { ParseOutcome } from './parse-object.ts'
export { parseObject } from './parse-object.ts'
export type { TargetRefSpec, TargetSpec } from './policy-target.ts'
export { targetRefsOf } from './policy-target.ts'
export type { Origin, Problem } from './problem.ts'
export { renderFault, renderPlace, renderProblem } from './problem.ts'
export type { RouteFilterSpec } from './route-filter.ts'
export type { RouteMatchSpec } from './route-match.ts'
export type { SessionPersistenceSpec } from './session-persistence.ts'
export type { StreamBackendRefSpec } from './stream-route.ts'
export type { RateLimitSpec, TrafficPolicySpec } from './traffic-policy.ts'
export type { VersioningSpec } from './versioning.ts'
