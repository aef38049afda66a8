/**
 * A request of HTTP/2 to a server that speaks HTTP/1.1: its fields become one head, its data a body (of the length it was
 * given, else in chunks), and the answer's head, body and trailers come back as HTTP/2 has them. What the engine lets
 * through has no control bytes and no framing of its own, so that the text is read as this one message.
 */
import { type BodySink, ChunkGather, HEADER_OTHER, type Head, type Http2StreamOwner } from '#http'
import type { Outgoing, OutgoingStream } from './outgoing-stream.ts'
import { mayTrail, passesOn } from './render.ts'
import type { UpstreamClient, UpstreamConnection } from './upstream.ts'
import { acceptOf, newWebSocketKey } from './websocket.ts'

/** Statuses as the engine gives them to `onClose`. */
const STATUS_PROTOCOL = -71
const MAX_INTERIM = 32

/** Used within one call at a time. */
const chunks = new ChunkGather()

export class Http1Outgoing implements Outgoing, OutgoingStream, UpstreamClient, BodySink {
  readonly errorCode = -1
  readonly reused: boolean
  closed = false
  writeEnded = false
  readonly #connection: UpstreamConnection
  #owner: Http2StreamOwner | undefined
  #chunked = false
  #head = false
  /** What an agreeing server must answer; empty: no upgrade was asked for. */
  #accept = ''
  #tunnel = false
  #answered = false
  #answerDone = false
  #interim = 0

  constructor(connection: UpstreamConnection) {
    this.#connection = connection
    this.reused = connection.reused
  }

  takesUpgrade(protocol: string): boolean {
    return protocol === 'websocket'
  }

  // ── The request ───────────────────────────────────────────────────────────────────────────────

