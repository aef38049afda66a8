/**
 * HTTP/2 sessions with the server of one upstream pool. Requests share as few sessions as the server's
 * MAX_CONCURRENT_STREAMS allows; whoever comes while one is being opened waits for it. A session that is told to go away
 * takes nothing new, and closes with its last stream.
 */
import {
  type ByteStream,
  type H2Stream,
  Http2Session,
  type Http2StreamOwner,
  h2ErrorName,
  type StreamOwner,
} from '#http'
import type { Dialer } from './dialer.ts'
import type { CountedConnection, Flow } from './flow.ts'
import { clientLimits } from './http2-limits.ts'
import type { Outgoing } from './outgoing-stream.ts'
import { StreamTransport } from './stream-transport.ts'

/** The session is there and full: the request is to look for room again. */
export const STATUS_AGAIN = -11
const UV_EPROTO = -71
/** As the engine closes a stream that the server has not looked at. */
export const STATUS_REFUSED = -111
/** Requests that wait for one session, until it has said how many it takes. */
const PRESUMED_STREAMS = 100

export interface SessionLimits {
  readonly maxHeadBytes: number
  readonly connectTimeoutMs: number
}

export class UpstreamSession implements StreamOwner, CountedConnection, Outgoing {
  readonly stream: ByteStream
  readonly session: Http2Session
  counted: Flow | undefined
  /** Since when no stream is open, in `now()`'s ms. */
  idleSince = 0
  /** The server has said what it takes. */
  settled = false
  reused = false
  #opened = 0
  readonly #sessions: UpstreamSessions

  constructor(stream: ByteStream, sessions: UpstreamSessions) {
    this.stream = stream
    this.#sessions = sessions
    this.session = new Http2Session({
      role: 'client',
      transport: new StreamTransport(stream),
      limits: clientLimits(sessions.limits.maxHeadBytes, sessions.limits.connectTimeoutMs),
      onSettings: () => {
        if (!this.settled) {
          this.settled = true
          sessions.settled(this)
        }
        this.counted?.wakeWhile(() => this.takes)
      },
      onGoaway: (_lastStream, code) => {
        if (!this.settled) this.#failed(`it takes no requests: ${h2ErrorName(code)}`)
      },
      onClose: (_code, problem) => this.#failed(problem),
    })
    stream.owner = this
    stream.resume()
  }

  /** A further stream may be opened. */
  get takes(): boolean {
    return this.settled && this.session.canOpen
  }

  get idle(): boolean {
    return this.settled && this.session.openStreams === 0
  }

  takesUpgrade(): boolean {
    return this.session.peerTakesExtendedConnect
  }

  /** Streams end by themselves. */
  over(): void {}

  /** Undefined when it takes none any more. */
  open(headers: readonly string[], endStream: boolean, owner: Http2StreamOwner): H2Stream | undefined {
    const stream = this.session.open(headers, endStream)
    if (stream === undefined) return undefined
    stream.owner = owner
    if (++this.#opened > 1) this.reused = true
    return stream
  }

  /** Nothing new; what is open goes on. */
  retire(): void {
    this.session.goaway()
  }

  #failed(problem: string): void {
    if (this.settled) return
    this.settled = true
    this.#sessions.failed(this, problem)
  }

  onData(bytes: Buffer, length: number): void {
    this.session.receive(bytes, length)
  }

  onEnd(): void {
    this.stream.close()
  }

  onDrain(): void {
    this.session.drained()
  }

  onClose(): void {
    this.session.transportClosed()
    this.#sessions.forget(this)
  }
}

/** Called with a session that takes a stream now; or undefined, and why. */
export type SessionReady = (session: UpstreamSession | undefined, status: number, error: string) => void

export class UpstreamSessions {
  readonly limits: SessionLimits
  readonly #dialer: Dialer
  #all: UpstreamSession[] = []
  #waiting: SessionReady[] = []
  /** Sessions that are being opened. */
  #opening = 0
  #streamsEach = PRESUMED_STREAMS
  #closed = false

  constructor(dialer: Dialer, limits: SessionLimits) {
    this.#dialer = dialer
    this.limits = limits
  }

  get size(): number {
    return this.#all.length + this.#opening
  }

  /** One with room: the first, so that others can go when fewer are needed. */
  take(): UpstreamSession | undefined {
    for (let i = 0; i < this.#all.length; i++) {
      const session = this.#all[i] as UpstreamSession
      if (session.takes) return session
    }
    return undefined
  }

  /** What is being opened has room for one more request: no further connection is needed for it. */
  get joinable(): boolean {
    return this.#waiting.length < this.#opening * this.#streamsEach
  }

  /** Waits for a session, and dials one where none is `joinable`; that one is counted in `flow`. */
  connect(flow: Flow | undefined, done: SessionReady): void {
    const joins = this.joinable
    this.#waiting.push(done)
    if (joins) return
    this.#dropUseless()
    this.#opening++
    this.#dialer.dial((status, stream, error) => {
      if (stream === undefined) {
        flow?.connected(undefined)
        this.#opening--
        this.#tell(status, error)
      } else this.#begin(stream, flow)
    })
  }

  /** A server that takes less and less shall not make us hold a connection for each request that it took. */
  #dropUseless(): void {
    for (const session of this.#all) if (session.idle && !session.takes) session.stream.close()
  }

  /** Takes in a connection that was made for something else and has carried nothing yet. */
  adopt(stream: ByteStream): void {
    if (stream.closed) return
    // One session is enough, where there is one by now.
    if (this.size > 0) {
      stream.close()
      return
    }
    this.#opening++
    this.#begin(stream, undefined)
  }

  #begin(stream: ByteStream, flow: Flow | undefined): void {
    const session = new UpstreamSession(stream, this)
    this.#all.push(session)
    flow?.connected(session)
  }

  settled(session: UpstreamSession): void {
    this.#opening--
    const { maxConcurrentStreams } = session.session.peer
    this.#streamsEach = Math.max(1, Math.min(maxConcurrentStreams, session.session.limits.maxOpenStreams))
    let served = 0
    while (this.#waiting.length > 0 && session.takes) {
      served++
      this.#waiting.shift()?.(session, 0, '')
    }
    if (this.#closed) session.retire()
    if (this.#opening > 0) return
    if (served > 0 || this.#waiting.length === 0) this.#tell(STATUS_AGAIN, '')
    else this.#tell(STATUS_REFUSED, 'the upstream takes no HTTP/2 streams')
  }

  failed(_session: UpstreamSession, problem: string): void {
    this.#opening--
    this.#tell(UV_EPROTO, `the upstream does not speak HTTP/2: ${problem}`)
  }

  /** Those who wait, unless another session is on its way. */
  #tell(status: number, error: string): void {
    if (this.#opening > 0) return
    for (const done of this.#waiting.splice(0)) done(undefined, status, error)
  }

  forget(session: UpstreamSession): void {
    this.#all = this.#all.filter((other) => other !== session)
    const { counted } = session
    session.counted = undefined
    counted?.connectionGone(session)
  }

  /** Time passes; sessions idle since before `idleSince` close. */
  sweep(now: number, idleSince: number): void {
    for (const session of this.#all) {
      session.session.tick(now)
      if (!session.idle) session.idleSince = now
      else if (session.idleSince < idleSince) session.retire()
    }
  }

  /** Nothing new on what is open now. */
  retire(): void {
    for (const session of this.#all) session.retire()
  }

  close(): void {
    this.#closed = true
    this.retire()
  }
}
