/**
 * One request and its answer, whatever version of HTTP carries them: admitted, sent to the target that the pipeline
 * chooses, tried again where that helps, timed, and told of at its end. What the bytes look like is the subclass's: one
 * for each version that clients speak. `U` is what a try is sent on.
 */
import { faultRefusal, REFUSAL, type Refusal, type ResponseFlag, readRefusalFlag, type Verdict } from '#contract'
import type { GrpcMessages } from '#http'
import {
  type EndpointLoad,
  type ForwardDecision,
  observeFailure,
  observeLatency,
  retryDelayMs,
  type TryFailure,
  type TryOutcome,
  type VersionedRequest,
  versionedRequest,
} from '#routing'
import { REPORT_SOURCE } from '#telemetry'
import { type B3, readB3 } from '#tracing'
import { bodyOfRequest, type TranslatedResponse, translateResponse } from '#translation'
import type { ExchangeTarget } from './exchange-target.ts'
import type { Flow, Waiter } from './flow.ts'
import type { HttpChoice, HttpExchange, HttpPipeline, InsteadChoice, RouteName } from './http-exchange.ts'
import type { RequestCopy } from './mirrors.ts'
import type { Pod } from './pod.ts'
import type { RequestTrace } from './request-trace.ts'
import type { Services } from './services.ts'
import type { SessionState } from './sessions.ts'
import { newTraceparent, traceIdOf, traceparentOfB3 } from './trace-context.ts'
import { STATUS_AGAIN } from './upstream-sessions.ts'

/** Attempts on fresh connections, the first included, while nothing of the request was processed. */
export const MAX_ATTEMPTS = 3
/** A connection that took so long to fail is not tried again at the same endpoint. */
const SLOW_CONNECT_MS = 1_000
/** Longer ones (596 h) the run time takes for none: they would be over at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

/** Called with what was connected, or undefined and why. */
export type Connecting<U> = (upstream: U | undefined, status: number, error: string) => void

export abstract class Exchange<U> implements HttpExchange, Waiter {
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
  protected upstream: U | undefined
  /** What goes to mirrors when the request is complete. */
  protected copy: RequestCopy | undefined
  protected attempts = 0
  protected responseStarted = false
  protected status = 0
  /** Of an answer that is not the mesh's own. */
  protected flag: ResponseFlag = '-'
  protected started = 0
  protected bytesIn = 0
  protected bytesOut = 0
  grpc = false
  /** Of a gRPC answer; -1 while there is none. */
  protected grpcStatus = -1
  /** Of gRPC: from the client, and to it. */
  protected messagesIn: GrpcMessages | undefined = undefined
  protected messagesOut: GrpcMessages | undefined = undefined
  /** Grows with every exchange, and with every try: what was begun for an earlier one comes too late. */
  protected epoch = 0
  /** When the present try began to connect, or was sent; 0 while it waits. */
  #triedAt = 0
  /** What the request is counted in. */
  #flow: Flow | undefined
  #retries = 0
  #counted = false
  #upstreamMs = -1
  #trace = ''
  /** Made for a client that sent none; the same for all tries. */
  #traceparent = ''
  /** Where spans are made. */
  protected traced: RequestTrace | undefined
  upgraded = false
  /** Flag of a refusal by the destination's node. */
  #refusedThere: ResponseFlag | undefined
  /** Of an injected fault. */
  #delayMs = 0
  #timer: NodeJS.Timeout | undefined
  /** Of the present try. */
  #tryTimer: NodeJS.Timeout | undefined
  /** Until the next try, or the end of an injected delay. */
  #waitTimer: NodeJS.Timeout | undefined

  constructor(services: Services, pod: Pod, pipeline: HttpPipeline, clientAddress: string) {
    this.services = services
    this.pod = pod
    this.pipeline = pipeline
    this.clientAddress = clientAddress
  }

  // ── What a version of HTTP does itself ────────────────────────────────────────────────────────

