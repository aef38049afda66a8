/**
 * The proxy's state: the present snapshot, the pods dealt to it, targets, metrics and access log. All
 * mutable state of the data path hangs here, below pods; connections see it through `Services`.
 */
import { getSystemErrorName } from 'node:util'
import { LagMeter } from '#base'
import type {
  CheckedEndpoint,
  HttpFacts,
  IdentityMaterial,
  ListenerSpec,
  LookAnswer,
  MetricsAnswer,
  PeerIdentity,
  ProxySettings,
  ProxyStatusAnswer,
  SocketKind,
  TapSpec,
} from '#contract'
import type { ByteStream } from '#http'
import { originalDestination } from '#linux'
import { type Snapshot, World, type WorldChange } from '#mesh'
import { type ForwardDecision, type MirrorPlan, rewriteTarget } from '#routing'
import { AccessLog, createIstioFamilies, EdgeCache, Metrics, type ValueHandle } from '#telemetry'
import { Accepted, type SpokenProtocols } from './accepted.ts'
import { Answerer } from './dns/answerer.ts'
import { HostResolver } from './dns/host-resolver.ts'
import { TcpQueries, UdpQueries } from './dns/listeners.ts'
import { Flows } from './flows.ts'
import { answerConnectCheck } from './health/connect-answer.ts'
import { HealthChecks } from './health/health-checks.ts'
import { HeldBytes } from './held-body.ts'
import { HttpConnection } from './http-connection.ts'
import type { HttpExchange } from './http-exchange.ts'
import { InboundPipeline } from './inbound-pipeline.ts'
import { LAG_SAMPLE_MS, LoadShedder } from './load-shedder.ts'
import { MirrorPipeline } from './mirror-pipeline.ts'
import { Mirrors, type RequestCopy } from './mirrors.ts'
import { OutboundPipeline } from './outbound-pipeline.ts'
import { isMeshSocket } from './pipeline.ts'
import { Pod } from './pod.ts'
import { PodUseFamilies } from './pod-use.ts'
import { Recorder } from './recorder.ts'
import type { Services } from './services.ts'
import { Sessions } from './sessions.ts'
import type { SocketName } from './socket-name.ts'
import { SocketStock } from './sockets.ts'
import type { SendSpans } from './span-outbox.ts'
import { type TapPort, Taps } from './tap.ts'
import { type TargetHost, Targets } from './targets.ts'
import { NOBODY, TcpListener, TcpStream } from './tcp.ts'
import { Tracer } from './tracer.ts'
import { type TunnelHost, Tunnels } from './tunnels.ts'

const BACKLOG = 4096
/** Destinations remembered as HTTP; beyond it the table starts over. */
const MAX_REMEMBERED = 4096
const SWEEP_MS = 250
/** After the broker refused sockets of a pod's namespace, it is treated as not enrolled for this long. */
const REFUSED_MS = 1_000

const STDOUT = 1

export type AskSockets = (id: number, uid: string, kind: SocketKind, family: 4 | 6, count: number) => void

/** What pods wrote last into tunnels must leave within this when the process ends. */
const LAST_WORDS_MS = 1_000

