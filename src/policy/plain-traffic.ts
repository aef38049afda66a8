/** Plain connections from outside the mesh: may they come at all, and which of them are the kubelet's probes? */
import type { Verdict, Workload } from '#contract'

const WITHOUT_POLICY: Verdict = Object.freeze({ kind: 'allow', reason: 'The kubelet probes it' })

/**
 * What PeerAuthentication says of a connection without a verified identity to `port` of the pod. Undefined: no objection.
 */
export function plainDenial({ peerModes }: Workload, port: number): Verdict | undefined {
  if (peerModes === undefined) return undefined
  const mode = peerModes.ports[port] ?? peerModes.mode
  if (mode !== 'STRICT') return undefined
  const policy = `PeerAuthentication ${peerModes.policy}`
  return { kind: 'deny', policy, reason: `Plain traffic is refused: ${policy} is STRICT` }
}

/**
 * A probe comes from the pod's own node, to a port that its containers' probes name and, over HTTP, is a GET of a path
 * that they name: that passes, and nothing wider. `request` is undefined for what is not HTTP.
 */
export function probeVerdict(
  { hostAddresses, probes }: Workload,
  from: string,
  port: number,
  request: { readonly method: string; readonly path: string } | undefined,
): Verdict | undefined {
  if (!hostAddresses.includes(from)) return undefined
  if (request !== undefined && request.method !== 'GET') return undefined
  const probed = probes.some((probe) => probe.port === port && probe.path === request?.path)
  return probed ? WITHOUT_POLICY : undefined
}
