/**
 * The client's end of one tunnel: an HTTP/2 session over mutual TLS to port 15008 of one pod, from dialling to its end.
 * Every connection through it is a CONNECT stream (istio.io/latest/docs/ambient/architecture/hbone).
 */
import type { Socket } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { H2_NO_ERROR, Http2Session, h2ErrorName } from '#http'
import type { Credentials } from './credentials.ts'
import { KeepAlive } from './keep-alive.ts'
import { TUNNEL_LIMITS } from './limits.ts'
import { type Opened, Opening } from './opening.ts'
import { verifyPeer } from './peer.ts'
import type { CertificateName } from './revoked-certificates.ts'
import { tlsProblem } from './tls-problem.ts'
import { TlsTransport } from './tls-transport.ts'

/** A connection that waits for its tunnel. */
export interface Wanted {
  readonly headers: readonly string[]
  readonly done: Opened
}

export interface TunnelOptions {
  readonly credentials: Credentials
  readonly trustDomain: string
  /** SPIFFE ID that the other end must prove. */
  readonly expected: string
  /** From the first SYN to the first word of the other end's HTTP/2; likewise for the answer to a CONNECT. */
  readonly connectTimeoutMs: number
  readonly now: () => number
  /** Connects a socket to the destination's port 15008. */
  connect(done: (status: number, socket: Socket | undefined, error: string) => void): void
  /** It takes no further streams; open ones go on. Again when one that was under way then has come up. */
  onRetired(tunnel: Tunnel): void
  /** The other end takes fewer streams at once than were waiting: these need another tunnel. */
  onOverflow(wanted: readonly Wanted[]): void
  onClosed(tunnel: Tunnel): void
}

const UV_ECONNREFUSED = -111
const UV_ECONNRESET = -104
const UV_ETIMEDOUT = -110
const UV_EPROTO = -71
/** What is said at the end must have left, and the other end closed, within this. */
const CLOSE_TIMEOUT_MS = 5_000
/** Connections that wait for a tunnel to come up. */
const MAX_WAITING = 10_000

