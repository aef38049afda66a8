/**
 * The proxy's side of the socket broker: a small stock of unconnected, marked sockets per pod, kind and
 * family, so that a new upstream connection seldom waits for the agent. Asks for more before it runs out.
 */
import { closeSync } from 'node:fs'
import type { SocketKind } from '#contract'

/** Called with a descriptor, or -1 and a reason. */
export type SocketTaker = (fd: number, error: string) => void
export type SocketRequest = (uid: string, kind: SocketKind, family: 4 | 6, count: number) => void

const FIRST_BATCH = 4
const LARGEST_BATCH = 32

class Shelf {
  readonly fds: number[] = []
  readonly waiting: SocketTaker[] = []
  /** Sockets asked for and not yet delivered. */
  asked = 0
  batch = FIRST_BATCH
}

/** The stock of one pod. */
export class SocketStock {
  readonly #uid: string
  readonly #request: SocketRequest
  readonly #shelves = new Map<string, Shelf>()
  #closed = false

  constructor(uid: string, request: SocketRequest) {
    this.#uid = uid
    this.#request = request
  }

  /** Takes one socket; `taker` runs at once when there is one in stock. */
  take(kind: SocketKind, family: 4 | 6, taker: SocketTaker): void {
    if (this.#closed) {
      taker(-1, 'the pod is gone')
      return
    }
    const shelf = this.#shelf(kind, family)
    const fd = shelf.fds.pop()
    if (fd === undefined) shelf.waiting.push(taker)
    if (shelf.fds.length < shelf.batch / 2 && shelf.asked < shelf.waiting.length + shelf.batch / 2) {
      const count = Math.max(shelf.batch, Math.min(LARGEST_BATCH, shelf.waiting.length))
      shelf.asked += count
      this.#request(this.#uid, kind, family, count)
      if (fd === undefined && shelf.batch < LARGEST_BATCH) shelf.batch *= 2
    }
    if (fd !== undefined) taker(fd, '')
  }

  /** The broker's answer: `fds` for a request of `asked` sockets (empty with a reason when refused). */
  deliver(kind: SocketKind, family: 4 | 6, asked: number, fds: readonly number[], error: string): void {
    const shelf = this.#shelf(kind, family)
    shelf.asked = Math.max(0, shelf.asked - asked)
    for (const fd of fds) {
      const taker = shelf.waiting.shift()
      if (this.#closed) closeSync(fd)
      else if (taker !== undefined) taker(fd, '')
      else shelf.fds.push(fd)
    }
    if (fds.length > 0 && shelf.waiting.length > 0 && shelf.asked < shelf.waiting.length) {
      const count = Math.min(LARGEST_BATCH, shelf.waiting.length)
      shelf.asked += count
      this.#request(this.#uid, kind, family, count)
    }
    if (fds.length === 0) {
      for (const taker of shelf.waiting.splice(0)) taker(-1, error)
    }
  }

  #shelf(kind: SocketKind, family: 4 | 6): Shelf {
    const key = `${kind}${family}`
    let shelf = this.#shelves.get(key)
    if (shelf === undefined) {
      shelf = new Shelf()
      this.#shelves.set(key, shelf)
    }
    return shelf
  }

  close(): void {
    this.#closed = true
    for (const shelf of this.#shelves.values()) {
      for (const fd of shelf.fds.splice(0)) closeSync(fd)
      for (const taker of shelf.waiting.splice(0)) taker(-1, 'the pod is gone')
    }
  }
}
