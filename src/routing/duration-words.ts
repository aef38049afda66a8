/** A duration as people write it: the way manifests do (GEP-2257), with a space before the unit. */

const UNITS = [
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1000],
] as const

/** `250 ms`, `30 s`, `5 min`; what is no whole number of a unit is told in the next smaller one. */
export function durationWords(ms: number): string {
  for (const [unit, length] of UNITS) {
    if (ms >= length && ms % length === 0) return `${ms / length} ${unit}`
  }
  return `${ms} ms`
}
