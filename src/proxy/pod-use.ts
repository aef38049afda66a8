/**
 * What each pod takes of the shared proxy: counted as it comes, told with the metrics. Its CPU time is an estimate: that of
 * the process, dealt out by what the pods had it do since it was dealt out last. Series go with their pods.
 */
import type { MetricFamily, MetricSeries } from '#contract'
import type { Pod } from './pod.ts'

/** Of one pod; added to on the hot path. */
export class PodUse {
  requests = 0
  connections = 0
  bytesIn = 0
  bytesOut = 0
  cpuSeconds = 0
  /** Work that was dealt its share already. */
  #dealt = 0

  /** A request is one; opening a connection, or moving 64 KiB, costs about as much (measured). */
  takeWork(): number {
    const all = this.requests + this.connections + (this.bytesIn + this.bytesOut) / 65_536
    const work = all - this.#dealt
    this.#dealt = all
    return work
  }
}

/** Beyond it pods share the series `other`: a node runs fewer. */
const MAX_PODS = 512

export class PodUseFamilies {
  #cpuBefore = 0

  /** @param cpuSeconds of the process, since its start */
  collect(pods: readonly Pod[], cpuSeconds: number): MetricFamily[] {
    const spent = cpuSeconds - this.#cpuBefore
    this.#cpuBefore = cpuSeconds
    const work = pods.map(({ use }) => use.takeWork())
    const all = work.reduce((sum, one) => sum + one, 0)
    if (all > 0) for (const [i, { use }] of pods.entries()) use.cpuSeconds += (spent * (work[i] ?? 0)) / all
    const family = (name: string, type: MetricFamily['type'], help: string, of: (pod: Pod) => number): MetricFamily => {
      return { name, type, help, series: seriesOf(pods, of) }
    }
    return [
      family(
        'weir_pod_cpu_seconds_total',
        'counter',
        'CPU time of the shared proxies that a pod took, estimated from requests, connections and bytes.',
        ({ use }) => use.cpuSeconds,
      ),
      family(
        'weir_pod_requests_total',
        'counter',
        'Requests that proxies handled for a pod.',
        ({ use }) => use.requests,
      ),
      family(
        'weir_pod_connections_total',
        'counter',
        'Opaque connections that proxies carried for a pod.',
        ({ use }) => use.connections,
      ),
      family(
        'weir_pod_received_bytes_total',
        'counter',
        'Body bytes, and bytes of opaque connections, that proxies read from the clients of a pod’s connections.',
        ({ use }) => use.bytesIn,
      ),
      family(
        'weir_pod_sent_bytes_total',
        'counter',
        'Body bytes, and bytes of opaque connections, that proxies wrote to the clients of a pod’s connections.',
        ({ use }) => use.bytesOut,
      ),
      family('weir_pod_connections', 'gauge', 'Connections that a pod holds in the proxies.', ({ connections }) => {
        return connections.size
      }),
      family('weir_pod_requests_in_flight', 'gauge', 'Requests of a pod until the end of their bodies.', (pod) => {
        return pod.requestsInFlight
      }),
    ]
  }
}

function seriesOf(pods: readonly Pod[], of: (pod: Pod) => number): MetricSeries[] {
  const series = pods.slice(0, MAX_PODS).map((pod): MetricSeries => {
    const [namespace = '', name = ''] = pod.workload.split('/')
    return { labels: { namespace, pod: name }, values: [of(pod)] }
  })
  const rest = pods.slice(MAX_PODS)
  if (rest.length > 0) {
    const sum = rest.reduce((total, pod) => total + of(pod), 0)
    series.push({ labels: { namespace: 'other', pod: 'other' }, values: [sum] })
  }
  return series
}
