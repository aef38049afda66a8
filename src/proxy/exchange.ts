/**
 * One request and its answer, whatever version of HTTP carries them: once admitted, it is sent to the target that the pipeline
 * has chosen, and tried again where that helps, as long as its time lasts. What the bytes look like is the subclass's: one for
 * each version that clients speak. `U` is what a try is sent on.
 */
import { REFUSAL, type Refusal } from '#contract'
import {
  type ForwardDecision,
  observeFailure,
  observeLatency,
  retryDelayMs,
  type TryFailure,
  type TryOutcome,
  versionedRequest,
} from '#routing'
import type { TranslatedResponse } from '#translation'
import { AdmittedExchange } from './exchange-admission.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import { ExchangeTimers, requestTimeoutOf, type TimedOwner } from './exchange-timers.ts'
import { answerTranslation, passOrHold, sameTranslation } from './exchange-version.ts'
import type { InsteadChoice } from './http-exchange.ts'
import { STATUS_AGAIN } from './upstream-sessions.ts'

/** Attempts on fresh connections, the first included, while nothing of the request was processed. */
export const MAX_ATTEMPTS = 3
/** A connection that took so long to fail is not tried again at the same endpoint. */
const SLOW_CONNECT_MS = 1_000

/** Called with what was connected, or undefined and why. */
export type Connecting<U> = (upstream: U | undefined, status: number, error: string) => void

export abstract class Exchange<U> extends AdmittedExchange implements TimedOwner {
  protected upstream: U | undefined
  protected attempts = 0
  /** Grows with every exchange, and with every try: what was begun for an earlier one comes too late. */
  protected epoch = 0
  /** When the present try began to connect, or was sent; 0 while it waits. */
  #triedAt = 0
  #timers: ExchangeTimers | undefined

  // ── What a version of HTTP does itself ────────────────────────────────────────────────────────

  /** A request is being served, and its client is there. */
  protected abstract inProgress(): boolean
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

  // ── Beginning ─────────────────────────────────────────────────────────────────────────────────

  protected override begin(started: number): void {
    this.epoch++
    super.begin(started)
    this.attempts = 0
    this.#triedAt = started
  }

  /**
   * Which version of the API it is of, where the target's policy declares any. `hold`: its body is to be held as a whole, and
   * then translated. `length` of the body as far as it is told, else -1.
   */
  protected beginVersion(target: ExchangeTarget, hasBody: boolean, length: number): 'pass' | 'hold' | InsteadChoice {
    if (target.decision === undefined) return 'pass'
    this.versioned = versionedRequest(target.decision, this)
    return passOrHold(target, this.versioned, hasBody, length)
  }

  /** Sends what was rendered, after an injected delay if there is to be one. */
  protected sendFirst(target: ExchangeTarget): void {
    if (this.delayMs > 0) {
      this.flag = 'DI'
      this.#triedAt = 0
      this.later(this.delayMs, () => this.send(target))
    } else this.send(target)
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
    else this.wakeNext()
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
    if (plan === undefined || !this.takeRetry(plan, failure)) return false
    this.#tellRetry(failure)
    this.#triedAt = 0
    // Whatever is still to come of this try comes too late.
    this.epoch++
    this.#timers?.endTry()
    this.later(retryDelayMs(plan, this.retries, Math.random()), () => this.#tryAgain())
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
      if (tryMs !== undefined) this.#timing().startTry(tryMs)
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

  protected detach(reusable: boolean): void {
    const { upstream } = this
    if (upstream === undefined) return
    this.upstream = undefined
    if (this.target !== undefined) this.target.load.active--
    this.letGo(upstream, reusable)
    this.wakeNext()
  }

  /** As `beginVersion`, for another target; false when it would be of another version there than that it was translated for. */
  #versionStays({ decision }: ExchangeTarget): boolean {
    const before = this.versioned
    if (before === undefined && decision?.versions === undefined) return true
    const now = decision === undefined ? undefined : versionedRequest(decision, this)
    if (!sameTranslation(before, now)) return false
    this.versioned = now
    return true
  }

  // ── The answer ────────────────────────────────────────────────────────────────────────────────

  protected override takeAnswer(status: number, refusal: string | undefined): void {
    super.takeAnswer(status, refusal)
    this.clearTimers()
  }

  /** What becomes of the answer by the version that the request is of; undefined: nothing. */
  protected translateAnswer(
    status: number,
    header: (lowerCaseName: string) => string | undefined,
  ): TranslatedResponse | undefined {
    return answerTranslation(this.versioned, this.authority, status, header)
  }

  // ── Time ──────────────────────────────────────────────────────────────────────────────────────

  #timing(): ExchangeTimers {
    this.#timers ??= new ExchangeTimers(this)
    return this.#timers
  }

  protected later(ms: number, then: () => void): void {
    this.#timing().later(ms, then)
  }

  /** @param ofClientMs how long the client itself waits */
  protected startTimers(decision: ForwardDecision | undefined, ofClientMs?: number): void {
    const requestMs = requestTimeoutOf(decision, ofClientMs)
    if (requestMs !== undefined) this.#timing().startRequest(requestMs)
    const tryMs = decision?.backendRequestTimeoutMs
    if (tryMs !== undefined) this.#timing().startTry(tryMs)
  }

  timeIsOver(timeoutMs: number, ofTry: boolean): void {
    if (!this.inProgress() || this.responseStarted) return
    const sent = this.upstream !== undefined
    this.detach(false)
    if (sent) this.#tryFailed('gateway')
    else if (this.#triedAt !== 0) this.#tryFailed('connect')
    this.waitNoMore()
    if (ofTry && this.repeatable() && this.retryLater('timeout')) return
    this.refuse(REFUSAL.requestTimeout, `no response within ${timeoutMs} ms`)
  }

  protected clearTimers(): void {
    this.#timers?.clear()
  }

  /** Once or more often. */
  protected endExchange(): void {
    this.clearTimers()
    this.epoch++
    this.leave()
  }
}

function failureText(failure: TryFailure): string {
  if (typeof failure === 'string') return failure
  return typeof failure === 'number' ? `status ${failure}` : `grpc status ${failure.grpcStatus}`
}