export class Engine implements Services, SpokenProtocols, TargetHost, TunnelHost {
  readonly limits: ProxySettings['limits']
  snapshot: Snapshot
  readonly metrics = new Metrics()
  readonly targets: Targets
  readonly flows: Flows
  readonly sessions: Sessions
  readonly health: HealthChecks
  readonly recorder: Recorder
  readonly tracer: Tracer | undefined
  /** Told when the last connection of a removed pod has ended. */
  onDrained: (uid: string) => void = () => {}
  /** Told of what taps see, with what to call when it has left. */
  onTapped: TapPort['send'] = () => {}
  /** Told when an endpoint is seen as healthy, or not, from now on. */
  /** Told when new requests begin to be refused because the event loop lags, and when that ends. */
  onShedding: (shedding: boolean, lagMs: number, shedRequests: number) => void = () => {}
  onHealth: (healthy: boolean, endpoint: CheckedEndpoint) => void = () => {}
  readonly #ask: AskSockets
  readonly #world = new World()
  readonly #log: AccessLog
  readonly #pods = new Map<string, Pod>()
  /** Of pods that are gone: what they wrote last is still leaving. */
  readonly #closing = new Set<Promise<void>>()
  readonly #tunnels: Tunnels
  /** Bodies that are translated, of all pods. */
  readonly #held = HeldBytes.inAll()
  readonly #dns: Answerer
  readonly #resolver: HostResolver
  readonly registryOnly: boolean
  readonly #stocks = new Map<string, SocketStock>()
  readonly #requests = new Map<number, { uid: string; kind: SocketKind; family: 4 | 6; count: number }>()
  readonly #refused = new Map<string, number>()
  readonly #http = new Set<string>()
  readonly #sweeper: NodeJS.Timeout
  readonly #mirrors: Mirrors
  readonly #shedder: LoadShedder
  readonly #shedRequests: ValueHandle
  readonly #sheddingGauge: ValueHandle
  readonly #sampler: NodeJS.Timeout
  #nextRequest = 1
  readonly #lag: LagMeter
  readonly #podUse = new PodUseFamilies()

