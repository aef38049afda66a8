/** Pods in quarantine: who may still speak with them. It only takes away: what it lets through, policy judges as ever. */
import { ANNOTATION, type Quarantine, type Verdict, type Workload } from '#contract'
import { blockContains, IpAddress, type IpBlock, parseIpBlock, readIp } from './ip-block.ts'

const blocksOf = new WeakMap<Quarantine, readonly IpBlock[]>()
const address = new IpAddress()

/** An address that cannot be read is not allowed. */
function allows(quarantine: Quarantine, ip: string): boolean {
  let blocks = blocksOf.get(quarantine)
  if (blocks === undefined) {
    blocks = quarantine.allow.flatMap((text) => parseIpBlock(text) ?? [])
    blocksOf.set(quarantine, blocks)
  }
  if (blocks.length === 0 || !readIp(ip, address)) return false
  return blocks.some((block) => blockContains(block, address))
}

/**
 * Why `pod` may not speak with `peerIp`, in either direction; undefined when its quarantine does not say so. Not for
 * each request: what it says is good for as long as the snapshot.
 */
export function quarantineDenial(pod: Workload | undefined, peerIp: string): Verdict | undefined {
  if (pod?.quarantine === undefined || allows(pod.quarantine, peerIp)) return undefined
  const name = `${pod.namespace}/${pod.name}`
  const except = pod.quarantine.allow.length === 0 ? 'nobody' : pod.quarantine.allow.join(', ')
  const doubt = pod.quarantine.doubtful === true ? ` (the value of ${ANNOTATION.quarantine} cannot be read)` : ''
  return Object.freeze({
    kind: 'deny',
    policy: `Quarantine ${name}`,
    reason: `Pod ${name} is in quarantine${doubt}: ${except} may speak with it`,
  })
}
