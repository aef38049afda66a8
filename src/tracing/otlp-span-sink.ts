/**
 * Spans to an OpenTelemetry collector: OTLP over HTTP by the official exporter. Loaded only where it is configured, with
 * the first spans: it takes some 30 MiB.
 */
import { type SpanContext, SpanKind, SpanStatusCode, TraceFlags } from '@opentelemetry/api'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources'
import type { ReadableSpan } from '@opentelemetry/sdk-trace'
import type { SinkFailure, SpanSink } from './span-queue.ts'
import { type Span, spansOf } from './spans.ts'
import type { TracedOnEdge, TracedPeer } from './traced-request.ts'

const TIMEOUT_MS = 5_000
const SCOPE = { name: 'weir' }
/** Pods come and go. */
const MAX_RESOURCES = 4_096

export class OtlpSpanSink implements SpanSink {
  readonly #exporter: OTLPTraceExporter
  readonly #node: string
  readonly #resources = new Map<string, Resource>()

  /** @param url `http://collector:4318/v1/traces`; headers, certificates, compression: OTEL_EXPORTER_OTLP_* variables */
  constructor(url: string, node: string) {
    this.#exporter = new OTLPTraceExporter({ url, timeoutMillis: TIMEOUT_MS })
    this.#node = node
  }

  export(requests: readonly TracedOnEdge[]): Promise<SinkFailure | undefined> {
    const spans = requests.flatMap(({ edge, request }) => spansOf(edge, request).map((span) => this.#readable(span)))
    const { promise, resolve } = Promise.withResolvers<SinkFailure | undefined>()
    this.#exporter.export(spans, ({ code, error }) => {
      // 0: ExportResultCode.SUCCESS of @opentelemetry/core.
      if (code === 0) resolve(undefined)
      else resolve({ error: error ?? new Error('no reason given'), isFinal: isRefused(error) })
    })
    return promise
  }

  [Symbol.dispose](): void {
    void this.#exporter.shutdown().catch(() => undefined)
  }

  #readable(span: Span): ReadableSpan {
    const { traceId, spanId, parentId, startMs, durationMs, error } = span
    const context: SpanContext = { traceId, spanId, traceFlags: span.sampled ? TraceFlags.SAMPLED : TraceFlags.NONE }
    return {
      name: span.name,
      kind: span.side === 'client' ? SpanKind.CLIENT : SpanKind.SERVER,
      spanContext: () => context,
      ...(parentId === ''
        ? {}
        : { parentSpanContext: { ...context, spanId: parentId, isRemote: span.parentIsRemote } }),
      startTime: hrTime(startMs),
      endTime: hrTime(startMs + durationMs),
      duration: hrTime(durationMs),
      status:
        error === undefined ? { code: SpanStatusCode.UNSET } : { code: SpanStatusCode.ERROR, message: error.message },
      attributes: { ...span.attributes },
      links: [],
      events: span.events.map(({ name, atMs, attributes }) => ({
        name,
        time: hrTime(atMs),
        attributes: { ...attributes },
        droppedAttributesCount: 0,
      })),
      ended: true,
      resource: this.#resourceOf(span.peer),
      instrumentationScope: SCOPE,
      droppedAttributesCount: 0,
      droppedEventsCount: 0,
      droppedLinksCount: 0,
    }
  }

  /** As the semantic conventions name them. */
  #resourceOf(peer: TracedPeer | undefined): Resource {
    const key = peer === undefined ? '' : `${peer.uid} ${peer.namespace} ${peer.pod} ${peer.service} ${peer.version}`
    const known = this.#resources.get(key)
    if (known !== undefined) return known
    if (this.#resources.size >= MAX_RESOURCES) this.#resources.clear()
    const made = resourceFromAttributes({
      ...(peer === undefined
        ? { 'service.name': 'unknown' }
        : {
            'service.name': peer.service,
            'service.namespace': peer.namespace,
            ...(peer.version === '' ? {} : { 'service.version': peer.version }),
            'k8s.namespace.name': peer.namespace,
            'k8s.pod.name': peer.pod,
            'k8s.pod.uid': peer.uid,
          }),
      'k8s.node.name': this.#node,
    })
    this.#resources.set(key, made)
    return made
  }
}

function hrTime(ms: number): [number, number] {
  const seconds = Math.floor(ms / 1000)
  return [seconds, Math.min(999_999_999, Math.round((ms - seconds * 1000) * 1e6))]
}

/** The collector will not take it, however often it is asked (OTLP 1.x, Failures). */
function isRefused(error: Error | undefined): boolean {
  const status = error !== undefined && 'code' in error && typeof error.code === 'number' ? error.code : 0
  return status >= 400 && status < 500 && status !== 408 && status !== 429
}
