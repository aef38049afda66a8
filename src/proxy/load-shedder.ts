/**
 * Measures how late a proxy's event loop runs, and says when new requests are too much for it: above one threshold they are
 * shed, until it is below a lower one. One pause (of the machine, of the garbage collector) is no overload: it takes some in
 * a row.
 */

/** Between two looks at the clock. */
export const LAG_SAMPLE_MS = 100
/** Of the last look, in the average. */
const WEIGHT = 0.5
/** So many looks in a row have to be late. */
const LATE_IN_A_ROW = 3

export interface LagThresholds {
  /** 0: nothing is shed, ever. */
  readonly shedLagMs: number
  /** Lower than the other. */
  readonly resumeLagMs: number
}

export class LoadShedder {
  readonly #thresholds: LagThresholds
  #lateInARow = 0
  #lastAt: number
  /** Average of how late the last looks came. */
  lagMs = 0
  shedding = false

  /** @param now monotonic ms, as for `sample` */
  constructor(thresholds: LagThresholds, now: number) {
    this.#thresholds = thresholds
    this.#lastAt = now
  }

  /** To be called each LAG_SAMPLE_MS, as far as the event loop can. @returns whether `shedding` has changed */
  sample(now: number): boolean {
    const late = Math.max(0, now - this.#lastAt - LAG_SAMPLE_MS)
    this.#lastAt = now
    this.lagMs = this.lagMs * (1 - WEIGHT) + late * WEIGHT
    const { shedLagMs, resumeLagMs } = this.#thresholds
    this.#lateInARow = late >= resumeLagMs ? this.#lateInARow + 1 : 0
    const was = this.shedding
    if (was) this.shedding = this.lagMs >= resumeLagMs
    else this.shedding = shedLagMs > 0 && this.lagMs >= shedLagMs && this.#lateInARow >= LATE_IN_A_ROW
    return this.shedding !== was
  }
}
