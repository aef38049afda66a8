/** A CONNECT that was sent and not yet answered. */
import type { ByteStream, H2Stream, StreamOwner } from '#http'

/** Called with a stream whose owner is still to be set, or undefined, a negative libuv error and words. */
export type Opened = (status: number, stream: ByteStream | undefined, error: string) => void

const UV_ECONNREFUSED = -111
const UV_ECONNRESET = -104
const UV_ETIMEDOUT = -110
/** Of the reason that the other end gives. */
const MAX_REASON_CHARACTERS = 200

export class Opening implements StreamOwner {
  readonly since: number
  readonly #stream: H2Stream
  readonly #done: Opened
  #over = false

  constructor(stream: H2Stream, since: number, done: Opened) {
    this.#stream = stream
    this.since = since
    this.#done = done
    stream.owner = this
  }

  onHeaders(headers: readonly string[]): void {
    const status = headers[0] === ':status' ? Number(headers[1]) : 0
    if (this.#over || (status >= 100 && status < 200)) return
    if (status === 200) {
      this.#finish(0, this.#stream, '')
      return
    }
    const at = headers.indexOf('x-weir-reason')
    const reason = at < 0 ? '' : `: ${(headers[at + 1] ?? '').slice(0, MAX_REASON_CHARACTERS)}`
    this.#finish(UV_ECONNREFUSED, undefined, `the tunnel's other end answered ${status}${reason}`)
    this.#stream.close()
  }

  /** It was not answered in time. */
  expire(): void {
    this.#finish(UV_ETIMEDOUT, undefined, "the tunnel's other end did not answer in time")
    this.#stream.close()
  }

  onData(): void {}
  onEnd(): void {}
  onDrain(): void {}

  onClose(status: number): void {
    this.#finish(status === 0 ? UV_ECONNRESET : status, undefined, 'the tunnel refused the connection')
  }

  #finish(status: number, stream: ByteStream | undefined, error: string): void {
    if (this.#over) return
    this.#over = true
    this.#done(status, stream, error)
  }
}
