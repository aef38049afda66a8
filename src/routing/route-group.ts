/**
 * Which routes apply to a client that calls a Service port, and their compiled form, kept for as
 * long as nothing it was compiled from changes.
 *
 * Groups (GEP-1294 "Multiple routes for a Service"): routes in the Service's own namespace are
 * producer routes and bind every client; routes elsewhere are consumer routes and bind the clients of
 * their own namespace. Routes merge within a group only: where a client's namespace has consumer
 * routes for the port, the producer's do not apply to it at all.
 *
 * Within a group only routes of one kind apply: "if multiple routes with different types both bind to the same Service
 * and Port pair, only a single route type should be applied", GRPCRoutes before HTTPRoutes (GEP-1294 "Route types").
 *
 * Hostnames of a route are not looked at: "GAMMA implementations SHOULD NOT infer any functionality
 * from the hostnames field" (GEP-1294), a mesh route binds by ClusterIP (conformance test
 * MeshFrontendHostname); to select by host, match the header `Host`.
 */
import type {
  MeshService,
  ReferenceGrant,
  Route,
  RouteBackend,
  RouteRule,
  ServicePort,
  TrafficPolicy,
  Workload,
} from '#contract'
import { ROUTE_KIND } from '#contract'
import type { Snapshot } from '#mesh'
import type { VersioningPlan } from '#translation'
import type { FailDecision, ForwardDecision } from './decision.ts'
import { compileShares, defaultForward, invalidRoute, type OutcomeContext, type Shares, versionsOf } from './outcome.ts'
import { type Candidate, RouteIndex } from './route-index.ts'

/** Who calls what; one such value serves a whole connection. Newer versions of both are found by name. */
export interface RouteRequest {
  /** Undefined when the caller is not a known workload: no consumer route applies. */
  readonly client: Workload | undefined
  readonly service: MeshService
  readonly port: ServicePort
}

/** The routes of one group, ready to decide. */
export class RouteGroup {
  readonly role: 'producer' | 'consumer'
  readonly routes: readonly Route[]
  /** Undefined when no route is attached. */
  readonly index: RouteIndex | undefined
  /** When no match holds: to the Service itself if no route is attached, else 404. */
  readonly otherwise: ForwardDecision | FailDecision
  /** Of the API of the Service that is called. */
  readonly versions: VersioningPlan | undefined
  readonly #context: OutcomeContext
  readonly #shares: (Shares | undefined)[]

  constructor(
    role: 'producer' | 'consumer',
    routes: readonly Route[],
    index: RouteIndex | undefined,
    context: OutcomeContext,
  ) {
    this.role = role
    this.routes = routes
    this.index = index
    this.otherwise =
      index === undefined
        ? defaultForward(context)
        : Object.freeze({
            kind: 'fail',
            route: undefined,
            rule: undefined,
            refusal: 'noRoute',
            why: `no rule of the ${role} ${ROUTE_KIND[routes[0]?.kind ?? 'http-route']}s matches (${routes.map((route) => `${route.namespace}/${route.name}`).join(', ')})`,
          })
    const { service, port } = context
    this.versions = versionsOf(context.traffic.get(`${service.namespace}/${service.name}`), service, port.port)
    this.#context = context
    this.#shares = []
  }

  /** Compiled when first needed: after a change, only the rules in use cost anything. */
  sharesOf(candidate: Candidate): Shares {
    const known = this.#shares[candidate.slot]
    if (known !== undefined) return known
    const { route, rule, ruleName, problem } = candidate
    const shares =
      rule === undefined || ruleName === undefined || problem !== undefined
        ? failing(route, ruleName, problem ?? 'the route is invalid')
        : compileShares(this.#context, route, rule, ruleName, candidate.prefix)
    this.#shares[candidate.slot] = shares
    return shares
  }
}

function failing(route: Route, ruleName: string | undefined, why: string): Shares {
  const outcome = invalidRoute(`${route.namespace}/${route.name}`, ruleName, why)
  return { list: [{ outcome, weight: 1, backend: '' }], total: 1, unweighted: [] }
}

/** The groups of one Service port, with what they were made from. */
interface PortRoutes {
  readonly service: MeshService
  readonly port: ServicePort
  /** As `routesOf` gave it; it stays the same array while no route of the Service changes. */
  readonly attached: readonly Route[]
  readonly producer: RouteGroup
  /** By namespace; undefined when there are none. */
  readonly consumers: ReadonlyMap<string, RouteGroup> | undefined
  readonly backends: ReadonlyMap<string, MeshService | undefined>
  readonly traffic: ReadonlyMap<string, TrafficPolicy | undefined>
  readonly grants: ReadonlyMap<string, readonly ReferenceGrant[]>
}

const SLOT = Symbol('routing')

/** The group that decides for this client. */
export function routeGroupOf(snapshot: Snapshot, request: RouteRequest): RouteGroup {
  const tables = snapshot.derived<RouteTables>(SLOT, '', (previous) => new RouteTables(snapshot, previous?.compiled))
  const { producer, consumers } = tables.of(snapshot, request.service, request.port)
  const client = request.client
  if (consumers === undefined || client === undefined) return producer
  return consumers.get(client.namespace) ?? producer
}

class RouteTables {
  /** By `namespace/name:port`, handed from snapshot to snapshot. */
  readonly compiled: Map<string, PortRoutes>
  readonly #ports: Map<ServicePort, PortRoutes>

