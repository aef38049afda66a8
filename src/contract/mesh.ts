/**
 * The mesh as the proxies know it: plain JSON values, compiled by the agent from Kubernetes objects,
 * validated and normalised, so that a proxy never meets Kubernetes' own shapes. An object that does
 * not validate is still here, as a value that refuses (`invalid`): nothing is skipped.
 */

import type { RetryPlan, TrafficPolicy } from './traffic.ts'

export type MeshObject =
  | Workload
  | MeshService
  | Route
  | StreamRoute
  | ReferenceGrant
  | BackendTls
  | AuthorizationPolicy
  | TrafficPolicy
  | NamespaceInfo

/** Key of an object within a world, e.g. `workload:shop/web-1`. */
export function meshKey(object: { readonly kind: string; readonly namespace: string; readonly name: string }): string {
  return `${object.kind}:${object.namespace}/${object.name}`
}

interface Named {
  readonly namespace: string
  readonly name: string
}

export interface NamespaceInfo extends Named {
  readonly kind: 'namespace'
  /** Empty for a namespace (namespaces have no namespace). */
  readonly namespace: ''
  readonly labels: Readonly<Record<string, string>>
}

/** A pod. */
export interface Workload extends Named {
  readonly kind: 'workload'
  readonly uid: string
  readonly serviceAccount: string
  readonly labels: Readonly<Record<string, string>>
  /** Pod addresses, IPv4 and IPv6, in canonical text. Empty until known. */
  readonly addresses: readonly string[]
  readonly node: string
  /** Of its node; absent where the node does not say. */
  readonly zone?: string
  readonly region?: string
  readonly hostNetwork: boolean
  /** Opted in (annotation or namespace label), and not on the host network. */
  readonly optedIn: boolean
  readonly ready: boolean
  /** Has a deletionTimestamp, or its phase is Succeeded or Failed. */
  readonly terminating: boolean
  /** The owner people know it by: Deployment, StatefulSet, …; the pod's own name if it has none. */
  readonly owner: string
  /** Labels app / app.kubernetes.io/name and version / app.kubernetes.io/version; `unknown` if absent. */
  readonly app: string
  readonly version: string
  /** The application is to see the pod's own address as its peer, not the client's. */
  readonly hidesClientAddress?: true
  /** By its own annotation or its namespace's; absent: as the agent was told. */
  readonly outbound?: OutboundTrafficPolicy
  /** Absent: plain traffic and mutual TLS are both taken on all ports. */
  readonly peerModes?: PeerModes
  /** Addresses of its node, from which the kubelet probes it. */
  readonly hostAddresses: readonly string[]
  /** What the kubelet probes, from its containers' probes; exec probes need nothing. */
  readonly probes: readonly Probe[]
  readonly quarantine?: Quarantine
}

/** It is cut off from everything: what it sends and what is sent to it. The kubelet's probes pass. */
export interface Quarantine {
  /** Blocks that are let through all the same, network address and prefix length. */
  readonly allow: readonly string[]
  /** The annotation could not be read, which means quarantine without an exception. */
  readonly doubtful?: true
}

/** PeerAuthentication: STRICT takes mutual TLS only, DISABLE is called in plain text, PERMISSIVE takes both. */
export type PeerMode = 'STRICT' | 'PERMISSIVE' | 'DISABLE'

export interface PeerModes {
  readonly mode: PeerMode
  /** By port of the pod; those not here have `mode`. */
  readonly ports: Readonly<Record<string, PeerMode>>
  /** `namespace/name` of what decided. */
  readonly policy: string
}

export interface Probe {
  readonly port: number
  /** Path of an HTTP probe without its query; absent for TCP and gRPC probes. */
  readonly path?: string
}

export type AppProtocol = 'http' | 'http2' | 'grpc' | 'tls' | 'tcp' | 'unknown'

export interface ServicePort {
  readonly name: string
  readonly port: number
  /** From appProtocol, or from the port name's prefix (`http-…`); `unknown` means detect. */
  readonly protocol: AppProtocol
}

export interface Endpoint {
  readonly address: string
  readonly port: number
  readonly ready: boolean
  readonly terminating: boolean
  /** `namespace/name` of the pod, when it is one. */
  readonly workload?: string
  /** The address is a host name, lower case: whoever connects asks for its addresses. */
  readonly resolve?: true
  /** The name below its headless Service's by which DNS knows it (pod.spec.hostname, or the EndpointSlice's). */
  readonly hostname?: string
}

export interface MeshService extends Named {
  readonly kind: 'service'
  /** ClusterIPs in canonical text; empty for headless Services. */
  readonly addresses: readonly string[]
  readonly ports: readonly ServicePort[]
  /** Endpoints per Service port number (as a string key). */
  readonly endpoints: Readonly<Record<string, readonly Endpoint[]>>
  /** True when the endpoints come from EndpointSlices, false when from the selector. */
  readonly sliced: boolean
  /** `sessionAffinity: ClientIP`, which does not go with sessions of a route. */
  readonly clientAffinity?: true
  /** `clusterIP: None`: its name means the addresses of its endpoints. */
  readonly headless?: true
  /** Of a ServiceEntry: its name is that of the host, exact or `*.` and the end of names, lower case. */
  readonly external?: ExternalHost
  /** Its name is an alias of this one; lower case, without a dot at the end. */
  readonly externalName?: string
}

