/**
 * Messages between two agents, in order, both ways. Node has no events for sockets that carry packets, so it is asked
 * for them a hundred times a second, which costs some 0.1 ms each second and only where two agents run.
 */
import { errorLine, startInterval } from '#base'
import { closeFd, MAX_PACKET_BYTES, type Packet, receivePacket, sendPacket } from '#linux'
import { type HandOverMessage, parseMessage, renderMessage } from './messages.ts'

export interface ChannelListener {
  /** The descriptors are the listener's. */
  onMessage(message: HandOverMessage, fds: readonly number[]): void
  /** Once, unless it is closed here; `why` in words. */
  onClosed(why: string): void
}

const POLL_MS = 10
/** Per turn: a flood from the other side leaves time for the pods. */
const MAX_PACKETS = 64

export class HandOverChannel implements Disposable {
  readonly #fd: number
  readonly #listener: ChannelListener
  readonly #poller: Disposable
  readonly #waiting: { readonly payload: Buffer; readonly fds: readonly number[] }[] = []
  #closed = false

  /** @param fd connected; the channel's from now on */
  constructor(fd: number, listener: ChannelListener) {
    this.#fd = fd
    this.#listener = listener
    this.#poller = startInterval(POLL_MS, () => this.#poll())
  }

  /** The descriptors stay the caller's, who leaves them open until the other side has answered. */
  send(message: HandOverMessage, fds: readonly number[] = []): void {
    if (this.#closed) return
    this.#waiting.push({ payload: renderMessage(message), fds })
    this.#flush()
  }

  /** What was not sent yet is not sent. */
  [Symbol.dispose](): void {
    if (this.#closed) return
    this.#closed = true
    this.#poller[Symbol.dispose]()
    closeFd(this.#fd)
  }

  #flush(): void {
    try {
      for (let next = this.#waiting[0]; next !== undefined && !this.#closed; next = this.#waiting[0]) {
        if (!sendPacket(this.#fd, next.payload, next.fds)) return
        this.#waiting.shift()
      }
    } catch (thrown) {
      this.#fail(errorLine(thrown))
    }
  }

  #poll(): void {
    this.#flush()
    for (let taken = 0; taken < MAX_PACKETS && !this.#closed; taken++) {
      const packet = this.#receive()
      if (packet === undefined) return
      const message = packet.lostFds ? undefined : parseMessage(packet.payload, packet.fds.length)
      if (message === undefined) {
        for (const fd of packet.fds) closeFd(fd)
        this.#fail(packet.lostFds ? 'no file descriptor is left in this process' : 'it said what is no message')
      } else this.#listener.onMessage(message, packet.fds)
    }
  }

  #receive(): Packet | undefined {
    try {
      const packet = receivePacket(this.#fd, MAX_PACKET_BYTES)
      if (packet === 'empty') return undefined
      if (packet !== 'closed') return packet
      this.#fail('it ended')
    } catch (thrown) {
      this.#fail(errorLine(thrown))
    }
    return undefined
  }

  #fail(why: string): void {
    if (this.#closed) return
    this[Symbol.dispose]()
    this.#listener.onClosed(why)
  }
}
