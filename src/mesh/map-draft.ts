/** One change in the making to a map that snapshots share; a map that the change does not touch stays the same value. */
import type { SharedMap } from './shared-map.ts'

export class MapDraft<V> {
  readonly #base: SharedMap<V>
  readonly #changes = new Map<string, V | undefined>()

  constructor(base: SharedMap<V>) {
    this.#base = base
  }

  get(key: string): V | undefined {
    return this.#changes.has(key) ? this.#changes.get(key) : this.#base.get(key)
  }

  set(key: string, value: V): void {
    this.#changes.set(key, value)
  }

  delete(key: string): void {
    if (this.get(key) !== undefined) this.#changes.set(key, undefined)
  }

  /** The map as it is now. */
  done(): SharedMap<V> {
    return this.#changes.size === 0 ? this.#base : this.#base.with(this.#changes)
  }
}

/** Puts `value` after the last for which `before(other, value)` is true: the list stays sorted. */
export function insertInto<V>(
  draft: MapDraft<readonly V[]>,
  key: string,
  value: V,
  before: (other: V, value: V) => boolean,
): void {
  const list = draft.get(key)
  if (list === undefined) {
    draft.set(key, [value])
    return
  }
  let at = list.length
  for (; at > 0; at -= 1) {
    const other = list[at - 1]
    if (other !== undefined && before(other, value)) break
  }
  draft.set(key, [...list.slice(0, at), value, ...list.slice(at)])
}

/** Takes `value` (by identity) out of the list at `key`; an emptied list is dropped. */
export function removeFrom<V>(draft: MapDraft<readonly V[]>, key: string, value: V): void {
  const list = draft.get(key)
  if (list === undefined) return
  const rest = list.filter((other) => other !== value)
  if (rest.length === list.length) return
  if (rest.length === 0) draft.delete(key)
  else draft.set(key, rest)
}
