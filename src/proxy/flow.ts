/**
 * What one pod's traffic to one Service port has in progress and has learnt, where a TrafficPolicy or a retry says what to
 * do with it: who is ejected, how many retries are left, how much may go on at once. Of no other pod: nobody can eject an
 * endpoint, or use up a budget, for somebody else.
 */
import {
  type EjectedEndpoint,
  type Endpoint,
  REFUSAL,
  RETRY_BUDGET_DEFAULT,
  type Refusal,
  type RetryPlan,
  type TrafficPolicy,
} from '#contract'
import type { ByteStream } from '#http'
import {
  type EndpointLoad,
  type LoadOf,
  mayRetry,
  type RateLimiter,
  RetryWindow,
  type TryFailure,
  type TryOutcome,
} from '#routing'
import { EndpointChoice, type HealthUse, type Places } from './endpoint-choice.ts'
import type { FlowMetrics } from './flow-metrics.ts'

/** What a flow needs of a request. */
export interface FlowRequest {
  readonly clientAddress: string
  /** Endpoints that failed it already. */
  readonly avoided: readonly EndpointLoad[]
  header(lowerCaseName: string): string | undefined
}

/** A request that waits for a connection. */
export interface Waiter {
  /** There may be one now. */
  connectionFreed(): void
}

/** A connection upstream, as far as a flow counts it. */
export interface CountedConnection {
  readonly stream: ByteStream
  /** Serves nobody now. */
  readonly idle: boolean
  /** Whose connections it counts among. */
  counted: Flow | undefined
}

/** Who waits for a connection when only the number of connections is bounded. */
const PENDING_DEFAULT = 1024

export class Flow {
  readonly metrics: FlowMetrics
  /** `namespace/name:port` of the Service. */
  readonly #name: string
  /** `namespace/serviceAccount` of the pod, or its address. */
  readonly #source: string
  readonly #choice: EndpointChoice
  readonly #budget = new RetryWindow()
  readonly #waiting = new Set<Waiter>()
  readonly #open = new Set<CountedConnection>()
  #policy: TrafficPolicy | undefined
  #limiter: RateLimiter | undefined
  /** Requests in progress. */
  active = 0
  retrying = 0
  connections = 0

  constructor(name: string, source: string, loadOf: LoadOf, places: Places, metrics: FlowMetrics) {
    this.#name = name
    this.#source = source
    this.#choice = new EndpointChoice(loadOf, places, (reason) => metrics.ejected(reason))
    this.metrics = metrics
  }

  /** The limiter is that of the Service, for all pods of this proxy. */
  apply(policy: TrafficPolicy | undefined, limiter: RateLimiter | undefined, health?: HealthUse): void {
    this.#limiter = limiter
    this.#policy = policy
    this.#choice.apply(policy, health)
  }

  /** Undefined when no endpoint is usable. */
  pick(endpoints: readonly Endpoint[], request: FlowRequest, now: number): Endpoint | undefined {
    return this.#choice.pick(endpoints, request, now)
  }

  /** As `EndpointChoice.available`. */
  available(endpoints: readonly Endpoint[], now: number): readonly Endpoint[] {
    return this.#choice.available(endpoints, now)
  }

  /** Counts a request in, until `leave`; or says why it may not go on. */
  enter(request: FlowRequest, now: number): Refusal | undefined {
    const waitMs = this.#limiter?.take({ source: this.#source, http: request }, now)
    if (waitMs !== undefined) {
      this.metrics.rateLimited()
      return { ...REFUSAL.rateLimited, retryAfterSeconds: Math.ceil(waitMs / 1000) }
    }
    const { maxRequests } = this.#policy?.breaker ?? {}
    if (maxRequests !== undefined && this.active >= maxRequests) return this.#overflow('requests')
    this.active++
    this.#budget.request(now)
    return undefined
  }

  /** Of one of its own refusals, for the log. */
  reasonOf({ flag }: Refusal): string {
    const what = flag === 'RL' ? 'a rate limit' : flag === 'FI' ? 'a fault' : 'the circuit breaker'
    return this.#policy === undefined ? what : `${what} of TrafficPolicy ${this.#policy.namespace}/${this.#policy.name}`
  }

