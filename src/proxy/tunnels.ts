/** Both ends of HBONE for the pods of this proxy: whose certificate, from whose namespace, into which pipeline. */
import type { IdentityMaterial, PeerIdentity, ProxyLimits, Workload } from '#contract'
import { HBONE_PORT } from '#contract'
import type { ByteStream } from '#http'
import { parseSpiffeId, peerIdentity, spiffeId } from '#identity'
import type { Snapshot } from '#mesh'
import { quarantineDenial } from '#policy'
import { Credentials, RevokedCertificates, TunnelPool } from '#tunnel'
import type { Arrival } from './arrivals.ts'
import { baggageOf } from './baggage.ts'
import { dialHandle } from './dialer.ts'
import { HeldArrival } from './held-arrival.ts'
import { HeldTunnel } from './held-tunnel.ts'
import type { Pod } from './pod.ts'
import type { SocketName } from './socket-name.ts'
import { NOBODY, peerAddress, TcpStream, toSocket } from './tcp.ts'

export interface TunnelHost {
  readonly snapshot: Snapshot
  readonly limits: ProxyLimits
  now(): number
  /** A connection that came through a tunnel, from a verified peer. */
  tunnelled(pod: Pod, stream: ByteStream, target: SocketName, clientAddress: string, peer: PeerIdentity): void
  /** One that carries nothing: it is only asked whether there would be one. */
  connectAsked(pod: Pod, stream: ByteStream, target: SocketName, clientAddress: string, peer: PeerIdentity): void
  tunnelRefused(pod: Pod, clientAddress: string, why: string): void
  connectionClosed(pod: Pod): void
}

export class Tunnels {
  readonly #host: TunnelHost
  readonly #trustDomain: string
  /** By SPIFFE ID. */
  readonly #credentials = new Map<string, Credentials>()
  readonly #revoked = new RevokedCertificates()

  constructor(host: TunnelHost, trustDomain: string) {
    this.#host = host
    this.#trustDomain = trustDomain
  }

  /** New or renewed: tunnels under the old certificate take nothing new, either way. */
  setIdentity(material: IdentityMaterial, pods: Iterable<Pod>): void {
    const all = [...pods]
    if (this.#credentials.get(material.identity)?.isOf(material) !== true) {
      this.#credentials.set(material.identity, new Credentials(material, this.#revoked))
      for (const pod of all) if (this.#identityOf(pod) === material.identity) pod.renewTunnels()
    }
    if (this.#revoked.update(material.revocations ?? [])) for (const pod of all) pod.cutRevoked()
  }

  forgetIdentity(identity: string): void {
    this.#credentials.delete(identity)
  }

  /** Undefined while the world does not know the pod, or knows another of its name. */
  #workloadOf(pod: Pod): Workload | undefined {
    const workload = this.#host.snapshot.workload(pod.workload)
    return workload?.uid === pod.uid ? workload : undefined
  }

  /** Empty when its workload is not known. */
  #identityOf(pod: Pod): string {
    const workload = this.#workloadOf(pod)
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

  /** A connection to the pod's port 15008. A pod that has just come may not have its certificate yet. */
  accept(pod: Pod, handle: object): void {
    const { limits } = this.#host
    const clientAddress = peerAddress(handle)
    const refusal =
      quarantineDenial(this.#workloadOf(pod), clientAddress)?.reason ?? pod.arrivals.refusal(clientAddress)
    if (refusal !== undefined) {
      this.#refuse(pod, handle, refusal)
      return
    }
    const arrival = pod.arrivals.begin(clientAddress)
    if (!this.#hold(pod, handle, arrival)) {
      const early: HeldArrival = new HeldArrival(this.#host.now() + limits.headTimeoutMs, {
        admit: () => this.#hold(pod, handle, arrival),
        refuse: (why) => {
          arrival.over()
          this.#refuse(pod, handle, why)
        },
        onOver: () => {
          pod.connections.delete(early)
          this.#host.connectionClosed(pod)
        },
      })
      pod.connections.add(early)
    }
  }

  #refuse(pod: Pod, handle: object, why: string): void {
    const clientAddress = peerAddress(handle)
    new TcpStream(handle, NOBODY).reset()
    this.#host.tunnelRefused(pod, clientAddress, why)
  }

  /** False while there is no certificate. */
  #hold(pod: Pod, handle: object, arrival: Arrival): boolean {
    const { limits } = this.#host
    const credentials = this.#credentials.get(this.#identityOf(pod))
    if (credentials === undefined) return false
    const clientAddress = peerAddress(handle)
    const workload = this.#workloadOf(pod)
    const held = new HeldTunnel(
      {
        socket: toSocket(handle),
        credentials,
        trustDomain: this.#trustDomain,
        handshakeTimeoutMs: limits.headTimeoutMs,
        addresses: () => this.#workloadOf(pod)?.addresses ?? [],
        full: () => (pod.isFull(limits.maxConnectionsPerPod) ? FULL : undefined),
        answer: workload === undefined ? [] : ['baggage', baggageOf(workload)],
        now: () => this.#host.now(),
        onVerified: () => arrival.verified(),
        onConnection: (stream, target, identity) => {
          const parts = parseSpiffeId(identity)
          const peer = parts && peerIdentity(parts.trustDomain, parts)
          if (peer === undefined) stream.reset()
          else if (target.onlyConnects) this.#host.connectAsked(pod, stream, target, clientAddress, peer)
          else this.#host.tunnelled(pod, stream, target, clientAddress, peer)
        },
        onConnectionRefused: (why) => this.#host.tunnelRefused(pod, clientAddress, why),
        onRefused: (why) => this.#host.tunnelRefused(pod, clientAddress, why),
        onClosed: () => {
          arrival.over()
          pod.connections.delete(held)
          this.#host.connectionClosed(pod)
        },
      },
      limits.clientIdleTimeoutMs,
      () => quarantineDenial(this.#workloadOf(pod), clientAddress) === undefined,
    )
    pod.connections.add(held)
    return true
  }
}

const FULL = 'the pod holds too many connections'
