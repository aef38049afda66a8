/** The Container Runtime Interface as a kubelet speaks it, over a runtime's socket; its messages in cri.proto. */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Client, credentials, type ServiceError } from '@grpc/grpc-js'
import { loadSync, type ServiceDefinition } from '@grpc/proto-loader'

export interface SandboxConfig {
  readonly metadata: {
    readonly name: string
    readonly uid: string
    readonly namespace: string
    readonly attempt: number
  }
  readonly hostname: string
  readonly log_directory: string
  readonly dns_config?: { readonly servers: readonly string[]; readonly searches?: readonly string[] }
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly linux: {
    readonly cgroup_parent: string
    readonly security_context: {
      readonly namespace_options: NamespaceOptions
      readonly privileged?: boolean
      readonly seccomp?: SecurityProfile
    }
    readonly sysctls?: Readonly<Record<string, string>>
  }
}

export type NamespaceMode = 'POD' | 'CONTAINER' | 'NODE'

export interface NamespaceOptions {
  readonly network: NamespaceMode
  readonly pid: NamespaceMode
  readonly ipc: NamespaceMode
}

export interface SecurityProfile {
  readonly profile_type: 'RuntimeDefault' | 'Unconfined'
}

export type MountPropagation = 'PROPAGATION_PRIVATE' | 'PROPAGATION_HOST_TO_CONTAINER' | 'PROPAGATION_BIDIRECTIONAL'

export interface ContainerConfig {
  readonly metadata: { readonly name: string; readonly attempt: number }
  readonly image: { readonly image: string }
  readonly command: readonly string[]
  readonly args: readonly string[]
  readonly envs: readonly { readonly key: string; readonly value: string }[]
  readonly mounts: readonly {
    readonly container_path: string
    readonly host_path: string
    readonly readonly: boolean
    readonly propagation: MountPropagation
  }[]
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
  readonly log_path: string
  readonly linux: {
    readonly resources: { readonly oom_score_adj: number }
    readonly security_context: {
      readonly capabilities: {
        readonly add_capabilities: readonly string[]
        readonly drop_capabilities: readonly string[]
      }
      readonly privileged: boolean
      readonly namespace_options: NamespaceOptions
      readonly run_as_user?: { readonly value: number }
      readonly run_as_group?: { readonly value: number }
      readonly readonly_rootfs: boolean
      readonly no_new_privs: boolean
      readonly masked_paths: readonly string[]
      readonly readonly_paths: readonly string[]
      readonly seccomp: SecurityProfile
    }
  }
}

export interface SandboxStatus {
  readonly state: 'SANDBOX_READY' | 'SANDBOX_NOTREADY'
  /** Empty for a pod of the host's network. */
  readonly addresses: readonly string[]
  /** Undefined for a pod of the host's network. */
  readonly netnsPath: string | undefined
  /** Of the sandbox's own process; 0 when it has ended. */
  readonly pid: number
}

export interface ContainerStatus {
  readonly state: 'CONTAINER_CREATED' | 'CONTAINER_RUNNING' | 'CONTAINER_EXITED' | 'CONTAINER_UNKNOWN'
  readonly exit_code: number
  readonly reason: string
  readonly message: string
}

const DEADLINE_MS = 60_000

function loadServices(): { readonly runtime: ServiceDefinition; readonly image: ServiceDefinition } {
  const definitions = loadSync(join(import.meta.dirname, 'cri.proto'), {
    keepCase: true,
    longs: Number,
    enums: String,
    defaults: true,
  })
  // The file beside this one defines both.
  return {
    runtime: definitions['runtime.v1.RuntimeService'] as ServiceDefinition,
    image: definitions['runtime.v1.ImageService'] as ServiceDefinition,
  }
}

/** Each call fails with an Error whose message is the runtime's own. */
export class CriClient implements Disposable {
  readonly #client: Client
  readonly #services = loadServices()

  constructor(socketPath: string) {
    const options = {
      // grpc-js would make one of the path, which containerd cannot parse.
      'grpc.default_authority': 'localhost',
      'grpc.max_receive_message_length': 16 << 20,
      // A runtime that is starting listens within milliseconds.
      'grpc.initial_reconnect_backoff_ms': 20,
      'grpc.max_reconnect_backoff_ms': 200,
    }
    this.#client = new Client(`unix:${socketPath}`, credentials.createInsecure(), options)
  }

