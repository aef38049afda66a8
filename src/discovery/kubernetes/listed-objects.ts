/** Objects under their keys as a list, in no order: a change of one touches one place of it, or two. */
import type { KubernetesObject } from '#resources'

export class ListedObjects {
  readonly #objects: KubernetesObject[] = []
  readonly #keys: string[] = []
  readonly #at = new Map<string, number>()

  get objects(): readonly KubernetesObject[] {
    return this.#objects
  }

  put(key: string, object: KubernetesObject): void {
    const at = this.#at.get(key) ?? this.#objects.length
    this.#objects[at] = object
    this.#keys[at] = key
    this.#at.set(key, at)
  }

  /** The last one takes its place. */
  remove(key: string): void {
    const at = this.#at.get(key)
    if (at === undefined) return
    this.#at.delete(key)
    const [object, last] = [this.#objects.pop(), this.#keys.pop()]
    if (object === undefined || last === undefined || last === key) return
    this.#objects[at] = object
    this.#keys[at] = last
    this.#at.set(last, at)
  }
}
