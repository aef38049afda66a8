/** A compressed log file as blocks of bytes from some offset on, without holding more than a block of it. */
import { createReadStream } from 'node:fs'
import { createGunzip } from 'node:zlib'

export class GzipReader {
  readonly #chunks: AsyncIterator<Buffer>
  readonly #stop: () => void
  #skip: number
  #held: Buffer = Buffer.alloc(0)
  /** What is held comes again, with more. */
  #wantsMore = true

  /** @param fd closed with the reader @param from offset in what it holds, uncompressed */
  constructor(fd: number, from: number) {
    const packed = createReadStream('', { fd, start: 0, autoClose: true })
    const gunzip = createGunzip()
    // What is not whole ends here: what can be read of it has been.
    packed.on('error', () => gunzip.destroy())
    gunzip.on('error', () => packed.destroy())
    packed.pipe(gunzip)
    this.#chunks = gunzip[Symbol.asyncIterator]()
    this.#stop = () => {
      packed.destroy()
      gunzip.destroy()
    }
    this.#skip = from
  }

  /** Bytes from where `taken` left off; empty at the end. */
  async read(): Promise<Buffer> {
    while (this.#wantsMore) {
      const chunk = await this.#next()
      if (chunk === undefined) break
      const bytes = chunk.subarray(Math.min(this.#skip, chunk.length))
      this.#skip -= chunk.length - bytes.length
      if (bytes.length === 0) continue
      this.#held = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes])
      this.#wantsMore = false
    }
    return this.#held
  }

  /** The first so many bytes of what was read are done; none: more is needed to go on. */
  taken(bytes: number): void {
    this.#held = this.#held.subarray(bytes)
    this.#wantsMore = true
  }

  [Symbol.dispose](): void {
    this.#stop()
  }

  async #next(): Promise<Buffer | undefined> {
    try {
      const { done, value } = await this.#chunks.next()
      return done === true ? undefined : value
    } catch {
      return undefined
    }
  }
}
