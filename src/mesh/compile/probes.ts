/** Containers' probes → what the kubelet may ask for without an identity. */
import type { Probe } from '#contract'
import { canonicalAddress, type NodeObject, type PodObject } from '#resources'

/** HTTP, TCP and gRPC probes of all containers, each once; an exec probe does not use the network. */
export function probesOf(pod: PodObject): readonly Probe[] {
  const containers = [...pod.spec.containers, ...pod.spec.initContainers]
  const ports = new Map(
    containers.flatMap((container) => container.ports.map(({ name, containerPort }) => [name, containerPort] as const)),
  )
  const numberOf = (port: string | number): number | undefined =>
    typeof port === 'number' ? port : (ports.get(port) ?? (/^\d+$/.test(port) ? Number(port) : undefined))
  const probes = new Map<string, Probe>()
  for (const { livenessProbe, readinessProbe, startupProbe } of containers) {
    for (const probe of [livenessProbe, readinessProbe, startupProbe]) {
      const { httpGet, tcpSocket, grpc } = probe ?? {}
      const port = numberOf(httpGet?.port ?? tcpSocket?.port ?? grpc?.port ?? '')
      if (port === undefined) continue
      const path = httpGet === undefined ? undefined : pathOf(httpGet.path)
      probes.set(`${port} ${path ?? ''}`, path === undefined ? { port } : { port, path })
    }
  }
  return [...probes.values()]
}

/** As the kubelet asks for it: with a slash before it, without the query. */
function pathOf(text: string): string {
  const [path = ''] = text.split('?', 1)
  return path.startsWith('/') ? path : `/${path}`
}

/**
 * Addresses that the pod's node comes by: its own, and where pods hang on a bridge or a pair of interfaces, the first of
 * its pods' range, which such network plugins give to the node's end.
 */
export function hostAddressesOf({ status }: PodObject, node: NodeObject | undefined): readonly string[] {
  const texts = [...status.hostIPs.map(({ ip }) => ip), ...(status.hostIP === undefined ? [] : [status.hostIP])]
  const ranges = node === undefined ? [] : [...node.spec.podCIDRs, ...(node.spec.podCIDR ? [node.spec.podCIDR] : [])]
  return [...new Set([...texts.flatMap((text) => canonicalAddress(text) ?? []), ...ranges.flatMap(firstAddressOf)])]
}

/** None of what is no range of addresses, or one that begins in the middle of a block. */
function firstAddressOf(range: string): readonly string[] {
  const [, v4, lastOctet] = /^(\d+\.\d+\.\d+\.)(\d+)\/\d+$/.exec(range) ?? []
  const [, v6] = /^([0-9a-fA-F:]+::)\/\d+$/.exec(range) ?? []
  const text = v4 === undefined ? (v6 === undefined ? '' : `${v6}1`) : `${v4}${Number(lastOctet) + 1}`
  const address = canonicalAddress(text)
  return address === undefined ? [] : [address]
}
