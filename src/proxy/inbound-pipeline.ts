/** The pipeline of what arrives at a pod: where it goes is said already, what is left is who may. */
import { type PeerIdentity, REFUSAL, type ServerName, type Verdict } from '#contract'
import { probeVerdict } from '#policy'
import type { Engine } from './engine.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import { type HttpChoice, type HttpExchange, refused } from './http-exchange.ts'
import { byPolicy, denialNow, type Judge, judgeConnection, judgeRequest, plain } from './judgement.ts'
import type { Pipeline, TcpChoice } from './pipeline.ts'
import type { Pod } from './pod.ts'
import type { SocketName } from './socket-name.ts'

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
    if (target === undefined) return refused(REFUSAL.denied, 'the destination pod is not known yet')
    return judgeRequest(this.#judge, target, exchange)
  }

  chooseTcp(): TcpChoice {
    const target = this.#current()
    if (target === undefined)
      return { kind: 'refuse', flag: 'RBAC', target, why: 'the destination pod is not known yet' }
    return judgeConnection(this.#judge, target, this)
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
