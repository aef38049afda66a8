/**
 * Messages to one proxy, in order, some with descriptors that must be in the channel before the message that
 * names their ticket. A proxy that reads slowly makes messages wait here, up to a bound, never the agent.
 */
import type { AgentToProxy } from '#contract'
import { closeFd, duplicateFd, sendFds } from '#linux'

export interface OutboxPort {
  /** The agent's end of the descriptor channel. */
  readonly channel: number
  sendMessage(message: AgentToProxy): void
  /** The channel is broken: the proxy is to be replaced. */
  onBroken(thrown: unknown): void
}

interface Parcel {
  readonly message: AgentToProxy
  readonly ticket: number
  readonly fds: readonly number[]
  readonly closeAfter: boolean
}

const RETRY_MS = 5
/** Parcels waiting beyond which `isBehind` says so. */
const MAX_WAITING = 256

export class Outbox implements Disposable {
  readonly #port: OutboxPort
  readonly #waiting: Parcel[] = []
  #ticket = 0
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(port: OutboxPort) {
    this.#port = port
  }

  get isBehind(): boolean {
    return this.#waiting.length >= MAX_WAITING
  }

  send(message: AgentToProxy): void {
    this.#push({ message, ticket: 0, fds: [], closeAfter: false })
  }

  /** @param closeAfter the descriptors are the outbox's: closed when handed over, or when that can no longer happen */
  sendWithFds(makeMessage: (ticket: number) => AgentToProxy, fds: readonly number[], closeAfter: boolean): void {
    this.#ticket += 1
    this.#push({ message: makeMessage(this.#ticket), ticket: this.#ticket, fds, closeAfter })
  }

  [Symbol.dispose](): void {
    this.#closed = true
    clearTimeout(this.#timer)
    for (const parcel of this.#waiting.splice(0)) release(parcel)
  }

  #push(parcel: Parcel): void {
    if (this.#closed) {
      release(parcel)
      return
    }
    this.#waiting.push(parcel)
    if (this.#waiting.length === 1) this.#flush()
    if (this.#waiting.at(-1) === parcel && !parcel.closeAfter) this.#own(parcel)
  }

  /** What has to wait waits as a copy: its owner may close the original, and the number may come to mean another file. */
  #own(parcel: Parcel): void {
    this.#waiting.pop()
    this.#waiting.push({ ...parcel, fds: parcel.fds.map(duplicateFd), closeAfter: true })
  }

  #flush(): void {
    this.#timer = undefined
    for (let parcel = this.#waiting[0]; parcel !== undefined; parcel = this.#waiting[0]) {
      try {
        if (parcel.fds.length > 0 && !sendFds(this.#port.channel, parcel.ticket, parcel.fds)) {
          this.#timer = setTimeout(() => this.#flush(), RETRY_MS)
          return
        }
      } catch (thrown) {
        this[Symbol.dispose]()
        this.#port.onBroken(thrown)
        return
      }
      release(parcel)
      this.#waiting.shift()
      this.#port.sendMessage(parcel.message)
    }
  }
}

function release({ fds, closeAfter }: Parcel): void {
  if (closeAfter) for (const fd of fds) closeFd(fd)
}