  abstract readonly version: HttpExchange['version']
  abstract header(lowerCaseName: string): string | undefined
  abstract requestFields(): readonly string[]
  abstract answerFields(): readonly string[]
  /** A request is being served, and its client is there. */
  protected abstract inProgress(): boolean
  /** A traceparent of the client's own, if it is well-formed; else empty. */
  protected abstract givenTraceparent(): string
  /** A header of B3 is there. */
  protected abstract hasB3(): boolean
  abstract requestId(): string
  /** Nothing of the request's body is taken from the client until `attach`. */
  protected abstract holdBody(): void
  /** A try can be sent at once on what is returned. */
  protected abstract ready(target: ExchangeTarget): U | undefined
  /** Room for a new connection is taken, or none is needed; else the request waits. */
  protected abstract reserve(target: ExchangeTarget): boolean
  /** Something to send on, of what was reserved; the flow is told of a new connection. */
  protected abstract connect(target: ExchangeTarget, done: Connecting<U>): void
  /** What was connected for a try that is over by now may serve another. */
  protected abstract giveBack(upstream: U): void
  /** Sends what was rendered. */
  protected abstract attach(upstream: U): void
  protected abstract letGo(upstream: U, reusable: boolean): void
  /** All of the request is here, and can be sent once more. */
  protected abstract repeatable(): boolean
  /** Renders the head for another target, with the body that was rendered before. */
  protected abstract renderAgain(target: ExchangeTarget): void
  /** Answers in the mesh's name, records that, and ends the exchange. */
  abstract refuse(refusal: Refusal, why: string): void
  protected abstract redirect(status: number, location: string, extra: string): void

  // ── Beginning ─────────────────────────────────────────────────────────────────────────────────

  /** Nothing of a request before this one may show in it. */
  protected begin(started: number): void {
    this.epoch++
    this.started = started
    this.target = undefined
    this.verdict = undefined
    this.versioned = undefined
    this.routeName = undefined
    this.copy = undefined
    this.session = undefined
    this.method = ''
    this.path = ''
    this.query = ''
    this.authority = ''
    if (this.avoided.length > 0) this.avoided.length = 0
    this.attempts = 0
    this.responseStarted = false
    this.status = 0
    this.flag = '-'
    this.bytesIn = 0
    this.bytesOut = 0
    this.grpc = false
    this.grpcStatus = -1
    this.#triedAt = started
    this.#retries = 0
    this.#upstreamMs = -1
    this.#trace = ''
    this.#traceparent = ''
    this.traced = undefined
    this.upgraded = false
    this.#refusedThere = undefined
    this.#delayMs = 0
  }

  /** Where the request goes, or what answers it instead: by the proxy's limits, the pipeline, and the target's flow. */
  protected admit(now: number): HttpChoice {
    const { pod } = this
    if (this.services.shedding && !this.pipeline.isProbe(this)) {
      this.services.shed()
      return instead(REFUSAL.shed, 'the event loop of the proxy lags', undefined)
    }
    if (pod.requestsInFlight >= this.services.limits.maxRequestsPerPod) {
      return instead(REFUSAL.overload, 'too many requests in flight for this pod', undefined)
    }
    pod.requestsInFlight++
    this.#counted = true
    this.draw = Math.random()
    const choice = this.pipeline.choose(this)
    if (choice.kind !== 'forward') return choice
    this.target = choice
    const { flow, decision } = choice
    if (flow === undefined) {
      if (decision?.mirrors !== undefined) this.copy = this.services.copyOf(this, decision.mirrors)
      return choice
    }
    const refusal = flow.enter(this, now)
    if (refusal !== undefined) return instead(refusal, flow.reasonOf(refusal), choice)
    this.#flow = flow
    if (decision?.mirrors !== undefined) this.copy = this.services.copyOf(this, decision.mirrors)
    const fault = flow.fault(Math.random(), Math.random())
    if (fault === undefined) return choice
    this.#delayMs = fault.delayMs
    if (fault.status === 0) return choice
    const abort = faultRefusal(fault.status)
    return instead(abort, flow.reasonOf(abort), choice)
  }

