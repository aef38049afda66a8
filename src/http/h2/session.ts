/**
 * One HTTP/2 connection, either role (RFC 9113): it knows no socket and no clock. Bytes come in by
 * `receive`, leave by `transport.write` once per turn of the event loop, and time passes by `tick`.
 * Members from `transport` on are the engine's own.
 */
import {
  H2_ENHANCE_YOUR_CALM,
  H2_FLOW_CONTROL_ERROR,
  H2_NO_ERROR,
  H2_PROTOCOL_ERROR,
  H2_REFUSED_STREAM,
  H2_SETTINGS_TIMEOUT,
  STATUS_PROTOCOL,
  STATUS_RESET,
  STATUS_TIMED_OUT,
} from './errors.ts'
import { DEFAULT_WINDOW_BYTES, FrameReader, MAX_STREAM_ID, PREFACE } from './frames.ts'
import { Inbound } from './inbound.ts'
import { type Http2Limits, resolveLimits } from './limits.ts'
import { Outbound } from './outbound.ts'
import { Pings } from './pings.ts'
import type { Http2SessionOptions, Http2Transport } from './session-options.ts'
import { type Http2Role, ownSettings, PeerSettings } from './settings.ts'
import { H2Stream } from './stream.ts'
import { StreamTable } from './stream-table.ts'

/** How long the first GOAWAY of two waits for the peer's PING. */
const GOAWAY_STEP_MS = 1000

export class Http2Session {
  readonly role: Http2Role
  readonly limits: Http2Limits
  /** Not over: streams may live on, though new ones may be refused. */
  alive = true
  readonly peer = new PeerSettings()

