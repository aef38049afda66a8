/**
 * One stream of an HTTP/2 connection, as a `ByteStream`. Data for a paused stream is queued and not
 * acknowledged, so that the peer's window closes; data for which there is no window is queued and says
 * so by `pendingWrites`. Members from `session` on are the engine's own.
 */
import type { ByteStream, StreamOwner } from '../byte-stream.ts'
import { H2_CANCEL, H2_NO_ERROR } from './errors.ts'
import type { Http2Session } from './session.ts'

/** A stream's owner. Headers are [name, value, …] in latin1, pseudo-headers first. */
export interface Http2StreamOwner extends StreamOwner {
  /** Given instead of `onData` where the owner has it: `bytes[start..end)` without a view being made. */
  onSlice?(bytes: Buffer, start: number, end: number): void
  /** Client: a response head, interim ones (1xx) included. Comes also while paused. */
  onHeaders?(headers: readonly string[], endStream: boolean): void
  /** After the last data, before `onEnd`. */
  onTrailers?(headers: readonly string[]): void
}

/** Queues of a stream that has queued nothing yet, as most never do: never written to. */
export const NOTHING: Buffer[] = []

const LEAST_CHUNK_BYTES = 4096

/** A window grows once so many of its first size were read within one tick. */
const GROWS_AFTER_WINDOWS = 8

/** Takes everything and does nothing. */
const NOBODY: Http2StreamOwner = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} }

export class H2Stream implements ByteStream {
  /** Set by who gets the stream, before it resumes it. */
  owner: Http2StreamOwner = NOBODY
  readonly id: number
  /** CONNECT without `:protocol`: `close` then ends in order what was written. */
  readonly tunnel: boolean
  closed = false
  readEnded = false
  writeEnded = false
  pendingWrites = 0
  reading = false
  /** Code of the RST_STREAM that closed it, sent or received; -1: none. REFUSED_STREAM may be tried again elsewhere. */
  errorCode = -1

  readonly session: Http2Session
  /** HEADERS of ours have been sent (server: the final response). */
  headersSent: boolean
  /** The final response (client) or the request (server) has come. */
  headersReceived: boolean
  /** No body may come: the request was HEAD. */
  bodiless = false
  /** What content-length still promises; -1: no promise. */
  contentLeft = -1
  localEnded = false
  remoteEnded = false
  sendWindow: number
  receiveWindow: number
  /** What the peer's window is filled up to. */
  windowBytes: number
  /** Consumed and not yet acknowledged, bytes. */
  unacknowledged = 0
  /** Consumed since the last tick. */
  #pace = 0
  #paceAtMs = 0
  /** Frame of ours sent last, when it is still to be written. */
  lastFrameAt = 0
  lastFrameGeneration = -1
  /** Since when queued data has waited for a window or the transport. */
  waitingSinceMs = 0
  outgoing: Buffer[] = NOTHING
  /** Bytes of `outgoing[0]` already sent. */
  outgoingAt = 0
  /** All of the chunk that the last of `outgoing` may be the beginning of. */
  #tail: Buffer | undefined
  trailersOut: readonly string[] | undefined
  /** Data for a paused stream: chunks, all full but the last, of which `incomingUsed` bytes are. */
  incoming: Buffer[] = NOTHING
  incomingUsed = 0
  queuedBytes = 0
  trailersIn: readonly string[] | undefined
  waking = false
  waiting = false
  nextWaiting: H2Stream | undefined
  previousWaiting: H2Stream | undefined

  constructor(session: Http2Session, id: number, tunnel: boolean, client: boolean) {
    this.session = session
    this.id = id
    this.tunnel = tunnel
    this.headersSent = client
    this.headersReceived = !client
    this.sendWindow = session.peer.initialWindowBytes
    this.windowBytes = session.limits.streamWindowBytes
    this.receiveWindow = this.windowBytes
  }

