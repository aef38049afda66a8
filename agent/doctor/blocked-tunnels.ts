/**
 * Which NetworkPolicies keep tunnels (TCP 15008) from passing between enrolled pods of different nodes. Pods that no
 * policy tells apart are judged once, so that the work grows with the policies and not with the pairs of pods. Pure.
 */
import { HBONE_PORT } from '#contract'
import {
  allows,
  type Direction,
  type NamespaceLabels,
  type NetworkPolicy,
  type PolicyPod,
  policyName,
  selects,
} from './network-policy.ts'

/** What one set of policies blocks at one end of the tunnels. */
export interface BlockedTunnels {
  readonly direction: Direction
  /** `namespace/name`, in order: all that isolate these pods in that direction; none of them allows the tunnel. */
  readonly policies: readonly string[]
  /** `namespace/name`, in order: the pods that the policies select. */
  readonly pods: readonly string[]
  /** The pods at the other end. */
  readonly peers: readonly string[]
  /**
   * partly: some TCP port is let through between them, only the tunnel is not, so that what was allowed is lost;
   * wholly: nothing passes between them, with or without the mesh.
   */
  readonly extent: 'partly' | 'wholly'
}

/** Each is compared with each: more would take seconds. */
const MAX_KINDS = 1_000

/**
 * @param pods the enrolled ones of all nodes
 * @param onCut told when there are more kinds of pods than are compared: those that policies select come first
 */
export function blockedTunnels(
  policies: readonly NetworkPolicy[],
  pods: readonly PolicyPod[],
  namespaces: NamespaceLabels,
  onCut: (compared: number, kinds: number) => void = () => undefined,
): readonly BlockedTunnels[] {
  const isSelected = ({ ingress, egress }: PodClass) => ingress.length + egress.length > 0
  const all = classify(policies, pods).toSorted((a, b) => Number(isSelected(b)) - Number(isSelected(a)))
  const classes = all.slice(0, MAX_KINDS)
  if (all.length > MAX_KINDS) onCut(MAX_KINDS, all.length)
  const found = new Map<string, Draft>()
  for (const source of classes) {
    for (const destination of classes) {
      if (source.egress.length + destination.ingress.length === 0 || !canBeApart(source, destination)) continue
      const ends = { source: source.sample, destination: destination.sample }
      const egress = judge(source.egress, namespaces, 'egress', ends)
      const ingress = judge(destination.ingress, namespaces, 'ingress', ends)
      const extent = egress.any && ingress.any ? 'partly' : 'wholly'
      if (!egress.tunnel) note(found, 'egress', extent, source.egress, source, destination)
      if (!ingress.tunnel) note(found, 'ingress', extent, destination.ingress, destination, source)
    }
  }
  return [...found.values()].map(({ pods, peers, ...rest }) => ({
    ...rest,
    pods: [...pods].sort(),
    peers: [...peers].sort(),
  }))
}

interface PodClass {
  readonly sample: PolicyPod
  readonly names: string[]
  readonly nodes: Set<string>
  readonly ingress: readonly NetworkPolicy[]
  readonly egress: readonly NetworkPolicy[]
}

interface Draft extends Omit<BlockedTunnels, 'pods' | 'peers'> {
  readonly pods: Set<string>
  readonly peers: Set<string>
}

function classify(policies: readonly NetworkPolicy[], pods: readonly PolicyPod[]): readonly PodClass[] {
  const byNamespace = Map.groupBy(policies, ({ metadata }) => metadata.namespace)
  const usesAddresses = policies.some(({ spec }) =>
    [
      ...(spec.ingress ?? []).flatMap(({ from = [] }) => from),
      ...(spec.egress ?? []).flatMap(({ to = [] }) => to),
    ].some(({ ipBlock }) => ipBlock !== undefined),
  )
  const classes = new Map<string, PodClass>()
  for (const pod of pods) {
    const { namespace, labels, namedPorts, addresses } = pod
    const sorted = (record: Readonly<Record<string, unknown>>) =>
      Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1))
    const key = JSON.stringify([namespace, sorted(labels), sorted(namedPorts), usesAddresses ? addresses[0] : ''])
    let one = classes.get(key)
    if (one === undefined) {
      const near = byNamespace.get(namespace) ?? []
      one = {
        sample: pod,
        names: [],
        nodes: new Set(),
        ingress: near.filter((policy) => selects(policy, pod, 'ingress')),
        egress: near.filter((policy) => selects(policy, pod, 'egress')),
      }
      classes.set(key, one)
    }
    one.names.push(`${namespace}/${pod.name}`)
    one.nodes.add(pod.node)
  }
  return [...classes.values()]
}

/** Pods of one node need no tunnel between them. */
function canBeApart(one: PodClass, other: PodClass): boolean {
  return one.nodes.size > 1 || other.nodes.size > 1 || [...one.nodes][0] !== [...other.nodes][0]
}

/** A pod that no policy selects is open. */
function judge(
  policies: readonly NetworkPolicy[],
  namespaces: NamespaceLabels,
  direction: Direction,
  { source, destination }: { readonly source: PolicyPod; readonly destination: PolicyPod },
): { readonly tunnel: boolean; readonly any: boolean } {
  const peer = direction === 'ingress' ? source : destination
  const passes = (port: number | undefined) =>
    policies.length === 0 ||
    policies.some((policy) => allows(policy, namespaces, { direction, peer, destination, port }))
  const tunnel = passes(HBONE_PORT)
  return { tunnel, any: tunnel || passes(undefined) }
}

function note(
  found: Map<string, Draft>,
  direction: Direction,
  extent: BlockedTunnels['extent'],
  policies: readonly NetworkPolicy[],
  selected: PodClass,
  other: PodClass,
): void {
  const names = policies.map(policyName).sort()
  const key = [direction, extent, ...names].join(' ')
  const draft = found.get(key) ?? { direction, extent, policies: names, pods: new Set(), peers: new Set() }
  found.set(key, draft)
  for (const name of selected.names) draft.pods.add(name)
  for (const name of other.names) draft.peers.add(name)
}
