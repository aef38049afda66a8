/** Who may look at the agent, and at which other agents through it. */
import { ADMIN_DEFAULT } from '#contract'
import { parsePeers } from '../admin/peer-addresses.ts'
import { anyText, matching, pathOf, type Subject } from './flag.ts'

/** Who may ask at an address that is not loopback, and whom this agent asks in turn. */
export interface AdminAccess {
  /** Undefined: one in the state directory, which is made. */
  readonly tokenFile: string | undefined
  readonly protectMetrics: boolean
  /** Name → `HOST:PORT`; `cluster`: the other agents of the cluster, by their pods. */
  readonly peers: Readonly<Record<string, string>> | 'cluster'
  /** What they are shown; undefined: the token that is asked for here. */
  readonly peerTokenFile: string | undefined
}

export interface AdminSettings {
  /** Undefined: no TCP address, the socket in the state directory only. */
  readonly admin: string | undefined
  readonly adminAccess: AdminAccess
}

const CLUSTER_PEERS = 'cluster'

export const ADMIN: Subject<AdminSettings> = {
  flags: {
    admin: {
      value: 'ADDR|none',
      says: 'the page and what it asks, read-only. Another address than loopback asks for a token, but at /healthz/* and /metrics',
      default: ADMIN_DEFAULT,
      wrong: matching(/^(none|\[[0-9a-fA-F:.]+\]:\d{1,5}|[\w.-]+:\d{1,5})$/, 'HOST:PORT or none'),
    },
    'admin-token-file': {
      value: 'FILE',
      says: 'that token, one line',
      defaultSays: 'STATE-DIR/admin-token, made',
      wrong: anyText,
    },
    'admin-protect-metrics': { says: 'ask for it at /metrics too' },
    'admin-peers': {
      value: '[NAME=]HOST:PORT[,…]|cluster',
      says: "agents of other nodes, which the page shows through this one; cluster, with --kubernetes: those of this agent's namespace, at the same port",
      wrong: (value) =>
        value !== CLUSTER_PEERS && parsePeers(value) === undefined
          ? `expected addresses such as node-2=10.0.0.2:15000, separated by commas, each name once, got ${JSON.stringify(value)}`
          : undefined,
    },
    'admin-peer-token-file': {
      value: 'FILE',
      says: 'the token they are shown',
      defaultSays: 'the same token',
      wrong: anyText,
    },
  },
  wrong(given) {
    const errors: string[] = []
    if (given.text('admin-peers') === CLUSTER_PEERS && !given.has('kubernetes')) {
      errors.push('--admin-peers: cluster is only for --kubernetes; give addresses such as node-2=10.0.0.2:15000.')
    }
    if (given.has('admin-peer-token-file') && !given.has('admin-peers')) {
      errors.push('--admin-peer-token-file: only with --admin-peers.')
    }
    return errors
  },
  read(given) {
    const peers = given.text('admin-peers')
    return {
      admin: given.text('admin') === 'none' ? undefined : given.text('admin'),
      adminAccess: {
        tokenFile: pathOf(given, 'admin-token-file'),
        protectMetrics: given.has('admin-protect-metrics'),
        peers: peers === CLUSTER_PEERS ? CLUSTER_PEERS : Object.fromEntries(parsePeers(peers) ?? []),
        peerTokenFile: pathOf(given, 'admin-peer-token-file'),
      },
    }
  },
}
