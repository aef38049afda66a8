/**
 * One answer of HTTP/1.1 as it is written to the client, with as few writes as may be: the head together with what is there
 * of the body, each read of a body without a length as one chunk, the end of the connection with the last of them. One
 * object for all answers of a connection, one after another. It decides nothing.
 */
import { type BodyReader, type ByteStream, ChunkGather, latin1 } from '#http'
import { COMBINE_BYTES, lastChunk } from './body-text.ts'

export type Framing = 'none' | 'length' | 'chunked' | 'close'

/** Used within one call at a time. */
const chunks = new ChunkGather()

export class AnswerWriter {
  /** The connection ends with it. */
  closes = false
  readonly #stream: ByteStream
  #framing: Framing = 'none'
  /** Head and first bytes, while they wait for more of the same read. */
  #waiting = ''
  #combining = false

  constructor(stream: ByteStream) {
    this.#stream = stream
  }

  begin(closes: boolean): void {
    this.closes = closes
    this.#waiting = ''
  }

  /** One of the mesh's own, complete. */
  writeOwn(text: string): void {
    if (this.closes) this.#stream.holdForEnd()
    this.#stream.writeText(text)
  }

  /** The head, with which nothing has come of the body, if there is one. `isWhole`: there is none. */
  writeHead(text: string, framing: Framing, isWhole: boolean): void {
    this.#framing = framing
    this.#write(text, isWhole)
  }

  /** The head, whose first body bytes are read next: `firstBytes` of them, with framing. */
  joinHead(text: string, framing: Framing, firstBytes: number): void {
    this.#framing = framing
    this.#waiting = text
    this.#combining = framing !== 'chunked' && firstBytes <= COMBINE_BYTES
    if (!this.#combining && framing !== 'chunked') this.flush()
  }

  /** A head and a body that are complete. */
  writeWhole(head: string, body: Buffer): void {
    if (body.length <= COMBINE_BYTES) {
      this.#write(head + latin1(body, 0, body.length), true)
      return
    }
    this.#stream.writeText(head)
    if (this.closes) this.#stream.holdForEnd()
    this.#stream.writeBytes(body)
  }

  /** Before the body's bytes of one read. */
  beginRead(): void {
    chunks.clear()
  }

  /** A piece of the body. */
  add(bytes: Buffer, start: number, end: number): void {
    if (this.#framing === 'chunked') chunks.add(bytes, start, end)
    else if (this.#combining) this.#waiting += latin1(bytes, start, end)
    else this.#stream.writeSlice(bytes, start, end)
  }

  /** All that one read brought has been added. */
  endRead(body: BodyReader): void {
    if (this.#framing === 'chunked') this.#writeChunk(body)
    else this.flush(body.done)
  }

  /** Its body has ended with the upstream's connection. */
  end(body: BodyReader): void {
    this.flush(body.done)
    if (this.#framing === 'chunked') this.#write(lastChunk(body), body.done)
  }

  /** What waits is written. */
  flush(isLast = false): void {
    const text = this.#waiting
    this.#combining = false
    this.#waiting = ''
    if (text !== '') this.#write(text, isLast)
  }

  /** What one read brought, as one chunk, behind the head when that waits, and the end of the body when it is there. */
  #writeChunk(body: BodyReader): void {
    const head = this.#waiting
    const chunk = chunks.chunk()
    const end = body.done ? lastChunk(body) : ''
    this.#waiting = ''
    if (chunk === undefined || chunk.length <= COMBINE_BYTES) {
      const text = chunk === undefined ? head + end : head + latin1(chunk, 0, chunk.length) + end
      if (text !== '') this.#write(text, body.done)
      return
    }
    if (head !== '') this.#write(head, body.done)
    this.#stream.writeSlice(chunk, 0, chunk.length)
    if (end !== '') this.#write(end, body.done)
  }

  #write(text: string, isLast: boolean): void {
    // A client that finds the end with the answer does not close first, and keeps no port in TIME_WAIT.
    if (this.closes && isLast) this.#stream.holdForEnd()
    this.#stream.writeText(text)
  }
}
