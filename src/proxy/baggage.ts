/** Who is at our end of a tunnel, for the other end's telemetry. */
import type { Workload } from '#contract'

/** In the keys that Istio ambient uses; values as W3C Baggage wants them. */
export function baggageOf({ namespace, owner, app, version }: Workload): string {
  const entries = [
    ['k8s.cluster.name', 'Kubernetes'],
    ['k8s.namespace.name', namespace],
    ['k8s.deployment.name', owner],
    ['service.name', app],
    ['service.version', version],
  ]
  return entries.map(([key, value]) => `${key}=${encodeURIComponent(value ?? '')}`).join(',')
}
