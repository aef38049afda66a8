/** A clock that stands still until it is moved. Timers fire in order, and what they start is let run to its end. */
import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../../../agent/identity/clock.ts'

interface Timer {
  readonly atMs: number
  readonly fire: () => void
}

export class FakeClock implements Clock {
  #nowMs = Date.parse('2026-01-01T00:00:00Z')
  readonly #timers = new Set<Timer>()
  /** What `random` gives. */
  chance = 0.5

  nowMs(): number {
    return this.#nowMs
  }

  random(): number {
    return this.chance
  }

  after(delayMs: number, fire: () => void): Disposable {
    const timer = { atMs: this.#nowMs + delayMs, fire }
    this.#timers.add(timer)
    return { [Symbol.dispose]: () => void this.#timers.delete(timer) }
  }

  get timers(): number {
    return this.#timers.size
  }

  async advance(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms
    await settle()
    for (;;) {
      const due = [...this.#timers].filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0]
      if (due === undefined) break
      this.#timers.delete(due)
      this.#nowMs = Math.max(this.#nowMs, due.atMs)
      due.fire()
      await settle()
    }
    this.#nowMs = endMs
  }
}

/** Lets promises that need no I/O come to rest. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await setImmediate()
}
