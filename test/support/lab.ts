/**
 * A lab: a node as a network namespace with a bridge in it, and pods as further namespaces. Nothing is made in
 * the root namespace. Several labs can run side by side; each has its own names, addresses and directory.
 * `await using lab = await openLab()`; what a killed process leaves behind, `scripts/lab gc` removes.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AgentOptions, LabAgent } from './lab-agent.ts'
import { LabHost } from './lab-host.ts'
import {
  type KubernetesObject,
  ManifestDirectory,
  type PodSpec,
  renderPod,
  renderService,
  type ServiceSpec,
} from './lab-manifests.ts'
import { createNode, createPod, netnsPath, removeNetns } from './lab-network.ts'
import type { LabProcess } from './lab-process.ts'
import { type LabRecord, ownerOfThisProcess, registerLab, removeLab } from './lab-registry.ts'

export interface LabOptions {
  /** True by default. */
  readonly ipv6?: boolean
  /** `node-1` */
  readonly nodeName?: string
  /** The test that uses the lab: when it has failed, everything the lab's agents printed is shown. */
  readonly t?: { passing(): boolean }
  /** Without an owner the lab outlives this process; take it down with `scripts/lab down ID`. */
  readonly detached?: boolean
}

export interface ServiceAddresses {
  readonly ipv4: string
  readonly ipv6: string | undefined
}

export class LabPod extends LabHost {
  readonly uid: string
  readonly namespace: string
  readonly netnsPath: string
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
    this.netnsPath = netnsPath(this.netns)
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
  readonly stateDir: string
  readonly node: LabHost
  readonly #manifests: ManifestDirectory
  readonly #record: LabRecord
  readonly #options: LabOptions
  readonly #processes = new Set<LabProcess>()
  readonly #agents: LabAgent[] = []
  #podCount = 0
  #serviceCount = 0

  constructor(record: LabRecord, options: LabOptions) {
    this.id = record.id
    this.dir = record.dir
    this.#record = record
    this.#options = options
    this.stateDir = join(this.dir, 'state')
    mkdirSync(this.stateDir)
    this.#manifests = new ManifestDirectory(join(this.dir, 'manifests'))
    const netns = `weir-${this.id}-node`
    const addresses = this.#addresses(1)
    createNode(netns, addresses)
    this.node = new LabHost(options.nodeName ?? 'node-1', netns, addresses, this.#own)
  }

  get manifestsDir(): string {
    return this.#manifests.path
  }

  /** Makes a pod: its namespace `weir-ID-NAMESPACE-NAME` and its manifest. */
  async addPod(spec: PodSpec): Promise<LabPod> {
    const number = ++this.#podCount + 1
    if (number > 254) throw new Error('The lab is full: 253 pods')
    const namespace = spec.namespace ?? 'default'
    const netns = `weir-${this.id}-${namespace}-${spec.name}`
    const addresses = this.#addresses(number)
    createPod(this.node.netns, netns, `pod${number}`, addresses, this.node)
    const uid = randomUUID()
    let current = spec
    const write = () => {
      const place = { uid, nodeName: this.node.name, netnsPath: netnsPath(netns), hostIp: this.node.ipv4 }
      return this.apply(renderPod(current, { ...place, addresses: pod.addresses }))
    }
    const rewrite = (changes: Partial<PodSpec>) => {
      current = { ...current, ...changes }
      write()
    }
    const remove = async () => {
      this.remove(fileName)
      removeNetns(netns)
    }
    const pod = new LabPod([spec.name, netns, addresses, this.#own], uid, namespace, rewrite, remove)
    const fileName = write()
    return pod
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

  /** Starts `weir agent` on the node; resolves when it is ready, fails with its output when it is not. */
  async startAgent(options: AgentOptions = {}): Promise<LabAgent> {
    const stateDir = options.stateDir ?? this.stateDir
    const agent = new LabAgent({ host: this.node, manifestsDir: this.manifestsDir, stateDir }, options)
    this.#agents.push(agent)
    if (options.waitReady ?? true) await agent.waitFor('ready', { timeoutMs: 20_000 })
    return agent
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

  readonly #own = (child: LabProcess): void => {
    this.#processes.add(child)
  }

  /** The lab's networks are made of its id, so that labs seldom share one; they may, being apart. */
  #addresses(number: number): { readonly ipv4: string; readonly ipv6: string | undefined } {
    const seed = Number.parseInt(this.id, 16)
    const ipv4 = `10.${100 + ((seed >> 8) % 100)}.${seed & 255}.${number}`
    const prefix = `fd57:${(seed >> 8).toString(16)}:${(256 + (seed & 255)).toString(16)}`
    return { ipv4, ipv6: this.#options.ipv6 === false ? undefined : `${prefix}::${number.toString(16)}` }
  }
}

export async function openLab(options: LabOptions = {}): Promise<Lab> {
  const dir = mkdtempSync(join(tmpdir(), 'weir-lab-'))
  // Unprivileged processes of the agent may pass through, as they may through /run.
  chmodSync(dir, 0o755)
  const record = () => ({
    id: randomBytes(3).toString('hex'),
    dir,
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
    return new Lab(mine, options)
  } catch (error) {
    removeLab(mine)
    unguard(mine)
    throw error
  }
}
