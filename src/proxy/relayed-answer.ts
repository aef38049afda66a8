/**
 * One answer of HTTP/1.1 from its upstream to its client: how its body is framed on either side, the body passed on as it is
 * read, or held as a whole where it is translated. One object for all answers of a connection, one after another. What comes
 * of a read is told by a number: what is to be done about it is the exchange's.
 */
import type { HeaderEdit } from '#contract'
import type { BodyMode, BodySink, Head } from '#http'
import type { CompiledRule } from '#translation'
import type { AnswerWriter, Framing } from './answer-writer.ts'
import type { answerRefusal, HeldBody } from './held-body.ts'
import { type ResponseRendering, renderResponse } from './render.ts'
import type { UpstreamConnection } from './upstream.ts'

/** Nothing was written that would not have been taken: the body is yet to come, or is held. */
export const BEGUN = 0
/** Some of it was passed on; there is more. */
export const MORE = 1
/** It is here as a whole. */
export const WHOLE = 2
/** As `WHOLE`, with bytes behind it that nobody has asked for. */
export const SURPLUS = 3
/** Its framing is wrong: see the upstream's `body.problem`. */
export const MALFORMED = 4
/** It cannot be translated: see `wrong`. */
export const UNUSABLE = 5
export type AnswerRead = typeof BEGUN | typeof MORE | typeof WHOLE | typeof SURPLUS | typeof MALFORMED | typeof UNUSABLE

/** Header of the client's session, if it is to be told. */
export type SessionHeader = ResponseRendering['session']

/** An answer whose body is held, and what it is to become. */
export interface HeldAnswer {
  readonly body: HeldBody
  readonly rules: readonly CompiledRule[]
  readonly edits: readonly HeaderEdit[]
}

export class RelayedAnswer implements BodySink {
  /** Why it cannot be translated. */
  wrong: Parameters<typeof answerRefusal>[0] = 'too-large'
  readonly #writer: AnswerWriter
  #isHttp10 = false
  #framing: Framing = 'none'
  #held: HeldAnswer | undefined
  /** Of its body, passed on since they were taken. */
  #bytes = 0

  constructor(writer: AnswerWriter) {
    this.#writer = writer
  }

  /** @param isHttp10 the client speaks no more than that */
  begin(isHttp10: boolean): void {
    this.#isHttp10 = isHttp10
    this.#bytes = 0
  }

  /** Its body is held: none of it has been sent. */
  get isHeld(): boolean {
    return this.#held !== undefined
  }

  /** Bytes of bodies passed on, each told once. */
  takeBytes(): number {
    const bytes = this.#bytes
    this.#bytes = 0
    return bytes
  }

  /** How its body comes, and goes on. @param isHead it answers HEAD */
  frame({ status, chunked, contentLength }: Head, isHead: boolean): BodyMode {
    const bodyless = isHead || status === 204 || status === 304
    const mode = bodyless ? 'none' : chunked ? 'chunked' : contentLength >= 0 ? 'length' : 'close'
    const framing = mode === 'none' || mode === 'length' ? mode : this.#isHttp10 ? 'close' : 'chunked'
    this.#framing = framing
    if (framing === 'close') this.#writer.closes = true
    return mode
  }

  /** Passes on the head, and what has come behind it. `length`: where the upstream's own says nothing. */
  relay(
    upstream: UpstreamConnection,
    edits: readonly HeaderEdit[],
    session: SessionHeader,
    length: 'unknown' | undefined,
    bytes: Buffer,
    bodyStart: number,
    end: number,
  ): AnswerRead {
    const framing = this.#framing
    const text = this.#render(upstream.head, framing, edits, session, length)
    if (upstream.body.done) {
      this.#writer.writeHead(text, framing, true)
      return bodyStart < end ? SURPLUS : WHOLE
    }
    upstream.beginBody()
    if (bodyStart === end) {
      this.#writer.writeHead(text, framing, false)
      return BEGUN
    }
    this.#writer.joinHead(text, framing, end - bodyStart)
    return this.read(upstream, bytes, bodyStart, end)
  }

  /** Holds its body from now on; the head waits until `writeHeld`. */
  hold(upstream: UpstreamConnection, answer: HeldAnswer, bytes: Buffer, bodyStart: number, end: number): AnswerRead {
    this.#held = answer
    if (answer.body.problem !== undefined) {
      this.wrong = answer.body.problem
      return UNUSABLE
    }
    upstream.beginBody()
    return bodyStart < end ? this.#readHeld(answer, upstream, bytes, bodyStart, end) : BEGUN
  }

  /** More of its body. */
  read(upstream: UpstreamConnection, bytes: Buffer, start: number, end: number): AnswerRead {
    if (this.#held !== undefined) return this.#readHeld(this.#held, upstream, bytes, start, end)
    const { body } = upstream
    this.#writer.beginRead()
    const stop = body.read(bytes, start, end, this)
    if (body.problem !== '') return MALFORMED
    this.#writer.endRead(body)
    if (!body.done) return MORE
    return stop < end ? SURPLUS : WHOLE
  }

  /** A piece of its body. */
  bodyData(bytes: Buffer, start: number, end: number): void {
    this.#bytes += end - start
    this.#writer.add(bytes, start, end)
  }

  #readHeld(held: HeldAnswer, upstream: UpstreamConnection, bytes: Buffer, start: number, end: number): AnswerRead {
    const { body } = upstream
    const stop = body.read(bytes, start, end, held.body)
    if (body.problem !== '') return MALFORMED
    if (held.body.problem !== undefined) {
      this.wrong = held.body.problem
      return UNUSABLE
    }
    if (!body.done) return BEGUN
    return stop < end ? SURPLUS : WHOLE
  }

  /** Passes on what was held, translated. False, and nothing is written: see `wrong`. */
  writeHeld(head: Head, session: SessionHeader): boolean {
    const held = this.#held
    this.#held = undefined
    if (held === undefined) return true
    const body = held.body.translate(held.rules)
    if (!Buffer.isBuffer(body)) {
      this.wrong = body
      return false
    }
    const text = this.#render(head, 'length', held.edits, session, body.length)
    this.#bytes += body.length
    this.#writer.writeWhole(text, body)
    return true
  }

  /** What was held is of no use any more. */
  forget(): void {
    this.#held = undefined
  }

  #render(
    head: Head,
    framing: Framing,
    edits: readonly HeaderEdit[],
    session: SessionHeader,
    length: ResponseRendering['length'],
  ): string {
    const { closes } = this.#writer
    const keepAlive10 = this.#isHttp10 && !closes
    return renderResponse(head, { framing, close: closes, keepAlive10, edits, upgrade: false, session, length })
  }
}
