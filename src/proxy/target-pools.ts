/**
 * Through whose namespace, and over which pool, a pod's traffic to an endpoint goes: straight there, into the namespace of a
 * pod of this node, to a host by its name, or through a tunnel to another node; within TLS where a policy says so.
 */
import type { BackendTls, Endpoint, ProxyLimits, Workload } from '#contract'
import { spiffeId } from '#identity'
import type { Snapshot } from '#mesh'
import { TlsDialer } from './backend-tls.ts'
import { baggageOf } from './baggage.ts'
import { type DialCount, type Dialer, NamedDialer, TcpDialer, type TcpSource, TunnelDialer } from './dialer.ts'
import type { Flow } from './flow.ts'
import type { Pod } from './pod.ts'
import { type SocketName, socketText } from './socket-name.ts'
import type { SocketStock } from './sockets.ts'
import type { UpstreamPool } from './upstream.ts'

/** What the mesh opens to a backend, and what is agreed on within. */
export interface OriginatedTls {
  readonly policy: BackendTls
  readonly protocol: 'h2' | 'http/1.1'
}

/** What pools are made of. */
export interface PoolHost {
  readonly snapshot: Snapshot
  readonly limits: ProxyLimits
  /** Sockets in the network namespace of a pod of this node. */
  stockOf(uid: string): SocketStock
  /** False while the broker refuses sockets of that pod: it is not enrolled (yet, or any more). */
  hasSocketsOf(uid: string): boolean
  /** Addresses of a host outside, as that pod's name servers know them. */
  resolve(pod: Pod, name: string, done: (addresses: readonly string[]) => void): void
}

export class TargetPools {
  readonly #host: PoolHost
  readonly #trustDomain: string
  readonly #tlsNumbers = new WeakMap<BackendTls, number>()
  #nextTls = 1

  constructor(host: PoolHost, trustDomain: string) {
    this.#host = host
    this.#trustDomain = trustDomain
  }

  /** `local`: the destination, when it is a mesh pod of this node: its own namespace is used when the broker has sockets of it. */
  direct(
    pod: Pod,
    bound: string | undefined,
    local: Workload | undefined,
    endpoint: SocketName & Pick<Endpoint, 'resolve'>,
    flow?: Flow,
    tls?: OriginatedTls,
  ): UpstreamPool {
    const { limits } = this.#host
    const socket = `${this.#tlsKey(tls)}${flow?.poolKey ?? ''}${endpoint.address} ${endpoint.port}`
    if (local !== undefined && local.uid !== pod.uid && bound !== undefined && this.#host.hasSocketsOf(local.uid)) {
      const source = towards(local, this.#host.stockOf(local.uid), bound, pod)
      return pod.pool(local.uid, `${source.kind} ${bound} ${socket}`, limits, () =>
        secured(new TcpDialer(endpoint, source, limits.connectTimeoutMs), tls, limits),
      )
    }
    const source: TcpSource = { stock: pod.stock, kind: 'plain', localAddress: undefined, count: pod }
    if (endpoint.resolve === true) {
      // Into the mesh nobody goes without an identity: what is there is called by its own name.
      const resolve = (done: (addresses: readonly string[]) => void) => {
        this.#host.resolve(pod, endpoint.address, (addresses) =>
          done(addresses.filter((address) => !this.#host.snapshot.isInMesh(address))),
        )
      }
      const named = () => secured(new NamedDialer(endpoint, resolve, source, limits.connectTimeoutMs), tls, limits)
      return pod.pool(pod.uid, `name ${socket}`, limits, named)
    }
    return pod.pool(pod.uid, socket, limits, () => {
      return secured(new TcpDialer(endpoint, source, limits.connectTimeoutMs), tls, limits)
    })
  }

  tunnel(
    pod: Pod,
    clientAddress: string,
    client: Workload | undefined,
    { uid, namespace, serviceAccount }: Workload,
    endpoint: SocketName,
    flow: Flow | undefined,
    tls: OriginatedTls | undefined,
  ): UpstreamPool {
    const identity = spiffeId(this.#trustDomain, namespace, serviceAccount)
    const authority = socketText(endpoint)
    const forwarded = `for=${clientAddress.includes(':') ? `"[${clientAddress}]"` : clientAddress}`
    const headers = [':method', 'CONNECT', ':authority', authority, 'forwarded', forwarded]
    if (client !== undefined) headers.push('baggage', baggageOf(client))
    return pod.pool(
      uid,
      `tunnel ${this.#tlsKey(tls)}${flow?.poolKey ?? ''}${clientAddress} ${identity} ${authority}`,
      this.#host.limits,
      () => {
        const dialer = new TunnelDialer(pod.tunnels, { uid, address: endpoint.address, identity }, headers)
        return secured(dialer, tls, this.#host.limits)
      },
    )
  }

  /** To the application of `pod` itself. @param caller who has proven to be it; empty: nobody has */
  inbound(pod: Pod, workload: Workload, clientAddress: string, original: SocketName, caller: string): UpstreamPool {
    const { limits, snapshot } = this.#host
    const tcp = towards(workload, pod.stock, clientAddress, pod)
    return pod.pool(
      pod.uid,
      // A connection is of one caller: neither another identity nor another pod of that address goes on with it.
      `${tcp.kind} ${clientAddress} ${socketText(original)} ${caller} ${snapshot.workloadByAddress(clientAddress)?.uid ?? ''}`,
      limits,
      () => new TcpDialer(original, tcp, limits.connectTimeoutMs),
    )
  }

  /** What is pooled under one policy is not used under another, or under the same one changed. */
  #tlsKey(tls: OriginatedTls | undefined): string {
    if (tls === undefined) return ''
    let number = this.#tlsNumbers.get(tls.policy)
    if (number === undefined) {
      number = this.#nextTls++
      this.#tlsNumbers.set(tls.policy, number)
    }
    return `tls${number} ${tls.protocol} `
  }
}

function secured(dialer: Dialer, tls: OriginatedTls | undefined, limits: ProxyLimits): Dialer {
  return tls === undefined ? dialer : new TlsDialer(dialer, tls.policy, tls.protocol, limits.connectTimeoutMs)
}

/** Sockets into the namespace of `workload`, through which its application sees `client` as its peer, or itself. */
function towards(workload: Workload, stock: SocketStock, client: string, count: DialCount): TcpSource {
  return workload.hidesClientAddress
    ? { stock, kind: 'plain', localAddress: undefined, count }
    : { stock, kind: 'transparent', localAddress: client, count }
}
