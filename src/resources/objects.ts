/** The Kubernetes objects that the mesh knows, parsed: a union on `kind`, and the invalid ones that still count. */

import type { PeerAuthenticationBody, RequestAuthenticationBody } from './authentication.ts'
import type { AuthorizationPolicyBody } from './authorization-policy.ts'
import type { BackendTlsPolicyBody, ConfigMapBody } from './backend-tls-policy.ts'
import type { EndpointSliceBody, NodeBody, PodBody, ServiceBody } from './core.ts'
import type { GrpcRouteBody } from './grpc-route.ts'
import type { HttpRouteBody, ParentRefSpec, ReferenceGrantBody } from './http-route.ts'
import type { ObjectBase } from './metadata.ts'
import type { TargetSpec } from './policy-target.ts'
import type { ServiceEntryBody } from './service-entry.ts'
import type { TcpRouteBody, TlsRouteBody } from './stream-route.ts'
import type { TrafficPolicyBody } from './traffic-policy.ts'

export type NamespaceObject = ObjectBase & { readonly kind: 'Namespace' }
export type NodeObject = ObjectBase & NodeBody & { readonly kind: 'Node' }
export type PodObject = ObjectBase & PodBody & { readonly kind: 'Pod' }
export type ServiceObject = ObjectBase & ServiceBody & { readonly kind: 'Service' }
export type ServiceAccountObject = ObjectBase & { readonly kind: 'ServiceAccount' }
export type EndpointSliceObject = ObjectBase & EndpointSliceBody & { readonly kind: 'EndpointSlice' }
export type HttpRouteObject = ObjectBase & HttpRouteBody & { readonly kind: 'HTTPRoute' }
export type GrpcRouteObject = ObjectBase & GrpcRouteBody & { readonly kind: 'GRPCRoute' }
export type TlsRouteObject = ObjectBase & TlsRouteBody & { readonly kind: 'TLSRoute' }
export type TcpRouteObject = ObjectBase & TcpRouteBody & { readonly kind: 'TCPRoute' }
export type ServiceEntryObject = ObjectBase & ServiceEntryBody & { readonly kind: 'ServiceEntry' }
export type BackendTlsPolicyObject = ObjectBase & BackendTlsPolicyBody & { readonly kind: 'BackendTLSPolicy' }
export type ConfigMapObject = ObjectBase & ConfigMapBody & { readonly kind: 'ConfigMap' }
export type ReferenceGrantObject = ObjectBase & ReferenceGrantBody & { readonly kind: 'ReferenceGrant' }
export type AuthorizationPolicyObject = ObjectBase & AuthorizationPolicyBody & { readonly kind: 'AuthorizationPolicy' }
export type PeerAuthenticationObject = ObjectBase & PeerAuthenticationBody & { readonly kind: 'PeerAuthentication' }
export type RequestAuthenticationObject = ObjectBase &
  RequestAuthenticationBody & { readonly kind: 'RequestAuthentication' }

export type TrafficPolicyObject = ObjectBase & TrafficPolicyBody & { readonly kind: 'TrafficPolicy' }

export type ValidObject =
  | NamespaceObject
  | NodeObject
  | PodObject
  | ServiceObject
  | ServiceAccountObject
  | EndpointSliceObject
  | HttpRouteObject
  | GrpcRouteObject
  | TlsRouteObject
  | TcpRouteObject
  | ServiceEntryObject
  | BackendTlsPolicyObject
  | ConfigMapObject
  | ReferenceGrantObject
  | AuthorizationPolicyObject
  | PeerAuthenticationObject
  | RequestAuthenticationObject
  | TrafficPolicyObject

/** A security policy that does not validate: it must refuse what it selects. */
export type InvalidPolicy = ObjectBase & {
  readonly kind: 'AuthorizationPolicy' | 'PeerAuthentication' | 'RequestAuthentication'
  /** One line, with the field. */
  readonly invalid: string
  /** Absent: not even what it applies to can be read, so it stands for its whole namespace. */
  readonly target?: TargetSpec
}

/** A route that does not validate: requests and connections to its parents must be refused. */
export type InvalidRoute = ObjectBase & {
  readonly kind: 'HTTPRoute' | 'GRPCRoute'
  /** One line, with the field. */
  readonly invalid: string
  /** Those that can be read. */
  readonly parentRefs: readonly ParentRefSpec[]
}

export type InvalidStreamRoute =
  | (Omit<InvalidRoute, 'kind'> & { readonly kind: 'TLSRoute' })
  | (Omit<InvalidRoute, 'kind'> & { readonly kind: 'TCPRoute' })

/** How to open TLS is not known: connections to these Services fail. */
export type InvalidBackendTls = ObjectBase & {
  readonly kind: 'BackendTLSPolicy'
  /** One line, with the field. */
  readonly invalid: string
  /** Names of Services that can be read. */
  readonly services: readonly string[]
}

/** A traffic policy that does not validate: it does not apply, and its Services are served as without one. */
export type InvalidTrafficPolicy = ObjectBase & {
  readonly kind: 'TrafficPolicy'
  /** One line, with the field. */
  readonly invalid: string
  /** As far as it can be read. */
  readonly target?: TargetSpec
}

export type InvalidObject = InvalidPolicy | InvalidRoute | InvalidStreamRoute | InvalidBackendTls | InvalidTrafficPolicy
export type KubernetesObject = ValidObject | InvalidObject

export function isInvalid(object: KubernetesObject): object is InvalidObject {
  return 'invalid' in object
}

/** Identity of an object within a source: group, kind, namespace and name. */
export function objectKey(object: KubernetesObject): string {
  return `${object.group}/${object.kind}:${object.metadata.namespace}/${object.metadata.name}`
}
