/** The lab's Kubernetes objects and the directory that the agent reads them from, one file per object. */
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { ANNOTATION } from '#contract'

export interface KubernetesObject {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly [field: string]: unknown }
  readonly [field: string]: unknown
}

export interface ContainerPort {
  readonly name?: string
  readonly containerPort: number
  readonly protocol?: 'TCP' | 'UDP'
}

/** What a pod's manifest says; everything but the name has a default. */
export interface PodSpec {
  readonly name: string
  /** `default` */
  readonly namespace?: string
  /** `default` */
  readonly serviceAccount?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly ports?: readonly ContainerPort[]
  /** Annotates the pod as in the mesh (true, the default), out of it (false) or not at all (undefined given). */
  readonly optedIn?: boolean | undefined
  /** True by default. */
  readonly ready?: boolean
  /** Further fields of the first container, e.g. probes. */
  readonly container?: Readonly<Record<string, unknown>>
  /** Further fields of `metadata`, e.g. ownerReferences. */
  readonly metadata?: Readonly<Record<string, unknown>>
  readonly hostNetwork?: boolean
}

export interface PodPlace {
  readonly uid: string
  readonly nodeName: string
  /** Undefined: the pod is not started yet, or its namespace is found by other means. */
  readonly netnsPath: string | undefined
  /** The node's addresses, IPv4 first. */
  readonly hostIps: readonly string[]
  /** None: the pod is pending. */
  readonly addresses: readonly string[]
}

export function renderPod(spec: PodSpec, place: PodPlace): KubernetesObject {
  const optedIn = 'optedIn' in spec ? spec.optedIn : true
  const mesh = optedIn === undefined ? {} : { [ANNOTATION.mesh]: optedIn ? 'enabled' : 'disabled' }
  const ports = (spec.ports ?? []).map((port) => ({ protocol: 'TCP', ...port }))
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: spec.name,
      namespace: spec.namespace ?? 'default',
      uid: place.uid,
      labels: spec.labels ?? {},
      ...spec.metadata,
      annotations: {
        ...(place.netnsPath === undefined ? {} : { [ANNOTATION.netns]: place.netnsPath }),
        ...mesh,
        ...spec.annotations,
      },
    },
    spec: {
      nodeName: place.nodeName,
      serviceAccountName: spec.serviceAccount ?? 'default',
      ...(spec.hostNetwork === undefined ? {} : { hostNetwork: spec.hostNetwork }),
      containers: [{ name: 'app', image: 'app:lab', ...(ports.length > 0 ? { ports } : {}), ...spec.container }],
    },
    status: place.addresses.length === 0 ? { phase: 'Pending' } : runningStatus(spec, place),
  }
}

function runningStatus(spec: PodSpec, { hostIps, addresses }: PodPlace): object {
  return {
    phase: 'Running',
    hostIP: hostIps[0],
    hostIPs: hostIps.map((address) => ({ ip: address })),
    podIP: addresses[0],
    podIPs: addresses.map((address) => ({ ip: address })),
    conditions: [{ type: 'Ready', status: (spec.ready ?? true) ? 'True' : 'False' }],
  }
}

export interface Topology {
  readonly region: string
  readonly zone: string
}

/** `eu-1/eu-1a` is a zone of a region; a zone alone lies in `region-1`. */
export function parseTopology(text: string): Topology {
  const [first = '', second] = text.split('/')
  return second === undefined ? { region: 'region-1', zone: first } : { region: first, zone: second }
}

export interface NodeSpec {
  readonly name: string
  readonly addresses: readonly string[]
  readonly podCidrs: readonly string[]
  readonly topology: Topology | undefined
}

export function renderNode({ name, addresses, podCidrs, topology }: NodeSpec): KubernetesObject {
  const place = topology && {
    'topology.kubernetes.io/region': topology.region,
    'topology.kubernetes.io/zone': topology.zone,
  }
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels: { 'kubernetes.io/hostname': name, ...place } },
    spec: { podCIDR: podCidrs[0], podCIDRs: podCidrs },
    status: {
      addresses: [
        ...addresses.map((address) => ({ type: 'InternalIP', address })),
        { type: 'Hostname', address: name },
      ],
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  }
}

export interface ServicePortSpec {
  readonly name?: string
  readonly port: number
  /** Port number or name; the same as `port` by default. */
  readonly targetPort?: number | string
  readonly appProtocol?: string
}

export interface ServiceSpec {
  readonly name: string
  /** `default` */
  readonly namespace?: string
  readonly selector?: Readonly<Record<string, string>>
  readonly ports: readonly ServicePortSpec[]
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  /** No ClusterIP. */
  readonly headless?: boolean
}

export function renderService(spec: ServiceSpec, addresses: readonly string[]): KubernetesObject {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: spec.name,
      namespace: spec.namespace ?? 'default',
      labels: spec.labels ?? {},
      annotations: spec.annotations ?? {},
    },
    spec: {
      type: 'ClusterIP',
      clusterIP: addresses[0] ?? 'None',
      clusterIPs: addresses.length > 0 ? addresses : ['None'],
      ...(spec.selector === undefined ? {} : { selector: spec.selector }),
      ports: spec.ports.map((port) => ({ protocol: 'TCP', targetPort: port.port, ...port })),
    },
  }
}

/** File name of an object, e.g. `pod-shop-web-1.yaml`. */
function manifestName(object: KubernetesObject): string {
  const { name, namespace } = object.metadata
  return `${[object.kind.toLowerCase(), ...(namespace === undefined ? [] : [namespace]), name].join('-')}.yaml`
}

function isObject(value: unknown): value is KubernetesObject {
  return typeof value === 'object' && value !== null && 'kind' in value && 'metadata' in value
}

export class ManifestDirectory {
  readonly path: string
  #changeCount = 0

  constructor(path: string) {
    this.path = path
    mkdirSync(path, { recursive: true })
  }

  /**
   * Writes an object or YAML text in one step (a rename), replacing the file of that name.
   * @param fileName by default made of kind, namespace and name; text that holds no single object needs one.
   * @returns the file's name.
   */
  apply(manifest: KubernetesObject | string, fileName?: string): string {
    const name = fileName ?? this.#nameOf(manifest)
    const text = typeof manifest === 'string' ? manifest : stringify(manifest)
    const draft = join(this.path, `.${name}.${++this.#changeCount}.draft`)
    writeFileSync(draft, text)
    renameSync(draft, join(this.path, name))
    return name
  }

  remove(fileName: string): void {
    rmSync(join(this.path, fileName))
  }

  #nameOf(manifest: KubernetesObject | string): string {
    const object: unknown = typeof manifest === 'string' ? parse(manifest) : manifest
    if (isObject(object)) return manifestName(object)
    throw new Error('The manifest holds no object with kind and metadata: give a file name')
  }
}
