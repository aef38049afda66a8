/** What the configuration says of who may ask the admin address, as the admin servers take it. */
import { join } from 'node:path'
import type { AdminAccess } from './admin/access.ts'
import { isLoopback } from './admin/listen.ts'
import type { AdminPeers } from './admin/peers.ts'
import { TokenFile } from './admin/token-file.ts'
import type { AgentConfig } from './config.ts'
import type { AgentLog } from './log.ts'

export interface AdminDoors {
  readonly access?: AdminAccess
  readonly peers?: AdminPeers
}

/** @throws `WEIR_ADMIN_TOKEN` when a token is needed and cannot be had */
export function adminDoors({ admin, adminAccess, stateDir }: AgentConfig, log: AgentLog): AdminDoors {
  const { tokenFile, peerTokenFile, peers, protectMetrics } = adminAccess
  const isOpenToOthers = admin !== undefined && !isLoopback(admin)
  const needsOwn = isOpenToOthers || tokenFile !== undefined || (peers.size > 0 && peerTokenFile === undefined)
  if (!needsOwn && peers.size === 0) return {}
  const warn = (problem: string) => log.warn({ problem }, 'problem')
  const open = (file: string) => new TokenFile(file, false, warn)
  const own = needsOwn
    ? tokenFile === undefined
      ? new TokenFile(join(stateDir, 'admin-token'), true, warn)
      : open(tokenFile)
    : undefined
  const shown = peers.size === 0 ? undefined : peerTokenFile === undefined ? own : open(peerTokenFile)
  return {
    ...(own === undefined ? {} : { access: { token: () => own.token(), protectsMetrics: protectMetrics } }),
    ...(shown === undefined ? {} : { peers: { addresses: () => peers, token: () => shown.token() } }),
  }
}