  /** Gives the answer that `admit`, or a later choice, has decided on. */
  protected answerInstead(choice: InsteadChoice): void {
    this.routeName = choice.route
    if (choice.kind === 'redirect') {
      this.target = undefined
      this.redirect(choice.status, choice.location, choice.extra)
      return
    }
    this.target = choice.target
    if (this.#delayMs > 0) this.#later(this.#delayMs, () => this.refuse(choice.refusal, choice.why))
    else this.refuse(choice.refusal, choice.why)
  }

  /** The request has come whole. @param head its start line and header lines without framing, each with its CRLF */
  protected sendCopy(head: string): void {
    const { copy } = this
    this.copy = undefined
    // A trace that the client has named is in the head.
    const begun = this.traced?.parentId === '' ? `traceparent: ${this.traced.traceparent(REPORT_SOURCE)}\r\n` : ''
    copy?.send(head + begun)
  }

  /** Sends what was rendered, after an injected delay if there is to be one. */
  protected sendFirst(target: ExchangeTarget): void {
    if (this.#delayMs > 0) {
      this.flag = 'DI'
      this.#triedAt = 0
      this.#later(this.#delayMs, () => this.send(target))
    } else this.send(target)
  }

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

  // ── Versions of the API ───────────────────────────────────────────────────────────────────────

  /**
   * Which version it is of, where the target's policy declares any. `hold`: its body is to be held as a whole, and then
   * translated. `length` of the body as far as it is told, else -1.
   */
  protected beginVersion(target: ExchangeTarget, hasBody: boolean, length: number): 'pass' | 'hold' | InsteadChoice {
    const { decision } = target
    if (decision === undefined) return 'pass'
    const versioned = versionedRequest(decision, this)
    this.versioned = versioned
    if (versioned?.translated === undefined || !hasBody) return 'pass'
    switch (bodyOfRequest(versioned.translated.version, versioned.routed)) {
      case 'other':
        return 'pass'
      case 'json':
        if (length <= (decision.versions?.maxBodyBytes ?? 0)) return 'hold'
        return instead(REFUSAL.bodyTooLarge, 'the body of the request is too large to be translated', target)
      case 'encoded':
        return instead(
          REFUSAL.codedBody,
          'the body of the request has a content-encoding: it cannot be translated',
          target,
        )
      case 'charset':
        return instead(REFUSAL.codedBody, 'the body of the request is not in UTF-8: it cannot be translated', target)
    }
  }

  /** The same for another target; false when it would be of another version there than that it was translated for. */
  #versionStays({ decision }: ExchangeTarget): boolean {
    const before = this.versioned
    if (before === undefined && decision?.versions === undefined) return true
    const now = decision === undefined ? undefined : versionedRequest(decision, this)
    if (now?.translated?.version !== before?.translated?.version) return false
    this.versioned = now
    return true
  }

  /** What becomes of the answer; undefined: nothing. */
  protected translateAnswer(
    status: number,
    header: (lowerCaseName: string) => string | undefined,
  ): TranslatedResponse | undefined {
    const version = this.versioned?.recognised.version
    if (version === undefined || !version.changesAnswers) return undefined
    return translateResponse(version, this.authority, { status, header })
  }

  // ── Tries ─────────────────────────────────────────────────────────────────────────────────────

  protected send(target: ExchangeTarget): void {
    const { flow } = target
    const ready = this.ready(target)
    if (ready === undefined && flow !== undefined && !this.reserve(target)) {
      this.#triedAt = 0
      const refusal = flow.wait(this)
      if (refusal !== undefined) this.refuse(refusal, flow.reasonOf(refusal))
      else this.holdBody()
      return
    }
    target.load.active++
    this.attempts++
    if (this.#triedAt === 0) this.#triedAt = this.services.now()
    if (ready !== undefined) {
      this.attach(ready)
      return
    }
    this.holdBody()
    const { epoch } = this
    this.connect(target, (upstream, status, error) => {
      if (this.epoch !== epoch || !this.inProgress() || this.target !== target) {
        // The exchange, or this try, ended meanwhile: the connection is good for another.
        target.load.active--
        if (upstream !== undefined) this.giveBack(upstream)
        flow?.wake()
        return
      }
      if (upstream !== undefined) {
        // What it took to connect says little of how soon the next request is answered.
        this.#triedAt = this.services.now()
        this.attach(upstream)
      } else if (status === STATUS_AGAIN) {
        target.load.active--
        this.attempts--
        this.resend(target)
      } else this.#connectFailed(target, status, error)
    })
  }

  /** Sends the same once more to the same target: the connection was lost, not the request. */
  protected resend(target: ExchangeTarget): void {
    this.#triedAt = 0
    this.send(target)
  }

  connectionFreed(): void {
    if (this.inProgress() && this.target !== undefined) this.send(this.target)
    else this.#flow?.wake()
  }

  /** A try may be of another flow than the first: the world changes. */
  #waitNoMore(): void {
    this.#flow?.waitNoMore(this)
    this.target?.flow?.waitNoMore(this)
  }

