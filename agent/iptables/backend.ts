/**
 * Which iptables a pod's rules belong in: a pod that has legacy rules keeps to them, otherwise nft where
 * the kernel has it. The choice is per pod, because pods bring rules of their own.
 */
import { accessSync, constants, readFileSync } from 'node:fs'
import { closeFd, nftablesGeneration, openNetfilterSocket, withNetns } from '#linux'
import { missingProgram, runInNetns } from './run-in-netns.ts'
import { isInUse, parseSaved } from './saved.ts'

export type BackendName = 'nft' | 'legacy' | 'plain'

const INFIX: Readonly<Record<BackendName, string>> = { nft: '-nft', legacy: '-legacy', plain: '' }
const DIRECTORIES = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/bin', '/bin']

/** E.g. `ip6tables-nft-restore`. */
export function programName(backend: BackendName, family: 4 | 6, what: 'save' | 'restore'): string {
  return `${family === 4 ? 'iptables' : 'ip6tables'}${INFIX[backend]}-${what}`
}

export function isInstalled(program: string): boolean {
  return DIRECTORIES.some((directory) => {
    try {
      accessSync(`${directory}/${program}`, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** @throws WeirError WEIR_AGENT_PROGRAM_MISSING, naming the package, when there is no iptables at all */
export async function detectBackend(netnsFd: number): Promise<BackendName> {
  const hasLegacy = isInstalled(programName('legacy', 4, 'restore'))
  if (hasLegacy && (await hasLegacyRules(netnsFd))) return 'legacy'
  if (isInstalled(programName('nft', 4, 'restore')) && kernelHasNftables(netnsFd)) return 'nft'
  if (hasLegacy) return 'legacy'
  if (isInstalled('iptables-restore')) return 'plain'
  throw missingProgram('iptables')
}

let nftables: boolean | undefined

function kernelHasNftables(netnsFd: number): boolean {
  if (nftables !== undefined) return nftables
  const fd = withNetns(netnsFd, openNetfilterSocket)
  try {
    nftables = nftablesGeneration(fd) !== undefined
  } finally {
    closeFd(fd)
  }
  return nftables
}

/** Legacy tables are listed without being touched: asking iptables-legacy itself would create them. */
async function hasLegacyRules(netnsFd: number): Promise<boolean> {
  for (const family of [4, 6] as const) {
    const names = withNetns(netnsFd, () => readOr(`/proc/self/net/ip${family === 4 ? '' : '6'}_tables_names`, ''))
    if (names.trim() === '') continue
    const save = await runInNetns(netnsFd, programName('legacy', family, 'save'), [])
    if (save.status === 0 && isInUse(parseSaved(save.stdout))) return true
  }
  return false
}

/** Families in which the pod can have connections: IPv6 only where it is not switched off. */
export function familiesOf(netnsFd: number): readonly (4 | 6)[] {
  return withNetns(netnsFd, () => {
    const disabled =
      readOr('/proc/self/net/if_inet6', 'absent') === 'absent' ||
      readOr('/proc/sys/net/ipv6/conf/all/disable_ipv6', '1').trim() === '1' ||
      readOr('/proc/sys/net/ipv6/conf/lo/disable_ipv6', '1').trim() === '1'
    return disabled ? [4] : [4, 6]
  })
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return otherwise
  }
}