/** What a ServiceEntry says of a host, beside what every Service has. */
export interface ExternalHost {
  /** Name of the ServiceEntry. */
  readonly entry: string
  /** DNS: its endpoints are host names. NONE: it has no endpoints, and is where its clients find it. */
  readonly resolution: 'NONE' | 'STATIC' | 'DNS'
  /** All its addresses, as blocks in canonical text. */
  readonly cidrs: readonly string[]
  /** Whose pods it is declared for; absent: all. */
  readonly namespaces?: readonly string[]
}

/** REGISTRY_ONLY: what is not declared (Services, pods, ServiceEntries) is refused. */
export type OutboundTrafficPolicy = 'ALLOW_ANY' | 'REGISTRY_ONLY'

/** BackendTLSPolicy: TLS that the mesh opens to Services of its namespace. */
export interface BackendTls extends Named {
  readonly kind: 'backend-tls'
  /** RFC 3339. Of several for one Service or port the oldest applies. Empty sorts last. */
  readonly createdAt: string
  /** Names of Services; `sectionName` is a port's, and goes before none. */
  readonly targets: readonly { readonly service: string; readonly sectionName?: string }[]
  /** Asked for as the server name, and verified unless there are `names`. */
  readonly hostname: string
  /** PEM texts; absent: the roots of the proxy's own runtime. */
  readonly roots?: readonly string[]
  /** The certificate has one of these at least, when there are any. */
  readonly names: readonly { readonly type: 'Hostname' | 'URI'; readonly value: string }[]
  /** It cannot be carried out: one line, with the field. Its connections fail. */
  readonly invalid?: string
}

// ── Routes (Gateway API HTTPRoute and GRPCRoute with a Service parent) ────────────────────────────────────────

export type StringMatch =
  | { readonly type: 'Exact'; readonly value: string }
  | { readonly type: 'RegularExpression'; readonly value: string }

export interface PathMatch {
  readonly type: 'Exact' | 'PathPrefix' | 'RegularExpression'
  readonly value: string
  /** An expression for a gRPC method of any service: it stands after all that name a service. */
  readonly anyService?: true
}

export interface RouteMatch {
  readonly path: PathMatch
  readonly method?: string
  readonly headers: readonly { readonly name: string; readonly match: StringMatch }[]
  readonly query: readonly { readonly name: string; readonly match: StringMatch }[]
}

export interface HeaderEdit {
  readonly set: readonly { readonly name: string; readonly value: string }[]
  readonly add: readonly { readonly name: string; readonly value: string }[]
  readonly remove: readonly string[]
}

export type PathRewrite =
  | { readonly type: 'ReplaceFullPath'; readonly value: string }
  | { readonly type: 'ReplacePrefixMatch'; readonly value: string }

export type RouteFilter =
  | { readonly type: 'RequestHeaderModifier'; readonly edit: HeaderEdit }
  | { readonly type: 'ResponseHeaderModifier'; readonly edit: HeaderEdit }
  | { readonly type: 'URLRewrite'; readonly hostname?: string; readonly path?: PathRewrite }
  | {
      readonly type: 'RequestRedirect'
      readonly scheme?: string
      readonly hostname?: string
      readonly port?: number
      readonly path?: PathRewrite
      readonly statusCode: number
    }
  /** A copy of so many of so many requests goes there, too; its answer is thrown away. */
  | {
      readonly type: 'RequestMirror'
      readonly backend: Pick<RouteBackend, 'service' | 'invalid'>
      readonly numerator: number
      readonly denominator: number
    }
  | { readonly type: 'CORS'; readonly cors: CorsPlan }

/** What scripts of other origins may do, as a browser is told. In each list `*` stands alone, for all. */
export interface CorsPlan {
  /** `scheme://host[:port]`; the host may begin with `*`. */
  readonly origins: readonly string[]
  readonly credentials: boolean
  readonly methods: readonly string[]
  readonly headers: readonly string[]
  readonly expose: readonly string[]
  readonly maxAgeSeconds: number
}

export interface RouteBackend {
  /** 0 … 1 000 000. */
  readonly weight: number
  readonly filters: readonly RouteFilter[]
  readonly service: { readonly namespace: string; readonly name: string; readonly port: number }
  /** Set when the reference can never work (unknown kind, no port): its share of requests gets 500. */
  readonly invalid?: string
}

export interface RouteRule {
  readonly name?: string
  /** Never empty: a rule without matches gets PathPrefix `/`. */
  readonly matches: readonly RouteMatch[]
  readonly filters: readonly RouteFilter[]
  readonly backends: readonly RouteBackend[]
  readonly requestTimeoutMs?: number
  readonly backendRequestTimeoutMs?: number
  readonly retry?: RetryPlan
  readonly session?: SessionPlan
}

