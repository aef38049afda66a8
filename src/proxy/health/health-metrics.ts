/** Counts health checks, and who does not pass, by Service and by the account whose pods ask. */
import type { Metrics } from '#telemetry'
import type { HealthView } from './health-view.ts'

const LABELS = [
  'source_workload_namespace',
  'source_service_account',
  'destination_service_name',
  'destination_service_namespace',
] as const

export class HealthMetrics {
  readonly #checks
  readonly #unhealthy
  readonly #skipped

  constructor(metrics: Metrics) {
    this.#checks = metrics.counter({
      name: 'weir_health_checks_total',
      help: 'Health checks made, by what they found: passed, failed, or denied by policy of the endpoint.',
      labels: [...LABELS, 'outcome'],
    })
    this.#unhealthy = metrics.gauge({
      name: 'weir_unhealthy_endpoints',
      help: 'Endpoints that do not pass their health checks.',
      labels: LABELS,
    })
    this.#skipped = metrics.counter({
      name: 'weir_health_checks_skipped_total',
      help: 'Endpoints not checked because the proxy has as many checks as it may.',
      labels: LABELS,
    })
  }

  checked(view: HealthView, outcome: 'passed' | 'failed' | 'denied'): void {
    this.#checks.handle({ ...endsOf(view), outcome }).inc(1)
  }

  unhealthy(view: HealthView): void {
    // A Service's ports share a series.
    this.#unhealthy.handle(endsOf(view)).inc(view.unhealthy - view.counted)
    view.counted = view.unhealthy
  }

  skipped(view: HealthView): void {
    this.#skipped.handle(endsOf(view)).inc(1)
  }
}

function endsOf({ source, service }: HealthView) {
  const [namespace = '', account = ''] = source.split('/')
  const [serviceNamespace = '', name = ''] = service.split('/')
  return {
    source_workload_namespace: namespace,
    source_service_account: account,
    destination_service_name: name,
    destination_service_namespace: serviceNamespace,
  }
}
