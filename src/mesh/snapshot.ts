/**
 * The mesh at one moment: immutable, indexed for the questions that routing and policy ask on the
 * hot path. A request keeps the snapshot it began with; the next one shares every index that the
 * change between them did not touch.
 */
import type {
  AuthorizationPolicy,
  BackendTls,
  MeshService,
  NamespaceInfo,
  ReferenceGrant,
  Route,
  ServicePort,
  StreamRoute,
  TrafficPolicy,
  Workload,
} from '#contract'
import type { SharedMap } from './shared-map.ts'

/** What an original destination address is. */
export type Destination =
  | { readonly kind: 'service'; readonly service: MeshService; readonly port: ServicePort }
  /** The address is a Service's, but the Service has no such port. */
  | { readonly kind: 'service-port-unknown'; readonly service: MeshService }
  | { readonly kind: 'workload'; readonly workload: Workload; readonly port: number }
  | { readonly kind: 'unknown' }

/** The indexes behind a snapshot; keys are `namespace/name` unless their name says otherwise. */
export interface SnapshotIndexes {
  readonly namespaces: SharedMap<NamespaceInfo>
  readonly workloads: SharedMap<Workload>
  readonly workloadsByAddress: SharedMap<readonly Workload[]>
  readonly workloadsByUid: SharedMap<readonly Workload[]>
  readonly services: SharedMap<MeshService>
  /** Of the hosts that ServiceEntries declare. */
  readonly externalsByHost: SharedMap<readonly MeshService[]>
  /** Services that a ServiceEntry declares. */
  readonly externals: SharedMap<MeshService>
  readonly servicesByAddress: SharedMap<readonly MeshService[]>
  /** By `meshKey`: one name may be that of a route of each kind. */
  readonly routes: SharedMap<Route>
  readonly routesByService: SharedMap<readonly Route[]>
  /** By `meshKey`. */
  readonly streamRoutes: SharedMap<StreamRoute>
  readonly streamRoutesByService: SharedMap<readonly StreamRoute[]>
  readonly backendTlsByService: SharedMap<readonly BackendTls[]>
  readonly grantsByNamespace: SharedMap<readonly ReferenceGrant[]>
  readonly policiesByNamespace: SharedMap<readonly AuthorizationPolicy[]>
  /** One entry, under the empty key. */
  readonly meshPolicies: SharedMap<readonly AuthorizationPolicy[]>
  readonly trafficByService: SharedMap<readonly TrafficPolicy[]>
}

type Memo = ReadonlyMap<symbol, ReadonlyMap<string, unknown>>

const NOTHING: Memo = new Map()
const UNKNOWN: Destination = Object.freeze({ kind: 'unknown' })
const NO_ROUTES: readonly Route[] = Object.freeze([])
const NO_STREAM_ROUTES: readonly StreamRoute[] = Object.freeze([])
const NO_SERVICES: readonly MeshService[] = Object.freeze([])
const NO_GRANTS: readonly ReferenceGrant[] = Object.freeze([])
const NO_TRAFFIC: readonly TrafficPolicy[] = Object.freeze([])
const NO_POLICIES: readonly AuthorizationPolicy[] = Object.freeze([])

export class Snapshot {
  readonly version: number
  readonly #indexes: SnapshotIndexes
  readonly #memo: Map<symbol, Map<string, unknown>>
  #inherited: Memo

  /** Made by `World`. `before` hands on what was derived from it, to be reused where still true. */
  constructor(version: number, indexes: SnapshotIndexes, before: Snapshot | undefined) {
    this.version = version
    this.#indexes = indexes
    this.#memo = new Map()
    this.#inherited = NOTHING
    if (before === undefined) return
    // One generation only, and taken over rather than shared: derived values may hold on to their
    // snapshot, and must not make a chain of all snapshots there ever were.
    this.#inherited = before.#memo.size > 0 ? before.#memo : before.#inherited
    before.#inherited = NOTHING
  }

  namespace(name: string): NamespaceInfo | undefined {
    return this.#indexes.namespaces.get(name)
  }

  /** By `namespace/name`. */
  workload(nsName: string): Workload | undefined {
    return this.#indexes.workloads.get(nsName)
  }

  workloads(): Iterable<Workload> {
    return this.#indexes.workloads.values()
  }

  /**
   * The pod that holds an address (canonical text). Where several objects claim it (a pod that is
   * going and its successor), one that is not terminating wins, then a ready one, then the one
   * heard of last. Pods on the host network share their node's address and are never answered.
   */
  workloadByAddress(ip: string): Workload | undefined {
    return this.#indexes.workloadsByAddress.get(ip)?.[0]
  }

  workloadByUid(uid: string): Workload | undefined {
    return this.#indexes.workloadsByUid.get(uid)?.[0]
  }

  /** By `namespace/name`. */
  service(nsName: string): MeshService | undefined {
    return this.#indexes.services.get(nsName)
  }

  services(): Iterable<MeshService> {
    return this.#indexes.services.values()
  }

  /** Those that ServiceEntries of any namespace declare as this host (lower case, exactly), by namespace. */
  externalsOf(host: string): readonly MeshService[] {
    return this.#indexes.externalsByHost.get(host) ?? NO_SERVICES
  }

