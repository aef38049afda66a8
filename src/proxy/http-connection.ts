/**
 * One client connection that speaks HTTP/1.1: requests read one after another, each an exchange of its own, bodies
 * streamed with back-pressure both ways, answers in order. One state machine, one way in (`onData`) and one way out
 * (`#next` or `refuse`) per request. What is sent on of a request, and kept, is with `relayed-request.ts`; how an answer
 * is written with `answer-writer.ts`.
 */
import { type HeaderEdit, REFUSAL, REFUSAL_HEADER, type Refusal, type ResponseFlag } from '#contract'
import { type BodyMode, type BodySink, type ByteStream, Head, PARSE_BAD, PARSE_DONE, type StreamOwner } from '#http'
import { outcomeOfStatus, responseEditsOf } from '#routing'
import type { CompiledRule, TranslatedResponse } from '#translation'
import { AnswerWriter, type Framing } from './answer-writer.ts'
import { type Connecting, Exchange, MAX_ATTEMPTS } from './exchange.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import { answerRefusal, HeldBody, requestRefusal } from './held-body.ts'
import type { HttpPipeline } from './http-exchange.ts'
import { asksTunnel, nameTarget, renderHead, renderHeadOfCopy } from './http1-request-head.ts'
import { isMeshHeader } from './mesh-headers.ts'
import type { HeldConnection, Pod } from './pod.ts'
import { RelayedRequest } from './relayed-request.ts'
import { type ResponseRendering, renderOwn, renderRefusal, renderResponse } from './render.ts'
import type { Services } from './services.ts'
import { fieldsOfHead } from './tap-text.ts'
import type { UpstreamClient, UpstreamConnection } from './upstream.ts'
import { STATUS_REFUSED } from './upstream-sessions.ts'

/** Waiting for a head, or in the middle of one. */
const READY = 0
/** A request is being served. */
const BUSY = 1
/** Bytes both ways after an upgrade or CONNECT. */
const TUNNEL = 2
/** Our last answer is sent; what still arrives is thrown away until the client closes. */
const LINGER = 3

const LINGER_MS = 2_000
/** How long a client that has ended its side is given an answer that does not move. */
const HALF_CLOSED_MS = 5_000
/** Interim answers (1xx) to one request; an upstream that sends more is not sane. */
const MAX_INTERIM = 32
/** Requests of one client answered in one turn of the event loop. */
const MAX_PER_TURN = 16
/** How long a draining proxy keeps an idle client connection. */
const DRAIN_IDLE_MS = 1_000
const NO_EDITS: readonly HeaderEdit[] = Object.freeze([])
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

interface HeldAnswer {
  readonly body: HeldBody
  readonly rules: readonly CompiledRule[]
  readonly edits: readonly HeaderEdit[]
}

