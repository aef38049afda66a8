/** A request on its way through the mesh, as all those see it who decide about it or tell of it, whatever version carries it. */
import type { HttpFacts, Refusal, Verdict } from '#contract'
import type { EndpointLoad, VersionedRequest } from '#routing'
import type { ExchangeTarget } from './exchange-target.ts'
import type { Pod } from './pod.ts'
import type { SessionState } from './sessions.ts'

export interface HttpExchange extends HttpFacts {
  readonly pod: Pod
  readonly pipeline: HttpPipeline
  /** Address of the peer that opened the connection. */
  readonly clientAddress: string
  /** As the client speaks it. */
  readonly version: 'HTTP/1.1' | 'HTTP/2'
  /** Its content type says that it is a call of gRPC. */
  readonly grpc: boolean
  readonly method: string
  readonly path: string
  readonly authority: string
  readonly target: ExchangeTarget | undefined
  verdict: Verdict | undefined
  /** Which version of the API it is, where the target's policy declares any. */
  readonly versioned: VersionedRequest | undefined
  /** Set when a rule answered without a target. */
  readonly routeName: RouteName | undefined
  /** Value of `x-request-id` as it came; empty when there is none. */
  requestId(): string
  /** It has become a stream of bytes both ways. */
  readonly upgraded: boolean
  /** Set where the rule keeps sessions. */
  session: SessionState | undefined
  /** Endpoints that failed the request. */
  readonly avoided: readonly EndpointLoad[]
  /** In [0, 1): decides between weighted backends, the same for all tries of a request. */
  readonly draw: number
  /** All header fields that the client sent, [name, value, …]; none of a request that could not be read. */
  requestFields(): readonly string[]
  /** Of the answer, unless it is the mesh's own; of HTTP/2 only while the recorder `keepsAnswers`. */
  answerFields(): readonly string[]
}

/** What the pipeline decides for a request. */
export type HttpChoice = ExchangeTarget | InsteadChoice

/** What answers a request that is not sent on. */
export type InsteadChoice =
  | {
      readonly kind: 'refuse'
      readonly refusal: Refusal
      /** For the log only. */
      readonly why: string
      /** Where it would have gone; undefined when that was never decided. */
      readonly target: ExchangeTarget | undefined
      readonly route: RouteName | undefined
      /** The connection leads nowhere any more: it ends with the answer. */
      readonly close?: true
    }
  | {
      readonly kind: 'redirect'
      readonly status: number
      /** Empty for an answer that leads nowhere else. */
      readonly location: string
      /** Header lines, each with its CRLF. */
      readonly extra: string
      readonly route: RouteName
    }

/** @param target where it would have gone */
export function refused(
  refusal: Refusal,
  why: string,
  target?: ExchangeTarget,
  route?: RouteName,
): Extract<InsteadChoice, { kind: 'refuse' }> {
  return { kind: 'refuse', refusal, why, target, route }
}

/** The rule that decided, for the log. */
export interface RouteName {
  readonly route: string | undefined
  readonly rule: string | undefined
}

/** Chooses targets for one connection's requests. */
export interface HttpPipeline {
  choose(exchange: HttpExchange): HttpChoice
  /** Judges the exchange in progress again by the present policies. Returns the verdict that now denies it. */
  denialNow(exchange: HttpExchange): Verdict | undefined
  /** The kubelet asks: that is answered however much there is to do. */
  isProbe(exchange: HttpExchange): boolean
  /** Its requests are copies of others. */
  readonly mirror: boolean
  /** What it serves arrives at a pod; else it leaves one. */
  readonly inbound: boolean
  /** The client is the proxy of another node. */
  readonly fromTunnel: boolean
}
