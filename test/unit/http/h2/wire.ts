/** Sessions without sockets: frames put together by hand, frames taken apart, and turns of the event loop by hand. */

import { PREFACE, putFrameHead, putUint32, readUint32 } from '../../../../src/http/h2/frames.ts'
import { HpackDecoder } from '../../../../src/http/h2/hpack-decoder.ts'
import { HpackEncoder } from '../../../../src/http/h2/hpack-encoder.ts'
import type { H2Stream, Http2StreamOwner } from '../../../../src/http/index.ts'
import {
  type Http2Limits,
  Http2Session,
  type Http2SessionOptions,
  type Http2Transport,
} from '../../../../src/http/index.ts'

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly id: number
  readonly payload: Buffer
}

export function frame(type: number, flags: number, id: number, payload: Buffer | readonly number[] = []): Buffer {
  const bytes = Buffer.alloc(9 + payload.length)
  putFrameHead(bytes, 0, payload.length, type, flags, id)
  bytes.set(payload, 9)
  return bytes
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  values.forEach((value, i) => {
    putUint32(bytes, i * 4, value)
  })
  return bytes
}

export function setting(id: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([0, id]), uint32(value)])
}

export function framesOf(bytes: Buffer): Frame[] {
  const frames: Frame[] = []
  let at = bytes.subarray(0, PREFACE.length).equals(PREFACE) ? PREFACE.length : 0
  while (at < bytes.length) {
    const length = bytes.readUIntBE(at, 3)
    if (at + 9 + length > bytes.length) throw new Error('Frame cut short')
    frames.push({
      type: bytes[at + 3] ?? -1,
      flags: bytes[at + 4] ?? 0,
      id: readUint32(bytes, at + 5),
      payload: bytes.subarray(at + 9, at + 9 + length),
    })
    at += 9 + length
  }
  return frames
}

/** A transport whose turns end when the test says so. */
export class HandTransport implements Http2Transport {
  readonly writes: Buffer[] = []
  /** Keeps what is written from then on, until released. */
  stuck = false
  ended = false
  destroyed = false
  #flush: (() => void) | undefined

  write(bytes: Buffer): boolean {
    if (this.ended || this.destroyed) throw new Error('Write after the end')
    this.writes.push(Buffer.from(bytes))
    return !this.stuck
  }
  end(): void {
    this.ended = true
  }
  destroy(): void {
    this.destroyed = true
  }
  schedule(flush: () => void): void {
    if (this.#flush !== undefined) throw new Error('Scheduled twice')
    this.#flush = flush
  }
  /** True when there was something to do. */
  turn(): boolean {
    const flush = this.#flush
    this.#flush = undefined
    flush?.()
    return flush !== undefined
  }
  /** All bytes written since the last call. */
  take(): Buffer {
    return Buffer.concat(this.writes.splice(0))
  }
}

/** What happened to a stream, in order. */
export class Recorder implements Http2StreamOwner {
  readonly events: string[] = []
  data = ''
  bytes = 0
  status: number | undefined
  onSlice(bytes: Buffer, start: number, end: number): void {
    this.data += bytes.toString('latin1', start, end)
    this.bytes += end - start
  }
  onData(): void {
    throw new Error('The owner takes slices')
  }
  onHeaders(headers: readonly string[], endStream: boolean): void {
    this.events.push(`headers ${headers.join(' ')}${endStream ? ' end' : ''}`)
  }
  onTrailers(headers: readonly string[]): void {
    this.events.push(`trailers ${headers.join(' ')}`)
  }
  onEnd(): void {
    this.events.push('end')
  }
  onDrain(): void {
    this.events.push('drain')
  }
  onClose(status: number): void {
    if (this.status !== undefined) throw new Error('Closed twice')
    this.status = status
    this.events.push(`close ${status}`)
  }
}

/** A session whose peer is the test. */
export class Bench {
  readonly transport = new HandTransport()
  readonly session: Http2Session
  readonly encoder = new HpackEncoder()
  readonly decoder = new HpackDecoder(1 << 20)
  readonly streams: { stream: H2Stream; headers: readonly string[]; owner: Recorder }[] = []
  readonly goaways: [number, number][] = []
  settings = 0
  closed: { code: number; problem: string } | undefined

