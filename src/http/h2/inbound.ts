/**
 * What a connection receives: every frame is checked against the state of its stream and of the
 * connection (RFC 9113 sections 5 and 6), and against the limits that keep a peer from making us work
 * for nothing. False from a frame's method: the connection is over.
 */
import {
  H2_COMPRESSION_ERROR,
  H2_ENHANCE_YOUR_CALM,
  H2_FLOW_CONTROL_ERROR,
  H2_FRAME_SIZE_ERROR,
  H2_PROTOCOL_ERROR,
} from './errors.ts'
import { grownWindow } from './flow.ts'
import {
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FLAG_PADDED,
  FLAG_PRIORITY,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_PRIORITY,
  FRAME_PUSH_PROMISE,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_WINDOW_UPDATE,
  type FrameSink,
  readUint32,
} from './frames.ts'
import { HeaderBlock } from './header-block.ts'
import { acceptHeaders } from './heads.ts'
import { HpackDecoder } from './hpack-decoder.ts'
import { InboundData } from './inbound-data.ts'
import { Bucket } from './limits.ts'
import type { Http2Session } from './session.ts'

export class Inbound implements FrameSink {
  readonly data: InboundData
  readonly #decoder: HpackDecoder
  readonly #settings: Bucket
  readonly #pings: Bucket
  readonly #empty: Bucket
  readonly #ignored: Bucket
  readonly #updates: Bucket
  readonly #session: Http2Session
  #first = true
  #type = 0
  #flags = 0
  #streamId = 0
  /** Header block in progress: its stream (0: none). */
  #blockStream = 0
  #blockEndsStream = false
  readonly #block: HeaderBlock

  constructor(session: Http2Session) {
    const limits = session.limits
    this.#session = session
    this.#decoder = new HpackDecoder(limits.maxHeaderListBytes)
    this.#block = new HeaderBlock(limits.maxHeaderBlockBytes, limits.maxContinuations)
    this.#settings = new Bucket(limits.settings)
    this.#pings = new Bucket(limits.pings)
    this.#empty = new Bucket(limits.emptyFrames)
    this.data = new InboundData(session, this.#empty)
    this.#ignored = new Bucket(limits.ignoredFrames)
    this.#updates = new Bucket(limits.windowUpdates)
  }

  refill(elapsedMs: number): void {
    this.#settings.refill(elapsedMs)
    this.#pings.refill(elapsedMs)
    this.#empty.refill(elapsedMs)
    this.#ignored.refill(elapsedMs)
    this.#updates.refill(elapsedMs)
  }

  #fail(code: number, problem: string): false {
    this.#session.fail(code, problem)
    return false
  }

