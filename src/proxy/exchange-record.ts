/**
 * One request as those see it who decide about it, and what is told of it at its end: its facts, its trace, and what came of
 * it. The lowest layer of an exchange: above it are `exchange-admission.ts`, `exchange.ts`, and one for each version of HTTP;
 * a request is one object, each layer keeps its own state to itself.
 */
import { type ResponseFlag, readRefusalFlag, type Verdict } from '#contract'
import type { GrpcMessages } from '#http'
import type { EndpointLoad, VersionedRequest } from '#routing'
import { type B3, readB3 } from '#tracing'
import type { ExchangeTarget } from './exchange-target.ts'
import type { HttpExchange, HttpPipeline, RouteName } from './http-exchange.ts'
import type { Pod } from './pod.ts'
import type { RequestTrace } from './request-trace.ts'
import type { Services } from './services.ts'
import type { SessionState } from './sessions.ts'
import { newTraceparent, traceIdOf, traceparentOfB3 } from './trace-context.ts'

export abstract class RecordedExchange implements HttpExchange {
  readonly services: Services
  readonly pod: Pod
  readonly pipeline: HttpPipeline
  readonly clientAddress: string

  // The request's facts, as policy and routing see them.
  method = ''
  path = ''
  query = ''
  authority = ''

  target: ExchangeTarget | undefined
  verdict: Verdict | undefined
  versioned: VersionedRequest | undefined
  routeName: RouteName | undefined
  session: SessionState | undefined
  readonly avoided: EndpointLoad[] = []
  draw = 0
  grpc = false
  upgraded = false
  protected responseStarted = false
  protected status = 0
  /** Of an answer that is not the mesh's own. */
  protected flag: ResponseFlag = '-'
  protected started = 0
  protected bytesIn = 0
  protected bytesOut = 0
  /** Of a gRPC answer; -1 while there is none. */
  protected grpcStatus = -1
  /** Of gRPC: from the client, and to it. */
  protected messagesIn: GrpcMessages | undefined = undefined
  protected messagesOut: GrpcMessages | undefined = undefined
  /** Where spans are made. */
  protected traced: RequestTrace | undefined
  #upstreamMs = -1
  #trace = ''
  /** Made for a client that sent none; the same for all tries. */
  #traceparent = ''
  /** Flag of a refusal by the destination's node. */
  #refusedThere: ResponseFlag | undefined

  constructor(services: Services, pod: Pod, pipeline: HttpPipeline, clientAddress: string) {
    this.services = services
    this.pod = pod
    this.pipeline = pipeline
    this.clientAddress = clientAddress
  }

  abstract readonly version: HttpExchange['version']
  abstract header(lowerCaseName: string): string | undefined
  abstract requestFields(): readonly string[]
  abstract answerFields(): readonly string[]
  abstract requestId(): string
  /** A traceparent of the client's own, if it is well-formed; else empty. */
  protected abstract givenTraceparent(): string
  /** A header of B3 is there. */
  protected abstract hasB3(): boolean

  /** Nothing of a request before this one may show in it. */
  protected begin(started: number): void {
    this.started = started
    this.target = undefined
    this.verdict = undefined
    this.versioned = undefined
    this.routeName = undefined
    this.session = undefined
    this.method = ''
    this.path = ''
    this.query = ''
    this.authority = ''
    if (this.avoided.length > 0) this.avoided.length = 0
    this.responseStarted = false
    this.status = 0
    this.flag = '-'
    this.bytesIn = 0
    this.bytesOut = 0
    this.grpc = false
    this.grpcStatus = -1
    this.#upstreamMs = -1
    this.#trace = ''
    this.#traceparent = ''
    this.traced = undefined
    this.upgraded = false
    this.#refusedThere = undefined
  }

  // ── Its trace ─────────────────────────────────────────────────────────────────────────────────

  /**
   * The trace of the request: the client's own, or one begun here. Returns the traceparent that is to be added; empty: that
   * of the client goes on. Where spans are made it is always another, and `traced` is set.
   */
  protected joinTrace({ reporters }: ExchangeTarget): string {
    const { tracer } = this.services
    if (tracer !== undefined) return this.#tracedBy(tracer).traceparent(reporters)
    const given = this.givenTraceparent()
    if (given !== '') {
      this.#trace = traceIdOf(given)
      return ''
    }
    if (this.#traceparent === '') this.#traceparent = this.hasB3() ? traceparentOfB3(this.#b3()) : newTraceparent()
    this.#trace = traceIdOf(this.#traceparent)
    return this.#traceparent
  }

  #tracedBy(tracer: NonNullable<Services['tracer']>): RequestTrace {
    this.traced ??= tracer.begin(this.givenTraceparent(), this.hasB3() ? this.#b3() : undefined)
    return this.traced
  }

  #b3(): B3 | undefined {
    return readB3((name) => this.header(name))
  }

  /** The trace that the client named; empty when it named none. */
  #namedTrace(): string {
    const given = this.givenTraceparent()
    if (given !== '') return traceIdOf(given)
    return this.hasB3() ? (this.#b3()?.traceId ?? '') : ''
  }

  // ── Its answer, and its end ───────────────────────────────────────────────────────────────────

  /** This answer is the one that the client gets. `refusal`: its header of that name, from the destination's node. */
  protected takeAnswer(status: number, refusal: string | undefined): void {
    this.#upstreamMs = this.services.now() - this.started
    this.status = status
    if (this.target?.tunnelled === true) this.#refusedThere = readRefusalFlag(refusal)
    this.responseStarted = true
  }

  /** Of the answer, when the client is to be told of its session. */
  protected sessionHeader(): readonly [name: string, value: string] | undefined {
    return this.session === undefined ? undefined : this.services.sessions.header(this.session)
  }

  protected record(flag: ResponseFlag, why: string): void {
    const there = flag === '-' ? this.#refusedThere : undefined
    const { versioned } = this
    const { tracer } = this.services
    const traced = tracer === undefined ? undefined : this.#tracedBy(tracer)
    if (versioned !== undefined) {
      const { version, kind } = versioned.recognised
      this.target?.flow?.metrics.versioned(version?.name ?? kind)
    }
    this.services.recorder.request(this, {
      status: this.status,
      flag: there ?? flag,
      why: there === undefined ? why : 'refused by the mesh at the destination: see the log of its node',
      // Of a request that was never sent on: the trace that the client named.
      trace: traced?.traceId ?? (this.#trace || this.#namedTrace()),
      traced,
      durationMs: this.services.now() - this.started,
      upstreamMs: this.#upstreamMs,
      bytesIn: this.bytesIn,
      bytesOut: this.bytesOut,
      grpcStatus: this.grpcStatus,
      messagesIn: this.messagesIn?.count ?? 0,
      messagesOut: this.messagesOut?.count ?? 0,
    })
  }
}
