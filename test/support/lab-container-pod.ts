/** A pod that containerd runs: what a kubelet asks for it, and the pod seen as a host of the lab. */
import { readFileSync, renameSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Containerd } from './lab-containerd.ts'
import type { ContainerConfig, MountPropagation, NamespaceOptions, SandboxConfig, SandboxStatus } from './lab-cri.ts'
import { LabHost } from './lab-host.ts'
import { APP_IMAGE, ECHO_SERVER_IN_APP } from './lab-image.ts'
import { type KubernetesObject, type PodSpec, renderPod } from './lab-manifests.ts'
import type { LabNode } from './lab-node.ts'
import type { ExecOptions, ExecResult, LabProcess, SpawnOptions } from './lab-process.ts'

/** A container's `securityContext`, in Kubernetes' words and with its defaults. */
export interface SecurityContext {
  readonly privileged?: boolean
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] }
  readonly runAsUser?: number
  readonly runAsGroup?: number
  readonly readOnlyRootFilesystem?: boolean
  /** True by default. */
  readonly allowPrivilegeEscalation?: boolean
  /** Unconfined by default, as with a kubelet that is given nothing. */
  readonly seccompProfile?: { readonly type: 'RuntimeDefault' | 'Unconfined' }
}

export interface HostMount {
  readonly hostPath: string
  readonly mountPath: string
  readonly readOnly?: boolean
  readonly mountPropagation?: 'None' | 'HostToContainer' | 'Bidirectional'
}

export interface ContainerPodSpec extends PodSpec {
  readonly uid?: string
  /** The app image by default. */
  readonly image?: string
  /** The entry point; by default the echo server on port 8080, whose answers bear the pod's name. */
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly mounts?: readonly HostMount[]
  readonly securityContext?: SecurityContext
  readonly hostPid?: boolean
  readonly dns?: { readonly servers: readonly string[]; readonly searches?: readonly string[] }
}

const PROPAGATION: Readonly<Record<NonNullable<HostMount['mountPropagation']>, MountPropagation>> = {
  None: 'PROPAGATION_PRIVATE',
  HostToContainer: 'PROPAGATION_HOST_TO_CONTAINER',
  Bidirectional: 'PROPAGATION_BIDIRECTIONAL',
}

/** What a kubelet hides from a container that is not privileged (`procMount: Default`). */
const MASKED_PATHS = [
  '/proc/asound',
  '/proc/acpi',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/firmware',
]
const READONLY_PATHS = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger']

/** Of a container without resource requests. */
const BEST_EFFORT_OOM_SCORE = 1000

const CONTAINER = 'app'
/** Below the pod's log directory: container and attempt. */
const LOG = `${CONTAINER}/0.log`

function namespaceOptions({ hostNetwork, hostPid }: ContainerPodSpec): NamespaceOptions {
  return { network: hostNetwork ? 'NODE' : 'POD', pid: hostPid ? 'NODE' : 'CONTAINER', ipc: 'POD' }
}

/** The Pod object as the API server has it before the pod is started: no address, no namespace yet. */
export function pendingPod(spec: IdentifiedSpec, node: LabNode): KubernetesObject {
  return renderPod(spec, { uid: spec.uid, nodeName: node.name, netnsPath: undefined, hostIps: [], addresses: [] })
}

export type IdentifiedSpec = ContainerPodSpec & { readonly uid: string }

/** @param cgroup name of the one that all pods of the node belong below. */
export function sandboxConfig(spec: IdentifiedSpec, node: LabNode, cgroup: string): SandboxConfig {
  const { name, uid, namespace = 'default' } = spec
  return {
    metadata: { name, uid, namespace, attempt: 0 },
    hostname: spec.hostNetwork === true ? '' : name,
    log_directory: `/var/log/pods/${namespace}_${name}_${uid}`,
    ...(spec.dns === undefined ? {} : { dns_config: spec.dns }),
    labels: {
      ...spec.labels,
      'io.kubernetes.pod.name': name,
      'io.kubernetes.pod.namespace': namespace,
      'io.kubernetes.pod.uid': uid,
    },
    annotations: pendingPod(spec, node).metadata['annotations'] as Readonly<Record<string, string>>,
    linux: {
      cgroup_parent: `/${cgroup}/besteffort/pod${uid}`,
      security_context: {
        namespace_options: namespaceOptions(spec),
        privileged: spec.securityContext?.privileged ?? false,
        seccomp: { profile_type: 'RuntimeDefault' },
      },
    },
  }
}