  resume(): void {
    if (this.reading || this.closed || this.readEnded) return
    this.reading = true
    if (this.incoming.length > 0 || this.remoteEnded) this.session.streams.wake(this)
  }

  pause(): void {
    this.reading = false
  }

  /** Server: a response head; interim ones (1xx) may come before the final one. */
  respond(headers: readonly string[], endStream: boolean): void {
    if (this.closed || this.writeEnded) return
    const status = headers[1] ?? ''
    if (this.headersSent || headers[0] !== ':status' || status.length !== 3) {
      throw new Error(`Cannot respond on stream ${this.id}: ${this.headersSent ? 'it has a response' : 'no :status'}`)
    }
    if (status.charCodeAt(0) !== 49) this.headersSent = true
    if (endStream) this.writeEnded = true
    this.session.outbound.headers(this, headers, endStream)
    if (endStream) this.session.streams.halfClosed(this)
  }

  /** Ends our side with trailers, after everything queued. */
  sendTrailers(headers: readonly string[]): void {
    if (this.closed || this.writeEnded) return
    this.trailersOut = headers
    this.end()
  }

  writeText(text: string): boolean {
    if (this.closed || this.writeEnded) return true
    this.#mayWrite()
    if (text.length === 0) return this.pendingWrites === 0
    if (this.pendingWrites === 0 && this.session.outbound.takeText(this, text)) return true
    const bytes = Buffer.from(text, 'latin1')
    return this.#write(bytes, 0, bytes.length, true)
  }

  writeBytes(bytes: Buffer): boolean {
    return this.#write(bytes, 0, bytes.length, true)
  }

  writeSlice(bytes: Buffer, start: number, end: number): boolean {
    return this.#write(bytes, start, end, false)
  }

  #write(bytes: Buffer, start: number, end: number, owned: boolean): boolean {
    if (this.closed || this.writeEnded) return true
    this.#mayWrite()
    let at = start
    if (this.pendingWrites === 0) {
      at = this.session.outbound.take(this, bytes, start, end)
      if (at >= end) return true
    } else if (at >= end) return false
    if (this.outgoing === NOTHING) this.outgoing = []
    if (owned) this.outgoing.push(bytes.subarray(at, end))
    else if (this.#appends(bytes, at, end)) return false
    if (++this.pendingWrites === 1) this.session.outbound.wait(this)
    return false
  }

