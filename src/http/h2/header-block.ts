/** A header block that comes in several frames (RFC 9113 section 4.3), bounded in bytes and in frames. */

const EMPTY = Buffer.alloc(0)

export class HeaderBlock {
  /** The fragments so far: [0, length). */
  bytes: Buffer = EMPTY
  length = 0
  readonly #maxBytes: number
  /** HEADERS and CONTINUATION frames still allowed. */
  #framesLeft = 0
  readonly #maxFrames: number

  constructor(maxBytes: number, maxContinuations: number) {
    this.#maxBytes = maxBytes
    this.#maxFrames = maxContinuations + 1
  }

  begin(): void {
    this.length = 0
    this.#framesLeft = this.#maxFrames
  }

  /** False: too large, or cut into too many frames. */
  add(bytes: Buffer, start: number, end: number): boolean {
    const length = this.length + end - start
    if (length > this.#maxBytes || --this.#framesLeft < 0) return false
    if (this.bytes.length < length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(this.#maxBytes, Math.max(length * 2, 1024)))
      this.bytes.copy(larger, 0, 0, this.length)
      this.bytes = larger
    }
    bytes.copy(this.bytes, this.length, start, end)
    this.length = length
    return true
  }

  release(): void {
    this.bytes = EMPTY
    this.length = 0
  }
}
