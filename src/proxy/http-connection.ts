/**
 * One client connection that speaks HTTP/1.1: which request's turn it is, how long the client may take, and how the
 * connection ends. Requests are found by `request-heads.ts` and served one after another by one `Http1Exchange`, which tells
 * by `ClientConnection` when the next may begin. What a request or an answer is, nobody knows here.
 */
import { REFUSAL } from '#contract'
import type { ByteStream, Head, StreamOwner } from '#http'
import type { ClientConnection } from './client-connection.ts'
import type { HttpPipeline } from './http-exchange.ts'
import { Http1Exchange } from './http1-exchange.ts'
import type { HeldConnection, Pod } from './pod.ts'
import { type HeadOwner, RequestHeads } from './request-heads.ts'
import type { Services } from './services.ts'

/** Waiting for a head, or in the middle of one. */
const READY = 0
/** A request is being served, or was and has become a tunnel. */
const BUSY = 1
/** Our last answer is sent; what still arrives is thrown away until the client closes. */
const LINGER = 2

const LINGER_MS = 2_000
/** Requests of one client answered in one turn of the event loop. */
const MAX_PER_TURN = 16
/** How long a draining proxy keeps an idle client connection. */
const DRAIN_IDLE_MS = 1_000

export class HttpConnection implements StreamOwner, HeldConnection, ClientConnection, HeadOwner {
  readonly stream: ByteStream
  readonly head: Head
  isDraining = false
  hasEnded = false
  readonly #services: Services
  readonly #pod: Pod
  readonly #heads: RequestHeads
  readonly #exchange: Http1Exchange
  #state = READY
  /** In `now()`'s ms; 0: no head has begun. */
  #headSince = 0
  /** Of what is awaited, in `now()`'s ms; 0: nothing. */
  #deadline: number
  #lingerLeftMs = 0
  /** Requests so far. */
  #requests = 0
  #pumping = false

  constructor(services: Services, pod: Pod, stream: ByteStream, pipeline: HttpPipeline, clientAddress: string) {
    const { maxHeadBytes, maxHeaders, headTimeoutMs } = services.limits
    this.stream = stream
    this.#services = services
    this.#pod = pod
    this.#heads = new RequestHeads(this, maxHeadBytes, maxHeaders)
    this.head = this.#heads.head
    this.#exchange = new Http1Exchange(services, pod, pipeline, clientAddress, this)
    this.#deadline = services.now() + headTimeoutMs
    pod.connections.add(this)
  }

