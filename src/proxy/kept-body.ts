/**
 * What was read of a request's body, kept in one piece while it may be sent again. Who sends it byte by byte pays no less for
 * that than it costs here: pieces kept each by itself would take a hundred times their bytes.
 */

/** More than this is not kept. */
const MAX_KEPT_BYTES = 65536
const LEAST_GROWN_BYTES = 1024
const EMPTY: Buffer = Buffer.alloc(0)

export class KeptBody {
  length = 0
  #room = EMPTY

  /** A copy; false when it is too much to be kept. */
  add(bytes: Buffer, start: number, end: number): boolean {
    const length = this.length + end - start
    if (length > MAX_KEPT_BYTES) return false
    if (length > this.#room.length) this.#grow(length)
    bytes.copy(this.#room, this.length, start, end)
    this.length = length
    return true
  }

  /** Most bodies come in one piece: the first takes no more than it needs. */
  #grow(length: number): void {
    const size = this.length === 0 ? length : Math.max(length, LEAST_GROWN_BYTES, this.#room.length * 2)
    const larger = Buffer.allocUnsafe(Math.min(MAX_KEPT_BYTES, size))
    this.#room.copy(larger, 0, 0, this.length)
    this.#room = larger
  }

  /** Instead of what was kept before; not copied. False as for `add`. */
  replace(bytes: Buffer): boolean {
    this.#room = bytes
    this.length = bytes.length
    return bytes.length <= MAX_KEPT_BYTES
  }

  /** All of it; what is added later is behind it. */
  bytes(): Buffer {
    return this.#room.subarray(0, this.length)
  }

  clear(): void {
    this.#room = EMPTY
    this.length = 0
  }
}
