/** Whether a series grows steadily, and how fast at the end. */

export interface Point {
  readonly atMs: number
  readonly value: number
}

export interface Growth {
  /** Mean of the first and of the last third. */
  readonly from: number
  readonly to: number
  /** As it grows at the end. */
  readonly perMs: number
}

/** Of all pairs of points so many must go up (Kendall): a step, a wave or noise has about half. */
export const RISING_SHARE = 0.85
/** A growth that ends is none: the last third must have grown by so much of what the second has. */
const STILL_GROWING_SHARE = 0.4

/** Undefined when it does not grow steadily. Points in the order of time; fewer than three never do. */
export function steadyGrowth(points: readonly Point[]): Growth | undefined {
  const size = Math.floor(points.length / 3)
  if (size === 0) return undefined
  const first = mean(points.slice(0, size))
  const middle = mean(points.slice(size, points.length - size))
  const last = mean(points.slice(points.length - size))
  const [grownBefore, grownLately] = [middle.value - first.value, last.value - middle.value]
  if (grownBefore <= 0 || grownLately < grownBefore * STILL_GROWING_SHARE) return undefined
  if (risingShare(points) < RISING_SHARE) return undefined
  return { from: first.value, to: last.value, perMs: grownLately / Math.max(1, last.atMs - middle.atMs) }
}

function mean(points: readonly Point[]): Point {
  const sum = (of: (point: Point) => number) => points.reduce((total, point) => total + of(point), 0)
  return { atMs: sum(({ atMs }) => atMs) / points.length, value: sum(({ value }) => value) / points.length }
}

function risingShare(points: readonly Point[]): number {
  let rising = 0
  let pairs = 0
  for (const [at, earlier] of points.entries()) {
    for (let later = at + 1; later < points.length; later++) {
      pairs++
      if ((points[later]?.value ?? 0) > earlier.value) rising++
    }
  }
  return pairs === 0 ? 0 : rising / pairs
}
