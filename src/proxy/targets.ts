/**
 * Works out, once per snapshot, what "this pod's traffic to that endpoint" means: through whose namespace and pool it
 * goes, whose policies judge it here, what the application and the log are told of the peer.
 */
import type { Endpoint, MeshService, ProxyLimits, Workload } from '#contract'
import { peerIdentity, spiffeId } from '#identity'
import type { Snapshot } from '#mesh'
import { type PolicySet, policySetFor } from '#policy'
import type { ForwardDecision } from '#routing'
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
import { type EndpointLoad, ExchangeTarget } from './exchange-target.ts'
import type { SocketName } from './pipeline.ts'
import type { Pod } from './pod.ts'
import type { SocketStock } from './sockets.ts'

const POLICIES = Symbol('policy sets')
/** Direct targets kept per pod, and endpoint loads kept; beyond it the table starts over, or is thinned. */
const MAX_REMEMBERED = 4096

/** What targets are made of. */
export interface TargetHost {
  readonly snapshot: Snapshot
  readonly limits: ProxyLimits
  /** Sockets in the network namespace of a pod of this node. */
  stockOf(uid: string): SocketStock
  /** False while the broker refuses sockets of that pod: it is not enrolled (yet, or any more). */
  hasSocketsOf(uid: string): boolean
}

export interface TargetSettings {
  readonly node: string
  readonly trustDomain: string
}

export class Targets {
  readonly loadOf: (endpoint: Endpoint) => number
  readonly #host: TargetHost
  readonly #settings: TargetSettings
  readonly #edges: EdgeCache
  readonly #log: AccessLog
  readonly #loads = new Map<string, EndpointLoad>()
  readonly #loadByEndpoint = new WeakMap<Endpoint, EndpointLoad>()

  constructor(host: TargetHost, settings: TargetSettings, edges: EdgeCache, log: AccessLog) {
    this.#host = host
    this.#settings = settings
    this.#edges = edges
    this.#log = log
    this.loadOf = (endpoint) => this.#loadFor(endpoint).active
  }

  /** Forgets endpoints without load once there are many. */
  sweep(): void {
    if (this.#loads.size <= MAX_REMEMBERED) return
    for (const [key, load] of this.#loads) if (load.active === 0) this.#loads.delete(key)
  }

  policiesOf(workload: Workload): PolicySet {
    const { snapshot } = this.#host
    return snapshot.derived(POLICIES, `${workload.namespace}/${workload.name}`, () =>
      policySetFor(snapshot, workload, targetedServices(snapshot, workload)),
    )
  }

  outbound(
    pod: Pod,
    clientAddress: string,
    decision: ForwardDecision | string | undefined,
    endpoint: SocketName & { readonly workload?: string },
    service: MeshService | undefined,
  ): ExchangeTarget {
    if (pod.targetsVersion !== this.#host.snapshot.version) {
      pod.targetsVersion = this.#host.snapshot.version
      pod.targets.clear()
    }
    let byEndpoint = pod.targets.get(decision ?? '')
    if (byEndpoint === undefined) {
      byEndpoint = new Map()
      pod.targets.set(decision ?? '', byEndpoint)
    }
    const key = decision === undefined ? `${endpoint.address} ${endpoint.port}` : endpoint
    const known = byEndpoint.get(key)
    if (known !== undefined && known.clientAddress === clientAddress && !known.pool.closed) return known
    if (byEndpoint.size >= MAX_REMEMBERED) byEndpoint.clear()
    const made = this.#makeOutbound(
      pod,
      clientAddress,
      typeof decision === 'object' ? decision : undefined,
      endpoint,
      service,
    )
    byEndpoint.set(key, made)
    return made
  }

  #makeOutbound(
    pod: Pod,
    clientAddress: string,
    decision: ForwardDecision | undefined,
    endpoint: SocketName & { readonly workload?: string },
    service: MeshService | undefined,
  ): ExchangeTarget {
    const snapshot = this.#host.snapshot
    const client = snapshot.workload(pod.workload)
    const workload =
      (endpoint.workload === undefined ? undefined : snapshot.workload(endpoint.workload)) ??
      snapshot.workloadByAddress(endpoint.address)
    const local = workload?.optedIn === true && workload.node === this.#settings.node
    // Its policies are judged here; its namespace is used when the broker has sockets of it.
    const enrolled = local && this.#host.hasSocketsOf(workload.uid)
    const self = workload?.uid === pod.uid
    // Bound to in the destination's namespace, so of the destination's family.
    const bound = sameFamily(clientAddress, endpoint.address)
      ? clientAddress
      : client?.addresses.find((address) => sameFamily(address, endpoint.address))
    const pool =
      enrolled && !self && bound !== undefined
        ? pod.pool(
            { uid: workload.uid, stock: this.#host.stockOf(workload.uid) },
            'transparent',
            bound,
            endpoint,
            this.#host.limits,
          )
        : pod.pool(pod, 'plain', undefined, endpoint, this.#host.limits)
    const { trustDomain } = this.#settings
    const source = client === undefined ? undefined : peerIdentity(trustDomain, client)
    return this.#target({
      pool,
      endpoint,
      decision,
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
      identityLines:
        local && client !== undefined
          ? `x-forwarded-client-cert: By=${spiffeId(trustDomain, workload.namespace, workload.serviceAccount)};URI=${spiffeId(trustDomain, client.namespace, client.serviceAccount)}\r\n`
          : '',
      client,
      reporters: local ? REPORT_BOTH : REPORT_SOURCE,
      direction: 'outbound',
    })
  }

