/** The health of one Service port's endpoints as the pods of one service account of this node see it. */
import type { CheckedEndpoint, Endpoint, UnhealthyEndpoint } from '#contract'
import type { Pod } from '../pod.ts'
import type { EndpointCheck } from './endpoint-check.ts'

export class HealthView {
  /** `namespace/name` of the Service. */
  readonly service: string
  readonly port: number
  /** `namespace/name` of the service account. */
  readonly source: string
  /** By `endpointKey`: one for each of the policy's checks. */
  readonly checks = new Map<string, readonly EndpointCheck[]>()
  /** Whose sockets the checks use: the pod of the account that sent a request there last. */
  pod: Pod
  usedAt: number
  /** Endpoints that do not pass. */
  unhealthy = 0
  /** As many are in the metrics. */
  counted = 0
  readonly #failing = new Set<string>()
  #version = 0
  #known:
    | { readonly version: number; readonly left: readonly Endpoint[]; readonly healthy: readonly Endpoint[] }
    | undefined

  constructor(service: string, port: number, source: string, pod: Pod, now: number) {
    this.service = service
    this.port = port
    this.source = source
    this.pod = pod
    this.usedAt = now
  }

  /** Those of `left` that pass; all that are usable when too few would be left. The same list while nothing changes. */
  available(usable: readonly Endpoint[], left: readonly Endpoint[], panicPercent: number): readonly Endpoint[] {
    let known = this.#known
    if (known === undefined || known.version !== this.#version || known.left !== left) {
      const healthy = left.filter((endpoint) => !this.#failing.has(endpointKey(endpoint)))
      known = { version: this.#version, left, healthy }
      this.#known = known
    }
    const { healthy } = known
    return healthy.length * 100 < usable.length * panicPercent ? usable : healthy
  }

  /** Looks at the checks of an endpoint again, or at those of one that is gone. True when it is seen differently now. */
  judge(key: string): boolean {
    const failing = this.checks.get(key)?.some(({ health }) => !health.healthy) === true
    if (failing === this.#failing.has(key)) return false
    if (failing) this.#failing.add(key)
    else this.#failing.delete(key)
    this.unhealthy = this.#failing.size
    this.#version++
    return true
  }

  /** One check of it, as people are told of it. */
  tell({ endpoint: { address, port }, health }: EndpointCheck): CheckedEndpoint {
    return {
      service: `${this.service}:${this.port}`,
      endpoint: address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
      source: this.source,
      why: health.why,
    }
  }

  list(now: number): readonly UnhealthyEndpoint[] {
    return [...this.#failing].flatMap((key) => {
      const check = this.checks.get(key)?.find(({ health }) => !health.healthy)
      return check === undefined ? [] : [{ ...this.tell(check), forMs: Math.ceil(now - check.health.since) }]
    })
  }
}

export function endpointKey({ address, port }: Endpoint): string {
  return `${address} ${port}`
}
