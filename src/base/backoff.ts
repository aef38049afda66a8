/** Exponential back-off with jitter, as a pure function of the attempt and a random number. */

export interface BackoffOptions {
  /** Delay after the first failure, ms. */
  readonly baseMs: number
  /** Longest delay, ms. */
  readonly maxMs: number
}

/**
 * Delay before the next try, ms: between half and all of `min(maxMs, baseMs * 2^(failures-1))`.
 * @param failures how often it has failed in a row, ≥ 1
 * @param random in [0, 1)
 */
export function backoffMs(failures: number, random: number, options: BackoffOptions): number {
  const exponent = Math.min(Math.max(failures - 1, 0), 30)
  const full = Math.min(options.maxMs, options.baseMs * 2 ** exponent)
  return Math.round(full / 2 + (full / 2) * random)
}
