/**
 * Lines of JSON, written byte by byte into one buffer: no string is made for a line, and none is left to collect. All of it
 * is ASCII. Whoever writes makes room first.
 */
import { jsonText, MAX_LOGGED_CHARS } from './json-text.ts'

const QUOTE = 0x22
const BACKSLASH = 0x5c
const POINT = 0x2e
const ZERO = 0x30
const LAST_PRINTABLE = 0x7e
/** Longer ones the run time copies faster (Node 26.10, measured). */
const MAX_LOOP_CHARS = 24
/** Below it numbers are of 31 bits. */
const SMALL = 1_000_000_000

/** Bytes that a text may take, its quotes included: each character as `\uXXXX`, and the mark that it was cut. */
export function roomOfText(value: string): number {
  return 6 * Math.min(value.length, MAX_LOGGED_CHARS + 1) + 2
}

export class LineBuffer {
  #bytes: Buffer
  readonly #onFull: (bytes: number) => Buffer
  /** Bytes written. */
  #length = 0

  /** @param onFull takes what is written, and gives memory for at least so many bytes more */
  constructor(bytes: Buffer, onFull: (bytes: number) => Buffer) {
    this.#bytes = bytes
    this.#onFull = onFull
  }

  /** What was written; it shares the memory. */
  get written(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  /** Begins anew, in other memory; returns what it had. */
  begin(bytes: Buffer): Buffer {
    const before = this.#bytes
    this.#bytes = bytes
    this.#length = 0
    return before
  }

  /** For all that is written until it is asked for again. */
  makeRoom(bytes: number): void {
    if (this.#length + bytes > this.#bytes.length) this.begin(this.#onFull(bytes))
  }

  /** What was encoded before. */
  part(part: Uint8Array): void {
    this.#bytes.set(part, this.#length)
    this.#length += part.length
  }

  /** Of ours: ASCII, with nothing to escape. */
  ascii(text: string): void {
    const { length } = text
    if (length > MAX_LOOP_CHARS) {
      this.#length += this.#bytes.write(text, this.#length, 'latin1')
      return
    }
    const bytes = this.#bytes
    let at = this.#length
    for (let i = 0; i < length; i++) bytes[at++] = text.charCodeAt(i)
    this.#length = at
  }

  /** A JSON string, with its quotes; `jsonText` says what becomes of what is long or odd. */
  text(value: string): void {
    const { length } = value
    if (length > MAX_LOOP_CHARS) {
      this.ascii(jsonText(value))
      return
    }
    const bytes = this.#bytes
    let at = this.#length
    bytes[at++] = QUOTE
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i)
      if (code < 0x20 || code > LAST_PRINTABLE || code === QUOTE || code === BACKSLASH) {
        this.ascii(jsonText(value))
        return
      }
      bytes[at++] = code
    }
    bytes[at++] = QUOTE
    this.#length = at
  }

  /** @param value a whole number, not negative */
  integer(value: number): void {
    if (value >= SMALL) {
      this.ascii(String(value))
      return
    }
    const bytes = this.#bytes
    let end = this.#length + 1
    for (let rest = value; rest >= 10; rest = (rest / 10) | 0) end++
    this.#length = end
    let rest = value | 0
    do {
      const next = (rest / 10) | 0
      bytes[--end] = ZERO + rest - next * 10
      rest = next
    } while (rest > 0)
  }

  /** To the microsecond; never NaN or Infinity, which JSON does not know. */
  milliseconds(value: number): void {
    const micros = value >= 0 && value < 9e12 ? Math.round(value * 1000) : 0
    const whole = Math.floor(micros / 1000)
    const rest = micros - whole * 1000
    this.integer(whole)
    if (rest === 0) return
    const bytes = this.#bytes
    const tens = (rest / 10) | 0
    const hundreds = (rest / 100) | 0
    bytes[this.#length++] = POINT
    bytes[this.#length++] = ZERO + hundreds
    bytes[this.#length++] = ZERO + tens - hundreds * 10
    bytes[this.#length++] = ZERO + rest - tens * 10
  }
}
