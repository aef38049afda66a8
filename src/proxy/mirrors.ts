/**
 * Copies of requests to other backends, sent when the request has come whole, and never waited for: each is a request of its
 * own from the same pod, judged by policy where it goes, of which only the log and the metrics hear the end.
 */
import { latin1 } from '#http'
import type { ForwardDecision, MirrorPlan } from '#routing'
import type { Metrics, ValueFamily } from '#telemetry'
import type { HttpExchange } from './http-exchange.ts'
import { NowhereStream } from './nowhere-stream.ts'

/** Larger bodies are not copied. */
const MAX_COPY_BYTES = 65536
/** Copies of one pod's requests in progress in one proxy, for each Service that they go to. */
const MAX_IN_PROGRESS = 64

/** Serves what is written to `stream` as a request of the pod, to the backend of `decision`. */
export type SendCopy = (of: HttpExchange, decision: ForwardDecision, stream: NowhereStream, bytes: Buffer) => void

/** The workload that a request is of, if it is known. */
type SourceOf = (of: HttpExchange) => { readonly owner: string; readonly namespace: string } | undefined

const LABELS = [
  'destination_service_name',
  'destination_service_namespace',
  'source_workload',
  'source_workload_namespace',
  'outcome',
] as const

type CopyOutcome = 'sent' | 'too-large' | 'overflow'

export class Mirrors {
  readonly #send: SendCopy
  readonly #sourceOf: SourceOf
  readonly #counter: ValueFamily<(typeof LABELS)[number]>
  /** In progress, by pod and `namespace/name` of the Service. */
  readonly #active = new WeakMap<object, Map<string, number>>()

  constructor(metrics: Metrics, send: SendCopy, sourceOf: SourceOf) {
    this.#send = send
    this.#sourceOf = sourceOf
    this.#counter = metrics.counter({
      name: 'weir_mirrored_requests_total',
      help: 'Copies of requests sent, and those not sent because the body was too large or too many were in progress (overflow).',
      labels: LABELS,
    })
  }

  /** Undefined when, by chance, none of the plans takes this request. */
  begin(of: HttpExchange, plans: readonly MirrorPlan[]): RequestCopy | undefined {
    const drawn = plans.filter(({ numerator, denominator }) => Math.random() * denominator < numerator)
    return drawn.length === 0 ? undefined : new RequestCopy(this, of, drawn)
  }

  send(of: HttpExchange, { decision }: MirrorPlan, bytes: Buffer): void {
    const { pod } = of
    let active = this.#active.get(pod)
    if (active === undefined) {
      active = new Map()
      this.#active.set(pod, active)
    }
    const name = `${decision.service.namespace}/${decision.service.name}`
    const count = active.get(name) ?? 0
    if (count >= MAX_IN_PROGRESS) {
      this.count(of, decision, 'overflow')
      return
    }
    active.set(name, count + 1)
    this.count(of, decision, 'sent')
    const stream = new NowhereStream(() => {
      const left = (active.get(name) ?? 1) - 1
      if (left === 0) active.delete(name)
      else active.set(name, left)
    })
    this.#send(of, decision, stream, bytes)
  }

  count(of: HttpExchange, { service }: ForwardDecision, outcome: CopyOutcome): void {
    const source = this.#sourceOf(of)
    const labels = {
      source_workload: source?.owner ?? 'unknown',
      source_workload_namespace: source?.namespace ?? 'unknown',
      destination_service_name: service.name,
      destination_service_namespace: service.namespace,
      outcome,
    }
    this.#counter.handle(labels).inc(1)
  }
}

/** The body of one request as it passes by. */
export class RequestCopy {
  readonly #mirrors: Mirrors
  readonly #of: HttpExchange
  readonly #plans: readonly MirrorPlan[]
  #body = ''
  #pieces = 0
  #tooLarge = false

  constructor(mirrors: Mirrors, of: HttpExchange, plans: readonly MirrorPlan[]) {
    this.#mirrors = mirrors
    this.#of = of
    this.#plans = plans
  }

  add(bytes: Buffer, start: number, end: number): void {
    if (this.#tooLarge) return
    if (this.#body.length + end - start > MAX_COPY_BYTES) {
      this.#tooLarge = true
      this.#body = ''
      for (const { decision } of this.#plans) this.#mirrors.count(this.#of, decision, 'too-large')
      return
    }
    this.#body += latin1(bytes, start, end)
    // A string put together of many small pieces takes many times its length.
    if (++this.#pieces % 64 === 0) this.#body = Buffer.from(this.#body, 'latin1').toString('latin1')
  }

  /** The request is complete. @param head its start line and header lines, without framing, each with its CRLF */
  send(head: string): void {
    if (this.#tooLarge) return
    const length = this.#body === '' ? '' : `content-length: ${this.#body.length}\r\n`
    const text = `${head}${length}connection: close\r\n\r\n${this.#body}`
    for (const plan of this.#plans) this.#mirrors.send(this.#of, plan, Buffer.from(text, 'latin1'))
  }
}
