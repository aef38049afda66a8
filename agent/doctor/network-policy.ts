/**
 * What a NetworkPolicy (networking.k8s.io/v1) lets through: of peers and TCP ports, one direction at a time. Policies
 * only add: a pod that one selects is isolated, and what any of those that select it allows passes.
 */
import { BlockList, isIP } from 'node:net'
import { type LabelSelector, type Labels, matchesLabels } from './label-selector.ts'

export type Direction = 'ingress' | 'egress'

/** The fields that count here, as the API server gives them. */
export interface NetworkPolicy {
  readonly metadata: { readonly namespace: string; readonly name: string }
  readonly spec: {
    readonly podSelector?: LabelSelector
    readonly policyTypes?: readonly string[]
    readonly ingress?: readonly { readonly from?: readonly PolicyPeer[]; readonly ports?: readonly PolicyPort[] }[]
    readonly egress?: readonly { readonly to?: readonly PolicyPeer[]; readonly ports?: readonly PolicyPort[] }[]
  }
}

export interface PolicyPeer {
  readonly podSelector?: LabelSelector
  readonly namespaceSelector?: LabelSelector
  readonly ipBlock?: { readonly cidr: string; readonly except?: readonly string[] }
}

export interface PolicyPort {
  readonly protocol?: string
  readonly port?: number | string
  readonly endPort?: number
}

/** A pod as policies see it. */
export interface PolicyPod {
  readonly namespace: string
  readonly name: string
  readonly labels: Labels
  /** The first is the one that ipBlock is held against. */
  readonly addresses: readonly string[]
  readonly node: string
  /** TCP ports that its containers declare by name. */
  readonly namedPorts: Readonly<Record<string, number>>
}

/** Labels of a namespace by its name. */
export type NamespaceLabels = ReadonlyMap<string, Labels>

export function policyName({ metadata }: NetworkPolicy): string {
  return `${metadata.namespace}/${metadata.name}`
}

/** Whether the pod is isolated in that direction by this policy. */
export function selects(policy: NetworkPolicy, pod: PolicyPod, direction: Direction): boolean {
  return (
    policy.metadata.namespace === pod.namespace &&
    policyTypes(policy).includes(direction === 'ingress' ? 'Ingress' : 'Egress') &&
    matchesLabels(policy.spec.podSelector ?? {}, pod.labels)
  )
}

function policyTypes({ spec }: NetworkPolicy): readonly string[] {
  if (spec.policyTypes !== undefined && spec.policyTypes.length > 0) return spec.policyTypes
  return (spec.egress ?? []).length > 0 ? ['Ingress', 'Egress'] : ['Ingress']
}

/** Undefined for `port`: is there any TCP port that passes? */
export interface Passage {
  readonly direction: Direction
  /** The other end: the source of ingress, the destination of egress. */
  readonly peer: PolicyPod
  /** Where named ports are looked up. */
  readonly destination: PolicyPod
  readonly port: number | undefined
}

/** Whether a policy that selects one end lets the connection pass. */
export function allows(policy: NetworkPolicy, namespaces: NamespaceLabels, passage: Passage): boolean {
  const rules =
    passage.direction === 'ingress'
      ? (policy.spec.ingress ?? []).map(({ from, ports }) => ({ peers: from, ports }))
      : (policy.spec.egress ?? []).map(({ to, ports }) => ({ peers: to, ports }))
  return rules.some(
    ({ peers = [], ports = [] }) =>
      (ports.length === 0 || ports.some((port) => matchesPort(port, passage))) &&
      (peers.length === 0 || peers.some((peer) => matchesPeer(policy, peer, namespaces, passage.peer))),
  )
}

function matchesPort({ protocol = 'TCP', port, endPort }: PolicyPort, { port: wanted, destination }: Passage): boolean {
  if (protocol !== 'TCP') return false
  if (wanted === undefined || port === undefined) return true
  if (typeof port === 'string') {
    return Object.hasOwn(destination.namedPorts, port) && destination.namedPorts[port] === wanted
  }
  return endPort === undefined ? port === wanted : port <= wanted && wanted <= endPort
}

function matchesPeer(
  { metadata }: NetworkPolicy,
  { podSelector, namespaceSelector, ipBlock }: PolicyPeer,
  namespaces: NamespaceLabels,
  pod: PolicyPod,
): boolean {
  if (ipBlock !== undefined) {
    const [address] = pod.addresses
    if (address === undefined || !isInBlock(ipBlock.cidr, address)) return false
    return !(ipBlock.except ?? []).some((cidr) => isInBlock(cidr, address))
  }
  if (podSelector === undefined && namespaceSelector === undefined) return false
  const inNamespace =
    namespaceSelector === undefined
      ? pod.namespace === metadata.namespace
      : matchesLabels(namespaceSelector, labelsOf(namespaces, pod.namespace))
  return inNamespace && matchesLabels(podSelector ?? {}, pod.labels)
}

/** The API server gives each namespace its name as a label. */
function labelsOf(namespaces: NamespaceLabels, name: string): Labels {
  return { 'kubernetes.io/metadata.name': name, ...namespaces.get(name) }
}

/** What is no CIDR block holds no address. */
function isInBlock(cidr: string, address: string): boolean {
  const [network = '', bits = ''] = cidr.split('/')
  const family = isIP(network)
  if (family === 0 || family !== isIP(address)) return false
  const prefix = /^\d{1,3}$/.test(bits) ? Number(bits) : -1
  if (prefix < 0 || prefix > (family === 4 ? 32 : 128)) return false
  const type = family === 4 ? 'ipv4' : 'ipv6'
  const block = new BlockList()
  block.addSubnet(network, prefix, type)
  return block.check(address, type)
}