  /** Small pieces that wait share a chunk, too; true where one that waits already took it. */
  #appends(bytes: Buffer, start: number, end: number): boolean {
    const { outgoing } = this
    const count = end - start
    const last = outgoing.at(-1)
    const tail = this.#tail
    if (tail !== undefined && last?.buffer === tail.buffer && last.length + count <= tail.length) {
      bytes.copy(tail, last.length, start, end)
      outgoing[outgoing.length - 1] = tail.subarray(0, last.length + count)
      return true
    }
    const chunk = Buffer.allocUnsafeSlow(Math.max(count, LEAST_CHUNK_BYTES))
    bytes.copy(chunk, 0, start, end)
    outgoing.push(chunk.subarray(0, count))
    this.#tail = count < LEAST_CHUNK_BYTES ? chunk : undefined
    return false
  }

  #mayWrite(): void {
    if (!this.headersSent) throw new Error(`Cannot write on stream ${this.id}: respond first`)
  }

  /** Frames are gathered until the turn ends as it is. */
  holdForEnd(): void {}

  /** A reset is heard at once. */
  checkPaused(): void {}

  end(): void {
    if (this.closed || this.writeEnded) return
    this.#mayWrite()
    this.writeEnded = true
    if (this.pendingWrites === 0) this.session.outbound.finish(this)
  }

  /**
   * Closes at once; queued writes are lost. A tunnel of which nothing is queued ends in order; of anything else
   * the peer sees an error unless both sides had ended, for a message cut short must not look complete.
   */
  close(): void {
    if (this.closed) return
    const queued = this.pendingWrites > 0
    if (this.tunnel && !queued && this.headersSent && !this.localEnded) {
      this.writeEnded = true
      this.session.outbound.finish(this)
    }
    if (!this.closed) this.session.streams.reset(this, this.localEnded ? H2_NO_ERROR : H2_CANCEL, 0)
  }

  /** RST_STREAM. */
  reset(code: number = H2_CANCEL): void {
    if (!this.closed) this.session.streams.reset(this, code, 0)
  }

  /** Data from the peer, padding left out. */
  receive(bytes: Buffer, start: number, end: number): void {
    if (this.reading && this.incoming.length === 0) this.#give(bytes, start, end)
    else this.#queue(bytes, start, end)
  }

  /** Small pieces share a chunk, lest what they cost beside their bytes be more than their bytes. */
  #queue(bytes: Buffer, start: number, end: number): void {
    const last = this.incoming.at(-1)
    let at = start
    if (last !== undefined && this.incomingUsed < last.length) {
      at = Math.min(end, start + last.length - this.incomingUsed)
      bytes.copy(last, this.incomingUsed, start, at)
      this.incomingUsed += at - start
    }
    if (at < end) {
      const chunk = Buffer.allocUnsafeSlow(Math.max(end - at, LEAST_CHUNK_BYTES))
      bytes.copy(chunk, 0, at, end)
      if (this.incoming === NOTHING) this.incoming = []
      this.incoming.push(chunk)
      this.incomingUsed = end - at
    }
    this.queuedBytes += end - start
    this.session.queued(end - start)
  }

  #give(bytes: Buffer, start: number, end: number): void {
    const owner = this.owner
    if (owner.onSlice !== undefined) owner.onSlice(bytes, start, end)
    else owner.onData(start === 0 ? bytes : bytes.subarray(start, end), end - start)
    this.consumed(end - start)
  }

  /** Gives the peer window again for what is done with. */
  consumed(count: number): void {
    this.unacknowledged += count
    const session = this.session
    if (this.unacknowledged < this.windowBytes >>> 1 || this.remoteEnded || this.closed) return
    const credit = this.unacknowledged + this.#growth()
    this.receiveWindow += credit
    session.outbound.windowUpdate(this.id, credit)
    this.unacknowledged = 0
  }

  /** By how much the window grows now: only where it may be what holds up the writer. */
  #growth(): number {
    const { session, windowBytes } = this
    const { streamWindowBytes, maxStreamWindowBytes } = session.limits
    if (this.#paceAtMs !== session.nowMs) {
      this.#paceAtMs = session.nowMs
      this.#pace = 0
    }
    this.#pace += this.unacknowledged
    if (this.queuedBytes > 0 || this.#pace < GROWS_AFTER_WINDOWS * streamWindowBytes) return 0
    const growth = Math.max(0, Math.min(windowBytes, maxStreamWindowBytes - windowBytes, session.growthLeft))
    this.windowBytes += growth
    session.growthLeft -= growth
    return growth
  }

  /** The peer has ended its side. */
  remoteEnd(trailers: readonly string[] | undefined): void {
    this.remoteEnded = true
    this.trailersIn = trailers
    if (this.reading && this.incoming.length === 0) this.#giveEnd()
  }

  /** Gives what was queued while paused. */
  deliver(): void {
    while (this.reading && !this.closed) {
      const bytes = this.incoming.shift()
      if (bytes === undefined) {
        if (this.remoteEnded && !this.readEnded) this.#giveEnd()
        return
      }
      const length = this.incoming.length === 0 ? this.incomingUsed : bytes.length
      this.queuedBytes -= length
      this.session.queued(-length)
      this.#give(bytes, 0, length)
    }
  }

  #giveEnd(): void {
    const trailers = this.trailersIn
    if (trailers !== undefined) {
      this.trailersIn = undefined
      this.owner.onTrailers?.(trailers)
      if (this.closed) return
    }
    this.readEnded = true
    this.owner.onEnd()
    if (!this.closed) this.session.streams.halfClosed(this)
  }
}
