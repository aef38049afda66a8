/** What is wrong with the certificates of the node, one problem per cause. */
import type { MeshObject, Workload } from '#contract'
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

/** This agent signs with a key that no other has: its pods and mesh pods elsewhere do not trust each other. */
export function loneIssuerProblems(world: readonly MeshObject[], node: string): readonly Problem[] {
  const elsewhere = world.filter(
    (object): object is Workload =>
      object.kind === 'workload' && object.optedIn && object.node !== node && object.node !== '',
  )
  const nodes = [...new Set(elsewhere.map((workload) => workload.node))].sort(compareText)
  if (nodes.length === 0) return []
  const named = nodes.length > MAX_NODES_NAMED ? [...nodes.slice(0, MAX_NODES_NAMED), '…'] : nodes
  const message = `mesh pods run on ${named.join(', ')}, and certificates here are signed with a key of this agent alone: calls between the nodes fail`
  return [{ severity: 'error', subject: 'Certificates', message, remedy: 'give all agents one --ca-dir, or one --ca' }]
}

const MAX_NODES_NAMED = 5

function compareText(a: string, b: string): number {
  return a < b ? -1 : 1
}

const REVOKED =
  "the CA's revocation list names it; pods of other nodes refuse it until it is renewed; restart the agent to renew it now"

function stateWords(affected: readonly IdentityState[]): string {
  const states = new Set(affected.map(({ state }) => state))
  if (states.has('revoked')) return 'revoked'
  if (states.has('expired')) return 'expired'
  return states.has('pending') ? 'not issued' : 'not renewed'
}
