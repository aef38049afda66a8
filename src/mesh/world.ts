/**
 * Applies changes to the mesh and makes a snapshot of each state. The cost of a change is the
 * objects in it, plus a shallow copy of each index that it touches.
 */
import type {
  AuthorizationPolicy,
  BackendTls,
  MeshObject,
  MeshService,
  Route,
  StreamRoute,
  TrafficPolicy,
  Workload,
} from '#contract'
import { meshKey } from '#contract'
import { compareAge } from './age.ts'
import { insertInto, MapDraft, removeFrom } from './map-draft.ts'
import { SharedMap } from './shared-map.ts'
import type { SnapshotIndexes } from './snapshot.ts'
import { Snapshot } from './snapshot.ts'

/** A change as the agent sends it. */
export interface WorldChange {
  readonly version: number
  /** Forget everything first. */
  readonly reset: boolean
  readonly upsert: readonly MeshObject[]
  /** Keys as made by `meshKey`; unknown ones are ignored. */
  readonly remove: readonly string[]
}

const EMPTY: SnapshotIndexes = {
  namespaces: new SharedMap(),
  workloads: new SharedMap(),
  workloadsByAddress: new SharedMap(),
  workloadsByUid: new SharedMap(),
  services: new SharedMap(),
  servicesByAddress: new SharedMap(),
  externals: new SharedMap(),
  externalsByHost: new SharedMap(),
  routes: new SharedMap(),
  routesByService: new SharedMap(),
  streamRoutes: new SharedMap(),
  streamRoutesByService: new SharedMap(),
  backendTlsByService: new SharedMap(),
  grantsByNamespace: new SharedMap(),
  policiesByNamespace: new SharedMap(),
  meshPolicies: new SharedMap(),
  trafficByService: new SharedMap(),
}

export class World {
  #objects: Map<string, MeshObject>
  #snapshot: Snapshot

  constructor() {
    this.#objects = new Map()
    this.#snapshot = new Snapshot(0, EMPTY, undefined)
  }

  get snapshot(): Snapshot {
    return this.#snapshot
  }

  /** Removals come before upserts; a later upsert of the same object wins. */
  apply(change: WorldChange): Snapshot {
    const draft = new IndexDraft(change.reset ? EMPTY : this.#snapshot.indexes())
    if (change.reset) this.#objects = new Map()
    for (const key of change.remove) {
      const old = this.#objects.get(key)
      if (old === undefined) continue
      this.#objects.delete(key)
      draft.remove(old)
    }
    for (const object of change.upsert) {
      const key = meshKey(object)
      const old = this.#objects.get(key)
      if (old !== undefined) draft.remove(old)
      this.#objects.set(key, object)
      draft.add(object)
    }
    this.#snapshot = new Snapshot(change.version, draft.done(), this.#snapshot)
    return this.#snapshot
  }
}

class IndexDraft {
  readonly #namespaces
  readonly #workloads
  readonly #workloadsByAddress
  readonly #workloadsByUid
  readonly #services
  readonly #servicesByAddress
  readonly #externals
  readonly #externalsByHost
  readonly #routes
  readonly #routesByService
  readonly #streamRoutes
  readonly #streamRoutesByService
  readonly #backendTls
  readonly #grants
  readonly #policies
  readonly #meshPolicies
  readonly #traffic

  constructor(base: SnapshotIndexes) {
    this.#namespaces = new MapDraft(base.namespaces)
    this.#workloads = new MapDraft(base.workloads)
    this.#workloadsByAddress = new MapDraft(base.workloadsByAddress)
    this.#workloadsByUid = new MapDraft(base.workloadsByUid)
    this.#services = new MapDraft(base.services)
    this.#externals = new MapDraft(base.externals)
    this.#externalsByHost = new MapDraft(base.externalsByHost)
    this.#servicesByAddress = new MapDraft(base.servicesByAddress)
    this.#routes = new MapDraft(base.routes)
    this.#routesByService = new MapDraft(base.routesByService)
    this.#streamRoutes = new MapDraft(base.streamRoutes)
    this.#streamRoutesByService = new MapDraft(base.streamRoutesByService)
    this.#backendTls = new MapDraft(base.backendTlsByService)
    this.#grants = new MapDraft(base.grantsByNamespace)
    this.#policies = new MapDraft(base.policiesByNamespace)
    this.#meshPolicies = new MapDraft(base.meshPolicies)
    this.#traffic = new MapDraft(base.trafficByService)
  }

