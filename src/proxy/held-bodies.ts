/**
 * The bodies of one exchange that are held to be translated: the request's until it is whole, then the answer's. Made where a
 * version of an API asks for one. What has been translated counts until it has left.
 */
import type { CompiledRule } from '#translation'
import { HeldBody, type HeldBytes } from './held-body.ts'

/** Why a body cannot be had in another version. */
type Untranslated = Exclude<ReturnType<HeldBody['translate']>, Buffer>

interface HeldAnswer {
  readonly body: HeldBody
  readonly rules: readonly CompiledRule[]
  /** Of its head, without a length. */
  readonly fields: readonly string[]
}

export class HeldBodies {
  readonly #room: HeldBytes
  #request: HeldBody | undefined
  #answer: HeldAnswer | undefined
  /** What has been translated and may still be on its way. */
  readonly #owed: HeldBody[] = []

  constructor(room: HeldBytes) {
    this.#room = room
  }

  get holdsRequest(): boolean {
    return this.#request !== undefined
  }

  get holdsAnswer(): boolean {
    return this.#answer !== undefined
  }

  #hold(maxBytes: number, length: number): HeldBody {
    const body = new HeldBody(this.#room, maxBytes, length)
    this.#owed.push(body)
    return body
  }

  /** Returns why it cannot be held, as all that hold something. @param length as it is told, else -1 */
  holdRequest(maxBytes: number, length: number): HeldBody['problem'] {
    this.#request = this.#hold(maxBytes, length)
    return this.#request.problem
  }

  requestData(bytes: Buffer, start: number, end: number): HeldBody['problem'] {
    this.#request?.bodyData(bytes, start, end)
    return this.#request?.problem
  }

  /** It is whole, and held no more. */
  translateRequest(rules: readonly CompiledRule[]): Buffer | Untranslated {
    const body = this.#request
    this.#request = undefined
    return body === undefined ? 'no-room' : body.translate(rules)
  }

  holdAnswer(
    maxBytes: number,
    length: number,
    rules: readonly CompiledRule[],
    fields: readonly string[],
  ): HeldBody['problem'] {
    const body = this.#hold(maxBytes, length)
    this.#answer = { body, rules, fields }
    return body.problem
  }

  answerData(bytes: Buffer, start: number, end: number): HeldBody['problem'] {
    this.#answer?.body.bodyData(bytes, start, end)
    return this.#answer?.body.problem
  }

  /** It is whole, and held no more: its head with a length, and its body. */
  translateAnswer(): { readonly fields: readonly string[]; readonly bytes: Buffer } | Untranslated {
    const answer = this.#answer
    this.#answer = undefined
    if (answer === undefined) return 'no-room'
    const bytes = answer.body.translate(answer.rules)
    if (!Buffer.isBuffer(bytes)) return bytes
    return { fields: [...answer.fields, 'content-length', String(bytes.length)], bytes }
  }

  dropAnswer(): void {
    this.#answer = undefined
  }

  /** Nothing is waited for any more. */
  drop(): void {
    this.#request = undefined
    this.#answer = undefined
  }

  /** What was written has left. Once or more often. */
  release(): void {
    if (this.#owed.length === 0) return
    for (const held of this.#owed) held.release()
    this.#owed.length = 0
  }
}
