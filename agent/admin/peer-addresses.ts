/** Where the agents of other nodes are: as somebody listed them, or by their pods. */
import type { Workload } from '#contract'

/** `NAME=HOST:PORT,HOST:PORT,…`; one without a name is called by its address. Undefined: not such a list. Empty text is an empty list. */
export function parsePeers(text: string): ReadonlyMap<string, string> | undefined {
  const peers = new Map<string, string>()
  for (const part of text === '' ? [] : text.split(',')) {
    const [, name, address = '', port = ''] =
      /^(?:([a-z0-9][a-z0-9.-]{0,252})=)?((?:\[[0-9a-fA-F:.]+\]|[\w.-]+):(\d{1,5}))$/.exec(part.trim()) ?? []
    const called = name ?? address
    if (address === '' || Number(port) > 65_535 || Number(port) === 0 || peers.has(called)) return undefined
    peers.set(called, address)
  }
  return peers
}

const AGENT_LABELS = Object.entries({
  'app.kubernetes.io/name': 'weir',
  'app.kubernetes.io/component': 'agent',
})

/**
 * Agents by their pods: node → `HOST:PORT`. Whoever may make pods in the agents' namespace can be one of them, and nobody else.
 * @param own where this agent runs
 */
export function peersAmong(
  workloads: Iterable<Workload>,
  own: { readonly namespace: string; readonly node: string; readonly port: string },
): ReadonlyMap<string, string> {
  const peers = new Map<string, string>()
  for (const { namespace, node, labels, addresses, ready, terminating } of workloads) {
    if (namespace !== own.namespace || node === own.node || node === '' || terminating) continue
    if (!AGENT_LABELS.every(([label, value]) => labels[label] === value)) continue
    const [address] = addresses
    // On an upgrade there are two for a moment.
    if (address === undefined || (peers.has(node) && !ready)) continue
    peers.set(node, address.includes(':') ? `[${address}]:${own.port}` : `${address}:${own.port}`)
  }
  return peers
}
