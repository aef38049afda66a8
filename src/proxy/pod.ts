/**
 * One enrolled pod as this proxy serves it: its listeners, its sockets' stock, its pools and how much of
 * the shared proxy it holds. Everything of a pod dies with it; an address reused later inherits nothing.
 */
import type { ProxyLimits, SocketKind } from '#contract'
import type { ForwardDecision } from '#routing'
import { TcpDialer } from './dialer.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import type { SocketStock } from './sockets.ts'
import type { TcpListener } from './tcp.ts'
import { UpstreamPool } from './upstream.ts'

/** A connection that a pod holds: of either protocol. */
export interface HeldConnection {
  /** Past its deadline at `now` (ms of performance.now)? Then act. */
  sweep(now: number): void
  /** The world changed: is what goes on here still allowed? Cut it if not. */
  rejudge(): void
  /** Finish what is in flight, take nothing new. */
  drain(): void
  /** Cut at once. */
  abort(): void
}

export class Pod {
  readonly uid: string
  /** `namespace/name`. */
  readonly workload: string
  readonly stock: SocketStock
  readonly listeners: TcpListener[] = []
  readonly connections = new Set<HeldConnection>()
  requestsInFlight = 0
  draining = false
  /** Targets by decision and endpoint (or by address, without a decision); valid for `targetsVersion`. */
  readonly targets = new Map<ForwardDecision | string, Map<object | string, ExchangeTarget>>()
  targetsVersion = -1
  readonly #pools = new Map<string, UpstreamPool>()

  constructor(uid: string, workload: string, stock: SocketStock) {
    this.uid = uid
    this.workload = workload
    this.stock = stock
  }

  /**
   * The pool of this pod's traffic towards `address:port`, through sockets of `via` (this pod's own
   * namespace, or the destination's when it is enrolled on this node).
   */
  pool(
    via: { readonly uid: string; readonly stock: SocketStock },
    kind: SocketKind,
    localAddress: string | undefined,
    target: { readonly address: string; readonly port: number },
    limits: ProxyLimits,
  ): UpstreamPool {
    const key = `${via.uid} ${localAddress ?? ''} ${target.address} ${target.port}`
    let pool = this.#pools.get(key)
    if (pool === undefined || pool.closed) {
      const dialer = new TcpDialer(target, { stock: via.stock, kind, localAddress }, limits.connectTimeoutMs)
      pool = new UpstreamPool(dialer, limits)
      this.#pools.set(key, pool)
    }
    return pool
  }

  /** Another pod is gone: nothing pooled through its namespace may live on. */
  forgetVia(uid: string): void {
    const prefix = `${uid} `
    for (const [key, pool] of this.#pools) {
      if (!key.startsWith(prefix)) continue
      pool.close()
      this.#pools.delete(key)
    }
    this.targets.clear()
  }

  closeIdle(since: number): void {
    for (const [key, pool] of this.#pools) {
      pool.closeIdle(since)
      if (pool.size === 0) this.#pools.delete(key)
    }
  }

  stopAccepting(): void {
    for (const listener of this.listeners.splice(0)) listener.close()
  }

  close(): void {
    this.stopAccepting()
    for (const connection of [...this.connections]) connection.abort()
    for (const pool of this.#pools.values()) pool.close()
    this.#pools.clear()
    this.targets.clear()
    this.stock.close()
  }
}
