/** Which flow a request is of, and the rate limits of Services, which all flows of this proxy share. */
import type { Endpoint, MeshService, RateLimit, TrafficPolicy, Workload } from '#contract'
import { PANIC_PERCENT_DEFAULT } from '#contract'
import type { Snapshot } from '#mesh'
import { type ForwardDecision, type LoadOf, RateLimiter, sharedLevel, usableEndpoints } from '#routing'
import type { Metrics } from '#telemetry'
import type { Places } from './endpoint-choice.ts'
import { Flow } from './flow.ts'
import { FlowFamilies, FlowMetrics } from './flow-metrics.ts'
import type { HealthChecks } from './health/health-checks.ts'
import type { Pod } from './pod.ts'

/** Flows that a pod keeps; those without a request in progress are forgotten beyond it. */
const MAX_FLOWS_PER_POD = 1024

export class Flows {
  readonly #host: { readonly snapshot: Snapshot }
  readonly #loadOf: LoadOf
  readonly #families: FlowFamilies
  readonly #health: HealthChecks
  /** By `namespace/name` of the Service. */
  readonly #limiters = new Map<string, RateLimiter>()

  constructor(host: { readonly snapshot: Snapshot }, loadOf: LoadOf, metrics: Metrics, health: HealthChecks) {
    this.#host = host
    this.#loadOf = loadOf
    this.#families = new FlowFamilies(metrics)
    this.#health = health
  }

  /** Undefined when nothing is said of such traffic. */
  of(pod: Pod, decision: ForwardDecision): Flow | undefined {
    if (decision.traffic === undefined && decision.retry === undefined) return undefined
    return pod.flowByDecision.get(decision) ?? this.#look(pod, decision)
  }

  #look(pod: Pod, decision: ForwardDecision): Flow {
    const { service, port, traffic } = decision
    const name = `${service.namespace}/${service.name}`
    const key = `${name}:${port}`
    let flow = pod.flows.get(key)
    const client = this.#host.snapshot.workload(pod.workload)
    if (flow === undefined) {
      if (pod.flows.size >= MAX_FLOWS_PER_POD) {
        for (const [old, { active, connections }] of pod.flows) {
          if (active === 0 && connections === 0) pod.flows.delete(old)
        }
      }
      const metrics = new FlowMetrics(this.#families, endsOf(client, decision))
      flow = new Flow(key, sourceOf(pod, client), this.#loadOf, this.#placesOf(pod), metrics)
      pod.flows.set(key, flow)
    }
    const health = this.#health.useOf(pod, sourceOf(pod, client), service, port)
    flow.apply(traffic, this.#limiterOf(name, traffic), health)
    pod.flowByDecision.set(decision, flow)
    return flow
  }

  #placesOf(pod: Pod): Places {
    const host = this.#host
    const placeOf = ({ workload }: Endpoint) => (workload === undefined ? undefined : host.snapshot.workload(workload))
    return {
      get version() {
        return host.snapshot.version
      },
      levelOf: (levels, endpoint) => sharedLevel(levels, host.snapshot.workload(pod.workload), placeOf(endpoint)),
      caller: () => host.snapshot.workload(pod.workload),
      placeOf,
    }
  }

  /** Of a connection of another protocol than HTTP: those of its endpoints that pass their health checks. */
  healthyOf(
    pod: Pod,
    service: MeshService,
    port: number,
    endpoints: readonly Endpoint[],
    now: number,
  ): readonly Endpoint[] {
    const { snapshot } = this.#host
    const policy = snapshot.trafficPolicy(`${service.namespace}/${service.name}`)
    if (policy?.healthChecks === undefined) return endpoints
    const use = this.#health.useOf(pod, sourceOf(pod, snapshot.workload(pod.workload)), service, port)
    const usable = usableEndpoints(endpoints)
    const panicPercent = policy.outliers?.panicPercent ?? PANIC_PERCENT_DEFAULT
    return use === undefined ? usable : use.view(now).available(usable, usable, panicPercent)
  }

  /** Buckets live as long as the limits stay what they are. */
  #limiterOf(service: string, policy: TrafficPolicy | undefined): RateLimiter | undefined {
    const limits: readonly RateLimit[] = policy?.rateLimits ?? []
    if (limits.length === 0) {
      this.#limiters.delete(service)
      return undefined
    }
    let limiter = this.#limiters.get(service)
    if (limiter === undefined || JSON.stringify(limiter.limits) !== JSON.stringify(limits)) {
      limiter = new RateLimiter(limits)
      this.#limiters.set(service, limiter)
    }
    return limiter
  }
}

function sourceOf(pod: Pod, client: Workload | undefined): string {
  return client === undefined ? pod.workload : `${client.namespace}/${client.serviceAccount}`
}

function endsOf(client: Workload | undefined, { service }: ForwardDecision) {
  return {
    source_workload: client?.owner ?? 'unknown',
    source_workload_namespace: client?.namespace ?? 'unknown',
    destination_service_name: service.name,
    destination_service_namespace: service.namespace,
  }
}
