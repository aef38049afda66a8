/**
 * Endpoint choice: power of two choices by load. Of two endpoints drawn at random the less loaded
 * one is taken, which comes close to the least loaded of all without looking at all of them.
 */
import type { Endpoint } from '#contract'

/** Endpoint arrays are immutable and live as long as their Service object; so does what is known of them. */
const usableOf = new WeakMap<readonly Endpoint[], readonly Endpoint[]>()

/**
 * The endpoints traffic may go to: ready and not terminating; when there is none, those that still
 * serve while they terminate, the fallback Kubernetes fixed for Services (KEP-1669). Empty for none.
 */
export function usableEndpoints(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const known = usableOf.get(endpoints)
  if (known !== undefined) return known
  let usable = endpoints.filter((endpoint) => endpoint.ready && !endpoint.terminating)
  if (usable.length === 0) usable = endpoints.filter((endpoint) => endpoint.ready)
  usableOf.set(endpoints, usable)
  return usable
}

/**
 * `load` is any number that grows with an endpoint's work (requests in flight); `random` gives
 * [0, 1) and is called at most twice. Undefined when no endpoint is usable.
 */
export function pickEndpoint(
  endpoints: readonly Endpoint[],
  load: (endpoint: Endpoint) => number,
  random: () => number,
): Endpoint | undefined {
  const usable = usableEndpoints(endpoints)
  const count = usable.length
  if (count <= 1) return usable[0]
  const firstAt = Math.floor(random() * count)
  // The second is drawn from the others, so that the two always differ.
  let secondAt = Math.floor(random() * (count - 1))
  if (secondAt >= firstAt) secondAt += 1
  const first = usable[firstAt]
  const second = usable[secondAt]
  if (first === undefined || second === undefined) return first ?? second
  return load(second) < load(first) ? second : first
}