  /** Takes over a connection whose first bytes were read by detection. */
  adopt(bytes: Buffer): void {
    this.stream.owner = this
    this.onData(bytes, bytes.length)
    if (!this.stream.closed && this.#state !== LINGER && this.holdsNothing) this.stream.resume()
  }

  // ── What the client sends ─────────────────────────────────────────────────────────────────────

  onData(bytes: Buffer, length: number): void {
    if (this.#state === READY) this.#heads.read(bytes, 0, length)
    else if (this.#state === BUSY) this.#exchange.clientBytes(bytes, length)
  }

  headBegun(): void {
    if (this.#headSince !== 0) return
    this.#headSince = this.#services.now()
    this.#deadline = this.#headSince + this.#services.limits.headTimeoutMs
  }

  headRead(bytes: Buffer, bodyStart: number, end: number): void {
    this.#begin()
    this.#headSince = 0
    this.#exchange.serve(bytes, bodyStart, end)
  }

  headMalformed(problem: string, tooLarge: boolean): void {
    this.#begin()
    this.#exchange.refuseUnread(this.#services.now(), tooLarge ? REFUSAL.tooLarge : REFUSAL.malformed, problem)
  }

  #begin(): void {
    this.#requests++
    this.#state = BUSY
    this.#deadline = 0
  }

  /** Keeps bytes for later and stops reading: what a client sends ahead is bounded by one read. */
  hold(bytes: Buffer, start: number, end: number): void {
    this.#heads.hold(bytes, start, end)
    this.stream.pause()
  }

  takeHeld(): Buffer | undefined {
    return this.#heads.take()
  }

  get holdsNothing(): boolean {
    return this.#heads.holdsNothing
  }

  onDrain(): void {
    if (this.#state === BUSY) this.#exchange.clientDrained()
    else {
      this.#exchange.payOwed()
      if (this.#state === READY) this.#takeHeads()
    }
  }

  onEnd(): void {
    this.hasEnded = true
    if (this.#state === BUSY) this.#exchange.clientEnded()
    else if (this.#state === READY) {
      if (this.holdsNothing) this.stream.end()
      else this.headMalformed('the client ended in the middle of a head', false)
    }
  }

  onClose(_status: number): void {
    this.#pod.connections.delete(this)
    if (this.#state === BUSY) this.#exchange.clientGone()
    this.#exchange.payOwed()
    this.#state = LINGER
    this.#services.connectionClosed(this.#pod)
  }

  // ── From one request to the next ──────────────────────────────────────────────────────────────

  next(): void {
    if (this.stream.closed) return
    if (this.isDraining) {
      this.linger()
      return
    }
    this.#state = READY
    this.#headSince = 0
    this.within(this.#services.limits.clientIdleTimeoutMs)
    if (this.stream.pendingWrites > 0) {
      // The client does not take its answers: no further request is read before it does.
      this.stream.pause()
      return
    }
    this.#takeHeads()
  }

  /** Serves what was sent ahead. A loop, not a recursion: thousands of refused requests fit in one read. */
  #takeHeads(): void {
    if (this.#pumping) return
    this.#pumping = true
    for (let served = 0; this.#state === READY && !this.holdsNothing; served++) {
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
          if (!this.stream.closed) this.#takeHeads()
        })
        return
      }
      const requests = this.#requests
      const held = this.takeHeld()
      if (held !== undefined) this.#heads.read(held, 0, held.length)
      if (this.#requests === requests || this.stream.closed) break
    }
    this.#pumping = false
    if (this.stream.closed) return
    if (this.#state === READY) {
      if (this.hasEnded) this.stream.end()
      else this.stream.resume()
    } else if (this.#state === BUSY && this.#exchange.requestDone && this.holdsNothing) this.stream.resume()
  }

  linger(): void {
    this.#state = LINGER
    this.#heads.take()
    this.within(LINGER_MS)
    this.#lingerLeftMs = this.#services.limits.bodyIdleTimeoutMs
    this.stream.end()
    // Reading on lets the client see our answer instead of a reset (RFC 9112 section 9.6).
    if (this.hasEnded) return
    this.stream.resume()
  }

  cut(): void {
    this.#state = LINGER
    this.stream.reset()
  }

  // ── Time, and the world ───────────────────────────────────────────────────────────────────────

  within(ms: number): void {
    this.#deadline = this.#services.now() + ms
  }

  untimed(): void {
    this.#deadline = 0
  }

  sweep(now: number): void {
    if (this.#deadline === 0 || now < this.#deadline) return
    this.#deadline = 0
    if (this.#state === READY && this.#headSince !== 0) {
      this.#begin()
      this.#exchange.refuseUnread(this.#headSince, REFUSAL.clientTimeout, 'the request head did not arrive in time')
    } else if (this.#state === BUSY) this.#exchange.overdue()
    else if (this.#state === LINGER && this.stream.pendingWrites > 0 && this.#lingerLeftMs > 0) {
      // A slow client still takes our last answer.
      this.#lingerLeftMs -= LINGER_MS
      this.#deadline = now + LINGER_MS
    } else this.stream.close()
  }

  rejudge(): void {
    if (this.#state === BUSY) this.#exchange.rejudge()
  }

  drain(): void {
    // Nobody waits for the answer to a copy.
    if (this.#exchange.pipeline.mirror) {
      this.abort()
      return
    }
    this.isDraining = true
    // A request may be on its way: an idle client gets a moment to send it and hear `connection: close`.
    if (this.#state === READY && this.#headSince === 0) this.within(DRAIN_IDLE_MS)
  }

  abort(): void {
    this.stream.reset()
  }
}
