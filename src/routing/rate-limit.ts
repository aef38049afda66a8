/** Local rate limits: token buckets, a bounded number of them. Times are monotonic, ms, and passed in. */
import type { HttpFacts, RateLimit } from '#contract'

/** Buckets of one limit; further keys share one. */
const MAX_BUCKETS = 1024

interface Bucket {
  tokens: number
  at: number
}

/** Who asks. */
export interface LimitedCaller {
  /** `namespace/serviceAccount`, or the address of a caller without an identity. */
  readonly source: string
  readonly http: Pick<HttpFacts, 'header'>
}

/** All limits of one Service in one proxy. */
export class RateLimiter {
  readonly limits: readonly RateLimit[]
  readonly #buckets: readonly Map<string, Bucket>[]

  constructor(limits: readonly RateLimit[]) {
    this.limits = limits
    this.#buckets = limits.map(() => new Map())
  }

  /** Takes a token of each limit, or none: then how long until there is one, ms. */
  take({ source, http }: LimitedCaller, now: number): number | undefined {
    const found: Bucket[] = []
    let waitMs = 0
    for (const [index, limit] of this.limits.entries()) {
      const { key, requests, intervalMs, burst } = limit
      const name = key.type === 'Service' ? '' : key.type === 'Source' ? source : http.header(key.name)
      if (name === undefined) continue
      const bucket = this.#bucket(index, name, limit, now)
      const rate = requests / intervalMs
      bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.at) * rate)
      bucket.at = now
      if (bucket.tokens < 1) waitMs = Math.max(waitMs, (1 - bucket.tokens) / rate)
      found.push(bucket)
    }
    if (waitMs > 0) return waitMs
    for (const bucket of found) bucket.tokens--
    return undefined
  }

  #bucket(index: number, name: string, limit: RateLimit, now: number): Bucket {
    const buckets = this.#buckets[index] ?? new Map<string, Bucket>()
    const known = buckets.get(name)
    if (known !== undefined) return known
    if (buckets.size >= MAX_BUCKETS) this.#forgetFull(buckets, limit, now)
    // Whoever invents names shall not get a full bucket with each.
    const kept = buckets.size >= MAX_BUCKETS ? OVERFLOW : name
    const made = buckets.get(kept) ?? { tokens: limit.burst, at: now }
    buckets.set(kept, made)
    return made
  }

  /** A full bucket says nothing that a new one would not. */
  #forgetFull(buckets: Map<string, Bucket>, { requests, intervalMs, burst }: RateLimit, now: number): void {
    for (const [name, { tokens, at }] of buckets) {
      if (tokens + ((now - at) * requests) / intervalMs >= burst) buckets.delete(name)
    }
  }
}

/** No header's value: those hold no line feed. */
const OVERFLOW = '\n'
