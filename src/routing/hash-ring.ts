/**
 * Consistent hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam: "Consistent Hashing with Bounded Loads"): a key
 * belongs to the next endpoint on a ring; where that has more than its fair share and a quarter in progress, to the one after.
 */
import type { Endpoint } from '#contract'

const POINTS_PER_ENDPOINT = 100
const OVERLOAD = 1.25

interface Ring {
  /** Ascending. */
  readonly points: Uint32Array
  /** Index of the endpoint of each point. */
  readonly owners: Uint32Array
}

/** Lists of candidates are immutable. */
const rings = new WeakMap<readonly Endpoint[], Ring>()

/** `candidates` is not empty. */
export function pickByHash(
  candidates: readonly Endpoint[],
  key: string,
  activeOf: (endpoint: Endpoint) => number,
): Endpoint | undefined {
  let ring = rings.get(candidates)
  if (ring === undefined) {
    ring = makeRing(candidates)
    rings.set(candidates, ring)
  }
  let active = 1
  for (const candidate of candidates) active += activeOf(candidate)
  const capacity = Math.ceil((active / candidates.length) * OVERLOAD)
  const { points, owners } = ring
  const start = firstAtLeast(points, hash32(key))
  for (let step = 0; step < points.length; step++) {
    const owner = candidates[owners[(start + step) % points.length] ?? 0]
    if (owner !== undefined && activeOf(owner) < capacity) return owner
  }
  return candidates[owners[start % points.length] ?? 0]
}

function makeRing(candidates: readonly Endpoint[]): Ring {
  const made: { readonly point: number; readonly owner: number }[] = []
  candidates.forEach(({ address, port }, owner) => {
    for (let i = 0; i < POINTS_PER_ENDPOINT; i++) made.push({ point: hash32(`${address} ${port} ${i}`), owner })
  })
  made.sort((a, b) => a.point - b.point || a.owner - b.owner)
  return {
    points: Uint32Array.from(made, ({ point }) => point),
    owners: Uint32Array.from(made, ({ owner }) => owner),
  }
}

/** Index of the first point that is not below; the number of points when there is none. */
function firstAtLeast(points: Uint32Array, hash: number): number {
  let low = 0
  let high = points.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((points[middle] ?? 0) < hash) low = middle + 1
    else high = middle
  }
  return low
}

/** A number in [0, 1), the same for the same key, and none of the ring's. */
export function hashDraw(key: string): number {
  return hash32(`${key} place`) / 2 ** 32
}

/** FNV-1a over the code units, then MurmurHash3's finalizer, for an even spread of keys that are alike. */
function hash32(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) {
    hash ^= text.charCodeAt(i)
    hash = Math.imul(hash, 0x01000193)
  }
  hash ^= hash >>> 16
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
