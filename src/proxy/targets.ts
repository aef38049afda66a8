/**
 * Works out, once per snapshot, what "this pod's traffic to that endpoint" means: whose policies judge it here, and what the
 * application is told of the peer. Its pool is from `target-pools.ts`, its load from `endpoint-loads.ts`, and what metrics,
 * log and spans say of it from `target-edges.ts`.
 */
import type {
  AppProtocol,
  Endpoint,
  MeshService,
  PeerIdentity,
  PeerMode,
  TracingSettings,
  Verdict,
  Workload,
} from '#contract'
import { peerIdentity, spiffeId } from '#identity'
import { type PolicySet, quarantineDenial } from '#policy'
import type { ForwardDecision, LoadOf } from '#routing'
import { type AccessLog, type EdgeCache, REPORT_BOTH, REPORT_DESTINATION, REPORT_SOURCE } from '#telemetry'
import { EndpointLoads } from './endpoint-loads.ts'
import type { ExchangeTarget } from './exchange-target.ts'
import type { Flow } from './flow.ts'
import type { Pod } from './pod.ts'
import { type SocketName, socketText } from './socket-name.ts'
import { type EdgeEnds, TargetEdges } from './target-edges.ts'
import { type OriginatedTls, type PoolHost, TargetPools } from './target-pools.ts'
import { policiesOf } from './workload-policies.ts'

/** Targets kept per pod and decision; beyond it the table starts over. */
const MAX_REMEMBERED = 4096

/** The decision of what a ServiceEntry declares without endpoints: endpoints are made as they are asked for. */
export const HOST = 'host'

/** What targets are made of. */
export interface TargetHost extends PoolHost {
  /** Monotonic milliseconds. */
  now(): number
}

export interface TargetSettings {
  readonly node: string
  readonly trustDomain: string
  readonly tracing?: TracingSettings
}

/** What a target is made of; the rest follows from it. */
interface TargetParts
  extends EdgeEnds,
    Pick<
      ExchangeTarget,
      | 'pool'
      | 'decision'
      | 'workload'
      | 'clientAddress'
      | 'policies'
      | 'connection'
      | 'quarantine'
      | 'identityLines'
      | 'tunnelled'
    > {
  readonly endpoint: SocketName
  readonly flow?: Flow | undefined
  /** By TLS that the mesh opens to the application. */
  readonly secures?: boolean
}

export class Targets {
  readonly loads: EndpointLoads
  readonly loadOf: LoadOf
  readonly #host: TargetHost
  readonly #settings: TargetSettings
  readonly #pools: TargetPools
  readonly #edges: TargetEdges

  constructor(host: TargetHost, settings: TargetSettings, edges: EdgeCache, log: AccessLog) {
    this.#host = host
    this.#settings = settings
    this.loads = new EndpointLoads(() => host.now())
    this.loadOf = this.loads.of
    this.#pools = new TargetPools(host, settings.trustDomain)
    this.#edges = new TargetEdges(settings.trustDomain, settings.tracing, edges, log)
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
        ? this.#pools.tunnel(pod, clientAddress, client, workload, endpoint, flow, tls)
        : this.#pools.direct(pod, bound, local ? workload : undefined, endpoint, flow, tls),
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

  /** What arrives at a pod: plain, or through a tunnel from a verified peer. */
  inbound(pod: Pod, clientAddress: string, original: SocketName, source?: PeerIdentity): ExchangeTarget | undefined {
    const { snapshot } = this.#host
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
    const made = this.#target({
      pool: this.#pools.inbound(pod, workload, clientAddress, original, source?.principal ?? ''),
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

  #target(parts: TargetParts): ExchangeTarget {
    const { edge, tcpEdge, grpcEdge, access, tcpAccess, grpcAccess, traced } = this.#edges.handles(parts)
    return {
      kind: 'forward',
      pool: parts.pool,
      load: this.loadOf(parts.endpoint as Endpoint),
      clientAddress: parts.clientAddress,
      workload: parts.workload,
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
      edge,
      tcpEdge,
      grpcEdge,
      access,
      tcpAccess,
      grpcAccess,
      reporters: parts.reporters,
      traced,
      upstream: socketText(parts.endpoint),
    }
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
      pool: this.#pools.direct(pod, undefined, undefined, endpoint),
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

const NO_FIELDS: readonly string[] = Object.freeze([])

/** Of lines as `#identityLines` makes them: there is one, or none. */
function identityFields(lines: string): readonly string[] {
  const colon = lines.indexOf(':')
  return colon < 0 ? NO_FIELDS : [lines.slice(0, colon), lines.slice(colon + 2, -2)]
}

function spokenBy(protocol: AppProtocol | undefined): ExchangeTarget['speaks'] {
  return protocol === 'http2' || protocol === 'grpc' ? 'HTTP/2' : protocol === 'http' ? 'HTTP/1.1' : undefined
}

function modeOf({ peerModes }: Workload, port: number): PeerMode {
  return peerModes?.ports[port] ?? peerModes?.mode ?? 'PERMISSIVE'
}

function sameFamily(one: string, other: string): boolean {
  return one.includes(':') === other.includes(':')
}
