/**
 * Upstream HTTP/1.1 connections and the pools of all that leads to one destination. A pool belongs to one (pod whose traffic it is, network
 * namespace it leaves from, source address, destination): nothing is shared between identities, and it
 * dies with either pod. A connection serves one exchange at a time and tells its client what it reads.
 */
import { BodyReader, type ByteStream, Head, PARSE_BAD, PARSE_DONE, type StreamOwner } from '#http'
import type { Dialer } from './dialer.ts'
import type { CountedConnection, Flow } from './flow.ts'
import { Http1OverHttp2 } from './http1-over-http2.ts'
import { type UpstreamSession, UpstreamSessions } from './upstream-sessions.ts'

/** The exchange an upstream connection works for. */
export interface UpstreamClient {
  /** A response head is in `upstream.head`; its body, if any, begins at `bytes[bodyStart]`. */
  responseHead(upstream: UpstreamConnection, bytes: Buffer, bodyStart: number, end: number): void
  /** More of the response's body. */
  responseBytes(upstream: UpstreamConnection, bytes: Buffer, start: number, end: number): void
  /** Upstream ended or failed before the exchange was complete. `status`: 0 for an orderly end. */
  upstreamClosed(upstream: UpstreamConnection, status: number): void
  upstreamMalformed(upstream: UpstreamConnection, problem: string): void
  /** What was written upstream has been taken. */
  upstreamDrained(): void
  /** Bytes after an upgrade. */
  tunnelBytes(bytes: Buffer, end: number): void
  tunnelEnded(): void
}

const IDLE = 0
const AWAIT_HEAD = 1
const BODY = 2
const TUNNEL = 3

export class UpstreamConnection implements StreamOwner, CountedConnection {
  readonly stream: ByteStream
  readonly pool: UpstreamPool
  /** Of the pool, when this was made. */
  readonly generation: number
  readonly head: Head
  readonly body: BodyReader
  client: UpstreamClient | undefined
  /** Has already served an exchange: an early close may be the keep-alive race. */
  reused = false
  /** Bytes of the present exchange's response have arrived. */
  answered = false
  idleSince = 0
  counted: Flow | undefined
  #state = IDLE
  #partial: Buffer | undefined

  constructor(stream: ByteStream, pool: UpstreamPool) {
    this.pool = pool
    this.generation = pool.generation
    this.head = new Head(pool.limits.maxHeadBytes, pool.limits.maxHeaders)
    this.body = new BodyReader(pool.limits.maxHeadBytes, pool.limits.maxHeaders)
    this.stream = stream
    stream.owner = this
    stream.resume()
  }

  get idle(): boolean {
    return this.client === undefined
  }

  /** Behind the answer just read there may be another: both sides have said so (RFC 9112 section 9.3). */
  get persists(): boolean {
    const { head, body, stream } = this
    return (
      body.mode !== 'close' &&
      !head.connectionClose &&
      (head.minor === 1 || head.connectionKeepAlive) &&
      !stream.readEnded
    )
  }

  /** Begins an exchange: the response read next is for this client. */
  begin(client: UpstreamClient): void {
    this.client = client
    this.answered = false
    this.#state = AWAIT_HEAD
  }

  /** The head just read was interim (1xx): the next one follows. */
  awaitFinalHead(): void {
    this.#state = AWAIT_HEAD
  }

  beginBody(): void {
    this.#state = BODY
  }

  beginTunnel(): void {
    this.#state = TUNNEL
  }

  /** The exchange is over and the connection may serve another. */
  release(now: number): void {
    this.client = undefined
    this.#state = IDLE
    this.reused = true
    this.idleSince = now
    this.pool.release(this)
  }

  /** The exchange is over and the connection with it. */
  discard(): void {
    this.client = undefined
    this.stream.close()
  }