  /** @param retried whether it was tried again */
  leave(retried: boolean): void {
    this.active--
    if (retried) this.retrying--
  }

  /** A fault to be injected, by a number in [0, 1) for each kind. */
  fault(ofDelay: number, ofAbort: number): { readonly delayMs: number; readonly status: number } | undefined {
    const { delay, abort } = this.#policy?.faults ?? {}
    const delayMs = delay !== undefined && ofDelay * 100 < delay.percent ? delay.ms : 0
    const status = abort !== undefined && ofAbort * 100 < abort.percent ? abort.status : 0
    if (delayMs > 0) this.metrics.faulted('delay')
    if (status > 0) this.metrics.faulted('abort')
    return delayMs === 0 && status === 0 ? undefined : { delayMs, status }
  }

  /** Whether a request that has been retried `made` times may be retried once more; it is then counted. */
  takeRetry(
    plan: RetryPlan,
    failure: TryFailure,
    made: number,
    now: number,
  ): 'retry' | 'exhausted' | 'overflow' | 'no' {
    if (!mayRetry(plan, failure)) return 'no'
    if (made >= plan.attempts) {
      this.metrics.retried('exhausted')
      return 'exhausted'
    }
    const { maxRetries } = this.#policy?.breaker ?? {}
    const full = made === 0 && maxRetries !== undefined && this.retrying >= maxRetries
    if (full || !this.#budget.takeRetry(this.#policy?.retryBudget ?? RETRY_BUDGET_DEFAULT, now)) {
      this.metrics.retried('overflow')
      return 'overflow'
    }
    if (made === 0) this.retrying++
    this.metrics.retried('sent')
    return 'retry'
  }

  record(load: EndpointLoad, outcome: TryOutcome, now: number): void {
    this.#choice.record(load, outcome, now)
  }

  ejections(now: number): readonly EjectedEndpoint[] {
    return this.#choice.ejections(this.#name, now)
  }

  // ── Connections ───────────────────────────────────────────────────────────────────────────────

  /** Distinguishes its pools from those of other flows to the same endpoints, where its connections are bounded. */
  get poolKey(): string {
    return this.#policy?.breaker?.maxConnections === undefined ? '' : `${this.#name} `
  }

  /** Takes room for a new connection, for which an idle one may go; false when there is none. */
  takeConnection(): boolean {
    const { maxConnections } = this.#policy?.breaker ?? {}
    if (maxConnections !== undefined && this.connections >= maxConnections) {
      for (const connection of this.#open) {
        if (!connection.idle) continue
        connection.stream.close()
        break
      }
      if (this.connections >= maxConnections) return false
    }
    this.connections++
    return true
  }

  /** What room was taken for; undefined when it could not be made. */
  connected(connection: CountedConnection | undefined): void {
    if (connection === undefined) this.#roomGiven()
    else if (connection.stream.closed) this.#roomGiven()
    else {
      connection.counted = this
      this.#open.add(connection)
    }
  }

  connectionGone(connection: CountedConnection): void {
    this.#open.delete(connection)
    this.#roomGiven()
  }

  #roomGiven(): void {
    this.connections--
    this.wake()
  }

  /** Undefined: it waits, and is told. */
  wait(waiter: Waiter): Refusal | undefined {
    const { maxPendingRequests = PENDING_DEFAULT } = this.#policy?.breaker ?? {}
    if (this.#waiting.size >= maxPendingRequests) return this.#overflow('pending')
    this.#waiting.add(waiter)
    return undefined
  }

  waitNoMore(waiter: Waiter): void {
    this.#waiting.delete(waiter)
  }

  /** A connection is free, or gone: whoever has waited longest looks for one. */
  wake(): void {
    for (const waiter of this.#waiting) {
      this.#waiting.delete(waiter)
      waiter.connectionFreed()
      return
    }
  }

  /** One connection has room for several: as many as it takes look for one, each once. */
  wakeWhile(takes: () => boolean): void {
    for (let left = this.#waiting.size; left > 0 && takes(); left--) this.wake()
  }

  #overflow(limit: 'requests' | 'pending'): Refusal {
    this.metrics.overflowed(limit)
    return REFUSAL.overflow
  }
}
