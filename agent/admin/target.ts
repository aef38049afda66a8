/** What a URL means to a pod: the way its resolver would find the host, then what the mesh knows of the address. */
import { isIP } from 'node:net'
import type { MeshService, Workload } from '#contract'
import type { Destination, Snapshot } from '#mesh'

export interface Target {
  /** The address that the client would connect to; undefined when the name is not the cluster's. */
  readonly address: string | undefined
  readonly port: number
  readonly destination: Destination
  /** In words, for the first step of an explanation. */
  readonly words: string
}

/** `host` and `port` as URL parsing left them; an IPv6 host may have its brackets. */
export function resolveTarget(snapshot: Snapshot, client: Workload, host: string, port: number): Target {
  const bare = host.replace(/^\[(.*)\]$/, '$1')
  if (isIP(bare) !== 0) return addressTarget(snapshot, bare, port, `${host}:${port}`)
  const service = serviceByName(snapshot, client.namespace, bare) ?? declaredHost(snapshot, client.namespace, bare)
  if (service === undefined) return outside(bare, port)
  const name =
    service.external === undefined
      ? `Service ${service.namespace}/${service.name}`
      : `a host that ServiceEntry ${service.namespace}/${service.external.entry} declares`
  const [clusterIp] = service.addresses
  if (clusterIp !== undefined) return addressTarget(snapshot, clusterIp, port, `${host} is ${name}`)
  const pod = headlessAddress(service)
  if (pod === undefined) {
    const words = `${host} is the headless ${name}, which has no endpoint now: the name resolves to nothing`
    return { address: undefined, port, destination: { kind: 'unknown' }, words }
  }
  return addressTarget(
    snapshot,
    pod,
    port,
    `${host} is the headless ${name}, so the client connects to one of its pods`,
  )
}

function outside(host: string, port: number): Target {
  const words = `${host} names no Service that the mesh knows`
  return { address: undefined, port, destination: { kind: 'unknown' }, words }
}

function addressTarget(snapshot: Snapshot, address: string, port: number, what: string): Target {
  const destination = snapshot.destination(address, port)
  return { address, port, destination, words: `${what}, ${destinationWords(destination, address, port)}` }
}

function destinationWords(destination: Destination, address: string, port: number): string {
  switch (destination.kind) {
    case 'service': {
      const { service } = destination
      return `at ${address}, port ${port} of Service ${service.namespace}/${service.name}`
    }
    case 'service-port-unknown': {
      const ports = destination.service.ports.map(({ port: known }) => known).join(', ')
      return `at ${address}, but that Service has no port ${port}; it has ${ports === '' ? 'none' : ports}`
    }
    case 'workload':
      return `pod ${destination.workload.namespace}/${destination.workload.name} at ${address}, port ${port}`
    case 'unknown':
      return `an address that the mesh does not know`
  }
}

/** `reviews`, `reviews.shop`, `reviews.shop.svc`, `reviews.shop.svc.cluster.local`, with or without a last dot. */
function serviceByName(snapshot: Snapshot, namespace: string, host: string): MeshService | undefined {
  const labels = host.toLowerCase().replace(/\.$/, '').split('.')
  const [name, inNamespace, ...rest] = labels
  const suffix = rest.join('.')
  if (suffix !== '' && suffix !== 'svc' && suffix !== 'svc.cluster.local') return undefined
  return snapshot.service(`${inNamespace ?? namespace}/${name ?? ''}`)
}

/** Where the mesh's DNS has an address for it. */
function declaredHost(snapshot: Snapshot, namespace: string, host: string): MeshService | undefined {
  const services = snapshot.externalsOf(host.toLowerCase().replace(/\.$/, ''))
  const visible = services.filter(({ addresses, external }) => {
    return addresses.length > 0 && external?.namespaces?.includes(namespace) !== false
  })
  return visible.find((one) => one.namespace === namespace) ?? visible[0]
}

function headlessAddress(service: MeshService): string | undefined {
  for (const endpoints of Object.values(service.endpoints)) {
    for (const endpoint of endpoints) if (endpoint.ready && !endpoint.terminating) return endpoint.address
  }
  return undefined
}
