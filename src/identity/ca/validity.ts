/** Times of certificates. */

/** How far back a certificate begins, ms: for peers whose clock is behind. */
export const SKEW_MS = 120_000

/** X.509 times have whole seconds. */
export function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000
}
