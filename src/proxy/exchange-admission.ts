/**
 * Whether a request may go on, and where to: by the proxy's limits, the pipeline, and the flow that it is of. It counts there
 * from `admit` until `leave`; what the flow says of retries and of waiting it says to it here.
 */
import { faultRefusal, REFUSAL, type Refusal, type RetryPlan } from '#contract'
import type { TryFailure } from '#routing'
import { REPORT_SOURCE } from '#telemetry'
import { RecordedExchange } from './exchange-record.ts'
import type { Flow, Waiter } from './flow.ts'
import { type HttpChoice, type InsteadChoice, refused } from './http-exchange.ts'
import type { RequestCopy } from './mirrors.ts'

export abstract class AdmittedExchange extends RecordedExchange implements Waiter {
  /** What goes to mirrors when the request is complete. */
  protected copy: RequestCopy | undefined
  /** What the request is counted in. */
  #flow: Flow | undefined
  #retries = 0
  #counted = false
  /** Of an injected fault. */
  #delayMs = 0

  abstract connectionFreed(): void
  /** Answers in the mesh's name, records that, and ends the exchange. */
  abstract refuse(refusal: Refusal, why: string): void
  protected abstract redirect(status: number, location: string, extra: string): void
  /** One such wait at a time; it ends with the exchange. */
  protected abstract later(ms: number, then: () => void): void

  protected override begin(started: number): void {
    super.begin(started)
    this.copy = undefined
    this.#retries = 0
    this.#delayMs = 0
  }

  /** Where the request goes, or what answers it instead. */
  protected admit(now: number): HttpChoice {
    const { pod } = this
    if (this.services.shedding && !this.pipeline.isProbe(this)) {
      this.services.shed()
      return refused(REFUSAL.shed, 'the event loop of the proxy lags')
    }
    if (pod.requestsInFlight >= this.services.limits.maxRequestsPerPod) {
      return refused(REFUSAL.overload, 'too many requests in flight for this pod')
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
    if (refusal !== undefined) return refused(refusal, flow.reasonOf(refusal), choice)
    this.#flow = flow
    if (decision?.mirrors !== undefined) this.copy = this.services.copyOf(this, decision.mirrors)
    const fault = flow.fault(Math.random(), Math.random())
    if (fault === undefined) return choice
    this.#delayMs = fault.delayMs
    if (fault.status === 0) return choice
    const abort = faultRefusal(fault.status)
    return refused(abort, flow.reasonOf(abort), choice)
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
    if (this.#delayMs > 0) this.later(this.#delayMs, () => this.refuse(choice.refusal, choice.why))
    else this.refuse(choice.refusal, choice.why)
  }

  /** The delay to inject before the request is sent, in ms; 0: none. */
  protected get delayMs(): number {
    return this.#delayMs
  }

  /** The request has come whole. @param head its start line and header lines without framing, each with its CRLF */
  protected sendCopy(head: string): void {
    const { copy } = this
    this.copy = undefined
    // A trace that the client has named is in the head.
    const begun = this.traced?.parentId === '' ? `traceparent: ${this.traced.traceparent(REPORT_SOURCE)}\r\n` : ''
    copy?.send(head + begun)
  }

  // ── In its flow ───────────────────────────────────────────────────────────────────────────────

  /** Retries made, with the one that is to be made next. */
  protected get retries(): number {
    return this.#retries
  }

  /** It may be tried again, and that counts. */
  protected takeRetry(plan: RetryPlan, failure: TryFailure): boolean {
    const may = this.#flow?.takeRetry(plan, failure, this.#retries, this.services.now())
    if (may === 'exhausted' && typeof failure !== 'string') this.flag = 'URX'
    if (may !== 'retry') return false
    this.#retries++
    return true
  }

  /** What this one had, or was given, may serve whoever waits. */
  protected wakeNext(): void {
    this.#flow?.wake()
  }

  /** A try may be of another flow than the first: the world changes. */
  protected waitNoMore(): void {
    this.#flow?.waitNoMore(this)
    this.target?.flow?.waitNoMore(this)
  }

  /** It counts no more. Once or more often. */
  protected leave(): void {
    if (this.#counted) {
      this.#counted = false
      this.pod.requestsInFlight--
    }
    const flow = this.#flow
    if (flow === undefined) return
    this.waitNoMore()
    this.#flow = undefined
    flow.leave(this.#retries > 0)
  }
}
