/**
 * Connections of one listener of the admin API: those for which the agent waits give way, the one that has said nothing for
 * longest first, when there are many. Nobody keeps probes out by opening connections, or by not reading what was asked for.
 */
import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** A browser has half a dozen, and there may be some of them. */
const MAX_WAITED_FOR = 128
/** For an answer to be read; Prometheus waits for ten seconds. */
const READ_MS = 15_000

export class Connections {
  /** In the order in which they fell silent. */
  readonly #waitedFor = new Set<Duplex>()
  readonly #asking = new WeakSet<Duplex>()

  opened(socket: Duplex): void {
    socket.once('close', () => this.#waitedFor.delete(socket))
    this.#waitFor(socket)
  }

  /** False: it has asked already, and has not read the answer. What is sent ahead of that could be thousands of requests. */
  asks(socket: Duplex, response?: ServerResponse): boolean {
    if (this.#asking.has(socket)) return false
    this.#waitedFor.delete(socket)
    this.#asking.add(socket)
    response?.once('close', () => this.#asking.delete(socket))
    return true
  }

  /** All that it asked for is on its way. */
  answered(socket: Duplex, response: ServerResponse): void {
    if (socket.destroyed) return
    this.#waitFor(socket)
    if (response.closed) return
    const late = setTimeout(() => socket.destroy(), READ_MS)
    response.once('close', () => clearTimeout(late))
  }

  #waitFor(socket: Duplex): void {
    this.#waitedFor.add(socket)
    if (this.#waitedFor.size <= MAX_WAITED_FOR) return
    const [longest] = this.#waitedFor
    longest?.destroy()
  }
}
