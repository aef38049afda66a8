/**
 * One enrolled pod as this proxy serves it: its listeners, its sockets' stock, its pools and how much of
 * the shared proxy it holds. Everything of a pod dies with it; an address reused later inherits nothing.
 */
import type { ProxyLimits } from '#contract'
import type { ForwardDecision } from '#routing'
import type { TunnelPool } from '#tunnel'
import { Arrivals } from './arrivals.ts'
import type { Dialer } from './dialer.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import type { Flow } from './flow.ts'
import { HeldBytes } from './held-body.ts'
import { HeldTunnel } from './held-tunnel.ts'
import { PodUse } from './pod-use.ts'
import type { SocketStock } from './sockets.ts'
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
  readonly listeners: { close(): void }[] = []
  readonly connections = new Set<HeldConnection>()
  requestsInFlight = 0
  /** Bodies that are translated. */
  readonly held: HeldBytes
  readonly use = new PodUse()
  dialling = 0
  draining = false
  /** `cutOff` was called, and it is still in quarantine. */
  isCutOff = false
  /** Targets by decision and endpoint (or by address, without a decision); valid for `targetsVersion`. */
  readonly targets = new Map<ForwardDecision | string, Map<object | string, ExchangeTarget>>()
  targetsVersion = -1
  /** By `namespace/name:port` of the Service. */
  readonly flows = new Map<string, Flow>()
  readonly flowByDecision = new WeakMap<ForwardDecision, Flow>()
  readonly tunnels: TunnelPool
  /** Tunnels to this pod, by where they come from. */
  readonly arrivals = new Arrivals()
  readonly #pools = new Map<string, Map<string, UpstreamPool>>()

  constructor(
    uid: string,
    workload: string,
    stock: SocketStock,
    openTunnels: (pod: Pod) => TunnelPool,
    held: HeldBytes = HeldBytes.inAll(),
  ) {
    this.uid = uid
    this.workload = workload
    this.stock = stock
    this.held = HeldBytes.ofPod(held)
    this.tunnels = openTunnels(this)
  }

  /**
   * The pool that `key` names, of this pod's traffic through the namespace of pod `viaUid`, or through tunnels to it.
   * It lives no longer than either pod.
   */
  pool(viaUid: string, key: string, limits: ProxyLimits, makeDialer: () => Dialer): UpstreamPool {
    let pools = this.#pools.get(viaUid)
    if (pools === undefined) {
      pools = new Map()
      this.#pools.set(viaUid, pools)
    }
    let pool = pools.get(key)
    if (pool === undefined || pool.closed) {
      pool = new UpstreamPool(makeDialer(), limits)
      pools.set(key, pool)
    }
    return pool
  }

  /** Another pod is gone: nothing pooled through its namespace, or towards it, may live on. */
  forgetVia(uid: string): void {
    for (const pool of this.#pools.get(uid)?.values() ?? []) pool.close()
    this.#pools.delete(uid)
    this.tunnels.forget(uid)
    this.targets.clear()
  }

  /** As `forgetVia`, of all pods that are not `known`. */
  forgetGone(known: (uid: string) => boolean): void {
    for (const uid of [...this.#pools.keys()]) if (uid !== this.uid && !known(uid)) this.forgetVia(uid)
  }

  /** What runs through the tunnel to that pod ends, and is not used again: the tunnel takes nothing new. */
  renewVia(uid: string): void {
    for (const pool of this.#pools.get(uid)?.values() ?? []) pool.renew()
  }

  /** The pod's own certificate was renewed: tunnels under the old one take nothing new, either way. */
  renewTunnels(): void {
    this.tunnels.renew()
    for (const connection of [...this.connections]) if (connection instanceof HeldTunnel) connection.retire()
  }

  /** Others are revoked now: tunnels with them end at once, either way. */
  cutRevoked(): void {
    this.tunnels.cutRevoked()
    for (const connection of [...this.connections]) if (connection instanceof HeldTunnel) connection.cutIfRevoked()
  }

  /** In quarantine from now on: nothing pooled stays open, whoever is at its other end. */
  cutOff(): void {
    for (const pools of this.#pools.values()) for (const pool of pools.values()) pool.close()
    this.#pools.clear()
    this.targets.clear()
    this.tunnels.renew()
  }

  sweep(now: number, idleSince: number): void {
    for (const connection of this.connections) connection.sweep(now)
    for (const [uid, pools] of this.#pools) {
      for (const [key, pool] of pools) {
        pool.sweep(now, idleSince)
        if (pool.size > 0) continue
        // Whoever still holds it must not fill it again: nobody would renew or close what is in it.
        pool.close()
        pools.delete(key)
        this.targets.clear()
      }
      if (pools.size === 0) this.#pools.delete(uid)
    }
    this.tunnels.sweep(now)
  }

  /** Takes no further connection now. Tunnels do not count: what runs through them does. */
  isFull(maxConnections: number): boolean {
    return this.connections.size - this.arrivals.size >= maxConnections
  }

  stopAccepting(): void {
    for (const listener of this.listeners.splice(0)) listener.close()
  }

  /** Resolves when what was written last into tunnels has left. */
  close(): Promise<void> {
    this.stopAccepting()
    for (const connection of [...this.connections]) connection.abort()
    for (const pools of this.#pools.values()) for (const pool of pools.values()) pool.close()
    this.#pools.clear()
    this.targets.clear()
    this.stock.close()
    return this.tunnels.close()
  }
}
