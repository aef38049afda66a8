/** When a certificate is renewed, and when a failed try is repeated. Pure. */
import { backoffMs } from '#base'

/** Part of the lifetime by which renewals are spread, so that a node's certificates do not come due together. */
const JITTER = 0.1
const MIN_DELAY_MS = 500
const RETRY = { baseMs: MIN_DELAY_MS, maxMs: 150_000 }
/** Without a certificate that is good, connections fail: then nobody is to wait long for the next try. */
const MAX_WITHOUT_MS = 15_000

/**
 * Half-way to the end, a tenth of the lifetime up or down in all.
 * @param random in [0, 1)
 */
export function decideRenewalMs(issuedAtMs: number, notAfterMs: number, random: number): number {
  const lifetimeMs = notAfterMs - issuedAtMs
  return issuedAtMs + Math.max(MIN_DELAY_MS, lifetimeMs * (0.5 + JITTER * (random - 0.5)))
}

/**
 * Backs off; while a certificate is still good never past a quarter of what is left of it, and without one not far.
 * @param notAfterMs end of the certificate at hand; undefined when there is none
 */
export function decideRetryMs(nowMs: number, failures: number, random: number, notAfterMs: number | undefined): number {
  const delayMs = backoffMs(failures, random, RETRY)
  const leftMs = (notAfterMs ?? 0) - nowMs
  return nowMs + Math.min(delayMs, leftMs > 0 ? Math.max(MIN_DELAY_MS, leftMs / 4) : MAX_WITHOUT_MS)
}