export function containerConfig(spec: IdentifiedSpec): ContainerConfig {
  const { name, uid, namespace = 'default', securityContext = {} } = spec
  const { privileged = false, capabilities = {}, runAsUser, runAsGroup } = securityContext
  const server = ['node', ECHO_SERVER_IN_APP, JSON.stringify({ port: 8080, name, host: '::' })]
  return {
    metadata: { name: CONTAINER, attempt: 0 },
    image: { image: spec.image ?? APP_IMAGE },
    command: spec.command ?? (spec.image === undefined ? server : []),
    args: spec.args ?? [],
    envs: Object.entries(spec.env ?? {}).map(([key, value]) => ({ key, value })),
    mounts: (spec.mounts ?? []).map(({ hostPath, mountPath, readOnly = false, mountPropagation = 'None' }) => ({
      container_path: mountPath,
      host_path: hostPath,
      readonly: readOnly,
      propagation: PROPAGATION[mountPropagation],
    })),
    labels: {
      'io.kubernetes.container.name': CONTAINER,
      'io.kubernetes.pod.name': name,
      'io.kubernetes.pod.namespace': namespace,
      'io.kubernetes.pod.uid': uid,
    },
    annotations: {},
    log_path: LOG,
    linux: {
      resources: { oom_score_adj: BEST_EFFORT_OOM_SCORE },
      security_context: {
        capabilities: { add_capabilities: capabilities.add ?? [], drop_capabilities: capabilities.drop ?? [] },
        privileged,
        namespace_options: namespaceOptions(spec),
        ...(runAsUser === undefined ? {} : { run_as_user: { value: runAsUser } }),
        ...(runAsGroup === undefined ? {} : { run_as_group: { value: runAsGroup } }),
        readonly_rootfs: securityContext.readOnlyRootFilesystem ?? false,
        no_new_privs: securityContext.allowPrivilegeEscalation === false,
        masked_paths: privileged ? [] : MASKED_PATHS,
        readonly_paths: privileged ? [] : READONLY_PATHS,
        seccomp: { profile_type: securityContext.seccompProfile?.type ?? 'Unconfined' },
      },
    },
  }
}

/** A pod that runs. Its commands (`exec`, `curl`, `echo`) are the machine's, run in the pod's network namespace. */
export class LabContainerPod extends LabHost implements AsyncDisposable {
  readonly spec: IdentifiedSpec
  /** Of the sandbox. */
  readonly id: string
  readonly containerId: string
  readonly #runtime: Containerd
  readonly #status: SandboxStatus
  readonly #sandbox: SandboxConfig

  constructor(runtime: Containerd, spec: IdentifiedSpec, id: string, containerId: string, status: SandboxStatus) {
    const [ipv4 = runtime.node.ipv4, ipv6 = runtime.node.ipv6] = status.addresses
    super(spec.name, basename(status.netnsPath ?? runtime.node.netns), { ipv4, ipv6 }, () => {})
    this.spec = spec
    this.id = id
    this.containerId = containerId
    this.#runtime = runtime
    this.#status = status
    this.#sandbox = sandboxConfig(spec, runtime.node, runtime.machine.cgroup)
  }

  get uid(): string {
    return this.spec.uid
  }

  /**
   * The Pod object, as the API server has it once the pod runs.
   * @param namesNetns whether it names the network namespace, as the runtime does; true by default. A cluster's do not.
   */
  manifest(changes: Partial<PodSpec> = {}, { namesNetns = true } = {}): KubernetesObject {
    const { node } = this.#runtime
    const { netnsPath, addresses } = this.#status
    return renderPod(
      { ...this.spec, ...changes },
      {
        uid: this.uid,
        nodeName: node.name,
        netnsPath: namesNetns ? netnsPath : undefined,
        hostIps: node.addresses,
        addresses,
      },
    )
  }

