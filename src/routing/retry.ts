/** When a request is tried again, and after how long. */
import type { RetryBudget, RetryPlan } from '#contract'

/** What ended a try. A number is the status of the application's answer, that of a gRPC call where it says so. */
export type TryFailure = number | { readonly grpcStatus: number } | 'connect-failure' | 'reset' | 'timeout'

export function mayRetry(plan: RetryPlan, failure: TryFailure): boolean {
  switch (failure) {
    case 'connect-failure':
      return plan.connectFailure
    case 'reset':
      return plan.reset
    case 'timeout':
      return plan.timeout
    default:
      return typeof failure === 'number'
        ? plan.codes.includes(failure)
        : plan.grpcStatuses?.includes(failure.grpcStatus) === true
  }
}

/**
 * Wait before retry number `retry` (from 1), ms: twice as long each time, and up to as much again, by `random` in [0, 1),
 * so that those who failed together do not come back together.
 */
export function retryDelayMs({ backoffMs, maxBackoffMs }: RetryPlan, retry: number, random: number): number {
  return Math.min(maxBackoffMs, backoffMs * 2 ** Math.min(retry - 1, 30)) * (1 + random)
}

const SLOTS = 10
const SLOT_MS = 1_000

/** Requests and retries of the last ten seconds, by which a retry is allowed or not. Times are monotonic, ms. */
export class RetryWindow {
  readonly #requests = new Float64Array(SLOTS)
  readonly #retries = new Float64Array(SLOTS)
  #slot = 0
  #requestSum = 0
  #retrySum = 0

  request(now: number): void {
    const slot = this.#turnTo(now)
    this.#requests[slot] = (this.#requests[slot] ?? 0) + 1
    this.#requestSum++
  }

  /** Takes a retry out of the budget; false when there is none left. */
  takeRetry({ percent, minPerSecond }: RetryBudget, now: number): boolean {
    const slot = this.#turnTo(now)
    if (this.#retrySum + 1 > (this.#requestSum * percent) / 100 + minPerSecond * SLOTS) return false
    this.#retries[slot] = (this.#retries[slot] ?? 0) + 1
    this.#retrySum++
    return true
  }

  #turnTo(now: number): number {
    const slot = Math.floor(now / SLOT_MS)
    const passed = Math.min(SLOTS, slot - this.#slot)
    for (let i = 1; i <= passed; i++) {
      const old = (slot - passed + i) % SLOTS
      this.#requestSum -= this.#requests[old] ?? 0
      this.#retrySum -= this.#retries[old] ?? 0
      this.#requests[old] = 0
      this.#retries[old] = 0
    }
    if (passed > 0) this.#slot = slot
    return this.#slot % SLOTS
  }
}
