/**
 * Where traffic goes, read top to bottom: destination → route → endpoint → policy. One function per
 * direction; both end in `judge`, so nothing is forwarded that was not judged.
 */
import type { Endpoint, MeshService, Refusal, ResponseFlag, Verdict, Workload } from '#contract'
import { MESH_PORTS, REFUSAL } from '#contract'
import type { Destination, Snapshot } from '#mesh'
import { authorize, type PolicyDecision } from '#policy'
import { decideRoute, type ForwardDecision, forwardedFacts, pickEndpoint } from '#routing'
import type { Engine } from './engine.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import type { HttpChoice, HttpConnection, HttpPipeline, RouteName } from './http-connection.ts'
import type { Pod } from './pod.ts'
import { editLines } from './render.ts'

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
  /** What is declared of the destination port. */
  declared(): 'http' | 'opaque' | 'detect'
}

function refuse(refusal: Refusal, why: string, target?: ExchangeTarget, route?: RouteName): HttpChoice {
  return { kind: 'refuse', refusal, why, target, route }
}

/** Judges the target's policies; undefined when nothing is judged here (the destination is not ours). */
function judge(target: ExchangeTarget, http: HttpConnection | undefined): PolicyDecision | undefined {
  return target.policies === undefined ? undefined : authorize(target.policies, target.connection, http)
}

