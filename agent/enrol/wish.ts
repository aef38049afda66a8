/** What should be: one pod of this node that is opted in. */
import type { Exclusions } from '../iptables/pod-rules.ts'

export interface EnrolmentWish extends Exclusions {
  readonly uid: string
  readonly namespace: string
  readonly name: string
  readonly serviceAccount: string
  /** Path of its network namespace; absent when nobody said. */
  readonly netns?: string | undefined
}

/** True when both ask for the same rules. */
export function sameExclusions(a: Exclusions, b: Exclusions): boolean {
  return (
    a.excludeOutboundPorts.join() === b.excludeOutboundPorts.join() &&
    a.excludeInboundPorts.join() === b.excludeInboundPorts.join() &&
    a.excludeOutboundCidrs.join() === b.excludeOutboundCidrs.join() &&
    a.captureDns === b.captureDns &&
    JSON.stringify(a.quarantine) === JSON.stringify(b.quarantine)
  )
}
