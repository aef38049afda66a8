/**
 * HTTP/1.1 heads (RFC 9112 sections 2 to 6): one pass over the bytes, strict, no allocation but the
 * head's own text. The bias is towards refusing: what two servers might read differently is an error.
 * Pays for its style in test/bench: no closures, offsets instead of substrings, one instance reused.
 */

import { latin1 } from './latin1.ts'
import { isProtected } from './protected-names.ts'

/** Headers the engine itself must know; everything else is `HEADER_OTHER`. */
export const HEADER_OTHER = 0
export const HEADER_HOST = 1
export const HEADER_CONNECTION = 2
export const HEADER_CONTENT_LENGTH = 3
export const HEADER_TRANSFER_ENCODING = 4
export const HEADER_UPGRADE = 5
export const HEADER_EXPECT = 6
export const HEADER_TE = 7
export const HEADER_KEEP_ALIVE = 8
export const HEADER_PROXY_CONNECTION = 9
export const HEADER_XFCC = 10
export const HEADER_WEIR = 11
export const HEADER_TRACEPARENT = 12
export const HEADER_HTTP2_SETTINGS = 13
export const HEADER_TRAILER = 14
/**
 * A line that is nobody's business: it says again what one before it said, is malformed where that is no error, is listed
 * in Connection, or spells a name of ours with underscores (which CGI and its kin read as dashes). Not passed on, not judged.
 */
export const HEADER_VOID = 15
/** Of B3, github.com/openzipkin/b3-propagation. */
export const HEADER_B3 = 16
export const HEADER_REQUEST_ID = 17
export const HEADER_TRACESTATE = 18

const KNOWN: ReadonlyMap<string, number> = new Map([
  ['host', HEADER_HOST],
  ['connection', HEADER_CONNECTION],
  ['content-length', HEADER_CONTENT_LENGTH],
  ['transfer-encoding', HEADER_TRANSFER_ENCODING],
  ['upgrade', HEADER_UPGRADE],
  ['expect', HEADER_EXPECT],
  ['te', HEADER_TE],
  ['keep-alive', HEADER_KEEP_ALIVE],
  ['proxy-connection', HEADER_PROXY_CONNECTION],
  ['x-forwarded-client-cert', HEADER_XFCC],
  ['traceparent', HEADER_TRACEPARENT],
  ['http2-settings', HEADER_HTTP2_SETTINGS],
  ['trailer', HEADER_TRAILER],
  ['x-request-id', HEADER_REQUEST_ID],
  ['b3', HEADER_B3],
  ['x-b3-traceid', HEADER_B3],
  ['x-b3-spanid', HEADER_B3],
  ['x-b3-parentspanid', HEADER_B3],
  ['x-b3-sampled', HEADER_B3],
  ['x-b3-flags', HEADER_B3],
  ['tracestate', HEADER_TRACESTATE],
])

/** Places for a first letter, whatever its case. */
const LETTERS = 32
/** By length and first letter, so that most names are dismissed without a comparison. */
const KNOWN_BY_SHAPE: readonly (readonly [string, number][])[] = (() => {
  const longest = Math.max(...[...KNOWN.keys()].map((name) => name.length))
  const table: [string, number][][] = Array.from({ length: (longest + 1) * LETTERS }, () => [])
  for (const [name, id] of KNOWN) table[name.length * LETTERS + (name.charCodeAt(0) & (LETTERS - 1))]?.push([name, id])
  return table
})()

const TOKEN = new Uint8Array(256)
for (const char of "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
  TOKEN[char.charCodeAt(0)] = 1
}
/** Field content: HTAB, SP, VCHAR and obs-text (RFC 9110 section 5.5). */
const VALUE = new Uint8Array(256)
for (let i = 0; i < 256; i++) VALUE[i] = i === 9 || (i >= 32 && i !== 127) ? 1 : 0
/** Request target: visible ASCII without `#` (a fragment is never sent, RFC 9112 section 3.2). */
const TARGET = new Uint8Array(256)
for (let i = 33; i < 127; i++) TARGET[i] = i === 35 ? 0 : 1

