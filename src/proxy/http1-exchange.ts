/**
 * One request of a client that speaks HTTP/1.1, and its answer: one object serves all requests of a connection, one after
 * another. What it is and how it is sent is the request half's, what comes back the answer half's; here is what may befall it
 * from either side, and every way in which it can end: complete, refused, cut, or as a tunnel.
 */
import { type HeaderEdit, REFUSAL, type Refusal, type ResponseFlag } from '#contract'
import { MAX_ATTEMPTS } from './exchange.ts'
import { HALF_CLOSED_MS, Http1AnswerHalf } from './http1-answer-half.ts'
import { renderOwn, renderRefusal, renderResponse } from './render.ts'
import type { UpstreamClient, UpstreamConnection } from './upstream.ts'
import { STATUS_REFUSED } from './upstream-sessions.ts'

const NO_EDITS: readonly HeaderEdit[] = Object.freeze([])
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE'])

export class Http1Exchange extends Http1AnswerHalf implements UpstreamClient {
  /** From a request's head to its end. */
  #isServing = false
  #isTold = false

  protected inProgress(): boolean {
    return this.#isServing && !this.upgraded && !this.stream.closed
  }

  // ── The client's side ─────────────────────────────────────────────────────────────────────────

  /** Serves the request whose head was read. */
  serve(bytes: Buffer, bodyStart: number, end: number): void {
    const now = this.services.now()
    this.begin(now)
    this.#isServing = true
    this.#isTold = false
    this.beginAnswer()
    this.start(now, bytes, bodyStart, end)
  }

  /** Answers a request whose head never came whole. */
  refuseUnread(started: number, refusal: Refusal, why: string): void {
    this.beginUnread(started)
    this.#isServing = true
    this.#isTold = false
    this.refuse(refusal, why)
  }

  clientBytes(bytes: Buffer, length: number): void {
    if (!this.upgraded) {
      this.requestBytes(bytes, length)
      return
    }
    this.bytesIn += length
    this.#tunnelMoved()
    if (this.upstream?.stream.writeSlice(bytes, 0, length) === false) this.stream.pause()
  }

  clientEnded(): void {
    if (this.upgraded) this.upstream?.stream.end()
    else if (!this.requestDone) this.fail(REFUSAL.malformed, 'the client ended in the middle of its request')
    else {
      this.writer.closes = true
      // Half-closed or gone, which only a write would tell: the answer must begin soon, and go on.
      this.connection.within(HALF_CLOSED_MS)
    }
  }

  clientDrained(): void {
    if (this.upgraded) this.owed.pay()
    else if (this.requestDone) this.connection.untimed()
    this.upstream?.stream.resume()
  }

  /** What was written of translated bodies has left. */
  payOwed(): void {
    this.owed.pay()
  }

  clientGone(): void {
    if (this.upstream !== undefined || !this.responseStarted) {
      this.record(this.upgraded ? '-' : 'DC', 'the client closed the connection')
    }
    this.detach(false)
    this.endExchange()
  }

  /** What was awaited of the client has not come. */
  overdue(): void {
    const { stream } = this
    if (this.upgraded) stream.close()
    else if (!this.requestDone && !stream.reading && stream.pendingWrites === 0) {
      // Not the client is slow but the upstream, which does not take the body.
      this.connection.within(this.services.limits.bodyIdleTimeoutMs)
    } else if (!this.responseStarted && !this.requestDone) {
      this.detach(false)
      this.refuse(REFUSAL.clientTimeout, 'the request body did not arrive in time')
    } else {
      const ended = this.connection.hasEnded
      this.#cut('DC', ended ? 'the client has ended its side' : 'the client did not take its response in time')
    }
  }

