/**
 * One request of a client that speaks HTTP/2: a stream of its connection, sent on as a stream in turn (or by whatever else
 * an `Outgoing` is). Data passes as it comes, each direction at the pace of its reader; a reset on one side is one on the
 * other.
 */
import { REFUSAL, REFUSAL_HEADER, type Refusal, type Verdict } from '#contract'
import {
  GrpcMessages,
  H2_CANCEL,
  H2_INTERNAL_ERROR,
  H2_NO_ERROR,
  H2_REFUSED_STREAM,
  type H2Stream,
  type Http2StreamOwner,
} from '#http'
import { outcomeOfStatus, responseEditsOf } from '#routing'
import type { CompiledRule, TranslatedRequest, TranslatedResponse } from '#translation'
import { type Connecting, Exchange, MAX_ATTEMPTS } from './exchange.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import { fieldValue } from './field-class.ts'
import {
  grpcStatusOfHttp,
  grpcStatusOfRefusal,
  outcomeOfGrpc,
  parseGrpcStatus,
  renderGrpcTimeout,
  trailersOnly,
} from './grpc.ts'
import { answerRefusal, HELD, HeldBody, requestRefusal } from './held-body.ts'
import type { Http2Connection } from './http2-connection.ts'
import {
  answerFields,
  copyLines,
  DROP_B3,
  DROP_TIMEOUT,
  DROP_TRACEPARENT,
  DROP_TRACESTATE,
  requestFields,
  withoutField,
  withoutMeshFields,
} from './http2-fields.ts'
import { Http2Request } from './http2-request.ts'
import { KeptBody } from './kept-body.ts'
import { connectOutgoing, outgoingNow } from './outgoing.ts'
import type { Outgoing, OutgoingStream } from './outgoing-stream.ts'
import { ownFields, redirectFields } from './render.ts'

/** Interim answers (1xx) to one request; an upstream that sends more is not sane. */
const MAX_INTERIM = 32
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])
const NO_FIELDS: readonly string[] = Object.freeze([])
const NO_EDITS: NonNullable<ExchangeTarget['decision']>['responseEdits'] = Object.freeze([])

interface HeldAnswer {
  readonly body: HeldBody
  readonly rules: readonly CompiledRule[]
  /** Of its head, without a length. */
  readonly fields: readonly string[]
}

export class Http2Exchange extends Exchange<Outgoing> implements Http2StreamOwner {
  readonly version = 'HTTP/2'
  readonly #connection: Http2Connection
  readonly #stream: H2Stream
  readonly #request: Http2Request
  #answer: Answer | undefined
  /** What goes upstream, for the present target. */
  #rendered: readonly string[] = []
  #out: OutgoingStream | undefined
  #requestDone = false
  #requestTrailers: readonly string[] | undefined
  /** All that was read of the body, while it can be sent again. */
  readonly #kept = new KeptBody()
  #keeping = true
  #interim = 0
  /** Of the answer, for those who look. */
  #answered: readonly string[] = NO_FIELDS
  /** Bytes both ways after an extended CONNECT. */
  #tunnel = false
  /** Recorded; what is left to do is to let the answer leave. */
  #over = false
  /** The request's body, while it is held to be translated. */
  #held: HeldBody | undefined
  /** Length of the translated body of the request. */
  #translatedLength: number | undefined
  /** The answer, while its body is held to be translated. */
  #heldAnswer: HeldAnswer | undefined
  /** What has been translated and may still be on its way. */
  readonly #owed: HeldBody[] = []
  /** The client's body is of no use any more once the answer has left. */
  #resetWhenDrained = false
  /** Of what is awaited, in `now()`'s ms; 0: nothing. */
  #deadline = 0
  /** Of a gRPC call, in `now()`'s ms; 0: none. */
  #callEnds = 0

  constructor(connection: Http2Connection, stream: H2Stream, fields: readonly string[]) {
    super(connection.services, connection.pod, connection.pipeline, connection.clientAddress)
    this.#connection = connection
    this.#stream = stream
    this.#request = new Http2Request(fields)
    stream.owner = this
  }

  header(lowerCaseName: string): string | undefined {
    return this.#request.header(lowerCaseName)
  }

  requestFields(): readonly string[] {
    return this.#request.fields.slice(this.#request.firstField)
  }

  /** Without its `:status`. */
  answerFields(): readonly string[] {
    return this.responseStarted ? this.#answered.slice(2) : NO_FIELDS
  }

