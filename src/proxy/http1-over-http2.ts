/**
 * What looks like a connection to a server of HTTP/1.1 and is one stream of an HTTP/2 session: the request written to it is
 * read by the mesh's own parser and sent as a stream, and the answer is written as HTTP/1.1. It serves one request, and
 * says so (`connection: close`). For clients of HTTP/1.1 whose server is declared to speak HTTP/2.
 */
import {
  BodyReader,
  type BodySink,
  type ByteStream,
  Head,
  type Http2StreamOwner,
  latin1,
  PARSE_DONE,
  type StreamOwner,
} from '#http'
import { FIELD_DROP, fieldClass } from './field-class.ts'
import type { OutgoingStream } from './outgoing-stream.ts'
import { mayTrail, passesOn } from './render.ts'
import { type SessionLimits, STATUS_REFUSED, type UpstreamSession } from './upstream-sessions.ts'
import { acceptOf } from './websocket.ts'

const NOBODY: StreamOwner = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} }
const STATUS_PROTOCOL = -71
const MAX_HEADERS = 1024

export class Http1OverHttp2 implements ByteStream, Http2StreamOwner, BodySink {
  owner: StreamOwner = NOBODY
  closed = false
  readEnded = false
  writeEnded = false
  reading = false
  readonly #session: UpstreamSession
  readonly #head: Head
  readonly #body: BodyReader
  #out: OutgoingStream | undefined
  /** The answer's data is written in chunks: its length is not known. */
  #chunked = false
  #accept = ''
  #tunnel = false
  #headOnly = false

  constructor(session: UpstreamSession, { maxHeadBytes }: SessionLimits) {
    this.#session = session
    // What the mesh itself has rendered may be somewhat larger than what it read.
    this.#head = new Head(maxHeadBytes * 2, MAX_HEADERS)
    this.#body = new BodyReader(maxHeadBytes * 2, MAX_HEADERS)
  }

  get pendingWrites(): number {
    return this.#out?.pendingWrites ?? 0
  }

  // ── The request ───────────────────────────────────────────────────────────────────────────────

  writeText(text: string): boolean {
    return this.writeBytes(Buffer.from(text, 'latin1'))
  }

  writeBytes(bytes: Buffer): boolean {
    return this.writeSlice(bytes, 0, bytes.length)
  }

