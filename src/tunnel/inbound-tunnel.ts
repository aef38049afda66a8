/** The server's end of a tunnel: mutual TLS, the peer's identity, and CONNECT streams that are for this very pod. */
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { H2_NO_ERROR, type H2Stream, Http2Session, h2ErrorName } from '#http'
import type { Credentials } from './credentials.ts'
import { KeepAlive } from './keep-alive.ts'
import { TUNNEL_LIMITS } from './limits.ts'
import { verifyPeer } from './peer.ts'
import type { CertificateName } from './revoked-certificates.ts'
import { tlsProblem } from './tls-problem.ts'
import { TlsTransport } from './tls-transport.ts'

export interface InboundTunnelOptions {
  readonly socket: Socket
  readonly credentials: Credentials
  readonly trustDomain: string
  /** Likewise from there to the first word of the peer's HTTP/2. */
  readonly handshakeTimeoutMs: number
  /** The pod's own addresses, canonical: a CONNECT to any other is refused. */
  addresses(): readonly string[]
  /** Why the pod takes no further connection now; undefined when it does. */
  full(): string | undefined
  /** What the answer to a CONNECT that is agreed to says, beside its status: names and values. */
  readonly answer: readonly string[]
  now(): number
  /** The peer has proved its identity. */
  onVerified(): void
  /** A connection to `port` of the pod, by a verified peer. The stream is already accepted. */
  onConnection(stream: H2Stream, target: TunnelTarget, identity: string): void
  /** A CONNECT (or whatever it was) that is refused, and why; the tunnel goes on. */
  onConnectionRefused(why: string): void
  /** Once: the tunnel is refused or cut, and why. */
  onRefused(why: string): void
  onClosed(): void
}

export interface TunnelTarget {
  readonly address: string
  readonly port: number
  /** The peer wants to know only whether the application takes a connection. */
  readonly onlyConnects: boolean
}

/** In a CONNECT, with `connect`: the stream carries nothing, and ends in order once the application took a connection. */
export const CHECK_HEADER = 'x-weir-check'

/** Ports a tunnel does not lead to: they are the mesh's own. */
export interface ForbiddenPorts {
  has(port: number): boolean
}

export class InboundTunnel {
  readonly #options: InboundTunnelOptions
  readonly #forbidden: ForbiddenPorts
  readonly #secure: TLSSocket
  readonly #agreed: readonly string[]
  #session: Http2Session | undefined
  #keepAlive: KeepAlive | undefined
  /** Until when both ends' certificates last, ms since the epoch. */
  #validToMs = Number.POSITIVE_INFINITY
  #peer: readonly CertificateName[] = []
  #timer: NodeJS.Timeout | undefined
  #retired = false
  #over = false

