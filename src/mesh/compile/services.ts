/**
 * Services → their ports and endpoints: from the EndpointSlices that name the Service, else from the pods that
 * its selector finds, as Kubernetes' own endpoint controller would. TCP only: the mesh carries nothing else.
 */
import type { AppProtocol, Endpoint, MeshService, ServicePort } from '#contract'
import { canonicalAddress, type EndpointSliceObject, type PodObject, type ServiceObject } from '#resources'
import type { PodSelection } from './pod-selection.ts'
import { compareText, isFinished, isReady, isTerminating, type PodIndex, podName, statusAddresses } from './pods.ts'
import type { ProblemLog } from './problem-log.ts'

type PortSpec = ServiceObject['spec']['ports'][number]

export interface ServiceContext {
  readonly pods: PodSelection
  readonly index: PodIndex
  /** Slices by `namespace/name` of the Service that they carry the label of. */
  readonly slices: ReadonlyMap<string, readonly EndpointSliceObject[]>
  /** Names of Services by the address they hold; those that are compiled are added. */
  readonly holders: Map<string, string>
  readonly problems: ProblemLog
}

/** `namespace/name`. */
export function serviceName({ metadata: { namespace, name } }: ServiceObject): string {
  return `${namespace}/${name}`
}

/** The Service that a slice belongs to. */
export function serviceOfSlice({ metadata: { namespace, labels } }: EndpointSliceObject): string | undefined {
  const service = labels['kubernetes.io/service-name']
  return service === undefined ? undefined : `${namespace}/${service}`
}

/** Those of one Service are sorted by name: of an endpoint in two of them the first counts. */
export function groupSlices(slices: readonly EndpointSliceObject[]): Map<string, readonly EndpointSliceObject[]> {
  const groups = new Map<string, EndpointSliceObject[]>()
  for (const slice of slices) {
    const key = serviceOfSlice(slice)
    if (key === undefined) continue
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [slice])
    else group.push(slice)
  }
  for (const group of groups.values()) group.sort(bySliceName)
  return groups
}

export function bySliceName(a: EndpointSliceObject, b: EndpointSliceObject): number {
  return compareText(a.metadata.name, b.metadata.name)
}

export function compileServices(services: readonly ServiceObject[], context: ServiceContext): MeshService[] {
  const inOrder = [...services].sort((a, b) => compareText(serviceName(a), serviceName(b)))
  return inOrder.map((service) => compileService(service, context))
}

/** The same again for a Service that holds its addresses already. */
export function compileService(service: ServiceObject, context: ServiceContext): MeshService {
  const { spec } = service
  const ports = spec.ports.filter(({ protocol }) => protocol === 'TCP')
  const slices = context.slices.get(serviceName(service))
  const endpoints: Record<string, readonly Endpoint[]> = {}
  const compiled: ServicePort[] = []
  for (const port of ports) {
    if (Object.hasOwn(endpoints, String(port.port))) {
      context.problems.add(service, 'spec.ports', `port ${port.port} is given twice: the first one counts`)
      continue
    }
    compiled.push({ name: port.name, port: port.port, protocol: protocolOf(port) })
    endpoints[String(port.port)] =
      slices === undefined ? selectedEndpoints(service, port, context) : slicedEndpoints(service, port, slices, context)
  }
  return {
    kind: 'service',
    namespace: service.metadata.namespace,
    name: service.metadata.name,
    addresses: claimAddresses(service, context),
    ports: compiled,
    endpoints,
    sliced: slices !== undefined,
    ...(spec.sessionAffinity === 'ClientIP' ? { clientAffinity: true } : {}),
    ...nameOf(service),
  }
}

/** What its name means, when that is not its own addresses. */
function nameOf({ spec }: ServiceObject): Pick<MeshService, 'headless' | 'externalName'> {
  if (spec.type === 'ExternalName') {
    const name = spec.externalName?.toLowerCase().replace(/\.$/, '') ?? ''
    return name === '' ? {} : { externalName: name }
  }
  return spec.clusterIP === 'None' || spec.clusterIPs.includes('None') ? { headless: true } : {}
}

/** Those it claims, canonical, each once. */
export function serviceAddresses({ spec: { clusterIP, clusterIPs, type } }: ServiceObject): readonly string[] {
  if (type === 'ExternalName') return []
  const texts = [...(clusterIP === undefined ? [] : [clusterIP]), ...clusterIPs]
  return [...new Set(texts.flatMap((text) => canonicalAddress(text) ?? []))]
}

function claimAddresses(service: ServiceObject, { holders, problems }: ServiceContext): string[] {
  return serviceAddresses(service).filter((address) => {
    const holder = holders.get(address)
    if (holder === undefined || holder === serviceName(service)) {
      holders.set(address, serviceName(service))
      return true
    }
    const message = `${address} is already the address of Service ${holder}, which keeps it: give each Service its own`
    problems.add(service, 'spec.clusterIPs', message)
    return false
  })
}

