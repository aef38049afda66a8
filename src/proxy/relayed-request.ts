/**
 * One request of HTTP/1.1 on its way upstream: gathered while there is nowhere to send it, then its body relayed piece by
 * piece as it is read; and kept as it was sent, as long as it may have to be sent again. One object for all requests of a
 * connection, one after another. It knows of no client and of no target: both are told by the exchange.
 */
import { BodyReader, type BodySink, type ByteStream, ChunkGather, latin1 } from '#http'
import { COMBINE_BYTES, lastChunk } from './body-text.ts'
import type { HeldBody } from './held-body.ts'
import type { RequestCopy } from './mirrors.ts'

/** A request up to this, body included, is kept to be sent again. */
const MAX_REPLAY_BYTES = 65536
/** Pieces that a kept body is put together of. */
const MAX_PIECES = 64

/** Used within one call at a time. */
const chunks = new ChunkGather()

export class RelayedRequest implements BodySink {
  /** All of it has been read. */
  done = true
  readonly #body: BodyReader
  #chunked = false
  #copy: RequestCopy | undefined
  #upstream: ByteStream | undefined
  /** Not yet written upstream: head, and body bytes that came with it. */
  #unsent = ''
  /** Length of the head within `#unsent`; what follows is body. */
  #headLength = 0
  /** What is read goes into `#unsent`. */
  #gathering = false
  /** The request as sent, while it can be sent again as a whole. */
  #replay = ''
  /** The request's body is still coming, and is kept in `#replay` as it is sent. */
  #keeping = false
  #pieces = 0

  constructor(maxTrailerBytes: number, maxTrailers: number) {
    this.#body = new BodyReader(maxTrailerBytes, maxTrailers)
  }

  /** Why its body is malformed; empty while it is not. */
  get problem(): string {
    return this.#body.problem
  }

  /** Bytes of its body so far. */
  get received(): number {
    return this.#body.received
  }

  /** All of it is here, and can be sent once more. */
  get repeatable(): boolean {
    return this.done && this.#replay !== ''
  }

  /** Of a request whose head is never read whole. */
  beginUnread(): void {
    this.done = false
  }

  /** @param length of a body that is not `chunked`; -1: none */
  begin(chunked: boolean, length: number): void {
    this.#chunked = chunked
    this.#body.begin(chunked ? 'chunked' : 'length', Math.max(0, length))
    this.done = this.#body.done
    this.#upstream = undefined
    this.#gathering = false
    this.forget()
  }

  /** The head to be sent, and what came with it of the body; returns where that ends. `copy` gets the body, too. */
  gather(head: string, copy: RequestCopy | undefined, bytes: Buffer, start: number, end: number): number {
    this.#unsent = head
    this.#headLength = head.length
    this.#copy = copy
    let stop = start
    if (!this.done) {
      this.#gathering = true
      stop = this.read(bytes, start, end)
      this.#gathering = false
    }
    if (this.done) this.#keepWhole()
    return stop
  }

  /** The head to be sent, and a body that was read by `readInto` and is another now. */
  gatherWhole(head: string, body: Buffer): void {
    this.#headLength = head.length
    this.#unsent = head + latin1(body, 0, body.length)
    this.#keepWhole()
  }

  /** Another head for what was gathered or sent before. */
  replaceHead(head: string): void {
    const before = this.#unsent === '' ? this.#replay : this.#unsent
    this.#unsent = head + before.slice(this.#headLength)
    this.#headLength = head.length
    if (this.done) this.#keepWhole()
  }

  /** What was sent is to be sent again, as it was. */
  rewind(): void {
    this.#unsent = this.#replay
  }

  #keepWhole(): void {
    if (this.#unsent.length <= MAX_REPLAY_BYTES) this.#replay = this.#unsent
  }

  /** It is not sent again: its answer is here, or it is over. */
  keepNoMore(): void {
    this.#replay = ''
    this.#keeping = false
  }

  /** Nothing of it is sent any more. */
  forget(): void {
    this.keepNoMore()
    this.#unsent = ''
    this.#copy = undefined
  }

  /** Sends what was gathered; what is read from now on follows it. `keeps`: that may have to be sent again. */
  sendOn(upstream: ByteStream, keeps: boolean): void {
    this.#upstream = upstream
    const text = this.#unsent
    this.#unsent = ''
    if (!this.done && keeps && text.length <= MAX_REPLAY_BYTES) {
      this.#replay = text
      this.#keeping = true
    }
    upstream.writeText(text)
  }

  /** There is nowhere to send it any more. */
  detach(): void {
    this.#upstream = undefined
  }

  /** Relays body bytes of [start, end); returns where the body ends, or its available part. */
  read(bytes: Buffer, start: number, end: number): number {
    const body = this.#body
    chunks.clear()
    const stop = body.read(bytes, start, end, this)
    if (body.problem !== '') return stop
    if (this.#chunked) this.#sendChunk()
    if (body.done) this.done = true
    return stop
  }

  /** As `read`, for a body that is held as a whole. */
  readInto(held: HeldBody, bytes: Buffer, start: number, end: number): number {
    const body = this.#body
    const stop = body.read(bytes, start, end, held)
    if (body.problem === '' && held.problem === undefined && body.done) this.done = true
    return stop
  }

  /** A piece of its body. */
  bodyData(bytes: Buffer, start: number, end: number): void {
    if (this.#copy !== undefined) this.#copy.add(bytes, start, end)
    if (this.#chunked) chunks.add(bytes, start, end)
    else if (this.#gathering) this.#unsent += latin1(bytes, start, end)
    else {
      if (this.#keeping) this.#keep(latin1(bytes, start, end))
      this.#upstream?.writeSlice(bytes, start, end)
    }
  }

  /** What was sent may have to be sent again; more than there is room for never is. */
  #keep(text: string): void {
    if (this.#replay.length + text.length > MAX_REPLAY_BYTES) {
      this.keepNoMore()
      return
    }
    this.#replay += text
    // A string put together of many small pieces takes many times its length: made one of its own now and then.
    if (++this.#pieces % MAX_PIECES === 0) this.#replay = Buffer.from(this.#replay, 'latin1').toString('latin1')
  }

  /** What one read brought, as one chunk, and the end of the body when it is there. */
  #sendChunk(): void {
    const chunk = chunks.chunk()
    const end = this.#body.done ? lastChunk(this.#body) : ''
    if (chunk === undefined) {
      if (end !== '') this.#write(end)
    } else if (this.#gathering || chunk.length <= COMBINE_BYTES) {
      this.#write(latin1(chunk, 0, chunk.length) + end)
    } else {
      if (this.#keeping) this.#keep(latin1(chunk, 0, chunk.length))
      this.#upstream?.writeSlice(chunk, 0, chunk.length)
      if (end !== '') this.#write(end)
    }
  }

  #write(text: string): void {
    if (this.#gathering) this.#unsent += text
    else {
      if (this.#keeping) this.#keep(text)
      this.#upstream?.writeText(text)
    }
  }
}
