/**
 * Calls that gather what happens meanwhile: a call comes soon after it was asked for, and then not again before a
 * gap has passed, nor before four times what the last call took: however much happens, most of the time is free.
 */
export interface PacedCallOptions {
  readonly call: () => void
  /** Least time between two calls, ms. */
  readonly gapMs: number
  /** However long a call takes, the next one need not wait longer, ms. */
  readonly maxGapMs: number
}

/** Calls take one part of the time, the rest of it is free for other work. */
const FREE_PARTS = 4

export class PacedCall implements Disposable {
  readonly #options: PacedCallOptions
  #timer: NodeJS.Timeout | undefined
  /** On the clock of performance.now. */
  #notBefore = 0
  #calling = false
  /** Since the last call began. */
  #asked = false
  #disposed = false

  constructor(options: PacedCallOptions) {
    this.#options = options
  }

  ask(): void {
    this.#asked = true
    if (this.#disposed || this.#calling || this.#timer !== undefined) return
    this.#timer = setTimeout(() => this.callNow(), Math.max(0, this.#notBefore - performance.now()))
  }

  callNow(): void {
    if (this.#disposed) return
    clearTimeout(this.#timer)
    this.#timer = undefined
    const { call, gapMs, maxGapMs } = this.#options
    this.#asked = false
    this.#calling = true
    const startedAt = performance.now()
    try {
      call()
    } finally {
      const endedAt = performance.now()
      this.#notBefore = endedAt + Math.min(maxGapMs, Math.max(gapMs, FREE_PARTS * (endedAt - startedAt)))
      this.#calling = false
      if (this.#asked) this.ask()
    }
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    clearTimeout(this.#timer)
  }
}
