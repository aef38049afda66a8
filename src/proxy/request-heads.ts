/**
 * The heads of requests in what a client of HTTP/1.1 sends, however it is cut, and what it has sent that is not wanted yet:
 * half a head, the body of a request that has no upstream, further requests.
 */
import { Head, PARSE_BAD, PARSE_DONE } from '#http'

/** Told, once for each call of `read` at most, what was found; the bytes are valid only during the call. */
export interface HeadOwner {
  /** A byte of a head is here; as often as there are more of it. */
  headBegun(): void
  /** It is in `head`; its body, if any, begins at `bytes[bodyStart]`. */
  headRead(bytes: Buffer, bodyStart: number, end: number): void
  headMalformed(problem: string, tooLarge: boolean): void
}

export class RequestHeads {
  readonly head: Head
  readonly #owner: HeadOwner
  readonly #maxBytes: number
  #held: Buffer | undefined

  constructor(owner: HeadOwner, maxBytes: number, maxHeaders: number) {
    this.#owner = owner
    this.#maxBytes = maxBytes
    this.head = new Head(maxBytes, maxHeaders)
  }

  get holdsNothing(): boolean {
    return this.#held === undefined
  }

  /** A copy, behind what is held already. */
  hold(bytes: Buffer, start: number, end: number): void {
    if (start === end) return
    const slice = bytes.subarray(start, end)
    this.#held = this.#held === undefined ? Buffer.from(slice) : Buffer.concat([this.#held, slice])
  }

  /** What is held, which then is not any more. */
  take(): Buffer | undefined {
    const held = this.#held
    this.#held = undefined
    return held
  }

  /** Looks for a head at the beginning of what is held and these bytes; holds what is less than one. */
  read(bytes: Buffer, start: number, end: number): void {
    let source = bytes
    let from = start
    let to = end
    if (this.#held !== undefined) {
      // Parse again only when the head may be complete: bytes that drip in must not cost a pass each.
      const joined = Buffer.concat([this.#held, bytes.subarray(start, end)])
      if (
        joined.length <= this.#maxBytes &&
        joined.indexOf('\r\n\r\n', Math.max(0, this.#held.length - 3), 'latin1') < 0 &&
        joined.indexOf('\n\n', Math.max(0, this.#held.length - 1), 'latin1') < 0
      ) {
        this.#held = joined
        return
      }
      this.#held = undefined
      source = joined
      from = 0
      to = joined.length
    }
    // RFC 9112 section 2.2: empty lines before a request line are ignored.
    while (to - from >= 2 && source[from] === 13 && source[from + 1] === 10) from += 2
    if (from === to) return
    if (source[from] === 13 && to - from === 1) {
      // Half an empty line: no head has begun yet.
      this.hold(source, from, to)
      return
    }
    this.#owner.headBegun()
    const result = this.head.parseRequest(source, from, to)
    if (result === PARSE_DONE) this.#owner.headRead(source, from + this.head.length, to)
    else if (result === PARSE_BAD) this.#owner.headMalformed(this.head.problem, this.head.tooLarge)
    else this.hold(source, from, to)
  }
}