  start(endStream: boolean): void {
    const now = this.services.now()
    const request = this.#request
    const { limits } = this.services
    this.begin(now)
    this.method = request.method
    this.path = request.path
    this.query = request.query
    this.authority = request.authority
    this.grpc = request.grpc
    this.messagesIn = request.grpc ? new GrpcMessages() : undefined
    this.messagesOut = request.grpc ? new GrpcMessages() : undefined
    this.#requestDone = endStream
    // A stream that is not read to its end stays open.
    if (endStream) this.#stream.resume()
    if (this.#stream.tunnel) {
      this.refuse(REFUSAL.notTunnelled, 'CONNECT over HTTP/2')
      return
    }
    const choice = this.admit(now)
    if (choice.kind !== 'forward') {
      this.answerInstead(choice)
      if (choice.kind === 'refuse' && choice.close === true) this.#connection.drain()
      return
    }
    if (!endStream && !this.grpc && request.protocol === '') this.#deadline = now + limits.bodyIdleTimeoutMs
    if (request.grpcTimeoutMs !== undefined) this.#callEnds = now + request.grpcTimeoutMs
    if (choice.decision?.versions !== undefined) {
      const length = Number(this.header('content-length') ?? -1)
      const how = this.beginVersion(choice, !endStream, length)
      if (how === 'hold') {
        this.#held = this.#hold(choice, length)
        if (this.#held.problem !== undefined) this.refuse(...requestRefusal(this.#held.problem))
        else this.#stream.resume()
        return
      }
      if (how !== 'pass') {
        this.answerInstead(how)
        return
      }
    }
    this.#render(choice)
    if (choice.decision !== undefined || request.grpcTimeoutMs !== undefined) {
      this.startTimers(choice.decision, request.grpcTimeoutMs)
    }
    if (endStream && this.copy !== undefined) this.#sendCopy()
    this.sendFirst(choice)
  }

  /** To its mirrors, as a request of HTTP/1.1. What becomes a tunnel is no request alone. */
  #sendCopy(): void {
    const { fields, firstField, target, protocol } = this.#request
    if (protocol !== '') return
    this.sendCopy(
      copyLines(this.method, target, this.authority || this.services.originalAuthority(this), fields, firstField),
    )
  }

