/**
 * Message bodies of HTTP/1.1 (RFC 9112 sections 6 and 7) as a state machine fed with bytes. It finds
 * where the body ends and which bytes are data; chunk framing and extensions never pass through.
 */
import { Head, PARSE_BAD, PARSE_DONE } from './head.ts'

export type BodyMode = 'none' | 'length' | 'chunked' | 'close'

/** Receives the data of a body, piece by piece; bytes are valid only during the call. */
export interface BodySink {
  bodyData(bytes: Buffer, start: number, end: number): void
}

const SIZE = 0
const EXTENSION = 1
const SIZE_LF = 2
const DATA = 3
const DATA_CR = 4
const DATA_LF = 5
const TRAILERS = 6

/** Longest chunk-size line, extensions included, bytes. */
const MAX_SIZE_LINE = 4096
const HEX = new Int8Array(256).fill(-1)
for (let i = 0; i < 10; i++) HEX[48 + i] = i
for (let i = 0; i < 6; i++) {
  HEX[65 + i] = 10 + i
  HEX[97 + i] = 10 + i
}

export class BodyReader {
  mode: BodyMode = 'none'
  done = true
  /** Why the body is malformed; empty while it is not. */
  problem = ''
  /** Data bytes so far. */
  received = 0
  /** Trailer section with its final CRLF, when one came with fields in it. */
  trailers: Head | undefined
  #remaining = 0
  #state = SIZE
  #line = 0
  #digits = 0
  #pending: Buffer | undefined
  readonly #maxTrailerBytes: number
  readonly #maxTrailers: number

  constructor(maxTrailerBytes: number, maxTrailers: number) {
    this.#maxTrailerBytes = maxTrailerBytes
    this.#maxTrailers = maxTrailers
  }

  begin(mode: BodyMode, length: number): void {
    this.mode = mode
    this.done = mode === 'none' || (mode === 'length' && length === 0)
    this.problem = ''
    this.received = 0
    this.trailers = undefined
    this.#remaining = mode === 'length' ? length : 0
    this.#state = SIZE
    this.#line = 0
    this.#digits = 0
    this.#pending = undefined
  }

  /** Bytes left of a `length` body. */
  get remaining(): number {
    return this.#remaining
  }

  /** The other side ended: completes a `close` body; true when the body is complete. */
  end(): boolean {
    if (this.mode === 'close') this.done = true
    return this.done
  }

  /** Consumes body bytes of [start, end); returns where the body (or its available part) ends. */
  read(bytes: Buffer, start: number, end: number, sink: BodySink): number {
    if (this.done) return start
    if (this.mode === 'length') {
      const take = Math.min(this.#remaining, end - start)
      if (take === 0) return start
      this.#remaining -= take
      this.received += take
      if (this.#remaining === 0) this.done = true
      sink.bodyData(bytes, start, start + take)
      return start + take
    }
    if (this.mode === 'close') {
      this.received += end - start
      if (end > start) sink.bodyData(bytes, start, end)
      return end
    }
    return this.#readChunked(bytes, start, end, sink)
  }

  #bad(problem: string, at: number): number {
    this.problem = problem
    return at
  }

  #readChunked(bytes: Buffer, start: number, end: number, sink: BodySink): number {
    let at = start
    while (at < end) {
      switch (this.#state) {
        case SIZE: {
          const byte = bytes[at] as number
          const digit = HEX[byte] as number
          if (digit >= 0) {
            // 13 digits keep the size exact in a double.
            if (++this.#digits > 13) return this.#bad('chunk size too large', at)
            this.#remaining = this.#remaining * 16 + digit
            at++
            break
          }
          if (this.#digits === 0) return this.#bad('malformed chunk size', at)
          if (byte === 13) this.#state = SIZE_LF
          else if (byte === 59 || byte === 32 || byte === 9) {
            this.#state = EXTENSION
            this.#line = 0
            // BWS is only allowed before a chunk extension (RFC 9112 section 7.1.1).
            if (byte !== 59) return this.#bad('whitespace after chunk size', at)
          } else return this.#bad('malformed chunk size', at)
          at++
          break
        }
        case EXTENSION: {
          const byte = bytes[at] as number
          if (byte === 13) this.#state = SIZE_LF
          else if (byte < 32 ? byte !== 9 : byte === 127) return this.#bad('control byte in chunk extension', at)
          else if (++this.#line > MAX_SIZE_LINE) return this.#bad('chunk extension too long', at)
          at++
          break
        }
        case SIZE_LF:
          if (bytes[at] !== 10) return this.#bad('bare CR in chunk size line', at)
          at++
          this.#digits = 0
          this.#state = this.#remaining === 0 ? TRAILERS : DATA
          break
        case DATA: {
          const take = Math.min(this.#remaining, end - at)
          this.#remaining -= take
          this.received += take
          if (this.#remaining === 0) this.#state = DATA_CR
          sink.bodyData(bytes, at, at + take)
          at += take
          break
        }
        case DATA_CR:
          if (bytes[at] !== 13) return this.#bad('chunk data longer than its size', at)
          at++
          this.#state = DATA_LF
          break
        case DATA_LF:
          if (bytes[at] !== 10) return this.#bad('chunk data longer than its size', at)
          at++
          this.#state = SIZE
          break
        default:
          return this.#readTrailers(bytes, at, end)
      }
    }
    return at
  }

  #readTrailers(bytes: Buffer, start: number, end: number): number {
    const before = this.#pending?.length ?? 0
    if (before === 0 && end - start >= 2 && bytes[start] === 13 && bytes[start + 1] === 10) {
      this.done = true
      return start + 2
    }
    let source = bytes
    let from = start
    let to = end
    if (this.#pending !== undefined) {
      source = Buffer.concat([this.#pending, bytes.subarray(start, end)])
      from = 0
      to = source.length
    }
    const head = new Head(this.#maxTrailerBytes, this.#maxTrailers)
    const result = head.parseTrailers(source, from, to)
    if (result === PARSE_BAD) return this.#bad(`trailers: ${head.problem}`, start)
    if (result === PARSE_DONE) {
      this.done = true
      this.#pending = undefined
      if (head.headerCount > 0) this.trailers = head
      return start + head.length - before
    }
    this.#pending = source === bytes ? Buffer.from(bytes.subarray(start, end)) : source
    return end
  }
}
