/**
 * The pipeline of what leaves a pod, read top to bottom: destination (`outbound-destination.ts`) → route (`src/routing`) →
 * endpoint (`endpoint-pick.ts`) → policy of the destination (`judgement.ts`).
 */
import { type Endpoint, type MeshService, REFUSAL, type ServerName, undeclaredRefusal, type Verdict } from '#contract'
import { decideRoute, decideStream, type ForwardDecision } from '#routing'
import { endpointOfConnection, endpointOfRequest } from './endpoint-pick.ts'
import type { Engine } from './engine.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import type { Flow } from './flow.ts'
import { type HttpChoice, type HttpExchange, type RouteName, refused } from './http-exchange.ts'
import { byPolicy, denialNow, judgeConnection, judgeRequest, workloadNow } from './judgement.ts'
import { GONE, OutboundDestination, type Outside, undeclaredText } from './outbound-destination.ts'
import type { Pipeline, TcpChoice } from './pipeline.ts'
import type { Pod } from './pod.ts'
import { editLines } from './render.ts'
import type { SocketName } from './socket-name.ts'
import { HOST } from './targets.ts'

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
  readonly #destination: OutboundDestination

  constructor(engine: Engine, pod: Pod, original: SocketName, clientAddress: string) {
    this.#engine = engine
    this.#pod = pod
    this.original = original
    this.#clientAddress = clientAddress
    this.#destination = new OutboundDestination(engine, pod, original)
    this.#six = original.address.includes(':')
  }

  choose(exchange: HttpExchange): HttpChoice {
    const engine = this.#engine
    const destination = this.#destination.meant('http', exchange.authority)
    switch (destination.kind) {
      case 'service': {
        const { service, port } = destination
        const request = { client: this.#destination.client, service, port }
        const decision = decideRoute(engine.snapshot, request, exchange, exchange.draw, undefined, engine.sessions)
        if (decision.kind === 'forward') {
          const flow = engine.flows.of(this.#pod, decision)
          const endpoint = endpointOfRequest(engine, decision, this.#six, flow, exchange)
          if (endpoint === undefined) {
            const { namespace, name } = decision.service
            const why = `no healthy endpoint of ${namespace}/${name}`
            return refused(REFUSAL.noEndpoint, why, this.#nowhere(decision.service), decision)
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
        return refused(REFUSAL[decision.refusal], decision.why, this.#nowhere(service), decision)
      }
      case 'workload':
        return judgeRequest(
          byPolicy,
          this.#target(undefined, { address: this.original.address, port: destination.port }, undefined),
          exchange,
        )
      case 'gone':
        return { ...refused(REFUSAL.noEndpoint, GONE.why), close: true }
      case 'service-port-unknown':
        return refused(
          REFUSAL.noRoute,
          `Service ${destination.service.namespace}/${destination.service.name} has no port ${this.original.port}`,
          this.#nowhere(destination.service),
        )
      case 'host':
        return judgeRequest(byPolicy, this.#target(HOST, this.#endpointOf(destination), destination.service), exchange)
      case 'undeclared':
        return refused(undeclaredRefusal(destination.what), undeclaredText(destination.what))
      default:
        return judgeRequest(byPolicy, this.#target(undefined, this.original, undefined), exchange)
    }
  }

  #endpointOf({ host }: Extract<Outside, { kind: 'host' }>) {
    return { address: host, port: this.original.port, resolve: true as const }
  }

  declared(): 'http' | 'opaque' | 'tls' | 'detect' {
    return this.#destination.declared()
  }

  asksSni(): boolean {
    return this.#destination.asksSni()
  }

  chooseTcp(): TcpChoice {
    const destination = this.#destination.meant(this.sni === undefined ? 'other' : 'tls', this.sni ?? '')
    let target: ExchangeTarget
    if (destination.kind === 'service') {
      const decision = decideStream(this.#destination.streamRoutes(destination), this.sni, Math.random())
      this.route = decision
      if (decision?.kind === 'fail') return { kind: 'refuse', flag: 'NR', target: undefined, why: decision.why }
      const service = decision?.service ?? destination.service
      const port = decision?.port ?? destination.port.port
      const endpoint = endpointOfConnection(this.#engine, this.#pod, service, port, this.#six)
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
    return judgeConnection(byPolicy, target, this)
  }

  isProbe(): boolean {
    return false
  }

  denialNow(exchange: HttpExchange): Verdict | undefined {
    return this.#denialNow(exchange.target, exchange) ?? this.#destination.undeclaredNow('http', exchange.authority)
  }

  tcpDenialNow(target: ExchangeTarget): Verdict | undefined {
    const speaks = this.sni === undefined ? 'other' : 'tls'
    return this.#denialNow(target, undefined) ?? this.#destination.undeclaredNow(speaks, this.sni ?? '')
  }

  #denialNow(target: ExchangeTarget | undefined, http: HttpExchange | undefined): Verdict | undefined {
    if (target === undefined) return undefined
    const { snapshot, targets } = this.#engine
    const { sourceIp, destinationIp } = target.connection
    const client = snapshot.workload(this.#pod.workload)
    const quarantine = targets.outboundQuarantine(client, sourceIp, workloadNow(snapshot, target), destinationIp)
    return quarantine ?? denialNow(this.#engine, byPolicy, target, http, http === undefined ? this.sni : undefined)
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