  inbound(pod: Pod, clientAddress: string, original: SocketName): ExchangeTarget | undefined {
    const workload = this.#host.snapshot.workload(pod.workload)
    if (workload === undefined) return undefined
    return this.#target({
      pool: pod.pool(pod, 'transparent', clientAddress, original, this.#host.limits),
      endpoint: original,
      decision: undefined,
      workload,
      service: undefined,
      clientAddress,
      policies: this.policiesOf(workload),
      connection: { sourceIp: clientAddress, destinationIp: original.address, destinationPort: original.port },
      identityLines: '',
      client: undefined,
      reporters: REPORT_DESTINATION,
      direction: 'inbound',
    })
  }

  #target(parts: {
    readonly pool: ExchangeTarget['pool']
    readonly endpoint: SocketName
    readonly decision: ForwardDecision | undefined
    readonly workload: Workload | undefined
    readonly service: MeshService | undefined
    readonly clientAddress: string
    readonly policies: PolicySet | undefined
    readonly connection: ExchangeTarget['connection']
    readonly identityLines: string
    readonly client: Workload | undefined
    readonly reporters: Reporters
    readonly direction: 'outbound' | 'inbound'
  }): ExchangeTarget {
    const { client, workload, service, reporters } = parts
    const verified = client !== undefined && parts.policies !== undefined
    const host = service === undefined ? UNKNOWN : `${service.name}.${service.namespace}.svc.cluster.local`
    const description: EdgeDescription = {
      source: this.#labels(client),
      destination: this.#labels(workload),
      service: service === undefined ? UNKNOWN_SERVICE : { host, name: service.name, namespace: service.namespace },
      protocol: 'http',
      securityPolicy: verified ? 'mutual_tls' : 'none',
    }
    const log = (protocol: 'http' | 'tcp'): AccessEdge =>
      this.#log.edge({
        source: client === undefined ? '' : `${client.namespace}/${client.name}`,
        sourceIdentity: this.#identity(client),
        destination: workload === undefined ? '' : `${workload.namespace}/${workload.name}`,
        destinationIdentity: workload?.optedIn === true ? this.#identity(workload) : '',
        destinationService: service === undefined ? '' : host,
        protocol,
        direction: parts.direction,
        reporter: reporters === REPORT_BOTH ? 'both' : reporters === REPORT_SOURCE ? 'source' : 'destination',
      })
    return new ExchangeTarget({
      ...parts,
      load: this.#loadFor(parts.endpoint as Endpoint),
      edge: this.#edges.request(description),
      tcpEdge: this.#edges.tcp({ ...description, protocol: 'tcp' }),
      access: log('http'),
      tcpAccess: log('tcp'),
      upstream: socketText(parts.endpoint),
    })
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
        load = { active: 0 }
        this.#loads.set(key, load)
      }
      this.#loadByEndpoint.set(endpoint, load)
    }
    return load
  }

  /** Stands for the destination of what never got one. */
  nowhere(pod: Pod, clientAddress: string): ExchangeTarget {
    const known = pod.targets.get('nowhere')?.get(clientAddress)
    if (known !== undefined && pod.targetsVersion === this.#host.snapshot.version) return known
    const endpoint = { address: '', port: 0 }
    const made = this.#target({
      pool: pod.pool(pod, 'plain', undefined, endpoint, this.#host.limits),
      endpoint,
      decision: undefined,
      workload: undefined,
      service: undefined,
      clientAddress,
      policies: undefined,
      connection: { sourceIp: clientAddress, destinationIp: '', destinationPort: 0 },
      identityLines: '',
      client: this.#host.snapshot.workload(pod.workload),
      reporters: REPORT_SOURCE,
      direction: 'outbound',
    })
    pod.targets.set('nowhere', new Map([[clientAddress, made]]))
    return made
  }
}

/** Of the Services that policies of the workload's namespace name (targetRefs), those that it serves. */
function targetedServices(snapshot: Snapshot, workload: Workload): readonly string[] {
  const { namespace } = workload
  const key = `${namespace}/${workload.name}`
  const named = new Set(snapshot.authorizationPolicies(namespace).flatMap((policy) => policy.services))
  return [...named].filter((name) => {
    const endpoints = Object.values(snapshot.service(`${namespace}/${name}`)?.endpoints ?? {})
    return endpoints.some((list) => list.some((endpoint) => endpoint.workload === key))
  })
}

function socketText({ address, port }: SocketName): string {
  if (address === '') return ''
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

function sameFamily(one: string, other: string): boolean {
  return one.includes(':') === other.includes(':')
}
