/** How fast metrics grow that expressions ask for: of each its sum at the last looks, no more. */
import type { MetricFamily } from '#contract'
import type { Series } from './evaluate-expression.ts'

const MAX_SAMPLES = 120

interface Sample {
  readonly atMs: number
  readonly value: number
}

export class SampledRates {
  readonly #samples = new Map<string, Sample[]>()
  readonly #longestMs: number

  constructor(longestMs: number) {
    this.#longestMs = longestMs
  }

  /** What is not wanted any more is forgotten. */
  add(atMs: number, families: readonly MetricFamily[], wanted: readonly Series[]): void {
    const keys = new Set(wanted.map(keyOf))
    for (const key of this.#samples.keys()) if (!keys.has(key)) this.#samples.delete(key)
    for (const series of wanted) {
      const key = keyOf(series)
      const value = sumOf(families, series)
      const samples = this.#samples.get(key) ?? []
      if (value === undefined || samples.at(-1)?.atMs === atMs) continue
      // A counter that is less than it was began anew: what was before says nothing of what comes.
      const last = samples.at(-1)
      const kept = last !== undefined && value < last.value ? [] : samples
      this.#samples.set(
        key,
        [...kept, { atMs, value }].filter((one) => one.atMs >= atMs - this.#longestMs).slice(-MAX_SAMPLES),
      )
    }
  }

  /** Undefined while there are no two samples in the window. */
  perSecond(series: Series, windowMs: number): number | undefined {
    const samples = this.#samples.get(keyOf(series)) ?? []
    const last = samples.at(-1)
    const first = last === undefined ? undefined : samples.find(({ atMs }) => atMs >= last.atMs - windowMs)
    if (last === undefined || first === undefined || first === last) return undefined
    return ((last.value - first.value) * 1000) / (last.atMs - first.atMs)
  }
}

/** The sum of the series that have these labels; of a histogram how often something was counted. Undefined when there is none. */
export function sumOf(families: readonly MetricFamily[], { name, labels }: Series): number | undefined {
  let sum: number | undefined
  for (const family of families) {
    if (family.name !== name) continue
    for (const { labels: has, values } of family.series) {
      if (Object.entries(labels).some(([key, value]) => has[key] !== value)) continue
      const counted = family.type === 'histogram' ? values.slice(0, -1) : values
      sum = counted.reduce((all, value) => all + value, sum ?? 0)
    }
  }
  return sum
}

function keyOf({ name, labels }: Series): string {
  return JSON.stringify([name, ...Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1))])
}
