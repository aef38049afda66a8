/**
 * What a connection sends: frames into the gathering buffer, DATA within both windows, and the buffer
 * to the transport once per turn of the event loop. Streams that can't write wait in turn.
 */

import { WaitingRing } from './flow.ts'
import {
  DEFAULT_FRAME_BYTES,
  DEFAULT_WINDOW_BYTES,
  FLAG_ACK,
  FLAG_END_HEADERS,
  FLAG_END_STREAM,
  FRAME_CONTINUATION,
  FRAME_DATA,
  FRAME_GOAWAY,
  FRAME_HEAD_BYTES,
  FRAME_HEADERS,
  FRAME_PING,
  FRAME_RST_STREAM,
  FRAME_SETTINGS,
  FRAME_WINDOW_UPDATE,
  PREFACE,
  putFrameHead,
  putLatin1,
  putUint32,
} from './frames.ts'
import { GATHER_BYTES, Gather, release } from './gather.ts'
import { HpackEncoder } from './hpack-encoder.ts'
import { WINDOW_UPDATES_PER_FRAME } from './limits.ts'
import type { Http2Session } from './session.ts'
import type { H2Stream } from './stream.ts'

/** DATA frames we send are not larger, whatever the peer accepts: streams take turns by frames. */
const SEND_FRAME_BYTES = DEFAULT_FRAME_BYTES
/** Frames of DATA smaller than this are not made to fill a buffer. */
const LEAST_ROOM = 1024

export class Outbound {
  readonly encoder = new HpackEncoder()
  /** The connection's window. */
  window = DEFAULT_WINDOW_BYTES
  /** The transport holds bytes. */
  busy = false
  busySinceMs = 0
  /** WINDOW_UPDATE frames the peer may send for the DATA we sent. */
  updatesAllowed = 0
  readonly #session: Http2Session
  readonly #gather = new Gather()
  readonly #ring = new WaitingRing<H2Stream>()
  #held: Buffer | undefined

  constructor(session: Http2Session) {
    this.#session = session
  }

  /** Bytes gathered and not yet written. */
  get backlog(): number {
    return this.#gather.length
  }

