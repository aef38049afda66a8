/**
 * Passive outlier ejection, after Envoy's: endpoints whose requests fail again and again get none for a while, which
 * grows each time. Never so many that the rest would break down. Times are monotonic, ms, and passed in.
 */
import type { Endpoint, OutlierLimits } from '#contract'

/** What became of one try: `error` is a 5xx, `gateway` a 502, 503, 504, a reset or a timeout. */
export type TryOutcome = 'ok' | 'error' | 'gateway' | 'connect'

export function outcomeOfStatus(status: number): TryOutcome {
  if (status < 500) return 'ok'
  return status >= 502 && status <= 504 ? 'gateway' : 'error'
}

export type EjectionReason = 'errors' | 'gateway-errors' | 'connect-errors' | 'success-rate'

interface Health {
  errors: number
  gatewayErrors: number
  connectErrors: number
  /** 0: not ejected. */
  ejectedUntil: number
  /** How often in a row; behaving well for an interval takes one off. */
  ejections: number
  /** Of the present interval. */
  total: number
  good: number
}

/** @typeParam K what stands for an endpoint; the same object as long as it is the same endpoint. */
export class OutlierDetector<K extends object> {
  #limits: OutlierLimits
  readonly #keyOf: (endpoint: Endpoint) => K
  readonly #onEject: (key: K, reason: EjectionReason) => void
  #health = new Map<K, Health>()
  #ejected = 0
  #nextRelease = Number.POSITIVE_INFINITY
  #intervalEnd = 0
  /** The last list asked about, and what was left of it. */
  #list: readonly Endpoint[] = []
  #left: readonly Endpoint[] | undefined

  constructor(
    limits: OutlierLimits,
    keyOf: (endpoint: Endpoint) => K,
    onEject: (key: K, reason: EjectionReason) => void,
  ) {
    this.#limits = limits
    this.#keyOf = keyOf
    this.#onEject = onEject
  }

  get limits(): OutlierLimits {
    return this.#limits
  }

  /** Whoever is ejected stays so. */
  set limits(limits: OutlierLimits) {
    this.#limits = limits
    this.#left = undefined
  }

  /** Those of `usable` that are not ejected; all of them when too few would be left. */
  available(usable: readonly Endpoint[], now: number): readonly Endpoint[] {
    if (usable !== this.#list) this.#follow(usable)
    if (now >= this.#nextRelease) this.#release(now)
    if (this.#ejected === 0) return usable
    if (this.#left === undefined) {
      const left = usable.filter((endpoint) => (this.#health.get(this.#keyOf(endpoint))?.ejectedUntil ?? 0) === 0)
      this.#left = left.length * 100 < usable.length * this.limits.panicPercent ? usable : left
    }
    return this.#left
  }

  /** Who is ejected, and for how long still. */
  ejections(now: number): readonly { readonly endpoint: Endpoint; readonly leftMs: number }[] {
    return this.#list.flatMap((endpoint) => {
      const leftMs = (this.#health.get(this.#keyOf(endpoint))?.ejectedUntil ?? 0) - now
      return leftMs > 0 ? [{ endpoint, leftMs }] : []
    })
  }

  record(key: K, outcome: TryOutcome, now: number): void {
    if (now >= this.#intervalEnd) this.#endInterval(now)
    let health = this.#health.get(key)
    if (health === undefined) {
      // Gone from the Service since the request went there.
      if (!this.#list.some((endpoint) => this.#keyOf(endpoint) === key)) return
      health = { errors: 0, gatewayErrors: 0, connectErrors: 0, ejectedUntil: 0, ejections: 0, total: 0, good: 0 }
      this.#health.set(key, health)
    }
    health.total++
    if (outcome === 'ok') {
      health.good++
      health.errors = 0
      health.gatewayErrors = 0
      health.connectErrors = 0
      return
    }
    health.errors++
    health.gatewayErrors = outcome === 'error' ? 0 : health.gatewayErrors + 1
    health.connectErrors = outcome === 'connect' ? health.connectErrors + 1 : 0
    const { consecutiveErrors, consecutiveGatewayErrors, consecutiveConnectErrors } = this.limits
    if (reached(health.connectErrors, consecutiveConnectErrors)) this.#eject(key, health, 'connect-errors', now)
    else if (reached(health.gatewayErrors, consecutiveGatewayErrors)) this.#eject(key, health, 'gateway-errors', now)
    else if (reached(health.errors, consecutiveErrors)) this.#eject(key, health, 'errors', now)
  }

  #eject(key: K, health: Health, reason: EjectionReason, now: number): void {
    if (health.ejectedUntil > 0) return
    const { maxEjectedPercent, baseEjectionMs, maxEjectionMs } = this.limits
    const most = Math.max(1, Math.floor((this.#list.length * maxEjectedPercent) / 100))
    if (this.#ejected >= most) return
    health.ejections++
    health.ejectedUntil = now + Math.min(maxEjectionMs, baseEjectionMs * health.ejections)
    health.errors = 0
    health.gatewayErrors = 0
    health.connectErrors = 0
    this.#ejected++
    this.#nextRelease = Math.min(this.#nextRelease, health.ejectedUntil)
    this.#left = undefined
    this.#onEject(key, reason)
  }

  #release(now: number): void {
    let next = Number.POSITIVE_INFINITY
    for (const health of this.#health.values()) {
      if (health.ejectedUntil === 0) continue
      if (health.ejectedUntil <= now) {
        health.ejectedUntil = 0
        this.#ejected--
      } else next = Math.min(next, health.ejectedUntil)
    }
    this.#nextRelease = next
    this.#left = undefined
  }

  /** The endpoints changed: what is known of those that are gone is forgotten. */
  #follow(usable: readonly Endpoint[]): void {
    this.#list = usable
    this.#left = undefined
    if (this.#health.size === 0) return
    const kept = new Map<K, Health>()
    this.#ejected = 0
    for (const endpoint of usable) {
      const key = this.#keyOf(endpoint)
      const health = this.#health.get(key)
      if (health === undefined) continue
      kept.set(key, health)
      if (health.ejectedUntil > 0) this.#ejected++
    }
    this.#health = kept
  }

  #endInterval(now: number): void {
    this.#intervalEnd = now + this.limits.intervalMs
    const poor = this.#poorSuccess()
    for (const [key, health] of this.#health) {
      if (health.ejectedUntil === 0 && poor(health)) this.#eject(key, health, 'success-rate', now)
      else if (health.ejectedUntil === 0 && health.ejections > 0) health.ejections--
      health.total = 0
      health.good = 0
    }
  }

  /** Far below what the others do. */
  #poorSuccess(): (health: Health) => boolean {
    const { successRate } = this.limits
    if (successRate === undefined) return () => false
    const rates = [...this.#health.values()]
      .filter(({ total }) => total >= successRate.minRequests)
      .map(({ good, total }) => good / total)
    if (rates.length < successRate.minEndpoints) return () => false
    const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length
    const variance = rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length
    const least = mean - (Math.sqrt(variance) * successRate.stdevFactor) / 1000
    return ({ good, total }) => total >= successRate.minRequests && good / total < least
  }
}

function reached(count: number, limit: number): boolean {
  return limit > 0 && count >= limit
}