export class Tunnel {
  readonly #options: TunnelOptions
  #waiting: Wanted[] = []
  /** CONNECTs not yet answered, oldest first. */
  readonly #openings = new Set<Opening>()
  #session: Http2Session | undefined
  #keepAlive: KeepAlive | undefined
  /** Until when both ends' certificates last, ms since the epoch. */
  #validToMs = Number.POSITIVE_INFINITY
  #peer: readonly CertificateName[] = []
  #socket: Socket | TLSSocket | undefined
  #timer: NodeJS.Timeout | undefined
  /** `ended`: the session is over, and its last words are on their way. */
  #state: 'connecting' | 'open' | 'retired' | 'ended' | 'closed' = 'connecting'
  /** While connecting: those who wait are served, and nobody else. */
  #unwanted = false
  /** When its last stream ended, in `now()`'s ms. */
  idleSince: number

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
    if (this.#state === 'connecting') return !this.#unwanted && this.#waiting.length < MAX_WAITING
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
    if (this.#state === 'connecting') {
      if (this.#unwanted) return
      this.#unwanted = true
      this.#options.onRetired(this)
    } else if (this.#state === 'open') {
      this.#state = 'retired'
      this.#options.onRetired(this)
      this.#session?.goaway()
    }
  }

  /** Cuts it, with all its streams; what they had already written still leaves. */
  close(why: string): void {
    if (this.#state === 'connecting') this.#fail(UV_ECONNRESET, why)
    if (this.#state === 'closed') return
    this.#session?.close()
    // Nobody sweeps the tunnels of a pod that is gone.
    setTimeout(() => this.#fail(UV_ECONNRESET, why), CLOSE_TIMEOUT_MS).unref()
  }

  /** The other end may have been revoked since the handshake. */
  cutIfRevoked(): void {
    const why = this.#options.credentials.refusal(this.#peer)
    if (why !== undefined) this.#fail(UV_ECONNRESET, why)
  }

  /** Keeps the connection alive, and notices when it is dead. */
  sweep(now: number): void {
    const session = this.#session
    if (session === undefined) return
    session.tick(now)
    if (this.streams > 0) this.idleSince = now
    // What is under way may end; nothing begins under a certificate that has ended.
    if (Date.now() >= this.#validToMs) this.retire()
    if (this.#keepAlive?.check(now) === false) {
      this.#fail(UV_ETIMEDOUT, 'the other end of the tunnel does not answer')
      return
    }
    for (const opening of this.#openings) {
      if (now - opening.since < this.#options.connectTimeoutMs) break
      this.#openings.delete(opening)
      opening.expire()
      // Is it the tunnel? Then the next ones try another.
      if (this.#keepAlive?.asking === true) this.retire()
      else this.#keepAlive?.ask(now)
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
    const secure = connectTls({
      socket,
      secureContext: credentials.context,
      ALPNProtocols: ['h2'],
      // Verified below, by SPIFFE ID: there is no host name in it.
      rejectUnauthorized: false,
    })
    this.#socket = secure
    secure.on('error', (thrown) =>
      this.#fail(UV_EPROTO, `TLS with the tunnel's other end failed: ${tlsProblem(thrown)}${credentials.blame}`),
    )
    secure.once('close', () => this.#fail(UV_ECONNRESET, `the tunnel's other end closed it${credentials.blame}`))
    secure.once('secureConnect', () => {
      const peer = verifyPeer(secure, trustDomain, credentials)
      if (peer.kind === 'refused') this.#fail(UV_EPROTO, peer.reason)
      else if (peer.identity !== expected) {
        this.#fail(UV_EPROTO, `the tunnel's other end is ${peer.identity}, not ${expected}`)
      } else if (secure.alpnProtocol !== 'h2') this.#fail(UV_EPROTO, "the tunnel's other end does not speak HTTP/2")
      else {
        this.#peer = peer.chain
        this.#validToMs = Math.min(peer.validToMs, credentials.validToMs)
        this.#secured(secure)
      }
    })
  }

  #secured(secure: TLSSocket): void {
    if (this.#state !== 'connecting') return
    const transport = new TlsTransport(secure)
    const session = new Http2Session({
      role: 'client',
      transport,
      limits: TUNNEL_LIMITS,
      onSettings: () => this.#settled(),
      onGoaway: (_lastStream, code) => this.#retiredByPeer(code),
      onClose: (_code, problem) => this.#ended(problem),
    })
    this.#session = session
    this.#keepAlive = new KeepAlive(session, this.#options.now())
    transport.attach(session)
  }

  /** How many streams the other end takes is known: the tunnel is open. */
  #settled(): void {
    if (this.#state !== 'connecting') return
    this.#state = 'open'
    clearTimeout(this.#timer)
    const waiting = this.#waiting
    this.#waiting = []
    let opened = 0
    while (opened < waiting.length && this.#session?.canOpen === true) {
      const { headers, done } = waiting[opened++] as Wanted
      this.#openStream(headers, done)
    }
    if (this.#unwanted) {
      this.#state = 'retired'
      this.#session?.goaway()
    }
    const rest = waiting.slice(opened)
    if (opened > 0) this.#options.onOverflow(rest)
    else for (const { done } of rest) done(UV_ECONNREFUSED, undefined, "the tunnel's other end takes no connections")
  }

  #retiredByPeer(code: number): void {
    if (this.#state === 'connecting') {
      this.#fail(UV_ECONNREFUSED, `the tunnel's other end takes no connections${said(code)}`)
    }
    if (this.#state !== 'open') return
    this.#state = 'retired'
    this.#options.onRetired(this)
  }

  #openStream(headers: readonly string[], done: Opened): void {
    const stream = this.#state === 'open' ? this.#session?.open(headers, false) : undefined
    if (stream === undefined) {
      done(UV_ECONNREFUSED, undefined, 'the tunnel takes no further connections')
      return
    }
    const opening = new Opening(stream, this.#options.now(), (status, opened, error) => {
      this.#openings.delete(opening)
      done(status, opened, error)
      // Asked for before the tunnel was retired, it is not to be kept for later either.
      if (opened !== undefined && this.#state === 'retired') this.#options.onRetired(this)
    })
    this.#openings.add(opening)
  }

  /** The session is over; what it has left to say is written, then the connection is closed. */
  #ended(problem: string): void {
    if (this.#state === 'ended' || this.#state === 'closed') return
    if (problem === '' && this.#state === 'connecting') this.#fail(UV_ECONNRESET, "the tunnel's other end closed it")
    else this.#leave('ended', UV_EPROTO, `the tunnel's HTTP/2 failed: ${problem}`)
  }

  /** Nothing goes through it any more. */
  #leave(state: 'ended' | 'closed', status: number, why: string): void {
    const before = this.#state
    this.#state = state
    clearTimeout(this.#timer)
    if (before === 'open' || (before === 'connecting' && !this.#unwanted)) this.#options.onRetired(this)
    for (const { done } of this.#waiting.splice(0)) done(status, undefined, why)
  }

  #fail(status: number, why: string): void {
    if (this.#state === 'closed') return
    this.#leave('closed', status, why)
    this.#socket?.destroy()
    this.#session?.transportClosed()
    this.#options.onClosed(this)
  }
}

function said(code: number): string {
  return code === H2_NO_ERROR ? '' : `: ${h2ErrorName(code)}`
}
