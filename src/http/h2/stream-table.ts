/**
 * The streams of a connection: which are open, which identifiers are used up, and the ways a stream
 * comes to its end (RFC 9113 section 5.1). What was reset costs the peer of its allowance.
 */
import {
  H2_CANCEL,
  H2_ENHANCE_YOUR_CALM,
  H2_NO_ERROR,
  H2_REFUSED_STREAM,
  STATUS_PROTOCOL,
  STATUS_REFUSED,
  STATUS_TIMED_OUT,
  statusOfCode,
} from './errors.ts'
import { MAX_STREAM_ID, MAX_WINDOW_BYTES } from './frames.ts'
import { Bucket } from './limits.ts'
import type { Http2Session } from './session.ts'
import { type H2Stream, NOTHING } from './stream.ts'

/** Streams we reset whose frames may still be on their way; the oldest are forgotten. */
const REMEMBERED_RESETS = 8192

export class StreamTable {
  /** Highest identifier the peer has used. */
  lastPeerStream = 0
  readonly #session: Http2Session
  readonly #open = new Map<number, H2Stream>()
  readonly #resets = new Set<number>()
  readonly #allowance: Bucket
  #nextOwn = 1
  /** Streams reset since the last flush: they count as open, for their handlers have just run. */
  #turnResets = 0
  #wakes: H2Stream[] = []

  constructor(session: Http2Session) {
    this.#session = session
    this.#allowance = new Bucket(session.limits.resets)
  }

  get size(): number {
    return this.#open.size
  }

  get(id: number): H2Stream | undefined {
    return this.#open.get(id)
  }

  add(stream: H2Stream): void {
    this.#open.set(stream.id, stream)
  }

  /** The next identifier of ours; 0: used up. */
  get nextOwn(): number {
    return this.#nextOwn > MAX_STREAM_ID ? 0 : this.#nextOwn
  }

  takeOwn(): number {
    const id = this.#nextOwn
    this.#nextOwn += 2
    return id
  }

  /** The peer may open no further stream now. */
  get full(): boolean {
    return this.#open.size + this.#turnResets >= this.#session.limits.maxConcurrentStreams
  }

  /** Nobody has opened the stream yet. */
  isIdle(id: number): boolean {
    if ((id & 1) === 0) return true
    return this.#session.role === 'server' ? id > this.lastPeerStream : id >= this.#nextOwn
  }

  /** We reset it, and the peer may not know yet. */
  wasReset(id: number): boolean {
    return this.#resets.has(id)
  }