  /** @param sendSpans takes what is traced; used only where tracing is on */
  constructor(settings: ProxySettings, ask: AskSockets, sendSpans: SendSpans) {
    this.#ask = ask
    this.#tunnels = new Tunnels(this, settings.trustDomain)
    this.limits = settings.limits
    this.snapshot = this.#world.snapshot
    this.#log = new AccessLog({
      target: settings.accessLog === 'off' ? 'off' : STDOUT,
      node: settings.node,
      metrics: this.metrics,
    })
    this.targets = new Targets(this, settings, new EdgeCache(createIstioFamilies(this.metrics)), this.#log)
    this.health = new HealthChecks(this, this.metrics, (healthy, endpoint) => this.onHealth(healthy, endpoint))
    this.flows = new Flows(this, this.targets.loadOf, this.metrics, this.health)
    this.sessions = new Sessions(settings.trustDomain, this)
    this.#mirrors = new Mirrors(
      this.metrics,
      (of, decision, stream, bytes) => {
        const pipeline = new MirrorPipeline(this, of, decision)
        new HttpConnection(this, of.pod, stream, pipeline, of.clientAddress).adopt(bytes)
      },
      (of) => this.snapshot.workload(of.pod.workload),
    )
    const { tracing } = settings
    this.tracer =
      tracing === undefined ? undefined : new Tracer(tracing, () => performance.now(), this.metrics, sendSpans)
    this.recorder = new Recorder(this.targets, this.#log, settings.metrics === 'on', this.tracer)
    this.#dns = new Answerer(this, settings.dns)
    this.#shedRequests = this.metrics
      .counter({
        name: 'weir_shed_requests_total',
        help: 'Requests refused because the event loop lagged.',
        labels: [],
      })
      .handle({})
    this.#sheddingGauge = this.metrics
      .gauge({
        name: 'weir_load_shedding',
        help: '1 while new requests are refused because the event loop lags.',
        labels: [],
      })
      .handle({})
    this.#shedder = new LoadShedder(settings.limits, performance.now())
    this.#sampler = setInterval(() => this.#sampleLag(), LAG_SAMPLE_MS)
    this.#resolver = new HostResolver(this, settings.dns)
    this.registryOnly = settings.outboundTrafficPolicy === 'REGISTRY_ONLY'
    this.#lag = new LagMeter(performance.now(), SWEEP_MS)
    this.#sweeper = setInterval(() => this.#sweep(), SWEEP_MS)
  }

  now(): number {
    return performance.now()
  }

  resolve(pod: Pod, name: string, done: (addresses: readonly string[]) => void): void {
    this.#resolver.resolve(pod, name, done)
  }

  errorText(status: number): string {
    return status === 0 ? 'closed' : getSystemErrorName(status)
  }

  rewriteTarget(decision: ForwardDecision, facts: HttpFacts): string {
    return rewriteTarget(decision, facts)
  }

  originalAuthority(exchange: HttpExchange): string {
    const { original } = exchange.pipeline as InboundPipeline | OutboundPipeline | MirrorPipeline
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
      const isCutOff = this.snapshot.workload(pod.workload)?.quarantine !== undefined
      if (isCutOff && !pod.isCutOff) pod.cutOff()
      pod.isCutOff = isCutOff
    }
    // Pools through the namespace of a pod that is gone, or towards it, must not outlive it.
    const known = (uid: string): boolean => this.#pods.has(uid) || this.snapshot.workloadByUid(uid) !== undefined
    for (const pod of this.#pods.values()) pod.forgetGone(known)
    for (const [uid, stock] of this.#stocks) {
      if (known(uid)) continue
      this.#stocks.delete(uid)
      stock.close()
    }
    this.health.follow()
  }

  setIdentity(material: IdentityMaterial): void {
    this.#tunnels.setIdentity(material, this.#pods.values())
  }

  forgetIdentity(identity: string): void {
    this.#tunnels.forgetIdentity(identity)
  }

  tunnelled(pod: Pod, stream: ByteStream, target: SocketName, clientAddress: string, peer: PeerIdentity): void {
    const pipeline = new InboundPipeline(this, pod, target, clientAddress, peer)
    new Accepted(this, pod, pipeline, stream, clientAddress, this)
  }

  connectAsked(pod: Pod, stream: ByteStream, target: SocketName, clientAddress: string, peer: PeerIdentity): void {
    answerConnectCheck(new InboundPipeline(this, pod, target, clientAddress, peer), stream)
  }

  tunnelRefused(pod: Pod, clientAddress: string, why: string): void {
    this.recorder.tunnelRefused(pod, clientAddress, why)
  }

  // ── Pods ──────────────────────────────────────────────────────────────────────────────────────

  addPod(uid: string, workload: string, listeners: readonly ListenerSpec[], fds: readonly number[]): void {
    const known = this.#pods.get(uid)
    const pod = known ?? new Pod(uid, workload, this.stockOf(uid), (made) => this.#tunnels.poolOf(made), this.#held)
    pod.draining = false
    // Listeners come anew after a repair: the old ones are gone in the kernel.
    pod.stopAccepting()
    this.#pods.set(uid, pod)
    this.#refused.delete(uid)
    listeners.forEach((spec, i) => {
      const fd = fds[i]
      if (fd === undefined) return
      if (spec.direction === 'dns-udp') pod.listeners.push(new UdpQueries(this.#dns, pod, fd, spec.family))
      else pod.listeners.push(new TcpListener(fd, BACKLOG, (handle) => this.#accept(pod, spec, handle)))
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
    this.#dns.forget(pod)
    this.#close(pod)
    this.onDrained(pod.uid)
  }

  #close(pod: Pod): void {
    const closing = pod.close().finally(() => this.#closing.delete(closing))
    this.#closing.add(closing)
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
    clearInterval(this.#sampler)
    this.health.close()
    for (const pod of [...this.#pods.values()]) this.#close(pod)
    const late = new Promise<void>((resolve) => setTimeout(resolve, LAST_WORDS_MS).unref())
    await Promise.race([Promise.all([...this.#closing, this.tracer?.close()]), late])
    await this.#log[Symbol.asyncDispose]()
  }

  stockOf(uid: string): SocketStock {
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

  hasSocketsOf(uid: string): boolean {
    return (this.#refused.get(uid) ?? 0) < this.now()
  }

  /** The broker's answer to request `id`; no sockets means refused, and why. */
  socketsArrived(id: number, fds: readonly number[], error: string): void {
    const request = this.#requests.get(id)
    if (request === undefined) return
    this.#requests.delete(id)
    // Datagrams are not what a pod's traffic goes by.
    if (fds.length === 0 && request.kind !== 'datagram') {
      this.#refused.set(request.uid, this.now() + REFUSED_MS)
      for (const pod of this.#pods.values()) pod.forgetVia(request.uid)
    }
    this.#stocks.get(request.uid)?.deliver(request.kind, request.family, request.count, fds, error)
  }

  #accept(pod: Pod, spec: ListenerSpec, handle: object): void {
    if (spec.direction === 'tunnel') {
      this.#tunnels.accept(pod, handle)
      return
    }
    if (spec.direction === 'dns-tcp') {
      if (pod.isFull(this.limits.maxConnectionsPerPod)) new TcpStream(handle, NOBODY).reset()
      else new TcpQueries(this.#dns, pod, handle, this.now(), () => this.connectionClosed(pod))
      return
    }
    const stream = new TcpStream(handle, NOBODY)
    const original = originalDestination(stream.fd, spec.family)
    const refused =
      original === undefined || isMeshSocket(this.snapshot, original) || pod.isFull(this.limits.maxConnectionsPerPod)
    if (refused) {
      stream.reset()
      return
    }
    const clientAddress = stream.peer().address
    const pipeline =
      spec.direction === 'outbound'
        ? new OutboundPipeline(this, pod, original, clientAddress)
        : new InboundPipeline(this, pod, original, clientAddress, undefined)
    new Accepted(this, pod, pipeline, stream, clientAddress, this)
  }

  copyOf(exchange: HttpExchange, plans: readonly MirrorPlan[]): RequestCopy | undefined {
    return this.#mirrors.begin(exchange, plans)
  }

  openTap(id: number, spec: TapSpec): void {
    const { recorder } = this
    recorder.taps ??= new Taps({
      send: (tap, events, lost, sent) => this.onTapped(tap, events, lost, sent),
      now: () => performance.now(),
      time: () => Date.now(),
      ownerOf: (pod) => this.snapshot.workload(pod)?.owner,
    })
    recorder.taps.open(id, spec)
    recorder.keepsAnswers = recorder.taps.showsHeaders
  }

  closeTap(id: number): void {
    const { recorder } = this
    recorder.taps?.close(id)
    recorder.keepsAnswers = recorder.taps?.showsHeaders === true
    if (recorder.taps?.size === 0) recorder.taps = undefined
  }

  get shedding(): boolean {
    return this.#shedder.shedding
  }

  shed(): void {
    this.#shedRequests.inc(1)
  }

  #sampleLag(): void {
    if (!this.#shedder.sample(performance.now())) return
    const { shedding, lagMs } = this.#shedder
    this.#sheddingGauge.set(shedding ? 1 : 0)
    this.onShedding(shedding, lagMs, this.#shedRequests.value)
  }

  #sweep(): void {
    const now = performance.now()
    this.#lag.tick(now)
    const idleSince = now - this.limits.upstreamIdleTimeoutMs
    for (const pod of this.#pods.values()) {
      pod.sweep(now, idleSince)
    }
    this.targets.loads.sweep()
    this.health.sweep(now)
    for (const [uid, until] of this.#refused) if (until < now) this.#refused.delete(uid)
  }

  metricsAnswer(): MetricsAnswer {
    const { user, system } = process.cpuUsage()
    const use = this.#podUse.collect([...this.#pods.values()], (user + system) / 1e6)
    return { families: [...this.metrics.snapshot().families, ...use] }
  }

  lookAnswer(only?: readonly string[]): LookAnswer {
    const { families } = only === undefined ? this.metricsAnswer() : this.metrics.snapshot(new Set(only))
    return { families, endpoints: this.targets.loads.takeLatencies() }
  }

  statusAnswer(): ProxyStatusAnswer {
    const now = this.now()
    return {
      pid: process.pid,
      worldVersion: this.snapshot.version,
      rssBytes: process.memoryUsage.rss(),
      eventLoopLagMs: this.#lag.peakMs,
      shedding: this.#shedder.shedding,
      taps: this.recorder.taps?.size ?? 0,
      pods: [...this.#pods.values()].map((pod) => ({
        uid: pod.uid,
        workload: pod.workload,
        connections: pod.connections.size,
        requestsInFlight: pod.requestsInFlight,
        draining: pod.draining,
        ejected: [...pod.flows.values()].flatMap((flow) => flow.ejections(now)),
      })),
      unhealthy: this.health.unhealthy(),
    }
  }
}
