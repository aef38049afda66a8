/**
 * The tunnels of one source pod: one per destination (its identity and address), opened when first wanted, shared by all
 * connections to it, closed when idle, replaced when the pod's certificate is renewed. They die with the pod.
 */
import type { Socket } from 'node:net'
import type { Credentials } from './credentials.ts'
import { type Opened, Tunnel } from './tunnel.ts'

export interface TunnelDestination {
  /** Of the pod: an address used again by another pod inherits nothing. */
  readonly uid: string
  readonly address: string
  /** SPIFFE ID. */
  readonly identity: string
}

export interface TunnelPoolOptions {
  readonly trustDomain: string
  readonly connectTimeoutMs: number
  /** A tunnel without connections is closed after this. */
  readonly idleTimeoutMs: number
  /** The pod's present credentials; undefined while it has none. */
  credentials(): Credentials | undefined
  now(): number
  /** No further connections go through a tunnel to this pod: what is pooled on it is to be closed when idle. */
  onRetired(uid: string): void
  connect(address: string, done: (status: number, socket: Socket | undefined, error: string) => void): void
}

const UV_ECONNREFUSED = -111

export class TunnelPool {
  readonly #options: TunnelPoolOptions
  /** Those that take new connections, by destination. */
  readonly #current = new Map<string, Tunnel>()
  readonly #all = new Set<Tunnel>()
  #closed = false

  constructor(options: TunnelPoolOptions) {
    this.#options = options
  }

  open(destination: TunnelDestination, headers: readonly string[], done: Opened): void {
    const credentials = this.#options.credentials()
    if (credentials === undefined || this.#closed) {
      const why = this.#closed ? 'the pod is gone' : 'the pod has no certificate yet'
      queueMicrotask(() => done(UV_ECONNREFUSED, undefined, why))
      return
    }
    const key = `${destination.uid} ${destination.identity} ${destination.address}`
    let tunnel = this.#current.get(key)
    if (tunnel?.usable !== true) {
      tunnel = this.#make(key, destination, credentials)
      this.#current.set(key, tunnel)
    }
    tunnel.open(headers, done)
  }

  /** The pod's credentials were renewed: tunnels opened under the old ones take no further connections. */
  renew(): void {
    for (const tunnel of [...this.#current.values()]) tunnel.retire()
  }

  #make(key: string, { uid, address, identity }: TunnelDestination, credentials: Credentials): Tunnel {
    const { trustDomain, connectTimeoutMs, now } = this.#options
    const tunnel = new Tunnel({
      credentials,
      trustDomain,
      expected: identity,
      connectTimeoutMs,
      now,
      connect: (done) => this.#options.connect(address, done),
      onRetired: (retired) => {
        if (this.#current.get(key) === retired) this.#current.delete(key)
        this.#options.onRetired(uid)
      },
      onClosed: (closed) => this.#all.delete(closed),
    })
    this.#all.add(tunnel)
    return tunnel
  }

  sweep(now: number): void {
    for (const tunnel of [...this.#all]) {
      tunnel.sweep(now)
      if (tunnel.streams === 0 && now - tunnel.idleSince > this.#options.idleTimeoutMs) tunnel.retire()
    }
  }

  /** The destination pod is gone: what is pooled towards it goes, too. */
  forget(uid: string): void {
    for (const [key, tunnel] of [...this.#current]) if (key.startsWith(`${uid} `)) tunnel.retire()
  }

  close(): void {
    this.#closed = true
    for (const tunnel of [...this.#all]) tunnel.close('the pod is gone')
  }
}
