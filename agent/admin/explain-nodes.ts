/** What becomes of a request between nodes: the tunnel, who proves what to whom, and whether this node can. */
import type { Endpoint, Workload } from '#contract'
import { spiffeId } from '#identity'
import type { Snapshot } from '#mesh'
import type { IdentityState } from './backend.ts'
import type { Caller } from './explain-policy.ts'

/**
 * One sentence or two for an endpoint on another node than the caller; undefined when it is on the same, or is no pod.
 * @param identities of the caller's node, as far as they are known
 */
export function explainNodes(
  snapshot: Snapshot,
  { workload: client, trustDomain }: Caller,
  endpoint: Pick<Endpoint, 'port' | 'workload'>,
  identities: readonly IdentityState[],
): string | undefined {
  const there = endpoint.workload === undefined ? undefined : snapshot.workload(endpoint.workload)
  if (there === undefined || there.node === '' || there.node === client.node) return undefined
  const what = `Between nodes: to ${there.namespace}/${there.name} on ${there.node}`
  if (!client.optedIn) return `${what} in plain text: the client has not opted in.`
  if (!there.optedIn) return `${what} in plain text: that pod has not opted in.`
  if (modeAt(there, endpoint.port) === 'DISABLE') {
    return `${what} in plain text: PeerAuthentication ${there.peerModes?.policy ?? ''} is DISABLE.`
  }
  const own = spiffeId(trustDomain, client.namespace, client.serviceAccount)
  const peer = spiffeId(trustDomain, there.namespace, there.serviceAccount)
  const certificate = identities.find((identity) => identity.spiffeId === own)
  const obstacle = certificate === undefined ? '' : obstacleIn(certificate)
  return `${what} through a tunnel with mutual TLS, ${own} calling ${peer}.${obstacle}`
}

function modeAt({ peerModes }: Workload, port: number) {
  return peerModes?.ports[port] ?? peerModes?.mode
}

/** Why the other node would not be reached; begins with a space. */
function obstacleIn({ state, lastError }: IdentityState): string {
  const why = lastError === '' ? '' : `: ${lastError}`
  switch (state) {
    case 'pending':
      return ` It fails now: the client has no certificate yet${why}.`
    case 'expired':
      return ` It fails now: the client's certificate has ended${why}.`
    case 'revoked':
      return " It fails now: the client's certificate is revoked, and refused until it is renewed."
    case 'valid':
    case 'failing':
      return ''
  }
}
