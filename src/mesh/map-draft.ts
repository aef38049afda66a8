/**
 * One change in the making to a map that snapshots share: the map is copied at the first write,
 * and not at all when a change does not touch it.
 */
export class MapDraft<V> {
  #map: ReadonlyMap<string, V>
  #own: Map<string, V> | undefined

  constructor(base: ReadonlyMap<string, V>) {
    this.#map = base
    this.#own = undefined
  }

  get(key: string): V | undefined {
    return this.#map.get(key)
  }

  set(key: string, value: V): void {
    this.#writable().set(key, value)
  }

  delete(key: string): void {
    if (this.#map.has(key)) this.#writable().delete(key)
  }

  /** The map as it is now; the draft must not be written to afterwards. */
  done(): ReadonlyMap<string, V> {
    return this.#map
  }

  #writable(): Map<string, V> {
    if (this.#own === undefined) {
      this.#own = new Map(this.#map)
      this.#map = this.#own
    }
    return this.#own
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
