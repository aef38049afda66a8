/**
 * Which endpoint a request of a flow goes to: not one that is ejected or fails its health checks, near where that is asked
 * for, then by the algorithm. What is left out is worked out anew only when something changed.
 */
import {
  type Balancing,
  type EjectedEndpoint,
  type Endpoint,
  type LocalityLevel,
  type LocalityPreference,
  PANIC_PERCENT_DEFAULT,
  type TrafficPolicy,
} from '#contract'
import {
  distribute,
  drawGroup,
  type EjectionReason,
  type EndpointLoad,
  hashDraw,
  type LoadOf,
  nearest,
  OutlierDetector,
  type Place,
  pickBy,
  requestKey,
  type TryOutcome,
  usableEndpoints,
  type WeightedEndpoints,
} from '#routing'
import type { FlowRequest } from './flow.ts'
import type { HealthView } from './health/health-view.ts'

/** Where the calling pod and the endpoints are. */
export interface Places {
  /** Grows with each change of the world. */
  readonly version: number
  /** As `sharedLevel`. */
  levelOf(levels: readonly LocalityLevel[], endpoint: Endpoint): number
  caller(): Place | undefined
  placeOf(endpoint: Endpoint): Place | undefined
}

/** The health checks of a Service as one pod makes use of them. */
export interface HealthUse {
  /** Says that it is used now, which keeps its checks going. */
  view(now: number): HealthView
}

export const BALANCING_DEFAULT: Balancing = { algorithm: 'PeakEwma' }

/** What was worked out of the endpoints available: these nearby, or these groups. */
interface Near {
  readonly version: number
  readonly available: readonly Endpoint[]
  readonly near: readonly Endpoint[]
  readonly groups: readonly WeightedEndpoints[] | undefined
}

export class EndpointChoice {
  readonly #loadOf: LoadOf
  readonly #places: Places
  readonly #onEject: (reason: EjectionReason) => void
  #policy: TrafficPolicy | undefined
  #health: HealthUse | undefined
  /** Of IPv4 and of IPv6 endpoints: a dual-stack Service has a list of each. */
  #outliers: readonly [OutlierDetector<EndpointLoad>, OutlierDetector<EndpointLoad>] | undefined
  #near: Near | undefined
  #turn = 0

  constructor(loadOf: LoadOf, places: Places, onEject: (reason: EjectionReason) => void) {
    this.#loadOf = loadOf
    this.#places = places
    this.#onEject = onEject
  }

  apply(policy: TrafficPolicy | undefined, health: HealthUse | undefined): void {
    this.#health = health
    if (policy === this.#policy) return
    this.#policy = policy
    this.#near = undefined
    const limits = policy?.outliers
    if (limits === undefined) this.#outliers = undefined
    else if (this.#outliers === undefined) {
      const make = () => new OutlierDetector(limits, this.#loadOf, (_load, reason) => this.#onEject(reason))
      this.#outliers = [make(), make()]
    } else for (const detector of this.#outliers) detector.limits = limits
  }

  /** Undefined when no endpoint is usable. Those left out, and those that failed this request, only when there is no other. */
  pick(endpoints: readonly Endpoint[], request: FlowRequest, now: number): Endpoint | undefined {
    const available = this.available(endpoints, now)
    const balancing = this.#policy?.balancing ?? BALANCING_DEFAULT
    const { hashOn, locality } = balancing
    const hashKey = hashOn === undefined ? undefined : requestKey(hashOn, request, request.clientAddress)
    const left = without(available, request.avoided, this.#loadOf)
    const near = locality === undefined ? left : this.#nearby(locality, endpoints, left, hashKey)
    return pickBy(balancing, near, this.#loadOf, { now, random: Math.random, turn: this.#turn++, hashKey })
  }

  /** Usable, not ejected, and passing their health checks; all that are usable when too few would be left. */
  available(endpoints: readonly Endpoint[], now: number): readonly Endpoint[] {
    const usable = usableEndpoints(endpoints)
    const detector = this.#outliers?.[usable[0]?.address.includes(':') === true ? 1 : 0]
    const left = detector === undefined ? usable : detector.available(usable, now)
    const health = this.#health?.view(now)
    if (health === undefined || health.unhealthy === 0) return left
    return health.available(usable, left, this.#policy?.outliers?.panicPercent ?? PANIC_PERCENT_DEFAULT)
  }

  /** Worked out anew when the world or what is left out changes. */
  #nearby(
    locality: LocalityPreference,
    endpoints: readonly Endpoint[],
    available: readonly Endpoint[],
    hashKey: string | undefined,
  ): readonly Endpoint[] {
    const { version } = this.#places
    let known = this.#near
    if (known === undefined || known.version !== version || known.available !== available) {
      known = { version, available, ...this.#lookAround(locality, endpoints, available) }
      this.#near = known
    }
    if (known.groups === undefined) return known.near
    // A key keeps to its place, too.
    return drawGroup(known.groups, hashKey === undefined ? Math.random() : hashDraw(hashKey))
  }

  #lookAround(locality: LocalityPreference, endpoints: readonly Endpoint[], available: readonly Endpoint[]) {
    const places = this.#places
    const placeOf = (endpoint: Endpoint) => places.placeOf(endpoint)
    const groups = distribute(locality, places.caller(), endpoints, available, placeOf)
    if (groups !== undefined) return { groups, near: available }
    const levelOf = (endpoint: Endpoint) => places.levelOf(locality.levels, endpoint)
    return { groups, near: nearest(locality, endpoints, available, levelOf) }
  }

  record(load: EndpointLoad, outcome: TryOutcome, now: number): void {
    // Each leaves alone what is not in its list.
    for (const detector of this.#outliers ?? []) detector.record(load, outcome, now)
  }

  /** @param service `namespace/name:port` */
  ejections(service: string, now: number): readonly EjectedEndpoint[] {
    return (this.#outliers ?? []).flatMap((detector) =>
      detector.ejections(now).map(({ endpoint: { address, port }, leftMs }) => ({
        service,
        endpoint: address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
        leftMs: Math.ceil(leftMs),
      })),
    )
  }
}

/** All of them when nothing would be left. */
export function without(
  candidates: readonly Endpoint[],
  avoided: readonly EndpointLoad[],
  loadOf: LoadOf,
): readonly Endpoint[] {
  if (avoided.length === 0) return candidates
  const left = candidates.filter((endpoint) => !avoided.includes(loadOf(endpoint)))
  return left.length === 0 ? candidates : left
}
