/**
 * Is this HTTP/1.x? Incremental: a request line in many packets is still HTTP, and one byte that no
 * request line can hold settles the other answer at once. The bias: what begins like an HTTP request
 * is judged as one (and refused if malformed), so that nothing slips past L7 policy as opaque bytes.
 */
import { isTokenByte } from './head.ts'
import { latin1 } from './latin1.ts'

export type Detection = 'http1' | 'http2' | 'other' | 'more'

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
/** Methods of the IANA registry that are in use; their name and white space suffice. */
const METHODS =
  'GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|QUERY|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK|UNLOCK|REPORT|SEARCH|PURGE|LINK|UNLINK|BIND|ACL|MERGE|CHECKOUT|CHECKIN|MKCALENDAR|SUBSCRIBE|UNSUBSCRIBE|NOTIFY|M-SEARCH'.split(
    '|',
  )
const KNOWN_METHOD = new RegExp(`^(?:${METHODS.join('|')})[ \\t\\v\\f]`)
/** Longer than any method in use: what follows them as text must be told apart by the whole line. */
const LONGEST_KNOWN = 16
/** An unregistered method is decided at the end of its line, or when the line is as long as this. */
const MAX_LINE = 8192

/** White space that servers are known to skip before a request line: HT, LF, VT, FF, CR, SP. */
function isSkipped(byte: number): boolean {
  return (byte >= 9 && byte <= 13) || byte === 32
}

/**
 * Judges the first bytes [start, end) of a connection. `more`: undecided, give more bytes (and, when
 * they do not come, it is not HTTP unless `mayBecomeRequest`).
 */
export function detect(bytes: Buffer, start: number, end: number): Detection {
  let at = start
  // RFC 9112 section 2.2 has servers ignore an empty line first; many ignore any number of them.
  while (at < end && isSkipped(bytes[at] as number)) {
    if (++at - start > MAX_LINE) return 'http1'
  }
  if (at === end) return 'more'
  const first = at
  while (at < end && isTokenByte(bytes[at] as number)) at++
  if (at === end) return at - first > MAX_LINE ? 'other' : 'more'
  if (at === first || !isSkipped(bytes[at] as number)) return 'other'
  if (bytes[first] === 80 && bytes[first + 1] === 82 && bytes[first + 2] === 73) {
    const text = latin1(bytes, first, Math.min(end, first + PREFACE.length))
    if (PREFACE.startsWith(text)) return text.length === PREFACE.length ? 'http2' : 'more'
  }
  if (KNOWN_METHOD.test(latin1(bytes, first, Math.min(end, first + LONGEST_KNOWN)))) return 'http1'
  // An unregistered method: HTTP if the line says so, or as much of it as comes before a byte that no line holds.
  const last = Math.min(end, first + MAX_LINE)
  for (let i = at; i < last; i++) {
    const byte = bytes[i] as number
    if (byte === 10 || (byte < 32 && !isSkipped(byte))) {
      return /\sHTTP\/\d/i.test(latin1(bytes, first, i)) ? 'http1' : 'other'
    }
  }
  if (end - first < MAX_LINE) return 'more'
  // So long a line without an end: a request with a long target, if it has the look of one.
  return /^\S+\s+(?:\/|\*|https?:)/i.test(latin1(bytes, first, first + MAX_LINE)) ? 'http1' : 'other'
}

/** Could the undecided beginning [start, end) still grow into a request with a registered method? */
export function mayBecomeRequest(bytes: Buffer, start: number, end: number): boolean {
  let at = start
  while (at < end && isSkipped(bytes[at] as number)) at++
  if (at === end) return false
  const begun = latin1(bytes, at, Math.min(end, at + PREFACE.length))
  return PREFACE.startsWith(begun) || METHODS.some((method) => method.startsWith(begun))
}
