/**
 * Where traffic goes, read top to bottom: destination → route → endpoint → policy. One function per
 * direction; both end in `judge`, so nothing is forwarded that was not judged.
 */
import type {
  Endpoint,
  MeshService,
  PeerIdentity,
  Refusal,
  ResponseFlag,
  ServerName,
  Verdict,
  Workload,
} from '#contract'
import { MESH_PORTS, REFUSAL, undeclaredRefusal } from '#contract'
import type { Destination, Snapshot } from '#mesh'
import { authorize, plainDenial, probeVerdict, quarantineDenial } from '#policy'
import {
  decideEgress,
  decideRoute,
  decideStream,
  declaresHosts,
  type EgressDecision,
  type ForwardDecision,
  forwardedFacts,
  pickBy,
  pickEndpoint,
  routeGroupOf,
  type StreamRoutes,
  streamRoutesOf,
  usableEndpoints,
} from '#routing'
import { BALANCING_DEFAULT, without } from './endpoint-choice.ts'
import type { Engine } from './engine.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import type { Flow } from './flow.ts'
import type { HttpChoice, HttpExchange, HttpPipeline, RouteName } from './http-exchange.ts'
import type { Pod } from './pod.ts'
import { editLines } from './render.ts'
import type { SessionState } from './sessions.ts'
import { HOST } from './targets.ts'

export interface SocketName {
  readonly address: string
  readonly port: number
}

export type TcpChoice =
  | ExchangeTarget
  | {
      readonly kind: 'refuse'
      readonly flag: ResponseFlag
      readonly target: ExchangeTarget | undefined
      readonly why: string
    }

/** A pipeline serves one connection: its destination is fixed, the world is not. */
export interface Pipeline extends HttpPipeline {
  /** For bytes that are not HTTP. Sets `verdict`. */
  chooseTcp(): TcpChoice
  /** As `denialNow`, for a relayed connection. */
  tcpDenialNow(target: ExchangeTarget): Verdict | undefined
  verdict: Verdict | undefined
  readonly original: SocketName
  /** What the ClientHello said; set by whoever read it. */
  sni: ServerName
  /** Of `chooseTcp`: the TLSRoute or TCPRoute that decided. */
  readonly route: RouteName | undefined
  /** Where it goes may depend on the server name. */
  asksSni(): boolean
  /** What is declared of the destination port; `tls`: opaque, and its ClientHello is to be read. */
  declared(): 'http' | 'opaque' | 'tls' | 'detect'
}

function refuse(
  refusal: Refusal,
  why: string,
  target?: ExchangeTarget,
  route?: RouteName,
): Extract<HttpChoice, { kind: 'refuse' }> {
  return { kind: 'refuse', refusal, why, target, route }
}

/** What policy says of a request (or, without one, of a connection) to a pod of this node. */
type Judge = (judged: Judged, http: HttpExchange | undefined, sni?: ServerName) => Verdict
type Judged = Pick<ExchangeTarget, 'policies' | 'workload' | 'connection' | 'decision' | 'quarantine'>

/** By quarantine, then by the policies of the destination: the source's identity is in the target. */
const byPolicy: Judge = (target, http, sni) => {
  const { policies, quarantine } = target
  if (quarantine !== undefined) return quarantine
  if (policies === undefined || policies.empty) return NOTHING_TO_JUDGE
  const connection = sni === undefined ? target.connection : { ...target.connection, sni }
  return authorize(policies, connection, http && forwardedFacts(target.decision, http))
}

const NOTHING_TO_JUDGE: Verdict = Object.freeze({ kind: 'allow', reason: 'No policy applies here' })

/** Without an identity: the kubelet's probes pass, then quarantine and PeerAuthentication have a word, then policy. */
const plain: Judge = (target, http, sni) => {
  const { workload, connection } = target
  if (workload === undefined) return byPolicy(target, http, sni)
  const { sourceIp, destinationPort } = connection
  return (
    probeVerdict(workload, sourceIp, destinationPort, http) ??
    target.quarantine ??
    plainDenial(workload, destinationPort) ??
    byPolicy(target, http, sni)
  )
}

