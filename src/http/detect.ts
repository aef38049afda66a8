/**
 * Is this HTTP/1.x? Incremental: a request line in many packets is still HTTP, and one byte that no
 * request line can hold settles the other answer at once. The bias: what begins like an HTTP request
 * is judged as one (and refused if malformed), so that nothing slips past L7 policy as opaque bytes.
 */
import { isTokenByte } from './head.ts'
import { latin1 } from './latin1.ts'

export type Detection = 'http1' | 'http2' | 'other' | 'more'

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
/** Methods of the IANA registry that are in use; their name and a space suffice to wait for the rest. */
const METHODS =
  /^(?:GET|HEAD|POST|PUT|DELETE|CONNECT|OPTIONS|TRACE|PATCH|QUERY|PROPFIND|PROPPATCH|MKCOL|COPY|MOVE|LOCK|UNLOCK|REPORT|SEARCH|PURGE|LINK|UNLINK|BIND|ACL|MERGE|CHECKOUT|CHECKIN|MKCALENDAR|SUBSCRIBE|UNSUBSCRIBE|NOTIFY|M-SEARCH) /
/** A first line of another text protocol is decided at its end; longer ones are not request lines. */
const MAX_LINE = 8192

/**
 * Judges the first bytes [start, end) of a connection. `more`: undecided, give more bytes (and, when
 * they do not come, it is not HTTP unless `beginsLikeHttp`).
 */
export function detect(bytes: Buffer, start: number, end: number): Detection {
  let at = start
  // RFC 9112 section 2.2: an empty line before the request line is to be ignored.
  while (at < end && at - start < 4 && (bytes[at] === 13 || bytes[at] === 10)) at++
  if (at === end) return 'more'
  const first = at
  while (at < end && at - first < 32 && isTokenByte(bytes[at] as number)) at++
  if (at === end) return 'more'
  if (at === first || bytes[at] !== 32) return 'other'
  const length = end - first
  if (bytes[first] === 80 && bytes[first + 1] === 82 && bytes[first + 2] === 73) {
    const text = latin1(bytes, first, Math.min(end, first + PREFACE.length))
    if (PREFACE.startsWith(text)) return text.length === PREFACE.length ? 'http2' : 'more'
  }
  if (METHODS.test(latin1(bytes, first, Math.min(end, first + 16)))) return 'http1'
  // An unregistered method: HTTP if the line says so.
  const lineEnd = bytes.subarray(first, Math.min(end, first + MAX_LINE)).indexOf(10)
  if (lineEnd === -1) {
    for (let i = at; i < end; i++) {
      const byte = bytes[i] as number
      if (byte < 32 && byte !== 9 && byte !== 13) return 'other'
    }
    return length >= MAX_LINE ? 'other' : 'more'
  }
  return / HTTP\/1\.\d\r?$/.test(latin1(bytes, first, first + lineEnd)) ? 'http1' : 'other'
}