function judged(target: ExchangeTarget, exchange: HttpConnection): HttpChoice {
  const policies = target.policies
  if (policies === undefined || policies.empty) return target
  const verdict = authorize(policies, target.connection, forwardedFacts(target.decision, exchange))
  exchange.verdict = verdict
  if (verdict.kind === 'allow') return target
  return refuse(verdict.malformedPath ? REFUSAL.malformed : REFUSAL.denied, verdict.reason, target)
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

export class OutboundPipeline implements Pipeline {
  verdict: Verdict | undefined
  readonly original: SocketName
  readonly #engine: Engine
  readonly #pod: Pod
  readonly #clientAddress: string
  readonly #six: boolean
  #destination: Destination = { kind: 'unknown' }
  #version = -1
  #client: Workload | undefined

  constructor(engine: Engine, pod: Pod, original: SocketName, clientAddress: string) {
    this.#engine = engine
    this.#pod = pod
    this.original = original
    this.#clientAddress = clientAddress
    this.#six = original.address.includes(':')
  }

  #look(): Destination {
    const snapshot = this.#engine.snapshot
    if (snapshot.version !== this.#version) {
      this.#version = snapshot.version
      this.#destination = snapshot.destination(this.original.address, this.original.port)
      this.#client = snapshot.workload(this.#pod.workload)
    }
    return this.#destination
  }

  declared(): 'http' | 'opaque' | 'detect' {
    const destination = this.#look()
    if (destination.kind !== 'service') return 'detect'
    const { protocol } = destination.port
    return protocol === 'http' ? 'http' : protocol === 'tcp' || protocol === 'tls' ? 'opaque' : 'detect'
  }

  choose(exchange: HttpConnection): HttpChoice {
    const engine = this.#engine
    const destination = this.#look()
    switch (destination.kind) {
      case 'service': {
        const { service, port } = destination
        const decision = decideRoute(engine.snapshot, { client: this.#client, service, port }, exchange, Math.random())
        if (decision.kind === 'forward') {
          const endpoint = pickEndpoint(ofFamily(decision.endpoints, this.#six), engine.targets.loadOf, Math.random)
          if (endpoint === undefined) {
            const { namespace, name } = decision.service
            return refuse(REFUSAL.noEndpoint, `no healthy endpoint of ${namespace}/${name}`, undefined, decision)
          }
          return judged(this.#target(decision, endpoint, decision.service), exchange)
        }
        if (decision.kind === 'redirect') {
          const extra = editLines([], decision.responseEdits)
          return { kind: 'redirect', status: decision.status, location: decision.location, extra, route: decision }
        }
        return refuse(REFUSAL[decision.refusal], decision.why, undefined, decision)
      }
      case 'workload':
        return judged(
          this.#target(undefined, { address: this.original.address, port: destination.port }, undefined),
          exchange,
        )
      case 'service-port-unknown':
        return refuse(
          REFUSAL.noRoute,
          `Service ${destination.service.namespace}/${destination.service.name} has no port ${this.original.port}`,
        )
      default:
        return this.#target(undefined, this.original, undefined)
    }
  }

  chooseTcp(): TcpChoice {
    const destination = this.#look()
    let target: ExchangeTarget
    if (destination.kind === 'service') {
      const { service, port } = destination
      const endpoint = this.#endpoint(service, port.port)
      if (endpoint === undefined) {
        return {
          kind: 'refuse',
          flag: 'UH',
          target: undefined,
          why: `no healthy endpoint of ${service.namespace}/${service.name}`,
        }
      }
      target = this.#target(`tcp ${service.namespace}/${service.name}`, endpoint, service)
    } else if (destination.kind === 'service-port-unknown') {
      return { kind: 'refuse', flag: 'NR', target: undefined, why: `the Service has no port ${this.original.port}` }
    } else target = this.#target(undefined, this.original, undefined)
    const verdict = judge(target, undefined)
    this.verdict = verdict
    if (verdict?.kind === 'deny') return { kind: 'refuse', flag: 'RBAC', target, why: verdict.reason }
    return target
  }

  denialNow(exchange: HttpConnection): Verdict | undefined {
    return denialNow(this.#engine, exchange.target, exchange)
  }

  tcpDenialNow(target: ExchangeTarget): Verdict | undefined {
    return denialNow(this.#engine, target, undefined)
  }

  #endpoint(service: MeshService, port: number): Endpoint | undefined {
    const endpoints = service.endpoints[port]
    return endpoints === undefined
      ? undefined
      : pickEndpoint(ofFamily(endpoints, this.#six), this.#engine.targets.loadOf, Math.random)
  }

  #target(
    decision: ForwardDecision | string | undefined,
    endpoint: SocketName & { readonly workload?: string },
    service: MeshService | undefined,
  ): ExchangeTarget {
    return this.#engine.targets.outbound(this.#pod, this.#clientAddress, decision, endpoint, service)
  }
}

/** Plain connections that arrive from outside the mesh: the destination is the pod itself, the peer has no identity. */
export class InboundPipeline implements Pipeline {
  verdict: Verdict | undefined
  readonly original: SocketName
  readonly #engine: Engine
  readonly #pod: Pod
  readonly #clientAddress: string
  #target: ExchangeTarget | undefined
  #version = -1

  constructor(engine: Engine, pod: Pod, original: SocketName, clientAddress: string) {
    this.#engine = engine
    this.#pod = pod
    this.original = original
    this.#clientAddress = clientAddress
  }

  declared(): 'detect' {
    return 'detect'
  }

  #current(): ExchangeTarget | undefined {
    const version = this.#engine.snapshot.version
    if (this.#version !== version) {
      this.#version = version
      this.#target = this.#engine.targets.inbound(this.#pod, this.#clientAddress, this.original)
    }
    return this.#target
  }

  choose(exchange: HttpConnection): HttpChoice {
    const target = this.#current()
    // The world does not know this pod (yet): what policy says of it is not known either.
    if (target === undefined) return refuse(REFUSAL.denied, 'the destination pod is not known yet')
    return judged(target, exchange)
  }

  chooseTcp(): TcpChoice {
    const target = this.#current()
    if (target === undefined)
      return { kind: 'refuse', flag: 'RBAC', target, why: 'the destination pod is not known yet' }
    const verdict = judge(target, undefined)
    this.verdict = verdict
    if (verdict?.kind === 'deny') return { kind: 'refuse', flag: 'RBAC', target, why: verdict.reason }
    return target
  }

  denialNow(exchange: HttpConnection): Verdict | undefined {
    return denialNow(this.#engine, exchange.target, exchange)
  }

  tcpDenialNow(target: ExchangeTarget): Verdict | undefined {
    return denialNow(this.#engine, target, undefined)
  }
}

/** Judges what is in progress by the policies of the present snapshot. */
function denialNow(
  engine: Engine,
  target: ExchangeTarget | undefined,
  http: HttpConnection | undefined,
): Verdict | undefined {
  if (target?.policies === undefined || target.workload === undefined) return undefined
  const policies = engine.targets.policiesOf(target.workload)
  const facts = http === undefined ? undefined : forwardedFacts(target.decision, http)
  const verdict = authorize(policies, target.connection, facts)
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
