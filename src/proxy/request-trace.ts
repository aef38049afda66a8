/** A request's place in its trace, from its head to its end: whose child it is, and the ids of the spans made for it. */

import { REPORT_BOTH, REPORT_DESTINATION, REPORT_SOURCE, type Reporters } from '#telemetry'
import { type B3, isSampled, type Retry, readTraceparent, renderTraceparent } from '#tracing'
import { newSpanId, newTraceId } from './trace-context.ts'

/** Of a trace id of 64 bits. */
const PADDING = '0'.repeat(16)
const NO_RETRIES: readonly Retry[] = Object.freeze([])

export class RequestTrace {
  readonly traceId: string
  readonly parentId: string
  /** What those who come after are told. */
  readonly sampled: boolean
  clientId = ''
  serverId = ''
  readonly #random: boolean
  readonly #b3: B3 | undefined
  #retries: Retry[] | undefined

  /** @param given a well-formed traceparent, or empty @param b3 what the client says in that form, too */
  constructor(given: string, b3: B3 | undefined, ratio: number) {
    const context = given === '' ? undefined : readTraceparent(given)
    this.traceId = context?.traceId ?? (b3?.traceId || newTraceId())
    this.parentId = context?.parentId ?? b3?.spanId ?? ''
    this.sampled = (context === undefined ? b3?.sampled : context.sampled) ?? isSampled(this.traceId, ratio)
    this.#random = context?.random ?? false
    this.#b3 = b3
  }

  get retries(): readonly Retry[] {
    return this.#retries ?? NO_RETRIES
  }

  retried(retry: Retry): void {
    this.#retries ??= []
    this.#retries.push(retry)
  }

  /** Id of the span that the request goes on in: of the last one that is made here. */
  outgoing(reporters: Reporters): string {
    this.name(reporters)
    return (reporters & REPORT_DESTINATION) !== 0 ? this.serverId : this.clientId
  }

  /** Gives ids to the spans that are this node's to make. */
  name(reporters: Reporters): void {
    if ((reporters & REPORT_SOURCE) !== 0) this.clientId ||= newSpanId()
    if ((reporters & REPORT_DESTINATION) !== 0) this.serverId ||= newSpanId()
  }

  traceparent(reporters: Reporters): string {
    return renderTraceparent(this.traceId, this.outgoing(reporters), this.sampled, this.#random)
  }

  /** Names and values in the form in which the client speaks B3; none when it does not. */
  b3Fields(reporters: Reporters): readonly string[] {
    const b3 = this.#b3
    if (b3 === undefined) return []
    const traceId = b3.short && this.traceId.startsWith(PADDING) ? this.traceId.slice(PADDING.length) : this.traceId
    const spanId = this.outgoing(reporters)
    // A traceparent is heard first, and may say otherwise.
    const isDebug = b3.debug && this.sampled
    const parentId = reporters === REPORT_BOTH ? this.clientId : this.parentId
    if (b3.form === 'single') {
      const state = isDebug ? 'd' : this.sampled ? '1' : '0'
      return ['b3', `${traceId}-${spanId}-${state}${parentId === '' ? '' : `-${parentId}`}`]
    }
    const ids = ['x-b3-traceid', traceId, 'x-b3-spanid', spanId]
    if (parentId !== '') ids.push('x-b3-parentspanid', parentId)
    ids.push(...(isDebug ? ['x-b3-flags', '1'] : ['x-b3-sampled', this.sampled ? '1' : '0']))
    return ids
  }
}
