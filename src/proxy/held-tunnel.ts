/** An inbound tunnel as one of the connections that a pod holds. Its streams are connections of their own. */
import { MESH_PORTS } from '#contract'
import { InboundTunnel, type InboundTunnelOptions } from '#tunnel'
import type { HeldConnection } from './pod.ts'

export class HeldTunnel implements HeldConnection {
  readonly #tunnel: InboundTunnel
  readonly #idleTimeoutMs: number
  readonly #mayStay: () => boolean
  #idleSince = 0

  /** @param mayStay asked after each change of the world */
  constructor(options: InboundTunnelOptions, idleTimeoutMs: number, mayStay: () => boolean) {
    this.#tunnel = new InboundTunnel(options, MESH_PORTS)
    this.#idleTimeoutMs = idleTimeoutMs
    this.#mayStay = mayStay
  }

  /** The pod's certificate was renewed: callers shall come again, under the new one. */
  retire(): void {
    this.#tunnel.retire()
  }

  cutIfRevoked(): void {
    this.#tunnel.cutIfRevoked()
  }

  sweep(now: number): void {
    this.#tunnel.sweep(now)
    if (this.#tunnel.streams > 0 || this.#idleSince === 0) this.#idleSince = now
    else if (now - this.#idleSince > this.#idleTimeoutMs) this.#tunnel.retire()
  }

  /** The tunnel itself is allowed or not by its certificates and quarantine; policy judges what runs through it. */
  rejudge(): void {
    // What runs through it is judged first, so that the log says why it ended.
    if (!this.#mayStay()) setImmediate(() => this.#tunnel.close())
  }

  drain(): void {
    this.#tunnel.retire()
  }

  abort(): void {
    this.#tunnel.close()
  }
}
