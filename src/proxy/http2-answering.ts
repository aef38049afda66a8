/**
 * How the client of a request over HTTP/2 is answered: with what comes back of a try, translated or edited where the route
 * says so, in the mesh's own name, or by a reset where an answer that has begun cannot go on. In each case the exchange ends
 * here. Below `http2-exchange.ts`, which has the request and its tries.
 */
import { type HeaderEdit, REFUSAL, REFUSAL_HEADER, type Refusal } from '#contract'
import { H2_CANCEL, H2_INTERNAL_ERROR, H2_NO_ERROR, type H2Stream } from '#http'
import { outcomeOfStatus, responseEditsOf } from '#routing'
import type { TranslatedResponse } from '#translation'
import { Exchange } from './exchange.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import { fieldValue } from './field-class.ts'
import { grpcStatusOfHttp, grpcStatusOfRefusal, outcomeOfGrpc, parseGrpcStatus, trailersOnly } from './grpc.ts'
import { HeldBodies } from './held-bodies.ts'
import { answerRefusal } from './held-body.ts'
import type { HttpPipeline } from './http-exchange.ts'
import { answerFields, withoutField, withoutMeshFields } from './http2-fields.ts'
import type { Outgoing } from './outgoing-stream.ts'
import type { Pod } from './pod.ts'
import { ownFields, redirectFields } from './render.ts'
import type { Services } from './services.ts'

/** Interim answers (1xx) to one request; an upstream that sends more is not sane. */
const MAX_INTERIM = 32
const NO_FIELDS: readonly string[] = Object.freeze([])
const NO_EDITS: readonly HeaderEdit[] = Object.freeze([])

export abstract class Http2Answering extends Exchange<Outgoing> {
  readonly version = 'HTTP/2'
  protected readonly stream: H2Stream
  /** All of the request has come. */
  protected requestDone = false
  /** Recorded; what is left to do is to let the answer leave. */
  protected over = false
  /** Only where one was to be translated. */
  protected bodies: HeldBodies | undefined
  #interim = 0
  /** Of the answer, for those who look. */
  #answered: readonly string[] = NO_FIELDS
  /** The client's body is of no use any more once the answer has left. */
  #resetWhenDrained = false

  constructor(services: Services, pod: Pod, pipeline: HttpPipeline, clientAddress: string, stream: H2Stream) {
    super(services, pod, pipeline, clientAddress)
    this.stream = stream
  }

  /** Something came: what is waited for has its time anew. */
  protected abstract moved(): void
  /** The client does not take what the upstream sends. */
  protected abstract pauseAnswer(): void
  protected abstract resumeAnswer(): void

  /** Without its `:status`. */
  answerFields(): readonly string[] {
    return this.responseStarted ? this.#answered.slice(2) : NO_FIELDS
  }

  protected inProgress(): boolean {
    return !this.over
  }

  // ── What comes back of a try ──────────────────────────────────────────────────────────────────

  answerHead(fields: readonly string[], endStream: boolean): void {
    const status = Number(fields[1])
    if (status < 200) {
      if (++this.#interim > MAX_INTERIM) this.#upstreamMalformed('too many interim responses')
      else this.stream.respond(withoutMeshFields(fields), false)
      return
    }
    const { target } = this
    if (this.grpc) this.#readStatus(fields, status, endStream)
    if (target !== undefined) {
      const known = this.grpcStatus >= 0
      // Of a call whose status is still to come, only the time is known.
      const outcome = known ? outcomeOfGrpc(this.grpcStatus) : outcomeOfStatus(status)
      if (!known && this.grpc) this.answeredInTime(target)
      else this.answered(target, outcome)
      if ((status >= 400 || this.grpcStatus > 0) && target.flow !== undefined && this.#retryInstead(target, status))
        return
    }
    this.takeAnswer(status, target?.tunnelled === true ? fieldValue(fields, REFUSAL_HEADER) : undefined)
    if (this.services.recorder.keepsAnswers) this.#answered = fields
    if (this.becomesTunnel(status, endStream)) {
      this.upgraded = true
      this.moved()
    }
    if (this.versioned !== undefined && target !== undefined) {
      const translated = this.translateAnswer(status, (name) => fieldValue(fields, name))
      if (translated !== undefined) {
        this.#versionedHead(translated, fields, endStream, target)
        return
      }
    }
    this.#respond(answerFields(fields, this.#answerEdits()), endStream)
  }

  /** Bytes pass both ways from now on. */
  protected abstract becomesTunnel(status: number, endStream: boolean): boolean

  #respond(passed: readonly string[], endStream: boolean): void {
    const session = this.session === undefined ? undefined : this.sessionHeader()
    const answer = session === undefined ? passed : [...passed, ...session]
    if (!endStream) this.stream.respond(answer, false)
    else if (this.#complete()) {
      this.stream.respond(answer, true)
      this.#dismiss()
    }
  }

  #answerEdits(): readonly HeaderEdit[] {
    const decision = this.target?.decision
    if (decision === undefined) return NO_EDITS
    return decision.cors === undefined ? decision.responseEdits : responseEditsOf(decision, this)
  }