function judgeRequest(judge: Judge, target: ExchangeTarget, exchange: HttpExchange): HttpChoice {
  const verdict = judge(target, exchange)
  if (verdict !== NOTHING_TO_JUDGE) exchange.verdict = verdict
  if (verdict.kind === 'allow') return target
  return refuse(verdict.malformedPath === true ? REFUSAL.malformed : REFUSAL.denied, verdict.reason, target)
}

/** Per list: its IPv4 and its IPv6 endpoints; the list itself where that makes no difference. */
const byFamily = new WeakMap<readonly Endpoint[], readonly [readonly Endpoint[], readonly Endpoint[]]>()

/** A dual-stack Service's endpoints of one family, as its ClusterIP of that family has them; all if there are none. */
function ofFamily(endpoints: readonly Endpoint[], six: boolean): readonly Endpoint[] {
  let lists = byFamily.get(endpoints)
  if (lists === undefined) {
    const v6 = endpoints.filter((endpoint) => endpoint.address.includes(':'))
    const v4 = endpoints.filter((endpoint) => !endpoint.address.includes(':'))
    lists = v4.length === 0 || v6.length === 0 ? [endpoints, endpoints] : [v4, v6]
    byFamily.set(endpoints, lists)
  }
  return lists[six ? 1 : 0]
}

/** Does an HTTPRoute decide for this client? */
function hasHttpRoutes(
  snapshot: Snapshot,
  { service, port }: Extract<Destination, { kind: 'service' }>,
  client: Workload | undefined,
): boolean {
  return (
    snapshot.routesOf(`${service.namespace}/${service.name}`).length > 0 &&
    routeGroupOf(snapshot, { client, service, port }).index !== undefined
  )
}

/** A connection to a pod is to that pod alone, as it would be without the mesh. */
const GONE = { kind: 'gone', why: 'the pod that the connection was made to is gone' } as const

type Outside = Extract<EgressDecision, { kind: 'host' | 'undeclared' }>
const UNKNOWN: Destination = { kind: 'unknown' }

function undeclaredText(what: string): string {
  return `${what} is not declared, and the pod may only call what is (REGISTRY_ONLY): add a ServiceEntry`
}

export class OutboundPipeline implements Pipeline {
  readonly fromTunnel = false
  readonly inbound = false
  readonly mirror = false
  verdict: Verdict | undefined
  sni: ServerName
  route: RouteName | undefined
  readonly original: SocketName
  readonly #engine: Engine
  readonly #pod: Pod
  readonly #clientAddress: string
  readonly #six: boolean
  #destination: Destination = { kind: 'unknown' }
  #version = -1
  #client: Workload | undefined
  /** Of the pod that the connection was made to: whoever has its address later is another. */
  #pinnedTo: string | undefined

  constructor(engine: Engine, pod: Pod, original: SocketName, clientAddress: string) {
    this.#engine = engine
    this.#pod = pod
    this.original = original
    this.#clientAddress = clientAddress
    this.#six = original.address.includes(':')
  }

  #look(): Destination | typeof GONE {
    const snapshot = this.#engine.snapshot
    if (snapshot.version !== this.#version) {
      this.#version = snapshot.version
      this.#destination = snapshot.destination(this.original.address, this.original.port)
      // A pod that goes while its process still runs is held to what was known of it last.
      this.#client = snapshot.workload(this.#pod.workload) ?? this.#client
      if (this.#destination.kind === 'workload') this.#pinnedTo ??= this.#destination.workload.uid
    }
    const found = this.#destination
    return this.#pinnedTo === undefined || (found.kind === 'workload' && found.workload.uid === this.#pinnedTo)
      ? found
      : GONE
  }