  constructor(options: InboundTunnelOptions, forbidden: ForbiddenPorts) {
    this.#options = options
    this.#forbidden = forbidden
    this.#agreed = [':status', '200', ...options.answer]
    const { socket, credentials, handshakeTimeoutMs } = options
    this.#timer = setTimeout(() => this.#refuse('the TLS handshake took too long'), handshakeTimeoutMs)
    this.#secure = new TLSSocket(socket, {
      isServer: true,
      secureContext: credentials.context,
      requestCert: true,
      // Verified below, by SPIFFE ID, with the reason told.
      rejectUnauthorized: false,
      ALPNProtocols: ['h2'],
    })
    this.#secure.on('error', (thrown) => this.#refuse(`TLS failed: ${tlsProblem(thrown)}`))
    this.#secure.once('close', () => this.#closed())
    this.#secure.once('secure', () => this.#secured())
  }

  get streams(): number {
    return this.#session?.openStreams ?? 0
  }

  sweep(now: number): void {
    this.#session?.tick(now)
    if (!this.#retired && Date.now() >= this.#validToMs) this.retire()
    if (this.#keepAlive?.check(now) === false) this.#refuse('the peer does not answer')
  }

  /** Takes no further connections; closes when the last has ended. A peer that is just coming may say what it wants. */
  retire(): void {
    this.#retired = true
    this.#session?.goaway()
  }

  /** The peer may have been revoked since it came. */
  cutIfRevoked(): void {
    const why = this.#options.credentials.refusal(this.#peer)
    if (why !== undefined) this.#refuse(why)
  }

  close(): void {
    this.#over = true
    clearTimeout(this.#timer)
    this.#secure.destroy()
  }

  #secured(): void {
    if (this.#over) return
    const peer = verifyPeer(this.#secure, this.#options.trustDomain, this.#options.credentials)
    if (peer.kind === 'refused') this.#refuse(peer.reason)
    else if (this.#secure.alpnProtocol !== 'h2') this.#refuse('the peer does not speak HTTP/2')
    else {
      clearTimeout(this.#timer)
      this.#peer = peer.chain
      this.#validToMs = Math.min(peer.validToMs, this.#options.credentials.validToMs)
      this.#options.onVerified()
      const transport = new TlsTransport(this.#secure)
      const session = new Http2Session({
        role: 'server',
        transport,
        limits: { ...TUNNEL_LIMITS, settingsTimeoutMs: this.#options.handshakeTimeoutMs },
        onStream: (stream, headers) => this.#stream(stream, headers, peer.identity),
        onMalformed: (problem) =>
          this.#options.onConnectionRefused(`malformed request: ${problem}: by ${peer.identity}`),
        onClose: (code, problem) => this.#ended(code, problem),
      })
      this.#session = session
      this.#keepAlive = new KeepAlive(session, this.#options.now())
      transport.attach(session)
      if (this.#retired) session.goaway()
    }
  }

  #stream(stream: H2Stream, headers: readonly string[], identity: string): void {
    const target = this.#targetOf(headers)
    const full = this.#options.full()
    if (target.kind === 'nowhere') {
      const asked = `${field(headers, ':method')} ${field(headers, ':authority')}`.slice(0, MAX_ASKED_CHARACTERS)
      this.#turnAway(stream, '400', target.why, `${asked} by ${identity}`)
    } else if (full !== undefined) this.#turnAway(stream, '503', full, `${socketText(target)} by ${identity}`)
    else {
      stream.respond(this.#agreed, false)
      this.#options.onConnection(stream, target, identity)
    }
  }

  #turnAway(stream: H2Stream, status: string, why: string, what: string): void {
    stream.respond([':status', status, 'x-weir-reason', why], true)
    // Nothing more is wanted of it, and its other side would keep it open.
    stream.reset(H2_NO_ERROR)
    this.#options.onConnectionRefused(`${why}: ${what}`)
  }

  /** Where a CONNECT leads, and otherwise why it leads nowhere. */
  #targetOf(headers: readonly string[]): ({ readonly kind: 'target' } & TunnelTarget) | Nowhere {
    if (field(headers, ':method') !== 'CONNECT' || headers.includes(':protocol')) {
      return { kind: 'nowhere', why: 'only CONNECT is served here' }
    }
    const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([1-9]\d{0,4})$/.exec(field(headers, ':authority'))
    const address = match?.[1]?.toLowerCase() ?? match?.[2] ?? ''
    const port = Number(match?.[3] ?? 0)
    if (!this.#options.addresses().includes(address)) {
      return { kind: 'nowhere', why: 'the authority is not an address and port of this pod' }
    }
    if (port > 65535 || this.#forbidden.has(port)) {
      return { kind: 'nowhere', why: 'the port is not one of the application' }
    }
    return { kind: 'target', address, port, onlyConnects: field(headers, CHECK_HEADER) === 'connect' }
  }

  /** The session is over; its last words are written, then the connection is closed, by force where `sweep` must. */
  #ended(code: number, problem: string): void {
    if (this.#over) return
    this.#over = true
    if (code !== H2_NO_ERROR) this.#options.onRefused(`HTTP/2 failed: ${problem} (${h2ErrorName(code)})`)
  }

  #refuse(why: string): void {
    if (!this.#over) {
      this.#over = true
      clearTimeout(this.#timer)
      this.#options.onRefused(why)
    }
    this.#secure.destroy()
  }

  #closed(): void {
    const { blame } = this.#options.credentials
    if (!this.#over && (this.#session === undefined || blame !== '')) {
      const when = this.#session === undefined ? ' during the TLS handshake' : ''
      this.#options.onRefused(`the peer left${when}${blame}`)
    }
    this.#over = true
    clearTimeout(this.#timer)
    this.#session?.transportClosed()
    this.#options.onClosed()
  }
}

interface Nowhere {
  readonly kind: 'nowhere'
  readonly why: string
}

/** Of what a peer asked for, in the log. */
const MAX_ASKED_CHARACTERS = 100

/** Empty when there is none. */
function field(headers: readonly string[], name: string): string {
  for (let i = 0; i < headers.length; i += 2) if (headers[i] === name) return headers[i + 1] ?? ''
  return ''
}

function socketText({ address, port }: Pick<TunnelTarget, 'address' | 'port'>): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}
