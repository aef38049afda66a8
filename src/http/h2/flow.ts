/**
 * Flow control (RFC 9113 section 5.2), the sending side: who waits for the connection's window or for
 * the transport, served in turn, one frame each.
 */
import { MAX_WINDOW_BYTES } from './frames.ts'

/** What a stream needs to wait in a ring. */
export interface Waiting<T> {
  waiting: boolean
  nextWaiting: T | undefined
  previousWaiting: T | undefined
}

export class WaitingRing<T extends Waiting<T>> {
  first: T | undefined
  #last: T | undefined

  add(item: T): void {
    if (item.waiting) return
    item.waiting = true
    item.previousWaiting = this.#last
    item.nextWaiting = undefined
    if (this.#last === undefined) this.first = item
    else this.#last.nextWaiting = item
    this.#last = item
  }

  remove(item: T): void {
    if (!item.waiting) return
    item.waiting = false
    if (item.previousWaiting === undefined) this.first = item.nextWaiting
    else item.previousWaiting.nextWaiting = item.nextWaiting
    if (item.nextWaiting === undefined) this.#last = item.previousWaiting
    else item.nextWaiting.previousWaiting = item.previousWaiting
    item.nextWaiting = undefined
    item.previousWaiting = undefined
  }

  /** The first goes to the end. */
  rotate(): void {
    const item = this.first
    if (item === undefined || item === this.#last) return
    this.remove(item)
    this.add(item)
  }
}

/** A window after an update; undefined when it would overflow (RFC 9113 section 6.9.1). Windows may be negative (6.9.2). */
export function grownWindow(window: number, increment: number): number | undefined {
  const grown = window + increment
  return grown > MAX_WINDOW_BYTES ? undefined : grown
}