  override exec(command: string, args: readonly string[] = [], options: ExecOptions = {}): Promise<ExecResult> {
    return this.#runtime.machine.exec('nsenter', this.#enter(command, args), options)
  }

  override spawn(command: string, args: readonly string[] = [], options: SpawnOptions = {}): LabProcess {
    return this.#runtime.machine.spawn('nsenter', this.#enter(command, args), options)
  }

  /** Runs a program of the image in the container. */
  execInContainer(command: readonly string[], timeoutSeconds = 15): Promise<ExecResult> {
    return this.#runtime.cri.execSync(this.containerId, command, timeoutSeconds)
  }

  /** A request made by a program in the container; for images with Node. @returns the body of the answer. */
  async fetchInContainer(url: string): Promise<string> {
    const program = 'fetch(process.argv[1]).then((answer) => answer.text()).then((text) => process.stdout.write(text))'
    const { code, stdout, stderr } = await this.execInContainer(['node', '-e', program, '--', url])
    if (code !== 0) throw new Error(`${url} cannot be fetched in ${this.name}: ${stderr}`)
    return stdout
  }

  /** What the container printed so far, without the runtime's framing of lines. */
  logs(): string {
    const path = this.#runtime.machine.pathOf(join(this.#sandbox.log_directory, LOG))
    const lines = readFileSync(path, 'utf8').split('\n')
    // TIME STREAM TAG TEXT; the tag P tells that the line goes on.
    return lines
      .map((line) => /^\S+ \S+ (\S+) (.*)$/.exec(line))
      .map((match) => (match === null ? '' : `${match[2]}${match[1] === 'P' ? '' : '\n'}`))
      .join('')
  }

  /** As a kubelet rotates it: the file gets another name, and the runtime is told to begin a new one. */
  async rotateLog(): Promise<void> {
    const path = this.#runtime.machine.pathOf(join(this.#sandbox.log_directory, LOG))
    renameSync(path, `${path}.20261121-000000`)
    await this.#runtime.cri.reopenLog(this.containerId)
  }

  /** As a kubelet does once the pod is gone. */
  removeLogs(): void {
    rmSync(this.#runtime.machine.pathOf(this.#sandbox.log_directory), { recursive: true })
  }

  /** Resolves with the first line of the log that matches; fails with the whole log, at once when the container ends. */
  async waitForLog(pattern: RegExp, timeoutMs = 40_000): Promise<string> {
    const deadline = Date.now() + timeoutMs
    for (;;) {
      const { state, exit_code: code } = await this.#runtime.cri.containerStatus(this.containerId)
      const text = this.logs()
      const line = text.split('\n').find((candidate) => pattern.test(candidate))
      if (line !== undefined) return line
      const why = state === 'CONTAINER_EXITED' ? `it ended with ${code}` : `not within ${timeoutMs} ms`
      if (state === 'CONTAINER_EXITED' || Date.now() > deadline) {
        throw new Error(`The pod ${this.name} printed no line like ${pattern}, ${why}:\n${text}`)
      }
      await delay(10)
    }
  }

  /** SIGTERM to its container, SIGKILL after the grace period. @returns the exit code. */
  async stop(graceSeconds = 10): Promise<number> {
    await this.#runtime.cri.stopContainer(this.containerId, graceSeconds)
    const { exit_code: code } = await this.#runtime.cri.containerStatus(this.containerId)
    return code
  }

  /** Ends it, with its network namespace and all else. */
  remove(): Promise<void> {
    return this.#runtime.removePod(this.id, this.#sandbox.linux.cgroup_parent)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove()
  }

  #enter(command: string, args: readonly string[]): string[] {
    return this.#status.netnsPath === undefined
      ? ['--', command, ...args]
      : [`--net=${this.#status.netnsPath}`, '--', command, ...args]
  }
}
