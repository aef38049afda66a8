/**
 * The proxy's state: the present snapshot, the pods dealt to it, targets, metrics and access log. All
 * mutable state of the data path hangs here, below pods; connections see it through `Services`.
 */
import { getSystemErrorName } from 'node:util'
import type {
  Endpoint,
  HttpFacts,
  ListenerSpec,
  MeshService,
  MetricsAnswer,
  ProxySettings,
  ProxyStatusAnswer,
  ResponseFlag,
  SocketKind,
  Verdict,
  Workload,
} from '#contract'
import { peerIdentity, spiffeId } from '#identity'
import { originalDestination } from '#linux'
import { type Snapshot, World, type WorldChange } from '#mesh'
import { type PolicySet, policySetFor } from '#policy'
import { type ForwardDecision, rewriteTarget } from '#routing'
import {
  type AccessEdge,
  AccessLog,
  AccessRecord,
  createIstioFamilies,
  EdgeCache,
  type EdgeDescription,
  Metrics,
  REPORT_BOTH,
  REPORT_DESTINATION,
  REPORT_SOURCE,
  type Reporters,
  UNKNOWN,
  UNKNOWN_SERVICE,
  UNKNOWN_WORKLOAD,
  type WorkloadLabels,
} from '#telemetry'
import { Accepted, type SpokenProtocols } from './accepted.ts'
import { type EndpointLoad, ExchangeTarget } from './exchange-target.ts'
import type { HttpConnection } from './http-connection.ts'
import { InboundPipeline, isMeshSocket, OutboundPipeline, type SocketName } from './pipeline.ts'
import { Pod } from './pod.ts'
import type { RequestOutcome, Services, TcpOutcome } from './services.ts'
import { SocketStock } from './sockets.ts'
import { NOBODY, TcpListener, TcpStream } from './tcp.ts'

const POLICIES = Symbol('policy sets')
const BACKLOG = 4096
/** Destinations remembered as HTTP, and direct targets kept per pod; beyond it the table starts over. */
const MAX_REMEMBERED = 4096
const SWEEP_MS = 250
/** After the broker refused sockets of a pod's namespace, it is treated as not enrolled for this long. */
const REFUSED_MS = 1_000

/** Flags by which the mesh says that it refused, rather than the application or the client. */
const REFUSAL_FLAGS: ReadonlySet<ResponseFlag> = new Set([
  'RBAC',
  'UH',
  'UF',
  'UC',
  'UT',
  'NR',
  'DPE',
  'UPE',
  'SI',
  'UO',
])

const STDOUT = 1

export type AskSockets = (id: number, uid: string, kind: SocketKind, family: 4 | 6, count: number) => void

export class Engine implements Services, SpokenProtocols {
  readonly limits: ProxySettings['limits']
  snapshot: Snapshot
  readonly metrics = new Metrics()
  readonly loadOf: (endpoint: Endpoint) => number
  /** Told when the last connection of a removed pod has ended. */
  onDrained: (uid: string) => void = () => {}
  readonly #settings: ProxySettings
  readonly #ask: AskSockets
  readonly #world = new World()
  readonly #edges: EdgeCache
  readonly #log: AccessLog
  readonly #record = new AccessRecord()
  readonly #pods = new Map<string, Pod>()
  readonly #stocks = new Map<string, SocketStock>()
  readonly #requests = new Map<number, { uid: string; kind: SocketKind; family: 4 | 6; count: number }>()
  readonly #refused = new Map<string, number>()
  readonly #loads = new Map<string, EndpointLoad>()
  readonly #loadByEndpoint = new WeakMap<Endpoint, EndpointLoad>()
  readonly #http = new Set<string>()
  readonly #sweeper: NodeJS.Timeout
  #nextRequest = 1
  #lagMs = 0
  #lastSweep: number

