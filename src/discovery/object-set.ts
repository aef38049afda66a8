/**
 * The objects of a source as a list that changes in place, in no order, and what changed since that was last asked: so
 * that whoever follows it need not look at all of them for the sake of one.
 */
import type { KubernetesObject } from '#resources'

/** Told by identity: objects that did not change are the same values. */
export interface ObjectChange {
  readonly removed: readonly KubernetesObject[]
  readonly added: readonly KubernetesObject[]
}

export class ObjectSet {
  readonly #objects: KubernetesObject[] = []
  readonly #at = new Map<KubernetesObject, number>()
  #removed = new Set<KubernetesObject>()
  #added = new Set<KubernetesObject>()

  /** Always the same list: it is what the set is now. */
  get objects(): readonly KubernetesObject[] {
    return this.#objects
  }

  has(object: KubernetesObject): boolean {
    return this.#at.has(object)
  }

  add(object: KubernetesObject): void {
    if (this.#at.has(object)) return
    this.#at.set(object, this.#objects.length)
    this.#objects.push(object)
    if (!this.#removed.delete(object)) this.#added.add(object)
  }

  /** The last one takes its place. */
  remove(object: KubernetesObject): void {
    const at = this.#at.get(object)
    if (at === undefined) return
    this.#at.delete(object)
    const last = this.#objects.pop()
    if (last !== undefined && last !== object) {
      this.#objects[at] = last
      this.#at.set(last, at)
    }
    if (!this.#added.delete(object)) this.#removed.add(object)
  }

  /** What led here from where it was when this was last asked. */
  takeChange(): ObjectChange {
    const change = { removed: [...this.#removed], added: [...this.#added] }
    // A set that was large once stays so when it is emptied.
    this.#removed = new Set()
    this.#added = new Set()
    return change
  }
}
