/** The server's end of a tunnel: mutual TLS, the peer's identity, and CONNECT streams that are for this very pod. */
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { type H2Stream, Http2Session } from '#http'
import type { Credentials } from './credentials.ts'
import { verifyPeer } from './peer.ts'
import { TlsTransport } from './tls-transport.ts'
import { TUNNEL_LIMITS } from './tunnel.ts'

export interface InboundTunnelOptions {
  readonly socket: Socket
  readonly credentials: Credentials
  readonly trustDomain: string
  readonly handshakeTimeoutMs: number
  /** The pod's own addresses, canonical: a CONNECT to any other is refused. */
  addresses(): readonly string[]
  /** A connection to `port` of the pod, by a verified peer. The stream is already accepted. */
  onConnection(stream: H2Stream, target: { readonly address: string; readonly port: number }, identity: string): void
  /** Once, before any connection: refused, and why. */
  onRefused(why: string): void
  onClosed(): void
}

/** Ports a tunnel does not lead to: they are the mesh's own. */
export interface ForbiddenPorts {
  has(port: number): boolean
}

export class InboundTunnel {
  readonly #options: InboundTunnelOptions
  readonly #forbidden: ForbiddenPorts
  readonly #secure: TLSSocket
  #session: Http2Session | undefined
  #timer: NodeJS.Timeout | undefined
  #over = false

  constructor(options: InboundTunnelOptions, forbidden: ForbiddenPorts) {
    this.#options = options
    this.#forbidden = forbidden
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
    this.#secure.once('error', (thrown) => this.#refuse(`TLS failed: ${thrown.message}`))
    this.#secure.once('close', () => this.#closed())
    this.#secure.once('secure', () => this.#secured())
  }

  get streams(): number {
    return this.#session?.openStreams ?? 0
  }

  sweep(now: number): void {
    this.#session?.tick(now)
  }

  /** Takes no further connections; closes when the last has ended. */
  retire(): void {
    if (this.#session === undefined) this.#secure.destroy()
    else this.#session.goaway()
  }

  close(): void {
    this.#secure.destroy()
  }

  #secured(): void {
    if (this.#over) return
    const peer = verifyPeer(this.#secure, this.#options.trustDomain)
    if (peer.kind === 'refused') this.#refuse(peer.reason)
    else if (this.#secure.alpnProtocol !== 'h2') this.#refuse('the peer does not speak HTTP/2')
    else {
      clearTimeout(this.#timer)
      const transport = new TlsTransport(this.#secure)
      const session = new Http2Session({
        role: 'server',
        transport,
        limits: TUNNEL_LIMITS,
        onStream: (stream, headers) => this.#stream(stream, headers, peer.identity),
        onClose: () => this.#secure.destroy(),
      })
      this.#session = session
      transport.attach(session)
    }
  }

  #stream(stream: H2Stream, headers: readonly string[], identity: string): void {
    const target = this.#targetOf(headers)
    if (typeof target === 'string') {
      stream.respond([':status', '400', 'x-weir-reason', target], true)
      return
    }
    stream.respond([':status', '200'], false)
    this.#options.onConnection(stream, target, identity)
  }

  /** Where a CONNECT leads; a text says why it leads nowhere. */
  #targetOf(headers: readonly string[]): { readonly address: string; readonly port: number } | string {
    const field = (name: string) => {
      for (let i = 0; i < headers.length; i += 2) if (headers[i] === name) return headers[i + 1]
      return undefined
    }
    if (field(':method') !== 'CONNECT' || field(':protocol') !== undefined) return 'only CONNECT is served here'
    const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([1-9]\d{0,4})$/.exec(field(':authority') ?? '')
    const address = match?.[1]?.toLowerCase() ?? match?.[2] ?? ''
    const port = Number(match?.[3] ?? 0)
    if (!this.#options.addresses().includes(address)) return 'the authority is not an address and port of this pod'
    if (port > 65535 || this.#forbidden.has(port)) return 'the port is not one of the application'
    return { address, port }
  }

  #refuse(why: string): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#timer)
    if (this.#session === undefined) this.#options.onRefused(why)
    this.#secure.destroy()
  }

  #closed(): void {
    if (!this.#over && this.#session === undefined) this.#options.onRefused('the peer left during the TLS handshake')
    this.#over = true
    clearTimeout(this.#timer)
    this.#session?.transportClosed()
    this.#options.onClosed()
  }
}
