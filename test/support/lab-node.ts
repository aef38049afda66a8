/** A node of a lab and its pods: namespaces, manifests, agents. */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { type AddressPair, type LabAddresses, MAX_PODS_PER_NODE } from './lab-addresses.ts'
import { type AgentOptions, LabAgent } from './lab-agent.ts'
import { LabHost } from './lab-host.ts'
import { type ManifestDirectory, type PodSpec, renderNode, renderPod, type Topology } from './lab-manifests.ts'
import { createNode, createPod, removeNetns } from './lab-network.ts'
import type { LabProcess } from './lab-process.ts'

export class LabPod extends LabHost {
  readonly uid: string
  readonly namespace: string
  readonly #rewrite: (changes: Partial<PodSpec>) => void
  readonly #remove: () => Promise<void>

  constructor(
    host: ConstructorParameters<typeof LabHost>,
    uid: string,
    namespace: string,
    rewrite: (changes: Partial<PodSpec>) => void,
    remove: () => Promise<void>,
  ) {
    super(...host)
    this.uid = uid
    this.namespace = namespace
    this.#rewrite = rewrite
    this.#remove = remove
  }

  /** Rewrites the pod's manifest, e.g. `update({ optedIn: false })`. */
  update(changes: Partial<PodSpec>): void {
    this.#rewrite(changes)
  }

  /** Deletes the manifest, then the namespace with all that runs in it. */
  remove(): Promise<void> {
    return this.#remove()
  }
}

/** What the nodes of a lab have in common. */
export interface NodeSite {
  readonly labId: string
  readonly addresses: LabAddresses
  readonly manifests: ManifestDirectory
  readonly own: (process: LabProcess) => void
  readonly ownAgent: (agent: LabAgent) => void
}

export interface NodePlace {
  readonly name: string
  /** From 0. */
  readonly index: number
  readonly netns: string
  readonly stateDir: string
}

export class LabNode extends LabHost {
  readonly index: number
  /** Of the agents on this node that are given no other. */
  readonly stateDir: string
  readonly #site: NodeSite
  #podCount = 0

  constructor(site: NodeSite, place: NodePlace) {
    const addresses = site.addresses.host(place.index, 1)
    createNode(place.netns, addresses)
    super(place.name, place.netns, addresses, site.own)
    this.index = place.index
    this.stateDir = place.stateDir
    this.#site = site
  }

  /** Networks of its pods, in CIDR notation. */
  get podNetwork(): AddressPair {
    return this.#site.addresses.podNetwork(this.index)
  }

  /** Writes, or rewrites, the Node object. */
  writeManifest(topology: Topology | undefined): void {
    const { ipv4, ipv6 } = this.podNetwork
    const podCidrs = ipv6 === undefined ? [ipv4] : [ipv4, ipv6]
    this.#site.manifests.apply(renderNode({ name: this.name, addresses: this.addresses, podCidrs, topology }))
  }

  /** Makes a pod: its namespace `weir-ID-NAMESPACE-NAME` and its manifest. */
  async addPod(spec: PodSpec): Promise<LabPod> {
    const { labId, addresses, manifests, own } = this.#site
    const number = ++this.#podCount + 1
    if (number > MAX_PODS_PER_NODE + 1) throw new Error(`The node ${this.name} is full: ${MAX_PODS_PER_NODE} pods`)
    const namespace = spec.namespace ?? 'default'
    const netns = `weir-${labId}-${namespace}-${spec.name}`
    const podAddresses = addresses.host(this.index, number)
    createPod(this.netns, netns, `pod${number}`, podAddresses, this)
    const uid = randomUUID()
    let current = spec
    const write = () => {
      const place = { uid, nodeName: this.name, netnsPath: pod.netnsPath, hostIps: this.addresses }
      return manifests.apply(renderPod(current, { ...place, addresses: pod.addresses }))
    }
    const rewrite = (changes: Partial<PodSpec>) => {
      current = { ...current, ...changes }
      write()
    }
    const remove = async () => {
      manifests.remove(fileName)
      removeNetns(netns)
    }
    const pod = new LabPod([spec.name, netns, podAddresses, own], uid, namespace, rewrite, remove)
    const fileName = write()
    return pod
  }

  /** Starts `weir agent` on the node; resolves when it is ready, fails with its output when it is not. */
  async startAgent(options: AgentOptions = {}): Promise<LabAgent> {
    const stateDir = options.stateDir ?? this.stateDir
    const agent = new LabAgent({ host: this, manifestsDir: this.#site.manifests.path, stateDir }, options)
    this.#site.ownAgent(agent)
    if (options.waitReady ?? true) await agent.waitFor('ready', { timeoutMs: 20_000 })
    return agent
  }
}

/** Namespace and state directory of each node: a node that is the only one goes without its name in them. */
export function placeNodes(labId: string, dir: string, names: readonly string[]): readonly NodePlace[] {
  const [only] = names
  if (names.length === 1 && only !== undefined) {
    return [{ name: only, index: 0, netns: `weir-${labId}-node`, stateDir: join(dir, 'state') }]
  }
  return names.map((name, index) => ({
    name,
    index,
    netns: `weir-${labId}-${name}`,
    stateDir: join(dir, 'state', name),
  }))
}
