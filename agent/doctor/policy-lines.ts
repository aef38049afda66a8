/** What is said of NetworkPolicies that block tunnels: a line per set of policies, few and short however many there are. */
import { type CheckLine, failureLine, HBONE_PORT, okLine, warningLine } from '#contract'
import type { BlockedTunnels } from './blocked-tunnels.ts'
import { listed } from './listed.ts'

const MAX_LINES = 20

/** @param policies how many there are in all */
export function policyLines(blocked: readonly BlockedTunnels[], policies: number): readonly CheckLine[] {
  if (blocked.length === 0) {
    return [okLine(`NetworkPolicies: ${policies}, none keeps tunnels (TCP ${HBONE_PORT}) from passing`)]
  }
  const worstFirst = blocked.toSorted((a, b) => (a.extent < b.extent ? -1 : a.extent > b.extent ? 1 : 0))
  const lines = worstFirst.slice(0, MAX_LINES).map(policyLine)
  const rest = worstFirst.slice(MAX_LINES)
  if (rest.length === 0) return lines
  const what = `NetworkPolicies: ${rest.length} more block TCP ${HBONE_PORT} between enrolled pods`
  const remedy = 'see to those above first'
  return [
    ...lines,
    rest.some(({ extent }) => extent === 'partly') ? failureLine(what, remedy) : warningLine(what, remedy),
  ]
}

function policyLine({ direction, policies, pods, peers, extent }: BlockedTunnels): CheckLine {
  const [noun, verb] = policies.length === 1 ? ['NetworkPolicy', 'blocks'] : ['NetworkPolicies', 'together block']
  const way =
    direction === 'ingress' ? `to ${listed(pods)} from ${listed(peers)}` : `from ${listed(pods)} to ${listed(peers)}`
  const what = `${noun} ${listed(policies)} ${verb} tunnels (TCP ${HBONE_PORT}) ${way}`
  const peer = direction === 'ingress' ? 'from' : 'to'
  const rule = `in the rule under spec.${direction} whose "${peer}" names these pods: ports: [{ protocol: TCP, port: ${HBONE_PORT} }]`
  if (extent === 'partly') {
    return failureLine(
      what,
      `add ${rule}; other ports are allowed between some of them, and the mesh carries those by the tunnel`,
    )
  }
  return warningLine(`${what}, as it does all other ports`, `nothing, where that is meant; else allow them ${rule}`)
}