  open(fields: readonly string[], endStream: boolean, owner: Http2StreamOwner): OutgoingStream | undefined {
    if (this.#connection.stream.closed) return undefined
    this.#owner = owner
    this.writeEnded = endStream
    this.#connection.begin(this)
    this.#connection.stream.writeText(this.#render(fields, endStream))
    return this
  }

  #render(fields: readonly string[], endStream: boolean): string {
    let method = ''
    let target = ''
    let host = ''
    let lines = ''
    let cookie = ''
    let length = ''
    let trailers = false
    let upgrading = false
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i] as string
      const value = fields[i + 1] as string
      switch (name) {
        case ':method':
          method = value
          break
        case ':path':
          target = value
          break
        case ':authority':
          host = value
          break
        case ':protocol':
          upgrading = true
          break
        case ':scheme':
          break
        case 'cookie':
          // RFC 9113 section 8.2.3: it may come in crumbs.
          cookie += cookie === '' ? value : `; ${value}`
          break
        case 'content-length':
          length = value
          break
        case 'te':
          trailers = true
          break
        default:
          lines += `${name}: ${value}\r\n`
      }
    }
    if (upgrading) method = 'GET'
    this.#head = method === 'HEAD'
    let text = `${method} ${target} HTTP/1.1\r\nhost: ${host}\r\n${lines}`
    if (cookie !== '') text += `cookie: ${cookie}\r\n`
    if (upgrading) {
      const key = newWebSocketKey()
      this.#accept = acceptOf(key)
      return `${text}connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ${key}\r\n\r\n`
    }
    if (length !== '') {
      text += `content-length: ${length}\r\n`
    } else if (!endStream) {
      text += 'transfer-encoding: chunked\r\n'
      this.#chunked = true
    }
    if (trailers) text += 'te: trailers\r\nconnection: te\r\n'
    return `${text}\r\n`
  }

  get pendingWrites(): number {
    return this.#connection.stream.pendingWrites
  }

  writeSlice(bytes: Buffer, start: number, end: number): boolean {
    if (this.closed || start === end) return true
    const { stream } = this.#connection
    // The engine has seen to it that there is no more of it than was told.
    if (!this.#chunked) return stream.writeSlice(bytes, start, end)
    chunks.clear()
    chunks.add(bytes, start, end)
    const chunk = chunks.chunk()
    return chunk === undefined || stream.writeSlice(chunk, 0, chunk.length)
  }

  writeBytes(bytes: Buffer): boolean {
    return this.writeSlice(bytes, 0, bytes.length)
  }

  end(): void {
    this.sendTrailers([])
  }

  sendTrailers(fields: readonly string[]): void {
    if (this.closed || this.writeEnded) return
    this.writeEnded = true
    const { stream } = this.#connection
    if (this.#tunnel) stream.end()
    else if (this.#chunked) stream.writeText(`0\r\n${trailerLines(fields)}\r\n`)
  }

  resume(): void {
    if (!this.closed) this.#connection.stream.resume()
  }

  pause(): void {
    if (!this.closed) this.#connection.stream.pause()
  }

  reset(): void {
    if (this.closed) return
    this.closed = true
    if (this.#tunnel) this.#connection.stream.reset()
  }

  over(inOrder: boolean): void {
    this.closed = true
    const connection = this.#connection
    const reusable =
      inOrder &&
      (this.#owner === undefined || (this.#answerDone && this.writeEnded && !this.#tunnel && connection.persists))
    if (reusable) {
      // It may have been paused for a reader that was slow.
      connection.stream.resume()
      connection.release(performance.now())
    } else connection.discard()
  }

  // ── The answer ────────────────────────────────────────────────────────────────────────────────

  responseHead(upstream: UpstreamConnection, bytes: Buffer, bodyStart: number, end: number): void {
    const { head } = upstream
    const owner = this.#owner
    if (owner === undefined || this.closed) return
    const { status } = head
    if (status === 101) {
      const agreed = this.#accept !== '' && head.get('sec-websocket-accept') === this.#accept
      if (agreed) this.#beginTunnel(upstream, bytes, bodyStart, end)
      else this.#malformed()
      return
    }
    if (status < 200) {
      if (++this.#interim > MAX_INTERIM) {
        this.#malformed()
        return
      }
      owner.onHeaders?.(answerFields(head, status, false), false)
      upstream.awaitFinalHead()
      if (bodyStart < end) upstream.readHead(bytes, bodyStart, end)
      return
    }
    this.#answered = true
    const bodyless = this.#head || status === 204 || status === 304
    const mode = bodyless ? 'none' : head.chunked ? 'chunked' : head.contentLength >= 0 ? 'length' : 'close'
    upstream.body.begin(mode, Math.max(0, head.contentLength))
    const { done } = upstream.body
    if (done) this.#answerEnded(bodyStart < end)
    else upstream.beginBody()
    owner.onHeaders?.(answerFields(head, status, mode === 'chunked'), done)
    if (this.closed) return
    if (done) this.#complete()
    else if (bodyStart < end) this.responseBytes(upstream, bytes, bodyStart, end)
  }

  responseBytes(upstream: UpstreamConnection, bytes: Buffer, start: number, end: number): void {
    const { body } = upstream
    const stop = body.read(bytes, start, end, this)
    if (this.closed) return
    if (body.problem !== '') this.#malformed()
    else if (body.done) {
      this.#answerEnded(stop < end)
      this.#complete()
    }
  }

  bodyData(bytes: Buffer, start: number, end: number): void {
    const owner = this.#owner
    if (owner === undefined || this.closed) return
    if (owner.onSlice === undefined) owner.onData(bytes.subarray(start, end), end - start)
    else owner.onSlice(bytes, start, end)
  }

  #answerEnded(surplus: boolean): void {
    this.#answerDone = true
    // Bytes that nobody asked for: the connection cannot be trusted any more.
    if (surplus) this.#connection.stream.close()
  }

  #complete(): void {
    const { trailers } = this.#connection.body
    if (trailers !== undefined) this.#owner?.onTrailers?.(trailerFields(trailers))
    if (!this.closed) this.#owner?.onEnd()
  }

  #malformed(): void {
    this.#fail(STATUS_PROTOCOL)
  }

  #fail(status: number): void {
    const owner = this.#owner
    if (owner === undefined || this.closed) return
    this.closed = true
    owner.onClose(status)
  }

  upstreamMalformed(): void {
    this.#malformed()
  }

  upstreamClosed(upstream: UpstreamConnection, status: number): void {
    if (this.closed) return
    if (this.#answered && !this.#answerDone && status === 0 && upstream.body.end()) {
      this.#answerEnded(false)
      this.#complete()
    } else if (this.#tunnel && status === 0) this.#owner?.onEnd()
    else if (!this.#answerDone) this.#fail(status)
  }

  upstreamDrained(): void {
    if (!this.closed) this.#owner?.onDrain()
  }

  // ── WebSocket (RFC 8441) ──────────────────────────────────────────────────────────────────────

  #beginTunnel(upstream: UpstreamConnection, bytes: Buffer, bodyStart: number, end: number): void {
    this.#tunnel = true
    this.#answered = true
    upstream.beginTunnel()
    this.#owner?.onHeaders?.(answerFields(upstream.head, 200, true), false)
    if (bodyStart < end) this.bodyData(bytes, bodyStart, end)
  }

  tunnelBytes(bytes: Buffer, end: number): void {
    this.bodyData(bytes, 0, end)
  }

  tunnelEnded(): void {
    if (!this.closed) this.#owner?.onEnd()
  }
}

/** `noLength`: what is said of the length is not that of the data. */
function answerFields(head: Head, status: number, noLength: boolean): string[] {
  const out = [':status', String(status)]
  for (let i = 0; i < head.headerCount; i++) {
    if (!passesOn(head, i, noLength || status < 200 || status === 204)) continue
    const name = head.name(i)
    // Of the handshake of HTTP/1.1 alone.
    if (name !== 'sec-websocket-accept') out.push(name, head.value(i))
  }
  return out
}

function trailerFields(head: Head): string[] {
  const out: string[] = []
  for (let i = 0; i < head.headerCount; i++) {
    const name = head.name(i)
    if (head.ids[i] === HEADER_OTHER && mayTrail(name)) out.push(name, head.value(i))
  }
  return out
}

function trailerLines(fields: readonly string[]): string {
  let out = ''
  for (let i = 0; i < fields.length; i += 2) {
    if (mayTrail(fields[i] as string)) out += `${fields[i]}: ${fields[i + 1]}\r\n`
  }
  return out
}
