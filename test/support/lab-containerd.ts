/**
 * Debian's containerd and runc on a node of a lab, with the bridge plugin on the node's bridge, and pods made as a
 * kubelet makes them. All of it lives in a machine of its own (lab-machine.ts); what the node gets is one bridge port
 * per pod. `await using runtime = await Containerd.start(lab.node)`; `const pod = await runtime.runPod({ name: 'web' })`.
 */
import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type AgentOptions, LabAgent } from './lab-agent.ts'
import { removeCgroups } from './lab-cgroups.ts'
import { type ContainerPodSpec, containerConfig, LabContainerPod, sandboxConfig } from './lab-container-pod.ts'
import { CriClient } from './lab-cri.ts'
import { appImage, archiveOf, PAUSE_IMAGE, pauseImage } from './lab-image.ts'
import { LabMachine } from './lab-machine.ts'
import type { LabNode } from './lab-node.ts'
import type { LabProcess } from './lab-process.ts'

const SOCKET = '/run/containerd/containerd.sock'
const CNI_BIN_DIR = '/opt/cni/bin'
export const CNI_CONF_DIR = '/etc/cni/net.d'
/** Debian's containernetworking-plugins. */
const DEBIAN_CNI_DIR = '/usr/lib/cni'
/** A runtime class whose pods have the bridge alone, whatever else is chained for all others: to compare with. */
export const BRIDGE_ONLY = 'bridge-only'
const BRIDGE_ONLY_DIR = '/etc/cni/bridge-only.d'
const START_TIMEOUT_MS = 15_000

/**
 * - root on a tmpfs, as overlayfs cannot lie over the overlay that a machine's /var is;
 * - restrict_oom_score_adj: a kubelet asks for -998 for the sandbox, which a container host without CAP_SYS_RESOURCE
 *   (this may run in one) refuses; then it is raised to what the host has itself;
 * - cgroups by the file system, not by systemd, of which there is none;
 * - snapshotters that need devices or file systems of their own are not even looked for.
 */
const CONFIG = `version = 2
root = "/run/lab/containerd"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
address = "${SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "${PAUSE_IMAGE}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.${BRIDGE_ONLY}]
runtime_type = "io.containerd.runc.v2"
cni_conf_dir = "${BRIDGE_ONLY_DIR}"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "${CNI_BIN_DIR}"
conf_dir = "${CNI_CONF_DIR}"
`

export interface CniConflist {
  readonly cniVersion: string
  readonly name: string
  readonly plugins: readonly Readonly<Record<string, unknown>>[]
}

/** The bridge of the node, with the upper half of its pods' addresses; the lower half is for pods without containers. */
export function bridgeConflist(node: LabNode): CniConflist {
  const { ipv4, ipv6 } = node
  const { ipv4: subnet, ipv6: subnet6 } = node.podNetwork
  const range = {
    subnet,
    gateway: ipv4,
    rangeStart: ipv4.replace(/\.1$/, '.128'),
    rangeEnd: ipv4.replace(/\.1$/, '.254'),
  }
  const ranges =
    ipv6 === undefined
      ? [[range]]
      : [[range], [{ subnet: subnet6, gateway: ipv6, rangeStart: ipv6.replace(/1$/, '1000') }]]
  const routes = [{ dst: '0.0.0.0/0' }, ...(ipv6 === undefined ? [] : [{ dst: '::/0' }])]
  return {
    cniVersion: '1.0.0',
    name: 'lab',
    plugins: [
      {
        type: 'bridge',
        bridge: 'br0',
        isGateway: true,
        ipam: { type: 'host-local', ranges, routes, dataDir: '/run/cni' },
      },
    ],
  }
}

export interface ContainerdOptions {
  /** The bridge alone by default. */
  readonly cni?: CniConflist
  /** Further OCI archives to import, e.g. of Weir's own image. */
  readonly archives?: readonly string[]
  /** The test that uses it: when it has failed, what agents, containers and containerd had to say is shown. */
  readonly t?: { passing(): boolean; teardown(show: () => void): void }
}

export class Containerd implements AsyncDisposable {
  readonly node: LabNode
  readonly machine: LabMachine
  readonly cri: CriClient
  readonly #t: ContainerdOptions['t']
  readonly #agents: LabAgent[] = []
  readonly #pods = new Map<string, LabContainerPod>()
  #daemon: LabProcess

  private constructor(
    node: LabNode,
    machine: LabMachine,
    daemon: LabProcess,
    cri: CriClient,
    t: ContainerdOptions['t'],
  ) {
    this.node = node
    this.machine = machine
    this.cri = cri
    this.#daemon = daemon
    this.#t = t
  }

