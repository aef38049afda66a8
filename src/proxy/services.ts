/** What connections need of the proxy process; implemented by `engine.ts`, and by tests. */
import type { HttpFacts, ProxyLimits, ResponseFlag, Verdict } from '#contract'
import type { Snapshot } from '#mesh'
import type { ForwardDecision, MirrorPlan } from '#routing'
import type { ExchangeTarget } from './exchange-target.ts'
import type { HttpExchange, RouteName } from './http-exchange.ts'
import type { RequestCopy } from './mirrors.ts'
import type { Pod } from './pod.ts'
import type { RequestTrace } from './request-trace.ts'
import type { Sessions } from './sessions.ts'
import type { Tracer } from './tracer.ts'

export interface RequestOutcome {
  readonly status: number
  readonly flag: ResponseFlag
  /** For the log only. */
  readonly why: string
  readonly trace: string
  /** Only where tracing is on. */
  readonly traced?: RequestTrace | undefined
  readonly durationMs: number
  readonly upstreamMs: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Of a gRPC answer; -1 when there is none. */
  readonly grpcStatus: number
  /** Of gRPC; else 0. */
  readonly messagesIn: number
  readonly messagesOut: number
}

export interface TcpOutcome {
  readonly flag: ResponseFlag
  readonly why: string
  readonly durationMs: number
  readonly bytesIn: number
  readonly bytesOut: number
  /** Of the application's TLS; absent where there is none to tell. */
  readonly sni?: string
  readonly route?: RouteName | undefined
}

export interface TrafficRecorder {
  /** The header fields of answers are wanted, too, when a request is told of. */
  readonly keepsAnswers: boolean
  request(exchange: HttpExchange, outcome: RequestOutcome): void
  connectionOpened(pod: Pod, target: ExchangeTarget, clientAddress: string): void
  /** Bytes since they were told last. */
  connectionMoved(pod: Pod, target: ExchangeTarget, bytesIn: number, bytesOut: number): void
  /** `outcome` has all bytes, told before or not. */
  connectionClosed(
    clientAddress: string,
    target: ExchangeTarget,
    verdict: Verdict | undefined,
    outcome: TcpOutcome,
  ): void
  /** It was never relayed; without a target when it was not even decided where to. */
  connectionRefused(
    pod: Pod,
    clientAddress: string,
    target: ExchangeTarget | undefined,
    verdict: Verdict | undefined,
    outcome: TcpOutcome,
  ): void
}

export interface Services {
  readonly limits: ProxyLimits
  readonly snapshot: Snapshot
  /** Monotonic milliseconds. */
  now(): number
  /** Text of a negative libuv error. */
  errorText(status: number): string
  rewriteTarget(decision: ForwardDecision, facts: HttpFacts): string
  /** Host for a request that names none: where its connection was going. */
  originalAuthority(exchange: HttpExchange): string
  readonly recorder: TrafficRecorder
  /** Undefined: no spans are made. */
  readonly tracer: Pick<Tracer, 'begin'> | undefined
  readonly sessions: Pick<Sessions, 'header'>
  /** New requests are too much for this process now. */
  readonly shedding: boolean
  /** Copies what comes of the request, to be sent where the plans say; undefined when none of them takes it. */
  copyOf(exchange: HttpExchange, plans: readonly MirrorPlan[]): RequestCopy | undefined
  /** One was refused for that. */
  shed(): void
  /** A pod's connection is gone (it may have been the last of a draining pod). */
  connectionClosed(pod: Pod): void
}
