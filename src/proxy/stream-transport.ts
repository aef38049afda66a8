/** Carries the bytes of an HTTP/2 session over a byte stream: a TCP connection, or a stream in a tunnel. */
import type { ByteStream, Http2Transport } from '#http'

let due: (() => void)[] = []

/** Sessions write when all that this turn of the event loop reads has been served: many frames, one write. */
function flushDue(): void {
  const flushes = due
  due = []
  for (let i = 0; i < flushes.length; i++) (flushes[i] as () => void)()
}

export class StreamTransport implements Http2Transport {
  readonly #stream: ByteStream

  constructor(stream: ByteStream) {
    this.#stream = stream
  }

  write(bytes: Buffer): boolean {
    return this.#stream.writeBytes(bytes)
  }

  end(): void {
    this.#stream.end()
  }

  destroy(): void {
    this.#stream.close()
  }

  schedule(flush: () => void): void {
    if (due.push(flush) === 1) setImmediate(flushDue)
  }
}