  constructor(settings: ProxySettings, ask: AskSockets) {
    this.#settings = settings
    this.#ask = ask
    this.limits = settings.limits
    this.snapshot = this.#world.snapshot
    this.#edges = new EdgeCache(createIstioFamilies(this.metrics))
    this.#log = new AccessLog({
      target: settings.accessLog === 'off' ? 'off' : STDOUT,
      node: settings.node,
      metrics: this.metrics,
    })
    this.loadOf = (endpoint) => this.#loadFor(endpoint).active
    this.#lastSweep = performance.now()
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS)
  }

  now(): number {
    return performance.now()
  }

  errorText(status: number): string {
    return status === 0 ? 'closed' : getSystemErrorName(status)
  }

  rewriteTarget(decision: ForwardDecision, facts: HttpFacts): string {
    return rewriteTarget(decision, facts)
  }

  originalAuthority(exchange: HttpConnection): string {
    const { original } = exchange.pipeline as InboundPipeline | OutboundPipeline
    const host = original.address.includes(':') ? `[${original.address}]` : original.address
    return original.port === 80 ? host : `${host}:${original.port}`
  }

  isHttp(key: string): boolean {
    return this.#http.has(key)
  }

  sawHttp(key: string): void {
    if (this.#http.size >= MAX_REMEMBERED) this.#http.clear()
    this.#http.add(key)
  }

  // ── World ─────────────────────────────────────────────────────────────────────────────────────

  applyWorld(change: WorldChange): void {
    this.snapshot = this.#world.apply(change)
    for (const pod of this.#pods.values()) {
      for (const connection of [...pod.connections]) connection.rejudge()
    }
    // Pools through the namespace of a pod that is gone must not outlive it.
    for (const [uid, stock] of this.#stocks) {
      if (this.#pods.has(uid) || this.snapshot.workloadByUid(uid) !== undefined) continue
      this.#stocks.delete(uid)
      stock.close()
      for (const pod of this.#pods.values()) pod.forgetVia(uid)
    }
  }

  policiesOf(workload: Workload): PolicySet {
    const snapshot = this.snapshot
    return snapshot.derived(POLICIES, `${workload.namespace}/${workload.name}`, () =>
      policySetFor(snapshot, workload, targetedServices(snapshot, workload)),
    )
  }

  // ── Pods ──────────────────────────────────────────────────────────────────────────────────────

  addPod(uid: string, workload: string, listeners: readonly ListenerSpec[], fds: readonly number[]): void {
    const known = this.#pods.get(uid)
    const pod = known ?? new Pod(uid, workload, this.#stock(uid))
    pod.draining = false
    // Listeners come anew after a repair: the old ones are gone in the kernel.
    pod.stopAccepting()
    this.#pods.set(uid, pod)
    this.#refused.delete(uid)
    listeners.forEach((spec, i) => {
      const fd = fds[i]
      if (fd === undefined) return
      pod.listeners.push(new TcpListener(fd, BACKLOG, (handle) => this.#accept(pod, spec, handle)))
    })
  }

  removePod(uid: string, mode: 'drain' | 'now'): void {
    const pod = this.#pods.get(uid)
    if (pod === undefined) {
      this.onDrained(uid)
      return
    }
    pod.draining = true
    pod.stopAccepting()
    if (mode === 'now') for (const connection of [...pod.connections]) connection.abort()
    else for (const connection of [...pod.connections]) connection.drain()
    for (const other of this.#pods.values()) if (other !== pod) other.forgetVia(uid)
    this.connectionClosed(pod)
  }

  connectionClosed(pod: Pod): void {
    if (!pod.draining || pod.connections.size > 0 || this.#pods.get(pod.uid) !== pod) return
    this.#pods.delete(pod.uid)
    this.#stocks.delete(pod.uid)
    pod.close()
    this.onDrained(pod.uid)
  }

  /** Stops accepting and lets everything finish; resolves when nothing is left or `graceMs` are over. */
  async drain(graceMs: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    const before = this.onDrained
    const check = (): void => {
      if (this.#pods.size === 0) resolve()
    }
    this.onDrained = (uid) => {
      before(uid)
      check()
    }
    const timer = setTimeout(resolve, graceMs)
    for (const uid of [...this.#pods.keys()]) this.removePod(uid, 'drain')
    check()
    await promise
    clearTimeout(timer)
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper)
    for (const pod of [...this.#pods.values()]) pod.close()
    await this.#log[Symbol.asyncDispose]()
  }

  #stock(uid: string): SocketStock {
    let stock = this.#stocks.get(uid)
    if (stock === undefined) {
      stock = new SocketStock(uid, (podUid, kind, family, count) => {
        const id = this.#nextRequest++
        this.#requests.set(id, { uid: podUid, kind, family, count })
        this.#ask(id, podUid, kind, family, count)
      })
      this.#stocks.set(uid, stock)
    }
    return stock
  }

  /** The broker's answer to request `id`; no sockets means refused, and why. */
  socketsArrived(id: number, fds: readonly number[], error: string): void {
    const request = this.#requests.get(id)
    if (request === undefined) return
    this.#requests.delete(id)
    if (fds.length === 0) {
      this.#refused.set(request.uid, this.now() + REFUSED_MS)
      for (const pod of this.#pods.values()) pod.forgetVia(request.uid)
    }
    this.#stocks.get(request.uid)?.deliver(request.kind, request.family, request.count, fds, error)
  }

  #accept(pod: Pod, spec: ListenerSpec, handle: object): void {
    const stream = new TcpStream(handle, NOBODY)
    const original = originalDestination(stream.fd, spec.family)
    const refused =
      original === undefined ||
      isMeshSocket(this.snapshot, original) ||
      pod.connections.size >= this.limits.maxConnectionsPerPod
    if (refused) {
      stream.reset()
      return
    }
    const clientAddress = stream.peer().address
    const pipeline =
      spec.direction === 'outbound'
        ? new OutboundPipeline(this, pod, original, clientAddress)
        : new InboundPipeline(this, pod, original, clientAddress)
    new Accepted(this, pod, pipeline, stream, clientAddress, this)
  }

  // ── Targets ───────────────────────────────────────────────────────────────────────────────────

  outboundTarget(
    pod: Pod,
    clientAddress: string,
    decision: ForwardDecision | string | undefined,
    endpoint: SocketName & { readonly workload?: string },
    service: MeshService | undefined,
  ): ExchangeTarget {
    if (pod.targetsVersion !== this.snapshot.version) {
      pod.targetsVersion = this.snapshot.version
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
    const snapshot = this.snapshot
    const client = snapshot.workload(pod.workload)
    const workload =
      (endpoint.workload === undefined ? undefined : snapshot.workload(endpoint.workload)) ??
      snapshot.workloadByAddress(endpoint.address)
    const local = workload?.optedIn === true && workload.node === this.#settings.node
    // Its policies are judged here; its namespace is used when the broker has sockets of it.
    const enrolled = local && (this.#refused.get(workload.uid) ?? 0) < this.now()
    const self = workload?.uid === pod.uid
    // Bound to in the destination's namespace, so of the destination's family.
    const bound = sameFamily(clientAddress, endpoint.address)
      ? clientAddress
      : client?.addresses.find((address) => sameFamily(address, endpoint.address))
    const pool =
      enrolled && !self && bound !== undefined
        ? pod.pool({ uid: workload.uid, stock: this.#stock(workload.uid) }, 'transparent', bound, endpoint, this.limits)
        : pod.pool(pod, 'plain', undefined, endpoint, this.limits)
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

  inboundTarget(pod: Pod, clientAddress: string, original: SocketName): ExchangeTarget | undefined {
    const workload = this.snapshot.workload(pod.workload)
    if (workload === undefined) return undefined
    return this.#target({
      pool: pod.pool(pod, 'transparent', clientAddress, original, this.limits),
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
      upstream: parts.endpoint.address.includes(':')
        ? `[${parts.endpoint.address}]:${parts.endpoint.port}`
        : `${parts.endpoint.address}:${parts.endpoint.port}`,
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

  // ── Telemetry ─────────────────────────────────────────────────────────────────────────────────

  recordRequest(exchange: HttpConnection, outcome: RequestOutcome): void {
    const target = exchange.target ?? this.#nowhere(exchange.pod, exchange.clientAddress)
    target.edge.record(
      outcome.status,
      outcome.flag,
      outcome.durationMs,
      outcome.bytesIn,
      outcome.bytesOut,
      target.reporters,
    )
    if (!this.#log.enabled) return
    const record = this.#record
    const named = exchange.routeName ?? target.decision
    record.sourceAddress = exchange.clientAddress
    record.route = named?.route ?? ''
    record.rule = named?.rule ?? ''
    record.policy = exchange.verdict?.policy ?? ''
    record.upstream = exchange.target === undefined ? '' : target.upstream
    record.method = exchange.method
    record.path = exchange.path
    record.authority = exchange.authority
    record.status = outcome.status
    record.flags = outcome.flag
    record.durationMs = outcome.durationMs
    record.upstreamMs = outcome.upstreamMs
    record.bytesIn = outcome.bytesIn
    record.bytesOut = outcome.bytesOut
    record.traceId = outcome.trace
    record.refused = REFUSAL_FLAGS.has(outcome.flag)
    record.reason = outcome.why
    this.#log.request(target.access, record)
  }

  recordTcp(
    pod: Pod,
    clientAddress: string,
    chosen: ExchangeTarget | undefined,
    verdict: Verdict | undefined,
    outcome: TcpOutcome,
  ): void {
    const target = chosen ?? this.#nowhere(pod, clientAddress)
    target.tcpEdge.opened(target.reporters)
    target.tcpEdge.received(outcome.bytesIn, target.reporters)
    target.tcpEdge.sent(outcome.bytesOut, target.reporters)
    target.tcpEdge.closed(outcome.flag, target.reporters)
    if (!this.#log.enabled) return
    const record = this.#record
    record.reset()
    record.sourceAddress = clientAddress
    record.policy = verdict?.policy ?? ''
    record.upstream = chosen === undefined ? '' : target.upstream
    record.flags = outcome.flag
    record.durationMs = outcome.durationMs
    record.bytesIn = outcome.bytesIn
    record.bytesOut = outcome.bytesOut
    record.refused = REFUSAL_FLAGS.has(outcome.flag)
    record.reason = outcome.why
    this.#log.connection(target.tcpAccess, record)
  }

  /** Stands for the destination of what never got one. */
  #nowhere(pod: Pod, clientAddress: string): ExchangeTarget {
    const known = pod.targets.get('nowhere')?.get(clientAddress)
    if (known !== undefined && pod.targetsVersion === this.snapshot.version) return known
    const endpoint = { address: '', port: 0 }
    const made = this.#target({
      pool: pod.pool(pod, 'plain', undefined, endpoint, this.limits),
      endpoint,
      decision: undefined,
      workload: undefined,
      service: undefined,
      clientAddress,
      policies: undefined,
      connection: { sourceIp: clientAddress, destinationIp: '', destinationPort: 0 },
      identityLines: '',
      client: this.snapshot.workload(pod.workload),
      reporters: REPORT_SOURCE,
      direction: 'outbound',
    })
    pod.targets.set('nowhere', new Map([[clientAddress, made]]))
    return made
  }

  #sweep(): void {
    const now = performance.now()
    this.#lagMs = Math.max(0, now - this.#lastSweep - SWEEP_MS)
    this.#lastSweep = now
    const idleSince = now - this.limits.upstreamIdleTimeoutMs
    for (const pod of this.#pods.values()) {
      for (const connection of pod.connections) connection.sweep(now)
      pod.closeIdle(idleSince)
    }
    if (this.#loads.size > MAX_REMEMBERED) {
      for (const [key, load] of this.#loads) if (load.active === 0) this.#loads.delete(key)
    }
    for (const [uid, until] of this.#refused) if (until < now) this.#refused.delete(uid)
  }

  metricsAnswer(): MetricsAnswer {
    return this.metrics.snapshot()
  }

  statusAnswer(): ProxyStatusAnswer {
    return {
      pid: process.pid,
      worldVersion: this.snapshot.version,
      rssBytes: process.memoryUsage.rss(),
      eventLoopLagMs: this.#lagMs,
      pods: [...this.#pods.values()].map((pod) => ({
        uid: pod.uid,
        workload: pod.workload,
        connections: pod.connections.size,
        requestsInFlight: pod.requestsInFlight,
        draining: pod.draining,
      })),
    }
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

function sameFamily(one: string, other: string): boolean {
  return one.includes(':') === other.includes(':')
}
