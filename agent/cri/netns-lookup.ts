/**
 * Network namespaces of pods that were there before the CNI plugin: asked of the container runtime, and for those it does
 * not tell, or cannot be asked about, found by way of their processes.
 */
import { statSync } from 'node:fs'
import { isConfigHash } from '../cni/overlay.ts'
import { askRuntime } from './ask-runtime.ts'
import type { CriAnswer, CriQuestion, CriSandbox } from './cri-messages.ts'
import { findNetnsInProc, type HeldNetns, holdNetns, namespaceOf } from './proc-netns.ts'

export interface LookedUpPod {
  readonly uid: string
  readonly namespace: string
  readonly name: string
}

export interface FoundNetns {
  /** Good in this process until released. */
  readonly netns: string
  /** As the runtime tells them; empty where it was not the one to tell. */
  readonly addresses: readonly string[]
  release(): void
}

export interface NetnsLookup {
  /** By uid; pods that have no namespace (yet) are missing. Never fails. */
  find(pods: readonly LookedUpPod[]): Promise<Map<string, FoundNetns>>
}

export interface NetnsLookupOptions {
  /** Sockets of container runtimes; the first that exists is asked. */
  readonly criSockets?: readonly string[]
  /** One line. */
  onWarning(line: string): void
  readonly procDir?: string
  readonly timeoutMs?: number
  readonly ask?: (question: CriQuestion) => Promise<CriAnswer>
}

export const CRI_SOCKETS_DEFAULT: readonly string[] = ['/run/containerd/containerd.sock', '/run/crio/crio.sock']
const TIMEOUT_MS = 5_000

export function createNetnsLookup(options: NetnsLookupOptions): NetnsLookup {
  const { procDir = '/proc', timeoutMs = TIMEOUT_MS, ask = askRuntime } = options
  const sockets = options.criSockets ?? CRI_SOCKETS_DEFAULT
  return {
    find: async (pods) => {
      const found = new Map<string, FoundNetns>()
      if (pods.length === 0) return found
      const uids = pods.map(({ uid }) => uid)
      const socket = sockets.find((path) => statSync(path, { throwIfNoEntry: false })?.isSocket() === true)
      const answer = socket === undefined ? undefined : await ask({ socket, uids, timeoutMs })
      if (answer?.kind === 'failure')
        options.onWarning(`Container runtime at ${socket}: ${answer.why}; looking in ${procDir}`)
      const addresses = new Map<string, readonly string[]>()
      if (answer?.kind === 'sandboxes') {
        for (const sandbox of answer.sandboxes) {
          // A uid may come from an annotation, and so from anybody: only the pod's own sandbox is the pod's.
          if (!pods.some((pod) => isOf(sandbox, pod))) continue
          addresses.set(sandbox.uid, sandbox.addresses)
          const netns = netnsOf(sandbox, procDir)
          if (netns !== undefined) found.set(sandbox.uid, { ...netns, addresses: sandbox.addresses })
        }
      }
      // A process tells only a uid, which must be the API server's own word then.
      const missing = uids.filter((uid) => !found.has(uid) && !isConfigHash(uid))
      for (const [uid, { path, release }] of missing.length === 0 ? [] : findNetnsInProc(missing, procDir)) {
        found.set(uid, { netns: path, addresses: addresses.get(uid) ?? [], release })
      }
      return found
    },
  }
}

function isOf(sandbox: CriSandbox, { uid, namespace, name }: LookedUpPod): boolean {
  return sandbox.uid === uid && sandbox.namespace === namespace && sandbox.name === name
}

/** The runtime's path where it leads to a namespace from here too, else the one of the sandbox's process. */
function netnsOf({ netns, pid, uid }: CriSandbox, procDir: string): Omit<FoundNetns, 'addresses'> | undefined {
  const own = namespaceOf(`${procDir}/self/ns/net`)
  if (netns !== undefined) {
    const at = namespaceOf(netns)
    if (at !== undefined) return at === own ? undefined : { netns, release: () => undefined }
  }
  const held: HeldNetns | undefined = pid === undefined ? undefined : holdNetns(procDir, pid, uid, own)
  return held === undefined ? undefined : { netns: held.path, release: held.release }
}
