/**
 * Joins the data of one read into one chunk: a sender's chunk borders mean nothing (RFC 9112 section 7.1), and a chunk
 * per byte would cost a write per byte. One scratch for all: from `clear` to `chunk` nothing else may run.
 */
const HEADROOM = 16
let scratch = Buffer.allocUnsafeSlow(HEADROOM + 65_536 + 2)

export class ChunkGather {
  /** Data bytes gathered. */
  length = 0

  clear(): void {
    this.length = 0
  }

  add(bytes: Buffer, start: number, end: number): void {
    const needed = HEADROOM + this.length + (end - start) + 2
    if (needed > scratch.length) {
      const larger = Buffer.allocUnsafeSlow(needed * 2)
      scratch.copy(larger, 0, 0, HEADROOM + this.length)
      scratch = larger
    }
    bytes.copy(scratch, HEADROOM + this.length, start, end)
    this.length += end - start
  }

  /** The chunk with its framing, valid until the next `add`; undefined when there is no data. Clears. */
  chunk(): Buffer | undefined {
    const { length } = this
    if (length === 0) return undefined
    this.length = 0
    const size = `${length.toString(16)}\r\n`
    const start = HEADROOM - size.length
    scratch.write(size, start, 'latin1')
    scratch[HEADROOM + length] = 13
    scratch[HEADROOM + length + 1] = 10
    return scratch.subarray(start, HEADROOM + length + 2)
  }
}
