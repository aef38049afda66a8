/** What the configuration says of who may ask the admin address, as the admin servers take it. */
import { join } from 'node:path'
import type { Workload } from '#contract'
import { ROOT_NAMESPACE_DEFAULT } from '#mesh/compile'
import type { AdminAccess } from './admin/access.ts'
import { isLoopback } from './admin/listen.ts'
import { peersAmong } from './admin/peer-addresses.ts'
import type { AdminPeers } from './admin/peers.ts'
import { TokenFile } from './admin/token-file.ts'
import type { AgentConfig } from './config.ts'
import type { AgentLog } from './log.ts'

export interface AdminDoors {
  readonly access?: AdminAccess
  readonly peers?: AdminPeers
}

/**
 * @param workloads all that are known, as of now
 * @throws `WEIR_ADMIN_TOKEN` when a token is needed and cannot be had
 */
export function adminDoors(config: AgentConfig, workloads: () => Iterable<Workload>, log: AgentLog): AdminDoors {
  const { admin, adminAccess, stateDir } = config
  const { tokenFile, peerTokenFile, peers, protectMetrics } = adminAccess
  const hasPeers = peers === 'cluster' || Object.keys(peers).length > 0
  const isOpenToOthers = admin !== undefined && !isLoopback(admin)
  const needsOwn = isOpenToOthers || tokenFile !== undefined || (hasPeers && peerTokenFile === undefined)
  const warn = (problem: string) => log.warn({ problem }, 'problem')
  const open = (file: string) => new TokenFile(file, false, warn)
  const ownFile = () =>
    tokenFile === undefined ? new TokenFile(join(stateDir, 'admin-token'), true, warn) : open(tokenFile)
  const own = needsOwn ? ownFile() : undefined
  const shown = !hasPeers ? undefined : peerTokenFile === undefined ? own : open(peerTokenFile)
  return {
    ...(own === undefined ? {} : { access: { token: () => own.token(), protectsMetrics: protectMetrics } }),
    ...(shown === undefined
      ? {}
      : { peers: { addresses: addressesOf(config, workloads), token: () => shown.token() } }),
  }
}

function addressesOf(
  { admin = '', adminAccess: { peers }, node }: AgentConfig,
  workloads: () => Iterable<Workload>,
): AdminPeers['addresses'] {
  if (peers !== 'cluster') {
    const listed = new Map(Object.entries(peers))
    return () => listed
  }
  const namespace = process.env['POD_NAMESPACE'] ?? ROOT_NAMESPACE_DEFAULT
  const port = admin.slice(admin.lastIndexOf(':') + 1)
  return () => peersAmong(workloads(), { namespace, node, port })
}