/** Bytes; the longest that is registered has 17. */
const MAX_METHOD = 64

export const PARSE_MORE = 0
export const PARSE_DONE = 1
export const PARSE_BAD = 2

export type HeadResult = typeof PARSE_MORE | typeof PARSE_DONE | typeof PARSE_BAD

/** Is the byte legal in a token (RFC 9110 section 5.6.2)? */
export function isTokenByte(byte: number): boolean {
  return TOKEN[byte] === 1
}

export class Head {
  /** The whole head as latin1 text, start line and final empty line included. */
  text = ''
  /** Bytes of the head, final empty line included. */
  length = 0
  /** Why PARSE_BAD; for the log, never for the client. */
  problem = ''
  tooLarge = false

  /** Request. */
  method = ''
  /** As sent. */
  target = ''
  /** Response. */
  status = 0
  reason = ''

  /** 0 or 1: HTTP/1.x. */
  minor = 1
  headerCount = 0
  /** Four offsets into `text` per header: name start, name end, value start, value end. */
  offsets = new Int32Array(4 * 24)
  ids = new Uint8Array(24)
  /** Where the header lines begin in `text`. */
  headersStart = 0

  /** -1: none. */
  contentLength = -1
  chunked = false
  /** Connection options seen. */
  connectionClose = false
  connectionKeepAlive = false
  connectionUpgrade = false
  /** The Connection header names something beside close, keep-alive, upgrade, te, http2-settings. */
  #connectionNamesOthers = false
  hostIndex = -1
  upgradeIndex = -1
  traceparentIndex = -1
  requestIdIndex = -1
  /** Any header of B3 is there. */
  hasB3 = false
  expectContinue = false
  teTrailers = false

  #maxHeaders: number
  #maxBytes: number

  constructor(maxBytes: number, maxHeaders: number) {
    this.#maxBytes = maxBytes
    this.#maxHeaders = maxHeaders
  }

