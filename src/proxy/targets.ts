/**
 * Works out, once per snapshot, what "this pod's traffic to that endpoint" means: through whose namespace and pool it
 * goes, whose policies judge it here, what the application and the log are told of the peer.
 */
import type {
  AppProtocol,
  BackendTls,
  Endpoint,
  EndpointLatency,
  MeshService,
  PeerIdentity,
  PeerMode,
  ProxyLimits,
  TracingSettings,
  Verdict,
  Workload,
} from '#contract'
import { peerIdentity, spiffeId } from '#identity'
import type { Snapshot } from '#mesh'
import { type PolicySet, quarantineDenial } from '#policy'
import { type EndpointLoad, type ForwardDecision, type LoadOf, newEndpointLoad } from '#routing'
import {
  type AccessEdge,
  type AccessLog,
  type EdgeCache,
  type EdgeDescription,
  REPORT_BOTH,
  REPORT_DESTINATION,
  REPORT_SOURCE,
  type Reporters,
  UNKNOWN,
  UNKNOWN_SERVICE,
  UNKNOWN_WORKLOAD,
  type WorkloadLabels,
} from '#telemetry'
import type { TracedPeer } from '#tracing'
import { TlsDialer } from './backend-tls.ts'
import { baggageOf } from './baggage.ts'
import { type DialCount, type Dialer, NamedDialer, TcpDialer, type TcpSource, TunnelDialer } from './dialer.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import type { Flow } from './flow.ts'
import type { SocketName } from './pipeline.ts'
import type { Pod } from './pod.ts'
import type { SocketStock } from './sockets.ts'
import type { UpstreamPool } from './upstream.ts'
import { policiesOf } from './workload-policies.ts'

/** Direct targets kept per pod, and endpoint loads kept; beyond it the table starts over, or is thinned. */
const MAX_REMEMBERED = 4096
/** Of endpoints that have answered, so many are told. */
const MAX_LATENCIES = 300

/** What the mesh opens to a backend, and what is agreed on within. */
interface OriginatedTls {
  readonly policy: BackendTls
  readonly protocol: 'h2' | 'http/1.1'
}

/** The decision of what a ServiceEntry declares without endpoints: endpoints are made as they are asked for. */
export const HOST = 'host'

/** What targets are made of. */
export interface TargetHost {
  readonly snapshot: Snapshot
  readonly limits: ProxyLimits
  /** Monotonic milliseconds. */
  now(): number
  /** Sockets in the network namespace of a pod of this node. */
  stockOf(uid: string): SocketStock
  /** False while the broker refuses sockets of that pod: it is not enrolled (yet, or any more). */
  hasSocketsOf(uid: string): boolean
  /** Addresses of a host outside, as that pod's name servers know them. */
  resolve(pod: Pod, name: string, done: (addresses: readonly string[]) => void): void
}

export interface TargetSettings {
  readonly node: string
  readonly trustDomain: string
  readonly tracing?: TracingSettings
}

export class Targets {
  readonly loadOf: LoadOf
  readonly #host: TargetHost
  readonly #settings: TargetSettings
  readonly #edges: EdgeCache
  readonly #log: AccessLog
  readonly #loads = new Map<string, EndpointLoad>()
  readonly #loadByEndpoint = new WeakMap<Endpoint, EndpointLoad>()
  readonly #tlsNumbers = new WeakMap<BackendTls, number>()
  #nextTls = 1

  constructor(host: TargetHost, settings: TargetSettings, edges: EdgeCache, log: AccessLog) {
    this.#host = host
    this.#settings = settings
    this.#edges = edges
    this.#log = log
    this.loadOf = (endpoint) => this.#loadFor(endpoint)
  }

