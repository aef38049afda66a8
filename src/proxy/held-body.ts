/**
 * Bodies that are held as a whole, because they are translated: bounded each, for each pod, and for all pods of a proxy.
 * What counts is the room that is taken, not the bytes in it.
 */
import { type HeaderEdit, REFUSAL, type Refusal } from '#contract'
import type { BodySink } from '#http'
import { type CompiledRule, translateBody } from '#translation'

const PER_POD_BYTES = 32 * 1024 * 1024
const IN_ALL_BYTES = 128 * 1024 * 1024
const FIRST_BYTES = 4096

/** Room for bodies, out of that of all. */
export class HeldBytes {
  readonly #most: number
  readonly #outOf: HeldBytes | undefined
  used = 0

  constructor(most: number, outOf?: HeldBytes) {
    this.#most = most
    this.#outOf = outOf
  }

  /** Of a proxy. */
  static inAll(): HeldBytes {
    return new HeldBytes(IN_ALL_BYTES)
  }

  /** Of one pod. */
  static ofPod(all: HeldBytes): HeldBytes {
    return new HeldBytes(PER_POD_BYTES, all)
  }

  take(bytes: number): boolean {
    if (this.used + bytes > this.#most || this.#outOf?.take(bytes) === false) return false
    this.used += bytes
    return true
  }

  give(bytes: number): void {
    this.used -= bytes
    this.#outOf?.give(bytes)
  }
}

export class HeldBody implements BodySink {
  readonly #room: HeldBytes
  readonly #maxBytes: number
  #buffer: Buffer = Buffer.alloc(0)
  /** Room taken, with that of what comes of it. */
  #taken = 0
  length = 0
  /** Why it is not held any more. */
  problem: 'too-large' | 'no-room' | undefined

  /** @param expected length, or -1 */
  constructor(room: HeldBytes, maxBytes: number, expected: number) {
    this.#room = room
    this.#maxBytes = maxBytes
    if (expected > maxBytes) this.problem = 'too-large'
    else if (expected > 0) this.#grow(expected)
  }

  bodyData(bytes: Buffer, start: number, end: number): void {
    if (this.problem !== undefined) return
    const length = this.length + end - start
    if (length > this.#maxBytes) {
      this.problem = 'too-large'
      this.release()
      return
    }
    if (length > this.#buffer.length) this.#grow(Math.min(this.#maxBytes, Math.max(FIRST_BYTES, length * 2)))
    if (this.#buffer.length < length) return
    bytes.copy(this.#buffer, this.length, start, end)
    this.length = length
  }

  #grow(size: number): void {
    if (!this.#take(size - this.#buffer.length)) return
    const larger = Buffer.allocUnsafeSlow(size)
    this.#buffer.copy(larger, 0, 0, this.length)
    this.#buffer = larger
  }

  #take(bytes: number): boolean {
    if (this.#room.take(bytes)) {
      this.#taken += bytes
      return true
    }
    this.problem = 'no-room'
    this.release()
    return false
  }

  copyTo(copy: { add(bytes: Buffer, start: number, end: number): void }): void {
    copy.add(this.#buffer, 0, this.length)
  }

  /** All of it in another version; or what was wrong. It goes on counting until it is released. */
  translate(rules: readonly CompiledRule[]): Buffer | { readonly malformed: string } | 'too-large' | 'no-room' {
    if (this.problem !== undefined) return this.problem
    if (this.length === 0) return this.#buffer
    const result = translateBody(this.#buffer.subarray(0, this.length), rules, this.#maxBytes)
    this.#buffer = Buffer.alloc(0)
    if (result.kind === 'malformed') return { malformed: result.problem }
    if (result.kind === 'too-large') return 'too-large'
    const bytes = Buffer.from(result.text)
    if (bytes.length > this.#maxBytes) return 'too-large'
    if (bytes.length > this.#taken && !this.#take(bytes.length - this.#taken)) return 'no-room'
    return bytes
  }

  /** Once or more often. */
  release(): void {
    this.#room.give(this.#taken)
    this.#taken = 0
    this.#buffer = Buffer.alloc(0)
    this.length = 0
  }
}

/** Bodies that were translated and may still be on their way: what was written of one counts until it has left. */
export class OwedBodies {
  readonly #bodies: HeldBody[] = []

  add(body: HeldBody): void {
    this.#bodies.push(body)
  }

  /** All of them have left. */
  pay(): void {
    if (this.#bodies.length === 0) return
    for (const body of this.#bodies) body.release()
    this.#bodies.length = 0
  }
}

/** Of a request whose body was held as a whole: it comes with its length, and nobody waits for it. */
export const HELD: HeaderEdit = { set: [], add: [], remove: ['expect', 'trailer'] }

/** What a client is told of a body of its own. */
export function requestRefusal(wrong: { readonly malformed: string } | 'too-large' | 'no-room'): [Refusal, string] {
  if (wrong === 'too-large') return [REFUSAL.bodyTooLarge, 'the body of the request is too large to be translated']
  if (wrong === 'no-room') return [REFUSAL.holdingTooMuch, 'no room for another body that is translated']
  return [REFUSAL.untranslatable, `the body of the request cannot be translated: ${wrong.malformed}`]
}

/** What it is told of that of an answer. */
export function answerRefusal(wrong: { readonly malformed: string } | 'too-large' | 'no-room'): [Refusal, string] {
  if (wrong === 'too-large') return [REFUSAL.answerUntranslatable, 'the answer is too large to be translated']
  if (wrong === 'no-room') return [REFUSAL.holdingTooMuch, 'no room for another body that is translated']
  return [REFUSAL.answerUntranslatable, `the answer cannot be translated: ${wrong.malformed}`]
}