  writeSlice(bytes: Buffer, start: number, end: number): boolean {
    if (this.closed || this.writeEnded) return true
    let at = start
    if (this.#out === undefined) {
      // A head is written as a whole.
      if (this.#head.parseRequest(bytes, start, end) !== PARSE_DONE) {
        this.#fail(STATUS_PROTOCOL)
        return true
      }
      at += this.#head.length
      if (!this.#open()) return true
    }
    if (this.#tunnel) return this.#out?.writeSlice(bytes, at, end) ?? true
    if (at < end) this.#body.read(bytes, at, end, this)
    if (this.#body.problem !== '') this.#fail(STATUS_PROTOCOL)
    else if (this.#body.done && this.#accept === '' && !this.writeEnded) this.#endRequest()
    return this.pendingWrites === 0
  }

  #open(): boolean {
    const head = this.#head
    const body = this.#body
    if (head.method === 'CONNECT') {
      this.#fail(STATUS_PROTOCOL)
      return false
    }
    body.begin(head.chunked ? 'chunked' : 'length', Math.max(0, head.contentLength))
    this.#headOnly = head.method === 'HEAD'
    const upgrade = head.connectionUpgrade && head.upgradeIndex >= 0 ? head.value(head.upgradeIndex) : ''
    const websocket = upgrade.toLowerCase() === 'websocket' && this.#session.takesUpgrade()
    const fields = websocket ? [':method', 'CONNECT', ':protocol', 'websocket'] : [':method', head.method]
    fields.push(':scheme', 'http', ':authority', head.get('host') ?? '', ':path', head.target)
    for (let i = 0; i < head.headerCount; i++) {
      const name = head.name(i)
      if (name === 'host' || name === 'sec-websocket-key') continue
      // The mesh's own fields are in what it rendered: only hop-by-hop ones stay behind.
      if (passesOn(head, i, false) || fieldClass(name) === FIELD_DROP) fields.push(name, head.value(i))
    }
    if (head.teTrailers) fields.push('te', 'trailers')
    if (websocket) this.#accept = acceptOf(head.get('sec-websocket-key') ?? '')
    const ends = body.done && !websocket
    const out = this.#session.open(fields, ends, this)
    if (out === undefined) {
      this.#fail(STATUS_REFUSED)
      return false
    }
    this.#out = out
    if (ends) this.writeEnded = true
    if (this.reading) out.resume()
    return true
  }

  bodyData(bytes: Buffer, start: number, end: number): void {
    this.#out?.writeSlice(bytes, start, end)
  }

  #endRequest(): void {
    this.writeEnded = true
    const { trailers } = this.#body
    const fields: string[] = []
    for (let i = 0; trailers !== undefined && i < trailers.headerCount; i++) {
      const name = trailers.name(i)
      if (mayTrail(name) && fieldClass(name) !== FIELD_DROP) fields.push(name, trailers.value(i))
    }
    if (fields.length > 0) this.#out?.sendTrailers(fields)
    else this.#out?.end()
  }

  // ── The answer ────────────────────────────────────────────────────────────────────────────────

  #say(text: string): void {
    const bytes = Buffer.from(text, 'latin1')
    this.owner.onData(bytes, bytes.length)
  }

  onHeaders(fields: readonly string[], endStream: boolean): void {
    const status = Number(fields[1])
    const agreed = this.#accept !== '' && status >= 200 && status < 300
    let text = agreed
      ? `HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: ${this.#accept}\r\n`
      : `HTTP/1.1 ${status} \r\n`
    let length = false
    for (let i = 2; i < fields.length; i += 2) {
      const name = fields[i] as string
      if (agreed && (name === 'content-length' || name === 'sec-websocket-accept')) continue
      if (name === 'content-length') length = true
      text += `${name}: ${fields[i + 1]}\r\n`
    }
    if (agreed) {
      this.#tunnel = true
      this.#say(`${text}connection: upgrade\r\nupgrade: websocket\r\n\r\n`)
      return
    }
    if (status < 200) {
      this.#say(`${text}\r\n`)
      return
    }
    // No WebSocket after all: nothing more is to be said.
    if (this.#accept !== '') this.end()
    const bodyless = this.#headOnly || status === 204 || status === 304
    if (!bodyless && !length) {
      if (endStream) text += 'content-length: 0\r\n'
      else {
        text += 'transfer-encoding: chunked\r\n'
        this.#chunked = true
      }
    }
    this.#say(`${text}connection: close\r\n\r\n`)
  }

  onData(bytes: Buffer, length: number): void {
    if (!this.#chunked) {
      this.owner.onData(bytes, length)
      return
    }
    this.#say(`${length.toString(16)}\r\n${latin1(bytes, 0, length)}\r\n`)
  }

  onTrailers(fields: readonly string[]): void {
    if (!this.#chunked) return
    let text = '0\r\n'
    for (let i = 0; i < fields.length; i += 2) text += `${fields[i]}: ${fields[i + 1]}\r\n`
    this.#chunked = false
    this.#say(`${text}\r\n`)
  }

  onEnd(): void {
    if (this.#chunked) {
      this.#chunked = false
      this.#say('0\r\n\r\n')
    }
    this.readEnded = true
    if (!this.closed) this.owner.onEnd()
  }

  onDrain(): void {
    this.owner.onDrain()
  }

  onClose(status: number): void {
    if (this.closed) return
    this.closed = true
    this.reading = false
    // Ended in order, but not to the end of the answer.
    this.owner.onClose(status)
  }

  #fail(status: number): void {
    queueMicrotask(() => this.onClose(status))
  }

  // ── As any connection ─────────────────────────────────────────────────────────────────────────

  resume(): void {
    this.reading = true
    this.#out?.resume()
  }

  pause(): void {
    this.reading = false
    this.#out?.pause()
  }

  end(): void {
    if (this.closed || this.writeEnded) return
    this.writeEnded = true
    this.#out?.end()
  }

  holdForEnd(): void {}

  checkPaused(): void {}

  close(): void {
    if (this.closed) return
    this.closed = true
    this.reading = false
    const out = this.#out
    if (out !== undefined && !out.closed) out.reset()
    this.owner.onClose(0)
  }

  reset(): void {
    this.close()
  }
}