  /** Forgets endpoints without load once there are many. */
  sweep(): void {
    if (this.#loads.size <= MAX_REMEMBERED) return
    for (const [key, load] of this.#loads) if (load.active === 0) this.#loads.delete(key)
  }

  /** What endpoints took since this was last asked for. */
  takeLatencies(): readonly EndpointLatency[] {
    const taken: EndpointLatency[] = []
    for (const [key, load] of this.#loads) {
      const { answers, answersMs } = load
      if (answers === 0) continue
      const [address = '', port = ''] = key.split(' ')
      taken.push({
        endpoint: address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
        answers,
        answersMs,
      })
      load.answers = 0
      load.answersMs = 0
    }
    return taken.sort((a, b) => b.answers - a.answers).slice(0, MAX_LATENCIES)
  }

  policiesOf(workload: Workload): PolicySet {
    return policiesOf(this.#host.snapshot, workload)
  }

  /** @param servicePort where there is no decision, and TLS to the backend is opened all the same */
  outbound(
    pod: Pod,
    clientAddress: string,
    decision: ForwardDecision | string | undefined,
    endpoint: SocketName & Pick<Endpoint, 'workload' | 'resolve'>,
    service: MeshService | undefined,
    flow?: Flow,
    servicePort?: number,
  ): ExchangeTarget {
    const byEndpoint = this.#table(pod, decision ?? '')
    const key = decision === undefined || decision === HOST ? `${endpoint.address} ${endpoint.port}` : endpoint
    const known = byEndpoint.get(key)
    if (known !== undefined && known.clientAddress === clientAddress && !known.pool.closed) return known
    if (byEndpoint.size >= MAX_REMEMBERED) byEndpoint.clear()
    const made = this.#makeOutbound(
      pod,
      clientAddress,
      typeof decision === 'object' ? decision : undefined,
      endpoint,
      service,
      flow,
      typeof decision === 'object' ? decision.port : servicePort,
    )
    byEndpoint.set(key, made)
    return made
  }

  /** The targets that a pod keeps under `key`, for as long as the snapshot stays. */
  #table(pod: Pod, key: ForwardDecision | string): Map<object | string, ExchangeTarget> {
    if (pod.targetsVersion !== this.#host.snapshot.version) {
      pod.targetsVersion = this.#host.snapshot.version
      pod.targets.clear()
    }
    let table = pod.targets.get(key)
    if (table === undefined) {
      table = new Map()
      pod.targets.set(key, table)
    }
    return table
  }

  #makeOutbound(
    pod: Pod,
    clientAddress: string,
    decision: ForwardDecision | undefined,
    endpoint: SocketName & Pick<Endpoint, 'workload' | 'resolve'>,
    service: MeshService | undefined,
    flow: Flow | undefined,
    servicePort: number | undefined,
  ): ExchangeTarget {
    const snapshot = this.#host.snapshot
    const client = snapshot.workload(pod.workload)
    const workload =
      (endpoint.workload === undefined ? undefined : snapshot.workload(endpoint.workload)) ??
      snapshot.workloadByAddress(endpoint.address)
    const optedIn = workload?.optedIn === true
    const local = optedIn && workload.node === this.#settings.node
    // Another node's mesh pod is reached through a tunnel or not at all, unless its owner asked for plain text.
    const tunnelled = optedIn && !local && modeOf(workload, endpoint.port) !== 'DISABLE'
    const { trustDomain } = this.#settings
    const source = client === undefined ? undefined : peerIdentity(trustDomain, client)
    // Bound to in the destination's namespace, so of the destination's family.
    const bound = sameFamily(clientAddress, endpoint.address)
      ? clientAddress
      : client?.addresses.find((address) => sameFamily(address, endpoint.address))
    const policy =
      servicePort === undefined || service === undefined ? undefined : snapshot.backendTls(service, servicePort)
    const speaks = spokenBy(decision?.protocol ?? service?.ports.find(({ port }) => port === servicePort)?.protocol)
    const tls: OriginatedTls | undefined =
      policy === undefined ? undefined : { policy, protocol: speaks === 'HTTP/2' ? 'h2' : 'http/1.1' }
    return this.#target({
      pool: tunnelled
        ? this.#tunnelPool(pod, clientAddress, client, workload, endpoint, flow, tls)
        : this.#directPool(pod, bound, local ? workload : undefined, endpoint, flow, tls),
      endpoint,
      decision,
      flow,
      workload,
      service,
      clientAddress,
      policies: local ? this.policiesOf(workload) : undefined,
      connection: {
        ...(source === undefined ? {} : { source }),
        sourceIp: bound ?? clientAddress,
        destinationIp: endpoint.address,
        destinationPort: endpoint.port,
      },
      quarantine: this.outboundQuarantine(client, bound ?? clientAddress, workload, endpoint.address),
      identityLines: local && client !== undefined ? this.#identityLines(workload, client) : '',
      client,
      tunnelled,
      secures: tls !== undefined,
      secured: (local || tunnelled) && client !== undefined,
      reporters: local ? REPORT_BOTH : REPORT_SOURCE,
      direction: 'outbound',
    })
  }

  /** The client's own quarantine, or that of whom it calls: also of another pod than `workload` at that address. */
  outboundQuarantine(
    client: Workload | undefined,
    clientIp: string,
    workload: Workload | undefined,
    destinationIp: string,
  ): Verdict | undefined {
    return (
      quarantineDenial(client, destinationIp) ??
      quarantineDenial(workload, clientIp) ??
      quarantineDenial(this.#host.snapshot.workloadByAddress(destinationIp), clientIp)
    )
  }

  /** Header lines that tell an application who calls it. */
  #identityLines(workload: Workload, client: Pick<Workload, 'namespace' | 'serviceAccount'>): string {
    const { trustDomain } = this.#settings
    const by = spiffeId(trustDomain, workload.namespace, workload.serviceAccount)
    const uri = spiffeId(trustDomain, client.namespace, client.serviceAccount)
    return `x-forwarded-client-cert: By=${by};URI=${uri}\r\n`
  }

  /** `local`: the destination, when it is a mesh pod of this node: its own namespace is used when the broker has sockets of it. */
  #directPool(
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

  #tunnelPool(
    pod: Pod,
    clientAddress: string,
    client: Workload | undefined,
    { uid, namespace, serviceAccount }: Workload,
    endpoint: SocketName,
    flow: Flow | undefined,
    tls: OriginatedTls | undefined,
  ): UpstreamPool {
    const identity = spiffeId(this.#settings.trustDomain, namespace, serviceAccount)
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

  /** What arrives at a pod: plain, or through a tunnel from a verified peer. */
  inbound(pod: Pod, clientAddress: string, original: SocketName, source?: PeerIdentity): ExchangeTarget | undefined {
    const { snapshot, limits } = this.#host
    const workload = snapshot.workload(pod.workload)
    if (workload === undefined) return undefined
    const table = this.#table(pod, `inbound ${source?.principal ?? ''}`)
    const key = `${clientAddress} ${socketText(original)}`
    const known = table.get(key)
    if (known !== undefined && !known.pool.closed) return known
    if (table.size >= MAX_REMEMBERED) table.clear()
    // Named in the telemetry when the address is a pod of that very identity.
    const caller = source === undefined ? undefined : snapshot.workloadByAddress(clientAddress)
    const named = caller?.namespace === source?.namespace && caller?.serviceAccount === source?.serviceAccount
    const tcp = towards(workload, pod.stock, clientAddress, pod)
    const made = this.#target({
      pool: pod.pool(
        pod.uid,
        // A connection is of one caller: neither another identity nor another pod of that address goes on with it.
        `${tcp.kind} ${key} ${source?.principal ?? ''} ${snapshot.workloadByAddress(clientAddress)?.uid ?? ''}`,
        limits,
        () => new TcpDialer(original, tcp, limits.connectTimeoutMs),
      ),
      endpoint: original,
      decision: undefined,
      workload,
      service: undefined,
      clientAddress,
      policies: this.policiesOf(workload),
      connection: {
        ...(source === undefined ? {} : { source }),
        sourceIp: clientAddress,
        destinationIp: original.address,
        destinationPort: original.port,
      },
      quarantine: quarantineDenial(workload, clientAddress),
      identityLines: source === undefined ? '' : this.#identityLines(workload, source),
      client: named ? caller : undefined,
      source,
      tunnelled: false,
      secured: source !== undefined,
      reporters: REPORT_DESTINATION,
      direction: 'inbound',
    })
    table.set(key, made)
    return made
  }

  #target(parts: {
    readonly pool: ExchangeTarget['pool']
    readonly endpoint: SocketName
    readonly decision: ForwardDecision | undefined
    readonly flow?: Flow | undefined
    readonly workload: Workload | undefined
    readonly service: MeshService | undefined
    readonly clientAddress: string
    readonly policies: PolicySet | undefined
    readonly connection: ExchangeTarget['connection']
    readonly quarantine: ExchangeTarget['quarantine']
    readonly identityLines: string
    readonly client: Workload | undefined
    /** The verified peer, where the client is not known by name. */
    readonly source?: PeerIdentity | undefined
    readonly tunnelled: boolean
    /** By TLS that the mesh opens to the application. */
    readonly secures?: boolean
    /** Both ends are proven to each other. */
    readonly secured: boolean
    readonly reporters: Reporters
    readonly direction: 'outbound' | 'inbound'
  }): ExchangeTarget {
    const { client, workload, service, reporters } = parts
    const host = service === undefined ? UNKNOWN : hostOf(service)
    const description: EdgeDescription = {
      source: this.#labels(client),
      // Only who has proven it has a principal: what is called in plain text has not.
      destination: withPrincipal(this.#labels(workload), parts.secured || parts.direction === 'inbound'),
      service: service === undefined ? UNKNOWN_SERVICE : { host, name: service.name, namespace: service.namespace },
      protocol: 'http',
      securityPolicy: parts.secured ? 'mutual_tls' : 'none',
    }
    const log = (protocol: 'http' | 'tcp' | 'grpc'): AccessEdge =>
      this.#log.edge({
        source: client === undefined ? '' : `${client.namespace}/${client.name}`,
        sourceIdentity: parts.source === undefined ? this.#identity(client) : `spiffe://${parts.source.principal}`,
        destination: workload === undefined ? '' : `${workload.namespace}/${workload.name}`,
        destinationIdentity: workload?.optedIn === true ? this.#identity(workload) : '',
        destinationService: service === undefined ? '' : host,
        protocol,
        direction: parts.direction,
        reporter: reporters === REPORT_BOTH ? 'both' : reporters === REPORT_SOURCE ? 'source' : 'destination',
      })
    return {
      kind: 'forward',
      pool: parts.pool,
      load: this.#loadFor(parts.endpoint as Endpoint),
      clientAddress: parts.clientAddress,
      workload,
      policies: parts.policies,
      connection: parts.connection,
      quarantine: parts.quarantine,
      identityLines: parts.identityLines,
      identityFields: identityFields(parts.identityLines),
      // What was not declared is not tried out: within TLS it is agreed on before.
      speaks: spokenBy(parts.decision?.protocol) ?? (parts.secures ? 'HTTP/1.1' : undefined),
      tunnelled: parts.tunnelled,
      decision: parts.decision,
      flow: parts.flow,
      edge: this.#edges.request(description),
      tcpEdge: this.#edges.tcp({ ...description, protocol: 'tcp' }),
      grpcEdge: this.#edges.request({ ...description, protocol: 'grpc' }),
      access: log('http'),
      tcpAccess: log('tcp'),
      grpcAccess: log('grpc'),
      reporters,
      traced:
        this.#settings.tracing === undefined
          ? undefined
          : {
              source: tracedPeer(client),
              destination: tracedPeer(workload),
              host: service === undefined ? '' : host,
              sides: reporters === REPORT_BOTH ? 'both' : reporters === REPORT_SOURCE ? 'client' : 'server',
            },
      upstream: socketText(parts.endpoint),
    }
  }

  #identity(workload: Workload | undefined): string {
    return workload === undefined
      ? ''
      : spiffeId(this.#settings.trustDomain, workload.namespace, workload.serviceAccount)
  }

  #labels(workload: Workload | undefined): WorkloadLabels {
    if (workload === undefined) return UNKNOWN_WORKLOAD
    return {
      namespace: workload.namespace,
      workload: workload.owner,
      app: workload.app,
      version: workload.version,
      principal: workload.optedIn ? this.#identity(workload) : UNKNOWN,
    }
  }

  #loadFor(endpoint: Endpoint): EndpointLoad {
    let load = this.#loadByEndpoint.get(endpoint)
    if (load === undefined) {
      const key = `${endpoint.address} ${endpoint.port}`
      load = this.#loads.get(key)
      if (load === undefined) {
        load = newEndpointLoad(this.#host.now())
        this.#loads.set(key, load)
      }
      this.#loadByEndpoint.set(endpoint, load)
    }
    return load
  }

  /** Stands for the destination of what never got one, or no further than to a Service. */
  nowhere(pod: Pod, clientAddress: string, service?: MeshService): ExchangeTarget {
    const table = this.#table(pod, 'nowhere')
    const key = service === undefined ? clientAddress : `${clientAddress} ${service.namespace}/${service.name}`
    const known = table.get(key)
    if (known !== undefined) return known
    if (table.size >= MAX_REMEMBERED) table.clear()
    const endpoint = { address: '', port: 0 }
    const made = this.#target({
      pool: this.#directPool(pod, undefined, undefined, endpoint),
      endpoint,
      decision: undefined,
      workload: undefined,
      service,
      clientAddress,
      policies: undefined,
      connection: { sourceIp: clientAddress, destinationIp: '', destinationPort: 0 },
      quarantine: undefined,
      identityLines: '',
      client: this.#host.snapshot.workload(pod.workload),
      tunnelled: false,
      secured: false,
      reporters: REPORT_SOURCE,
      direction: 'outbound',
    })
    table.set(key, made)
    return made
  }
}

