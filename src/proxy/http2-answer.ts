/** What comes back of one try of a request, on its way to the exchange; once the try is let go of, nothing does. */
import type { Http2StreamOwner } from '#http'

/** Who an answer is for. */
export interface AnswerTaker {
  /** @param fields begin with `:status`; interim answers (1xx) come so, too */
  answerHead(fields: readonly string[], endStream: boolean): void
  answerData(bytes: Buffer, start: number, end: number): void
  answerTrailers(fields: readonly string[]): void
  answerEnd(): void
  /** The try is over. @param status as the engine gives it; 0: in order */
  answerClosed(status: number): void
  /** The upstream has taken what was written. */
  requestDrained(): void
}

export class Http2Answer implements Http2StreamOwner {
  #taker: AnswerTaker | undefined

  constructor(taker: AnswerTaker) {
    this.#taker = taker
  }

  forget(): void {
    this.#taker = undefined
  }

  onHeaders(fields: readonly string[], endStream: boolean): void {
    this.#taker?.answerHead(fields, endStream)
  }

  onData(bytes: Buffer, length: number): void {
    this.#taker?.answerData(bytes, 0, length)
  }

  onSlice(bytes: Buffer, start: number, end: number): void {
    this.#taker?.answerData(bytes, start, end)
  }

  onTrailers(fields: readonly string[]): void {
    this.#taker?.answerTrailers(fields)
  }

  onEnd(): void {
    this.#taker?.answerEnd()
  }

  onDrain(): void {
    this.#taker?.requestDrained()
  }

  onClose(status: number): void {
    this.#taker?.answerClosed(status)
  }
}
