/** Counters of retries, ejections, limits and faults, by calling workload and Service. */
import type { EjectionReason } from '#routing'
import type { Metrics, ValueHandle } from '#telemetry'

const LABELS = [
  'source_workload',
  'source_workload_namespace',
  'destination_service_name',
  'destination_service_namespace',
] as const

type Ends = Readonly<Record<(typeof LABELS)[number], string>>
type RetryOutcome = 'sent' | 'exhausted' | 'overflow'

/** Once per `Metrics`. */
export class FlowFamilies {
  readonly retries
  readonly ejections
  readonly rateLimited
  readonly overflows
  readonly faults
  readonly versions

  constructor(metrics: Metrics) {
    this.retries = metrics.counter({
      name: 'weir_retries_total',
      help: 'Retries sent, and those not sent because the attempts were used up (exhausted) or the budget or breaker was (overflow).',
      labels: [...LABELS, 'outcome'],
    })
    this.ejections = metrics.counter({
      name: 'weir_ejections_total',
      help: 'Endpoints ejected because their requests failed, by what was found.',
      labels: [...LABELS, 'reason'],
    })
    this.rateLimited = metrics.counter({
      name: 'weir_rate_limited_total',
      help: 'Requests refused by a local rate limit.',
      labels: LABELS,
    })
    this.overflows = metrics.counter({
      name: 'weir_circuit_breaker_overflows_total',
      help: 'Requests refused by a circuit breaker, by the limit that was reached.',
      labels: [...LABELS, 'limit'],
    })
    this.faults = metrics.counter({
      name: 'weir_faults_total',
      help: 'Faults injected into requests.',
      labels: [...LABELS, 'fault'],
    })
    this.versions = metrics.counter({
      name: 'weir_api_version_requests_total',
      help: 'Requests by the version of the API that they were of, where a TrafficPolicy declares versions; none and unknown are of none.',
      labels: [...LABELS, 'version'],
    })
  }
}

/** Of one flow. */
export class FlowMetrics {
  readonly #families: FlowFamilies
  readonly #ends: Ends
  readonly #versions = new Map<string, ValueHandle>()

  constructor(families: FlowFamilies, ends: Ends) {
    this.#families = families
    this.#ends = ends
  }

  /** Of a request whose version is looked at; there are as many names as are declared. */
  versioned(version: string): void {
    let handle = this.#versions.get(version)
    if (handle === undefined) {
      handle = this.#families.versions.handle({ ...this.#ends, version })
      this.#versions.set(version, handle)
    }
    handle.inc(1)
  }

  retried(outcome: RetryOutcome): void {
    this.#families.retries.handle({ ...this.#ends, outcome }).inc(1)
  }

  ejected(reason: EjectionReason): void {
    this.#families.ejections.handle({ ...this.#ends, reason }).inc(1)
  }

  rateLimited(): void {
    this.#families.rateLimited.handle(this.#ends).inc(1)
  }

  overflowed(limit: 'requests' | 'pending'): void {
    this.#families.overflows.handle({ ...this.#ends, limit }).inc(1)
  }

  faulted(fault: 'delay' | 'abort'): void {
    this.#families.faults.handle({ ...this.#ends, fault }).inc(1)
  }
}
