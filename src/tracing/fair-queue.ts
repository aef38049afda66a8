/**
 * A bounded queue that many sources share: they are served in turns, and where there is no room who has most of it gives
 * way, the oldest first (as flows in RFC 8290 section 4.1). None can crowd out what others have to tell.
 */

export interface FairQueueBounds {
  readonly maxItems: number
  /** Of all items together, as they were added. */
  readonly maxCharacters: number
}

interface Node<T> {
  readonly item: T
  readonly characters: number
  next: Node<T> | undefined
}

/** What waits of one of them; never empty. */
class Source<T> {
  items = 1
  characters: number
  #first: Node<T>
  #last: Node<T>

  constructor(node: Node<T>) {
    this.characters = node.characters
    this.#first = node
    this.#last = node
  }

  push(node: Node<T>): void {
    this.items++
    this.characters += node.characters
    this.#last.next = node
    this.#last = node
  }

  shift(): Node<T> {
    const node = this.#first
    this.items--
    this.characters -= node.characters
    if (node.next !== undefined) this.#first = node.next
    return node
  }
}

export class FairQueue<T> {
  readonly #bounds: FairQueueBounds
  /** Who is next to be served first. */
  readonly #sources = new Map<string, Source<T>>()
  #items = 0
  #characters = 0

  constructor(bounds: FairQueueBounds) {
    this.#bounds = bounds
  }

  get length(): number {
    return this.#items
  }

  /** @returns how many items gave way; it may be among them itself */
  add(of: string, item: T, characters: number): number {
    const node: Node<T> = { item, characters, next: undefined }
    const source = this.#sources.get(of)
    if (source === undefined) this.#sources.set(of, new Source(node))
    else source.push(node)
    this.#items++
    this.#characters += characters
    let dropped = 0
    for (; this.#items > this.#bounds.maxItems; dropped++) this.#shift(this.#greatest('items', of))
    for (; this.#characters > this.#bounds.maxCharacters; dropped++) this.#shift(this.#greatest('characters', of))
    return dropped
  }

  /** At most so many, one of each source in turn. */
  take(count: number): T[] {
    const taken: T[] = []
    for (const [of, source] of this.#sources) {
      if (taken.length >= count) break
      // At the end of those that the loop has still to come to.
      this.#sources.delete(of)
      this.#sources.set(of, source)
      taken.push(this.#shift(of))
    }
    return taken
  }

  #shift(of: string): T {
    const source = this.#sources.get(of)
    if (source === undefined) throw new Error(`Nothing waits of ${of}`)
    const { item, characters } = source.shift()
    if (source.items === 0) this.#sources.delete(of)
    this.#items--
    this.#characters -= characters
    return item
  }

  /** @param likely has just been given more: who has more than its share need not be compared with all others */
  #greatest(measure: 'items' | 'characters', likely: string): string {
    const total = measure === 'items' ? this.#items : this.#characters
    let greatest = likely
    let most = this.#sources.get(likely)?.[measure] ?? -1
    if (most * this.#sources.size > total) return likely
    for (const [of, source] of this.#sources) {
      if (source[measure] <= most) continue
      most = source[measure]
      greatest = of
    }
    return greatest
  }
}
