/**
 * Pods that another agent handed over, until they are enrolled here. Their sockets go on listening meanwhile; what
 * connects waits. A namespace stays open with them, so that its identity cannot become another's.
 */
import { closeFd, netnsIdentity } from '#linux'
import { closeListeners, type HeldListener } from '../broker/listeners.ts'

export interface HandedPod {
  readonly uid: string
  /** `namespace/name`. */
  readonly workload: string
  readonly netnsFd: number
  readonly listeners: readonly HeldListener[]
}

export class HandedPods implements Disposable {
  /** By identity of the namespace. */
  readonly #pods = new Map<string, HandedPod>()

  /** Sockets and namespace are its own from now on. */
  add(pod: HandedPod): void {
    const identity = netnsIdentity(pod.netnsFd)
    this.#close(identity)
    this.#pods.set(identity, pod)
  }

  get size(): number {
    return this.#pods.size
  }

  /** The listeners of that namespace, the caller's from now on; empty when none were handed over. */
  take(identity: string): readonly HeldListener[] {
    const pod = this.#pods.get(identity)
    if (pod === undefined) return []
    this.#pods.delete(identity)
    closeFd(pod.netnsFd)
    return pod.listeners
  }

  /** Pods that are not wanted any more stop listening. */
  keep(uids: ReadonlySet<string>): void {
    for (const [identity, { uid }] of this.#pods) if (!uids.has(uid)) this.#close(identity)
  }

  [Symbol.dispose](): void {
    for (const identity of [...this.#pods.keys()]) this.#close(identity)
  }

  #close(identity: string): void {
    const pod = this.#pods.get(identity)
    if (pod === undefined) return
    this.#pods.delete(identity)
    closeListeners(pod.listeners)
    closeFd(pod.netnsFd)
  }
}
