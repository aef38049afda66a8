/**
 * What the network plugins told of this node's pods: namespace, addresses, identity. It reaches the mesh before any
 * watch event does. Kept on disk for the next agent; forgotten at DEL, at GC, and when the pod is gone.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ObjectChange } from '#discovery'
import { canonicalAddress, type KubernetesObject, type PodObject } from '#resources'
import { LaidSet } from './laid-set.ts'
import { isPodOf, layOver, type OverlayOptions, type PodAttachment, podKey } from './overlay.ts'
import {
  type AttachmentKey,
  asRecord,
  type CniAttachment,
  type PodRef,
  parseRecord,
  parseRequest,
} from './plugin-side.ts'

interface Held {
  readonly attachment: PodAttachment
  /** Of the runtime's words; absent for what was looked up. */
  readonly told?: CniAttachment
  /** Fetched before the watch showed it. Without one, a pod that the watch does not show is gone. */
  readonly early?: PodObject | undefined
  release?(): void
}

export class Attachments implements Disposable {
  readonly #dir: string
  readonly #options: OverlayOptions
  /** By namespace and name: of two pods of one name the later told one is alive. */
  readonly #held = new Map<string, Held>()
  readonly #followed: LaidSet
  #writes = true

  constructor(stateDir: string, options: OverlayOptions) {
    this.#dir = join(stateDir, 'attachments')
    this.#options = options
    this.#followed = new LaidSet(options)
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 })
    this.#load()
  }

  /** The files are another agent's for now: it writes them, and knows better what is in them. */
  leaveFiles(): void {
    this.#writes = false
  }

  /** The files are this agent's again: what was told meanwhile is read. */
  takeFiles(): void {
    this.#writes = true
    this.#load()
  }

  get(pod: PodRef): PodAttachment | undefined {
    const held = this.#held.get(podKey(pod))
    return held !== undefined && isPodOf(held.attachment, pod.uid) ? held.attachment : undefined
  }

  /** @param shown the pod's object is among those that `layOver` was given last */
  add(told: CniAttachment, pod: PodObject, shown: boolean): void {
    const key = podKey(told.pod)
    const before = this.#held.get(key)
    // A further interface of the same sandbox: the mesh is on the first one.
    if (before?.told?.containerId === told.containerId && before.told.ifName !== told.ifName) return
    // The API's own, which a pod that the kubelet read from a file does not have at the runtime.
    const uid = pod.metadata.uid || told.pod.uid
    const attachment = toAttachment(told, uid)
    this.#forget(key)
    this.#held.set(key, { attachment, told, early: shown ? undefined : pod })
    this.#write(key, told, uid)
  }

  /** What a lookup found for a pod that nobody told of; `release` is called when it is not needed any more. */
  adopt(pod: PodRef, found: { readonly netns: string; readonly addresses: readonly string[]; release(): void }): void {
    const key = podKey(pod)
    const held = this.#held.get(key)
    // What the plugin told is newer, also of another pod of this name: the question is older than the answer.
    if (held !== undefined && !held.attachment.ended && (held.told !== undefined || held.attachment.uid === pod.uid)) {
      found.release()
      return
    }
    this.#forget(key)
    const { netns, release } = found
    const attachment = { ...pod, netns, addresses: canonical(found.addresses), ended: false }
    this.#held.set(key, { attachment, release })
  }

  /** The sandbox ends. @returns its pod, if it was the pod's last sandbox */
  end({ containerId, ifName }: AttachmentKey): PodRef | undefined {
    for (const [key, held] of this.#held) {
      if (held.told?.containerId !== containerId || held.told.ifName !== ifName) continue
      this.#end(key, held)
      return held.attachment
    }
    return undefined
  }

  /**
   * Ends those of a network that the runtime does not name among the valid ones. Only where their namespace is gone
   * too: a list that is wrong must not take a living pod out of the mesh.
   */
  endAllBut(network: string, valid: readonly AttachmentKey[]): readonly PodRef[] {
    const ended: PodRef[] = []
    for (const [key, held] of this.#held) {
      const { told } = held
      if (told === undefined || told.network !== network || held.attachment.ended) continue
      if (valid.some(({ containerId, ifName }) => containerId === told.containerId && ifName === told.ifName)) continue
      if (exists(told.netns)) continue
      this.#end(key, held)
      ended.push(held.attachment)
    }
    return ended
  }

  /**
   * The objects as the mesh is to see them; what the watch has come to know is forgotten here.
   * @param whole false while some may be missing that are not gone
   */
  layOver(objects: readonly KubernetesObject[], whole = true): readonly KubernetesObject[] {
    const { attachments, early } = this.#applying(objects, whole)
    return layOver(objects, attachments, early, this.#options)
  }

  /**
   * The same, of a source that tells what changed. Either this or `layOver` is called, from the first set on.
   * @param objects as they are after `change`
   */
  follow(
    objects: readonly KubernetesObject[],
    change: ObjectChange,
    whole = true,
  ): { readonly objects: readonly KubernetesObject[]; readonly change: ObjectChange } {
    return this.#followed.follow(objects, change, (near) => {
      const { attachments, early } = this.#applying(near, whole)
      const laid = layOver(near, attachments, early, this.#options)
      return { laid, early: new Set(early.map((pod) => podKey(pod.metadata))) }
    })
  }

  /** What is held, after what `objects` show. */
  #applying(objects: readonly KubernetesObject[], whole: boolean) {
    const shown = new Map<string, PodObject>()
    for (const object of this.#held.size === 0 ? [] : objects) {
      // Those of other nodes are many, and none that is held is theirs.
      if (object.kind !== 'Pod' || (object.spec.nodeName || this.#options.node) !== this.#options.node) continue
      shown.set(podKey(object.metadata), object)
    }
    for (const [key, held] of this.#held) {
      const isShown = isPodOf(held.attachment, shown.get(key)?.metadata.uid) && shown.has(key)
      if (isShown) this.#held.set(key, { ...held, early: undefined })
      else if (whole && held.early === undefined) this.#forget(key)
    }
    const held = [...this.#held.values()]
    const early = held.flatMap(({ early: pod }) => (pod === undefined ? [] : [pod]))
    return { attachments: new Map(held.map(({ attachment }) => [podKey(attachment), attachment])), early }
  }

  [Symbol.dispose](): void {
    for (const { release } of this.#held.values()) release?.()
    this.#held.clear()
  }

  #end(key: string, held: Held): void {
    this.#forget(key)
    // Until the watch knows, the pod must not count as alive, nor its address as taken.
    if (held.early === undefined) this.#held.set(key, { attachment: { ...held.attachment, ended: true } })
  }

  #forget(key: string): void {
    this.#held.get(key)?.release?.()
    this.#held.delete(key)
    if (this.#writes) rmSync(this.#pathOf(key), { force: true })
  }

  #write(key: string, told: CniAttachment, uid: string | undefined): void {
    if (!this.#writes) return
    const path = this.#pathOf(key)
    const pod = uid === undefined ? told.pod : { ...told.pod, uid }
    writeFileSync(`${path}.new`, JSON.stringify({ ...told, pod }), { mode: 0o600 })
    renameSync(`${path}.new`, path)
  }

  #load(): void {
    for (const name of readdirSync(this.#dir)) {
      const path = join(this.#dir, name)
      const told = name.endsWith('.json') ? readTold(path) : undefined
      if (told === undefined || !exists(told.netns)) {
        rmSync(path, { force: true })
        continue
      }
      const key = podKey(told.pod)
      if (this.#held.get(key)?.told?.containerId === told.containerId) continue
      this.#held.get(key)?.release?.()
      this.#held.set(key, { attachment: toAttachment(told, told.pod.uid), told })
    }
  }

  #pathOf(key: string): string {
    return join(this.#dir, `${createHash('sha256').update(key).digest('hex')}.json`)
  }
}

function toAttachment({ pod, netns, addresses }: CniAttachment, uid: string | undefined): PodAttachment {
  const { namespace, name } = pod
  return {
    namespace,
    name,
    ...(uid === undefined ? {} : { uid }),
    netns,
    addresses: canonical(addresses),
    ended: false,
  }
}

function canonical(addresses: readonly string[]): readonly string[] {
  return [...new Set(addresses.flatMap((text) => canonicalAddress(text) ?? []))]
}

/** A record is what ADD said; it is read as carefully. */
function readTold(path: string): CniAttachment | undefined {
  try {
    const attachment = asRecord(parseRecord(readFileSync(path, 'utf8')))
    const parsed = parseRequest(JSON.stringify({ command: 'ADD', attachment }))
    return parsed.kind === 'request' && parsed.request.command === 'ADD' ? parsed.request.attachment : undefined
  } catch {
    return undefined
  }
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined
}