  /** Resolves once the runtime answers. */
  async ready(timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#client.waitForReady(Date.now() + timeoutMs, (error) => (error ? reject(error) : resolve()))
    })
    const deadline = Date.now() + timeoutMs
    // It listens a little before its services are there.
    while (!(await this.#isInitialized(Date.now() >= deadline))) await delay(20)
  }

  /** @throws what Version fails with for another reason, or for the `last` time. */
  async #isInitialized(last: boolean): Promise<boolean> {
    try {
      await this.#runtime('Version', {})
      return true
    } catch (error) {
      if (last || !String(error).includes('not initialized yet')) throw error
      return false
    }
  }

  /** What the runtime says of its network: undefined when it is ready, else why not. */
  async networkProblem(): Promise<string | undefined> {
    const { status } = await this.#runtime<{
      status: { conditions: { type: string; status: boolean; message: string }[] }
    }>('Status', {})
    const condition = status.conditions.find(({ type }) => type === 'NetworkReady')
    return condition?.status === true ? undefined : (condition?.message ?? 'It does not say')
  }

  /** Types of the plugins that the default runtime class calls, in order; containerd's own, of what it loaded last. */
  async networkPlugins(): Promise<readonly string[]> {
    const { info } = await this.#runtime<{ info: { cniconfig: string } }>('Status', { verbose: true })
    const { Networks: networks } = JSON.parse(info.cniconfig) as {
      Networks: { Config: { Name: string; Plugins: { Network: { type: string } }[] } }[]
    }
    return networks.at(-1)?.Config.Plugins.map(({ Network: { type } }) => type) ?? []
  }

  /** @param runtimeClass as the runtime's configuration names it; the default one without. */
  async runPodSandbox(config: SandboxConfig, runtimeClass = ''): Promise<string> {
    const request = { config, runtime_handler: runtimeClass }
    const { pod_sandbox_id: id } = await this.#runtime<{ pod_sandbox_id: string }>('RunPodSandbox', request)
    return id
  }

  async stopPodSandbox(id: string): Promise<void> {
    await this.#runtime('StopPodSandbox', { pod_sandbox_id: id })
  }

  async removePodSandbox(id: string): Promise<void> {
    await this.#runtime('RemovePodSandbox', { pod_sandbox_id: id })
  }

  /** Ids of all sandboxes, those of a failed start too. */
  async listPodSandboxes(): Promise<readonly string[]> {
    const { items } = await this.#runtime<{ items?: readonly { readonly id: string }[] }>('ListPodSandbox', {})
    return (items ?? []).map(({ id }) => id)
  }

  async podSandboxStatus(id: string): Promise<SandboxStatus> {
    const { status, info } = await this.#runtime<{
      status: {
        state: SandboxStatus['state']
        network: { ip: string; additional_ips?: { ip: string }[] } | null
      }
      info?: { info?: string }
    }>('PodSandboxStatus', { pod_sandbox_id: id, verbose: true })
    const first = status.network?.ip ?? ''
    const addresses = first === '' ? [] : [first, ...(status.network?.additional_ips ?? []).map(({ ip }) => ip)]
    // containerd's own: the OCI specification that the sandbox was made by.
    const { pid = 0, runtimeSpec } = JSON.parse(info?.info ?? '{}') as {
      pid?: number
      runtimeSpec?: { linux?: { namespaces?: { type: string; path?: string }[] } }
    }
    const netns = runtimeSpec?.linux?.namespaces?.find(({ type }) => type === 'network')
    return { state: status.state, addresses, netnsPath: netns?.path, pid }
  }

  async createContainer(sandboxId: string, config: ContainerConfig, sandbox: SandboxConfig): Promise<string> {
    const request = { pod_sandbox_id: sandboxId, config, sandbox_config: sandbox }
    const { container_id: id } = await this.#runtime<{ container_id: string }>('CreateContainer', request)
    return id
  }

  async startContainer(id: string): Promise<void> {
    await this.#runtime('StartContainer', { container_id: id })
  }

  /** SIGTERM, and SIGKILL after the grace period. */
  async stopContainer(id: string, graceSeconds: number): Promise<void> {
    await this.#runtime('StopContainer', { container_id: id, timeout: graceSeconds })
  }

  /** It goes on in a new file, where the old one was. */
  async reopenLog(id: string): Promise<void> {
    await this.#runtime('ReopenContainerLog', { container_id: id })
  }

  async containerStatus(id: string): Promise<ContainerStatus> {
    const { status } = await this.#runtime<{ status: ContainerStatus }>('ContainerStatus', { container_id: id })
    return status
  }

  async execSync(
    id: string,
    command: readonly string[],
    timeoutSeconds: number,
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }> {
    const request = { container_id: id, cmd: command, timeout: timeoutSeconds }
    const answer = await this.#runtime<{ stdout: Buffer; stderr: Buffer; exit_code: number }>('ExecSync', request)
    return { code: answer.exit_code, stdout: String(answer.stdout), stderr: String(answer.stderr) }
  }

  async hasImage(name: string): Promise<boolean> {
    const request = { image: { image: name } }
    const { image } = await this.#call<{ image: object | null }>(this.#services.image, 'ImageStatus', request)
    return image !== null
  }

  [Symbol.dispose](): void {
    this.#client.close()
  }

  #runtime<Answer>(method: string, request: object): Promise<Answer> {
    return this.#call<Answer>(this.#services.runtime, method, request)
  }

  #call<Answer>(service: ServiceDefinition, method: string, request: object): Promise<Answer> {
    const definition = service[method]
    if (definition === undefined) throw new Error(`cri.proto has no method ${method}`)
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    this.#client.makeUnaryRequest(
      definition.path,
      definition.requestSerialize,
      (bytes) => definition.responseDeserialize(bytes) as Answer,
      request,
      { deadline: Date.now() + DEADLINE_MS },
      (error: ServiceError | null, answer?: Answer) => {
        if (error) reject(new Error(`${method}: ${error.details}`, { cause: error }))
        else if (answer === undefined) reject(new Error(`${method}: no answer`))
        else resolve(answer)
      },
    )
    return promise
  }
}