  #reset(): void {
    this.problem = ''
    this.tooLarge = false
    this.minor = 1
    this.headerCount = 0
    this.contentLength = -1
    this.chunked = false
    this.connectionClose = false
    this.connectionKeepAlive = false
    this.connectionUpgrade = false
    this.#connectionNamesOthers = false
    this.hostIndex = -1
    this.upgradeIndex = -1
    this.traceparentIndex = -1
    this.requestIdIndex = -1
    this.hasB3 = false
    this.expectContinue = false
    this.teTrailers = false
  }

  #bad(problem: string): typeof PARSE_BAD {
    this.problem = problem
    return PARSE_BAD
  }

  #more(available: number): HeadResult {
    if (available < this.#maxBytes) return PARSE_MORE
    this.tooLarge = true
    return this.#bad(`head larger than ${this.#maxBytes} bytes`)
  }

  /** Parses a request head at `start`; bytes beyond `end` do not exist. */
  parseRequest(bytes: Buffer, start: number, end: number): HeadResult {
    this.#reset()
    let at = start
    // Method.
    while (at < end && TOKEN[bytes[at] as number] === 1) at++
    if (at - start > MAX_METHOD) return this.#bad('method too long')
    if (at === end) return this.#more(end - start)
    if (bytes[at] !== 32 || at === start) return this.#bad('malformed request line: no method')
    const methodEnd = at
    at++
    const targetStart = at
    while (at < end && TARGET[bytes[at] as number] === 1) at++
    if (at === end) return this.#more(end - start)
    if (bytes[at] !== 32 || at === targetStart) return this.#bad('malformed request target')
    const targetEnd = at
    at++
    // "HTTP/1.x\r\n"
    const version = parseVersion(bytes, at, end)
    if (version === -2) return this.#more(end - start)
    if (version < 0) return this.#bad('malformed HTTP version')
    this.minor = version
    at += 8
    if (at + 2 > end) {
      return at < end && bytes[at] !== 13 ? this.#bad('malformed request line') : this.#more(end - start)
    }
    if (bytes[at] !== 13 || bytes[at + 1] !== 10) return this.#bad('malformed request line ending')
    at += 2
    const result = this.#parseFields(bytes, start, at, end)
    if (result !== PARSE_DONE) return result
    this.text = latin1(bytes, start, start + this.length)
    this.method = this.text.slice(0, methodEnd - start)
    this.target = this.text.slice(targetStart - start, targetEnd - start)
    return this.#finishRequest()
  }

  parseResponse(bytes: Buffer, start: number, end: number): HeadResult {
    this.#reset()
    let at = start
    const version = parseVersion(bytes, at, end)
    if (version === -2) return PARSE_MORE
    if (version < 0) return this.#bad('malformed HTTP version in response')
    this.minor = version
    at += 8
    if (at + 4 > end) return PARSE_MORE
    const d1 = (bytes[at + 1] as number) - 48
    const d2 = (bytes[at + 2] as number) - 48
    const d3 = (bytes[at + 3] as number) - 48
    if (bytes[at] !== 32 || d1 < 1 || d1 > 9 || d2 < 0 || d2 > 9 || d3 < 0 || d3 > 9) {
      return this.#bad('malformed status line')
    }
    this.status = d1 * 100 + d2 * 10 + d3
    at += 4
    // The reason phrase, and even the space before it, are left out by some servers.
    const reasonStart = at
    if (at < end && bytes[at] !== 32 && bytes[at] !== 13) return this.#bad('malformed status line')
    while (at < end && VALUE[bytes[at] as number] === 1) at++
    if (at + 2 > end) return this.#more(end - start)
    if (bytes[at] !== 13 || bytes[at + 1] !== 10) return this.#bad('malformed status line ending')
    const reasonEnd = at
    at += 2
    const result = this.#parseFields(bytes, start, at, end)
    if (result !== PARSE_DONE) return result
    this.text = latin1(bytes, start, start + this.length)
    this.reason = this.text.slice(reasonStart - start, reasonEnd - start)
    return this.#finish(false)
  }

  /** A trailer section (RFC 9112 section 7.1.2): field lines and the final empty line. */
  parseTrailers(bytes: Buffer, start: number, end: number): HeadResult {
    this.#reset()
    const result = this.#parseFields(bytes, start, start, end)
    if (result === PARSE_DONE) this.text = latin1(bytes, start, start + this.length)
    return result
  }

  #parseFields(bytes: Uint8Array, start: number, from: number, end: number): HeadResult {
    let at = from
    this.headersStart = from - start
    let count = 0
    let offsets = this.offsets
    const limit = start + this.#maxBytes
    for (;;) {
      if (at > limit) return this.#more(this.#maxBytes)
      if (at >= end) return this.#more(end - start)
      const first = bytes[at] as number
      if (first === 13) {
        if (at + 1 >= end) return this.#more(end - start)
        if (bytes[at + 1] !== 10) return this.#bad('bare CR in head')
        at += 2
        break
      }
      const nameStart = at
      while (at < end && TOKEN[bytes[at] as number] === 1) at++
      if (at >= end) return this.#more(end - start)
      if (bytes[at] !== 58 || at === nameStart) {
        return this.#bad(
          first === 32 || first === 9
            ? 'obsolete line folding'
            : first === 10
              ? 'bare LF in head'
              : 'malformed field name',
        )
      }
      const nameEnd = at
      at++
      while (at < end && (bytes[at] === 32 || bytes[at] === 9)) at++
      const valueStart = at
      while (at < end && VALUE[bytes[at] as number] === 1) at++
      if (at + 1 >= end) {
        return at < end && bytes[at] !== 13 ? this.#bad('control byte in field value') : this.#more(end - start)
      }
      if (bytes[at] !== 13 || bytes[at + 1] !== 10) {
        return this.#bad(
          bytes[at] === 10 ? 'bare LF in head' : bytes[at] === 13 ? 'bare CR in head' : 'control byte in field value',
        )
      }
      let valueEnd = at
      while (valueEnd > valueStart && (bytes[valueEnd - 1] === 32 || bytes[valueEnd - 1] === 9)) valueEnd--
      at += 2
      if (count === this.#maxHeaders) {
        this.tooLarge = true
        return this.#bad(`more than ${this.#maxHeaders} headers`)
      }
      if (count * 4 === offsets.length) offsets = this.#grow()
      const slot = count * 4
      offsets[slot] = nameStart - start
      offsets[slot + 1] = nameEnd - start
      offsets[slot + 2] = valueStart - start
      offsets[slot + 3] = valueEnd - start
      this.ids[count] = identify(bytes, nameStart, nameEnd)
      count++
    }
    this.headerCount = count
    this.length = at - start
    if (this.length > this.#maxBytes) return this.#more(this.length)
    return PARSE_DONE
  }

  #grow(): Int32Array<ArrayBuffer> {
    const offsets = new Int32Array(this.offsets.length * 2)
    offsets.set(this.offsets)
    this.offsets = offsets
    const ids = new Uint8Array(this.ids.length * 2)
    ids.set(this.ids)
    this.ids = ids
    return offsets
  }

  #finishRequest(): HeadResult {
    const result = this.#finish(true)
    if (result !== PARSE_DONE) return result
    if (this.hostIndex === -1 && this.minor === 1) return this.#bad('no Host header in an HTTP/1.1 request')
    if (this.hostIndex !== -1 && !validHost(this.value(this.hostIndex))) return this.#bad('malformed Host header')
    const first = this.target.charCodeAt(0)
    if (this.method === 'CONNECT') {
      if (this.minor === 0 || !/^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+):[0-9]{1,5}$/.test(this.target)) {
        return this.#bad('malformed CONNECT target')
      }
    } else if (first !== 47) {
      if (this.target === '*') {
        if (this.method !== 'OPTIONS') return this.#bad('asterisk-form target without OPTIONS')
      } else if (!ABSOLUTE_FORM.test(this.target)) {
        return this.#bad('malformed request target')
      }
    }
    return PARSE_DONE
  }

  /** What the framing and connection headers mean together (RFC 9112 section 6.3, section 9). */
  #finish(request: boolean): HeadResult {
    let lengths = 0
    let codings = 0
    let traces = 0
    let hasState = false
    for (let i = 0; i < this.headerCount; i++) {
      const id = this.ids[i]
      if (id === HEADER_OTHER) continue
      switch (id) {
        case HEADER_HOST:
          if (request && this.hostIndex !== -1) return this.#bad('more than one Host header')
          this.hostIndex = i
          break
        case HEADER_CONNECTION:
          this.#connection(this.value(i))
          break
        case HEADER_CONTENT_LENGTH: {
          const value = this.value(i)
          if (!/^[0-9]{1,15}$/.test(value)) return this.#bad('malformed Content-Length')
          const length = Number(value)
          // Two lines are refused in requests; in responses, equal ones collapse (RFC 9110 section 8.6).
          if (lengths > 0 && (request || length !== this.contentLength))
            return this.#bad('more than one Content-Length')
          if (lengths > 0) this.ids[i] = HEADER_VOID
          this.contentLength = length
          lengths++
          break
        }
        case HEADER_TRANSFER_ENCODING:
          codings++
          if (codings > 1 || this.value(i).toLowerCase() !== 'chunked') {
            return this.#bad('Transfer-Encoding other than a single "chunked"')
          }
          this.chunked = true
          break
        case HEADER_UPGRADE:
          this.upgradeIndex = i
          break
        case HEADER_EXPECT:
          if (this.value(i).toLowerCase() === '100-continue') this.expectContinue = true
          break
        case HEADER_TE:
          if (/(?:^|,)\s*trailers\s*(?:,|$)/i.test(this.value(i))) this.teTrailers = true
          break
        case HEADER_TRACEPARENT:
          // Repeated or malformed, the trace is begun anew (W3C Trace Context section 3.2).
          traces++
          if (traces === 1 && isTraceparent(this.value(i))) this.traceparentIndex = i
          else {
            this.ids[i] = HEADER_VOID
            if (this.traceparentIndex >= 0) this.ids[this.traceparentIndex] = HEADER_VOID
            this.traceparentIndex = -1
          }
          break
        case HEADER_TRACESTATE:
          hasState = true
          break
        case HEADER_B3:
          this.hasB3 = true
          break
        case HEADER_REQUEST_ID:
          this.requestIdIndex = i
          break
        default:
          break
      }
    }
    if (hasState && this.traceparentIndex < 0) this.#dropState()
    if (this.#connectionNamesOthers) this.#dropListed()
    if (codings > 0 && lengths > 0) return this.#bad('both Transfer-Encoding and Content-Length')
    if (codings > 0 && this.minor === 0) return this.#bad('Transfer-Encoding in HTTP/1.0')
    return PARSE_DONE
  }

  #connection(value: string): void {
    // The common cases first; a list is rare.
    if (value === 'keep-alive' || value === 'Keep-Alive') {
      this.connectionKeepAlive = true
      return
    }
    if (value === 'close') {
      this.connectionClose = true
      return
    }
    for (const part of value.split(',')) {
      switch (part.trim().toLowerCase()) {
        case '':
        case 'te':
        case 'http2-settings':
          break
        case 'close':
          this.connectionClose = true
          break
        case 'keep-alive':
          this.connectionKeepAlive = true
          break
        case 'upgrade':
          this.connectionUpgrade = true
          break
        default:
          this.#connectionNamesOthers = true
      }
    }
  }

  /** Without a traceparent it is of no trace (W3C Trace Context section 4.2). */
  #dropState(): void {
    for (let i = 0; i < this.headerCount; i++) if (this.ids[i] === HEADER_TRACESTATE) this.ids[i] = HEADER_VOID
  }

  /** Lines that Connection lists go no further (RFC 9110 section 7.6.1), those aside that a client may not have stripped. */
  #dropListed(): void {
    const names = new Set<string>()
    for (let i = 0; i < this.headerCount; i++) {
      if (this.ids[i] !== HEADER_CONNECTION) continue
      for (const part of this.value(i).split(',')) {
        const name = part.trim().toLowerCase()
        if (name !== '' && !isProtected(name)) names.add(name)
      }
    }
    for (let i = 0; i < this.headerCount; i++) if (names.has(this.name(i))) this.ids[i] = HEADER_VOID
  }

  /** Value of header `index`. */
  value(index: number): string {
    return this.text.slice(this.offsets[index * 4 + 2], this.offsets[index * 4 + 3])
  }

  /** Lower-case name of header `index`. */
  name(index: number): string {
    return this.text.slice(this.offsets[index * 4], this.offsets[index * 4 + 1]).toLowerCase()
  }

  /** Does header `index` have this lower-case name? */
  isNamed(index: number, lowerCaseName: string): boolean {
    const start = this.offsets[index * 4] as number
    if ((this.offsets[index * 4 + 1] as number) - start !== lowerCaseName.length) return false
    for (let i = 0; i < lowerCaseName.length; i++) {
      let code = this.text.charCodeAt(start + i)
      if (code >= 65 && code <= 90) code |= 32
      if (code !== lowerCaseName.charCodeAt(i)) return false
    }
    return true
  }

  /** All lines of a header that count, joined with `, ` (RFC 9110 section 5.3); undefined if absent. */
  get(lowerCaseName: string): string | undefined {
    let found: string | undefined
    for (let i = 0; i < this.headerCount; i++) {
      if (!this.isNamed(i, lowerCaseName) || this.ids[i] === HEADER_VOID) continue
      found = found === undefined ? this.value(i) : `${found}, ${this.value(i)}`
    }
    return found
  }
}