function slicedEndpoints(
  service: ServiceObject,
  port: PortSpec,
  slices: readonly EndpointSliceObject[],
  { index }: ServiceContext,
): Endpoint[] {
  const found = new Map<string, Endpoint>()
  for (const slice of slices) {
    if (slice.addressType === 'FQDN') continue
    const target = slice.ports.find(({ name, protocol }) => name === port.name && protocol === 'TCP')?.port
    if (target === undefined) continue
    for (const { addresses, conditions, targetRef, hostname } of slice.endpoints) {
      // Only the first address of an endpoint counts: the others are the same instance (EndpointSlice API).
      const address = canonicalAddress(addresses[0] ?? '')
      if (address === undefined || found.has(`${address} ${target}`)) continue
      const named =
        targetRef?.kind === 'Pod' && targetRef.name !== undefined
          ? `${targetRef.namespace ?? service.metadata.namespace}/${targetRef.name}`
          : undefined
      const holder = index.byAddress.get(address)
      const workload = named ?? (holder === undefined ? undefined : podName(holder))
      found.set(`${address} ${target}`, {
        address,
        port: target,
        // An absent condition means ready (EndpointSlice API).
        ready: (conditions.ready ?? true) && !index.quarantined.has(workload ?? ''),
        terminating: conditions.terminating ?? false,
        ...(workload === undefined ? {} : { workload }),
        ...asHostname(hostname),
      })
    }
  }
  return sorted([...found.values()])
}

function selectedEndpoints(service: ServiceObject, port: PortSpec, { pods, index }: ServiceContext): Endpoint[] {
  const { selector, type, publishNotReadyAddresses } = service.spec
  if (Object.keys(selector).length === 0 || type === 'ExternalName') return []
  const families = familiesOf(service)
  const endpoints: Endpoint[] = []
  for (const pod of pods.select(service.metadata.namespace, selector)) {
    if (isFinished(pod)) continue
    const target = targetPortOf(port, pod)
    if (target === undefined) continue
    const terminating = isTerminating(pod)
    const isLeftOut = index.quarantined.has(podName(pod))
    const ready = ((isReady(pod) && !terminating) || publishNotReadyAddresses) && !isLeftOut
    const addresses = pod.spec.hostNetwork ? statusAddresses(pod) : (index.addresses.get(pod) ?? [])
    for (const family of families) {
      const address = addresses.find((one) => one.includes(':') === (family === 'IPv6'))
      if (address === undefined) continue
      endpoints.push({ address, port: target, ready, terminating, workload: podName(pod), ...hostnameOf(pod, service) })
    }
  }
  return sorted(endpoints)
}

/** As Kubernetes' endpoint controller: only below the Service that the pod names as its subdomain. */
function hostnameOf(pod: PodObject, service: ServiceObject): Pick<Endpoint, 'hostname'> {
  const { hostname, subdomain } = pod.spec
  return subdomain === service.metadata.name ? asHostname(hostname) : {}
}

/** Only a label (RFC 1123) can stand in a name. */
function asHostname(text: string | undefined): Pick<Endpoint, 'hostname'> {
  const hostname = text?.toLowerCase() ?? ''
  return /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(hostname) ? { hostname } : {}
}

function familiesOf(service: ServiceObject): readonly ('IPv4' | 'IPv6')[] {
  const { ipFamilies, clusterIP, clusterIPs } = service.spec
  if (ipFamilies.length > 0) return ipFamilies
  const texts = [...clusterIPs, clusterIP ?? ''].filter((text) => text !== '' && text !== 'None')
  if (texts.length === 0) return ['IPv4', 'IPv6']
  return [...new Set(texts.map((text) => (text.includes(':') ? 'IPv6' : 'IPv4')))]
}

/** The number itself, the port's own number when there is none, or the container port of that name. */
export function targetPortOf(port: PortSpec, pod: PodObject): number | undefined {
  const { targetPort } = port
  if (targetPort === undefined || targetPort === 0 || targetPort === '') return port.port
  if (typeof targetPort === 'number') return targetPort
  const sidecars = pod.spec.initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always')
  for (const container of [...pod.spec.containers, ...sidecars]) {
    const found = container.ports.find(({ name, protocol }) => name === targetPort && protocol === 'TCP')
    if (found !== undefined) return found.containerPort
  }
  return undefined
}

/** `kubernetes.io/h2c` and `kubernetes.io/ws` are Kubernetes' own; the plain words are those of Istio and IANA. */
const APP_PROTOCOLS: Readonly<Record<string, AppProtocol>> = {
  http: 'http',
  'http-web': 'http',
  http2: 'http2',
  h2c: 'http2',
  'kubernetes.io/h2c': 'http2',
  'kubernetes.io/ws': 'http',
  'kubernetes.io/wss': 'tls',
  grpc: 'grpc',
  'grpc-web': 'http',
  https: 'tls',
  tls: 'tls',
  tcp: 'tcp',
  mongo: 'tcp',
  mysql: 'tcp',
  redis: 'tcp',
}

export function protocolOf({ name, appProtocol }: PortSpec): AppProtocol {
  const declared = appProtocol?.toLowerCase()
  if (declared !== undefined && Object.hasOwn(APP_PROTOCOLS, declared)) return APP_PROTOCOLS[declared] ?? 'unknown'
  if (declared !== undefined) return 'unknown'
  const lower = name.toLowerCase()
  const prefix = lower.startsWith('grpc-web') ? 'grpc-web' : (lower.split('-', 1)[0] ?? '')
  return Object.hasOwn(APP_PROTOCOLS, prefix) ? (APP_PROTOCOLS[prefix] ?? 'unknown') : 'unknown'
}

function sorted(endpoints: Endpoint[]): Endpoint[] {
  return endpoints.sort(
    (a, b) => compareText(a.address, b.address) || a.port - b.port || compareText(a.workload ?? '', b.workload ?? ''),
  )
}