  frameHead(length: number, type: number, flags: number, streamId: number): boolean {
    const session = this.#session
    this.#type = type
    this.#flags = flags
    this.#streamId = streamId
    if (length > session.limits.maxFrameBytes) return this.#fail(H2_FRAME_SIZE_ERROR, 'frame too large')
    if (this.#first) {
      if (type !== FRAME_SETTINGS || (flags & FLAG_ACK) !== 0) {
        return this.#fail(H2_PROTOCOL_ERROR, 'the first frame is not SETTINGS')
      }
      this.#first = false
    }
    if (this.#blockStream !== 0 && (type !== FRAME_CONTINUATION || streamId !== this.#blockStream)) {
      return this.#fail(H2_PROTOCOL_ERROR, 'frame within a header block')
    }
    if (type === FRAME_DATA) return this.data.head(length, flags, streamId)
    const fixed = FIXED_LENGTHS[type] ?? 0
    if (fixed < 0 ? length < -fixed : fixed > 0 && length !== fixed) {
      // Of PRIORITY only the stream is in error, where it is one (RFC 9113 section 6.3).
      const stream = type === FRAME_PRIORITY ? session.streams.get(streamId) : undefined
      if (stream === undefined) return this.#fail(H2_FRAME_SIZE_ERROR, 'wrong length of a frame')
      return session.streams.error(stream, H2_FRAME_SIZE_ERROR)
    }
    switch (type) {
      case FRAME_SETTINGS:
      case FRAME_PING:
      case FRAME_GOAWAY:
        if (streamId !== 0) return this.#fail(H2_PROTOCOL_ERROR, 'connection frame on a stream')
        if (type === FRAME_SETTINGS && ((flags & FLAG_ACK) !== 0 ? length !== 0 : length % 6 !== 0)) {
          return this.#fail(H2_FRAME_SIZE_ERROR, 'wrong length of SETTINGS')
        }
        return true
      case FRAME_HEADERS:
      case FRAME_PRIORITY:
      case FRAME_RST_STREAM:
        if (streamId === 0) return this.#fail(H2_PROTOCOL_ERROR, 'stream frame on the connection')
        return true
      case FRAME_CONTINUATION:
        if (this.#blockStream === 0) return this.#fail(H2_PROTOCOL_ERROR, 'CONTINUATION without HEADERS')
        return true
      case FRAME_PUSH_PROMISE:
        return this.#fail(H2_PROTOCOL_ERROR, 'PUSH_PROMISE')
      default:
        return true
    }
  }

  framePiece(bytes: Buffer, start: number, end: number, last: boolean): boolean {
    return this.data.piece(bytes, start, end, last)
  }

  framePayload(bytes: Buffer, start: number, end: number): boolean {
    switch (this.#type) {
      case FRAME_HEADERS:
        return this.#headers(bytes, start, end)
      case FRAME_CONTINUATION:
        return this.#fragment(bytes, start, end)
      case FRAME_RST_STREAM: {
        const id = this.#streamId
        if (this.#session.streams.isIdle(id)) return this.#fail(H2_PROTOCOL_ERROR, 'RST_STREAM on an idle stream')
        return this.#session.streams.peerReset(id, readUint32(bytes, start))
      }
      case FRAME_SETTINGS:
        if (!this.#settings.take()) return this.#fail(H2_ENHANCE_YOUR_CALM, 'too many SETTINGS')
        if ((this.#flags & FLAG_ACK) === 0) return this.#session.peerSettings(bytes, start, end)
        this.#session.settingsAcknowledged()
        return true
      case FRAME_PING:
        if ((this.#flags & FLAG_ACK) !== 0) this.#session.pinged(readUint32(bytes, start), readUint32(bytes, start + 4))
        else {
          if (!this.#pings.take()) return this.#fail(H2_ENHANCE_YOUR_CALM, 'too many PINGs')
          this.#session.outbound.ping(bytes, start, true)
        }
        return this.#session.alive
      case FRAME_GOAWAY:
        return this.#session.peerGoaway(readUint32(bytes, start) & 0x7fffffff, readUint32(bytes, start + 4))
      case FRAME_WINDOW_UPDATE:
        return this.#windowUpdate(readUint32(bytes, start) & 0x7fffffff)
      default:
        return this.#ignored.take() || this.#fail(H2_ENHANCE_YOUR_CALM, 'too many frames to be ignored')
    }
  }

  #windowUpdate(increment: number): boolean {
    const session = this.#session
    const outbound = session.outbound
    const id = this.#streamId
    if (outbound.updatesAllowed > 0) outbound.updatesAllowed--
    else if (!this.#updates.take()) return this.#fail(H2_ENHANCE_YOUR_CALM, 'too many WINDOW_UPDATEs')
    if (id === 0) {
      if (increment === 0) return this.#fail(H2_PROTOCOL_ERROR, 'WINDOW_UPDATE of 0')
      const grown = grownWindow(outbound.window, increment)
      if (grown === undefined) return this.#fail(H2_FLOW_CONTROL_ERROR, 'connection window overflow')
      outbound.window = grown
      session.schedule()
      return true
    }
    const stream = session.streams.get(id)
    if (stream === undefined) {
      return !session.streams.isIdle(id) || this.#fail(H2_PROTOCOL_ERROR, 'WINDOW_UPDATE on an idle stream')
    }
    if (increment === 0) return session.streams.error(stream, H2_PROTOCOL_ERROR)
    const grown = grownWindow(stream.sendWindow, increment)
    if (grown === undefined) return session.streams.error(stream, H2_FLOW_CONTROL_ERROR)
    stream.sendWindow = grown
    outbound.reopened(stream)
    return true
  }

  #headers(bytes: Buffer, start: number, end: number): boolean {
    let at = start
    let blockEnd = end
    if ((this.#flags & FLAG_PADDED) !== 0) {
      if (at === end) return this.#fail(H2_FRAME_SIZE_ERROR, 'no padding length')
      blockEnd -= bytes[at++] as number
    }
    if ((this.#flags & FLAG_PRIORITY) !== 0) {
      if (end - at < 5) return this.#fail(H2_FRAME_SIZE_ERROR, 'no priority')
      at += 5
    }
    if (blockEnd < at) return this.#fail(H2_PROTOCOL_ERROR, 'padding longer than its frame')
    this.#blockStream = this.#streamId
    this.#blockEndsStream = (this.#flags & FLAG_END_STREAM) !== 0
    this.#block.begin()
    return this.#fragment(bytes, at, blockEnd)
  }

  #fragment(bytes: Buffer, start: number, end: number): boolean {
    const last = (this.#flags & FLAG_END_HEADERS) !== 0
    if (!last && start === end && !this.#empty.take()) return this.#fail(H2_ENHANCE_YOUR_CALM, 'too many empty frames')
    if (last && this.#block.length === 0 && end - start <= this.#session.limits.maxHeaderBlockBytes) {
      return this.#blockDone(bytes, start, end)
    }
    if (!this.#block.add(bytes, start, end)) return this.#fail(H2_ENHANCE_YOUR_CALM, 'header block too large')
    return !last || this.#blockDone(this.#block.bytes, 0, this.#block.length)
  }

  #blockDone(bytes: Buffer, start: number, end: number): boolean {
    const id = this.#blockStream
    this.#blockStream = 0
    const headers = this.#decoder.decode(bytes, start, end)
    this.#block.release()
    if (headers === undefined) return this.#fail(H2_COMPRESSION_ERROR, this.#decoder.problem)
    const endStream = this.#blockEndsStream
    const stream = acceptHeaders(this.#session, id, headers, endStream, this.#decoder.tooLarge)
    if (stream !== undefined && endStream && !stream.closed) {
      const trailers = stream.trailersIn
      stream.trailersIn = undefined
      return this.data.ended(stream, trailers)
    }
    return this.#session.alive
  }
}

/** Lengths a frame must have by type; negative: at least; 0: any. */
const FIXED_LENGTHS: readonly number[] = [0, 0, 5, 4, 0, 0, 8, -8, 4, 0]
