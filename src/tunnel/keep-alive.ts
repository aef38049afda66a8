/** PINGs through a tunnel that has streams: a dead path is noticed at either end, however silent the streams are. */
import type { Http2Session } from '#http'

const PING_EVERY_MS = 5_000
const PING_TIMEOUT_MS = 10_000

export class KeepAlive {
  readonly #session: Http2Session
  /** When the last answer came; and when the question went out that is still open, 0 when none is. */
  #answeredAt: number
  #askedAt = 0

  constructor(session: Http2Session, now: number) {
    this.#session = session
    this.#answeredAt = now
  }

  /** An answer is waited for. */
  get asking(): boolean {
    return this.#askedAt > 0
  }

  /** To be called now and then; false: the other end has not answered for too long. */
  check(now: number): boolean {
    if (this.#askedAt > 0) return now - this.#askedAt <= PING_TIMEOUT_MS
    if (now - this.#answeredAt > PING_EVERY_MS && this.#session.openStreams > 0) this.ask(now)
    return true
  }

  ask(now: number): void {
    if (this.#askedAt > 0) return
    this.#askedAt = now
    this.#session.ping((alive) => {
      if (!alive) return
      this.#answeredAt = this.#askedAt
      this.#askedAt = 0
    })
  }
}
