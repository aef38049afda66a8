/**
 * Endpoint choice. By default power of two choices on latency and load: of two endpoints drawn at random the one that
 * should answer sooner is taken, which comes close to the best of all without looking at all of them.
 */
import type { Balancing, Endpoint } from '#contract'
import { type EndpointLoad, latencyNow } from './endpoint-load.ts'
import { pickByHash } from './hash-ring.ts'

export type LoadOf = (endpoint: Endpoint) => EndpointLoad

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

/** Without a policy. `random` gives [0, 1) and is called at most twice. Undefined when no endpoint is usable. */
export function pickEndpoint(
  endpoints: readonly Endpoint[],
  loadOf: LoadOf,
  now: number,
  random: () => number,
): Endpoint | undefined {
  return pickOfTwo(usableEndpoints(endpoints), loadOf, now, random, true, 0)
}

/** What a pick depends on beside the endpoints. */
export interface PickFacts {
  /** Monotonic, ms. */
  readonly now: number
  readonly random: () => number
  /** Grows by one with each pick. */
  readonly turn: number
  /** What ConsistentHash goes by; undefined when the request does not have it. */
  readonly hashKey: string | undefined
}

/** `candidates` are usable. Undefined when there is none. */
export function pickBy(
  { algorithm, slowStartMs = 0 }: Balancing,
  candidates: readonly Endpoint[],
  loadOf: LoadOf,
  facts: PickFacts,
): Endpoint | undefined {
  const { now, random, turn, hashKey } = facts
  const count = candidates.length
  if (count <= 1) return candidates[0]
  switch (algorithm) {
    case 'PeakEwma':
      return pickOfTwo(candidates, loadOf, now, random, true, slowStartMs)
    case 'LeastRequest':
      return pickOfTwo(candidates, loadOf, now, random, false, slowStartMs)
    case 'ConsistentHash':
      return hashKey === undefined
        ? candidates[Math.floor(random() * count)]
        : pickByHash(candidates, hashKey, (endpoint) => loadOf(endpoint).active)
    default: {
      const first = algorithm === 'RoundRobin' ? turn % count : Math.floor(random() * count)
      return slowStartMs === 0
        ? candidates[first]
        : pickGrown(candidates, first, (endpoint) => share(loadOf(endpoint), now, slowStartMs), random)
    }
  }
}

/** The first from `start` on that draws its share; a new endpoint draws less. */
function pickGrown(
  candidates: readonly Endpoint[],
  start: number,
  shareOf: (endpoint: Endpoint) => number,
  random: () => number,
): Endpoint | undefined {
  for (let step = 0; step < candidates.length; step++) {
    const candidate = candidates[(start + step) % candidates.length]
    if (candidate === undefined) continue
    const grown = shareOf(candidate)
    if (grown >= 1 || random() < grown) return candidate
  }
  return candidates[start]
}

function pickOfTwo(
  usable: readonly Endpoint[],
  loadOf: LoadOf,
  now: number,
  random: () => number,
  byLatency: boolean,
  slowStartMs: number,
): Endpoint | undefined {
  const count = usable.length
  if (count <= 1) return usable[0]
  const firstAt = Math.floor(random() * count)
  // The second is drawn from the others, so that the two always differ.
  let secondAt = Math.floor(random() * (count - 1))
  if (secondAt >= firstAt) secondAt += 1
  const first = usable[firstAt]
  const second = usable[secondAt]
  if (first === undefined || second === undefined) return first ?? second
  return isBetter(loadOf(second), loadOf(first), now, byLatency, slowStartMs) ? second : first
}

/** Latencies that differ by less are noise: then the number of requests decides. */
const LATENCY_BAND = 1.25
const LATENCY_NOISE_MS = 5
/** Least share of a new endpoint. */
const SLOW_START_MIN = 0.1

function isBetter(
  second: EndpointLoad,
  first: EndpointLoad,
  now: number,
  byLatency: boolean,
  slowStartMs: number,
): boolean {
  let ofFirst = first.active + 1
  let ofSecond = second.active + 1
  // One that nobody knows yet competes by its load alone.
  if (byLatency && first.latencyMs >= 0 && second.latencyMs >= 0) {
    const slow = latencyNow(first, now) + LATENCY_NOISE_MS
    const other = latencyNow(second, now) + LATENCY_NOISE_MS
    if (slow > other * LATENCY_BAND || other > slow * LATENCY_BAND) {
      ofFirst *= slow
      ofSecond *= other
    }
  }
  if (slowStartMs > 0) {
    ofFirst /= share(first, now, slowStartMs)
    ofSecond /= share(second, now, slowStartMs)
  }
  return ofSecond < ofFirst
}

function share({ since }: EndpointLoad, now: number, slowStartMs: number): number {
  return Math.max(SLOW_START_MIN, Math.min(1, (now - since) / slowStartMs))
}