/** GEP-1619: requests of a session go to the endpoint that its first one got. */
export interface SessionPlan {
  readonly type: 'Cookie' | 'Header'
  /** Of the cookie, or of the header in lower case. */
  readonly name: string
  readonly absoluteTimeoutMs?: number
  readonly idleTimeoutMs?: number
  /** The cookie has an expiry; `absoluteTimeoutMs` is there then. */
  readonly permanent: boolean
  /** Known to all nodes and to nobody else where there is a cluster (the route's uid); else empty. */
  readonly seed: string
}

export interface RouteParent {
  readonly service: { readonly namespace: string; readonly name: string }
  readonly port?: number
  /** A Service parent's section is a port name. */
  readonly sectionName?: string
}

/** Of one Service port only routes of one kind apply: GRPCRoutes, where there are any (GEP-1294, "Route types"). */
export type Route = HttpRoute | GrpcRoute

export interface HttpRoute extends RouteBody {
  readonly kind: 'http-route'
}

export interface GrpcRoute extends RouteBody {
  readonly kind: 'grpc-route'
}

/** As the Gateway API names them. */
export const ROUTE_KIND = { 'http-route': 'HTTPRoute', 'grpc-route': 'GRPCRoute' } as const

interface RouteBody extends Named {
  /** RFC 3339; the tie-break of the specification. Empty sorts last. */
  readonly createdAt: string
  readonly parents: readonly RouteParent[]
  /** Ignored for Service parents, as the specification says; kept for `explain`. */
  readonly hostnames: readonly string[]
  readonly rules: readonly RouteRule[]
  /** The object did not validate: one line, with the field. All its requests get 500. */
  readonly invalid?: string
}

/** Of TLS connections by their server name (TLSRoute), or of any that carry no HTTP (TCPRoute). */
export interface StreamRoute extends Named {
  readonly kind: 'tls-route' | 'tcp-route'
  /** RFC 3339; the tie-break of the specification. Empty sorts last. */
  readonly createdAt: string
  readonly parents: readonly RouteParent[]
  /** Of a TLSRoute: exact, or `*.` and the end of a name; lower case. */
  readonly hostnames: readonly string[]
  readonly rules: readonly StreamRule[]
  /** The object did not validate: one line, with the field. What it would decide is reset. */
  readonly invalid?: string
}

export interface StreamRule {
  readonly name?: string
  readonly backends: readonly StreamBackend[]
}

/** Without filters; its share of connections is reset where it is invalid. */
export type StreamBackend = Omit<RouteBackend, 'filters'>

export interface ReferenceGrant extends Named {
  readonly kind: 'reference-grant'
  readonly from: readonly { readonly kind: string; readonly namespace: string }[]
  /** Kinds (and names) in the grant's own namespace that may be referred to. */
  readonly to: readonly { readonly kind: string; readonly name?: string }[]
}

// ── Policy (Istio's AuthorizationPolicy) ────────────────────────────────────────────────────────

export interface AuthorizationPolicy extends Named {
  readonly kind: 'authorization-policy'
  /** `mesh`: it is in the root namespace (`weir-system`) and applies in all namespaces, to what its selector selects. */
  readonly scope: 'mesh' | 'namespace' | 'workload'
  /** matchLabels; empty selects all that is in scope. */
  readonly selector: Readonly<Record<string, string>>
  /** Services it targets instead (targetRefs), names in its own namespace. */
  readonly services: readonly string[]
  readonly action: 'ALLOW' | 'DENY' | 'AUDIT'
  readonly rules: readonly AuthorizationRule[]
  /**
   * The object did not validate: one line, with the field. It denies everything it selects
   * (or, when not even its selector can be read, everything in its namespace).
   */
  readonly invalid?: string
}

/** from, to, when are AND-ed; the entries of from and of to are OR-ed; `undefined` matches all. */
export interface AuthorizationRule {
  readonly from?: readonly AuthorizationSource[]
  readonly to?: readonly AuthorizationOperation[]
  readonly when?: readonly AuthorizationCondition[]
}

/** Fields are AND-ed, values within a field OR-ed; absent fields match all. */
export interface AuthorizationSource {
  readonly principals?: readonly string[]
  readonly notPrincipals?: readonly string[]
  readonly namespaces?: readonly string[]
  readonly notNamespaces?: readonly string[]
  readonly serviceAccounts?: readonly string[]
  readonly notServiceAccounts?: readonly string[]
  readonly ipBlocks?: readonly string[]
  readonly notIpBlocks?: readonly string[]
  readonly remoteIpBlocks?: readonly string[]
  readonly notRemoteIpBlocks?: readonly string[]
  readonly requestPrincipals?: readonly string[]
  readonly notRequestPrincipals?: readonly string[]
}

export interface AuthorizationOperation {
  readonly hosts?: readonly string[]
  readonly notHosts?: readonly string[]
  readonly ports?: readonly string[]
  readonly notPorts?: readonly string[]
  readonly methods?: readonly string[]
  readonly notMethods?: readonly string[]
  readonly paths?: readonly string[]
  readonly notPaths?: readonly string[]
}

export interface AuthorizationCondition {
  readonly key: string
  readonly values?: readonly string[]
  readonly notValues?: readonly string[]
}
