/**
 * A lab: a node as a network namespace with a bridge in it, and pods as further namespaces; with several nodes a
 * fabric, one more namespace, routes between them. Nothing is made in the root namespace. Several labs can run side
 * by side; each has its own names, addresses and directory.
 * `await using lab = await openLab()`; what a killed process leaves behind, `scripts/lab gc` removes.
 */
import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AddressPair, LabAddresses, MAX_NODES } from './lab-addresses.ts'
import type { AgentOptions, LabAgent } from './lab-agent.ts'
import type { LabCapture } from './lab-capture.ts'
import { LabFabric } from './lab-fabric.ts'
import {
  type KubernetesObject,
  ManifestDirectory,
  type PodSpec,
  parseTopology,
  renderService,
  type ServiceSpec,
} from './lab-manifests.ts'
import { LabNode, type LabPod, placeNodes } from './lab-node.ts'
import type { LabProcess } from './lab-process.ts'
import { type LabRecord, ownerOfThisProcess, registerLab, removeLab } from './lab-registry.ts'

export type { LabNode, LabPod } from './lab-node.ts'

export interface LabOptions {
  /** True by default. */
  readonly ipv6?: boolean
  /** Of the only node: `node-1`. */
  readonly nodeName?: string
  /**
   * Names of the nodes, or how many of `node-1`, `node-2`, …; given at all, each has its Node object, and several have
   * a fabric between them. One, without a Node object, by default.
   */
  readonly nodes?: number | readonly string[]
  /** One for each of `nodes`: `eu-1/eu-1a` (region and zone), or `zone-a` (of `region-1`). */
  readonly zones?: readonly string[]
  /** The test that uses the lab: when it has failed, everything the lab's agents printed is shown. */
  readonly t?: { passing(): boolean }
  /** Without an owner the lab outlives this process; take it down with `scripts/lab down ID`. */
  readonly detached?: boolean
}

export type ServiceAddresses = AddressPair

/** A node of the lab, or its name. */
export type NodeReference = LabNode | string

const open = new Set<LabRecord>()