/** Its authority becomes the Host header, and is one that may stand there; nobody is without a name. */
const ABSOLUTE_FORM = /^https?:\/\/(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::[0-9]{0,5})?(?:[/?]|$)/i

/** 0 or 1 for HTTP/1.x, -1 malformed, -2 more bytes needed. */
function parseVersion(bytes: Uint8Array, at: number, end: number): number {
  const have = Math.min(end - at, 8)
  for (let i = 0; i < have; i++) {
    const byte = bytes[at + i]
    if (i < 7 ? byte !== HTTP_1_DOT[i] : byte !== 48 && byte !== 49) return -1
  }
  return have < 8 ? -2 : (bytes[at + 7] as number) - 48
}
const HTTP_1_DOT = [72, 84, 84, 80, 47, 49, 46]

function identify(bytes: Uint8Array, start: number, end: number): number {
  const length = end - start
  if (length > 6 && ((bytes[start] as number) | 32) === 120) {
    if (matches(bytes, start, 'x-weir-')) return HEADER_WEIR
  }
  const candidates = KNOWN_BY_SHAPE[length * LETTERS + ((bytes[start] as number) & (LETTERS - 1))]
  if (candidates === undefined) return HEADER_OTHER
  for (let i = 0; i < candidates.length; i++) {
    const candidate = candidates[i] as [string, number]
    const id = candidate[1]
    // What is only read may be spelled otherwise by others, and is then none of ours.
    if (id > HEADER_VOID) {
      if (isExactly(bytes, start, candidate[0])) return id
    } else if (matches(bytes, start, candidate[0])) return hasUnderscore(bytes, start, end) ? HEADER_VOID : id
  }
  return HEADER_OTHER
}

