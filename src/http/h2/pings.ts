/** Our PINGs that are still to be answered. */
import { putUint32 } from './frames.ts'

const MARK = 0x77656972

export class Pings {
  readonly #waiting: { readonly serial: number; readonly done: (alive: boolean) => void }[] = []
  #serial = 0

  /** What the next PING carries. */
  add(done: (alive: boolean) => void): Buffer {
    const bytes = Buffer.allocUnsafe(8)
    putUint32(bytes, 0, MARK)
    putUint32(bytes, 4, ++this.#serial)
    this.#waiting.push({ serial: this.#serial, done })
    return bytes
  }

  /** What an answer carried; one to nothing we asked is no matter. */
  answered(mark: number, serial: number): void {
    const index = mark === MARK ? this.#waiting.findIndex((ping) => ping.serial === serial) : -1
    if (index >= 0) this.#waiting.splice(index, 1)[0]?.done(true)
  }

  /** No answer will come. */
  abandon(): void {
    for (const ping of this.#waiting.splice(0)) ping.done(false)
  }
}