  onData(bytes: Buffer, length: number): void {
    const client = this.client
    if (client === undefined) {
      // Bytes nobody asked for: the connection cannot be trusted any more.
      this.stream.close()
      return
    }
    this.answered = true
    if (this.#state === BODY) client.responseBytes(this, bytes, 0, length)
    else if (this.#state === TUNNEL) client.tunnelBytes(bytes, length)
    else this.readHead(bytes, 0, length)
  }

  readHead(bytes: Buffer, start: number, end: number): void {
    const client = this.client
    if (client === undefined) return
    let source = bytes
    let from = start
    let to = end
    if (this.#partial !== undefined) {
      source = Buffer.concat([this.#partial, bytes.subarray(start, end)])
      this.#partial = undefined
      from = 0
      to = source.length
    }
    const result = this.head.parseResponse(source, from, to)
    if (result === PARSE_DONE) client.responseHead(this, source, from + this.head.length, to)
    else if (result === PARSE_BAD) client.upstreamMalformed(this, this.head.problem)
    else if (to - from > this.pool.limits.maxHeadBytes) client.upstreamMalformed(this, 'response head too large')
    else this.#partial = Buffer.from(source.subarray(from, to))
  }

  onEnd(): void {
    const client = this.client
    if (client === undefined) this.stream.close()
    else if (this.#state === TUNNEL) client.tunnelEnded()
    else client.upstreamClosed(this, 0)
  }

  onDrain(): void {
    this.client?.upstreamDrained()
  }

  onClose(status: number): void {
    this.pool.forget(this)
    const client = this.client
    this.client = undefined
    client?.upstreamClosed(this, status)
  }
}

export interface UpstreamLimits {
  readonly maxHeadBytes: number
  readonly maxHeaders: number
  readonly connectTimeoutMs: number
}

/** Called with a connection, or undefined and why. */
export type Connected = (connection: UpstreamConnection | undefined, status: number, error: string) => void

export class UpstreamPool {
  readonly dialer: Dialer
  readonly limits: UpstreamLimits
  readonly #idle: UpstreamConnection[] = []
  readonly #all = new Set<UpstreamConnection>()
  #sessions: UpstreamSessions | undefined
  /** Connections that are being made. */
  #dialling = 0
  closed = false
  generation = 0

  constructor(dialer: Dialer, limits: UpstreamLimits) {
    this.dialer = dialer
    this.limits = limits
  }

  /** An idle connection, most recently used first; undefined if there is none. */
  idle(): UpstreamConnection | undefined {
    return this.#idle.pop()
  }

  get idleCount(): number {
    return this.#idle.length
  }

  /** Connections of both versions, those that are being made too. */
  get size(): number {
    return this.#all.size + this.#dialling + (this.#sessions?.size ?? 0)
  }

  /** Of HTTP/2, to the same destination. */
  get sessions(): UpstreamSessions {
    if (this.#sessions === undefined) {
      this.#sessions = new UpstreamSessions(this.dialer, this.limits)
      if (this.closed) this.#sessions.close()
    }
    return this.#sessions
  }

  connect(done: Connected): void {
    this.#dialling++
    this.dialer.dial((status, stream, error) => {
      this.#dialling--
      if (stream === undefined) done(undefined, status, error)
      else {
        const connection = new UpstreamConnection(stream, this)
        this.#all.add(connection)
        done(connection, 0, '')
      }
    })
  }

  /**
   * Takes in a connection that was made for something else and has carried nothing yet. Those that have are used first;
   * where they are enough it closes at the next sweep.
   */
  adopt(stream: ByteStream): void {
    if (stream.closed) return
    const connection = new UpstreamConnection(stream, this)
    this.#all.add(connection)
    if (this.closed || stream.readEnded) stream.close()
    else this.#idle.unshift(connection)
  }

  release(connection: UpstreamConnection): void {
    if (connection.stream.closed) return
    if (this.closed || connection.stream.readEnded || connection.generation !== this.generation)
      connection.stream.close()
    else this.#idle.push(connection)
  }

  forget(connection: UpstreamConnection): void {
    this.#all.delete(connection)
    const index = this.#idle.indexOf(connection)
    if (index >= 0) this.#idle.splice(index, 1)
    const { counted } = connection
    connection.counted = undefined
    counted?.connectionGone(connection)
  }

  /** A request of HTTP/1.1 through one stream of a session. */
  bridge(session: UpstreamSession | undefined): UpstreamConnection | undefined {
    if (session === undefined) return undefined
    return new UpstreamConnection(new Http1OverHttp2(session, this.limits), this)
  }

  /** Time passes; what is idle since before `since` closes. */
  sweep(now: number, since: number): void {
    this.#sessions?.sweep(now, since)
    while (this.#idle.length > 0 && (this.#idle[0] as UpstreamConnection).idleSince < since) {
      ;(this.#idle[0] as UpstreamConnection).stream.close()
    }
  }

  /** Connections made so far serve no further exchange: idle ones close, busy ones when they finish. */
  renew(): void {
    this.generation++
    this.#sessions?.retire()
    for (const connection of this.#idle.slice()) connection.stream.close()
  }

  /** No new exchanges; idle connections close, busy ones finish. */
  close(): void {
    this.closed = true
    this.#sessions?.close()
    for (const connection of this.#idle.slice()) connection.stream.close()
  }
}