  #render(target: ExchangeTarget): void {
    const request = this.#request
    const { decision, identityFields } = target
    const traceparent = this.joinTrace(target)
    let added = identityFields
    if (traceparent !== '') added = [...added, 'traceparent', traceparent]
    const { traced } = this
    if (traced !== undefined) added = [...added, ...traced.b3Fields(target.reporters)]
    const routeMs = this.grpc ? decision?.requestTimeoutMs : undefined
    // The server shall know how long the call may take here, too.
    const shorter = routeMs !== undefined && (request.grpcTimeoutMs === undefined || routeMs < request.grpcTimeoutMs)
    if (shorter) added = [...added, 'grpc-timeout', renderGrpcTimeout(routeMs)]
    const { versioned } = this
    if (versioned !== undefined) {
      this.#renderVersioned(target, versioned.translated, added, shorter)
      return
    }
    const authority = this.authority === '' ? this.services.originalAuthority(this) : this.authority
    this.#rendered = requestFields(
      {
        method: request.protocol === '' ? this.method : 'CONNECT',
        scheme: request.scheme,
        authority: decision?.hostname ?? authority,
        path: decision?.rewrites === true ? this.services.rewriteTarget(decision, this) : request.target,
        protocol: request.protocol,
      },
      request.fields,
      request.firstField,
      decision?.requestEdits ?? NO_EDITS,
      added,
      this.#traceDrops() | (shorter ? DROP_TIMEOUT : 0),
    )
  }

  #traceDrops(): number {
    const ofRequest = this.#request.traceparent === '' ? DROP_TRACEPARENT | DROP_TRACESTATE : 0
    return this.traced === undefined ? ofRequest : ofRequest | DROP_TRACEPARENT | DROP_B3
  }

  /** As `#render`, in the version that the Service speaks. */
  #renderVersioned(
    { decision }: ExchangeTarget,
    translated: TranslatedRequest | undefined,
    added: readonly string[],
    dropTimeout: boolean,
  ): void {
    const request = this.#request
    const authority = this.authority === '' ? this.services.originalAuthority(this) : this.authority
    const ofRoute = decision?.requestEdits ?? NO_EDITS
    const own = decision?.rewrites === true ? this.services.rewriteTarget(decision, this) : request.target
    const length = this.#translatedLength
    let edits = translated === undefined ? ofRoute : [...ofRoute, translated.edit()]
    if (length !== undefined) edits = [...edits, HELD]
    this.#rendered = requestFields(
      {
        method: request.protocol === '' ? this.method : 'CONNECT',
        scheme: request.scheme,
        authority: decision?.hostname ?? authority,
        path: translated === undefined ? own : translated.target,
        protocol: request.protocol,
      },
      length === undefined ? request.fields : withoutField(request.fields, 'content-length'),
      request.firstField,
      edits,
      length === undefined ? added : [...added, 'content-length', String(length)],
      this.#traceDrops() | (dropTimeout ? DROP_TIMEOUT : 0),
    )
  }

  // ── Bodies that are translated ────────────────────────────────────────────────────────────────

  #hold({ decision }: ExchangeTarget, length: number): HeldBody {
    const held = new HeldBody(this.pod.held, decision?.versions?.maxBodyBytes ?? 0, length)
    this.#owed.push(held)
    return held
  }

  #sendHeld(held: HeldBody): void {
    const { target } = this
    this.#held = undefined
    const body = held.translate(this.versioned?.translated?.version.requestBody ?? [])
    if (!Buffer.isBuffer(body)) {
      this.refuse(...requestRefusal(body))
      return
    }
    if (target === undefined) return
    // What comes behind a body speaks of the one that the client sent.
    this.#requestTrailers = undefined
    this.#translatedLength = body.length
    this.#keeping = this.#kept.replace(body)
    this.#render(target)
    if (this.copy !== undefined) this.#sendCopy()
    if (target.decision !== undefined || this.#request.grpcTimeoutMs !== undefined)
      this.startTimers(target.decision, this.#request.grpcTimeoutMs)
    this.sendFirst(target)
  }

  /** The head of an answer that is another for the version of the request. */
  #versionedHead(
    { edit, rules, problem }: TranslatedResponse,
    fields: readonly string[],
    endStream: boolean,
    target: ExchangeTarget,
  ): void {
    const edits = [edit, ...this.#answerEdits()]
    if (problem !== undefined) this.#refuseAnswer({ malformed: problem })
    else if (rules.length === 0) this.#respond(answerFields(fields, edits), endStream)
    else if (endStream) {
      // To HEAD: nobody knows how long the translated body would be.
      this.#respond(answerFields(withoutField(fields, 'content-length'), edits), true)
    } else {
      const body = this.#hold(target, Number(fieldValue(fields, 'content-length') ?? -1))
      // Nothing of it has been sent yet: what goes wrong can still be told.
      this.responseStarted = false
      this.#heldAnswer = { body, rules, fields: answerFields(withoutField(fields, 'content-length'), edits) }
      if (body.problem !== undefined) this.#refuseAnswer(body.problem)
    }
  }

  #sendHeldAnswer({ body, rules, fields }: HeldAnswer): void {
    this.#heldAnswer = undefined
    const bytes = body.translate(rules)
    if (!Buffer.isBuffer(bytes)) {
      this.#refuseAnswer(bytes)
      return
    }
    this.responseStarted = true
    this.bytesOut += bytes.length
    this.#respond([...fields, 'content-length', String(bytes.length)], false)
    if (bytes.length > 0) this.#stream.writeBytes(bytes)
    this.#finish(() => this.#stream.end())
  }

  #refuseAnswer(wrong: Parameters<typeof answerRefusal>[0]): void {
    this.#heldAnswer = undefined
    this.responseStarted = false
    this.detach(false)
    this.refuse(...answerRefusal(wrong))
  }

  protected override endExchange(): void {
    super.endExchange()
    this.#held = undefined
    this.#heldAnswer = undefined
    if (this.#stream.closed || this.#stream.pendingWrites === 0) this.#payOwed()
  }

  /** What was written of a body counts until it has left. */
  #payOwed(): void {
    if (this.#owed.length === 0) return
    for (const held of this.#owed) held.release()
    this.#owed.length = 0
  }

  // ── The client's side ─────────────────────────────────────────────────────────────────────────

  onData(bytes: Buffer, length: number): void {
    this.onSlice(bytes, 0, length)
  }

  onSlice(bytes: Buffer, start: number, end: number): void {
    this.bytesIn += end - start
    this.messagesIn?.feed(bytes, start, end)
    if (this.copy !== undefined) this.copy.add(bytes, start, end)
    if (this.#held !== undefined) {
      this.#held.bodyData(bytes, start, end)
      if (this.#held.problem !== undefined) this.refuse(...requestRefusal(this.#held.problem))
      else this.#moved()
      return
    }
    if (this.#keeping && !this.#kept.add(bytes, start, end)) this.#forget()
    if (this.#deadline !== 0) this.#moved()
    if (this.#out?.writeSlice(bytes, start, end) === false) this.#stream.pause()
  }

  #forget(): void {
    this.#keeping = false
    this.#kept.clear()
  }

  onTrailers(fields: readonly string[]): void {
    this.#requestTrailers = withoutMeshFields(fields)
  }

  onEnd(): void {
    this.#requestDone = true
    if (!this.#tunnel) this.#deadline = 0
    if (this.#held !== undefined) {
      this.#sendHeld(this.#held)
      return
    }
    if (this.copy !== undefined) this.#sendCopy()
    this.#endRequest()
  }

  #endRequest(): void {
    if (this.#requestTrailers === undefined) this.#out?.end()
    else this.#out?.sendTrailers(this.#requestTrailers)
  }

  onDrain(): void {
    if (this.#over) this.#payOwed()
    if (this.#resetWhenDrained) this.#stream.reset(H2_NO_ERROR)
    else this.#out?.resume()
  }

  onClose(): void {
    this.#connection.left(this)
    this.#payOwed()
    if (this.#over) return
    this.#over = true
    this.record(this.#tunnel ? '-' : 'DC', 'the client closed its stream')
    this.detach(false)
    this.endExchange()
  }

  // ── Tries ─────────────────────────────────────────────────────────────────────────────────────

  protected inProgress(): boolean {
    return !this.#over
  }

  protected givenTraceparent(): string {
    return this.#request.traceparent
  }

  protected hasB3(): boolean {
    return this.#request.hasB3
  }

  requestId(): string {
    return this.#request.requestId
  }

  protected holdBody(): void {
    this.#stream.pause()
  }

  protected reserve({ flow, pool, speaks }: ExchangeTarget): boolean {
    return flow === undefined || (speaks !== 'HTTP/1.1' && pool.sessions.joinable) || flow.takeConnection()
  }

  protected ready(target: ExchangeTarget): Outgoing | undefined {
    return outgoingNow(target)
  }

  protected connect(target: ExchangeTarget, done: Connecting<Outgoing>): void {
    connectOutgoing(target, done)
  }

  protected giveBack(upstream: Outgoing): void {
    upstream.over(true)
  }

  protected attach(upstream: Outgoing): void {
    this.upstream = upstream
    const kept = this.#kept
    const whole = this.#requestDone && this.#requestTrailers === undefined && kept.length === 0
    if (this.#request.protocol !== '' && !upstream.takesUpgrade(this.#request.protocol)) {
      this.detach(true)
      this.refuse(REFUSAL.upstreamMalformed, `the upstream takes no extended CONNECT for ${this.#request.protocol}`)
      return
    }
    const answer = new Answer(this)
    const out = upstream.open(this.#rendered, whole, answer)
    if (out === undefined) {
      this.#lost(H2_REFUSED_STREAM, upstream.reused, 'it takes no more requests')
      return
    }
    this.#out = out
    this.#answer = answer
    out.resume()
    if (kept.length > 0) out.writeBytes(kept.bytes())
    if (this.#out !== out) return
    if (!this.#requestDone) {
      if (out.pendingWrites === 0) this.#stream.resume()
    } else if (!whole) this.#endRequest()
  }

  protected letGo(upstream: Outgoing, reusable: boolean): void {
    const out = this.#out
    this.#out = undefined
    this.#answer?.forget()
    this.#answer = undefined
    const clean = reusable && (out === undefined || out.closed || (out.writeEnded && out.pendingWrites === 0))
    if (out !== undefined && !out.closed && !clean) out.reset(H2_CANCEL)
    upstream.over(clean)
    if (!this.#requestDone) this.#stream.pause()
  }

  protected repeatable(): boolean {
    return this.#keeping
  }

  protected renderAgain(target: ExchangeTarget): void {
    this.#render(target)
  }

  // ── The upstream's side ───────────────────────────────────────────────────────────────────────

  answerHead(fields: readonly string[], endStream: boolean): void {
    const status = Number(fields[1])
    if (status < 200) {
      if (++this.#interim > MAX_INTERIM) this.#upstreamMalformed('too many interim responses')
      else this.#stream.respond(withoutMeshFields(fields), false)
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
    this.#forget()
    if (this.#request.protocol !== '' && status < 300 && !endStream) {
      this.#tunnel = true
      this.upgraded = true
      this.#moved()
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

  #respond(passed: readonly string[], endStream: boolean): void {
    const session = this.session === undefined ? undefined : this.sessionHeader()
    const answer = session === undefined ? passed : [...passed, ...session]
    if (endStream) this.#finish(() => this.#stream.respond(answer, true))
    else this.#stream.respond(answer, false)
  }

  #answerEdits(): typeof NO_EDITS {
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
    if (this.#heldAnswer !== undefined) {
      const { body } = this.#heldAnswer
      body.bodyData(bytes, start, end)
      if (body.problem !== undefined) this.#refuseAnswer(body.problem)
      return
    }
    this.bytesOut += end - start
    this.messagesOut?.feed(bytes, start, end)
    if (this.#tunnel) this.#moved()
    if (!this.#stream.writeSlice(bytes, start, end)) this.#out?.pause()
  }

  answerTrailers(fields: readonly string[]): void {
    if (this.#heldAnswer !== undefined) {
      this.#sendHeldAnswer(this.#heldAnswer)
      return
    }
    const clean = withoutMeshFields(fields)
    if (this.grpc) {
      const status = fieldValue(clean, 'grpc-status')
      if (status !== undefined) this.grpcStatus = parseGrpcStatus(status)
      const { target } = this
      if (target !== undefined) target.flow?.record(target.load, outcomeOfGrpc(this.grpcStatus), this.services.now())
    }
    this.#finish(() => this.#stream.sendTrailers(clean))
  }

  answerEnd(): void {
    if (this.#heldAnswer !== undefined) this.#sendHeldAnswer(this.#heldAnswer)
    else if (!this.#over) this.#finish(() => this.#stream.end())
  }

  /** The answer is complete. */
  #finish(end: () => void): void {
    if (!this.responseStarted) {
      this.#upstreamMalformed('the response ended before its head')
      return
    }
    this.#over = true
    this.record(this.flag, '')
    this.detach(true)
    this.endExchange()
    end()
    this.#dismiss()
  }

  /** The client need not send the rest of its request (RFC 9113 section 8.1). */
  #dismiss(): void {
    const stream = this.#stream
    if (this.#requestDone || stream.closed) return
    if (stream.pendingWrites > 0) this.#resetWhenDrained = true
    else stream.reset(H2_NO_ERROR)
  }

  answerClosed(status: number): void {
    const out = this.#out
    if (out === undefined) return
    const code = out.errorCode
    if (this.responseStarted) {
      this.#forward(code, status)
      return
    }
    this.#lost(
      code,
      this.upstream?.reused === true,
      status === 0 ? 'closed before a response' : this.services.errorText(status),
    )
  }

  /** Cut in the middle of its answer: so is the client's stream. */
  #forward(code: number, status: number): void {
    const { target } = this
    if (this.grpc && target !== undefined) target.flow?.record(target.load, 'gateway', this.services.now())
    this.#cut('UC', `the upstream closed in the middle of its response: ${this.services.errorText(status)}`, code)
  }

  /** The try ended without an answer. `code`: of RST_STREAM, -1 when the connection was lost. */
  #lost(code: number, reused: boolean, why: string): void {
    const { target } = this
    this.detach(false)
    // Refused: nobody has looked at it (RFC 9113 section 8.7). Lost with its connection: the keep-alive race.
    const again = code === H2_REFUSED_STREAM || (code < 0 && reused && IDEMPOTENT.has(this.method))
    if (target !== undefined && again && this.repeatable() && this.attempts < MAX_ATTEMPTS) {
      this.resend(target)
      return
    }
    const wasReset = code > 0 && code !== H2_REFUSED_STREAM && !this.grpc && this.#request.protocol === ''
    this.lostTry(REFUSAL.upstreamReset, wasReset ? `the upstream reset the stream, code ${code}` : why)
  }

  #upstreamMalformed(problem: string): void {
    if (this.responseStarted) {
      this.#cut('UPE', problem, H2_INTERNAL_ERROR)
      return
    }
    this.detach(false)
    this.lostTry(REFUSAL.upstreamMalformed, problem)
  }

  /** The upstream has taken what was written. */
  requestDrained(): void {
    if (!this.#requestDone) this.#stream.resume()
  }

  // ── Own answers, ends ─────────────────────────────────────────────────────────────────────────

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
    this.#over = true
    this.bytesOut += body.length
    this.record(flag, why)
    this.endExchange()
    this.#forget()
    const stream = this.#stream
    if (stream.closed) return
    stream.respond(fields, body === '')
    if (body !== '') {
      stream.writeText(body)
      stream.end()
    }
    this.#dismiss()
  }

  /** Ends an exchange whose answer has begun: the client must not take the part for the whole. */
  #cut(flag: Refusal['flag'], why: string, code: number): void {
    this.#over = true
    this.record(flag, why)
    this.detach(false)
    this.endExchange()
    this.#stream.reset(code > 0 ? code : H2_INTERNAL_ERROR)
  }

  /** As `#cut`, by the mesh's own decision: a gRPC client is told the status. */
  #cutCall(refusal: Refusal, why: string): void {
    if (!this.grpc || this.#stream.writeEnded) {
      this.#cut(refusal.flag, why, H2_CANCEL)
      return
    }
    this.#over = true
    this.grpcStatus = grpcStatusOfRefusal(refusal)
    this.record(refusal.flag, why)
    this.detach(false)
    this.endExchange()
    const fields = trailersOnly(this.grpcStatus, refusal.body)
    this.#stream.sendTrailers(fields.slice(4))
    this.#dismiss()
  }

  #moved(): void {
    const { tcpIdleTimeoutMs, bodyIdleTimeoutMs } = this.services.limits
    const idleMs = this.#tunnel ? tcpIdleTimeoutMs : bodyIdleTimeoutMs
    this.#deadline = idleMs === 0 ? 0 : this.services.now() + idleMs
  }

  sweep(now: number): void {
    if (this.#over) return
    if (this.#callEnds !== 0 && now >= this.#callEnds && this.responseStarted) {
      this.#cutCall(REFUSAL.requestTimeout, 'the deadline of the call has passed')
    } else if (this.#deadline !== 0 && now >= this.#deadline) this.#late(now)
  }

  #late(now: number): void {
    if (this.#tunnel) {
      this.#cut('-', 'idle for too long', H2_CANCEL)
    } else if (!this.#stream.reading) {
      // Not the client is slow but the upstream, which does not take the body.
      this.#deadline = now + this.services.limits.bodyIdleTimeoutMs
    } else if (this.responseStarted) this.#deadline = 0
    else {
      this.detach(false)
      this.refuse(REFUSAL.clientTimeout, 'the request body did not arrive in time')
    }
  }

  rejudge(): void {
    if (this.#over) return
    const denial: Verdict | undefined = this.pipeline.denialNow(this)
    if (denial === undefined) return
    this.verdict = denial
    if (this.responseStarted) {
      this.#cutCall(REFUSAL.denied, `cut by a policy change: ${denial.reason}`)
    } else {
      this.detach(false)
      this.refuse(REFUSAL.denied, `denied by a policy change: ${denial.reason}`)
    }
  }
}

/** What comes back of one try; once that is let go of, nothing. */
class Answer implements Http2StreamOwner {
  #exchange: Http2Exchange | undefined

  constructor(exchange: Http2Exchange) {
    this.#exchange = exchange
  }

  forget(): void {
    this.#exchange = undefined
  }

  onHeaders(fields: readonly string[], endStream: boolean): void {
    this.#exchange?.answerHead(fields, endStream)
  }

  onData(bytes: Buffer, length: number): void {
    this.#exchange?.answerData(bytes, 0, length)
  }

  onSlice(bytes: Buffer, start: number, end: number): void {
    this.#exchange?.answerData(bytes, start, end)
  }

  onTrailers(fields: readonly string[]): void {
    this.#exchange?.answerTrailers(fields)
  }

  onEnd(): void {
    this.#exchange?.answerEnd()
  }

  onDrain(): void {
    this.#exchange?.requestDrained()
  }

  onClose(status: number): void {
    this.#exchange?.answerClosed(status)
  }
}