  constructor(role: 'client' | 'server', limits: Partial<Http2Limits> = {}, resume = true, greet = true) {
    const options: Http2SessionOptions = {
      role,
      limits,
      transport: this.transport,
      onStream: (stream, headers) => {
        const owner = new Recorder()
        stream.owner = owner
        this.streams.push({ stream, headers, owner })
        if (resume) stream.resume()
      },
      onSettings: () => this.settings++,
      onGoaway: (last, code) => this.goaways.push([last, code]),
      onClose: (code, problem) => {
        if (this.closed !== undefined) throw new Error('Closed twice')
        this.closed = { code, problem }
      },
    }
    this.session = new Http2Session(options)
    if (!greet) return
    if (role === 'server') this.give(PREFACE)
    this.give(frame(4, 0, 0), frame(4, 1, 0))
    this.out()
  }

  give(...pieces: Buffer[]): void {
    for (const bytes of pieces) this.session.receive(bytes, bytes.length)
  }

  /** Ends the turn; the frames that left. */
  out(): Frame[] {
    this.transport.turn()
    return framesOf(this.transport.take())
  }

  block(headers: readonly string[]): Buffer {
    this.encoder.encode(headers)
    return Buffer.from(this.encoder.block.subarray(0, this.encoder.length))
  }

  /** HEADERS in one frame. */
  headers(id: number, headers: readonly string[], endStream = false): Buffer {
    return frame(1, endStream ? 5 : 4, id, this.block(headers))
  }

  decode(frame: Frame | undefined): string[] | undefined {
    return frame && this.decoder.decode(frame.payload, 0, frame.payload.length)
  }

  /** Code of the GOAWAY that left, or -1. */
  goawayCode(frames: readonly Frame[] = this.out()): number {
    const goaway = frames.find((frame) => frame.type === 7)
    return goaway === undefined ? -1 : readUint32(goaway.payload, 4)
  }

  /** Code of the RST_STREAM of stream `id` that left, or -1. */
  resetCode(id: number, frames: readonly Frame[] = this.out()): number {
    const reset = frames.find((frame) => frame.type === 3 && frame.id === id)
    return reset === undefined ? -1 : readUint32(reset.payload, 0)
  }
}

export const GET = [':method', 'GET', ':scheme', 'http', ':authority', 'web', ':path', '/']
export const POST = [':method', 'POST', ':scheme', 'http', ':authority', 'web', ':path', '/']
export const CONNECT = [':method', 'CONNECT', ':authority', '10.0.0.1:80']
export const OK = [':status', '200']

/** A client and a server session joined; bytes are cut by `cut`, which says how long the next piece may be. */
export class Pair {
  readonly a = new HandTransport()
  readonly b = new HandTransport()
  readonly client: Http2Session
  readonly server: Http2Session
  readonly #cut: (() => number) | undefined

  constructor(
    onStream: (stream: H2Stream, headers: readonly string[]) => void,
    limits: { client?: Partial<Http2Limits>; server?: Partial<Http2Limits> } = {},
    cut?: () => number,
  ) {
    this.#cut = cut
    this.server = new Http2Session({ role: 'server', transport: this.b, limits: limits.server ?? {}, onStream })
    this.client = new Http2Session({ role: 'client', transport: this.a, limits: limits.client ?? {} })
  }

  #carry(from: HandTransport, to: Http2Session): boolean {
    const turned = from.turn()
    const bytes = from.take()
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + (this.#cut?.() ?? bytes.length))
      // A fresh copy, ruined afterwards: nobody may keep it.
      const piece = Buffer.from(bytes.subarray(at, end))
      to.receive(piece, piece.length)
      piece.fill(0xee)
      at = end
    }
    return turned
  }

  /** One turn of either side; false when there was nothing to do. */
  step(): boolean {
    const first = this.#carry(this.a, this.server)
    const second = this.#carry(this.b, this.client)
    return first || second
  }

  run(): void {
    for (let turns = 0; this.step(); turns++) if (turns > 100_000) throw new Error('Never quiet')
  }

  open(headers: readonly string[], endStream = false): { stream: H2Stream; owner: Recorder } {
    const stream = this.client.open(headers, endStream)
    if (stream === undefined) throw new Error('No stream')
    const owner = new Recorder()
    stream.owner = owner
    stream.resume()
    return { stream, owner }
  }
}
