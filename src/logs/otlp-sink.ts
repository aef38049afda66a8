/**
 * Lines to an OpenTelemetry collector: OTLP over HTTP by the official exporter, in batches, one at a time. A batch that
 * is not taken is tried again for a while, then counted as lost; what is to come waits in the pods' own files meanwhile.
 * Loaded only where it is configured: it takes some 30 MiB.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { TraceFlags } from '@opentelemetry/api'
import { OTLPLogExporter } from '@opentelemetry/exporter-logs-otlp-http'
import { type Resource, resourceFromAttributes } from '@opentelemetry/resources'
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs'
import { backoffMs, errorLine, startTimer } from '#base'
import { timeMicros } from './line-time.ts'
import type { LogLine } from './log-line.ts'
import type { ReadTarget } from './read-logs.ts'
import type { LogSink, SinkCounts } from './shipping.ts'
import { findTrace } from './trace-mark.ts'

export interface OtlpSinkOptions {
  /** `http://collector:4318/v1/logs`. Headers, certificates and compression: the exporter's OTEL_EXPORTER_OTLP_* variables. */
  readonly url: string
  readonly onProblem: (problem: string) => void
  readonly now: () => number
  readonly random: () => number
  /** A batch is given up after so long. Default 5 min. */
  readonly giveUpMs?: number
}

const MAX_BATCH_LINES = 2_000
const MAX_BATCH_CHARACTERS = 1 << 20
const TIMEOUT_MS = 10_000
const GIVE_UP_MS = 300_000
const BACKOFF = { baseMs: 500, maxMs: 15_000 }
const LAST_ANSWER_MS = 2_000
const SCOPE = { name: 'weir.logs' }

export class OtlpSink implements LogSink {
  readonly #options: OtlpSinkOptions
  readonly #exporter: OTLPLogExporter
  readonly #resources = new WeakMap<ReadTarget, Resource>()
  readonly #stopped = new AbortController()
  #batch: ReadableLogRecord[] = []
  #characters = 0
  #sent = 0
  #lost = 0
  #problem = ''

  constructor(options: OtlpSinkOptions) {
    this.#options = options
    this.#exporter = new OTLPLogExporter({ url: options.url, timeoutMillis: TIMEOUT_MS })
  }

  get pending(): number {
    return this.#batch.length
  }

  line(target: ReadTarget, line: LogLine): void {
    const { traceId, spanId, requestId } = findTrace(line.message)
    const observed = this.#options.now()
    const micros = timeMicros(line.time)
    this.#batch.push({
      hrTime: Number.isNaN(micros) ? hrTime(observed * 1000) : hrTime(micros),
      hrTimeObserved: hrTime(observed * 1000),
      body: line.message,
      resource: this.#resourceOf(target),
      instrumentationScope: SCOPE,
      attributes: {
        'log.iostream': line.stream,
        ...(requestId === '' ? {} : { 'weir.request_id': requestId }),
        ...(line.cut ? { 'weir.cut': true } : {}),
      },
      droppedAttributesCount: 0,
      ...(traceId === '' ? {} : { spanContext: { traceId, spanId, traceFlags: TraceFlags.NONE } }),
    })
    this.#characters += line.message.length
  }

  settle(isIdle: boolean): Promise<void> | undefined {
    const isFull = this.#batch.length >= MAX_BATCH_LINES || this.#characters >= MAX_BATCH_CHARACTERS
    return this.#batch.length > 0 && (isIdle || isFull) ? this.#export() : undefined
  }

  counts(): SinkCounts {
    return { sent: this.#sent, lost: this.#lost, problem: this.#problem }
  }

  stop(): void {
    this.#stopped.abort()
  }

  [Symbol.dispose](): void {
    void this.#exporter.shutdown().catch(() => undefined)
  }

  async #export(): Promise<void> {
    const { now, random, onProblem, url, giveUpMs = GIVE_UP_MS } = this.#options
    const begun = now()
    for (let failures = 1; ; failures++) {
      const error = await this.#exportOnce()
      if (error === undefined) {
        this.#sent += this.#batch.length
        this.#problem = ''
        break
      }
      const problem = `Logs not taken by ${url}: ${errorLine(error)}`
      if (this.#problem === '') onProblem(problem)
      this.#problem = problem
      if (this.#stopped.signal.aborted) return
      if (isRefused(error) || now() - begun > giveUpMs) {
        this.#lost += this.#batch.length
        onProblem(`${problem}; ${this.#batch.length} lines are given up`)
        break
      }
      await sleep(backoffMs(failures, random(), BACKOFF), undefined, { signal: this.#stopped.signal }).catch(
        () => undefined,
      )
      if (this.#stopped.signal.aborted) return
    }
    this.#batch = []
    this.#characters = 0
  }

  /** What is wrong; undefined when they were taken. */
  #exportOnce(): Promise<Error | undefined> {
    const { promise, resolve } = Promise.withResolvers<Error | undefined>()
    let late: Disposable | undefined
    // An answer that is on its way says that they need not be sent again.
    const stop = () => {
      late = startTimer(LAST_ANSWER_MS, () => resolve(new Error('stopped')))
    }
    this.#stopped.signal.addEventListener('abort', stop, { once: true })
    this.#exporter.export(this.#batch, ({ code, error }) => {
      this.#stopped.signal.removeEventListener('abort', stop)
      late?.[Symbol.dispose]()
      // 0: ExportResultCode.SUCCESS of @opentelemetry/core.
      resolve(code === 0 ? undefined : (error ?? new Error('no reason given')))
    })
    return promise
  }

  /** As the semantic conventions name them. */
  #resourceOf(target: ReadTarget): Resource {
    const known = this.#resources.get(target)
    if (known !== undefined) return known
    const { pod, container } = target
    const resource = resourceFromAttributes({
      'service.name': pod.owner === '' ? pod.name : pod.owner,
      'service.namespace': pod.namespace,
      'k8s.namespace.name': pod.namespace,
      'k8s.pod.name': pod.name,
      'k8s.pod.uid': pod.uid,
      'k8s.container.name': container,
      'k8s.node.name': pod.node,
      ...(pod.serviceAccount === '' ? {} : { 'k8s.serviceaccount.name': pod.serviceAccount }),
    })
    this.#resources.set(target, resource)
    return resource
  }
}

function hrTime(micros: number): [number, number] {
  const seconds = Math.floor(micros / 1e6)
  return [seconds, Math.round((micros - seconds * 1e6) * 1000)]
}

/** The collector will not take it, however often it is asked (OTLP 1.x, Failures). */
function isRefused(error: Error): boolean {
  const status = 'code' in error && typeof error.code === 'number' ? error.code : 0
  return status >= 400 && status < 500 && status !== 408 && status !== 429
}
