/**
 * DATA that comes in: counted against both windows (RFC 9113 section 5.2), padding taken off, lengths
 * held to what was promised, and passed on in the pieces it comes in. The connection's window is given
 * back as data comes, a stream's as it is consumed.
 */
import {
  H2_ENHANCE_YOUR_CALM,
  H2_FLOW_CONTROL_ERROR,
  H2_FRAME_SIZE_ERROR,
  H2_PROTOCOL_ERROR,
  H2_STREAM_CLOSED,
} from './errors.ts'
import { FLAG_END_STREAM, FLAG_PADDED } from './frames.ts'
import type { Bucket } from './limits.ts'
import type { Http2Session } from './session.ts'
import type { H2Stream } from './stream.ts'

export class InboundData {
  readonly #session: Http2Session
  readonly #empty: Bucket
  /** The connection's window, and what is to be given back to it. */
  #window: number
  #unacknowledged = 0
  /** The frame at hand: its stream (undefined: thrown away), and its length. */
  #stream: H2Stream | undefined
  #streamId = 0
  #endStream = false
  #length = 0
  /** Data still to come of it; -1: the length of its padding is to come. */
  #dataLeft = 0

  constructor(session: Http2Session, empty: Bucket) {
    this.#session = session
    this.#empty = empty
    this.#window = session.limits.connectionWindowBytes
  }

  #fail(code: number, problem: string): false {
    this.#session.fail(code, problem)
    return false
  }

  /** The head of a frame. */
  head(length: number, flags: number, id: number): boolean {
    const session = this.#session
    this.#endStream = (flags & FLAG_END_STREAM) !== 0
    this.#streamId = id
    if (id === 0) return this.#fail(H2_PROTOCOL_ERROR, 'DATA on the connection')
    if (length > this.#window) return this.#fail(H2_FLOW_CONTROL_ERROR, 'DATA beyond the connection window')
    this.#window -= length
    this.#length = length
    const padded = (flags & FLAG_PADDED) !== 0
    if (padded && length === 0) return this.#fail(H2_FRAME_SIZE_ERROR, 'no padding length')
    this.#dataLeft = padded ? -1 : length
    if (!this.#maySayNothing()) return false
    const stream = session.streams.get(id)
    this.#stream = undefined
    if (stream === undefined) {
      if (session.streams.isIdle(id)) return this.#fail(H2_PROTOCOL_ERROR, 'DATA on an idle stream')
      return session.streams.wasReset(id) || this.#fail(H2_STREAM_CLOSED, 'DATA on a closed stream')
    }
    if (stream.remoteEnded) return session.streams.error(stream, H2_STREAM_CLOSED)
    if (!stream.headersReceived) return session.streams.error(stream, H2_PROTOCOL_ERROR)
    if (length > stream.receiveWindow) return session.streams.error(stream, H2_FLOW_CONTROL_ERROR)
    stream.receiveWindow -= length
    this.#stream = stream
    return true
  }

  /** DATA without data serves to end a stream, and otherwise seldom. */
  #maySayNothing(): boolean {
    if (this.#dataLeft !== 0 || this.#endStream || this.#empty.take()) return true
    return this.#fail(H2_ENHANCE_YOUR_CALM, 'too many empty frames')
  }

  /** A piece of its payload. */
  piece(bytes: Buffer, start: number, end: number, last: boolean): boolean {
    let at = start
    if (this.#dataLeft < 0 && at < end) {
      const padding = bytes[at++] as number
      if (padding >= this.#length) return this.#fail(H2_PROTOCOL_ERROR, 'padding longer than its frame')
      this.#dataLeft = this.#length - 1 - padding
      if (!this.#maySayNothing()) return false
      // Nothing is to be consumed of padding.
      this.#stream?.consumed(padding + 1)
    }
    const stream = this.#stream
    const count = Math.min(end - at, this.#dataLeft)
    if (count > 0) {
      this.#dataLeft -= count
      if (stream !== undefined && !stream.closed) {
        if (stream.contentLeft >= 0) {
          stream.contentLeft -= count
          if (stream.contentLeft < 0) {
            this.#stream = undefined
            if (!this.#session.streams.error(stream, H2_PROTOCOL_ERROR)) return false
          } else stream.receive(bytes, at, at + count)
        } else stream.receive(bytes, at, at + count)
      }
    }
    if (!last) return this.#session.alive
    if (this.#length > 0) {
      this.#unacknowledged += this.#length
      this.credit()
    }
    if (this.#endStream) {
      this.#session.streams.resetSeen(this.#streamId)
      if (this.#stream !== undefined && !this.#stream.closed) return this.ended(this.#stream, undefined)
    }
    return this.#session.alive
  }

  /** Gives the connection's window back, unless too much is queued for paused streams. */
  credit(): void {
    const session = this.#session
    if (
      !session.alive ||
      this.#unacknowledged < session.connectionCreditBytes ||
      session.queuedBytes > session.limits.maxQueuedBytes
    ) {
      return
    }
    this.#window += this.#unacknowledged
    session.outbound.windowUpdate(0, this.#unacknowledged)
    this.#unacknowledged = 0
  }

  /** The peer has ended its side of a stream. */
  ended(stream: H2Stream, trailers: readonly string[] | undefined): boolean {
    if (stream.contentLeft > 0) return this.#session.streams.error(stream, H2_PROTOCOL_ERROR)
    stream.remoteEnd(trailers)
    return this.#session.alive
  }
}
