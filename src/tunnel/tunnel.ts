/**
 * The client's end of one tunnel: an HTTP/2 session over mutual TLS to port 15008 of one pod, from dialling to its end.
 * Every connection through it is a CONNECT stream (istio.io/latest/docs/ambient/architecture/hbone).
 */
import type { Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { type ByteStream, type H2Stream, Http2Session, type StreamOwner } from '#http'
import type { Credentials } from './credentials.ts'
import { verifyPeer } from './peer.ts'
import { TlsTransport } from './tls-transport.ts'

/** Called with a stream whose owner is still to be set, or undefined, a negative libuv error and words. */
export type Opened = (status: number, stream: ByteStream | undefined, error: string) => void

export interface TunnelOptions {
  readonly credentials: Credentials
  readonly trustDomain: string
  /** SPIFFE ID that the other end must prove. */
  readonly expected: string
  /** From the first SYN to the first word of the other end's HTTP/2. */
  readonly connectTimeoutMs: number
  readonly now: () => number
  /** Connects a socket to the destination's port 15008. */
  connect(done: (status: number, socket: Socket | undefined, error: string) => void): void
  /** Once, when it takes no further streams; open ones go on. */
  onRetired(tunnel: Tunnel): void
  onClosed(tunnel: Tunnel): void
}

const UV_ECONNREFUSED = -111
const UV_ECONNRESET = -104
const UV_ETIMEDOUT = -110
const UV_EPROTO = -71
const PING_EVERY_MS = 10_000
const PING_TIMEOUT_MS = 20_000
/** From our end of the connection to the peer's. */
const CLOSE_TIMEOUT_MS = 5_000
/** Connections that wait for a tunnel to come up. */
const MAX_WAITING = 10_000

interface Waiting {
  readonly headers: readonly string[]
  readonly done: Opened
}

export class Tunnel {
  readonly #options: TunnelOptions
  #waiting: Waiting[] = []
  #session: Http2Session | undefined
  #socket: Socket | TLSSocket | undefined
  #timer: NodeJS.Timeout | undefined
  #state: 'connecting' | 'open' | 'retired' | 'closed' = 'connecting'
  /** When its last stream ended, in `now()`'s ms. */
  idleSince: number
  #pingAt = 0
  #pingSent = 0

  constructor(options: TunnelOptions) {
    this.#options = options
    this.idleSince = options.now()
    this.#timer = setTimeout(
      () => this.#fail(UV_ETIMEDOUT, 'the tunnel could not be opened in time'),
      options.connectTimeoutMs,
    )
    options.connect((status, socket, error) => this.#connected(status, socket, error))
  }

  /** May `open` be called? */
  get usable(): boolean {
    if (this.#state === 'connecting') return this.#waiting.length < MAX_WAITING
    return this.#state === 'open' && this.#session?.canOpen === true
  }

  get streams(): number {
    return (this.#session?.openStreams ?? 0) + this.#waiting.length
  }

  /** `done` is told when the other end has agreed. */
  open(headers: readonly string[], done: Opened): void {
    if (this.#state === 'connecting') this.#waiting.push({ headers, done })
    else this.#openStream(headers, done)
  }

  /** No further streams; it closes when the last one ends. */
  retire(): void {
    if (this.#state === 'connecting') this.#fail(UV_ECONNRESET, 'the tunnel is not wanted any more')
    if (this.#state !== 'open') return
    this.#state = 'retired'
    this.#options.onRetired(this)
    this.#session?.goaway()
  }

  /** Cuts it, with all its streams. */
  close(why: string): void {
    this.#fail(UV_ECONNRESET, why)
  }

  /** Keeps the connection alive and notices when it is dead. */
  sweep(now: number): void {
    const session = this.#session
    if (session === undefined) return
    session.tick(now)
    if (session.openStreams > 0) this.idleSince = now
    if (this.#pingSent > 0) {
      if (now - this.#pingSent > PING_TIMEOUT_MS) this.close('the other end of the tunnel does not answer')
    } else if (now - this.#pingAt > PING_EVERY_MS && session.openStreams > 0) {
      this.#pingSent = now
      session.ping((alive) => {
        if (!alive) return
        this.#pingSent = 0
        this.#pingAt = this.#options.now()
      })
    }
  }

  #connected(status: number, socket: Socket | undefined, error: string): void {
    if (socket === undefined) {
      this.#fail(status, error)
      return
    }
    if (this.#state !== 'connecting') {
      socket.destroy()
      return
    }
    const { credentials, trustDomain, expected } = this.#options
    this.#socket = socket
    const secure = connectTls({
      socket,
      secureContext: credentials.context,
      ALPNProtocols: ['h2'],
      // Verified below, by SPIFFE ID: there is no host name in it.
      rejectUnauthorized: false,
    })
    this.#socket = secure
    secure.once('error', (thrown) => this.#fail(UV_EPROTO, `TLS with the tunnel's other end failed: ${thrown.message}`))
    secure.once('close', () => this.#fail(UV_ECONNRESET, 'the tunnel was closed'))
    secure.once('secureConnect', () => {
      const peer = verifyPeer(secure, trustDomain)
      if (peer.kind === 'refused') this.#fail(UV_EPROTO, peer.reason)
      else if (peer.identity !== expected) {
        this.#fail(UV_EPROTO, `the tunnel's other end is ${peer.identity}, not ${expected}`)
      } else if (secure.alpnProtocol !== 'h2') this.#fail(UV_EPROTO, "the tunnel's other end does not speak HTTP/2")
      else this.#secured(secure)
    })
  }

  #secured(secure: TLSSocket): void {
    if (this.#state !== 'connecting') return
    const transport = new TlsTransport(secure)
    this.#pingAt = this.#options.now()
    const session = new Http2Session({
      role: 'client',
      transport,
      limits: TUNNEL_LIMITS,
      onSettings: () => this.#settled(),
      onGoaway: () => this.#retiredByPeer(),
      onClose: () => this.#ended(),
    })
    this.#session = session
    transport.attach(session)
  }

  /** How many streams the other end takes is known: the tunnel is open. */
  #settled(): void {
    if (this.#state !== 'connecting') return
    this.#state = 'open'
    clearTimeout(this.#timer)
    for (const { headers, done } of this.#waiting.splice(0)) this.#openStream(headers, done)
  }

  /** The session is over and says what is left to say; then the connection is closed. */
  #ended(): void {
    if (this.#state === 'closed') return
    const before = this.#state
    this.#state = 'closed'
    if (before !== 'retired') this.#options.onRetired(this)
    const socket = this.#socket
    socket?.setTimeout(CLOSE_TIMEOUT_MS, () => socket.destroy())
    this.#options.onClosed(this)
  }

  #retiredByPeer(): void {
    if (this.#state === 'connecting') this.#fail(UV_ECONNREFUSED, "the tunnel's other end takes no connections")
    if (this.#state !== 'open') return
    this.#state = 'retired'
    this.#options.onRetired(this)
  }

  #openStream(headers: readonly string[], done: Opened): void {
    const stream = this.#state === 'open' ? this.#session?.open(headers, false) : undefined
    if (stream === undefined) done(UV_ECONNREFUSED, undefined, 'the tunnel takes no further connections')
    else new Opening(stream, done)
  }

  #fail(status: number, why: string): void {
    if (this.#state === 'closed') return
    const before = this.#state
    this.#state = 'closed'
    clearTimeout(this.#timer)
    this.#socket?.destroy()
    this.#session?.transportClosed()
    if (before !== 'retired') this.#options.onRetired(this)
    for (const { done } of this.#waiting.splice(0)) done(status, undefined, why)
    this.#options.onClosed(this)
  }
}

/** Limits of a tunnel's HTTP/2 session, at either end. */
export const TUNNEL_LIMITS = {
  maxConcurrentStreams: 4096,
  maxOpenStreams: 4096,
  streamWindowBytes: 1024 * 1024,
  connectionWindowBytes: 16 * 1024 * 1024,
  maxQueuedBytes: 16 * 1024 * 1024,
  // A reader that stalls holds its writer for as long as it likes: the streams are other people's connections.
  stallTimeoutMs: Number.POSITIVE_INFINITY,
  // Clients that give up in numbers are no reason to end the tunnel of all the others.
  resets: { burst: 4096, perSecond: 1000 },
} as const

/** A CONNECT that was sent and not yet answered. */
class Opening implements StreamOwner {
  readonly #stream: H2Stream
  readonly #done: Opened
  #over = false

  constructor(stream: H2Stream, done: Opened) {
    this.#stream = stream
    this.#done = done
    stream.owner = this
  }

  onHeaders(headers: readonly string[]): void {
    const status = headers[0] === ':status' ? Number(headers[1]) : 0
    if (this.#over || (status >= 100 && status < 200)) return
    this.#over = true
    if (status === 200) {
      this.#done(0, this.#stream, '')
      return
    }
    const reason = headers[headers.indexOf('x-weir-reason') + 1]
    const words = headers.includes('x-weir-reason') && reason !== undefined ? `: ${reason}` : ''
    this.#stream.close()
    this.#done(UV_ECONNREFUSED, undefined, `the tunnel's other end answered ${status}${words}`)
  }

  onData(): void {}
  onEnd(): void {}
  onDrain(): void {}

  onClose(status: number): void {
    if (this.#over) return
    this.#over = true
    this.#done(status === 0 ? UV_ECONNRESET : status, undefined, 'the tunnel refused the connection')
  }
}
