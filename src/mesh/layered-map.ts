/**
 * A map that snapshots share: a large part that stays, and a small one with what changed since. A change copies the small
 * part only, and once in a while all of it, so that one change costs the same in a large map.
 */

const GONE = Symbol('gone')
type Layer<V> = Map<string, V | typeof GONE>

/** Changes kept apart before they are laid into the large part: as many as make the copies of both cost alike. */
function mostApart(size: number): number {
  return 32 + Math.floor(Math.sqrt(size))
}

export class LayeredMap<V> implements ReadonlyMap<string, V> {
  readonly #large: ReadonlyMap<string, V>
  readonly #small: ReadonlyMap<string, V | typeof GONE>
  readonly size: number

  constructor(
    large: ReadonlyMap<string, V> = new Map(),
    small: ReadonlyMap<string, V | typeof GONE> = new Map(),
    size = 0,
  ) {
    this.#large = large
    this.#small = small
    this.size = size
  }

  get(key: string): V | undefined {
    if (this.#small.size > 0) {
      const found = this.#small.get(key)
      if (found !== undefined) return found === GONE ? undefined : found
    }
    return this.#large.get(key)
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  *entries(): MapIterator<[string, V]> {
    for (const [key, value] of this.#large) if (!this.#small.has(key)) yield [key, value]
    for (const [key, value] of this.#small) if (value !== GONE) yield [key, value]
  }

  *keys(): MapIterator<string> {
    for (const [key] of this.entries()) yield key
  }

  *values(): MapIterator<V> {
    for (const [, value] of this.entries()) yield value
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries()
  }

  forEach(call: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this.entries()) call(value, key, this)
  }

  /** With these changes, `undefined` for what is taken away; no value may be undefined. */
  with(changes: ReadonlyMap<string, V | undefined>): LayeredMap<V> {
    let size = this.size
    for (const [key, value] of changes) size += Number(value !== undefined) - Number(this.has(key))
    if (this.#small.size + changes.size > mostApart(this.#large.size))
      return new LayeredMap(this.#merged(changes), new Map(), size)
    const small: Layer<V> = new Map(this.#small)
    for (const [key, value] of changes) {
      if (value !== undefined) small.set(key, value)
      else if (this.#large.has(key)) small.set(key, GONE)
      else small.delete(key)
    }
    return new LayeredMap(this.#large, small, size)
  }

  #merged(changes: ReadonlyMap<string, V | undefined>): Map<string, V> {
    const merged = new Map(this.#large)
    const lay = (key: string, value: V | undefined | typeof GONE): void => {
      if (value === undefined || value === GONE) merged.delete(key)
      else merged.set(key, value)
    }
    for (const [key, value] of this.#small) lay(key, value)
    for (const [key, value] of changes) lay(key, value)
    return merged
  }
}