function secured(dialer: Dialer, tls: OriginatedTls | undefined, limits: ProxyLimits): Dialer {
  return tls === undefined ? dialer : new TlsDialer(dialer, tls.policy, tls.protocol, limits.connectTimeoutMs)
}

/** As metrics name it. */
function tracedPeer(workload: Workload | undefined): TracedPeer | undefined {
  if (workload === undefined) return undefined
  const { namespace, name, uid, owner, version } = workload
  return { namespace, pod: name, uid, service: owner, version: version === UNKNOWN ? '' : version }
}

/** Sockets into the namespace of `workload`, through which its application sees `client` as its peer, or itself. */
function towards(workload: Workload, stock: SocketStock, client: string, count: DialCount): TcpSource {
  return workload.hidesClientAddress
    ? { stock, kind: 'plain', localAddress: undefined, count }
    : { stock, kind: 'transparent', localAddress: client, count }
}

const NO_FIELDS: readonly string[] = Object.freeze([])

/** Of lines as `#identityLines` makes them: there is one, or none. */
function identityFields(lines: string): readonly string[] {
  const colon = lines.indexOf(':')
  return colon < 0 ? NO_FIELDS : [lines.slice(0, colon), lines.slice(colon + 2, -2)]
}

function spokenBy(protocol: AppProtocol | undefined): ExchangeTarget['speaks'] {
  return protocol === 'http2' || protocol === 'grpc' ? 'HTTP/2' : protocol === 'http' ? 'HTTP/1.1' : undefined
}

function hostOf({ name, namespace, external }: MeshService): string {
  return external === undefined ? `${name}.${namespace}.svc.cluster.local` : name
}

function modeOf({ peerModes }: Workload, port: number): PeerMode {
  return peerModes?.ports[port] ?? peerModes?.mode ?? 'PERMISSIVE'
}

function socketText({ address, port }: SocketName): string {
  if (address === '') return ''
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

function withPrincipal(labels: WorkloadLabels, isProven: boolean): WorkloadLabels {
  return isProven || labels.principal === UNKNOWN ? labels : { ...labels, principal: UNKNOWN }
}

function sameFamily(one: string, other: string): boolean {
  return one.includes(':') === other.includes(':')
}
