/**
 * The tunnels of one source pod: one per destination (its identity and address), opened when first wanted, shared by all
 * connections to it, closed when idle, replaced when the pod's certificate is renewed. They die with the pod.
 */
import type { Socket } from 'node:net'
import type { Credentials } from './credentials.ts'
import type { Opened } from './opening.ts'
import { Tunnel, type Wanted } from './tunnel.ts'

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
const NO_CERTIFICATE = 'the pod has no certificate yet'
const MAX_UNCERTIFIED = 10_000

export class TunnelPool {
  readonly #options: TunnelPoolOptions
  /** Those that take new connections, by destination. */
  readonly #current = new Map<string, Tunnel>()
  readonly #all = new Set<Tunnel>()
  /** A pod that has just come does not have its certificate at once; oldest first. */
  readonly #uncertified: (Wanted & { readonly destination: TunnelDestination; readonly since: number })[] = []
  #closed = false
  readonly #gone = Promise.withResolvers<void>()

  constructor(options: TunnelPoolOptions) {
    this.#options = options
  }

  open(destination: TunnelDestination, headers: readonly string[], done: Opened): void {
    const credentials = this.#options.credentials()
    if (this.#closed || this.#uncertified.length >= MAX_UNCERTIFIED) {
      const why = this.#closed ? 'the pod is gone' : NO_CERTIFICATE
      queueMicrotask(() => done(UV_ECONNREFUSED, undefined, why))
      return
    }
    if (credentials === undefined) {
      this.#uncertified.push({ destination, headers, done, since: this.#options.now() })
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

  #overflowed(destination: TunnelDestination, wanted: readonly Wanted[]): void {
    for (const { headers, done } of wanted) this.open(destination, headers, done)
  }

  /** The pod's credentials are new: tunnels opened under the old ones take no further connections. */
  renew(): void {
    for (const tunnel of [...this.#current.values()]) tunnel.retire()
    this.#certify()
  }

  /** Those who waited for credentials go on, once there are some. */
  #certify(): void {
    if (this.#uncertified.length === 0 || this.#options.credentials() === undefined) return
    for (const { destination, headers, done } of this.#uncertified.splice(0)) this.open(destination, headers, done)
  }

  /** Others are revoked now: tunnels to them end at once. */
  cutRevoked(): void {
    for (const tunnel of [...this.#all]) tunnel.cutIfRevoked()
  }

  #make(key: string, destination: TunnelDestination, credentials: Credentials): Tunnel {
    const { uid, address, identity } = destination
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
      onOverflow: (wanted) => this.#overflowed(destination, wanted),
      onClosed: (closed) => {
        this.#all.delete(closed)
        if (this.#closed && this.#all.size === 0) this.#gone.resolve()
      },
    })
    this.#all.add(tunnel)
    return tunnel
  }

  sweep(now: number): void {
    this.#certify()
    const { connectTimeoutMs } = this.#options
    while (this.#uncertified[0] !== undefined && now - this.#uncertified[0].since > connectTimeoutMs) {
      this.#uncertified.shift()?.done(UV_ECONNREFUSED, undefined, NO_CERTIFICATE)
    }
    for (const tunnel of [...this.#all]) {
      tunnel.sweep(now)
      if (tunnel.streams === 0 && now - tunnel.idleSince > this.#options.idleTimeoutMs) tunnel.retire()
    }
  }

  /** The destination pod is gone: what is pooled towards it goes, too. */
  forget(uid: string): void {
    for (const [key, tunnel] of [...this.#current]) if (key.startsWith(`${uid} `)) tunnel.retire()
  }

  /** Resolves when all that was written has left, or can't any more: some seconds at most. */
  close(): Promise<void> {
    this.#closed = true
    for (const { done } of this.#uncertified.splice(0)) done(UV_ECONNREFUSED, undefined, 'the pod is gone')
    for (const tunnel of [...this.#all]) tunnel.close('the pod is gone')
    if (this.#all.size === 0) this.#gone.resolve()
    return this.#gone.promise
  }
}
