/** Asks a container runtime over CRI which sandboxes pods have and where their network namespaces are. */
import { join } from 'node:path'
import { Client, credentials, logVerbosity, type ServiceError, setLogVerbosity } from '@grpc/grpc-js'
import { loadSync, type ServiceDefinition } from '@grpc/proto-loader'
import type { CriQuestion, CriSandbox } from './cri-messages.ts'
import { parseSandboxInfo } from './sandbox-info.ts'

interface ListedSandbox {
  readonly id: string
  readonly metadata: { readonly name: string; readonly uid: string; readonly namespace: string } | null
  readonly state: string
  /** Nanoseconds, as text. */
  readonly created_at: string
}

interface SandboxStatus {
  readonly status: {
    readonly network: { readonly ip: string; readonly additional_ips: readonly { readonly ip: string }[] } | null
  } | null
  readonly info: Readonly<Record<string, string>>
}

const MAX_ANSWER_BYTES = 16 << 20
/** Calls for one sandbox each, side by side. */
const PARALLEL = 8

export function loadCriService(): ServiceDefinition {
  const definitions = loadSync(join(import.meta.dirname, 'cri.proto'), {
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
    arrays: true,
    objects: true,
  })
  // The file beside this one defines it.
  return definitions['runtime.v1.RuntimeService'] as ServiceDefinition
}

/** @throws the runtime's error. A sandbox that ends meanwhile is left out. */
export async function findSandboxes({ socket, uids, timeoutMs }: CriQuestion): Promise<readonly CriSandbox[]> {
  // What matters of its errors is told by ours.
  setLogVerbosity(logVerbosity.NONE)
  const service = loadCriService()
  const client = new Client(`unix:${socket}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': MAX_ANSWER_BYTES,
    'grpc.enable_retries': 0,
  })
  const deadline = Date.now() + timeoutMs
  const call = <Request extends object, Answer>(name: string, request: Request): Promise<Answer> => {
    const method = service[name]
    if (method === undefined) return Promise.reject(new Error(`cri.proto has no ${name}`))
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    const done = (error: ServiceError | null, answer: Answer | undefined) =>
      error === null && answer !== undefined ? resolve(answer) : reject(error ?? new Error(`${name}: empty answer`))
    const decode = (bytes: Buffer) => method.responseDeserialize(bytes) as Answer
    client.makeUnaryRequest(method.path, method.requestSerialize, decode, request, { deadline }, done)
    return promise
  }
  try {
    const filter = { state: { state: 'SANDBOX_READY' } }
    const { items } = await call<object, { readonly items: readonly ListedSandbox[] }>('ListPodSandbox', { filter })
    const wanted = latestOfEach(items, new Set(uids))
    const found: (CriSandbox | undefined)[] = []
    for (let i = 0; i < wanted.length; i += PARALLEL) {
      const some = wanted.slice(i, i + PARALLEL).map((sandbox) => inspect(sandbox, call))
      found.push(...(await Promise.all(some)))
    }
    return found.filter((sandbox) => sandbox !== undefined)
  } finally {
    client.close()
  }
}

/** A pod whose sandbox was made anew may still have its old ones listed. */
function latestOfEach(items: readonly ListedSandbox[], uids: ReadonlySet<string>): readonly ListedSandbox[] {
  const latest = new Map<string, ListedSandbox>()
  for (const item of items) {
    const { metadata, state } = item
    if (metadata === null || state !== 'SANDBOX_READY' || !uids.has(metadata.uid)) continue
    const other = latest.get(metadata.uid)
    if (other === undefined || BigInt(item.created_at) > BigInt(other.created_at)) latest.set(metadata.uid, item)
  }
  return [...latest.values()]
}

async function inspect(
  { id, metadata }: ListedSandbox,
  call: (name: string, request: object) => Promise<SandboxStatus>,
): Promise<CriSandbox | undefined> {
  if (metadata === null) return undefined
  let answer: SandboxStatus
  try {
    answer = await call('PodSandboxStatus', { pod_sandbox_id: id, verbose: true })
  } catch {
    return undefined
  }
  const { ip = '', additional_ips: more = [] } = answer.status?.network ?? {}
  const addresses = [ip, ...more.map((entry) => entry.ip)].filter((text) => text !== '')
  const { uid, namespace, name } = metadata
  return { uid, namespace, name, ...parseSandboxInfo(answer.info['info']), addresses }
}
