/**
 * A map that snapshots share, in many small parts: a change copies those it touches, so that it costs the same in a large
 * map, and what an older snapshot holds on to is little. In no order.
 */

/** Entries of a part, about. A lookup in a part costs the same with more; its copy does not. */
const PART_ENTRIES = 32
/** So many times more or fewer entries in a part, and they are dealt anew. */
const SLACK = 4

type Part<V> = ReadonlyMap<string, V>

export class SharedMap<V> implements ReadonlyMap<string, V> {
  /** As many as a power of two. */
  readonly #parts: readonly Part<V>[]
  readonly #mask: number
  readonly size: number

  constructor(parts: readonly Part<V>[] = [new Map<string, V>()], size = 0) {
    this.#parts = parts
    this.#mask = parts.length - 1
    this.size = size
  }

  get(key: string): V | undefined {
    return this.#parts[partOf(key, this.#mask)]?.get(key)
  }

  has(key: string): boolean {
    return this.get(key) !== undefined
  }

  *entries(): MapIterator<[string, V]> {
    for (const part of this.#parts) yield* part
  }

  *keys(): MapIterator<string> {
    for (const part of this.#parts) yield* part.keys()
  }

  *values(): MapIterator<V> {
    for (const part of this.#parts) yield* part.values()
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries()
  }

  forEach(call: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this.entries()) call(value, key, this)
  }

  /** With these changes, `undefined` for what is taken away; no value may be undefined. */
  with(changes: ReadonlyMap<string, V | undefined>): SharedMap<V> {
    let size = this.size
    for (const [key, value] of changes) size += Number(value !== undefined) - Number(this.has(key))
    const parts = this.#parts.length
    const most = parts * PART_ENTRIES * SLACK
    const least = (parts * PART_ENTRIES) / SLACK
    if (size > most || (parts > 1 && size < least)) return this.#dealt(changes, size)
    const changed = [...this.#parts]
    const own = new Map<number, Map<string, V>>()
    for (const [key, value] of changes) {
      const at = partOf(key, this.#mask)
      let part = own.get(at)
      if (part === undefined) {
        part = new Map(changed[at])
        own.set(at, part)
        changed[at] = part
      }
      if (value === undefined) part.delete(key)
      else part.set(key, value)
    }
    return new SharedMap(changed, size)
  }

  #dealt(changes: ReadonlyMap<string, V | undefined>, size: number): SharedMap<V> {
    const count = 2 ** Math.ceil(Math.log2(Math.max(1, size / PART_ENTRIES)))
    const parts = Array.from({ length: count }, () => new Map<string, V>())
    const put = (key: string, value: V): void => void parts[partOf(key, count - 1)]?.set(key, value)
    for (const [key, value] of this.entries()) if (!changes.has(key)) put(key, value)
    for (const [key, value] of changes) if (value !== undefined) put(key, value)
    return new SharedMap(parts, size)
  }
}

/** FNV-1a, of the whole key: in many namespaces names are alike, and in one their beginnings. */
function partOf(key: string, mask: number): number {
  if (mask === 0) return 0
  let hash = 0x811c9dc5
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  return (hash ^ (hash >>> 15)) & mask
}
