/**
 * Which trace or request a line belongs to, as far as it says so: W3C `traceparent`, a field such as trace_id, traceId or
 * trace.id, 32 hexadecimal digits after the word trace, or 16 as those who speak B3 may have them; x-request-id and
 * request_id. Every expression is linear.
 */

export interface TraceMark {
  /** 32 lower-case hexadecimal digits; empty when it names none. */
  readonly traceId: string
  /** 16 lower-case hexadecimal digits; empty when it names none. */
  readonly spanId: string
  readonly requestId: string
}

export const NO_TRACE: TraceMark = { traceId: '', spanId: '', requestId: '' }

const SEPARATORS = `["'\\\\\\s:=[(]{1,6}`
const TRACE = new RegExp(
  `trace(?:[_.\\- ]?(?:id|context|parent))?${SEPARATORS}(?:00-)?([0-9a-f]{32}|[0-9a-f]{16})(?![0-9a-f])(?:-([0-9a-f]{16})(?![0-9a-f]))?`,
  'i',
)
const SPAN = new RegExp(`span[_.\\- ]?id${SEPARATORS}([0-9a-f]{16})(?![0-9a-f])`, 'i')
const REQUEST = new RegExp(`request[_.\\- ]?id${SEPARATORS}([0-9a-z][\\w.\\-]{7,127})`, 'i')
const NO_ID = /^0+$/

export function findTrace(message: string): TraceMark {
  // Most lines name none: two searches instead of three expressions.
  const hasTrace = message.includes('race')
  const hasRequest = message.includes('equest') || message.includes('EQUEST')
  if (!hasTrace && !hasRequest) return NO_TRACE
  const trace = hasTrace ? TRACE.exec(message) : null
  const traceId = paddedTraceId(trace?.[1] ?? '')
  const requestId = hasRequest ? (REQUEST.exec(message)?.[1] ?? '') : ''
  if (traceId === '' || NO_ID.test(traceId)) return requestId === '' ? NO_TRACE : { ...NO_TRACE, requestId }
  const spanId = (trace?.[2] ?? SPAN.exec(message)?.[1] ?? '').toLowerCase()
  return { traceId, spanId, requestId }
}

const SHORT = /^[0-9a-f]{16}$/

/** As the mesh has it: in lower case, one of 64 bits padded with zeros. */
export function paddedTraceId(text: string): string {
  const lower = text.toLowerCase()
  return SHORT.test(lower) ? lower.padStart(32, '0') : lower
}

/** What every line that names this trace holds. */
export function shortTraceId(text: string): string {
  const lower = text.toLowerCase()
  return /^0{16}[0-9a-f]{16}$/.test(lower) ? lower.slice(16) : lower
}
