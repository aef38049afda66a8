/** The traceparent of W3C Trace Context (level 1 and 2): what is read from a well-formed one, and how one is written. */

/** Of the flags: the caller records its spans. */
const SAMPLED = 1
/** Of the flags, level 2: the right half of the trace id is random. Passed on as it came. */
const RANDOM = 2

/** Where in a trace a request is. */
export interface TraceContext {
  /** 32 lower-case hexadecimal digits, not all zeros. */
  readonly traceId: string
  /** Id of the span that the request was sent in, 16 lower-case hexadecimal digits, not all zeros; empty: of none. */
  readonly parentId: string
  /** Undefined: whoever sent it leaves that to those who come after. */
  readonly sampled: boolean | undefined
  readonly random: boolean
}

/** @param text of a traceparent that `isTraceparent` (#http) takes for well-formed */
export function readTraceparent(text: string): TraceContext {
  const flags = Number.parseInt(text.slice(53, 55), 16)
  return {
    traceId: text.slice(3, 35),
    parentId: text.slice(36, 52),
    sampled: (flags & SAMPLED) !== 0,
    random: (flags & RANDOM) !== 0,
  }
}

/** Of version 00; flags that it does not know are not passed on (section 3.2.2.5.2 of level 1). */
export function renderTraceparent(traceId: string, spanId: string, sampled: boolean, random: boolean): string {
  return `00-${traceId}-${spanId}-0${(sampled ? SAMPLED : 0) | (random ? RANDOM : 0)}`
}
