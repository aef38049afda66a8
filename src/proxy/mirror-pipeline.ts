/** The pipeline of copies: their destination was decided with the request that they are copies of. */
import { REFUSAL, type Verdict } from '#contract'
import type { ForwardDecision } from '#routing'
import { endpointOfCopy } from './endpoint-pick.ts'
import type { Engine } from './engine.ts'
import { type HttpChoice, type HttpExchange, type HttpPipeline, refused } from './http-exchange.ts'
import { byPolicy, denialNow, judgeRequest } from './judgement.ts'
import type { OutboundPipeline } from './outbound-pipeline.ts'
import type { Pod } from './pod.ts'
import type { SocketName } from './socket-name.ts'

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
    const six = this.original.address.includes(':')
    const endpoint = endpointOfCopy(this.#engine, decision.endpoints, six, exchange.avoided)
    if (endpoint === undefined) {
      const { namespace, name } = decision.service
      return refused(REFUSAL.noEndpoint, `no healthy endpoint of ${namespace}/${name}`, undefined, decision)
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