export class HttpConnection
  extends Exchange<UpstreamConnection>
  implements StreamOwner, UpstreamClient, HeldConnection, BodySink
{
  readonly version = 'HTTP/1.1'
  readonly stream: ByteStream
  readonly head: Head
  readonly #request: RelayedRequest
  readonly #writer: AnswerWriter
  #state = READY
  /** Bytes of an unfinished head, or of requests that wait for their turn. */
  #pending: Buffer | undefined
  #headSince = 0
  #deadline = 0
  #draining = false
  #clientEnded = false

  #upgrading = false
  #lingerLeft = 0
  #interim = 0
  #pumping = false
  /** The request's body, while it is held to be translated. */
  #held: HeldBody | undefined
  /** Length of the translated body of the request. */
  #translatedLength: number | undefined
  /** The answer's body, while it is held to be translated, and what it is to become. */
  #heldAnswer: HeldAnswer | undefined
  /** What has been translated and may still be on its way. */
  readonly #owed: HeldBody[] = []

  constructor(services: Services, pod: Pod, stream: ByteStream, pipeline: HttpPipeline, clientAddress: string) {
    super(services, pod, pipeline, clientAddress)
    this.stream = stream
    const { maxHeadBytes, maxHeaders } = services.limits
    this.head = new Head(maxHeadBytes, maxHeaders)
    this.#request = new RelayedRequest(maxHeadBytes, maxHeaders)
    this.#writer = new AnswerWriter(stream)
    this.#deadline = services.now() + services.limits.headTimeoutMs
    pod.connections.add(this)
  }

  /** What a client says in the mesh's own name counts for nothing. */
  header(lowerCaseName: string): string | undefined {
    return isMeshHeader(lowerCaseName) ? undefined : this.head.get(lowerCaseName)
  }

  requestFields(): readonly string[] {
    return this.method === '' ? [] : fieldsOfHead(this.head)
  }

  /** A request is told of before its upstream is let go of. */
  answerFields(): readonly string[] {
    return this.responseStarted && this.upstream !== undefined ? fieldsOfHead(this.upstream.head) : []
  }

  // ── Client side ───────────────────────────────────────────────────────────────────────────────

  onData(bytes: Buffer, length: number): void {
    switch (this.#state) {
      case READY:
        this.#readHead(bytes, 0, length)
        break
      case BUSY:
        if (this.#request.done) this.#hold(bytes, 0, length)
        else if (this.#held !== undefined) this.#holdBody(this.#held, bytes, 0, length)
        else if (this.upstream === undefined) this.#hold(bytes, 0, length)
        else this.#readBody(bytes, 0, length)
        break
      case TUNNEL:
        this.bytesIn += length
        this.#tunnelMoved()
        if (this.upstream?.stream.writeSlice(bytes, 0, length) === false) this.stream.pause()
        break
      default:
        break
    }
  }

  /** Keeps bytes for later and stops reading: what a client sends ahead is bounded by one read. */
  #hold(bytes: Buffer, start: number, end: number): void {
    const slice = bytes.subarray(start, end)
    if (this.#pending !== undefined) this.#pending = Buffer.concat([this.#pending, slice])
    else this.#pending = Buffer.from(slice)
    this.stream.pause()
  }

  #readHead(bytes: Buffer, start: number, end: number): void {
    let source = bytes
    let from = start
    let to = end
    if (this.#pending !== undefined) {
      // Parse again only when the head may be complete: bytes that drip in must not cost a pass each.
      const joined = Buffer.concat([this.#pending, bytes.subarray(start, end)])
      if (
        joined.length <= this.services.limits.maxHeadBytes &&
        joined.indexOf('\r\n\r\n', Math.max(0, this.#pending.length - 3), 'latin1') < 0 &&
        joined.indexOf('\n\n', Math.max(0, this.#pending.length - 1), 'latin1') < 0
      ) {
        this.#pending = joined
        return
      }
      this.#pending = undefined
      source = joined
      from = 0
      to = joined.length
    }
    // RFC 9112 section 2.2: empty lines before a request line are ignored.
    while (to - from >= 2 && source[from] === 13 && source[from + 1] === 10) from += 2
    if (from === to) return
    if (source[from] === 13 && to - from === 1) {
      // Half an empty line: no head has begun yet.
      this.#pending = Buffer.from(source.subarray(from, to))
      return
    }
    if (this.#headSince === 0) {
      this.#headSince = this.services.now()
      this.#deadline = this.#headSince + this.services.limits.headTimeoutMs
    }
    const result = this.head.parseRequest(source, from, to)
    if (result === PARSE_DONE) this.#beginRequest(source, from + this.head.length, to)
    else if (result === PARSE_BAD) this.#malformed(this.head.problem, this.head.tooLarge)
    else this.#pending = Buffer.from(source.subarray(from, to))
  }

  #malformed(problem: string, tooLarge: boolean): void {
    this.#beginUnread(this.services.now())
    this.refuse(tooLarge ? REFUSAL.tooLarge : REFUSAL.malformed, problem)
  }

  /** A request that was never read whole: nothing of the one before may show in its answer or log line. */
  #beginUnread(started: number): void {
    this.begin(started)
    this.#state = BUSY
    this.#request.beginUnread()
    this.#deadline = 0
  }

  #beginRequest(bytes: Buffer, bodyStart: number, end: number): void {
    const head = this.head
    const now = this.services.now()
    this.begin(now)
    this.#state = BUSY
    this.#headSince = 0
    this.#deadline = 0
    this.#upgrading = false
    this.#interim = 0
    this.method = head.method
    nameTarget(head, this)
    this.#writer.begin(head.connectionClose || (head.minor === 0 && !head.connectionKeepAlive) || this.#draining)
    const request = this.#request
    request.begin(head.chunked, head.contentLength)

    const choice = this.admit(now)
    if (choice.kind !== 'forward') {
      if (bodyStart < end) this.#hold(bytes, bodyStart, end)
      if (choice.kind === 'refuse' && choice.close === true) this.#writer.closes = true
      this.answerInstead(choice)
      return
    }
    if (choice.decision?.versions !== undefined) {
      const how = this.beginVersion(choice, !this.#request.done, head.contentLength)
      if (how === 'hold') {
        this.#beginHolding(choice.decision.versions.maxBodyBytes, bytes, bodyStart, end)
        return
      }
      if (how !== 'pass') {
        if (bodyStart < end) this.#hold(bytes, bodyStart, end)
        this.answerInstead(how)
        return
      }
    }
    const text = this.#renderRequest(choice)
    if (choice.decision !== undefined) this.startTimers(choice.decision)

    // Body bytes that came with the head travel with it.
    const hasBody = !request.done
    if (hasBody) this.#deadline = now + this.services.limits.bodyIdleTimeoutMs
    const stop = request.gather(text, this.copy, bytes, bodyStart, end)
    if (hasBody) {
      if (!this.#bodyRead(bytes, stop, end)) return
    } else {
      if (bodyStart < end) this.#hold(bytes, bodyStart, end)
      if (this.copy !== undefined) this.#copyRequest()
    }
    this.sendFirst(choice)
  }

  // ── A body that is translated ─────────────────────────────────────────────────────────────────

  #beginHolding(maxBytes: number, bytes: Buffer, start: number, end: number): void {
    const { head } = this
    const held = new HeldBody(this.pod.held, maxBytes, head.contentLength)
    this.#held = held
    this.#owed.push(held)
    // Nothing is sent on before all of it is here: the client is told to go on by us (RFC 9110 section 10.1.1).
    if (head.expectContinue && head.minor === 1 && start === end) this.stream.writeText('HTTP/1.1 100 Continue\r\n\r\n')
    this.#holdBody(held, bytes, start, end)
  }

  #holdBody(held: HeldBody, bytes: Buffer, start: number, end: number): void {
    const request = this.#request
    this.#deadline = this.services.now() + this.services.limits.bodyIdleTimeoutMs
    const stop = request.readInto(held, bytes, start, end)
    if (request.problem !== '') this.#failRequest(REFUSAL.malformed, `request body: ${request.problem}`)
    else if (held.problem !== undefined) this.refuse(...requestRefusal(held.problem))
    else if (!request.done) this.stream.resume()
    else {
      this.#deadline = 0
      this.bytesIn += request.received
      if (stop < end) this.#hold(bytes, stop, end)
      this.#sendHeld(held)
    }
  }

  #sendHeld(held: HeldBody): void {
    const { target } = this
    this.#held = undefined
    // Mirrors get what the client sent: which version they speak is their own matter.
    if (this.copy !== undefined) held.copyTo(this.copy)
    const body = held.translate(this.versioned?.translated?.version.requestBody ?? [])
    if (!Buffer.isBuffer(body)) {
      this.refuse(...requestRefusal(body))
      return
    }
    if (target === undefined) return
    this.#translatedLength = body.length
    this.#request.gatherWhole(this.#renderRequest(target), body)
    if (this.copy !== undefined) this.#copyRequest()
    if (target.decision !== undefined) this.startTimers(target.decision)
    this.sendFirst(target)
  }

  #beginHoldingAnswer(upstream: UpstreamConnection, answer: HeldAnswer, mode: BodyMode): void {
    const { head } = upstream
    this.#heldAnswer = answer
    this.#owed.push(answer.body)
    // Nothing of it has been sent yet: what goes wrong can still be told.
    this.responseStarted = false
    upstream.body.begin(mode, Math.max(0, head.contentLength))
    if (answer.body.problem !== undefined) this.#refuseAnswer(answer.body.problem)
    else upstream.beginBody()
  }

  #holdAnswer(answer: HeldAnswer, upstream: UpstreamConnection, bytes: Buffer, start: number, end: number): void {
    const { body } = upstream
    const stop = body.read(bytes, start, end, answer.body)
    if (body.problem !== '') this.upstreamMalformed(upstream, `response body: ${body.problem}`)
    else if (answer.body.problem !== undefined) this.#refuseAnswer(answer.body.problem)
    else if (body.done) this.#sendHeldAnswer(answer, upstream, stop < end)
  }

  #sendHeldAnswer(answer: HeldAnswer, upstream: UpstreamConnection, surplus: boolean): void {
    this.#heldAnswer = undefined
    const body = answer.body.translate(answer.rules)
    if (!Buffer.isBuffer(body)) {
      this.#refuseAnswer(body)
      return
    }
    this.responseStarted = true
    if (!this.#request.done) this.#writer.closes = true
    const text = this.#renderAnswer(upstream.head, 'length', answer.edits, body.length)
    this.bytesOut += body.length
    this.#writer.writeWhole(text, body)
    this.#responseComplete(upstream, surplus)
  }

  #refuseAnswer(wrong: Parameters<typeof answerRefusal>[0]): void {
    this.#heldAnswer = undefined
    this.responseStarted = false
    this.detach(false)
    this.refuse(...answerRefusal(wrong))
  }

  /** What was written of a body counts until it has left. */
  #payOwed(): void {
    if (this.#owed.length === 0) return
    for (const held of this.#owed) held.release()
    this.#owed.length = 0
  }

  #renderRequest(target: ExchangeTarget): string {
    const { head } = this
    this.#upgrading = asksTunnel(head)
    const traceparent = this.joinTrace(target)
    return renderHead(
      this.services,
      this,
      head,
      target,
      traceparent,
      this.traced,
      this.#upgrading,
      this.#translatedLength,
    )
  }

  /** What was read of the body, up to `stop`; false when that ended the exchange. */
  #bodyRead(bytes: Buffer, stop: number, end: number): boolean {
    const request = this.#request
    if (request.problem !== '') {
      this.#failRequest(REFUSAL.malformed, `request body: ${request.problem}`)
      return false
    }
    if (request.done) {
      this.#deadline = 0
      this.bytesIn += request.received
      if (stop < end) this.#hold(bytes, stop, end)
      if (this.copy !== undefined) this.#copyRequest()
    }
    return true
  }

  /** To its mirrors: now that it is known to be one. What becomes a tunnel is no request alone. */
  #copyRequest(): void {
    if (this.#upgrading) return
    this.sendCopy(renderHeadOfCopy(this.services, this, this.head))
  }

  #readBody(bytes: Buffer, start: number, end: number): void {
    this.#deadline = this.services.now() + this.services.limits.bodyIdleTimeoutMs
    const stop = this.#request.read(bytes, start, end)
    if (!this.#bodyRead(bytes, stop, end)) return
    if ((this.upstream?.stream.pendingWrites ?? 0) > 0) this.stream.pause()
  }

  // ── Upstream side ─────────────────────────────────────────────────────────────────────────────

  protected inProgress(): boolean {
    return this.#state === BUSY && !this.stream.closed
  }

  protected givenTraceparent(): string {
    const { head } = this
    return head.traceparentIndex < 0 ? '' : head.value(head.traceparentIndex)
  }

  protected hasB3(): boolean {
    return this.head.hasB3
  }

  requestId(): string {
    const { head } = this
    return head.requestIdIndex < 0 ? '' : head.value(head.requestIdIndex)
  }

  protected holdBody(): void {
    if (!this.#request.done) this.stream.pause()
  }

  protected reserve({ flow, pool, speaks }: ExchangeTarget): boolean {
    return flow === undefined || (speaks === 'HTTP/2' && pool.sessions.joinable) || flow.takeConnection()
  }

  protected ready({ pool, speaks }: ExchangeTarget): UpstreamConnection | undefined {
    return speaks === 'HTTP/2' ? pool.bridge(pool.sessions.take()) : pool.idle()
  }

  protected connect({ pool, flow, speaks }: ExchangeTarget, done: Connecting<UpstreamConnection>): void {
    if (speaks === 'HTTP/2') {
      pool.sessions.connect(flow, (session, status, error) => done(pool.bridge(session), status, error))
      return
    }
    pool.connect((connection, status, error) => {
      flow?.connected(connection)
      done(connection, status, error)
    })
  }

  protected giveBack(upstream: UpstreamConnection): void {
    upstream.release(this.services.now())
  }

  protected letGo(upstream: UpstreamConnection, reusable: boolean): void {
    this.#request.detach()
    if (reusable) upstream.release(this.services.now())
    else upstream.discard()
  }

  protected repeatable(): boolean {
    return this.#request.repeatable
  }

  protected renderAgain(next: ExchangeTarget): void {
    this.#request.replaceHead(this.#renderRequest(next))
  }

  protected attach(upstream: UpstreamConnection): void {
    this.upstream = upstream
    upstream.begin(this)
    this.#request.sendOn(upstream.stream, this.target?.decision?.retry !== undefined)
    if (this.#request.done || upstream.stream.closed) return
    const pending = this.#pending
    if (pending !== undefined) {
      this.#pending = undefined
      this.#readBody(pending, 0, pending.length)
    }
    if (this.#pending === undefined && upstream.stream.pendingWrites === 0) this.stream.resume()
  }

  responseHead(upstream: UpstreamConnection, bytes: Buffer, bodyStart: number, end: number): void {
    const head = upstream.head
    const status = head.status
    if (status < 200 && status !== 101) {
      if (++this.#interim > MAX_INTERIM) {
        this.upstreamMalformed(upstream, 'too many interim responses')
        return
      }
      // Interim answers pass through (RFC 9110 section 15.2), but not to HTTP/1.0.
      if (this.head.minor === 1) {
        this.stream.writeText(
          renderResponse(head, { framing: 'none', close: false, keepAlive10: false, edits: NO_EDITS, upgrade: false }),
        )
      }
      upstream.awaitFinalHead()
      if (bodyStart < end) upstream.readHead(bytes, bodyStart, end)
      return
    }
    if (status === 101 && (!this.#upgrading || this.head.method === 'CONNECT')) {
      this.upstreamMalformed(upstream, 'switched protocols without being asked')
      return
    }
    const { target } = this
    if (target !== undefined) {
      this.answered(target, outcomeOfStatus(status))
      if (status >= 400 && target.flow !== undefined && this.#retryInstead(target, upstream, end - bodyStart)) return
    }
    this.takeAnswer(status, target?.tunnelled === true ? head.get(REFUSAL_HEADER) : undefined)
    this.#request.keepNoMore()
    if (status === 101 || (this.head.method === 'CONNECT' && status < 300)) {
      this.#beginTunnel(upstream, bytes, bodyStart, end)
      return
    }
    const bodyless = this.head.method === 'HEAD' || status === 204 || status === 304
    const mode = bodyless ? 'none' : head.chunked ? 'chunked' : head.contentLength >= 0 ? 'length' : 'close'
    const framing = mode === 'none' || mode === 'length' ? mode : this.head.minor === 1 ? 'chunked' : 'close'
    if (framing === 'close') this.#writer.closes = true
    if (this.#draining) this.#writer.closes = true
    if (this.#clientEnded) this.#deadline = this.services.now() + HALF_CLOSED_MS
    // A request whose body is still coming when its answer is complete ends the connection (section 9.3).
    upstream.body.begin(mode, Math.max(0, head.contentLength))
    const edits = this.#responseEdits()
    if (this.versioned !== undefined) {
      const translated = this.translateAnswer(status, (name) => head.get(name))
      if (translated !== undefined) {
        this.#versionedHead(upstream, translated, mode, framing, edits, bytes, bodyStart, end)
        return
      }
    }
    this.#answerHead(upstream, this.#renderAnswer(head, framing, edits), framing, bytes, bodyStart, end)
  }

  /** `length`: of a body that is not the upstream's own. */
  #renderAnswer(
    head: Head,
    framing: Framing,
    edits: readonly HeaderEdit[],
    length?: ResponseRendering['length'],
  ): string {
    return renderResponse(head, {
      framing,
      close: this.#writer.closes,
      keepAlive10: this.head.minor === 0 && !this.#writer.closes,
      edits,
      upgrade: false,
      session: this.sessionHeader(),
      length,
    })
  }

  /** The head of an answer that is another for the version of the request. */
  #versionedHead(
    upstream: UpstreamConnection,
    { edit, rules, problem }: TranslatedResponse,
    mode: BodyMode,
    framing: Framing,
    ofRoute: readonly HeaderEdit[],
    bytes: Buffer,
    bodyStart: number,
    end: number,
  ): void {
    const { head } = upstream
    const edits = [edit, ...ofRoute]
    if (problem !== undefined) {
      this.#refuseAnswer({ malformed: problem })
      return
    }
    if (rules.length > 0 && !upstream.body.done) {
      const maxBytes = this.target?.decision?.versions?.maxBodyBytes ?? 0
      const body = new HeldBody(this.pod.held, maxBytes, mode === 'length' ? head.contentLength : -1)
      const answer = { body, rules, edits }
      this.#beginHoldingAnswer(upstream, answer, mode)
      if (this.#heldAnswer === answer && bodyStart < end) this.#holdAnswer(answer, upstream, bytes, bodyStart, end)
      return
    }
    // To HEAD: nobody knows how long the translated body would be.
    const length = rules.length > 0 && mode === 'none' ? 'unknown' : undefined
    const text = this.#renderAnswer(head, framing, edits, length)
    this.#answerHead(upstream, text, framing, bytes, bodyStart, end)
  }

  #answerHead(
    upstream: UpstreamConnection,
    text: string,
    framing: Framing,
    bytes: Buffer,
    bodyStart: number,
    end: number,
  ): void {
    if (upstream.body.done) {
      this.#writer.writeHead(text, framing, true)
      this.#responseComplete(upstream, bodyStart < end)
      return
    }
    upstream.beginBody()
    if (bodyStart === end) {
      this.#writer.writeHead(text, framing, false)
      return
    }
    this.#writer.joinHead(text, framing, end - bodyStart)
    this.responseBytes(upstream, bytes, bodyStart, end)
  }

  #responseEdits(): readonly HeaderEdit[] {
    const decision = this.target?.decision
    if (decision === undefined) return NO_EDITS
    return decision.cors === undefined ? decision.responseEdits : responseEditsOf(decision, this)
  }

  /** The answer is one that is tried again. `bodyBytes` of its body are here already. */
  #retryInstead(target: ExchangeTarget, upstream: UpstreamConnection, bodyBytes: number): boolean {
    // An answer to half a request is the answer.
    if (!this.repeatable()) return false
    const { head } = upstream
    if (!this.retryLater(head.status)) return false
    this.avoided.push(target.load)
    const whole = head.contentLength === bodyBytes && !head.chunked && this.head.method !== 'HEAD'
    this.detach(whole && !head.connectionClose && head.minor === 1 && !upstream.stream.readEnded)
    return true
  }

  responseBytes(upstream: UpstreamConnection, bytes: Buffer, start: number, end: number): void {
    if (this.#heldAnswer !== undefined) {
      this.#holdAnswer(this.#heldAnswer, upstream, bytes, start, end)
      return
    }
    const body = upstream.body
    this.#writer.beginRead()
    const stop = body.read(bytes, start, end, this)
    if (body.problem !== '') {
      this.upstreamMalformed(upstream, `response body: ${body.problem}`)
      return
    }
    this.#writer.endRead(body)
    if (body.done) this.#responseComplete(upstream, stop < end)
    else if (this.#clientEnded) this.#deadline = this.services.now() + HALF_CLOSED_MS
    if (!body.done && this.stream.pendingWrites > 0) {
      upstream.stream.pause()
      this.#deadline = this.services.now() + this.services.limits.bodyIdleTimeoutMs
    }
  }

  /** A piece of the answer's body. */
  bodyData(bytes: Buffer, start: number, end: number): void {
    this.bytesOut += end - start
    this.#writer.add(bytes, start, end)
  }

  #responseComplete(upstream: UpstreamConnection, surplus: boolean): void {
    if (!this.#request.done) {
      // The answer came before the request was complete: neither connection can be used again.
      this.#writer.closes = true
      this.record(this.flag, '')
      this.detach(false)
      this.#beginLinger()
      return
    }
    const reusable = !surplus && upstream.persists
    this.record(this.flag, '')
    this.detach(reusable)
    this.#next()
  }

  /** The exchange is over: read the next request, or close. */
  #next(): void {
    this.endExchange()
    if (this.stream.closed) return
    if (this.#writer.closes || this.#draining) {
      this.#beginLinger()
      return
    }
    this.#state = READY
    this.#headSince = 0
    this.#deadline = this.services.now() + this.services.limits.clientIdleTimeoutMs
    if (this.stream.pendingWrites > 0) {
      // The client does not take its answers: no further request is read before it does.
      this.stream.pause()
      return
    }
    this.#takePending()
  }

  /** Serves what was sent ahead. A loop, not a recursion: thousands of refused requests fit in one read. */
  #takePending(): void {
    if (this.#pumping) return
    this.#pumping = true
    for (let served = 0; this.#state === READY && this.#pending !== undefined; served++) {
      if (this.stream.pendingWrites > 0) {
        this.#pumping = false
        this.stream.pause()
        return
      }
      if (served === MAX_PER_TURN) {
        // Requests that the mesh itself answers wait for nobody: others have their turn in between.
        this.#pumping = false
        this.stream.pause()
        setImmediate(() => {
          if (!this.stream.closed) this.#takePending()
        })
        return
      }
      const pending: Buffer = this.#pending
      const epoch = this.epoch
      this.#pending = undefined
      this.#readHead(pending, 0, pending.length)
      if (this.epoch === epoch || this.stream.closed) break
    }
    this.#pumping = false
    if (this.stream.closed) return
    if (this.#state === READY) {
      if (this.#clientEnded) this.stream.end()
      else this.stream.resume()
    } else if (this.#state === BUSY && this.#request.done && this.#pending === undefined) this.stream.resume()
  }

  protected override endExchange(): void {
    super.endExchange()
    this.#held = undefined
    this.#heldAnswer = undefined
    this.#translatedLength = undefined
    if (this.stream.pendingWrites === 0 || this.stream.closed) this.#payOwed()
    this.#request.forget()
  }

  #beginLinger(): void {
    this.endExchange()
    this.#state = LINGER
    this.#pending = undefined
    this.#deadline = this.services.now() + LINGER_MS
    this.#lingerLeft = this.services.limits.bodyIdleTimeoutMs
    this.stream.end()
    // Reading on lets the client see our answer instead of a reset (RFC 9112 section 9.6).
    if (this.#clientEnded) return
    this.stream.resume()
  }

  upstreamClosed(upstream: UpstreamConnection, status: number): void {
    if (upstream !== this.upstream) return
    if (this.#state === TUNNEL) {
      this.record(status === 0 ? '-' : 'UC', '')
      this.upstream = undefined
      if (this.target !== undefined) this.target.load.active--
      if (status === 0) this.stream.end()
      else this.stream.reset()
      return
    }
    if (this.responseStarted) {
      if (status === 0 && upstream.body.end()) {
        this.#writer.end(upstream.body)
        this.#responseComplete(upstream, false)
        return
      }
      this.#writer.flush()
      this.#cut('UC', 'the upstream closed in the middle of its response')
      return
    }
    if (this.#heldAnswer !== undefined && status === 0 && upstream.body.end()) {
      this.#sendHeldAnswer(this.#heldAnswer, upstream, false)
      return
    }
    // The keep-alive race: an idle connection closed as we wrote. Nothing came back, so send it again.
    const target = this.target
    const again =
      target !== undefined &&
      this.#request.repeatable &&
      !upstream.answered &&
      // Refused by a session of HTTP/2: nobody has looked at it.
      (status === STATUS_REFUSED || (upstream.reused && IDEMPOTENT.has(this.method)))
    this.detach(false)
    if (again && this.attempts < MAX_ATTEMPTS) {
      this.#request.rewind()
      this.resend(target)
      return
    }
    this.lostTry(REFUSAL.upstreamReset, status === 0 ? 'closed before a response' : this.services.errorText(status))
  }

  upstreamMalformed(_upstream: UpstreamConnection, problem: string): void {
    if (this.responseStarted) {
      this.#cut('UPE', problem)
      return
    }
    this.detach(false)
    this.lostTry(REFUSAL.upstreamMalformed, problem)
  }

  upstreamDrained(): void {
    if (this.#state === TUNNEL || (this.#state === BUSY && this.#pending === undefined)) this.stream.resume()
  }

  onDrain(): void {
    if (this.#state !== BUSY) this.#payOwed()
    if (this.#state === BUSY || this.#state === TUNNEL) {
      if (this.#request.done && this.#state === BUSY) this.#deadline = 0
      this.upstream?.stream.resume()
    } else if (this.#state === READY) this.#takePending()
  }

  // ── Tunnels ───────────────────────────────────────────────────────────────────────────────────

  #beginTunnel(upstream: UpstreamConnection, bytes: Buffer, bodyStart: number, end: number): void {
    this.#state = TUNNEL
    this.upgraded = true
    this.#tunnelMoved()
    upstream.beginTunnel()
    this.stream.writeText(
      renderResponse(upstream.head, {
        // Whatever length it tells of means nothing (RFC 9110 section 9.3.6).
        framing: 'close',
        close: false,
        keepAlive10: false,
        edits: this.target?.decision?.responseEdits ?? NO_EDITS,
        upgrade: upstream.head.status === 101,
      }),
    )
    if (bodyStart < end) this.stream.writeSlice(bytes, bodyStart, end)
    const pending = this.#pending
    this.#pending = undefined
    if (pending !== undefined) upstream.stream.writeBytes(pending)
    this.stream.resume()
  }

  tunnelBytes(bytes: Buffer, end: number): void {
    this.bytesOut += end
    this.#tunnelMoved()
    if (!this.stream.writeSlice(bytes, 0, end)) this.upstream?.stream.pause()
  }

  #tunnelMoved(): void {
    const idleMs = this.services.limits.tcpIdleTimeoutMs
    this.#deadline = idleMs === 0 ? 0 : this.services.now() + idleMs
  }

  tunnelEnded(): void {
    this.stream.end()
  }

  // ── Own answers, ends ─────────────────────────────────────────────────────────────────────────

  /** Answers in the mesh's name. The one place where a refusal becomes bytes. */
  refuse(refusal: Refusal, why: string): void {
    this.clearTimers()
    const malformed = refusal.flag === 'DPE' || refusal.flag === 'SI'
    if (malformed || !this.#request.done) this.#writer.closes = true
    this.status = refusal.status
    const headOnly = this.method === 'HEAD'
    if (!headOnly) this.bytesOut += refusal.body.length
    this.#writer.writeOwn(renderRefusal(refusal, this.#writer.closes, headOnly, this.pipeline.fromTunnel))
    this.record(refusal.flag, why)
    if (this.#writer.closes) this.#beginLinger()
    else this.#next()
  }

  /** The request turned bad while it was served: refused, or cut when its answer is already on the way. */
  #failRequest(refusal: Refusal, why: string): void {
    if (this.responseStarted) this.#cut(refusal.flag, why)
    else {
      this.detach(false)
      this.refuse(refusal, why)
    }
  }

  /** Ends an exchange whose answer has begun: the client must not take the part for the whole. */
  #cut(flag: ResponseFlag, why: string): void {
    this.record(flag, why)
    this.detach(false)
    this.endExchange()
    this.#state = LINGER
    this.stream.reset()
  }

  protected redirect(status: number, location: string, extra: string): void {
    this.clearTimers()
    this.status = status
    if (!this.#request.done) this.#writer.closes = true
    const lines = location === '' ? extra : `location: ${location}\r\n${extra}`
    const text = renderOwn(status, '', this.#writer.closes, this.method === 'HEAD', lines)
    this.#writer.writeOwn(text)
    this.record('-', '')
    if (this.#writer.closes) this.#beginLinger()
    else this.#next()
  }

  onEnd(): void {
    this.#clientEnded = true
    switch (this.#state) {
      case READY:
        if (this.#pending !== undefined && this.#pending.length > 0)
          this.#malformed('the client ended in the middle of a head', false)
        else this.stream.end()
        break
      case BUSY:
        if (!this.#request.done) {
          this.#failRequest(REFUSAL.malformed, 'the client ended in the middle of its request')
        } else {
          this.#writer.closes = true
          // Half-closed or gone, which only a write would tell: the answer must begin soon, and go on.
          this.#deadline = this.services.now() + HALF_CLOSED_MS
        }
        break
      case TUNNEL:
        this.upstream?.stream.end()
        break
      default:
        break
    }
  }

  onClose(_status: number): void {
    this.pod.connections.delete(this)
    if (this.#state === BUSY || this.#state === TUNNEL) {
      if (this.upstream !== undefined || !this.responseStarted) {
        this.record(this.#state === TUNNEL ? '-' : 'DC', 'the client closed the connection')
      }
      this.detach(false)
      this.endExchange()
    }
    this.clearTimers()
    this.#payOwed()
    this.#state = LINGER
    this.services.connectionClosed(this.pod)
  }

  sweep(now: number): void {
    if (this.#deadline === 0 || now < this.#deadline) return
    this.#deadline = 0
    if (this.#state === READY && this.#headSince !== 0) {
      this.#beginUnread(this.#headSince)
      this.refuse(REFUSAL.clientTimeout, 'the request head did not arrive in time')
    } else if (this.#state === BUSY && !this.#request.done && !this.stream.reading && this.stream.pendingWrites === 0) {
      // Not the client is slow but the upstream, which does not take the body.
      this.#deadline = now + this.services.limits.bodyIdleTimeoutMs
    } else if (this.#state === BUSY && !this.responseStarted && !this.#request.done) {
      this.detach(false)
      this.refuse(REFUSAL.clientTimeout, 'the request body did not arrive in time')
    } else if (this.#state === BUSY) {
      this.#cut(
        'DC',
        this.#clientEnded ? 'the client has ended its side' : 'the client did not take its response in time',
      )
    } else if (this.#state === LINGER && this.stream.pendingWrites > 0 && this.#lingerLeft > 0) {
      // A slow client still takes our last answer.
      this.#lingerLeft -= LINGER_MS
      this.#deadline = now + LINGER_MS
    } else this.stream.close()
  }

  rejudge(): void {
    if (this.#state !== TUNNEL && this.#state !== BUSY) return
    const denial = this.pipeline.denialNow(this)
    if (denial === undefined) return
    this.verdict = denial
    if (this.responseStarted) {
      this.status = this.status || REFUSAL.denied.status
      this.#cut('RBAC', `cut by a policy change: ${denial.reason}`)
    } else {
      this.detach(false)
      this.refuse(REFUSAL.denied, `denied by a policy change: ${denial.reason}`)
    }
  }

  drain(): void {
    // Nobody waits for the answer to a copy.
    if (this.pipeline.mirror) {
      this.abort()
      return
    }
    this.#draining = true
    // A request may be on its way: an idle client gets a moment to send it and hear `connection: close`.
    if (this.#state === READY && this.#headSince === 0) this.#deadline = this.services.now() + DRAIN_IDLE_MS
  }

  abort(): void {
    this.stream.reset()
  }

  /** Takes over a connection whose first bytes were read by detection. */
  adopt(bytes: Buffer): void {
    this.stream.owner = this
    this.onData(bytes, bytes.length)
    if (!this.stream.closed && this.#state !== LINGER && this.#pending === undefined) this.stream.resume()
  }
}
