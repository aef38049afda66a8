/** Traces of the requests that pass this proxy: which of them are told of, and what is told. Only where tracing is on. */
import type { TracingSettings } from '#contract'
import { type Metrics, REPORT_DESTINATION, REPORT_SOURCE, type ValueHandle } from '#telemetry'
import { type B3, RateBound, type TracedEdge, type TracedRequest, tailReason } from '#tracing'
import type { ExchangeTarget } from './exchange-target.ts'
import type { HttpExchange } from './http-exchange.ts'
import { keptRequestId } from './request-id.ts'
import { RequestTrace } from './request-trace.ts'
import type { RequestOutcome } from './services.ts'
import { type SendSpans, SpanOutbox } from './span-outbox.ts'
import { shownAuthority, shownPath } from './tap-text.ts'

/** Requests that are told of for how they went although their trace is not recorded. */
const TAIL_PER_SECOND = 100

export class Tracer {
  readonly #settings: TracingSettings
  readonly #now: () => number
  readonly #outbox: SpanOutbox
  readonly #tail: RateBound
  readonly #beyondRate: ValueHandle
  /** Of requests that were going nowhere yet when they were answered. */
  readonly #arrived = new WeakMap<TracedEdge, TracedEdge>()

  /** @param now monotonic, ms */
  constructor(settings: TracingSettings, now: () => number, metrics: Metrics, send: SendSpans) {
    this.#settings = settings
    this.#now = now
    this.#tail = new RateBound(TAIL_PER_SECOND, now())
    const dropped = metrics.counter({
      name: 'weir_spans_dropped_total',
      help: 'Traced requests whose spans were not sent, by reason.',
      labels: ['reason'],
    })
    this.#beyondRate = dropped.handle({ reason: 'tail-rate' })
    this.#outbox = new SpanOutbox(send, dropped.handle({ reason: 'proxy-queue' }))
  }

  begin(given: string, b3: B3 | undefined): RequestTrace {
    return new RequestTrace(given, b3, this.#settings.sampleRatio)
  }

  ended(trace: RequestTrace, exchange: HttpExchange, target: ExchangeTarget, outcome: RequestOutcome): void {
    const reason = trace.sampled ? 'head' : this.#tailReason(exchange, outcome)
    const { traced: edge, reporters } = target
    if (reason === undefined || edge === undefined) return
    // The kubelet asks every pod every few seconds: that is nobody's trace.
    if (trace.parentId === '' && exchange.pipeline.isProbe(exchange)) return
    if (reason !== 'head' && !this.#tail.take(this.#now())) {
      this.#beyondRate.inc(1)
      return
    }
    if (exchange.target === undefined && exchange.pipeline.inbound) {
      trace.name(REPORT_DESTINATION)
      this.#outbox.add(
        this.#atArrival(edge),
        this.#describe(trace, reason, exchange, target, outcome, '', trace.serverId),
      )
      return
    }
    trace.name(reporters)
    const clientId = (reporters & REPORT_SOURCE) !== 0 ? trace.clientId : ''
    const serverId = (reporters & REPORT_DESTINATION) !== 0 ? trace.serverId : ''
    this.#outbox.add(edge, this.#describe(trace, reason, exchange, target, outcome, clientId, serverId))
  }

  /** Resolves when what is gathered has left. */
  close(): Promise<void> {
    return this.#outbox.close()
  }

  #tailReason(exchange: HttpExchange, outcome: RequestOutcome): 'error' | 'slow' | undefined {
    if (this.#settings.tail === 'off') return undefined
    // What lasts as long as both ends like is not slow for that.
    const lasts = exchange.upgraded || outcome.messagesIn > 1 || outcome.messagesOut > 1
    const waitedMs = lasts ? Math.max(0, outcome.upstreamMs) : outcome.durationMs
    const { status, grpcStatus, flag } = outcome
    return tailReason({ status, grpcStatus, isGrpc: exchange.grpc, flag, waitedMs }, this.#settings.slowMs)
  }

  /** `edge` leads from the pod to nowhere: this one leads from nowhere to the pod. */
  #atArrival(edge: TracedEdge): TracedEdge {
    let arrived = this.#arrived.get(edge)
    if (arrived === undefined) {
      arrived = { source: undefined, destination: edge.source, host: '', sides: 'server' }
      this.#arrived.set(edge, arrived)
    }
    return arrived
  }

  #describe(
    trace: RequestTrace,
    reason: TracedRequest['reason'],
    exchange: HttpExchange,
    target: ExchangeTarget,
    outcome: RequestOutcome,
    clientId: string,
    serverId: string,
  ): TracedRequest {
    const named = exchange.routeName ?? target.decision
    return {
      traceId: trace.traceId,
      parentId: trace.parentId,
      clientId,
      serverId,
      sampled: trace.sampled,
      reason,
      startMs: Date.now() - outcome.durationMs,
      durationMs: outcome.durationMs,
      method: exchange.method,
      path: shownPath(exchange.path, '', false),
      authority: shownAuthority(exchange.authority),
      isHttp2: exchange.version === 'HTTP/2',
      isGrpc: exchange.grpc,
      isMirror: exchange.pipeline.mirror,
      status: outcome.status,
      grpcStatus: outcome.grpcStatus,
      flag: outcome.flag,
      why: outcome.why,
      clientAddress: exchange.clientAddress,
      upstream: target.upstream,
      route: named?.route ?? '',
      policy: exchange.verdict?.policy ?? '',
      requestId: keptRequestId(exchange),
      bytesIn: outcome.bytesIn,
      bytesOut: outcome.bytesOut,
      retries: trace.retries,
    }
  }
}
