/** Tells metrics, access log and taps what became of requests and connections. */
import { REFUSAL_FLAGS, type Verdict } from '#contract'
import { type AccessLog, AccessRecord } from '#telemetry'
import type { ExchangeTarget } from './exchange-target.ts'
import type { HttpExchange } from './http-exchange.ts'
import type { Pod } from './pod.ts'
import { keptRequestId } from './request-id.ts'
import type { RequestOutcome, TcpOutcome, TrafficRecorder } from './services.ts'
import type { Taps } from './tap.ts'
import type { Targets } from './targets.ts'
import type { Tracer } from './tracer.ts'

/** Where a tunnel that is refused was going: to no port of the application. */
const TUNNEL = { address: '', port: 0 }

export class Recorder implements TrafficRecorder {
  readonly #targets: Targets
  readonly #log: AccessLog
  readonly #counts: boolean
  readonly #record = new AccessRecord()
  /** Undefined while nobody looks. */
  taps: Taps | undefined = undefined
  keepsAnswers = false
  readonly #tracer: Tracer | undefined

  constructor(targets: Targets, log: AccessLog, counts: boolean, tracer: Tracer | undefined) {
    this.#tracer = tracer
    this.#counts = counts
    this.#targets = targets
    this.#log = log
  }

  request(exchange: HttpExchange, outcome: RequestOutcome): void {
    const target = exchange.target ?? this.#targets.nowhere(exchange.pod, exchange.clientAddress)
    if (this.#counts) {
      const { use } = exchange.pod
      use.requests++
      use.bytesIn += outcome.bytesIn
      use.bytesOut += outcome.bytesOut
      const edge = exchange.grpc ? target.grpcEdge : target.edge
      edge.record(
        outcome.status,
        outcome.flag,
        outcome.durationMs,
        outcome.bytesIn,
        outcome.bytesOut,
        target.reporters,
        outcome.grpcStatus,
      )
      if (exchange.grpc) edge.messages(outcome.messagesIn, outcome.messagesOut, target.reporters)
    }
    if (outcome.traced !== undefined) this.#tracer?.ended(outcome.traced, exchange, target, outcome)
    const { taps } = this
    if (taps === undefined && !this.#log.enabled) return
    const record = this.#record
    const named = exchange.routeName ?? target.decision
    record.sourceAddress = exchange.clientAddress
    record.route = named?.route ?? ''
    record.rule = named?.rule ?? ''
    record.policy = exchange.verdict?.policy ?? ''
    record.apiVersion = exchange.versioned?.recognised.version?.name ?? ''
    record.upstream = target.upstream
    record.method = exchange.method
    record.path = exchange.path
    record.authority = exchange.authority
    record.status = outcome.status
    record.grpcStatus = outcome.grpcStatus
    // Said where it is not the usual one.
    record.version = exchange.version === 'HTTP/2' ? exchange.version : ''
    record.flags = outcome.flag
    record.durationMs = outcome.durationMs
    record.upstreamMs = outcome.upstreamMs
    record.bytesIn = outcome.bytesIn
    record.bytesOut = outcome.bytesOut
    record.traceId = outcome.trace
    record.requestId = keptRequestId(exchange)
    record.refused = REFUSAL_FLAGS.has(outcome.flag)
    record.reason = outcome.why
    record.mirror = exchange.pipeline.mirror
    const access = exchange.grpc ? target.grpcAccess : target.access
    this.#log.request(access, record)
    taps?.request(access, record, exchange)
  }

  /** A tunnel that did not come to be: no connection was asked for yet. */
  tunnelRefused(pod: Pod, clientAddress: string, why: string): void {
    const outcome: TcpOutcome = { flag: 'DPE', why: `tunnel refused: ${why}`, durationMs: 0, bytesIn: 0, bytesOut: 0 }
    this.connectionRefused(pod, clientAddress, this.#targets.inbound(pod, clientAddress, TUNNEL), undefined, outcome)
  }

  connectionOpened(pod: Pod, target: ExchangeTarget, clientAddress: string): void {
    this.#countOpened(pod, target)
    const { taps } = this
    if (taps === undefined) return
    const record = this.#record
    record.reset()
    record.sourceAddress = clientAddress
    record.upstream = target.upstream
    taps.connection('opened', target.tcpAccess, record)
  }

  #countOpened({ use }: Pod, target: ExchangeTarget): void {
    if (!this.#counts) return
    use.connections++
    target.tcpEdge.opened(target.reporters)
  }

  connectionMoved({ use }: Pod, target: ExchangeTarget, bytesIn: number, bytesOut: number): void {
    if (!this.#counts) return
    use.bytesIn += bytesIn
    use.bytesOut += bytesOut
    target.tcpEdge.received(bytesIn, target.reporters)
    target.tcpEdge.sent(bytesOut, target.reporters)
  }

  connectionRefused(
    pod: Pod,
    clientAddress: string,
    chosen: ExchangeTarget | undefined,
    verdict: Verdict | undefined,
    outcome: TcpOutcome,
  ): void {
    const target = chosen ?? this.#targets.nowhere(pod, clientAddress)
    this.#countOpened(pod, target)
    this.connectionMoved(pod, target, outcome.bytesIn, outcome.bytesOut)
    this.connectionClosed(clientAddress, target, verdict, outcome)
  }

  connectionClosed(
    clientAddress: string,
    target: ExchangeTarget,
    verdict: Verdict | undefined,
    outcome: TcpOutcome,
  ): void {
    if (this.#counts) target.tcpEdge.closed(outcome.flag, target.reporters)
    const { taps } = this
    if (taps === undefined && !this.#log.enabled) return
    const record = this.#record
    record.reset()
    record.sourceAddress = clientAddress
    record.route = outcome.route?.route ?? ''
    record.rule = outcome.route?.rule ?? ''
    record.policy = verdict?.policy ?? ''
    record.upstream = target.upstream
    record.sni = outcome.sni ?? ''
    record.flags = outcome.flag
    record.durationMs = outcome.durationMs
    record.bytesIn = outcome.bytesIn
    record.bytesOut = outcome.bytesOut
    record.refused = REFUSAL_FLAGS.has(outcome.flag)
    record.reason = outcome.why
    this.#log.connection(target.tcpAccess, record)
    taps?.connection('connection', target.tcpAccess, record)
  }
}