  static async start(node: LabNode, options: ContainerdOptions = {}): Promise<Containerd> {
    const machine = await LabMachine.boot(node)
    try {
      const path = (name: string) => machine.pathOf(name)
      for (const dir of [CNI_BIN_DIR, CNI_CONF_DIR, BRIDGE_ONLY_DIR, '/etc/containerd']) {
        mkdirSync(path(dir), { recursive: true })
      }
      for (const plugin of ['bridge', 'host-local', 'loopback']) {
        symlinkSync(join(DEBIAN_CNI_DIR, plugin), join(path(CNI_BIN_DIR), plugin))
      }
      writeFileSync(path('/etc/containerd/config.toml'), CONFIG)
      const bridge = bridgeConflist(node)
      writeFileSync(path(`${CNI_CONF_DIR}/10-lab.conflist`), JSON.stringify(options.cni ?? bridge, null, 2))
      writeFileSync(path(`${BRIDGE_ONLY_DIR}/10-lab.conflist`), JSON.stringify(bridge, null, 2))
      const daemon = machine.spawn('containerd', [])
      const cri = new CriClient(path(SOCKET))
      const runtime = new Containerd(node, machine, daemon, cri, options.t)
      await runtime.#answers()
      for (const archive of [archiveOf(pauseImage()), archiveOf(appImage()), ...(options.archives ?? [])]) {
        await runtime.importImage(archive)
      }
      return runtime
    } catch (error) {
      await machine.halt()
      throw error
    }
  }

  /** Where the network plugins' configuration lies, seen from outside. */
  get cniConfDir(): string {
    return this.machine.pathOf(CNI_CONF_DIR)
  }

  get cniBinDir(): string {
    return this.machine.pathOf(CNI_BIN_DIR)
  }

  /** Loads every image of an OCI archive. @returns their names. */
  async importImage(archive: string): Promise<readonly string[]> {
    const { code, stdout, stderr } = await this.machine.exec('ctr', ['-n', 'k8s.io', 'images', 'import', archive], {
      timeoutMs: 60_000,
    })
    if (code !== 0) throw new Error(`ctr cannot import ${archive}: ${stderr}`)
    const names = [...stdout.matchAll(/^unpacking (\S+) \(/gm)].map(([, name = '']) => name)
    // CRI learns of images by events.
    for (const name of names) while (!(await this.cri.hasImage(name))) await delay(5)
    return names
  }

  /** Starts a pod of one container; resolves when that runs, fails with the runtime's words and leaves nothing then. */
  async runPod(spec: ContainerPodSpec): Promise<LabContainerPod> {
    const identified = { ...spec, uid: spec.uid ?? randomUUID() }
    const sandbox = sandboxConfig(identified, this.node, this.machine.cgroup)
    mkdirSync(this.machine.pathOf(sandbox.log_directory), { recursive: true })
    const id = await this.cri.runPodSandbox(sandbox)
    try {
      const containerId = await this.cri.createContainer(id, containerConfig(identified), sandbox)
      await this.cri.startContainer(containerId)
      const pod = new LabContainerPod(this, identified, id, containerId, await this.cri.podSandboxStatus(id))
      this.#pods.set(id, pod)
      return pod
    } catch (error) {
      await this.removePod(id, sandbox.linux.cgroup_parent)
      throw error
    }
  }

  /** @param id of its sandbox. @param cgroup its path; a pod's own cgroup, unlike those in it, is the kubelet's to remove. */
  async removePod(id: string, cgroup: string): Promise<void> {
    await this.cri.stopPodSandbox(id)
    await this.cri.removePodSandbox(id)
    this.#pods.delete(id)
    removeCgroups(cgroup.slice(1))
  }

  /** Starts `weir agent` in the machine as a process; resolves when it is ready. */
  async startAgent(manifestsDir: string, options: AgentOptions = {}): Promise<LabAgent> {
    const stateDir = options.stateDir ?? this.node.stateDir
    const agent = new LabAgent({ host: this.machine, manifestsDir, stateDir }, options)
    this.#agents.push(agent)
    if (options.waitReady ?? true) await agent.waitFor('ready', { timeoutMs: 20_000 })
    return agent
  }

  /** Ends containerd, not the containers, and starts it again. */
  async restart(): Promise<void> {
    await this.#daemon.stop()
    this.#daemon = this.machine.spawn('containerd', [])
    await this.#answers()
  }

  /** What containerd printed. */
  get log(): string {
    return this.#daemon.output()
  }

  /** Names of the pods' network namespaces. */
  get networkNamespaces(): readonly string[] {
    return readdirSync(this.machine.pathOf('/run/netns'))
  }

  async close(): Promise<void> {
    const account = this.#account()
    // What a test throws counts as its failure only after the test has let go of us.
    this.#t?.teardown(() => {
      if (this.#t?.passing() === false) process.stderr.write(account)
    })
    this.cri[Symbol.dispose]()
    await this.machine.halt()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** What agents and containers printed, and what went wrong in containerd. */
  #account(): string {
    const agents = this.#agents.map((agent) => agent.process.output())
    const pods = [...this.#pods.values()].map((pod) => `--- container of ${pod.name}\n${pod.logs()}---`)
    const complaints = this.log.split('\n').filter((line) => /level=(warning|error|fatal)/.test(line))
    return `${[...agents, ...pods, '--- containerd', ...complaints, '---'].join('\n')}\n`
  }

  async #answers(): Promise<void> {
    const failed = this.#daemon.exited.then((code) => {
      throw new Error(`containerd ended with ${code}\n${this.log}`)
    })
    await Promise.race([this.cri.ready(START_TIMEOUT_MS), failed])
    const problem = await this.cri.networkProblem()
    if (problem !== undefined) throw new Error(`The network of pods is not ready: ${problem}\n${this.log}`)
  }
}
