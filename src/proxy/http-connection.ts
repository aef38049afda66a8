/**
 * One client connection that speaks HTTP/1.1: requests read one after another, each an exchange of its own, bodies
 * streamed with back-pressure both ways, answers in order. One state machine, one way in (`onData`) and one way out
 * (`finish` or `refuse`) per request.
 */
import { type HeaderEdit, REFUSAL, REFUSAL_HEADER, type Refusal, type ResponseFlag } from '#contract'
import {
  type BodyMode,
  BodyReader,
  type BodySink,
  type ByteStream,
  ChunkGather,
  Head,
  latin1,
  PARSE_BAD,
  PARSE_DONE,
  type StreamOwner,
} from '#http'
import { outcomeOfStatus, responseEditsOf } from '#routing'
import type { CompiledRule, TranslatedResponse } from '#translation'
import { type Connecting, Exchange, MAX_ATTEMPTS } from './exchange.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import { answerRefusal, HELD, HeldBody, requestRefusal } from './held-body.ts'
import type { HttpPipeline } from './http-exchange.ts'
import { isMeshHeader } from './mesh-headers.ts'
import type { HeldConnection, Pod } from './pod.ts'
import {
  linesOf,
  type ResponseRendering,
  renderCopy,
  renderOwn,
  renderRefusal,
  renderRequest,
  renderResponse,
  renderTrailers,
} from './render.ts'
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

/** Bodies up to this are sent as text together with their head: one write. */
const COMBINE_BYTES = 8192
/** A request up to this, body included, is kept to be sent again after the keep-alive race. */
const MAX_REPLAY_BYTES = 65536
const LINGER_MS = 2_000
/** Pieces that a kept body is put together of. */
const MAX_PIECES = 64
/** How long a client that has ended its side is given an answer that does not move. */
const HALF_CLOSED_MS = 5_000
/** Interim answers (1xx) to one request; an upstream that sends more is not sane. */
const MAX_INTERIM = 32
/** Requests of one client answered in one turn of the event loop. */
const MAX_PER_TURN = 16
/** How long a draining proxy keeps an idle client connection. */
const DRAIN_IDLE_MS = 1_000
/** An upgrade to HTTP/2 would carry requests that nothing judges: it is left out, as RFC 9110 section 7.8 allows. */
const NOT_TUNNELLED = /(?:^|,)\s*(?:h2c?|http)\s*(?:\/|,|$)/i
const NO_EDITS: readonly HeaderEdit[] = Object.freeze([])
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

/** Used within one call at a time. */
const chunks = new ChunkGather()

class RequestSink implements BodySink {
  readonly #connection: HttpConnection
  constructor(connection: HttpConnection) {
    this.#connection = connection
  }
  bodyData(bytes: Buffer, start: number, end: number): void {
    this.#connection.requestData(bytes, start, end)
  }
}
class ResponseSink implements BodySink {
  readonly #connection: HttpConnection
  constructor(connection: HttpConnection) {
    this.#connection = connection
  }
  bodyData(bytes: Buffer, start: number, end: number): void {
    this.#connection.responseData(bytes, start, end)
  }
}

interface HeldAnswer {
  readonly body: HeldBody
  readonly rules: readonly CompiledRule[]
  readonly edits: readonly HeaderEdit[]
}

