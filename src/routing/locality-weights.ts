/** Which share of the requests goes to which place, by where the caller is: Istio's `distribute`. */
import type { Endpoint, LocalityName, LocalityPreference } from '#contract'
import type { Place } from './locality.ts'

/** Endpoints that share a weight; weights are positive, and mean something only beside each other. */
export interface WeightedEndpoints {
  readonly weight: number
  readonly endpoints: readonly Endpoint[]
}

/**
 * Undefined where nothing is said for the caller's place, or nothing that is said is available. A place of which fewer
 * than `failoverPercent` are available loses as much of its share, which the others get.
 * @param all of the Service; those that terminate do not count
 */
export function distribute(
  { weights, failoverPercent }: LocalityPreference,
  caller: Place | undefined,
  all: readonly Endpoint[],
  available: readonly Endpoint[],
  placeOf: (endpoint: Endpoint) => Place | undefined,
): readonly WeightedEndpoints[] | undefined {
  const rule = weights?.find(({ from }) => isIn(from, caller))
  if (rule === undefined) return undefined
  const staying = all.filter(({ terminating }) => !terminating)
  const groups: WeightedEndpoints[] = []
  for (const { place, percent } of rule.to) {
    const within = (endpoint: Endpoint): boolean => isIn(place, placeOf(endpoint))
    const endpoints = available.filter(within)
    if (endpoints.length === 0) continue
    const enough = (staying.filter(within).length * failoverPercent) / 100
    groups.push({ weight: percent * (enough <= endpoints.length ? 1 : endpoints.length / enough), endpoints })
  }
  return groups.length === 0 ? undefined : groups
}

/** @param draw in [0, 1) */
export function drawGroup(groups: readonly WeightedEndpoints[], draw: number): readonly Endpoint[] {
  let left = draw * groups.reduce((sum, { weight }) => sum + weight, 0)
  for (const { weight, endpoints } of groups) {
    left -= weight
    if (left < 0) return endpoints
  }
  return groups.at(-1)?.endpoints ?? []
}

function isIn(name: LocalityName, place: Place | undefined): boolean {
  if (name.region === undefined) return true
  if (name.region !== place?.region) return false
  return name.zone === undefined || name.zone === place.zone
}
