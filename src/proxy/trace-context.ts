/** W3C Trace Context (w3.org/TR/trace-context): begun where a request has none, or continued where it has that of B3. */
import { randomFillSync } from 'node:crypto'
import { type B3, renderTraceparent } from '#tracing'

const HEX: readonly string[] = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'))
const TRACE_BYTES = 16
const SPAN_BYTES = 8
const pool = new Uint8Array((TRACE_BYTES + SPAN_BYTES) * 128)
let used = pool.length

function randomHex(bytes: number): string {
  if (used + bytes > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  let out = ''
  for (const end = used + bytes; used < end; used++) out += HEX[pool[used] as number]
  return out
}

/** 32 digits. All zeros, which would be no id, is one chance in 2^128. */
export function newTraceId(): string {
  return randomHex(TRACE_BYTES)
}

/** 16 digits. */
export function newSpanId(): string {
  return randomHex(SPAN_BYTES)
}

/** A new `traceparent`, not sampled unless somebody has asked for spans. */
export function newTraceparent(sampled = false): string {
  return `00-${newTraceId()}-${newSpanId()}-${sampled ? '01' : '00'}`
}

/** That of a caller who speaks B3: its trace and span; a trace begun here when it names none. */
export function traceparentOfB3(b3: B3 | undefined): string {
  if (b3 === undefined || b3.traceId === '') return newTraceparent(b3?.sampled)
  return renderTraceparent(b3.traceId, b3.spanId, b3.sampled === true, false)
}

/** Trace id of a traceparent; empty when it is malformed. */
export function traceIdOf(traceparent: string): string {
  return traceparent.length >= 55 && traceparent.charCodeAt(2) === 45 ? traceparent.slice(3, 35) : ''
}
