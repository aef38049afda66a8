/**
 * The sysctls by which what answers a marked packet has its mark, and with it the policy route, without a rule that
 * looks at each packet. `tcp_fwmark_accept`: the application's side of a connection takes the mark of the SYN that
 * opened it (both families; a listening socket with a mark of its own keeps that). `fwmark_reflect`: so do answers that
 * no socket sends, of which a refused connection's RST is one; without it a closed port would look like a lost packet.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { WeirError } from '#base'
import { withNetns } from '#linux'

const NAMES = ['net.ipv4.tcp_fwmark_accept', 'net.ipv4.fwmark_reflect', 'net.ipv6.fwmark_reflect'] as const

/** By name: `0` or `1`. What the kernel does not have (IPv6, where that is off) is left out. */
export type MarkSysctls = Readonly<Record<string, string>>

/** In a container /proc/sys is read-only; the node's own is mounted beside it (daemonset.yaml). */
const MOUNTED = '/host/proc/sys'
const ROOT = existsSync(`${MOUNTED}/net`) ? MOUNTED : '/proc/sys'

/** Below its `net` the calling thread's namespace is meant. */
function pathOf(name: string): string {
  return `${ROOT}/${name.replaceAll('.', '/')}`
}

export function readMarkSysctls(netnsFd: number): MarkSysctls {
  return withNetns(netnsFd, () => {
    const present = NAMES.filter((name) => existsSync(pathOf(name)))
    return Object.fromEntries(present.map((name) => [name, readFileSync(pathOf(name), 'latin1').trim()]))
  })
}

/** Names of those that are not on. */
export function findMarkSysctlsOff(netnsFd: number): string[] {
  return Object.entries(readMarkSysctls(netnsFd)).flatMap(([name, value]) => (value === '1' ? [] : [name]))
}

/** @throws WeirError naming the one that cannot be set */
export function setMarkSysctls(netnsFd: number, values: MarkSysctls): void {
  withNetns(netnsFd, () => {
    for (const [name, value] of Object.entries(values)) {
      try {
        writeFileSync(pathOf(name), value)
      } catch (cause) {
        const remedy = 'is /proc/sys writable for the agent?'
        throw new WeirError('WEIR_AGENT_SYSCTL', `Cannot set ${name} in the pod: ${remedy}`, { cause })
      }
    }
  })
}

export function turnOnMarkSysctls(netnsFd: number): void {
  setMarkSysctls(netnsFd, Object.fromEntries(findMarkSysctlsOff(netnsFd).map((name) => [name, '1'])))
}
