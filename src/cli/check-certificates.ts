/** How long the node's certificates last, and what stands in the way of new ones. */

import type { CheckLine, IdentityAnswer } from '#contract'
import { renderEnd } from './table.ts'

export function checkCertificates(issuer: string, identities: readonly IdentityAnswer[], nowMs: number): CheckLine {
  const counts = STATES.map(
    ([state, words]) => [identities.filter((one) => one.state === state).length, words] as const,
  )
  const counted = counts.filter(([count]) => count > 0).map(([count, words]) => `${count} ${words}`)
  const ends = identities.filter(({ notAfterMs }) => notAfterMs > nowMs).map(({ notAfterMs }) => notAfterMs)
  const first = ends.length === 0 ? '' : `, the first ends ${renderEnd(Math.min(...ends) - nowMs)}`
  const all = `certificates: ${counted.length === 0 ? 'none needed' : counted.join(', ')}${first} (${issuer})`
  const failing = identities.filter(({ lastError }) => lastError !== '')
  const [oldest] = failing.toSorted((a, b) => a.failingSinceMs - b.failingSinceMs)
  if (oldest !== undefined) {
    const since = new Date(oldest.failingSinceMs).toISOString()
    return { result: 'failure', what: `${all}; no new ones since ${since}`, remedy: oldest.lastError }
  }
  if (identities.some(({ state }) => state === 'revoked')) {
    return {
      result: 'failure',
      what: all,
      remedy: 'others refuse it until it is renewed; restart the agent to renew it now',
    }
  }
  if (identities.some(({ state }) => state === 'expired')) {
    return { result: 'failure', what: all, remedy: 'see the agent log for why it was not renewed' }
  }
  const pending = identities.some(({ state }) => state === 'pending')
  return { result: pending ? 'warning' : 'ok', what: all, remedy: pending ? 'ask again in a moment' : '' }
}

/** `failing`: good as long as it lasts, its renewal failed. */
const STATES = [
  ['valid', 'valid'],
  ['failing', 'valid but not renewed'],
  ['pending', 'not there yet'],
  ['expired', 'expired'],
  ['revoked', 'revoked'],
] as const
