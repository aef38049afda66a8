/** The client's side of a request that nobody waits for: what is written to it is thrown away. */
import type { ByteStream } from '#http'
import { NOBODY } from './tcp.ts'

export class NowhereStream implements ByteStream {
  owner = NOBODY
  closed = false
  readonly readEnded = false
  writeEnded = false
  readonly pendingWrites = 0
  reading = false
  readonly #onClosed: () => void

  constructor(onClosed: () => void) {
    this.#onClosed = onClosed
  }

  resume(): void {
    this.reading = true
  }

  pause(): void {
    this.reading = false
  }

  writeText(): boolean {
    return true
  }

  writeBytes(): boolean {
    return true
  }

  writeSlice(): boolean {
    return true
  }

  holdForEnd(): void {}
  checkPaused(): void {}

  end(): void {
    this.writeEnded = true
    this.close()
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.#onClosed()
    this.owner.onClose(0)
  }

  reset(): void {
    this.close()
  }
}
