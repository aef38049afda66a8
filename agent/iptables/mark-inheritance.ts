/**
 * The sysctl by which the application's side of a connection takes the mark of the SYN that opened it
 * (net.ipv4.tcp_fwmark_accept, both families). Marked that way, its answers find the policy route by themselves:
 * no rule looks at each packet. The mark of a listening socket that has one of its own wins, in the kernel.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { WeirError } from '#base'
import { withNetns } from '#linux'

/** Below /proc/sys/net the calling thread's namespace is meant. */
const PATH = '/proc/sys/net/ipv4/tcp_fwmark_accept'

/** `0` or `1`. */
export function readMarkInheritance(netnsFd: number): string {
  return withNetns(netnsFd, () => readFileSync(PATH, 'latin1')).trim()
}

export function setMarkInheritance(netnsFd: number, value: string): void {
  try {
    withNetns(netnsFd, () => writeFileSync(PATH, value))
  } catch (cause) {
    throw new WeirError(
      'WEIR_AGENT_SYSCTL',
      `Cannot set net.ipv4.tcp_fwmark_accept in the pod: is /proc/sys writable for the agent?`,
      { cause },
    )
  }
}
