/** Endpoints nearby before those farther away, as long as enough of them are well. */
import type { Endpoint, LocalityLevel, LocalityPreference } from '#contract'

/** Where a pod runs; absent where its node does not say. */
export interface Place {
  readonly node: string
  readonly zone?: string
  readonly region?: string
}

/** Index of the first level that both have in common; the number of levels when they have none. */
export function sharedLevel(
  levels: readonly LocalityLevel[],
  one: Place | undefined,
  other: Place | undefined,
): number {
  if (one === undefined || other === undefined) return levels.length
  const at = levels.findIndex((level) => {
    const place = placeAt(level, one)
    return place !== undefined && place !== '' && place === placeAt(level, other)
  })
  return at < 0 ? levels.length : at
}

function placeAt(level: LocalityLevel, place: Place): string | undefined {
  // Zones of two regions may have one name.
  if (level === 'Zone') return place.zone === undefined ? undefined : `${place.region ?? ''}/${place.zone}`
  return level === 'Node' ? place.node : place.region
}

/**
 * What is left of `available` when only the nearest are used: of the levels, nearest first and each with all nearer ones,
 * the first at which enough of `all` are available; all of them when there is no such level.
 */
export function nearest(
  { levels, failoverPercent }: LocalityPreference,
  all: readonly Endpoint[],
  available: readonly Endpoint[],
  levelOf: (endpoint: Endpoint) => number,
): readonly Endpoint[] {
  const staying = all.filter(({ terminating }) => !terminating)
  for (let level = 0; level < levels.length; level++) {
    const within = (endpoint: Endpoint): boolean => levelOf(endpoint) <= level
    const left = available.filter(within)
    if (left.length > 0 && left.length * 100 >= staying.filter(within).length * failoverPercent) return left
  }
  return available
}
