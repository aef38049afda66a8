/** Metrics and the access log. */
export type { AccessEdgeDescription, AccessReporter } from './access-line.ts'
export { AccessEdge, AccessRecord, renderLine, writeConnectionLine, writeRequestLine } from './access-line.ts'
export type { AccessLogOptions } from './access-log.ts'
export { AccessLog } from './access-log.ts'
export { RequestEdge, TcpEdge } from './edge.ts'
export { EdgeCache } from './edge-cache.ts'
export type {
  EdgeDescription,
  IstioFamilies,
  Reporters,
  RequestProtocol,
  SecurityPolicy,
  ServiceLabels,
  WorkloadLabels,
} from './istio-metrics.ts'
export {
  createIstioFamilies,
  ISTIO_BUCKETS,
  REPORT_BOTH,
  REPORT_DESTINATION,
  REPORT_SOURCE,
  UNKNOWN,
  UNKNOWN_SERVICE,
  UNKNOWN_WORKLOAD,
} from './istio-metrics.ts'
export { jsonText } from './json-text.ts'
export { mergeFamilies } from './merge.ts'
export type { FamilyOptions, HistogramFamily, HistogramHandle, ValueFamily, ValueHandle } from './metrics.ts'
export { MAX_SERIES_DEFAULT, Metrics } from './metrics.ts'
export { PROMETHEUS_CONTENT_TYPE, renderPrometheus } from './prometheus.ts'
