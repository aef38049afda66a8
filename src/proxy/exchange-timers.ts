/** The timers of one request after another: for all of it, for its present try, and until what is to be done later. */
import type { ForwardDecision } from '#routing'

/** Longer ones (596 h) the run time takes for none: they would be over at once. */
const MAX_TIMER_MS = 2 ** 31 - 1

export interface TimedOwner {
  /** It took too long: all of it, or only the present try. */
  timeIsOver(timeoutMs: number, ofTry: boolean): void
}

/** Made by who needs one: most requests are not timed at all. */
export class ExchangeTimers {
  readonly #owner: TimedOwner
  #ofRequest: NodeJS.Timeout | undefined
  #ofTry: NodeJS.Timeout | undefined
  /** Until the next try, or the end of an injected delay. */
  #wait: NodeJS.Timeout | undefined

  constructor(owner: TimedOwner) {
    this.#owner = owner
  }

  startRequest(timeoutMs: number): void {
    this.#ofRequest = setTimeout(
      () => {
        this.#ofRequest = undefined
        this.#owner.timeIsOver(timeoutMs, false)
      },
      Math.min(timeoutMs, MAX_TIMER_MS),
    )
  }

  startTry(timeoutMs: number): void {
    this.#ofTry = setTimeout(
      () => {
        this.#ofTry = undefined
        this.#owner.timeIsOver(timeoutMs, true)
      },
      Math.min(timeoutMs, MAX_TIMER_MS),
    )
  }

  endTry(): void {
    if (this.#ofTry !== undefined) clearTimeout(this.#ofTry)
    this.#ofTry = undefined
  }

  /** One such wait at a time. */
  later(ms: number, then: () => void): void {
    this.#wait = setTimeout(
      () => {
        this.#wait = undefined
        then()
      },
      Math.min(ms, MAX_TIMER_MS),
    )
  }

  clear(): void {
    this.endTry()
    if (this.#ofRequest !== undefined) clearTimeout(this.#ofRequest)
    if (this.#wait !== undefined) clearTimeout(this.#wait)
    this.#ofRequest = undefined
    this.#wait = undefined
  }
}

/**
 * How long the answer to a request may take, its tries and all; undefined where nothing but a try is timed.
 * @param ofClientMs how long the client itself waits
 */
export function requestTimeoutOf(
  limits: Pick<ForwardDecision, 'requestTimeoutMs' | 'backendRequestTimeoutMs' | 'retry'> | undefined,
  ofClientMs: number | undefined,
): number | undefined {
  if (limits === undefined) return ofClientMs
  const ofRouteMs = limits.requestTimeoutMs
  const timeoutMs =
    ofRouteMs === undefined || (ofClientMs !== undefined && ofClientMs < ofRouteMs) ? ofClientMs : ofRouteMs
  // The backend's is never longer than the route's: without a retry it is all there is.
  const onlyTry = limits.backendRequestTimeoutMs !== undefined && limits.retry === undefined && timeoutMs === ofRouteMs
  return onlyTry ? undefined : timeoutMs
}