  readonly transport: Http2Transport
  readonly streams: StreamTable
  readonly outbound: Outbound
  readonly onStream: (stream: H2Stream, headers: readonly string[], endStream: boolean) => void
  readonly onMalformed: (problem: string) => void
  /** Since the first tick. */
  nowMs = 0
  /** Queued for paused streams. */
  queuedBytes = 0
  /** Bytes by which windows of streams may still grow. */
  growthLeft: number
  /** Windows are given back by halves. */
  readonly connectionCreditBytes: number
  /** Streams above the one named by our last GOAWAY are not looked at. */
  refusing = false
  readonly #options: Http2SessionOptions
  readonly #inbound: Inbound
  readonly #reader: FrameReader
  readonly #flush = (): void => {
    this.#scheduled = false
    this.#work()
  }
  /** Within `#work`, at whose end everything leaves anyway. */
  #working = false
  #scheduled = false
  /** Bytes of the client's preface still to come. */
  #prefaceLeft: number
  #clockMs: number | undefined
  #draining = false
  #goawayStepMs = -1
  #lastServed = 0
  #peerLastStream = -1
  #settingsReceived = false
  #settingsAcknowledged = false
  readonly #pings = new Pings()
  #ended = false
  #endedMs = -1
  #gone = false

  constructor(options: Http2SessionOptions) {
    this.#options = options
    this.role = options.role
    this.transport = options.transport
    this.limits = resolveLimits(options.limits ?? {})
    this.onMalformed = options.onMalformed ?? (() => undefined)
    this.onStream = options.onStream ?? ((stream) => stream.reset(H2_REFUSED_STREAM))
    this.growthLeft = this.limits.windowGrowthBytes
    this.connectionCreditBytes = this.limits.connectionWindowBytes >>> 1
    this.streams = new StreamTable(this)
    this.outbound = new Outbound(this)
    this.#inbound = new Inbound(this)
    this.#reader = new FrameReader(this.#inbound)
    this.#prefaceLeft = this.role === 'server' ? PREFACE.length : 0
    if (this.role === 'client') this.outbound.preface()
    this.outbound.settings(ownSettings(this.role, this.limits))
    const more = this.limits.connectionWindowBytes - DEFAULT_WINDOW_BYTES
    if (more > 0) this.outbound.windowUpdate(0, more)
  }

  /** Streams not closed, of either side's opening. */
  get openStreams(): number {
    return this.streams.size
  }

  /** Client: `open` would give a stream. */
  get canOpen(): boolean {
    return (
      this.role === 'client' &&
      this.alive &&
      !this.#draining &&
      this.#peerLastStream < 0 &&
      this.streams.size < this.peer.maxConcurrentStreams &&
      this.streams.size < this.limits.maxOpenStreams &&
      this.streams.nextOwn !== 0
    )
  }

  /** The server takes extended CONNECT (RFC 8441). */
  get peerTakesExtendedConnect(): boolean {
    return this.peer.connectProtocol
  }

  /** Client: a new stream, its owner to be set at once; undefined when none may be opened. */
  open(headers: readonly string[], endStream: boolean): H2Stream | undefined {
    if (!this.canOpen) return undefined
    let connect = false
    let head = false
    for (let i = 0; i < headers.length; i += 2) {
      const name = headers[i] as string
      if (name.charCodeAt(0) !== 58) break
      if (name === ':method') {
        connect = headers[i + 1] === 'CONNECT'
        head = headers[i + 1] === 'HEAD'
      } else if (name === ':protocol') {
        connect = false
        break
      }
    }
    const stream = new H2Stream(this, this.streams.takeOwn(), connect, true)
    stream.bodiless = head
    stream.writeEnded = endStream
    this.streams.add(stream)
    this.outbound.headers(stream, headers, endStream)
    return stream
  }

  /** Bytes from the peer, cut anywhere; valid only during the call. */
  receive(bytes: Buffer, length: number): void {
    if (!this.alive) return
    let start = 0
    while (this.#prefaceLeft > 0 && start < length) {
      if (bytes[start++] !== PREFACE[PREFACE.length - this.#prefaceLeft--]) {
        this.fail(H2_PROTOCOL_ERROR, 'no HTTP/2 preface')
        return
      }
    }
    if (start < length) this.#reader.read(bytes, start, length)
    if (this.outbound.backlog > this.limits.maxBacklogBytes) {
      this.fail(H2_ENHANCE_YOUR_CALM, 'the peer does not read what it asks for')
    }
  }

  /** The transport takes writes again. */
  drained(): void {
    this.outbound.taken()
    this.#work()
  }

  /** The transport is closed, in whatever way. */
  transportClosed(): void {
    this.#gone = true
    this.#over(H2_NO_ERROR, 'the connection was closed', STATUS_RESET)
  }

  /**
   * No new streams; those open go on, and with the last of them the session ends. A server tells in two steps, so that
   * requests on their way are not lost (RFC 9113 section 6.8); with an error code, in one.
   */
  goaway(code: number = H2_NO_ERROR): void {
    if (!this.alive || this.#draining) return
    this.#draining = true
    if (this.role === 'client' || code !== H2_NO_ERROR) {
      this.#lastGoaway(code)
      return
    }
    this.outbound.goaway(MAX_STREAM_ID, H2_NO_ERROR, '')
    this.#goawayStepMs = this.nowMs
    this.ping(() => this.#goawayStepped())
  }

  #goawayStepped(): void {
    if (this.#goawayStepMs < 0 || !this.alive) return
    this.#goawayStepMs = -1
    this.#lastGoaway(H2_NO_ERROR)
  }

  #lastGoaway(code: number): void {
    this.refusing = true
    this.#lastServed = this.streams.lastPeerStream
    this.outbound.goaway(this.#lastServed, code, '')
    this.finishIfDone()
  }

  /** Ends the session and its streams at once, with a GOAWAY. */
  close(code: number = H2_NO_ERROR): void {
    if (!this.alive) return
    this.#sayGoodbye(code, '')
    this.#over(code, 'closed by ourselves', STATUS_RESET)
  }

  /** Calls back when the peer has answered, or with false when the session is over before. */
  ping(done: (alive: boolean) => void): void {
    if (!this.alive) {
      done(false)
      return
    }
    this.outbound.ping(this.#pings.add(done), 0, false)
  }

  /** Time passes: any monotonic clock; call it about once a second. Refills rates, enforces time limits. */
  tick(clockMs: number): void {
    const elapsedMs = this.#clockMs === undefined ? 0 : clockMs - this.#clockMs
    this.#clockMs = clockMs
    this.nowMs += elapsedMs
    if (this.#gone) return
    const { transportTimeoutMs, settingsTimeoutMs, closeTimeoutMs } = this.limits
    const stuck = this.outbound.busy && this.nowMs - this.outbound.busySinceMs >= transportTimeoutMs
    if (stuck || (!this.alive && this.nowMs - this.#endedMs >= closeTimeoutMs)) this.#destroy()
    if (!this.alive) return
    this.#inbound.refill(elapsedMs)
    if (!(this.#settingsAcknowledged && this.#settingsReceived) && this.nowMs >= settingsTimeoutMs) {
      this.fail(H2_SETTINGS_TIMEOUT, this.#settingsReceived ? 'SETTINGS not acknowledged' : 'no SETTINGS')
      return
    }
    if (this.#goawayStepMs >= 0 && this.nowMs - this.#goawayStepMs >= GOAWAY_STEP_MS) this.#goawayStepped()
    this.streams.tick(elapsedMs)
  }

  #destroy(): void {
    this.#gone = true
    this.transport.destroy()
    this.#over(H2_NO_ERROR, 'the peer does not read', STATUS_TIMED_OUT)
  }

  schedule(): void {
    if (this.#scheduled || this.#working || this.#gone) return
    this.#scheduled = true
    this.transport.schedule(this.#flush)
  }

  #work(): void {
    if (this.#working || this.#gone) return
    this.#working = true
    try {
      this.streams.turn()
      this.outbound.flush()
    } finally {
      this.#working = false
    }
    if (this.#gone) return
    const idle = !this.outbound.busy && this.outbound.backlog === 0
    if (this.streams.waking || !(idle || this.outbound.busy)) this.schedule()
    else if (idle && !this.alive && !this.#ended) {
      this.#ended = true
      this.transport.end()
    }
  }

  /** More (or less) is queued for paused streams. */
  queued(change: number): void {
    this.queuedBytes += change
    if (change < 0) this.#inbound.data.credit()
  }

  /** A connection error (RFC 9113 section 5.4.1): GOAWAY, and all streams are closed. */
  fail(code: number, problem: string): void {
    if (!this.alive) return
    this.#sayGoodbye(code, problem)
    this.#over(code, problem, STATUS_PROTOCOL)
  }

  /** The stream named in a GOAWAY is never above one named before. */
  #sayGoodbye(code: number, problem: string): void {
    this.outbound.goaway(this.refusing ? this.#lastServed : this.streams.lastPeerStream, code, problem)
  }

  #over(code: number, problem: string, status: number): void {
    if (!this.alive) return
    this.alive = false
    this.#endedMs = this.nowMs
    this.streams.closeAll(status)
    this.#pings.abandon()
    this.schedule()
    this.#options.onClose?.(code, problem)
  }

  /** The last stream has gone of a session that takes no new ones. */
  finishIfDone(): void {
    if (this.streams.size > 0 || !this.alive) return
    if (this.refusing || this.#peerLastStream >= 0) this.#over(H2_NO_ERROR, '', 0)
  }

  peerSettings(bytes: Buffer, start: number, end: number): boolean {
    const peer = this.peer
    const before = peer.initialWindowBytes
    if (!peer.apply(bytes, start, end, this.role)) {
      this.fail(peer.code, peer.problem)
      return false
    }
    this.#settingsReceived = true
    this.outbound.encoder.setMaxTableBytes(peer.headerTableBytes)
    const change = peer.initialWindowBytes - before
    if (change !== 0 && !this.streams.moveWindows(change)) {
      this.fail(H2_FLOW_CONTROL_ERROR, 'stream window overflow by SETTINGS')
      return false
    }
    this.outbound.settingsAck()
    this.#options.onSettings?.()
    return this.alive
  }

  settingsAcknowledged(): void {
    this.#settingsAcknowledged = true
  }

  pinged(mark: number, serial: number): void {
    this.#pings.answered(mark, serial)
  }

  peerGoaway(lastStream: number, code: number): boolean {
    if (this.#peerLastStream >= 0 && lastStream > this.#peerLastStream) {
      this.fail(H2_PROTOCOL_ERROR, 'GOAWAY with a larger stream identifier than before')
      return false
    }
    this.#peerLastStream = lastStream
    if (this.role === 'client') this.streams.refusedAbove(lastStream)
    this.#options.onGoaway?.(lastStream, code)
    this.finishIfDone()
    return this.alive
  }
}
