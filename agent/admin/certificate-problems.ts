/** What is wrong with the certificates of the node, one problem per cause. */
import type { IdentityState, Problem } from './backend.ts'

/** @param revocationProblem what is wrong with the revocation list; empty when nothing is */
export function certificateProblems(identities: readonly IdentityState[], revocationProblem = ''): readonly Problem[] {
  const byCause = new Map<string, IdentityState[]>()
  for (const identity of identities) {
    if (identity.state === 'valid' || (identity.state === 'pending' && identity.lastError === '')) continue
    const cause = identity.state === 'revoked' ? REVOKED : identity.lastError || 'it has ended'
    const same = byCause.get(cause)
    if (same === undefined) byCause.set(cause, [identity])
    else same.push(identity)
  }
  const revocation: Problem = { severity: 'error', subject: 'Revocations', message: revocationProblem, remedy: '' }
  const certificates = [...byCause].map(([cause, affected]): Problem => {
    const [first] = affected
    const more = affected.length > 1 ? ` and of ${affected.length - 1} more` : ''
    return {
      severity: 'error',
      subject: `Certificate of ${first?.spiffeId ?? 'nobody'}${more}`,
      message: `${stateWords(affected)}: ${cause}`,
      remedy: '',
    }
  })
  return revocationProblem === '' ? certificates : [revocation, ...certificates]
}

const REVOKED =
  "the CA's revocation list names it; pods of other nodes refuse it until it is renewed; restart the agent to renew it now"

function stateWords(affected: readonly IdentityState[]): string {
  const states = new Set(affected.map(({ state }) => state))
  if (states.has('revoked')) return 'revoked'
  if (states.has('expired')) return 'expired'
  return states.has('pending') ? 'not issued' : 'not renewed'
}
