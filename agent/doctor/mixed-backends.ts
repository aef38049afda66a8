/** Namespaces in which both iptables back ends hold rules: both are in force, and each program shows only its own. */
import { type CheckLine, okLine, warningLine } from '#contract'
import { listed } from './listed.ts'
import { isMixed, openedNetns } from './netns-look.ts'

const REMEDY =
  'let all that writes rules there use one iptables (update-alternatives --config iptables), then flush the other'

/** @param pods enrolled ones, by `namespace/name` and path of their namespace */
export async function mixedBackendLines(
  pods: readonly { readonly workload: string; readonly path: string }[],
): Promise<readonly CheckLine[]> {
  const lines: CheckLine[] = []
  if (await isMixedAt('/proc/self/ns/net')) {
    lines.push(warningLine('iptables: both iptables-legacy and iptables-nft hold rules on this node', REMEDY))
  }
  const mixed: string[] = []
  for (const { workload, path } of pods) if (await isMixedAt(path)) mixed.push(workload)
  if (mixed.length > 0) {
    lines.push(warningLine(`iptables: both back ends hold rules in pods ${listed(mixed)}`, REMEDY))
  }
  return lines.length === 0 ? [okLine('iptables: one back end is in use')] : lines
}

async function isMixedAt(path: string): Promise<boolean> {
  using netns = openedNetns(path)
  return netns !== undefined && (await isMixed(netns))
}