  rejudge(): void {
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

  // ── The upstream's side ───────────────────────────────────────────────────────────────────────

  protected attach(upstream: UpstreamConnection): void {
    this.upstream = upstream
    upstream.begin(this)
    this.sendOn(upstream)
  }

  upstreamClosed(upstream: UpstreamConnection, status: number): void {
    if (upstream !== this.upstream) return
    if (this.upgraded) {
      this.record(status === 0 ? '-' : 'UC', '')
      this.upstream = undefined
      if (this.target !== undefined) this.target.load.active--
      if (status === 0) this.stream.end()
      else this.stream.reset()
      return
    }
    if (status === 0 && this.endedWhole(upstream)) return
    if (this.responseStarted) {
      this.writer.flush()
      this.#cut('UC', 'the upstream closed in the middle of its response')
      return
    }
    // The keep-alive race: an idle connection closed as we wrote. Nothing came back, so send it again.
    const { target } = this
    const again =
      target !== undefined &&
      this.repeatable() &&
      !upstream.answered &&
      // Refused by a session of HTTP/2: nobody has looked at it.
      (status === STATUS_REFUSED || (upstream.reused && IDEMPOTENT.has(this.method)))
    this.detach(false)
    if (again && this.attempts < MAX_ATTEMPTS) this.sendSame(target)
    else
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
    if (this.upgraded || (this.#isServing && this.connection.holdsNothing)) this.stream.resume()
  }

  // ── Tunnels ───────────────────────────────────────────────────────────────────────────────────

  protected beginTunnel(upstream: UpstreamConnection, bytes: Buffer, bodyStart: number, end: number): void {
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
    const held = this.connection.takeHeld()
    if (held !== undefined) upstream.stream.writeBytes(held)
    this.stream.resume()
  }

  tunnelBytes(bytes: Buffer, end: number): void {
    this.bytesOut += end
    this.#tunnelMoved()
    if (!this.stream.writeSlice(bytes, 0, end)) this.upstream?.stream.pause()
  }

  #tunnelMoved(): void {
    const idleMs = this.services.limits.tcpIdleTimeoutMs
    if (idleMs === 0) this.connection.untimed()
    else this.connection.within(idleMs)
  }

  tunnelEnded(): void {
    this.stream.end()
  }

  // ── Ends ──────────────────────────────────────────────────────────────────────────────────────

  protected complete(upstream: UpstreamConnection, surplus: boolean): void {
    // The answer came before the request was complete: neither connection can be used again.
    if (!this.requestDone) this.writer.closes = true
    const reusable = this.requestDone && !surplus && upstream.persists
    this.record(this.flag, '')
    this.detach(reusable)
    this.#over()
  }

  /** Answers in the mesh's name. The one place where a refusal becomes bytes. */
  refuse(refusal: Refusal, why: string): void {
    const isMalformed = refusal.flag === 'DPE' || refusal.flag === 'SI'
    const headOnly = this.#beginOwn(refusal.status, isMalformed)
    if (!headOnly) this.bytesOut += refusal.body.length
    // First: the write may find that the client is gone, and what it was refused for shall be told all the same.
    this.record(refusal.flag, why)
    this.writer.writeOwn(renderRefusal(refusal, this.writer.closes, headOnly, this.pipeline.fromTunnel))
    this.#over()
  }

  protected redirect(status: number, location: string, extra: string): void {
    const headOnly = this.#beginOwn(status, false)
    const lines = location === '' ? extra : `location: ${location}\r\n${extra}`
    this.record('-', '')
    this.writer.writeOwn(renderOwn(status, '', this.writer.closes, headOnly, lines))
    this.#over()
  }

  /** Before an answer of the mesh's own; true when only its head is sent. */
  #beginOwn(status: number, closes: boolean): boolean {
    this.clearTimers()
    this.status = status
    if (closes || !this.requestDone) this.writer.closes = true
    return this.method === 'HEAD'
  }

  protected closeWithAnswer(): void {
    this.writer.closes = true
  }

  /** The request turned bad while it was served: refused, or cut when its answer is already on the way. */
  protected fail(refusal: Refusal, why: string): void {
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
    this.connection.cut()
  }

  #over(): void {
    this.endExchange()
    if (this.writer.closes) this.connection.linger()
    else this.connection.next()
  }

  /** Once for each request: who writes to a client that is gone finds it over within the write. */
  protected override record(flag: ResponseFlag, why: string): void {
    if (this.#isTold) return
    this.#isTold = true
    super.record(flag, why)
  }

  protected override endExchange(): void {
    super.endExchange()
    this.#isServing = false
  }
}