  /** What the fields say of the call: its status, where it comes without a message, or what HTTP's stands for. */
  #readStatus(fields: readonly string[], status: number, endStream: boolean): void {
    const value = endStream || status !== 200 ? fieldValue(fields, 'grpc-status') : undefined
    if (value !== undefined) this.grpcStatus = parseGrpcStatus(value)
    else if (status !== 200) this.grpcStatus = grpcStatusOfHttp(status)
  }

  #retryInstead(target: ExchangeTarget, status: number): boolean {
    if (!this.repeatable()) return false
    const grpc = this.grpcStatus > 0 && status === 200
    if (!this.retryLater(grpc ? { grpcStatus: this.grpcStatus } : status)) return false
    this.grpcStatus = -1
    this.avoided.push(target.load)
    this.detach(true)
    return true
  }

  answerData(bytes: Buffer, start: number, end: number): void {
    const { bodies } = this
    if (bodies?.holdsAnswer === true) {
      const problem = bodies.answerData(bytes, start, end)
      if (problem !== undefined) this.#refuseAnswer(problem)
      return
    }
    this.bytesOut += end - start
    this.messagesOut?.feed(bytes, start, end)
    if (this.upgraded) this.moved()
    if (!this.stream.writeSlice(bytes, start, end)) this.pauseAnswer()
  }

  answerTrailers(fields: readonly string[]): void {
    if (this.bodies?.holdsAnswer === true) {
      this.#sendHeldAnswer(this.bodies)
      return
    }
    const clean = withoutMeshFields(fields)
    if (this.grpc) {
      const status = fieldValue(clean, 'grpc-status')
      if (status !== undefined) this.grpcStatus = parseGrpcStatus(status)
      const { target } = this
      if (target !== undefined) target.flow?.record(target.load, outcomeOfGrpc(this.grpcStatus), this.services.now())
    }
    if (!this.#complete()) return
    this.stream.sendTrailers(clean)
    this.#dismiss()
  }

  answerEnd(): void {
    if (this.bodies?.holdsAnswer === true) this.#sendHeldAnswer(this.bodies)
    else if (!this.over && this.#complete()) {
      this.stream.end()
      this.#dismiss()
    }
  }

  #upstreamMalformed(problem: string): void {
    if (this.responseStarted) {
      this.cut('UPE', problem, H2_INTERNAL_ERROR)
      return
    }
    this.detach(false)
    this.lostTry(REFUSAL.upstreamMalformed, problem)
  }

  // ── An answer that is translated ──────────────────────────────────────────────────────────────

  /** The head of an answer that is another for the version of the request. */
  #versionedHead(
    { edit, rules, problem }: TranslatedResponse,
    fields: readonly string[],
    endStream: boolean,
    { decision }: ExchangeTarget,
  ): void {
    const edits = [edit, ...this.#answerEdits()]
    if (problem !== undefined) this.#refuseAnswer({ malformed: problem })
    else if (rules.length === 0) this.#respond(answerFields(fields, edits), endStream)
    else if (endStream) {
      // To HEAD: nobody knows how long the translated body would be.
      this.#respond(answerFields(withoutField(fields, 'content-length'), edits), true)
    } else {
      const length = Number(fieldValue(fields, 'content-length') ?? -1)
      const head = answerFields(withoutField(fields, 'content-length'), edits)
      // Nothing of it has been sent yet: what goes wrong can still be told.
      this.responseStarted = false
      this.bodies ??= new HeldBodies(this.pod.held)
      const wrong = this.bodies.holdAnswer(decision?.versions?.maxBodyBytes ?? 0, length, rules, head)
      if (wrong !== undefined) this.#refuseAnswer(wrong)
    }
  }

  #sendHeldAnswer(bodies: HeldBodies): void {
    const answer = bodies.translateAnswer()
    if (typeof answer === 'string' || 'malformed' in answer) {
      this.#refuseAnswer(answer)
      return
    }
    const { fields, bytes } = answer
    this.responseStarted = true
    this.bytesOut += bytes.length
    this.#respond(fields, false)
    if (bytes.length > 0) this.stream.writeBytes(bytes)
    if (!this.#complete()) return
    this.stream.end()
    this.#dismiss()
  }

  #refuseAnswer(wrong: Parameters<typeof answerRefusal>[0]): void {
    this.bodies?.dropAnswer()
    this.responseStarted = false
    this.detach(false)
    this.refuse(...answerRefusal(wrong))
  }

  // ── Its end ───────────────────────────────────────────────────────────────────────────────────

  /** The answer is complete, and the exchange over: what is left is to say so to the client. False: it had no head. */
  #complete(): boolean {
    if (!this.responseStarted) {
      this.#upstreamMalformed('the response ended before its head')
      return false
    }
    this.over = true
    this.record(this.flag, '')
    this.detach(true)
    this.endExchange()
    return true
  }

  /** The client need not send the rest of its request (RFC 9113 section 8.1). */
  #dismiss(): void {
    const { stream } = this
    if (this.requestDone || stream.closed) return
    if (stream.pendingWrites > 0) this.#resetWhenDrained = true
    else stream.reset(H2_NO_ERROR)
  }

  /** The client has taken what was written. */
  onDrain(): void {
    if (this.over) this.bodies?.release()
    if (this.#resetWhenDrained) this.stream.reset(H2_NO_ERROR)
    else this.resumeAnswer()
  }

  protected override endExchange(): void {
    super.endExchange()
    const { bodies, stream } = this
    if (bodies === undefined) return
    bodies.drop()
    if (stream.closed || stream.pendingWrites === 0) bodies.release()
  }

  refuse(refusal: Refusal, why: string): void {
    const { status, flag, body, retryAfterSeconds } = refusal
    const extra = this.pipeline.fromTunnel ? [REFUSAL_HEADER, flag] : []
    if (retryAfterSeconds !== undefined) extra.push('retry-after', String(retryAfterSeconds))
    if (this.grpc) {
      this.status = 200
      this.grpcStatus = grpcStatusOfRefusal(refusal)
      this.#own(flag, why, [...trailersOnly(this.grpcStatus, body), ...extra], '')
    } else {
      this.status = status
      this.#own(flag, why, ownFields(status, body.length, extra), this.method === 'HEAD' ? '' : body)
    }
  }

  protected redirect(status: number, location: string, extra: string): void {
    this.status = status
    this.#own('-', '', redirectFields(status, location, extra), '')
  }

  #own(flag: Refusal['flag'], why: string, fields: readonly string[], body: string): void {
    this.over = true
    this.bytesOut += body.length
    this.record(flag, why)
    this.endExchange()
    const { stream } = this
    if (stream.closed) return
    stream.respond(fields, body === '')
    if (body !== '') {
      stream.writeText(body)
      stream.end()
    }
    this.#dismiss()
  }

  /** Ends an exchange whose answer has begun: the client must not take the part for the whole. */
  protected cut(flag: Refusal['flag'], why: string, code: number): void {
    this.over = true
    this.record(flag, why)
    this.detach(false)
    this.endExchange()
    this.stream.reset(code > 0 ? code : H2_INTERNAL_ERROR)
  }

  /** As `cut`, by the mesh's own decision: a gRPC client is told the status. */
  protected cutCall(refusal: Refusal, why: string): void {
    if (!this.grpc || this.stream.writeEnded) {
      this.cut(refusal.flag, why, H2_CANCEL)
      return
    }
    this.over = true
    this.grpcStatus = grpcStatusOfRefusal(refusal)
    this.record(refusal.flag, why)
    this.detach(false)
    this.endExchange()
    const fields = trailersOnly(this.grpcStatus, refusal.body)
    this.stream.sendTrailers(fields.slice(4))
    this.#dismiss()
  }
}
