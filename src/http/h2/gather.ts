/**
 * Frames on their way out: all that a turn of the event loop produces lies in one buffer and leaves in
 * one write. Buffers are lent by a pool, so that an idle connection holds none. Copying even a full
 * frame of 16 KiB costs less than half a microsecond, another write several.
 */
import { FLAG_END_STREAM, FRAME_HEAD_BYTES, putFrameHead } from './frames.ts'

/** DATA is gathered up to this, bytes; then it is written at once, or waits while the transport is busy. */
export const GATHER_BYTES = 128 * 1024
const POOL_LIMIT = 16
const EMPTY: Buffer = Buffer.alloc(0)
const pool: Buffer[] = []

export class Gather {
  bytes: Buffer = EMPTY
  length = 0
  /** Counts buffers sent, so that a frame can be told to be still here. */
  generation = 0
  /** Start of the last DATA frame when nothing follows it; -1 otherwise. */
  lastDataAt = -1

  /** Makes room for `count` bytes at `length`. */
  reserve(count: number): void {
    const needed = this.length + count
    if (needed <= this.bytes.length) return
    if (this.bytes.length === 0) {
      this.bytes = pool.pop() ?? Buffer.allocUnsafeSlow(GATHER_BYTES)
      if (needed <= this.bytes.length) return
    }
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    this.bytes.copy(larger, 0, 0, this.length)
    release(this.bytes)
    this.bytes = larger
  }

  /** Appends the head of a frame and room for its payload; returns where the payload goes. */
  frame(payloadBytes: number, type: number, flags: number, streamId: number): number {
    this.reserve(FRAME_HEAD_BYTES + payloadBytes)
    putFrameHead(this.bytes, this.length, payloadBytes, type, flags, streamId)
    const at = this.length + FRAME_HEAD_BYTES
    this.length = at + payloadBytes
    this.lastDataAt = -1
    return at
  }

  /** Makes a frame that is still here the last of its stream. */
  endStreamAt(frameAt: number): void {
    this.bytes[frameAt + 4] = (this.bytes[frameAt + 4] as number) | FLAG_END_STREAM
    if (this.lastDataAt === frameAt) this.lastDataAt = -1
  }

  /** Gives the buffer away; its bytes are [0, length) as before the call. */
  take(): Buffer {
    const bytes = this.bytes
    this.bytes = EMPTY
    this.length = 0
    this.generation++
    this.lastDataAt = -1
    return bytes
  }
}

/** Takes back a buffer that `Gather.take` gave away. */
export function release(bytes: Buffer): void {
  if (bytes.length === GATHER_BYTES && pool.length < POOL_LIMIT) pool.push(bytes)
}