export class HttpConnection
  extends Exchange<UpstreamConnection>
  implements StreamOwner, UpstreamClient, HeldConnection
{
  readonly version = 'HTTP/1.1'
  readonly stream: ByteStream
  readonly head: Head
  readonly #body: BodyReader
  readonly #requestSink: RequestSink
  readonly #responseSink: ResponseSink
  #state = READY
  /** Bytes of an unfinished head, or of requests that wait for their turn. */
  #pending: Buffer | undefined
  #headSince = 0
  #deadline = 0
  #draining = false
  #clientEnded = false

  /** The request's body is still coming, and is kept in `#replay` as it is sent. */
  #keeping = false
  #pieces = 0
  /** Not yet written upstream: head, and body bytes that came with it. */
  #unsent = ''
  #collecting = false
  #requestChunked = false
  #requestDone = true
  /** The request as sent, while it can be sent again as a whole. */
  #replay = ''
  #responseFraming: 'none' | 'length' | 'chunked' | 'close' = 'none'
  #responseText = ''
  #combining = false
  #closeAfter = false
  #upgrading = false
  #lingerLeft = 0
  #interim = 0
  /** Length of the head within `#unsent`; what follows is body. */
  #headLength = 0
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
    this.#body = new BodyReader(maxHeadBytes, maxHeaders)
    this.#requestSink = new RequestSink(this)
    this.#responseSink = new ResponseSink(this)
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
        if (this.#requestDone) this.#hold(bytes, 0, length)
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
    this.#requestDone = false
    this.#deadline = 0
  }

  #beginRequest(bytes: Buffer, bodyStart: number, end: number): void {
    const head = this.head
    const now = this.services.now()
    this.begin(now)
    this.#state = BUSY
    this.#headSince = 0
    this.#deadline = 0
    this.#keeping = false
    this.#replay = ''
    this.#responseText = ''
    this.#upgrading = false
    this.#interim = 0
    this.method = head.method
    this.#splitTarget()
    this.#closeAfter = head.connectionClose || (head.minor === 0 && !head.connectionKeepAlive) || this.#draining
    this.#requestChunked = head.chunked
    this.#body.begin(head.chunked ? 'chunked' : 'length', Math.max(0, head.contentLength))
    this.#requestDone = this.#body.done

    const choice = this.admit(now)
    if (choice.kind !== 'forward') {
      if (bodyStart < end) this.#hold(bytes, bodyStart, end)
      if (choice.kind === 'refuse' && choice.close === true) this.#closeAfter = true
      this.answerInstead(choice)
      return
    }
    if (choice.decision?.versions !== undefined) {
      const how = this.beginVersion(choice, !this.#requestDone, head.contentLength)
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
    this.#unsent = this.#renderRequest(choice)
    this.#headLength = this.#unsent.length
    if (choice.decision !== undefined) this.startTimers(choice.decision)

    if (!this.#requestDone) {
      // Body bytes that came with the head travel with it.
      this.#deadline = now + this.services.limits.bodyIdleTimeoutMs
      this.#collecting = true
      if (!this.#consumeBody(bytes, bodyStart, end)) return
      this.#collecting = false
    } else {
      if (bodyStart < end) this.#hold(bytes, bodyStart, end)
      if (this.copy !== undefined) this.#copyRequest()
    }
    if (this.#requestDone && this.#unsent.length <= MAX_REPLAY_BYTES) this.#replay = this.#unsent
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
    const body = this.#body
    this.#deadline = this.services.now() + this.services.limits.bodyIdleTimeoutMs
    const stop = body.read(bytes, start, end, held)
    if (body.problem !== '') this.#failRequest(REFUSAL.malformed, `request body: ${body.problem}`)
    else if (held.problem !== undefined) this.refuse(...requestRefusal(held.problem))
    else if (!body.done) this.stream.resume()
    else {
      this.#requestDone = true
      this.#deadline = 0
      this.bytesIn += body.received
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
    const head = this.#renderRequest(target)
    this.#headLength = head.length
    this.#unsent = head + latin1(body, 0, body.length)
    if (this.copy !== undefined) this.#copyRequest()
    if (this.#unsent.length <= MAX_REPLAY_BYTES) this.#replay = this.#unsent
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
    if (!this.#requestDone) this.#closeAfter = true
    const text = this.#renderAnswer(upstream.head, 'length', answer.edits, body.length)
    this.bytesOut += body.length
    if (body.length <= COMBINE_BYTES) this.#writeResponse(text + latin1(body, 0, body.length))
    else {
      this.stream.writeText(text)
      if (this.#closeAfter) this.stream.holdForEnd()
      this.stream.writeBytes(body)
    }
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

  #splitTarget(): void {
    const head = this.head
    let target = head.target
    this.authority = head.hostIndex >= 0 ? head.value(head.hostIndex) : ''
    if (target.charCodeAt(0) !== 47 && target !== '*') {
      if (head.method === 'CONNECT') {
        this.authority = target
        this.path = '/'
        this.query = ''
        return
      }
      // Absolute form: its authority replaces the Host header (RFC 9112 section 3.2.2).
      const authorityStart = target.indexOf('//') + 2
      const pathStart = target.slice(authorityStart).search(/[/?]/)
      this.authority =
        pathStart < 0 ? target.slice(authorityStart) : target.slice(authorityStart, authorityStart + pathStart)
      target = pathStart < 0 ? '/' : target.slice(authorityStart + pathStart)
      if (target.charCodeAt(0) === 63) target = `/${target}`
    }
    const question = target.indexOf('?')
    if (question < 0) {
      this.path = target
      this.query = ''
    } else {
      this.path = target.slice(0, question)
      this.query = target.slice(question + 1)
    }
  }

  #renderRequest(target: ExchangeTarget): string {
    const head = this.head
    const decision = target.decision
    let extra = target.identityLines
    const traceparent = this.joinTrace(target)
    if (traceparent !== '') extra += `traceparent: ${traceparent}\r\n`
    const { traced } = this
    if (traced !== undefined) extra += linesOf(traced.b3Fields(target.reporters))
    let host: string | undefined
    let requestTarget = head.target
    const first = requestTarget.charCodeAt(0)
    if (first !== 47 || head.hostIndex < 0) {
      host =
        head.method === 'CONNECT' && head.hostIndex >= 0
          ? undefined
          : this.authority || this.services.originalAuthority(this)
    }
    if (decision !== undefined) {
      if (decision.rewrites) requestTarget = this.services.rewriteTarget(decision, this)
      if (decision.hostname !== undefined) host = decision.hostname
      if (this.versioned !== undefined) return this.#renderVersioned(requestTarget, host, extra, decision.requestEdits)
    }
    this.#seeUpgrade()
    return renderRequest(head, {
      target: requestTarget,
      host,
      extra,
      edits: decision?.requestEdits ?? NO_EDITS,
      upgrade: this.#upgrading && head.method !== 'CONNECT',
      dropTrace: traced !== undefined,
    })
  }

  #seeUpgrade(): void {
    const { head } = this
    this.#upgrading =
      head.method === 'CONNECT' ||
      (head.connectionUpgrade &&
        head.upgradeIndex >= 0 &&
        head.minor === 1 &&
        !NOT_TUNNELLED.test(head.value(head.upgradeIndex)))
  }

  #renderVersioned(target: string, host: string | undefined, extra: string, ofRoute: readonly HeaderEdit[]): string {
    const { head } = this
    const translated = this.versioned?.translated
    this.#seeUpgrade()
    const isConnect = head.method === 'CONNECT'
    const rendering = {
      target: translated === undefined || isConnect ? target : translated.target,
      host,
      extra,
      edits: translated === undefined ? ofRoute : [...ofRoute, translated.edit()],
      upgrade: this.#upgrading && !isConnect,
      dropTrace: this.traced !== undefined,
    }
    const length = this.#translatedLength
    if (length === undefined) return renderRequest(head, rendering)
    return renderRequest(head, { ...rendering, edits: [...rendering.edits, HELD], length })
  }

  /** Reads body bytes out of [start, end); false when that ended the exchange. */
  #consumeBody(bytes: Buffer, start: number, end: number): boolean {
    const body = this.#body
    chunks.clear()
    const stop = body.read(bytes, start, end, this.#requestSink)
    if (body.problem !== '') {
      this.#failRequest(REFUSAL.malformed, `request body: ${body.problem}`)
      return false
    }
    if (this.#requestChunked) this.#sendRequestChunk()
    if (body.done) {
      this.#requestDone = true
      this.#deadline = 0
      this.bytesIn += body.received
      if (stop < end) this.#hold(bytes, stop, end)
      if (this.copy !== undefined) this.#copyRequest()
    }
    return true
  }

  /** To its mirrors: now that it is known to be one. What becomes a tunnel is no request alone. */
  #copyRequest(): void {
    if (this.#upgrading) return
    const host = this.head.hostIndex >= 0 ? undefined : this.authority || this.services.originalAuthority(this)
    this.sendCopy(renderCopy(this.head, host))
  }

  #readBody(bytes: Buffer, start: number, end: number): void {
    this.#deadline = this.services.now() + this.services.limits.bodyIdleTimeoutMs
    if (!this.#consumeBody(bytes, start, end)) return
    if ((this.upstream?.stream.pendingWrites ?? 0) > 0) this.stream.pause()
    if (this.#requestDone && this.responseStarted && this.upstream?.body.done === true) this.#finish()
  }

  /** A piece of the request's body. */
  requestData(bytes: Buffer, start: number, end: number): void {
    if (this.copy !== undefined) this.copy.add(bytes, start, end)
    if (this.#requestChunked) chunks.add(bytes, start, end)
    else if (this.#collecting) this.#unsent += latin1(bytes, start, end)
    else {
      if (this.#keeping) this.#keep(latin1(bytes, start, end))
      this.upstream?.stream.writeSlice(bytes, start, end)
    }
  }

  /** What was sent may have to be sent again; more than there is room for never is. */
  #keep(text: string): void {
    if (this.#replay.length + text.length > MAX_REPLAY_BYTES) {
      this.#replay = ''
      this.#keeping = false
      return
    }
    this.#replay += text
    // A string put together of many small pieces takes many times its length: made one of its own now and then.
    if (++this.#pieces % MAX_PIECES === 0) this.#replay = Buffer.from(this.#replay, 'latin1').toString('latin1')
  }

  /** What one read brought, as one chunk, and the end of the body when it is there. */
  #sendRequestChunk(): void {
    const chunk = chunks.chunk()
    const end = this.#body.done ? lastChunk(this.#body) : ''
    if (chunk === undefined) {
      if (end !== '') this.#writeRequest(end)
    } else if (this.#collecting || chunk.length <= COMBINE_BYTES) {
      this.#writeRequest(latin1(chunk, 0, chunk.length) + end)
    } else {
      if (this.#keeping) this.#keep(latin1(chunk, 0, chunk.length))
      this.upstream?.stream.writeSlice(chunk, 0, chunk.length)
      if (end !== '') this.#writeRequest(end)
    }
  }

  #writeRequest(text: string): void {
    if (this.#collecting) this.#unsent += text
    else {
      if (this.#keeping) this.#keep(text)
      this.upstream?.stream.writeText(text)
    }
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
    if (!this.#requestDone) this.stream.pause()
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
    if (reusable) upstream.release(this.services.now())
    else upstream.discard()
  }

  protected repeatable(): boolean {
    return this.#requestDone && this.#replay !== ''
  }

  protected renderAgain(next: ExchangeTarget): void {
    const before = this.#unsent === '' ? this.#replay : this.#unsent
    const head = this.#renderRequest(next)
    this.#unsent = head + before.slice(this.#headLength)
    this.#headLength = head.length
    if (this.#requestDone && this.#unsent.length <= MAX_REPLAY_BYTES) this.#replay = this.#unsent
  }

  protected attach(upstream: UpstreamConnection): void {
    this.upstream = upstream
    upstream.begin(this)
    const text = this.#unsent
    this.#unsent = ''
    if (!this.#requestDone && this.target?.decision?.retry !== undefined && text.length <= MAX_REPLAY_BYTES) {
      this.#replay = text
      this.#keeping = true
    }
    upstream.stream.writeText(text)
    if (this.#requestDone || upstream.stream.closed) return
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
    this.#replay = ''
    this.#keeping = false
    if (status === 101 || (this.head.method === 'CONNECT' && status < 300)) {
      this.#beginTunnel(upstream, bytes, bodyStart, end)
      return
    }
    const bodyless = this.head.method === 'HEAD' || status === 204 || status === 304
    const mode = bodyless ? 'none' : head.chunked ? 'chunked' : head.contentLength >= 0 ? 'length' : 'close'
    const framing = mode === 'none' || mode === 'length' ? mode : this.head.minor === 1 ? 'chunked' : 'close'
    this.#responseFraming = framing
    if (framing === 'close') this.#closeAfter = true
    if (this.#draining) this.#closeAfter = true
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
    framing: ResponseRendering['framing'],
    edits: readonly HeaderEdit[],
    length?: ResponseRendering['length'],
  ): string {
    return renderResponse(head, {
      framing,
      close: this.#closeAfter,
      keepAlive10: this.head.minor === 0 && !this.#closeAfter,
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
    framing: 'none' | 'length' | 'chunked' | 'close',
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
    framing: 'none' | 'length' | 'chunked' | 'close',
    bytes: Buffer,
    bodyStart: number,
    end: number,
  ): void {
    if (upstream.body.done) {
      this.#writeResponse(text)
      this.#responseComplete(upstream, bodyStart < end)
      return
    }
    upstream.beginBody()
    if (bodyStart === end) {
      this.#writeResponse(text)
      return
    }
    this.#responseText = text
    this.#combining = framing !== 'chunked' && end - bodyStart <= COMBINE_BYTES
    if (!this.#combining && framing !== 'chunked') this.#flushResponse()
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
    chunks.clear()
    const stop = body.read(bytes, start, end, this.#responseSink)
    if (body.problem !== '') {
      this.upstreamMalformed(upstream, `response body: ${body.problem}`)
      return
    }
    if (this.#responseFraming === 'chunked') this.#sendResponseChunk(body)
    else this.#flushResponse()
    if (body.done) this.#responseComplete(upstream, stop < end)
    else if (this.#clientEnded) this.#deadline = this.services.now() + HALF_CLOSED_MS
    if (!body.done && this.stream.pendingWrites > 0) {
      upstream.stream.pause()
      this.#deadline = this.services.now() + this.services.limits.bodyIdleTimeoutMs
    }
  }

  /** What one read brought, as one chunk, behind the head when that waits, and the end of the body when it is there. */
  #sendResponseChunk(body: BodyReader): void {
    const head = this.#responseText
    const chunk = chunks.chunk()
    const end = body.done ? lastChunk(body) : ''
    this.#responseText = ''
    if (chunk === undefined || chunk.length <= COMBINE_BYTES) {
      const text = chunk === undefined ? head + end : head + latin1(chunk, 0, chunk.length) + end
      if (text !== '') this.#writeResponse(text)
      return
    }
    if (head !== '') this.#writeResponse(head)
    this.stream.writeSlice(chunk, 0, chunk.length)
    if (end !== '') this.#writeResponse(end)
  }

  #flushResponse(): void {
    const text = this.#responseText
    this.#combining = false
    this.#responseText = ''
    if (text !== '') this.#writeResponse(text)
  }

  /** A piece of the response's body. */
  responseData(bytes: Buffer, start: number, end: number): void {
    this.bytesOut += end - start
    if (this.#responseFraming === 'chunked') chunks.add(bytes, start, end)
    else if (this.#combining) this.#responseText += latin1(bytes, start, end)
    else this.stream.writeSlice(bytes, start, end)
  }

  #writeResponse(text: string): void {
    // A client that finds the end with the answer does not close first, and keeps no port in TIME_WAIT.
    if (this.#closeAfter && this.upstream?.body.done === true) this.stream.holdForEnd()
    this.stream.writeText(text)
  }

  #responseComplete(upstream: UpstreamConnection, surplus: boolean): void {
    if (!this.#requestDone) {
      // The answer came before the request was complete: neither connection can be used again.
      this.#closeAfter = true
      this.record(this.flag, '')
      this.detach(false)
      this.#beginLinger()
      return
    }
    const reusable =
      !surplus &&
      upstream.body.mode !== 'close' &&
      !upstream.head.connectionClose &&
      (upstream.head.minor === 1 || upstream.head.connectionKeepAlive) &&
      !upstream.stream.readEnded
    this.record(this.flag, '')
    this.detach(reusable)
    this.#next()
  }

  /** Both directions are complete (the request's last byte came after the response's). */
  #finish(): void {
    const upstream = this.upstream
    if (upstream !== undefined) this.#responseComplete(upstream, false)
  }

  /** The exchange is over: read the next request, or close. */
  #next(): void {
    this.endExchange()
    if (this.stream.closed) return
    if (this.#closeAfter || this.#draining) {
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
    } else if (this.#state === BUSY && this.#requestDone && this.#pending === undefined) this.stream.resume()
  }

  protected override endExchange(): void {
    super.endExchange()
    this.#held = undefined
    this.#heldAnswer = undefined
    this.#translatedLength = undefined
    if (this.stream.pendingWrites === 0 || this.stream.closed) this.#payOwed()
    this.#replay = ''
    this.#keeping = false
    this.#unsent = ''
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
        this.#flushResponse()
        if (this.#responseFraming === 'chunked') this.#writeResponse(lastChunk(upstream.body))
        this.#responseComplete(upstream, false)
        return
      }
      this.#flushResponse()
      this.#cut('UC', 'the upstream closed in the middle of its response')
      return
    }
    if (this.#heldAnswer !== undefined && status === 0 && upstream.body.end()) {
      this.#sendHeldAnswer(this.#heldAnswer, upstream, false)
      return
    }
    // The keep-alive race: an idle connection closed as we wrote. Nothing came back, so send it again.
    const replay = this.#replay
    const target = this.target
    const again =
      target !== undefined &&
      replay !== '' &&
      this.#requestDone &&
      !upstream.answered &&
      // Refused by a session of HTTP/2: nobody has looked at it.
      (status === STATUS_REFUSED || (upstream.reused && IDEMPOTENT.has(this.method)))
    this.detach(false)
    if (again && this.attempts < MAX_ATTEMPTS) {
      this.#unsent = replay
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
      if (this.#requestDone && this.#state === BUSY) this.#deadline = 0
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
    if (malformed || !this.#requestDone) this.#closeAfter = true
    this.status = refusal.status
    const headOnly = this.method === 'HEAD'
    if (!headOnly) this.bytesOut += refusal.body.length
    if (this.#closeAfter) this.stream.holdForEnd()
    this.stream.writeText(renderRefusal(refusal, this.#closeAfter, headOnly, this.pipeline.fromTunnel))
    this.record(refusal.flag, why)
    if (this.#closeAfter) this.#beginLinger()
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
    if (!this.#requestDone) this.#closeAfter = true
    const lines = location === '' ? extra : `location: ${location}\r\n${extra}`
    const text = renderOwn(status, '', this.#closeAfter, this.method === 'HEAD', lines)
    if (this.#closeAfter) this.stream.holdForEnd()
    this.stream.writeText(text)
    this.record('-', '')
    if (this.#closeAfter) this.#beginLinger()
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
        if (!this.#requestDone) {
          this.#failRequest(REFUSAL.malformed, 'the client ended in the middle of its request')
        } else {
          this.#closeAfter = true
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
    } else if (this.#state === BUSY && !this.#requestDone && !this.stream.reading && this.stream.pendingWrites === 0) {
      // Not the client is slow but the upstream, which does not take the body.
      this.#deadline = now + this.services.limits.bodyIdleTimeoutMs
    } else if (this.#state === BUSY && !this.responseStarted && !this.#requestDone) {
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

/** The end of a chunked body, with its trailers. */
function lastChunk({ trailers }: BodyReader): string {
  return `0\r\n${trailers === undefined ? '' : renderTrailers(trailers)}\r\n`
}
