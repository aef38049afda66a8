/**
 * The answer of an exchange of HTTP/1.1, from its head to its last byte: whether it is one to be tried again, a tunnel, or the
 * one that the client gets, in which version of the API, and what each read of its body means for either connection. How
 * bytes are framed and written is with `relayed-answer.ts`; how the exchange ends is `http1-exchange.ts`'s.
 */
import { type HeaderEdit, REFUSAL_HEADER, type ResponseFlag } from '#contract'
import { outcomeOfStatus, responseEditsOf } from '#routing'
import type { TranslatedResponse } from '#translation'
import { AnswerWriter } from './answer-writer.ts'
import type { ClientConnection } from './client-connection.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import { answerRefusal, HeldBody } from './held-body.ts'
import type { HttpPipeline } from './http-exchange.ts'
import { Http1RequestHalf } from './http1-request-half.ts'
import type { Pod } from './pod.ts'
import { type AnswerRead, BEGUN, MALFORMED, MORE, RelayedAnswer, SURPLUS, UNUSABLE, WHOLE } from './relayed-answer.ts'
import { renderResponse } from './render.ts'
import type { Services } from './services.ts'
import { fieldsOfHead } from './tap-text.ts'
import type { UpstreamConnection } from './upstream.ts'

/** How long a client that has ended its side is given an answer that does not move. */
export const HALF_CLOSED_MS = 5_000
/** Interim answers (1xx) to one request; an upstream that sends more is not sane. */
const MAX_INTERIM = 32
const NO_EDITS: readonly HeaderEdit[] = Object.freeze([])

export abstract class Http1AnswerHalf extends Http1RequestHalf {
  protected readonly writer: AnswerWriter
  readonly #answer: RelayedAnswer
  #interim = 0

  constructor(
    services: Services,
    pod: Pod,
    pipeline: HttpPipeline,
    clientAddress: string,
    connection: ClientConnection,
  ) {
    super(services, pod, pipeline, clientAddress, connection)
    this.writer = new AnswerWriter(this.stream)
    this.#answer = new RelayedAnswer(this.writer)
  }

  /** All of the answer was passed on; `surplus` bytes came behind it. */
  protected abstract complete(upstream: UpstreamConnection, surplus: boolean): void
  /** The upstream agrees to bytes both ways. */
  protected abstract beginTunnel(upstream: UpstreamConnection, bytes: Buffer, bodyStart: number, end: number): void
  /** What the upstream sends is no answer. */
  abstract upstreamMalformed(upstream: UpstreamConnection, problem: string): void

  /** For a request whose head is read. */
  protected beginAnswer(): void {
    const { head } = this
    const closes = head.connectionClose || (head.minor === 0 && !head.connectionKeepAlive)
    this.#interim = 0
    this.writer.begin(closes || this.connection.isDraining)
    this.#answer.begin(head.minor === 0)
  }

  /** A request is told of before its upstream is let go of. */
  answerFields(): readonly string[] {
    return this.responseStarted && this.upstream !== undefined ? fieldsOfHead(this.upstream.head) : []
  }

  responseHead(upstream: UpstreamConnection, bytes: Buffer, bodyStart: number, end: number): void {
    const { head } = upstream
    const { status } = head
    const { method } = this.head
    if (status < 200 && status !== 101) {
      this.#interimHead(upstream, bytes, bodyStart, end)
      return
    }
    if (status === 101 && (!this.asksTunnel || method === 'CONNECT')) {
      this.upstreamMalformed(upstream, 'switched protocols without being asked')
      return
    }
    const { target } = this
    if (target !== undefined) {
      this.answered(target, outcomeOfStatus(status))
      if (status >= 400 && target.flow !== undefined && this.#retryInstead(target, upstream, end - bodyStart)) return
    }
    this.takeAnswer(status, target?.tunnelled === true ? head.get(REFUSAL_HEADER) : undefined)
    this.keepNoMore()
    if (status === 101 || (method === 'CONNECT' && status < 300)) {
      this.beginTunnel(upstream, bytes, bodyStart, end)
      return
    }
    const mode = this.#answer.frame(head, method === 'HEAD')
    if (this.connection.isDraining) this.writer.closes = true
    if (this.connection.hasEnded) this.connection.within(HALF_CLOSED_MS)
    // A request whose body is still coming when its answer is complete ends the connection (section 9.3).
    upstream.body.begin(mode, Math.max(0, head.contentLength))
    const edits = this.#responseEdits()
    if (this.versioned !== undefined) {
      const translated = this.translateAnswer(status, (name) => head.get(name))
      if (translated !== undefined) {
        this.#versionedHead(upstream, translated, edits, bytes, bodyStart, end)
        return
      }
    }
    const session = this.sessionHeader()
    this.#answerRead(upstream, this.#answer.relay(upstream, edits, session, undefined, bytes, bodyStart, end))
  }

  /** Interim answers pass through (RFC 9110 section 15.2), but not to HTTP/1.0. */
  #interimHead(upstream: UpstreamConnection, bytes: Buffer, bodyStart: number, end: number): void {
    if (++this.#interim > MAX_INTERIM) {
      this.upstreamMalformed(upstream, 'too many interim responses')
      return
    }
    if (this.head.minor === 1) {
      const rendering = { framing: 'none', close: false, keepAlive10: false, edits: NO_EDITS, upgrade: false } as const
      this.stream.writeText(renderResponse(upstream.head, rendering))
    }
    upstream.awaitFinalHead()
    if (bodyStart < end) upstream.readHead(bytes, bodyStart, end)
  }

