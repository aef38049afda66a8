/** Messages in a gRPC stream, counted as its bytes pass ("gRPC over HTTP2", Length-Prefixed-Message). */

/** A flag and the length of the message. */
const PREFIX_BYTES = 5

export class GrpcMessages {
  /** Begun so far, whole or not. */
  count = 0
  /** Bytes of a prefix seen, 0 to 4. */
  #prefix = 0
  #length = 0
  /** Bytes of the present message that are yet to come. */
  #left = 0

  feed(bytes: Uint8Array, start: number, end: number): void {
    let at = start
    while (at < end) {
      if (this.#left > 0) {
        const skipped = Math.min(this.#left, end - at)
        this.#left -= skipped
        at += skipped
        continue
      }
      // The length is unsigned, most significant byte first; the flag before it does not matter.
      this.#length = this.#prefix === 0 ? 0 : this.#length * 256 + (bytes[at] ?? 0)
      this.#prefix++
      at++
      if (this.#prefix < PREFIX_BYTES) continue
      this.#prefix = 0
      this.#left = this.#length
      this.count++
    }
  }
}