  constructor(snapshot: Snapshot, compiled: Map<string, PortRoutes> | undefined) {
    this.#ports = new Map()
    this.compiled = compiled ?? new Map()
    for (const [key, { service, port }] of this.compiled) {
      const now = snapshot.service(`${service.namespace}/${service.name}`)
      if (now?.ports.some((known) => known.port === port.port) !== true) this.compiled.delete(key)
    }
  }

  of(snapshot: Snapshot, service: MeshService, port: ServicePort): PortRoutes {
    const known = this.#ports.get(port)
    if (known !== undefined) return known
    const routes = this.#resolve(snapshot, service, port)
    this.#ports.set(port, routes)
    return routes
  }

  /** A caller's objects may be older than this snapshot (a connection outlives many): names count. */
  #resolve(snapshot: Snapshot, asked: MeshService, askedPort: ServicePort): PortRoutes {
    const service = snapshot.service(`${asked.namespace}/${asked.name}`)
    const port = service?.ports.find((candidate) => candidate.port === askedPort.port)
    // Gone meanwhile: what the caller knows still tells what to say, but is not worth keeping.
    if (service === undefined || port === undefined) return compilePort(snapshot, asked, askedPort, undefined)
    const key = `${service.namespace}/${service.name}:${port.port}`
    const before = this.compiled.get(key)
    const now =
      before !== undefined && stillHolds(snapshot, before, service)
        ? before
        : compilePort(snapshot, service, port, before)
    this.compiled.set(key, now)
    return now
  }
}

function stillHolds(snapshot: Snapshot, made: PortRoutes, service: MeshService): boolean {
  if (made.service !== service) return false
  if (made.attached !== attachedTo(snapshot, service)) return false
  for (const [name, backend] of made.backends) if (snapshot.service(name) !== backend) return false
  for (const [name, policy] of made.traffic) if (snapshot.trafficPolicy(name) !== policy) return false
  for (const [namespace, grants] of made.grants) if (snapshot.grants(namespace) !== grants) return false
  return true
}

function attachedTo(snapshot: Snapshot, service: MeshService): readonly Route[] {
  return snapshot.routesOf(`${service.namespace}/${service.name}`)
}

function compilePort(
  snapshot: Snapshot,
  service: MeshService,
  port: ServicePort,
  before: PortRoutes | undefined,
): PortRoutes {
  const attached = attachedTo(snapshot, service)
  const bound = routesOfPort(attached, service, port)
  const backends = new Map<string, MeshService | undefined>()
  const grants = new Map<string, readonly ReferenceGrant[]>()
  for (const route of bound) {
    for (const rule of route.rules) {
      for (const { service: referred } of referencesOf(rule)) {
        const { namespace, name } = referred
        backends.set(`${namespace}/${name}`, snapshot.service(`${namespace}/${name}`))
        if (namespace !== route.namespace) grants.set(namespace, snapshot.grants(namespace))
      }
    }
  }
  const own = `${service.namespace}/${service.name}`
  const traffic = new Map([own, ...backends.keys()].map((name) => [name, snapshot.trafficPolicy(name)] as const))
  const context: OutcomeContext = { service, port, backends, traffic, grants }
  // Endpoints come and go far more often than routes: their index is then still good.
  const reusable =
    before !== undefined && before.attached === attached && before.port.name === port.name ? before : undefined
  const byNamespace = new Map<string, Route[]>()
  for (const route of bound) {
    const list = byNamespace.get(route.namespace)
    if (list === undefined) byNamespace.set(route.namespace, [route])
    else list.push(route)
  }
  let producer = new RouteGroup('producer', [], undefined, context)
  const consumers = new Map<string, RouteGroup>()
  for (const [namespace, routes] of byNamespace) {
    if (namespace === service.namespace) {
      producer = new RouteGroup('producer', routes, reusable?.producer.index ?? new RouteIndex(routes), context)
    } else {
      const index = reusable?.consumers?.get(namespace)?.index ?? new RouteIndex(routes)
      consumers.set(namespace, new RouteGroup('consumer', routes, index, context))
    }
  }
  return {
    service,
    port,
    attached,
    producer,
    consumers: consumers.size === 0 ? undefined : consumers,
    backends,
    traffic,
    grants,
  }
}

/** Backends, and what mirrors refer to. */
function referencesOf(rule: RouteRule): readonly Pick<RouteBackend, 'service'>[] {
  const filters = [...rule.filters, ...rule.backends.flatMap((backend) => backend.filters)]
  const mirrors = filters.flatMap((filter) => (filter.type === 'RequestMirror' ? [filter.backend] : []))
  return [...rule.backends, ...mirrors]
}

/** Those that apply: an HTTPRoute does not where a GRPCRoute of its namespace binds the port, too. */
function routesOfPort(attached: readonly Route[], service: MeshService, port: ServicePort): readonly Route[] {
  const bound = attached.filter((route) => bindsPort(route, service, port))
  const grpc = new Set(bound.filter(({ kind }) => kind === 'grpc-route').map(({ namespace }) => namespace))
  return grpc.size === 0 ? bound : bound.filter(({ kind, namespace }) => kind === 'grpc-route' || !grpc.has(namespace))
}

/** A parent without port and section binds every port of the Service; with both, both must fit. */
export function bindsPort(route: Pick<Route, 'parents'>, service: MeshService, port: ServicePort): boolean {
  return route.parents.some(
    (parent) =>
      parent.service.namespace === service.namespace &&
      parent.service.name === service.name &&
      (parent.port === undefined || parent.port === port.port) &&
      (parent.sectionName === undefined || parent.sectionName === port.name),
  )
}
