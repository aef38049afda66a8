/**
 * The index on disk: what the agent knew last about who is opted in on this node. The plugin asks it only while the
 * agent is away. A pod that it does not know follows its namespace; without an index nobody counts as opted in: it lies
 * beside the network configuration and outlives reboots, so that it is missing only where no agent has ever run, and
 * there refusing would stop every pod of a node whose mesh has never existed.
 */
import { asRecord, type PodRef, parseRecord } from './protocol.ts'

export interface PodIndex {
  /** Opted-in ones. */
  readonly namespaces: readonly string[]
  /** Of this node: all that are opted in, and those that are not although their namespace is. */
  readonly pods: readonly IndexedPod[]
}

export interface IndexedPod extends PodRef {
  readonly optedIn: boolean
}

const FORMAT = 1

/** Names in order, so that equal knowledge gives equal text. */
export function renderPodIndex({ namespaces, pods }: PodIndex): string {
  const key = (pod: IndexedPod) => `${pod.namespace}/${pod.name}/${pod.uid ?? ''}`
  const sorted = [...pods].sort((a, b) => (key(a) < key(b) ? -1 : 1))
  return `${JSON.stringify({ format: FORMAT, namespaces: [...namespaces].sort(), pods: sorted })}\n`
}

/** Undefined for anything that is not an index of this format. */
export function parsePodIndex(text: string): PodIndex | undefined {
  const { format, namespaces, pods } = parseRecord(text) ?? {}
  if (format !== FORMAT || !Array.isArray(namespaces) || !Array.isArray(pods)) return undefined
  if (!namespaces.every((name) => typeof name === 'string')) return undefined
  const read = pods.map(readPod)
  return read.every((pod) => pod !== undefined) ? { namespaces, pods: read } : undefined
}

/** What the index says of a pod. A pod of the same name but another uid is another pod. */
export function isIndexedAsOptedIn(index: PodIndex | undefined, pod: PodRef): boolean {
  if (index === undefined) return false
  const known = index.pods.find(
    ({ namespace, name, uid }) =>
      namespace === pod.namespace &&
      name === pod.name &&
      (uid === undefined || pod.uid === undefined || uid === pod.uid),
  )
  return known?.optedIn ?? index.namespaces.includes(pod.namespace)
}

function readPod(value: unknown): IndexedPod | undefined {
  const { namespace, name, uid, optedIn } = asRecord(value) ?? {}
  if (typeof namespace !== 'string' || typeof name !== 'string' || typeof optedIn !== 'boolean') return undefined
  if (uid !== undefined && typeof uid !== 'string') return undefined
  return { namespace, name, optedIn, ...(uid === undefined ? {} : { uid }) }
}
