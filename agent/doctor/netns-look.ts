/** Looks into network namespaces for what is there of netfilter, ours and others', changing nothing. */
import { readFileSync, statSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { ROUTE_TABLE, RULE_PREFERENCE } from '#contract'
import { closeFd, netnsIdentity, nftablesGeneration, openNetfilterSocket, openNetns, withNetns } from '#linux'
import { isInstalled, programName } from '../iptables/backend.ts'
import { runInNetns } from '../iptables/run-in-netns.ts'
import { hasOurChains, isInUse, parseSaved, type SavedTables } from '../iptables/saved.ts'

export interface OpenedNetns extends Disposable {
  readonly fd: number
  /** Device and inode. */
  readonly identity: string
}

/** Undefined when there is no namespace at that path (any more). */
export function openedNetns(path: string): OpenedNetns | undefined {
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return undefined
  try {
    const fd = openNetns(path)
    return { fd, identity: netnsIdentity(fd), [Symbol.dispose]: () => closeFd(fd) }
  } catch {
    return undefined
  }
}

/** All but loopback ones. */
export function addressesIn({ fd }: OpenedNetns): readonly string[] {
  const interfaces = withNetns(fd, () => networkInterfaces())
  return Object.values(interfaces).flatMap((found = []) => found.flatMap((one) => (one.internal ? [] : [one.address])))
}

/** Somebody accepts TCP connections on that port of every address, as an agent does in the pods it has enrolled. */
export function listensOn({ fd }: OpenedNetns, port: number): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, '0')
  const text = withNetns(fd, () => ['/proc/self/net/tcp', '/proc/self/net/tcp6'].map(readOrEmpty).join('\n'))
  // Local address, remote address, state 0A (LISTEN): include/net/tcp_states.h.
  return new RegExp(`: [0-9A-F]+:${hex} [0-9A-F]+:0000 0A `).test(text)
}

/** Traces of ours, in words; empty when there are none. */
export async function tracesIn(netns: OpenedNetns): Promise<readonly string[]> {
  const [tables, rules] = await Promise.all([
    Promise.all([...backendsIn(netns)].flatMap((backend) => FAMILIES.map((family) => saved(netns, backend, family)))),
    Promise.all(FAMILIES.map((family) => hasOurRule(netns, family))),
  ])
  const chains = tables.some((found) => [...found.values()].some(hasOurChains))
  return [...(chains ? ['chains WEIR_*'] : []), ...(rules.some(Boolean) ? ['its ip rule'] : [])]
}

/** Both iptables back ends hold rules or chains of somebody there. */
export async function isMixed(netns: OpenedNetns): Promise<boolean> {
  if (backendsIn(netns).size < 2) return false
  const inUse = await Promise.all(
    (['legacy', 'nft'] as const).map(async (backend) => {
      const tables = await Promise.all(FAMILIES.map((family) => saved(netns, backend, family)))
      return tables.some(isInUse)
    }),
  )
  return inUse.every(Boolean)
}

const FAMILIES = [4, 6] as const

async function hasOurRule({ fd }: OpenedNetns, family: 4 | 6): Promise<boolean> {
  const { stdout } = await runInNetns(fd, 'ip', [`-${family}`, 'rule', 'show', 'pref', String(RULE_PREFERENCE)])
  return stdout.includes(`lookup ${ROUTE_TABLE}`)
}

/** Only those that have tables, so that a namespace without any costs no program, and gets no legacy ones by asking. */
function backendsIn({ fd }: OpenedNetns): ReadonlySet<'nft' | 'legacy'> {
  const legacy = withNetns(fd, () =>
    ['/proc/self/net/ip_tables_names', '/proc/self/net/ip6_tables_names'].some(
      (path) => readOrEmpty(path).trim() !== '',
    ),
  )
  return new Set([
    ...(isInstalled(programName('nft', 4, 'save')) && hasNftables(fd) ? (['nft'] as const) : []),
    ...(legacy && isInstalled(programName('legacy', 4, 'save')) ? (['legacy'] as const) : []),
  ])
}

async function saved({ fd }: OpenedNetns, backend: 'nft' | 'legacy', family: 4 | 6): Promise<SavedTables> {
  if (backend === 'legacy' && !hasLegacyTables(fd, family)) return new Map()
  const { status, stdout } = await runInNetns(fd, programName(backend, family, 'save'), [])
  return status === 0 ? parseSaved(stdout) : new Map()
}

function hasLegacyTables(fd: number, family: 4 | 6): boolean {
  const path = `/proc/self/net/ip${family === 4 ? '' : '6'}_tables_names`
  return withNetns(fd, () => readOrEmpty(path)).trim() !== ''
}

/** The generation counts changes; a namespace begins with the first. */
function hasNftables(netnsFd: number): boolean {
  const fd = withNetns(netnsFd, openNetfilterSocket)
  try {
    return (nftablesGeneration(fd) ?? 0) > 1
  } finally {
    closeFd(fd)
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return ''
  }
}