  /** Hosts that ServiceEntries declare, by `namespace/host`; the same map while none of them changes. */
  externals(): ReadonlyMap<string, MeshService> {
    return this.#indexes.externals
  }

  /** What `ip:port` is: a Service by ClusterIP, else a pod by its address. `ip` in canonical text. */
  destination(ip: string, port: number): Destination {
    const service = this.#serviceByAddress(ip)
    if (service !== undefined) {
      for (const candidate of service.ports) {
        if (candidate.port === port) return { kind: 'service', service, port: candidate }
      }
      return { kind: 'service-port-unknown', service }
    }
    const workload = this.workloadByAddress(ip)
    return workload === undefined ? UNKNOWN : { kind: 'workload', workload, port }
  }

  /** What a ServiceEntry says is its host's address is first of all a Service's or a pod's, where one has it. */
  #serviceByAddress(ip: string): MeshService | undefined {
    const services = this.#indexes.servicesByAddress.get(ip)
    const first = services?.[0]
    if (first?.external === undefined) return first
    const own = services?.find(({ external }) => external === undefined)
    return own ?? (this.workloadByAddress(ip) === undefined ? first : undefined)
  }

  /** A Service's of the cluster or a mesh pod's: who connects there is to be told apart. */
  isInMesh(ip: string): boolean {
    const service = this.#serviceByAddress(ip)
    return service === undefined ? this.workloadByAddress(ip)?.optedIn === true : service.external === undefined
  }

  /** Every HTTPRoute and GRPCRoute, whatever its parents. */
  routes(): Iterable<Route> {
    return this.#indexes.routes.values()
  }

  /**
   * HTTPRoutes and GRPCRoutes of any namespace with this Service (`namespace/name`) as a parent, whatever the port:
   * oldest first, then by `namespace/name`, as the Gateway API breaks ties. The same array as long as
   * none of them changes.
   */
  routesOf(serviceNsName: string): readonly Route[] {
    return this.#indexes.routesByService.get(serviceNsName) ?? NO_ROUTES
  }

  /** Every TLSRoute and TCPRoute, whatever its parents. */
  streamRoutes(): Iterable<StreamRoute> {
    return this.#indexes.streamRoutes.values()
  }

  /** As `routesOf`: TLSRoutes and TCPRoutes. */
  streamRoutesOf(serviceNsName: string): readonly StreamRoute[] {
    return this.#indexes.streamRoutesByService.get(serviceNsName) ?? NO_STREAM_ROUTES
  }

  /** How TLS is opened to a port of a Service; undefined: it is not. One for the port goes before one for all. */
  backendTls(service: MeshService, port: number): BackendTls | undefined {
    const all = this.#indexes.backendTlsByService.get(`${service.namespace}/${service.name}`)
    if (all === undefined) return undefined
    const name = service.ports.find((one) => one.port === port)?.name ?? ''
    const targets = (policy: BackendTls, section: string | undefined): boolean =>
      policy.targets.some((target) => target.service === service.name && target.sectionName === section)
    const ofPort = name === '' ? undefined : all.find((policy) => targets(policy, name))
    return ofPort ?? all.find((policy) => targets(policy, undefined))
  }

  /** ReferenceGrants in a namespace; the same array as long as none of them changes. */
  grants(namespace: string): readonly ReferenceGrant[] {
    return this.#indexes.grantsByNamespace.get(namespace) ?? NO_GRANTS
  }

  /** Policies in a namespace, by name, without those of mesh scope; the same array while none changes. */
  authorizationPolicies(namespace: string): readonly AuthorizationPolicy[] {
    return this.#indexes.policiesByNamespace.get(namespace) ?? NO_POLICIES
  }

  /** Policies of mesh scope, by name; the same array while none changes. */
  meshPolicies(): readonly AuthorizationPolicy[] {
    return this.#indexes.meshPolicies.get('') ?? NO_POLICIES
  }

  /** The one that applies to a Service (`namespace/name`). */
  trafficPolicy(serviceNsName: string): TrafficPolicy | undefined {
    const first = this.#indexes.trafficByService.get(serviceNsName)?.[0]
    return first?.invalid === undefined ? first : undefined
  }

  /** All that target it: the one that applies, then the others, those that do not validate last. */
  trafficPolicies(serviceNsName: string): readonly TrafficPolicy[] {
    return this.#indexes.trafficByService.get(serviceNsName) ?? NO_TRAFFIC
  }

  /**
   * A value computed from this snapshot, once. `make` is given what the snapshot before had under the
   * same slot and key, if that is still known: it may return that only if it still holds for this
   * snapshot. The value must not hold on to its predecessor. One slot always has one type.
   */
  derived<T>(slot: symbol, key: string, make: (previous: T | undefined) => T): T {
    let table = this.#memo.get(slot)
    if (table === undefined) {
      table = new Map()
      this.#memo.set(slot, table)
    }
    // A memo table holds values of any type; slot and type belong together by contract.
    const known = table.get(key) as T | undefined
    if (known !== undefined) return known
    const made = make(this.#inherited.get(slot)?.get(key) as T | undefined)
    table.set(key, made)
    return made
  }

  /** For `World` only: the indexes that the next snapshot begins with. */
  indexes(): SnapshotIndexes {
    return this.#indexes
  }
}