  add(object: MeshObject): void {
    const nsName = `${object.namespace}/${object.name}`
    switch (object.kind) {
      case 'namespace':
        this.#namespaces.set(object.name, object)
        return
      case 'workload':
        this.#workloads.set(nsName, object)
        insertInto(this.#workloadsByUid, object.uid, object, isBetterHolder)
        for (const ip of heldAddresses(object)) insertInto(this.#workloadsByAddress, ip, object, isBetterHolder)
        return
      case 'service':
        this.#services.set(nsName, object)
        if (object.external !== undefined) {
          this.#externals.set(nsName, object)
          insertInto(this.#externalsByHost, object.name, object, isOfNamespaceBefore)
        }
        for (const ip of new Set(object.addresses)) insertInto(this.#servicesByAddress, ip, object, never)
        return
      case 'http-route':
      case 'grpc-route':
        this.#routes.set(meshKey(object), object)
        for (const parent of parentKeys(object)) insertInto(this.#routesByService, parent, object, isOlderRoute)
        return
      case 'tls-route':
      case 'tcp-route':
        this.#streamRoutes.set(meshKey(object), object)
        for (const parent of parentKeys(object)) insertInto(this.#streamRoutesByService, parent, object, isOlderRoute)
        return
      case 'backend-tls':
        for (const key of targetKeys(object)) insertInto(this.#backendTls, key, object, isOlderBackendTls)
        return
      case 'reference-grant':
        insertInto(this.#grants, object.namespace, object, isNamedBefore)
        return
      case 'authorization-policy':
        if (object.scope === 'mesh') insertInto(this.#meshPolicies, '', object, isPolicyBefore)
        else insertInto(this.#policies, object.namespace, object, isPolicyBefore)
        return
      case 'traffic-policy':
        for (const name of object.services)
          insertInto(this.#traffic, `${object.namespace}/${name}`, object, isOlderTraffic)
        return
    }
  }

  remove(object: MeshObject): void {
    const nsName = `${object.namespace}/${object.name}`
    switch (object.kind) {
      case 'namespace':
        this.#namespaces.delete(object.name)
        return
      case 'workload':
        this.#workloads.delete(nsName)
        removeFrom(this.#workloadsByUid, object.uid, object)
        for (const ip of heldAddresses(object)) removeFrom(this.#workloadsByAddress, ip, object)
        return
      case 'service':
        this.#services.delete(nsName)
        if (object.external !== undefined) {
          this.#externals.delete(nsName)
          removeFrom(this.#externalsByHost, object.name, object)
        }
        for (const ip of object.addresses) removeFrom(this.#servicesByAddress, ip, object)
        return
      case 'http-route':
      case 'grpc-route':
        this.#routes.delete(meshKey(object))
        for (const parent of parentKeys(object)) removeFrom(this.#routesByService, parent, object)
        return
      case 'tls-route':
      case 'tcp-route':
        this.#streamRoutes.delete(meshKey(object))
        for (const parent of parentKeys(object)) removeFrom(this.#streamRoutesByService, parent, object)
        return
      case 'backend-tls':
        for (const key of targetKeys(object)) removeFrom(this.#backendTls, key, object)
        return
      case 'reference-grant':
        removeFrom(this.#grants, object.namespace, object)
        return
      case 'authorization-policy':
        if (object.scope === 'mesh') removeFrom(this.#meshPolicies, '', object)
        else removeFrom(this.#policies, object.namespace, object)
        return
      case 'traffic-policy':
        for (const name of object.services) removeFrom(this.#traffic, `${object.namespace}/${name}`, object)
        return
    }
  }

  done(): SnapshotIndexes {
    return {
      namespaces: this.#namespaces.done(),
      workloads: this.#workloads.done(),
      workloadsByAddress: this.#workloadsByAddress.done(),
      workloadsByUid: this.#workloadsByUid.done(),
      services: this.#services.done(),
      servicesByAddress: this.#servicesByAddress.done(),
      externals: this.#externals.done(),
      externalsByHost: this.#externalsByHost.done(),
      routes: this.#routes.done(),
      routesByService: this.#routesByService.done(),
      streamRoutes: this.#streamRoutes.done(),
      streamRoutesByService: this.#streamRoutesByService.done(),
      backendTlsByService: this.#backendTls.done(),
      grantsByNamespace: this.#grants.done(),
      policiesByNamespace: this.#policies.done(),
      meshPolicies: this.#meshPolicies.done(),
      trafficByService: this.#traffic.done(),
    }
  }
}

function heldAddresses(workload: Workload): Iterable<string> {
  return workload.hostNetwork ? [] : new Set(workload.addresses)
}

function parentKeys(route: Route | StreamRoute): Set<string> {
  const keys = new Set<string>()
  for (const parent of route.parents) keys.add(`${parent.service.namespace}/${parent.service.name}`)
  return keys
}

/** Not terminating before terminating, ready before not ready; among equals the newcomer goes first. */
function isBetterHolder(other: Workload, newcomer: Workload): boolean {
  if (other.terminating !== newcomer.terminating) return newcomer.terminating
  return other.ready && !newcomer.ready
}

function never(_other: MeshService, _newcomer: MeshService): boolean {
  return false
}

function targetKeys({ namespace, targets }: BackendTls): Set<string> {
  return new Set(targets.map(({ service }) => `${namespace}/${service}`))
}

function isOlderBackendTls(other: BackendTls, newcomer: BackendTls): boolean {
  return compareAge(other, newcomer) < 0
}

function isOfNamespaceBefore(other: MeshService, newcomer: MeshService): boolean {
  return other.namespace < newcomer.namespace
}

function isOlderRoute(other: Route | StreamRoute, newcomer: Route | StreamRoute): boolean {
  return compareAge(other, newcomer) < 0
}

/** Those that do not validate come last: they do not apply. */
function isOlderTraffic(other: TrafficPolicy, newcomer: TrafficPolicy): boolean {
  if ((other.invalid === undefined) !== (newcomer.invalid === undefined)) return other.invalid === undefined
  return compareAge(other, newcomer) < 0
}

function isNamedBefore(other: { readonly name: string }, newcomer: { readonly name: string }): boolean {
  return other.name < newcomer.name
}

/** Mesh-scope policies share the root namespace, so names order both lists. */
function isPolicyBefore(other: AuthorizationPolicy, newcomer: AuthorizationPolicy): boolean {
  return other.name < newcomer.name
}
