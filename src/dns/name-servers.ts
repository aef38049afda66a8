/** Who is asked for what the mesh does not know. */
import type { DnsSettings } from '#contract'
import type { Snapshot } from '#mesh'

const DNS_SERVICE = 'kube-system/kube-dns'
const DNS_PORT = 53

/**
 * Those given; or else the cluster's own, but for the pods that serve it: what they ask would come back to them.
 * @param workload `namespace/name` of the pod that asks
 */
export function nameServersFor(snapshot: Snapshot, settings: DnsSettings, workload: string): DnsSettings['upstreams'] {
  const service = settings.preferCluster ? snapshot.service(DNS_SERVICE) : undefined
  if (service === undefined || service.addresses.length === 0) return settings.upstreams
  const endpoints = Object.values(service.endpoints).flat()
  if (endpoints.some((endpoint) => endpoint.workload === workload)) return settings.upstreams
  return service.addresses.map((address) => ({ address, port: DNS_PORT }))
}
