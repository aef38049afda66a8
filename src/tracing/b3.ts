/**
 * B3, the trace context of Zipkin (github.com/openzipkin/b3-propagation): the header `b3`, or several that begin with
 * `x-b3-`. The single one is heard first; what is malformed says nothing.
 */

export interface B3 {
  /** 32 lower-case hexadecimal digits, shorter ones padded with zeros; empty when only a decision is told. */
  readonly traceId: string
  /** 16 lower-case hexadecimal digits; empty with the trace id. */
  readonly spanId: string
  /** Undefined: whoever sent it leaves that to those who come after. */
  readonly sampled: boolean | undefined
  /** To be recorded whatever else is decided. */
  readonly debug: boolean
  readonly form: 'single' | 'several'
  /** Its trace id came with 16 digits. */
  readonly short: boolean
}

/** Names of the headers, in lower case. */
export const B3_HEADERS: readonly string[] = [
  'b3',
  'x-b3-traceid',
  'x-b3-spanid',
  'x-b3-parentspanid',
  'x-b3-sampled',
  'x-b3-flags',
]

/** @param header value by lower-case name */
export function readB3(header: (lowerCaseName: string) => string | undefined): B3 | undefined {
  return readSingle(header('b3')) ?? readSeveral(header)
}

const SINGLE = /^(?:([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d])(?:-[0-9a-f]{16})?)?|([01d]))$/i

function readSingle(text: string | undefined): B3 | undefined {
  const [, traceId = '', spanId = '', ofTrace, alone] = (text === undefined ? null : SINGLE.exec(text)) ?? []
  const state = (ofTrace ?? alone)?.toLowerCase()
  if (traceId === '' && state === undefined) return undefined
  return made(traceId, spanId, state === undefined ? undefined : state !== '0', state === 'd', 'single')
}

const TRACE_ID = /^(?:[0-9a-f]{16}|[0-9a-f]{32})$/i
const SPAN_ID = /^[0-9a-f]{16}$/i
/** The words were sent before the specification was written. */
const DECISIONS: ReadonlyMap<string, boolean> = new Map([
  ['0', false],
  ['1', true],
  ['false', false],
  ['true', true],
])

function readSeveral(header: (lowerCaseName: string) => string | undefined): B3 | undefined {
  const traceId = header('x-b3-traceid') ?? ''
  const spanId = header('x-b3-spanid') ?? ''
  const debug = header('x-b3-flags') === '1'
  const sampled = debug ? true : DECISIONS.get(header('x-b3-sampled')?.toLowerCase() ?? '')
  if (traceId === '' && spanId === '')
    return sampled === undefined ? undefined : made('', '', sampled, debug, 'several')
  if (!TRACE_ID.test(traceId) || !SPAN_ID.test(spanId)) return undefined
  return made(traceId, spanId, sampled, debug, 'several')
}

/** Undefined when an id is all zeros. */
function made(
  traceId: string,
  spanId: string,
  sampled: boolean | undefined,
  debug: boolean,
  form: B3['form'],
): B3 | undefined {
  if (traceId === '') return { traceId: '', spanId: '', sampled, debug, form, short: false }
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined
  const short = traceId.length === 16
  return { traceId: traceId.toLowerCase().padStart(32, '0'), spanId: spanId.toLowerCase(), sampled, debug, form, short }
}