  /** As `#look`; of what the mesh does not know by its address, the name that is asked for decides. */
  #meant(speaks: 'http' | 'tls' | 'other', exchange: HttpExchange | undefined): Destination | typeof GONE | Outside {
    const destination = this.#look()
    const client = this.#client
    if (destination.kind === 'service') {
      const namespaces = destination.service.external?.namespaces
      if (namespaces === undefined || namespaces.includes(client?.namespace ?? '')) return destination
    } else if (destination.kind !== 'unknown') return destination
    return this.#outside(speaks, exchange === undefined ? (this.sni ?? '') : exchange.authority)
  }

  #outside(speaks: 'http' | 'tls' | 'other', name: string): Destination | Outside {
    const client = this.#client
    const { snapshot } = this.#engine
    const registryOnly = this.#registryOnly()
    if (!registryOnly && !declaresHosts(snapshot)) return UNKNOWN
    const { address, port } = this.original
    const request = { namespace: client?.namespace, registryOnly, speaks, name, address, port }
    const found = decideEgress(snapshot, request)
    switch (found.kind) {
      case 'declared':
        return { kind: 'service', service: found.service, port: found.port }
      case 'as-addressed':
        return UNKNOWN
      default:
        return found
    }
  }

  #registryOnly(): boolean {
    const { outbound } = this.#client ?? {}
    return outbound === undefined ? this.#engine.registryOnly : outbound === 'REGISTRY_ONLY'
  }

  /** What was declared when it began may not be any more. */
  #undeclaredNow(speaks: 'http' | 'tls' | 'other', exchange?: HttpExchange): Verdict | undefined {
    const destination = this.#meant(speaks, exchange)
    return destination.kind === 'undeclared' ? { kind: 'deny', reason: undeclaredText(destination.what) } : undefined
  }

  declared(): 'http' | 'opaque' | 'tls' | 'detect' {
    const destination = this.#look()
    if (destination.kind !== 'service') return 'detect'
    const { service, port } = destination
    if (port.protocol === 'http' || port.protocol === 'http2' || port.protocol === 'grpc') return 'http'
    if (port.protocol === 'tls') return 'tls'
    const routes = this.#streamRoutes(destination)
    if (port.protocol === 'tcp') {
      return (routes?.byName.length ?? 0) > 0 || this.#policiesAskSni(service, port.port) ? 'tls' : 'opaque'
    }
    // A TCPRoute makes opaque what no HTTPRoute is there for.
    if (routes?.others === undefined || hasHttpRoutes(this.#engine.snapshot, destination, this.#client)) return 'detect'
    return routes.byName.length > 0 ? 'tls' : 'opaque'
  }

  asksSni(): boolean {
    const destination = this.#look()
    if (destination.kind === 'unknown') return this.#registryOnly() || declaresHosts(this.#engine.snapshot)
    return destination.kind === 'service' && (this.#streamRoutes(destination)?.byName.length ?? 0) > 0
  }

  #streamRoutes({ service, port }: Extract<Destination, { kind: 'service' }>): StreamRoutes | undefined {
    return streamRoutesOf(this.#engine.snapshot, { client: this.#client, service, port })
  }

  /** Of a pod of this node that the port may lead to. */
  #policiesAskSni(service: MeshService, port: number): boolean {
    const { snapshot, targets } = this.#engine
    return (service.endpoints[port] ?? []).some(({ workload }) => {
      const pod = workload === undefined ? undefined : snapshot.workload(workload)
      return pod?.optedIn === true && targets.policiesOf(pod).needsSni
    })
  }

  choose(exchange: HttpExchange): HttpChoice {
    const engine = this.#engine
    const destination = this.#meant('http', exchange)
    switch (destination.kind) {
      case 'service': {
        const { service, port } = destination
        const request = { client: this.#client, service, port }
        const decision = decideRoute(engine.snapshot, request, exchange, exchange.draw, undefined, engine.sessions)
        if (decision.kind === 'forward') {
          const flow = engine.flows.of(this.#pod, decision)
          const endpoints = ofFamily(decision.endpoints, this.#six)
          const { session } = exchange
          const endpoint =
            (session && this.#pinned(session, endpoints, flow, exchange)) ?? this.#pick(endpoints, flow, exchange)
          if (session !== undefined && endpoint !== undefined) session.chosen = { decision, endpoint }
          if (endpoint === undefined) {
            const { namespace, name } = decision.service
            const why = `no healthy endpoint of ${namespace}/${name}`
            return refuse(REFUSAL.noEndpoint, why, this.#nowhere(decision.service), decision)
          }
          return judgeRequest(byPolicy, this.#target(decision, endpoint, decision.service, flow), exchange)
        }
        if (decision.kind === 'redirect') {
          const extra = editLines([], decision.responseEdits)
          return { kind: 'redirect', status: decision.status, location: decision.location, extra, route: decision }
        }
        if (decision.kind === 'preflight') {
          const extra = editLines([], decision.responseEdits)
          return { kind: 'redirect', status: decision.status, location: '', extra, route: decision }
        }
        return refuse(REFUSAL[decision.refusal], decision.why, this.#nowhere(service), decision)
      }
      case 'workload':
        return judgeRequest(
          byPolicy,
          this.#target(undefined, { address: this.original.address, port: destination.port }, undefined),
          exchange,
        )
      case 'gone':
        return { ...refuse(REFUSAL.noEndpoint, GONE.why), close: true }
      case 'service-port-unknown':
        return refuse(
          REFUSAL.noRoute,
          `Service ${destination.service.namespace}/${destination.service.name} has no port ${this.original.port}`,
          this.#nowhere(destination.service),
        )
      case 'host':
        return judgeRequest(byPolicy, this.#target(HOST, this.#endpointOf(destination), destination.service), exchange)
      case 'undeclared':
        return refuse(undeclaredRefusal(destination.what), undeclaredText(destination.what))
      default:
        return judgeRequest(byPolicy, this.#target(undefined, this.original, undefined), exchange)
    }
  }

  #endpointOf({ host }: Extract<Outside, { kind: 'host' }>) {
    return { address: host, port: this.original.port, resolve: true as const }
  }

  chooseTcp(): TcpChoice {
    const destination = this.#meant(this.sni === undefined ? 'other' : 'tls', undefined)
    let target: ExchangeTarget
    if (destination.kind === 'service') {
      const decision = decideStream(this.#streamRoutes(destination), this.sni, Math.random())
      this.route = decision
      if (decision?.kind === 'fail') return { kind: 'refuse', flag: 'NR', target: undefined, why: decision.why }
      const service = decision?.service ?? destination.service
      const port = decision?.port ?? destination.port.port
      const endpoint = this.#endpoint(service, port)
      const name = `${service.namespace}/${service.name}`
      if (endpoint === undefined) {
        return { kind: 'refuse', flag: 'UH', target: this.#nowhere(service), why: `no healthy endpoint of ${name}` }
      }
      target = this.#target(`tcp ${name}`, endpoint, service)
    } else if (destination.kind === 'gone') {
      return { kind: 'refuse', flag: 'UH', target: undefined, why: GONE.why }
    } else if (destination.kind === 'service-port-unknown') {
      const why = `the Service has no port ${this.original.port}`
      return { kind: 'refuse', flag: 'NR', target: this.#nowhere(destination.service), why }
    } else if (destination.kind === 'undeclared') {
      return { kind: 'refuse', flag: 'BH', target: undefined, why: undeclaredText(destination.what) }
    } else if (destination.kind === 'host') {
      target = this.#target(HOST, this.#endpointOf(destination), destination.service)
    } else target = this.#target(undefined, this.original, undefined)
    const verdict = byPolicy(target, undefined, this.sni)
    this.verdict = verdict
    if (verdict.kind === 'deny') return { kind: 'refuse', flag: 'RBAC', target, why: verdict.reason }
    return target
  }

  isProbe(): boolean {
    return false
  }

  denialNow(exchange: HttpExchange): Verdict | undefined {
    return this.#denialNow(exchange.target, exchange) ?? this.#undeclaredNow('http', exchange)
  }

  tcpDenialNow(target: ExchangeTarget): Verdict | undefined {
    const speaks = this.sni === undefined ? 'other' : 'tls'
    return this.#denialNow(target, undefined) ?? this.#undeclaredNow(speaks)
  }

  #denialNow(target: ExchangeTarget | undefined, http: HttpExchange | undefined): Verdict | undefined {
    if (target === undefined) return undefined
    const { snapshot, targets } = this.#engine
    const { sourceIp, destinationIp } = target.connection
    const client = snapshot.workload(this.#pod.workload)
    const quarantine = targets.outboundQuarantine(client, sourceIp, workloadNow(snapshot, target), destinationIp)
    return quarantine ?? denialNow(this.#engine, byPolicy, target, http, http === undefined ? this.sni : undefined)
  }

  #endpoint(service: MeshService, port: number): Endpoint | undefined {
    const endpoints = service.endpoints[port]
    if (endpoints === undefined) return undefined
    const { flows, targets } = this.#engine
    const now = this.#engine.now()
    const healthy = flows.healthyOf(this.#pod, service, port, ofFamily(endpoints, this.#six), now)
    return pickEndpoint(healthy, targets.loadOf, now, Math.random)
  }

  /** The endpoint of the request's session, as long as it would get requests at all. */
  #pinned(
    session: SessionState,
    endpoints: readonly Endpoint[],
    flow: Flow | undefined,
    { avoided }: HttpExchange,
  ): Endpoint | undefined {
    const { sessions, targets } = this.#engine
    const endpoint = sessions.endpointOf(session, endpoints)
    if (endpoint === undefined || avoided.includes(targets.loadOf(endpoint))) return undefined
    const available = flow === undefined ? usableEndpoints(endpoints) : flow.available(endpoints, this.#engine.now())
    return available.includes(endpoint) ? endpoint : undefined
  }

  #pick(endpoints: readonly Endpoint[], flow: Flow | undefined, exchange: HttpExchange): Endpoint | undefined {
    const { targets } = this.#engine
    const { avoided } = exchange
    const usable = usableEndpoints(endpoints)
    // The clock is not looked at where there is nothing to choose.
    if (flow === undefined && usable.length <= 1) return usable[0]
    const now = this.#engine.now()
    if (flow !== undefined) return flow.pick(endpoints, exchange, now)
    if (avoided.length === 0) return pickEndpoint(endpoints, targets.loadOf, now, Math.random)
    const facts = { now, random: Math.random, turn: 0, hashKey: undefined }
    return pickBy(BALANCING_DEFAULT, without(usable, avoided, targets.loadOf), targets.loadOf, facts)
  }

  #nowhere(service: MeshService): ExchangeTarget {
    return this.#engine.targets.nowhere(this.#pod, this.#clientAddress, service)
  }

  #target(
    decision: ForwardDecision | string | undefined,
    endpoint: SocketName & Pick<Endpoint, 'workload' | 'resolve'>,
    service: MeshService | undefined,
    flow?: Flow,
  ): ExchangeTarget {
    return this.#engine.targets.outbound(this.#pod, this.#clientAddress, decision, endpoint, service, flow)
  }
}

/** Copies of requests, each on a connection of its own: to any endpoint of the mirror's backend, judged by policy there. */
export class MirrorPipeline implements HttpPipeline {
  readonly fromTunnel = false
  readonly inbound = false
  readonly mirror = true
  readonly original: SocketName
  readonly #engine: Engine
  readonly #pod: Pod
  readonly #clientAddress: string
  readonly #decision: ForwardDecision

  constructor(engine: Engine, of: HttpExchange, decision: ForwardDecision) {
    this.#engine = engine
    this.#pod = of.pod
    this.#clientAddress = of.clientAddress
    this.#decision = decision
    this.original = (of.pipeline as OutboundPipeline).original
  }

  choose(exchange: HttpExchange): HttpChoice {
    const { targets } = this.#engine
    const decision = this.#decision
    const usable = usableEndpoints(ofFamily(decision.endpoints, this.original.address.includes(':')))
    const facts = { now: this.#engine.now(), random: Math.random, turn: 0, hashKey: undefined }
    const left = without(usable, exchange.avoided, targets.loadOf)
    const endpoint = pickBy(BALANCING_DEFAULT, left, targets.loadOf, facts)
    if (endpoint === undefined) {
      const { namespace, name } = decision.service
      return refuse(REFUSAL.noEndpoint, `no healthy endpoint of ${namespace}/${name}`, undefined, decision)
    }
    const target = targets.outbound(this.#pod, this.#clientAddress, decision, endpoint, decision.service)
    return judgeRequest(byPolicy, target, exchange)
  }

  isProbe(): boolean {
    return false
  }

  denialNow(exchange: HttpExchange): Verdict | undefined {
    return denialNow(this.#engine, byPolicy, exchange.target, exchange)
  }
}

/** What arrives at a pod: plain from outside the mesh, without an identity, or through a tunnel from a verified peer. */
export class InboundPipeline implements Pipeline {
  readonly fromTunnel: boolean
  readonly inbound = true
  readonly mirror = false
  verdict: Verdict | undefined
  sni: ServerName
  readonly route: undefined
  readonly original: SocketName
  readonly #engine: Engine
  readonly #pod: Pod
  readonly #clientAddress: string
  readonly #peer: PeerIdentity | undefined
  readonly #judge: Judge
  #target: ExchangeTarget | undefined
  #version = -1

  constructor(engine: Engine, pod: Pod, original: SocketName, clientAddress: string, peer: PeerIdentity | undefined) {
    this.#engine = engine
    this.#peer = peer
    this.fromTunnel = peer !== undefined
    this.#judge = peer === undefined ? plain : byPolicy
    this.#pod = pod
    this.original = original
    this.#clientAddress = clientAddress
  }

  declared(): 'detect' {
    return 'detect'
  }

  asksSni(): boolean {
    return false
  }

  #current(): ExchangeTarget | undefined {
    const version = this.#engine.snapshot.version
    if (this.#version !== version) {
      this.#version = version
      this.#target = this.#engine.targets.inbound(this.#pod, this.#clientAddress, this.original, this.#peer)
    }
    return this.#target
  }

  choose(exchange: HttpExchange): HttpChoice {
    const target = this.#current()
    // The world does not know this pod (yet): what policy says of it is not known either.
    if (target === undefined) return refuse(REFUSAL.denied, 'the destination pod is not known yet')
    return judgeRequest(this.#judge, target, exchange)
  }

  chooseTcp(): TcpChoice {
    const target = this.#current()
    if (target === undefined)
      return { kind: 'refuse', flag: 'RBAC', target, why: 'the destination pod is not known yet' }
    const verdict = this.#judge(target, undefined, this.sni)
    this.verdict = verdict
    if (verdict.kind === 'deny') return { kind: 'refuse', flag: 'RBAC', target, why: verdict.reason }
    return target
  }

  isProbe(exchange: HttpExchange): boolean {
    const { workload, connection } = (this.fromTunnel ? undefined : this.#current()) ?? {}
    if (workload === undefined || connection === undefined) return false
    return probeVerdict(workload, connection.sourceIp, connection.destinationPort, exchange) !== undefined
  }

  denialNow(exchange: HttpExchange): Verdict | undefined {
    return denialNow(this.#engine, this.#judge, exchange.target, exchange)
  }

  tcpDenialNow(target: ExchangeTarget): Verdict | undefined {
    return denialNow(this.#engine, this.#judge, target, undefined, this.sni)
  }
}

function workloadNow(snapshot: Snapshot, { workload }: ExchangeTarget): Workload | undefined {
  return workload && snapshot.workload(`${workload.namespace}/${workload.name}`)
}

/** Judges what is in progress by the present snapshot. */
function denialNow(
  engine: Engine,
  judge: Judge,
  target: ExchangeTarget | undefined,
  http: HttpExchange | undefined,
  sni?: ServerName,
): Verdict | undefined {
  if (target?.policies === undefined || target.workload === undefined) return undefined
  const { connection, decision } = target
  const workload = workloadNow(engine.snapshot, target) ?? target.workload
  const policies = engine.targets.policiesOf(workload)
  const quarantine = quarantineDenial(workload, connection.sourceIp)
  const verdict = judge({ policies, workload, connection, decision, quarantine }, http, sni)
  return verdict.kind === 'deny' ? verdict : undefined
}

/**
 * Is this where the mesh itself listens in a pod? Never proxied: it would come back to us. The same ports of whatever
 * is not in the mesh are like any other.
 */
export function isMeshSocket(snapshot: Snapshot, { address, port }: SocketName): boolean {
  if (!MESH_PORTS.has(port)) return false
  return address === '::1' || address.startsWith('127.') || snapshot.workloadByAddress(address)?.optedIn === true
}
