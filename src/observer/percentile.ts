/** Percentiles from a histogram: only the bucket is known for certain, the place in it is an estimate. */

export interface Percentile {
  /** Between the bounds, as if what fell into the bucket were spread evenly (as Prometheus' `histogram_quantile`). */
  readonly estimateMs: number
  readonly aboveMs: number
  /** Undefined: beyond the last bound. */
  readonly atMostMs?: number
}

/**
 * @param bounds upper bounds, ascending
 * @param counts per bucket, not cumulative, and one more for what is beyond
 * @param share 0 … 1
 * @returns undefined when nothing was counted
 */
export function percentile(
  bounds: readonly number[],
  counts: readonly number[],
  share: number,
): Percentile | undefined {
  const total = counts.slice(0, bounds.length + 1).reduce((sum, count) => sum + count, 0)
  if (total <= 0) return undefined
  const rank = share * total
  let before = 0
  for (const [at, bound] of bounds.entries()) {
    const count = counts[at] ?? 0
    const aboveMs = at === 0 ? 0 : (bounds[at - 1] ?? 0)
    if (count > 0 && before + count >= rank) {
      const estimateMs = aboveMs + ((bound - aboveMs) * Math.max(0, rank - before)) / count
      return { estimateMs, aboveMs, atMostMs: bound }
    }
    before += count
  }
  const last = bounds.at(-1) ?? 0
  return { estimateMs: last, aboveMs: last }
}
