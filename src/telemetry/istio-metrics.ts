/**
 * The Istio standard metrics, exactly by name and label (istio.io, "Istio Standard Metrics"), so that Kiali,
 * Flagger and existing boards read them. What is not known reads `unknown`.
 */
import type { ResponseFlag } from '#contract'
import type { HistogramFamily, Metrics, ValueFamily } from './metrics.ts'

/** Envoy's default histogram bounds, which Istio uses for milliseconds and for bytes alike. */
export const ISTIO_BUCKETS: readonly number[] = [
  0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000,
  3_600_000,
]

export const UNKNOWN = 'unknown'

/** A workload as the metrics name it. */
export interface WorkloadLabels {
  readonly namespace: string
  /** The owner people know it by, not the pod. */
  readonly workload: string
  readonly app: string
  readonly version: string
  /** `spiffe://…`; `unknown` without a verified identity. */
  readonly principal: string
}

export const UNKNOWN_WORKLOAD: WorkloadLabels = {
  namespace: UNKNOWN,
  workload: UNKNOWN,
  app: UNKNOWN,
  version: UNKNOWN,
  principal: UNKNOWN,
}

export interface ServiceLabels {
  /** `NAME.NAMESPACE.svc.cluster.local`, or the address when no Service stands behind it. */
  readonly host: string
  readonly name: string
  readonly namespace: string
}

export const UNKNOWN_SERVICE: ServiceLabels = { host: UNKNOWN, name: UNKNOWN, namespace: UNKNOWN }

export type RequestProtocol = 'http' | 'grpc' | 'tcp'
/** `mutual_tls`: both identities were proven, by certificates or (on one node) by the kernel. */
export type SecurityPolicy = 'mutual_tls' | 'none' | 'unknown'

/** One way that traffic takes; one `RequestEdge` or `TcpEdge` stands for it. */
export interface EdgeDescription {
  readonly source: WorkloadLabels
  readonly destination: WorkloadLabels
  readonly service: ServiceLabels
  readonly protocol: RequestProtocol
  readonly securityPolicy: SecurityPolicy
  /** Cluster name of both ends; Istio's own default when absent: `Kubernetes`. */
  readonly cluster?: string
}

/** Who reports: 1 the client's side, 2 the server's, 3 both (same node, one pass). */
export type Reporters = 1 | 2 | 3
export const REPORT_SOURCE = 1
export const REPORT_DESTINATION = 2
export const REPORT_BOTH = 3

const SHARED_LABELS = [
  'reporter',
  'source_workload',
  'source_workload_namespace',
  'source_principal',
  'source_app',
  'source_version',
  'source_canonical_service',
  'source_canonical_revision',
  'source_cluster',
  'destination_workload',
  'destination_workload_namespace',
  'destination_principal',
  'destination_app',
  'destination_version',
  'destination_canonical_service',
  'destination_canonical_revision',
  'destination_cluster',
  'destination_service',
  'destination_service_name',
  'destination_service_namespace',
  'request_protocol',
  'response_flags',
  'connection_security_policy',
] as const
const REQUEST_LABELS = [...SHARED_LABELS, 'response_code', 'grpc_response_status'] as const

/** Istio counts messages by their ends alone. */
const MESSAGE_LABELS = SHARED_LABELS.filter((name) => name !== 'response_flags')

export type MessageLabel = Exclude<(typeof SHARED_LABELS)[number], 'response_flags'>
export type TcpLabel = (typeof SHARED_LABELS)[number]
export type RequestLabel = (typeof REQUEST_LABELS)[number]

export interface IstioFamilies {
  readonly requests: ValueFamily<RequestLabel>
  readonly durations: HistogramFamily<RequestLabel>
  readonly requestBytes: HistogramFamily<RequestLabel>
  readonly responseBytes: HistogramFamily<RequestLabel>
  readonly requestMessages: ValueFamily<MessageLabel>
  readonly responseMessages: ValueFamily<MessageLabel>
  readonly tcpOpened: ValueFamily<TcpLabel>
  readonly tcpClosed: ValueFamily<TcpLabel>
  readonly tcpSent: ValueFamily<TcpLabel>
  readonly tcpReceived: ValueFamily<TcpLabel>
}

/** Once per `Metrics`. */
export function createIstioFamilies(metrics: Metrics, maxSeries?: number): IstioFamilies {
  const bound = maxSeries === undefined ? {} : { maxSeries }
  const http = (name: string, help: string) => ({ name, help, labels: REQUEST_LABELS, ...bound })
  const sized = (name: string, help: string) => metrics.histogram({ ...http(name, help), buckets: ISTIO_BUCKETS })
  const messages = (name: string, help: string) =>
    metrics.counter<MessageLabel>({ name, help, labels: MESSAGE_LABELS as readonly MessageLabel[], ...bound })
  const tcp = (name: string, help: string) => metrics.counter({ name, help, labels: SHARED_LABELS, ...bound })
  return {
    requests: metrics.counter(http('istio_requests_total', 'Requests handled.')),
    durations: sized('istio_request_duration_milliseconds', 'Duration of requests in milliseconds.'),
    requestBytes: sized('istio_request_bytes', 'Body bytes of requests.'),
    responseBytes: sized('istio_response_bytes', 'Body bytes of responses.'),
    requestMessages: messages('istio_request_messages_total', 'gRPC messages that clients sent.'),
    responseMessages: messages('istio_response_messages_total', 'gRPC messages that servers sent.'),
    tcpOpened: tcp('istio_tcp_connections_opened_total', 'TCP connections opened.'),
    tcpClosed: tcp('istio_tcp_connections_closed_total', 'TCP connections closed.'),
    tcpSent: tcp('istio_tcp_sent_bytes_total', 'Bytes sent to the client of a TCP connection.'),
    tcpReceived: tcp('istio_tcp_received_bytes_total', 'Bytes received from the client of a TCP connection.'),
  }
}

/**
 * `connection_security_policy` is `unknown` when the client's side reports, as Istio's page says.
 */
export function edgeLabels(
  edge: EdgeDescription,
  reporter: 'source' | 'destination',
  flag: ResponseFlag,
): Record<TcpLabel, string> {
  const { source, destination, service } = edge
  const cluster = edge.cluster ?? 'Kubernetes'
  return {
    reporter,
    source_workload: source.workload,
    source_workload_namespace: source.namespace,
    source_principal: source.principal,
    source_app: source.app,
    source_version: source.version,
    source_canonical_service: canonicalService(source),
    source_canonical_revision: canonicalRevision(source),
    source_cluster: source.workload === UNKNOWN ? UNKNOWN : cluster,
    destination_workload: destination.workload,
    destination_workload_namespace: destination.namespace,
    destination_principal: destination.principal,
    destination_app: destination.app,
    destination_version: destination.version,
    destination_canonical_service: canonicalService(destination),
    destination_canonical_revision: canonicalRevision(destination),
    destination_cluster: destination.workload === UNKNOWN ? UNKNOWN : cluster,
    destination_service: service.host,
    destination_service_name: service.name,
    destination_service_namespace: service.namespace,
    request_protocol: edge.protocol,
    response_flags: flag,
    connection_security_policy: reporter === 'source' ? UNKNOWN : edge.securityPolicy,
  }
}

/** Istio falls back from the app label to the workload's name, and from the version label to `latest`. */
function canonicalService(workload: WorkloadLabels): string {
  return workload.app === UNKNOWN ? workload.workload : workload.app
}

function canonicalRevision(workload: WorkloadLabels): string {
  if (workload.version !== UNKNOWN) return workload.version
  return workload.workload === UNKNOWN ? UNKNOWN : 'latest'
}
