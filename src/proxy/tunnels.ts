/** Both ends of HBONE for the pods of this proxy: whose certificate, from whose namespace, into which pipeline. */
import type { IdentityMaterial, PeerIdentity, ProxyLimits } from '#contract'
import { HBONE_PORT } from '#contract'
import type { ByteStream } from '#http'
import { parseSpiffeId, peerIdentity, spiffeId } from '#identity'
import type { Snapshot } from '#mesh'
import { Credentials, TunnelPool } from '#tunnel'
import { dialHandle } from './dialer.ts'
import { HeldTunnel } from './held-tunnel.ts'
import type { SocketName } from './pipeline.ts'
import type { Pod } from './pod.ts'
import { NOBODY, peerAddress, TcpStream, toSocket } from './tcp.ts'

export interface TunnelHost {
  readonly snapshot: Snapshot
  readonly limits: ProxyLimits
  now(): number
  /** A connection that came through a tunnel, from a verified peer. */
  tunnelled(pod: Pod, stream: ByteStream, target: SocketName, clientAddress: string, peer: PeerIdentity): void
  tunnelRefused(pod: Pod, clientAddress: string, why: string): void
  connectionClosed(pod: Pod): void
}

export class Tunnels {
  readonly #host: TunnelHost
  readonly #trustDomain: string
  /** By SPIFFE ID. */
  readonly #credentials = new Map<string, Credentials>()

  constructor(host: TunnelHost, trustDomain: string) {
    this.#host = host
    this.#trustDomain = trustDomain
  }

  /** New or renewed: tunnels under the old certificate take nothing new, either way. */
  setIdentity(material: IdentityMaterial, pods: Iterable<Pod>): void {
    this.#credentials.set(material.identity, new Credentials(material))
    for (const pod of pods) if (this.#identityOf(pod) === material.identity) pod.renewTunnels()
  }

  forgetIdentity(identity: string): void {
    this.#credentials.delete(identity)
  }

  /** Empty while the world does not know the pod. */
  #identityOf(pod: Pod): string {
    const workload = this.#host.snapshot.workload(pod.workload)
    return workload === undefined ? '' : spiffeId(this.#trustDomain, workload.namespace, workload.serviceAccount)
  }

  /** The outgoing tunnels of a pod. */
  poolOf(pod: Pod): TunnelPool {
    const { connectTimeoutMs, upstreamIdleTimeoutMs } = this.#host.limits
    return new TunnelPool({
      trustDomain: this.#trustDomain,
      connectTimeoutMs,
      idleTimeoutMs: upstreamIdleTimeoutMs,
      now: () => this.#host.now(),
      credentials: () => this.#credentials.get(this.#identityOf(pod)),
      onRetired: (uid) => pod.renewVia(uid),
      connect: (address, done) => {
        const source = { stock: pod.stock, kind: 'plain', localAddress: undefined, count: pod } as const
        dialHandle({ address, port: HBONE_PORT }, source, connectTimeoutMs, (status, handle, error) =>
          done(status, handle === undefined ? undefined : toSocket(handle), error),
        )
      },
    })
  }

  /** A connection to the pod's port 15008. */
  accept(pod: Pod, handle: object): void {
    const { limits } = this.#host
    const clientAddress = peerAddress(handle)
    const credentials = this.#credentials.get(this.#identityOf(pod))
    if (credentials === undefined || pod.connections.size >= limits.maxConnectionsPerPod) {
      new TcpStream(handle, NOBODY).reset()
      const why = credentials === undefined ? 'the pod has no certificate yet' : 'the pod holds too many connections'
      this.#host.tunnelRefused(pod, clientAddress, why)
      return
    }
    const held = new HeldTunnel(
      {
        socket: toSocket(handle),
        credentials,
        trustDomain: this.#trustDomain,
        handshakeTimeoutMs: limits.headTimeoutMs,
        addresses: () => this.#host.snapshot.workload(pod.workload)?.addresses ?? [],
        onConnection: (stream, target, identity) => {
          const parts = parseSpiffeId(identity)
          if (parts === undefined || pod.connections.size >= limits.maxConnectionsPerPod) stream.reset()
          else this.#host.tunnelled(pod, stream, target, clientAddress, peerIdentity(parts.trustDomain, parts))
        },
        onRefused: (why) => this.#host.tunnelRefused(pod, clientAddress, why),
        onClosed: () => {
          pod.connections.delete(held)
          this.#host.connectionClosed(pod)
        },
      },
      limits.clientIdleTimeoutMs,
    )
    pod.connections.add(held)
  }
}
