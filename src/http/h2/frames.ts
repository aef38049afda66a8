/**
 * Frames of HTTP/2 (RFC 9113 sections 4 and 6): constants, heads, and a reader that finds frames in
 * bytes cut anywhere. DATA passes in the pieces it comes in; other payloads are given whole, in place
 * where they came in one piece.
 */

export const FRAME_DATA = 0x0
export const FRAME_HEADERS = 0x1
export const FRAME_PRIORITY = 0x2
export const FRAME_RST_STREAM = 0x3
export const FRAME_SETTINGS = 0x4
export const FRAME_PUSH_PROMISE = 0x5
export const FRAME_PING = 0x6
export const FRAME_GOAWAY = 0x7
export const FRAME_WINDOW_UPDATE = 0x8
export const FRAME_CONTINUATION = 0x9

export const FLAG_END_STREAM = 0x1
export const FLAG_ACK = 0x1
export const FLAG_END_HEADERS = 0x4
export const FLAG_PADDED = 0x8
export const FLAG_PRIORITY = 0x20

export const FRAME_HEAD_BYTES = 9
export const DEFAULT_FRAME_BYTES = 16384
export const DEFAULT_WINDOW_BYTES = 65535
export const MAX_WINDOW_BYTES = 2 ** 31 - 1
export const MAX_STREAM_ID = 2 ** 31 - 1

/** What a client sends first (RFC 9113 section 3.4). */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

export function putFrameHead(
  out: Uint8Array,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): void {
  out[at] = length >>> 16
  out[at + 1] = length >>> 8
  out[at + 2] = length
  out[at + 3] = type
  out[at + 4] = flags
  putUint32(out, at + 5, streamId)
}

export function putUint32(out: Uint8Array, at: number, value: number): void {
  out[at] = value >>> 24
  out[at + 1] = value >>> 16
  out[at + 2] = value >>> 8
  out[at + 3] = value
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return (
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0
  )
}

type Latin1Buffer = Buffer & { latin1Write(text: string, at: number, length: number): number }

/** Writes latin1 text that fits: one native call, without the argument checks of `write`. */
export function putLatin1(out: Buffer, at: number, text: string): void {
  ;(out as Latin1Buffer).latin1Write(text, at, text.length)
}

/** Receives frames. After `frameHead` says false the reader reads nothing any more. */
export interface FrameSink {
  /** A head, before its payload; the reserved bit is not part of `streamId`. */
  frameHead(length: number, type: number, flags: number, streamId: number): boolean
  /** A piece of the payload of DATA, padding and its length included; `last`: none follows. At least one per frame. */
  framePiece(bytes: Buffer, start: number, end: number, last: boolean): boolean
  /** The whole payload of any other frame. */
  framePayload(bytes: Buffer, start: number, end: number): boolean
}

export class FrameReader {
  readonly #sink: FrameSink
  readonly #head = new Uint8Array(FRAME_HEAD_BYTES)
  #headLength = 0
  /** Bytes of payload to come; -1: a head is next. */
  #left = -1
  #type = 0
  /** Beginning of a payload that came in several pieces. */
  #partial: Buffer | undefined
  #partialLength = 0
  #stopped = false

  constructor(sink: FrameSink) {
    this.#sink = sink
  }

  /** False once the sink has stopped it. */
  read(bytes: Buffer, start: number, end: number): boolean {
    if (this.#stopped) return false
    let at = start
    for (;;) {
      if (this.#left < 0) {
        let head: Uint8Array = bytes
        let from = at
        if (this.#headLength === 0 && end - at >= FRAME_HEAD_BYTES) at += FRAME_HEAD_BYTES
        else {
          head = this.#head
          from = 0
          while (at < end && this.#headLength < FRAME_HEAD_BYTES) head[this.#headLength++] = bytes[at++] as number
          if (this.#headLength < FRAME_HEAD_BYTES) return true
          this.#headLength = 0
        }
        const length = ((head[from] as number) << 16) | ((head[from + 1] as number) << 8) | (head[from + 2] as number)
        this.#type = head[from + 3] as number
        this.#left = length
        const streamId = readUint32(head, from + 5) & 0x7fffffff
        if (!this.#sink.frameHead(length, this.#type, head[from + 4] as number, streamId)) return this.#stop()
      }
      const have = end - at
      const left = this.#left
      if (this.#type === FRAME_DATA) {
        if (have === 0 && left > 0) return true
        const pieceEnd = at + Math.min(have, left)
        const last = have >= left
        this.#left = last ? -1 : left - have
        if (!this.#sink.framePiece(bytes, at, pieceEnd, last)) return this.#stop()
        at = pieceEnd
        if (!last) return true
      } else if (this.#partialLength === 0 && have >= left) {
        this.#left = -1
        if (!this.#sink.framePayload(bytes, at, at + left)) return this.#stop()
        at += left
      } else {
        const take = Math.min(have, left - this.#partialLength)
        if (take === 0) return true
        let partial = this.#partial
        if (partial === undefined || partial.length < left) {
          const larger = Buffer.allocUnsafeSlow(left)
          if (partial !== undefined && this.#partialLength > 0) partial.copy(larger, 0, 0, this.#partialLength)
          partial = larger
          this.#partial = larger
        }
        bytes.copy(partial, this.#partialLength, at, at + take)
        at += take
        this.#partialLength += take
        if (this.#partialLength < left) return true
        this.#partialLength = 0
        this.#partial = undefined
        this.#left = -1
        if (!this.#sink.framePayload(partial, 0, left)) return this.#stop()
      }
    }
  }

  #stop(): false {
    this.#stopped = true
    this.#partial = undefined
    return false
  }
}
