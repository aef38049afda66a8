/**
 * What a name means as seen from a pod: Services, their ports (SRV) and the pods of headless ones, by the names of
 * Kubernetes' DNS specification. What is not theirs is for the upstream to say: nothing is denied here, so that a
 * resolver which walks its search list gets every `no such name` from where the name belongs. A name that is
 * known but has no record of the asked type is answered with none.
 */
import type { Endpoint, MeshService } from '#contract'
import type { Snapshot } from '#mesh'

export type MeshRecord =
  | { readonly type: 'A' | 'AAAA'; readonly name: string; readonly address: string }
  | { readonly type: 'SRV'; readonly name: string; readonly port: number; readonly target: string }

export type Resolution =
  | { readonly kind: 'forward' }
  /** `additionals`: addresses of the targets in `answers`. Both may be empty: no record of that type. */
  | { readonly kind: 'records'; readonly answers: readonly MeshRecord[]; readonly additionals: readonly MeshRecord[] }
  /** Another name has the answer (ExternalName). */
  | { readonly kind: 'alias'; readonly target: string }

const SERVICES = ['svc', 'cluster', 'local'] as const
const FORWARD: Resolution = { kind: 'forward' }
const NO_DATA: Resolution = { kind: 'records', answers: [], additionals: [] }

/**
 * @param name lower case, without the dot at the end
 * @param type as IANA writes it (`AAAA`)
 * @param namespace of the pod that asks
 */
export function resolveName(snapshot: Snapshot, namespace: string, name: string, type: string): Resolution {
  const labels = name.split('.')
  const found = lookUp(snapshot, namespace, labels, name, type)
  if (found !== undefined) return found
  // A resolver asks for `web.shop` below each domain of its search list first: one question instead of several.
  for (const domain of [[namespace, ...SERVICES], SERVICES, SERVICES.slice(1)]) {
    const inner = withoutEnd(labels, domain)
    if (inner === undefined || inner.length < 2) continue
    const meant = lookUp(snapshot, undefined, inner, name, type)
    if (meant !== undefined) return meant
  }
  return externalRecords(snapshot, namespace, name, type) ?? FORWARD
}

/** A host that a ServiceEntry gives an address; others are their own name servers' business. */
function externalRecords(snapshot: Snapshot, namespace: string, name: string, type: string): Resolution | undefined {
  const visible = snapshot.externalsOf(name).filter(({ external, addresses }) => {
    return addresses.length > 0 && external?.namespaces?.includes(namespace) !== false
  })
  const service = visible.find((one) => one.namespace === namespace) ?? visible[0]
  return addressRecords(service?.addresses, name, type)
}

/** @param namespace where a Service named without one is looked for; undefined: nowhere */
function lookUp(
  snapshot: Snapshot,
  namespace: string | undefined,
  labels: readonly string[],
  owner: string,
  type: string,
): Resolution | undefined {
  const full = withoutEnd(labels, SERVICES) ?? withoutEnd(labels, ['svc'])
  const found = inNamespace(snapshot, full ?? labels, owner, type)
  if (found !== undefined || full !== undefined || namespace === undefined) return found
  // `web`, `_http._tcp.web`: longer names without a namespace are the search list's business.
  const isShort = labels.length === 1 || (labels.length === 3 && labels[1]?.startsWith('_') === true)
  return isShort ? inNamespace(snapshot, [...labels, namespace], owner, type) : undefined
}

/** @param labels `…, service, namespace` */
function inNamespace(
  snapshot: Snapshot,
  labels: readonly string[],
  owner: string,
  type: string,
): Resolution | undefined {
  const service = snapshot.service(`${labels.at(-1) ?? ''}/${labels.at(-2) ?? ''}`)
  if (service === undefined) return undefined
  const [first = '', second = ''] = labels
  switch (labels.length) {
    case 2:
      if (service.externalName !== undefined) return { kind: 'alias', target: service.externalName }
      return addressRecords(addressesOf(service), owner, type)
    case 3:
      return addressRecords(namedAddresses(service, first), owner, type)
    case 4:
      return second === '_tcp' && first.startsWith('_') ? portRecords(service, first.slice(1), owner, type) : undefined
    default:
      return undefined
  }
}

/** Undefined: not known here. A headless Service without a TCP port has endpoints that the mesh does not know. */
function addressesOf(service: MeshService): readonly string[] | undefined {
  if (service.headless !== true) return service.addresses.length > 0 ? service.addresses : undefined
  return service.ports.length > 0 ? endpointsOf(service).map(({ address }) => address) : undefined
}

/** Those a client may be sent to, of all ports of a headless Service. */
function endpointsOf(service: MeshService): readonly Endpoint[] {
  return Object.values(service.endpoints)
    .flat()
    .filter(({ ready }) => ready)
}

function namedAddresses(service: MeshService, hostname: string): readonly string[] | undefined {
  if (service.headless !== true) return undefined
  const found = endpointsOf(service).filter((endpoint) => hostnameOf(endpoint) === hostname)
  return found.length > 0 ? found.map(({ address }) => address) : undefined
}

/** Endpoints without a name of their own go by their address, as in CoreDNS. */
function hostnameOf({ hostname, address }: Endpoint): string {
  return hostname ?? address.replace(/[.:]/g, '-')
}

function addressRecords(addresses: readonly string[] | undefined, owner: string, type: string): Resolution | undefined {
  if (addresses === undefined) return undefined
  if (type !== 'A' && type !== 'AAAA') return NO_DATA
  const answers = [...new Set(addresses)].map((address) => addressRecord(owner, address))
  return { kind: 'records', answers: answers.filter((record) => record.type === type), additionals: [] }
}

function addressRecord(name: string, address: string): MeshRecord {
  return { type: address.includes(':') ? 'AAAA' : 'A', name, address }
}

function portRecords(service: MeshService, portName: string, owner: string, type: string): Resolution | undefined {
  const port = service.ports.find(({ name }) => name !== '' && name.toLowerCase() === portName)
  if (port === undefined || service.externalName !== undefined) return undefined
  if (type !== 'SRV') return NO_DATA
  const domain = [service.name, service.namespace, ...SERVICES].join('.')
  if (service.headless !== true) {
    return {
      kind: 'records',
      answers: [{ type, name: owner, port: port.port, target: domain }],
      additionals: service.addresses.map((address) => addressRecord(domain, address)),
    }
  }
  const endpoints = (service.endpoints[String(port.port)] ?? []).filter(({ ready }) => ready)
  const targets = new Map(endpoints.map((endpoint) => [`${hostnameOf(endpoint)}.${domain}`, endpoint.port]))
  return {
    kind: 'records',
    answers: [...targets].map(([target, number]) => ({ type, name: owner, port: number, target })),
    additionals: endpoints.map((endpoint) => addressRecord(`${hostnameOf(endpoint)}.${domain}`, endpoint.address)),
  }
}

/** The labels before `end`; undefined when they do not end so, or nothing is before it. */
function withoutEnd(labels: readonly string[], end: readonly string[]): readonly string[] | undefined {
  const length = labels.length - end.length
  return length > 0 && end.every((label, i) => labels[length + i] === label) ? labels.slice(0, length) : undefined
}
