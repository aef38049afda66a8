/** Time and chance as the identity store sees them, so that tests can hold both. */
import { startTimer } from '#base'

export interface Clock {
  /** Wall clock: certificates know no other. */
  nowMs(): number
  after(delayMs: number, fire: () => void): Disposable
  /** In [0, 1). */
  random(): number
}

export const systemClock: Clock = { nowMs: Date.now, after: startTimer, random: Math.random }