  /** Sends as much of [start, end) as may be sent now; returns where it stopped. */
  take(stream: H2Stream, bytes: Buffer, start: number, end: number): number {
    // Nobody overtakes those who wait.
    if (this.#ring.first !== undefined) return start
    let at = start
    while (at < end) {
      const count = this.#grant(stream, end - at)
      if (count === 0) break
      const to = this.#data(stream, count)
      bytes.copy(this.#gather.bytes, to, at, at + count)
      at += count
    }
    return at
  }

  /** All or nothing. */
  takeText(stream: H2Stream, text: string): boolean {
    const length = text.length
    if (this.#ring.first !== undefined || this.#grant(stream, length) !== length) return false
    const to = this.#data(stream, length)
    putLatin1(this.#gather.bytes, to, text)
    return true
  }

  /** How many bytes of DATA one frame may take now; 0: wait. */
  #grant(stream: H2Stream, wanted: number): number {
    const count = Math.min(wanted, SEND_FRAME_BYTES, stream.sendWindow, this.window)
    if (count <= 0) return 0
    const room = GATHER_BYTES - FRAME_HEAD_BYTES - this.#gather.length
    if (count <= room) return count
    if (room >= LEAST_ROOM) return room
    if (this.busy) return 0
    this.#write()
    return this.busy ? Math.min(count, GATHER_BYTES - FRAME_HEAD_BYTES) : count
  }

  /** Counts `count` bytes of DATA and frames them, in the frame before where that is the stream's own. */
  #data(stream: H2Stream, count: number): number {
    const gather = this.#gather
    stream.sendWindow -= count
    this.window -= count
    const lastAt = gather.lastDataAt
    if (lastAt >= 0 && stream.lastFrameAt === lastAt && stream.lastFrameGeneration === gather.generation) {
      const length = gather.length - lastAt - FRAME_HEAD_BYTES + count
      if (length <= SEND_FRAME_BYTES) {
        gather.reserve(count)
        putFrameHead(gather.bytes, lastAt, length, FRAME_DATA, 0, stream.id)
        const to = gather.length
        gather.length += count
        return to
      }
    }
    this.updatesAllowed += WINDOW_UPDATES_PER_FRAME
    const frameAt = gather.length
    const to = gather.frame(count, FRAME_DATA, 0, stream.id)
    gather.lastDataAt = frameAt
    stream.lastFrameAt = frameAt
    stream.lastFrameGeneration = gather.generation
    this.#session.schedule()
    return to
  }

  /** A stream has begun to queue. */
  wait(stream: H2Stream): void {
    stream.waitingSinceMs = this.#session.nowMs
    if (stream.sendWindow > 0) this.#ring.add(stream)
    this.#session.schedule()
  }

  /** A stream's window has grown. */
  reopened(stream: H2Stream): void {
    if (stream.pendingWrites === 0 || stream.sendWindow <= 0) return
    this.#ring.add(stream)
    this.#session.schedule()
  }

  forget(stream: H2Stream): void {
    this.#ring.remove(stream)
  }

  /** Serves those who wait, a frame each in turn, for as long as the windows and the transport allow. */
  #pump(): void {
    for (let stream = this.#ring.first; stream !== undefined; stream = this.#ring.first) {
      const bytes = stream.outgoing[0]
      if (bytes === undefined) {
        this.#ring.remove(stream)
        continue
      }
      const left = bytes.length - stream.outgoingAt
      const count = this.#grant(stream, left)
      if (count === 0) {
        if (stream.sendWindow > 0) return
        this.#ring.remove(stream)
        continue
      }
      const to = this.#data(stream, count)
      bytes.copy(this.#gather.bytes, to, stream.outgoingAt, stream.outgoingAt + count)
      stream.waitingSinceMs = this.#session.nowMs
      if (count < left) {
        stream.outgoingAt += count
        this.#ring.rotate()
        continue
      }
      stream.outgoingAt = 0
      stream.outgoing.shift()
      if (--stream.pendingWrites > 0) this.#ring.rotate()
      else {
        this.#ring.remove(stream)
        if (stream.writeEnded) this.finish(stream)
        if (!stream.closed) stream.owner.onDrain()
      }
    }
  }

  /** Everything of a stream has been sent: its trailers, or its end. */
  finish(stream: H2Stream): void {
    const trailers = stream.trailersOut
    if (trailers !== undefined) this.headers(stream, trailers, true)
    else if (stream.lastFrameGeneration === this.#gather.generation) {
      this.#gather.endStreamAt(stream.lastFrameAt)
    } else {
      this.#gather.frame(0, FRAME_DATA, FLAG_END_STREAM, stream.id)
      this.#session.schedule()
    }
    stream.localEnded = true
    this.#session.streams.halfClosed(stream)
  }

  headers(stream: H2Stream, headers: readonly string[], endStream: boolean): void {
    if (endStream) stream.localEnded = true
    stream.lastFrameAt = this.#gather.length
    this.headerBlock(stream.id, headers, endStream)
    stream.lastFrameGeneration = this.#gather.generation
  }

  headerBlock(streamId: number, headers: readonly string[], endStream: boolean): void {
    const gather = this.#gather
    const encoder = this.encoder
    encoder.encode(headers)
    const most = this.#session.peer.maxFrameBytes
    let type = FRAME_HEADERS
    let flags = endStream ? FLAG_END_STREAM : 0
    let at = 0
    do {
      const end = Math.min(encoder.length, at + most)
      if (end === encoder.length) flags |= FLAG_END_HEADERS
      const to = gather.frame(end - at, type, flags, streamId)
      encoder.block.copy(gather.bytes, to, at, end)
      at = end
      type = FRAME_CONTINUATION
      flags = 0
    } while (at < encoder.length)
    this.#session.schedule()
  }

  preface(): void {
    this.#gather.reserve(PREFACE.length)
    this.#gather.length += PREFACE.copy(this.#gather.bytes, this.#gather.length)
  }

  settings(settings: readonly number[]): void {
    let at = this.#gather.frame(settings.length * 3, FRAME_SETTINGS, 0, 0)
    for (let i = 0; i + 1 < settings.length; i += 2) {
      this.#gather.bytes[at] = 0
      this.#gather.bytes[at + 1] = settings[i] as number
      putUint32(this.#gather.bytes, at + 2, settings[i + 1] as number)
      at += 6
    }
    this.#session.schedule()
  }

  settingsAck(): void {
    this.#gather.frame(0, FRAME_SETTINGS, FLAG_ACK, 0)
    this.#session.schedule()
  }

  /** The eight bytes at `start` go into the frame. */
  ping(bytes: Buffer, start: number, ack: boolean): void {
    const to = this.#gather.frame(8, FRAME_PING, ack ? FLAG_ACK : 0, 0)
    bytes.copy(this.#gather.bytes, to, start, start + 8)
    this.#session.schedule()
  }

  windowUpdate(streamId: number, increment: number): void {
    this.#frame4(FRAME_WINDOW_UPDATE, streamId, increment)
  }

  resetStream(streamId: number, code: number): void {
    this.#frame4(FRAME_RST_STREAM, streamId, code)
  }

  #frame4(type: number, streamId: number, value: number): void {
    // The buffer is another one afterwards, perhaps.
    const to = this.#gather.frame(4, type, 0, streamId)
    putUint32(this.#gather.bytes, to, value)
    this.#session.schedule()
  }

  goaway(lastStream: number, code: number, debug: string): void {
    const to = this.#gather.frame(8 + debug.length, FRAME_GOAWAY, 0, 0)
    putUint32(this.#gather.bytes, to, lastStream)
    putUint32(this.#gather.bytes, to + 4, code)
    putLatin1(this.#gather.bytes, to + 8, debug)
    this.#session.schedule()
  }

  /** The turn is over: everything gathered leaves. */
  flush(): void {
    this.#pump()
    if (!this.busy) this.#write()
  }

  #write(): void {
    const length = this.#gather.length
    if (length === 0) return
    const bytes = this.#gather.take()
    this.busy = true
    this.busySinceMs = this.#session.nowMs
    this.#held = bytes
    if (this.#session.transport.write(bytes.length === length ? bytes : bytes.subarray(0, length))) this.taken()
  }

  /** The transport has let go of what it held. */
  taken(): void {
    this.busy = false
    if (this.#held !== undefined) release(this.#held)
    this.#held = undefined
  }
}