function hasUnderscore(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (bytes[i] === 95) return true
  return false
}

function isExactly(bytes: Uint8Array, start: number, lowerCaseName: string): boolean {
  for (let i = lowerCaseName.length - 1; i >= 0; i--) {
    let byte = bytes[start + i] as number
    if (byte >= 65 && byte <= 90) byte |= 32
    if (byte !== lowerCaseName.charCodeAt(i)) return false
  }
  return true
}

/** An underscore counts as a dash. */
function matches(bytes: Uint8Array, start: number, lowerCaseName: string): boolean {
  for (let i = 0; i < lowerCaseName.length; i++) {
    let byte = bytes[start + i] as number
    if (byte >= 65 && byte <= 90) byte |= 32
    else if (byte === 95) byte = 45
    if (byte !== lowerCaseName.charCodeAt(i)) return false
  }
  return true
}

/** Version 00 as it is, later ones by their beginning; an all-zero id is none (W3C Trace Context section 3.2). */
export function isTraceparent(text: string): boolean {
  if (text.length < 55 || text.charCodeAt(2) !== 45 || text.charCodeAt(35) !== 45 || text.charCodeAt(52) !== 45)
    return false
  const version = lowerHex(text, 0, 2)
  if (version < 0 || text.startsWith('ff')) return false
  if (lowerHex(text, 3, 35) <= 0 || lowerHex(text, 36, 52) <= 0 || lowerHex(text, 53, 55) < 0) return false
  return text.length === 55 || (version > 0 && text.charCodeAt(55) === 45)
}

/** Of the digits in [start, end): -1 when one is none, 0 when all are zeros, else 1. */
function lowerHex(text: string, start: number, end: number): -1 | 0 | 1 {
  let found: 0 | 1 = 0
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i)
    if (!((code >= 48 && code <= 57) || (code >= 97 && code <= 102))) return -1
    if (code !== 48) found = 1
  }
  return found
}

/** RFC 9110 section 7.2: uri-host with optional port; empty is allowed by the grammar. */
function validHost(value: string): boolean {
  return /^(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+;=%-]*)(?::[0-9]{0,5})?$/.test(value)
}
