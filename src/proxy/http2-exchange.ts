/**
 * One request of a client that speaks HTTP/2: a stream of its connection, sent on as a stream in turn (or by whatever else
 * an `Outgoing` is). Data passes as it comes, each direction at the pace of its reader; a reset on one side is one on the
 * other. What the client is answered is in `http2-answering.ts`.
 */
import { REFUSAL, type Verdict } from '#contract'
import { GrpcMessages, H2_CANCEL, H2_REFUSED_STREAM, type H2Stream, type Http2StreamOwner } from '#http'
import { type Connecting, MAX_ATTEMPTS } from './exchange.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import { HeldBodies } from './held-bodies.ts'
import { requestRefusal } from './held-body.ts'
import { type AnswerTaker, Http2Answer } from './http2-answer.ts'
import { Http2Answering } from './http2-answering.ts'
import type { Http2Connection } from './http2-connection.ts'
import { copyLines, withoutMeshFields } from './http2-fields.ts'
import { renderForTarget } from './http2-rendering.ts'
import { Http2Request } from './http2-request.ts'
import { KeptBody } from './kept-body.ts'
import { connectOutgoing, outgoingNow } from './outgoing.ts'
import type { Outgoing, OutgoingStream } from './outgoing-stream.ts'

const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

export class Http2Exchange extends Http2Answering implements Http2StreamOwner, AnswerTaker {
  readonly #connection: Http2Connection
  readonly #request: Http2Request
  /** What goes upstream, for the present target. */
  #rendered: readonly string[] = []
  #out: OutgoingStream | undefined
  #answer: Http2Answer | undefined
  #requestTrailers: readonly string[] | undefined
  /** All that was read of the body, while it can be sent again. */
  readonly #kept = new KeptBody()
  #keeping = true
  /** Length of the translated body of the request. */
  #translatedLength: number | undefined
  /** Of what is awaited, in `now()`'s ms; 0: nothing. */
  #deadline = 0
  /** Of a gRPC call, in `now()`'s ms; 0: none. */
  #callEnds = 0

  constructor(connection: Http2Connection, stream: H2Stream, fields: readonly string[]) {
    super(connection.services, connection.pod, connection.pipeline, connection.clientAddress, stream)
    this.#connection = connection
    this.#request = new Http2Request(fields)
    stream.owner = this
  }

  header(lowerCaseName: string): string | undefined {
    return this.#request.header(lowerCaseName)
  }