  /** The peer has ended a stream we had reset. */
  resetSeen(id: number): void {
    if (this.#resets.size > 0) this.#resets.delete(id)
  }

  rememberReset(id: number, remoteEnded: boolean): void {
    if (remoteEnded) return
    this.#resets.add(id)
    if (this.#resets.size <= REMEMBERED_RESETS) return
    for (const oldest of this.#resets) {
      this.#resets.delete(oldest)
      break
    }
  }

  /** A stream with something queued reads again. */
  wake(stream: H2Stream): void {
    if (stream.waking) return
    stream.waking = true
    this.#wakes.push(stream)
    this.#session.schedule()
  }

  /** Some wait for `turn`. */
  get waking(): boolean {
    return this.#wakes.length > 0
  }

  /** A new turn of the event loop; queued data goes to those who read again. */
  turn(): void {
    this.#turnResets = 0
    if (this.#wakes.length === 0) return
    const wakes = this.#wakes
    this.#wakes = []
    for (const stream of wakes) {
      stream.waking = false
      stream.deliver()
    }
  }

  /** One side of a stream has ended; with both it is closed. */
  halfClosed(stream: H2Stream): void {
    if (stream.localEnded && stream.readEnded) this.close(stream, 0)
  }

  close(stream: H2Stream, status: number): void {
    if (stream.closed) return
    stream.closed = true
    stream.reading = false
    this.#dropWrites(stream)
    stream.incoming = NOTHING
    this.#session.queued(-stream.queuedBytes)
    stream.queuedBytes = 0
    this.#session.growthLeft += stream.windowBytes - this.#session.limits.streamWindowBytes
    this.#open.delete(stream.id)
    stream.owner.onClose(status)
    this.#session.finishIfDone()
  }

  closeAll(status: number): void {
    for (const stream of this.#open.values()) this.close(stream, status)
  }

  #dropWrites(stream: H2Stream): void {
    this.#session.outbound.forget(stream)
    stream.outgoing = NOTHING
    stream.pendingWrites = 0
  }

  /** RST_STREAM by ourselves, unless both sides had ended on the wire. */
  reset(stream: H2Stream, code: number, status: number): void {
    if (!(stream.localEnded && stream.remoteEnded)) {
      stream.errorCode = code
      this.#session.outbound.resetStream(stream.id, code)
      this.rememberReset(stream.id, stream.remoteEnded)
      this.#turnResets++
    }
    this.close(stream, status)
  }

  /** A mistake of the peer that concerns one stream (RFC 9113 section 5.4.2); false when it was one too many. */
  error(stream: H2Stream, code: number): boolean {
    stream.errorCode = code
    this.#session.outbound.resetStream(stream.id, code)
    this.rememberReset(stream.id, stream.remoteEnded)
    this.#turnResets++
    this.close(stream, STATUS_PROTOCOL)
    return this.#countReset()
  }

  /** Resets a stream that never came to be. */
  refuse(id: number, code: number, remoteEnded: boolean): void {
    this.#session.outbound.resetStream(id, code)
    this.rememberReset(id, remoteEnded)
    this.#countReset()
  }

  #countReset(): boolean {
    // Only a client makes work at will; a server may have reason to reset all there is.
    if (this.#session.role === 'server' && !this.#allowance.take()) {
      this.#session.fail(H2_ENHANCE_YOUR_CALM, 'too many resets')
    }
    return this.#session.alive
  }

  /** RST_STREAM from the peer. */
  peerReset(id: number, code: number): boolean {
    this.resetSeen(id)
    const stream = this.#open.get(id)
    if (stream === undefined) return true
    stream.errorCode = code
    // Who has waited for our answer has paid for its stream.
    const early = !stream.headersSent
    // A server that wants no more of the request has still answered it (RFC 9113 section 8.1).
    if (code === H2_NO_ERROR && stream.remoteEnded) {
      const queued = stream.pendingWrites > 0
      this.#dropWrites(stream)
      stream.writeEnded = true
      stream.localEnded = true
      if (queued) stream.owner.onDrain()
      if (!stream.closed) this.halfClosed(stream)
    } else {
      this.#turnResets++
      this.close(stream, statusOfCode(code))
    }
    return early ? this.#countReset() : this.#session.alive
  }

  /** The peer does not look at streams above `lastStream`. */
  refusedAbove(lastStream: number): void {
    for (const stream of this.#open.values()) {
      if (stream.id <= lastStream) continue
      stream.errorCode = H2_REFUSED_STREAM
      this.close(stream, STATUS_REFUSED)
    }
  }

  /** The peer's initial window has changed (RFC 9113 section 6.9.2); false: a window would overflow. */
  moveWindows(change: number): boolean {
    for (const stream of this.#open.values()) {
      stream.sendWindow += change
      if (stream.sendWindow > MAX_WINDOW_BYTES) return false
      this.#session.outbound.reopened(stream)
    }
    return true
  }

  /** Time has passed: streams that could not send for too long are given up. */
  tick(elapsedMs: number): void {
    this.#allowance.refill(elapsedMs)
    const before = this.#session.nowMs - this.#session.limits.stallTimeoutMs
    for (const stream of this.#open.values()) {
      if (stream.pendingWrites > 0 && stream.waitingSinceMs <= before) this.reset(stream, H2_CANCEL, STATUS_TIMED_OUT)
    }
  }
}