function removeOpenLabs(): void {
  for (const record of open) removeLab(record)
  open.clear()
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

function onSignal(signal: NodeJS.Signals): void {
  removeOpenLabs()
  for (const name of signals) process.off(name, onSignal)
  process.kill(process.pid, signal)
}

function guard(record: LabRecord): void {
  if (open.size === 0) {
    process.on('exit', removeOpenLabs)
    for (const name of signals) process.on(name, onSignal)
  }
  open.add(record)
}

function unguard(record: LabRecord): void {
  open.delete(record)
  if (open.size > 0) return
  process.off('exit', removeOpenLabs)
  for (const name of signals) process.off(name, onSignal)
}

export class Lab implements AsyncDisposable {
  readonly id: string
  readonly dir: string
  readonly nodes: readonly LabNode[]
  /** The first node, and the only one unless more are asked for. */
  readonly node: LabNode
  readonly #fabric: LabFabric | undefined
  readonly #manifests: ManifestDirectory
  readonly #record: LabRecord
  readonly #options: LabOptions
  readonly #processes = new Set<LabProcess>()
  readonly #agents: LabAgent[] = []
  #serviceCount = 0

  constructor(record: LabRecord, names: readonly string[], options: LabOptions) {
    this.id = record.id
    this.dir = record.dir
    this.#record = record
    this.#options = options
    this.#manifests = new ManifestDirectory(join(this.dir, 'manifests'))
    const addresses = new LabAddresses(this.id, options.ipv6 !== false)
    const own = (child: LabProcess) => {
      this.#processes.add(child)
    }
    const ownAgent = (agent: LabAgent) => {
      this.#agents.push(agent)
    }
    const site = { labId: this.id, addresses, manifests: this.#manifests, own, ownAgent }
    this.nodes = placeNodes(this.id, this.dir, names).map((place) => {
      mkdirSync(place.stateDir, { recursive: true })
      return new LabNode(site, place)
    })
    const [first] = this.nodes
    if (first === undefined) throw new Error('A lab has at least one node')
    this.node = first
    if (options.nodes !== undefined) {
      for (const [index, node] of this.nodes.entries()) {
        const zone = options.zones?.[index]
        node.writeManifest(zone === undefined ? undefined : parseTopology(zone))
      }
    }
    if (this.nodes.length > 1) {
      const netns = this.nodes.map((node) => node.netns)
      this.#fabric = new LabFabric(`weir-${this.id}-fabric`, netns, addresses, own)
    }
  }

  /** All agents of the lab read it. */
  get manifestsDir(): string {
    return this.#manifests.path
  }

  /** Of the first node. */
  get stateDir(): string {
    return this.node.stateDir
  }

  /** What lies between the nodes; fails in a lab of one. */
  get fabric(): LabFabric {
    if (this.#fabric === undefined) throw new Error('A lab of one node has no fabric: give `nodes: 2` to openLab')
    return this.#fabric
  }

  /** The node of that name; there must be one. */
  nodeNamed(name: string): LabNode {
    const found = this.nodes.find((node) => node.name === name)
    if (found === undefined)
      throw new Error(`No node ${name}: there is ${this.nodes.map((node) => node.name).join(', ')}`)
    return found
  }

  /** Makes a pod on the first node. */
  addPod(spec: PodSpec): Promise<LabPod> {
    return this.node.addPod(spec)
  }

  /** From now on no packet passes between two nodes or their pods; nobody is told. */
  cut(a: NodeReference, b: NodeReference): Promise<void> {
    return this.fabric.cut(this.#indexOf(a), this.#indexOf(b))
  }

  /** Ends every fault between two nodes. */
  heal(a: NodeReference, b: NodeReference): Promise<void> {
    return this.fabric.heal(this.#indexOf(a), this.#indexOf(b))
  }

  /** @param percentage 0 to 100, of the packets in each direction, at random; 0 ends it. */
  dropPackets(a: NodeReference, b: NodeReference, percentage: number): Promise<void> {
    return this.fabric.dropPackets(this.#indexOf(a), this.#indexOf(b), percentage)
  }

  /** Delays each packet in each direction by `ms`; 0 ends it. @returns false, and does nothing, without netem. */
  delay(a: NodeReference, b: NodeReference, ms: number): Promise<boolean> {
    return this.fabric.delay(this.#indexOf(a), this.#indexOf(b), ms)
  }

  /** Begins to record, in memory, what passes between a node and the fabric: `(await capture.stop()).bytes`. */
  capture(node: NodeReference): Promise<LabCapture> {
    return this.fabric.capture(this.#indexOf(node))
  }

  /** Makes a Service with addresses of the lab's own range; none when headless. */
  addService(spec: ServiceSpec): ServiceAddresses {
    const number = ++this.#serviceCount
    const ipv4 = `10.96.${number >> 8}.${number & 255}`
    const ipv6 = this.#options.ipv6 === false ? undefined : `fd96::${number.toString(16)}`
    const addresses = ipv6 === undefined ? [ipv4] : [ipv4, ipv6]
    this.apply(renderService(spec, spec.headless ? [] : addresses))
    return { ipv4, ipv6 }
  }

  /** Writes an object, or YAML text, into the manifests directory in one step. @returns the file's name. */
  apply(manifest: KubernetesObject | string, fileName?: string): string {
    return this.#manifests.apply(manifest, fileName)
  }

  /** Deletes a file of the manifests directory. */
  remove(fileName: string): void {
    this.#manifests.remove(fileName)
  }

  /** Starts `weir agent` on the first node; resolves when it is ready, fails with its output when it is not. */
  startAgent(options: AgentOptions = {}): Promise<LabAgent> {
    return this.node.startAgent(options)
  }

  /** Ends every process, removes every namespace and file. */
  async close(): Promise<void> {
    if (this.#options.t?.passing() === false) {
      for (const agent of this.#agents) process.stderr.write(`${agent.process.output()}\n`)
    }
    for (const child of this.#processes) child.kill('SIGKILL')
    removeLab(this.#record)
    await Promise.allSettled([...this.#processes].map((child) => child.exited))
    unguard(this.#record)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #indexOf(node: NodeReference): number {
    return (typeof node === 'string' ? this.nodeNamed(node) : node).index
  }
}

/** Names go into those of namespaces, where `fabric` is taken, and `NAMESPACE-NAME` by pods. */
function nodeNames({ nodes, nodeName, zones }: LabOptions): readonly string[] {
  const names =
    typeof nodes === 'number'
      ? Array.from({ length: nodes }, (_, index) => `node-${index + 1}`)
      : (nodes ?? [nodeName ?? 'node-1'])
  if (names.length < 1 || names.length > MAX_NODES) throw new Error(`A lab has 1 to ${MAX_NODES} nodes`)
  if (new Set(names).size < names.length) throw new Error(`Two nodes have one name: ${names.join(', ')}`)
  const unfit = names.find((name) => !/^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$/.test(name) || name === 'fabric')
  if (unfit !== undefined && nodes !== undefined) throw new Error(`${unfit} cannot be the name of a node of a lab`)
  if (zones !== undefined && (nodes === undefined || zones.length !== names.length)) {
    throw new Error(`Zones are given one for each of \`nodes\`: ${zones.length} are, for ${names.join(', ')}`)
  }
  return names
}

export async function openLab(options: LabOptions = {}): Promise<Lab> {
  const names = nodeNames(options)
  const dir = mkdtempSync(join(tmpdir(), 'weir-lab-'))
  // Unprivileged processes of the agent may pass through, as they may through /run.
  chmodSync(dir, 0o755)
  const record = () => ({
    id: randomBytes(3).toString('hex'),
    dir,
    ...(names.length > 1 ? { nodes: names } : {}),
    ...(options.detached ? {} : { owner: ownerOfThisProcess() }),
  })
  let mine: LabRecord = record()
  try {
    while (!registerLab(mine)) mine = record()
  } catch (error) {
    rmSync(dir, { recursive: true, force: true })
    throw error
  }
  if (!options.detached) guard(mine)
  try {
    const lab = new Lab(mine, names, options)
    if (names.length > 1) await lab.fabric.ready()
    return lab
  } catch (error) {
    removeLab(mine)
    unguard(mine)
    throw error
  }
}