  requestFields(): readonly string[] {
    return this.#request.fields.slice(this.#request.firstField)
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
    this.requestDone = endStream
    // A stream that is not read to its end stays open.
    if (endStream) this.stream.resume()
    if (this.stream.tunnel) {
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
        this.#holdRequest(choice, length)
        return
      }
      if (how !== 'pass') {
        this.answerInstead(how)
        return
      }
    }
    this.#render(choice)
    this.startTimers(choice.decision, request.grpcTimeoutMs)
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
    const traceparent = this.joinTrace(target)
    const { services, traced } = this
    const length = this.#translatedLength
    this.#rendered = renderForTarget(services, this, this.#request, target, traceparent, traced, length)
  }

  // ── A body that is translated ─────────────────────────────────────────────────────────────────

  #holdRequest({ decision }: ExchangeTarget, length: number): void {
    this.bodies = new HeldBodies(this.pod.held)
    const problem = this.bodies.holdRequest(decision?.versions?.maxBodyBytes ?? 0, length)
    if (problem !== undefined) this.refuse(...requestRefusal(problem))
    else this.stream.resume()
  }

  #sendHeld(bodies: HeldBodies): void {
    const { target } = this
    const body = bodies.translateRequest(this.versioned?.translated?.version.requestBody ?? [])
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
    this.startTimers(target.decision, this.#request.grpcTimeoutMs)
    this.sendFirst(target)
  }

  protected override endExchange(): void {
    super.endExchange()
    this.#forget()
  }

  // ── The client's side ─────────────────────────────────────────────────────────────────────────

  onData(bytes: Buffer, length: number): void {
    this.onSlice(bytes, 0, length)
  }

  onSlice(bytes: Buffer, start: number, end: number): void {
    this.bytesIn += end - start
    this.messagesIn?.feed(bytes, start, end)
    if (this.copy !== undefined) this.copy.add(bytes, start, end)
    const { bodies } = this
    if (bodies?.holdsRequest === true) {
      const problem = bodies.requestData(bytes, start, end)
      if (problem !== undefined) this.refuse(...requestRefusal(problem))
      else this.moved()
      return
    }
    if (this.#keeping && !this.#kept.add(bytes, start, end)) this.#forget()
    if (this.#deadline !== 0) this.moved()
    if (this.#out?.writeSlice(bytes, start, end) === false) this.stream.pause()
  }

  #forget(): void {
    this.#keeping = false
    this.#kept.clear()
  }

  onTrailers(fields: readonly string[]): void {
    this.#requestTrailers = withoutMeshFields(fields)
  }

  onEnd(): void {
    this.requestDone = true
    if (!this.upgraded) this.#deadline = 0
    if (this.bodies?.holdsRequest === true) {
      this.#sendHeld(this.bodies)
      return
    }
    if (this.copy !== undefined) this.#sendCopy()
    this.#endRequest()
  }

  #endRequest(): void {
    if (this.#requestTrailers === undefined) this.#out?.end()
    else this.#out?.sendTrailers(this.#requestTrailers)
  }

  onClose(): void {
    this.#connection.left(this)
    this.bodies?.release()
    if (this.over) return
    this.over = true
    this.record(this.upgraded ? '-' : 'DC', 'the client closed its stream')
    this.detach(false)
    this.endExchange()
  }

  // ── Tries ─────────────────────────────────────────────────────────────────────────────────────

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
    this.stream.pause()
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
    const whole = this.requestDone && this.#requestTrailers === undefined && kept.length === 0
    if (this.#request.protocol !== '' && !upstream.takesUpgrade(this.#request.protocol)) {
      this.detach(true)
      this.refuse(REFUSAL.upstreamMalformed, `the upstream takes no extended CONNECT for ${this.#request.protocol}`)
      return
    }
    const answer = new Http2Answer(this)
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
    if (!this.requestDone) {
      if (out.pendingWrites === 0) this.stream.resume()
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
    if (!this.requestDone) this.stream.pause()
  }

  protected repeatable(): boolean {
    return this.#keeping
  }

  protected renderAgain(target: ExchangeTarget): void {
    this.#render(target)
  }

  // ── The upstream's side ───────────────────────────────────────────────────────────────────────

  protected becomesTunnel(status: number, endStream: boolean): boolean {
    return this.#request.protocol !== '' && status < 300 && !endStream
  }

  protected override takeAnswer(status: number, refusal: string | undefined): void {
    super.takeAnswer(status, refusal)
    this.#forget()
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
    this.cut('UC', `the upstream closed in the middle of its response: ${this.services.errorText(status)}`, code)
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

  /** The upstream has taken what was written. */
  requestDrained(): void {
    if (!this.requestDone) this.stream.resume()
  }

  protected pauseAnswer(): void {
    this.#out?.pause()
  }

  protected resumeAnswer(): void {
    this.#out?.resume()
  }

  // ── Time, and policy that changes ─────────────────────────────────────────────────────────────

  protected moved(): void {
    const { tcpIdleTimeoutMs, bodyIdleTimeoutMs } = this.services.limits
    const idleMs = this.upgraded ? tcpIdleTimeoutMs : bodyIdleTimeoutMs
    this.#deadline = idleMs === 0 ? 0 : this.services.now() + idleMs
  }

  sweep(now: number): void {
    if (this.over) return
    if (this.#callEnds !== 0 && now >= this.#callEnds && this.responseStarted) {
      this.cutCall(REFUSAL.requestTimeout, 'the deadline of the call has passed')
    } else if (this.#deadline !== 0 && now >= this.#deadline) this.#late(now)
  }

  #late(now: number): void {
    if (this.upgraded) {
      this.cut('-', 'idle for too long', H2_CANCEL)
    } else if (!this.stream.reading) {
      // Not the client is slow but the upstream, which does not take the body.
      this.#deadline = now + this.services.limits.bodyIdleTimeoutMs
    } else if (this.responseStarted) this.#deadline = 0
    else {
      this.detach(false)
      this.refuse(REFUSAL.clientTimeout, 'the request body did not arrive in time')
    }
  }

  rejudge(): void {
    if (this.over) return
    const denial: Verdict | undefined = this.pipeline.denialNow(this)
    if (denial === undefined) return
    this.verdict = denial
    if (this.responseStarted) {
      this.cutCall(REFUSAL.denied, `cut by a policy change: ${denial.reason}`)
    } else {
      this.detach(false)
      this.refuse(REFUSAL.denied, `denied by a policy change: ${denial.reason}`)
    }
  }
}