  #connectFailed(target: ExchangeTarget, status: number, error: string): void {
    const tookMs = this.services.now() - this.#triedAt
    target.load.active--
    // Nothing was sent: another endpoint may serve it.
    this.#tryFailed('connect')
    const next = this.attempts < MAX_ATTEMPTS ? this.pipeline.choose(this) : undefined
    // Whoever has kept us waiting would do so again.
    const slow = tookMs >= SLOW_CONNECT_MS
    if (next !== undefined && next.kind === 'forward' && !(slow && next.load === target.load)) {
      this.#tellRetry('connect-failure')
      this.#sendAgain(next)
      return
    }
    if (this.retryLater('connect-failure')) return
    this.refuse(REFUSAL.connectFailed, error === '' ? `connect: ${this.services.errorText(status)}` : error)
  }

  /** Sends what was rendered for the present target to the next one. */
  #sendAgain(next: ExchangeTarget): void {
    this.#triedAt = 0
    if (!this.#versionStays(next)) {
      this.refuse(REFUSAL.connectFailed, 'the versions of the API have changed meanwhile: it is not sent again')
      return
    }
    this.target = next
    // Identity, host and edits are those of the new target.
    this.renderAgain(next)
    this.send(next)
  }

  /**
   * The try is over; what it had is let go of already. False when the request may not be tried again. Only for requests
   * that are `repeatable`, or of which nothing was sent.
   */
  protected retryLater(failure: TryFailure): boolean {
    const plan = this.target?.decision?.retry
    const flow = this.#flow
    if (plan === undefined || flow === undefined) return false
    const may = flow.takeRetry(plan, failure, this.#retries, this.services.now())
    if (may === 'exhausted' && typeof failure !== 'string') this.flag = 'URX'
    if (may !== 'retry') return false
    this.#retries++
    this.#tellRetry(failure)
    this.#triedAt = 0
    // Whatever is still to come of this try comes too late.
    this.epoch++
    if (this.#tryTimer !== undefined) clearTimeout(this.#tryTimer)
    this.#tryTimer = undefined
    this.#later(retryDelayMs(plan, this.#retries, Math.random()), () => this.#tryAgain())
    return true
  }

  #tellRetry(failure: TryFailure): void {
    if (this.traced === undefined) return
    const atMs = this.services.now() - this.started
    this.traced.retried({ atMs, upstream: this.target?.upstream ?? '', why: failureText(failure) })
  }

  #tryAgain(): void {
    const next = this.pipeline.choose(this)
    if (next.kind === 'forward') {
      const tryMs = next.decision?.backendRequestTimeoutMs
      if (tryMs !== undefined) this.#startTryTimer(tryMs)
      this.#sendAgain(next)
    } else if (next.kind === 'refuse') {
      this.target = next.target ?? this.target
      this.refuse(next.refusal, next.why)
    } else this.redirect(next.status, next.location, next.extra)
  }

  /** What the try was sent on has failed it, and is let go of: it is tried again, or `refusal` is the answer. */
  protected lostTry(refusal: Refusal, why: string): void {
    this.#tryFailed('gateway')
    if (this.repeatable() && this.retryLater('reset')) return
    this.refuse(refusal, why)
  }

  /** A try has failed: its endpoint is to be avoided, and counts as failing. */
  #tryFailed(outcome: 'gateway' | 'connect'): void {
    const { target } = this
    if (target === undefined) return
    const now = this.services.now()
    observeFailure(target.load, now - this.#triedAt, now)
    target.flow?.record(target.load, outcome, now)
    this.avoided.push(target.load)
  }

  /** The head of an answer is here: what its endpoint is worth goes by it. */
  protected answered(target: ExchangeTarget, outcome: TryOutcome): void {
    const now = this.services.now()
    if (outcome === 'gateway') observeFailure(target.load, now - this.#triedAt, now)
    else observeLatency(target.load, now - this.#triedAt, now)
    target.flow?.record(target.load, outcome, now)
  }

  /** As `answered`, where the outcome is not known yet. */
  protected answeredInTime(target: ExchangeTarget): void {
    const now = this.services.now()
    observeLatency(target.load, now - this.#triedAt, now)
  }

  /** This answer is the one that the client gets. `refusal`: its header of that name, from the destination's node. */
  protected takeAnswer(status: number, refusal: string | undefined): void {
    this.#upstreamMs = this.services.now() - this.started
    this.status = status
    if (this.target?.tunnelled === true) this.#refusedThere = readRefusalFlag(refusal)
    this.responseStarted = true
    this.clearTimers()
  }

  /** Of the answer, when the client is to be told of its session. */
  protected sessionHeader(): readonly [name: string, value: string] | undefined {
    return this.session === undefined ? undefined : this.services.sessions.header(this.session)
  }

  protected detach(reusable: boolean): void {
    const { upstream } = this
    if (upstream === undefined) return
    this.upstream = undefined
    if (this.target !== undefined) this.target.load.active--
    this.letGo(upstream, reusable)
    this.#flow?.wake()
  }

  // ── Time ──────────────────────────────────────────────────────────────────────────────────────

  /** One such wait at a time; it ends with the exchange. */
  #later(ms: number, then: () => void): void {
    this.#waitTimer = setTimeout(
      () => {
        this.#waitTimer = undefined
        then()
      },
      Math.min(ms, MAX_TIMER_MS),
    )
  }

  /** @param ofClientMs how long the client itself waits */
  protected startTimers(decision: ForwardDecision | undefined, ofClientMs?: number): void {
    const { requestTimeoutMs: ofRouteMs, backendRequestTimeoutMs, retry } = decision ?? NO_LIMITS
    const requestTimeoutMs = least(ofRouteMs, ofClientMs)
    // The backend's is never longer than the route's: without a retry it is all there is.
    if (
      requestTimeoutMs !== undefined &&
      (backendRequestTimeoutMs === undefined || retry !== undefined || requestTimeoutMs !== ofRouteMs)
    ) {
      this.#timer = setTimeout(
        () => {
          this.#timer = undefined
          this.#timeIsOver(requestTimeoutMs, false)
        },
        Math.min(requestTimeoutMs, MAX_TIMER_MS),
      )
    }
    if (backendRequestTimeoutMs !== undefined) this.#startTryTimer(backendRequestTimeoutMs)
  }

  #startTryTimer(timeoutMs: number): void {
    this.#tryTimer = setTimeout(
      () => {
        this.#tryTimer = undefined
        this.#timeIsOver(timeoutMs, true)
      },
      Math.min(timeoutMs, MAX_TIMER_MS),
    )
  }

  #timeIsOver(timeoutMs: number, ofTry: boolean): void {
    if (!this.inProgress() || this.responseStarted) return
    const sent = this.upstream !== undefined
    this.detach(false)
    if (sent) this.#tryFailed('gateway')
    else if (this.#triedAt !== 0) this.#tryFailed('connect')
    this.#waitNoMore()
    if (ofTry && this.repeatable() && this.retryLater('timeout')) return
    this.refuse(REFUSAL.requestTimeout, `no response within ${timeoutMs} ms`)
  }

  protected clearTimers(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer)
    if (this.#tryTimer !== undefined) clearTimeout(this.#tryTimer)
    if (this.#waitTimer !== undefined) clearTimeout(this.#waitTimer)
    this.#timer = undefined
    this.#tryTimer = undefined
    this.#waitTimer = undefined
  }

  // ── End ───────────────────────────────────────────────────────────────────────────────────────

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

  /** It counts no more. Once or more often. */
  protected endExchange(): void {
    this.clearTimers()
    this.epoch++
    if (this.#counted) {
      this.#counted = false
      this.pod.requestsInFlight--
    }
    const flow = this.#flow
    if (flow !== undefined) {
      this.#waitNoMore()
      this.#flow = undefined
      flow.leave(this.#retries > 0)
    }
  }
}

const NO_LIMITS = { requestTimeoutMs: undefined, backendRequestTimeoutMs: undefined, retry: undefined }

function failureText(failure: TryFailure): string {
  if (typeof failure === 'string') return failure
  return typeof failure === 'number' ? `status ${failure}` : `grpc status ${failure.grpcStatus}`
}

function least(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || (other !== undefined && other < one) ? other : one
}

function instead(refusal: Refusal, why: string, target: ExchangeTarget | undefined): InsteadChoice {
  return { kind: 'refuse', refusal, why, target, route: undefined }
}
