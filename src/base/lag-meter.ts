/** How late a process's timers come: what its event loop is busy with, everything else waits for. */

/** A peak is told for one to two such times. */
const WINDOW_MS = 10_000

export class LagMeter {
  readonly #periodMs: number
  #last: number
  #windowSince: number
  #peakMs = 0
  #peakBeforeMs = 0

  /** @param now monotonic ms; @param periodMs in which `tick` is meant to be called */
  constructor(now: number, periodMs: number) {
    this.#periodMs = periodMs
    this.#last = now
    this.#windowSince = now
  }

  tick(now: number): void {
    const lagMs = Math.max(0, now - this.#last - this.#periodMs)
    this.#last = now
    if (now - this.#windowSince >= WINDOW_MS) {
      this.#peakBeforeMs = this.#peakMs
      this.#peakMs = 0
      this.#windowSince = now
    }
    if (lagMs > this.#peakMs) this.#peakMs = lagMs
  }

  /** The greatest of the last 10 to 20 seconds. */
  get peakMs(): number {
    return Math.max(this.#peakMs, this.#peakBeforeMs)
  }
}