  /** The head of an answer that is another for the version of the request. */
  #versionedHead(
    upstream: UpstreamConnection,
    { edit, rules, problem }: TranslatedResponse,
    ofRoute: readonly HeaderEdit[],
    bytes: Buffer,
    bodyStart: number,
    end: number,
  ): void {
    const edits = [edit, ...ofRoute]
    const { body, head } = upstream
    if (problem !== undefined) this.#refuseAnswer({ malformed: problem })
    else if (rules.length > 0 && !body.done) {
      const maxBytes = this.target?.decision?.versions?.maxBodyBytes ?? 0
      const held = new HeldBody(this.pod.held, maxBytes, body.mode === 'length' ? head.contentLength : -1)
      this.owed.add(held)
      // Nothing of it has been sent yet: what goes wrong can still be told.
      this.responseStarted = false
      this.#answerRead(upstream, this.#answer.hold(upstream, { body: held, rules, edits }, bytes, bodyStart, end))
    } else {
      // To HEAD: nobody knows how long the translated body would be.
      const length = rules.length > 0 && body.mode === 'none' ? 'unknown' : undefined
      const session = this.sessionHeader()
      this.#answerRead(upstream, this.#answer.relay(upstream, edits, session, length, bytes, bodyStart, end))
    }
  }

  #refuseAnswer(wrong: RelayedAnswer['wrong']): void {
    this.#answer.forget()
    this.responseStarted = false
    this.detach(false)
    this.refuse(...answerRefusal(wrong))
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
    this.#answerRead(upstream, this.#answer.read(upstream, bytes, start, end))
  }

  #answerRead(upstream: UpstreamConnection, read: AnswerRead): void {
    switch (read) {
      case BEGUN:
        break
      case MORE:
        if (this.connection.hasEnded) this.connection.within(HALF_CLOSED_MS)
        if (this.stream.pendingWrites > 0) {
          upstream.stream.pause()
          this.connection.within(this.services.limits.bodyIdleTimeoutMs)
        }
        break
      case MALFORMED:
        this.upstreamMalformed(upstream, `response body: ${upstream.body.problem}`)
        break
      case UNUSABLE:
        this.#refuseAnswer(this.#answer.wrong)
        break
      default:
        if (!this.#answer.isHeld || this.#sendHeldAnswer(upstream)) this.complete(upstream, read === SURPLUS)
    }
  }

  #sendHeldAnswer(upstream: UpstreamConnection): boolean {
    this.responseStarted = true
    if (!this.requestDone) this.writer.closes = true
    if (this.#answer.writeHeld(upstream.head, this.sessionHeader())) return true
    this.#refuseAnswer(this.#answer.wrong)
    return false
  }

  /** The upstream has ended in order. False: the answer is not complete by that. */
  protected endedWhole(upstream: UpstreamConnection): boolean {
    if (!(this.responseStarted || this.#answer.isHeld) || !upstream.body.end()) return false
    if (this.#answer.isHeld) this.#answerRead(upstream, WHOLE)
    else {
      this.writer.end(upstream.body)
      this.complete(upstream, false)
    }
    return true
  }

  protected override record(flag: ResponseFlag, why: string): void {
    this.bytesOut += this.#answer.takeBytes()
    super.record(flag, why)
  }

  protected override endExchange(): void {
    super.endExchange()
    this.#answer.forget()
  }
}
