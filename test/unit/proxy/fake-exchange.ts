/**
 * An HTTP connection of the proxy between two ends that are no sockets: packets are cut as the test says,
 * the clock stands until it is set, and writes go at once or not at all.
 */

import { PROXY_LIMITS_DEFAULT, type ProxyLimits, type TrafficPolicy } from '#contract'
import { World } from '#mesh'
import type { EndpointLoad, ForwardDecision } from '#routing'
import {
  AccessEdge,
  createIstioFamilies,
  EdgeCache,
  type EdgeDescription,
  Metrics,
  REPORT_SOURCE,
  UNKNOWN_SERVICE,
  UNKNOWN_WORKLOAD,
} from '#telemetry'
import { planVersioning } from '#translation'
import { TunnelPool } from '#tunnel'
import type { Dialer } from '../../../src/proxy/dialer.ts'
import type { ExchangeTarget } from '../../../src/proxy/exchange-target.ts'
import { Flow } from '../../../src/proxy/flow.ts'
import { FlowFamilies, FlowMetrics } from '../../../src/proxy/flow-metrics.ts'
import { HttpConnection } from '../../../src/proxy/http-connection.ts'
import { Pod } from '../../../src/proxy/pod.ts'
import type { RequestOutcome, Services } from '../../../src/proxy/services.ts'
import { SocketStock } from '../../../src/proxy/sockets.ts'
import { NOBODY, TcpStream } from '../../../src/proxy/tcp.ts'
import { UpstreamPool } from '../../../src/proxy/upstream.ts'

interface StreamBinding {
  readonly streamBaseState: Int32Array
  readonly kLastWriteWasAsync: number
}
const { streamBaseState, kLastWriteWasAsync } = (
  process as unknown as { binding(name: string): StreamBinding }
).binding('stream_wrap')

const UV_EPIPE = -32

/** The kernel's side of a stream. */
export class FakeHandle {
  readonly fd = -1
  stream: TcpStream | null = null
  onread: () => void = () => {}
  written = ''
  closed: 'open' | 'closed' | 'reset' = 'open'
  ended = false
  /** Writes are taken, but not at once. */
  stalled = false
  /** The peer has gone, of which only a write tells. */
  broken = false
  readonly #waiting: (() => void)[] = []

  setNoDelay(): number {
    return 0
  }
  useUserBuffer(): void {}
  readStart(): number {
    return 0
  }
  readStop(): number {
    return 0
  }
  #write(request: { oncomplete: ((status: number) => void) | null }, text: string): number {
    if (this.broken) return UV_EPIPE
    this.written += text
    streamBaseState[kLastWriteWasAsync] = this.stalled ? 1 : 0
    if (this.stalled) this.#waiting.push(() => request.oncomplete?.(0))
    return 0
  }
  writeLatin1String(request: { oncomplete: ((status: number) => void) | null }, text: string): number {
    return this.#write(request, text)
  }
  writeBuffer(request: { oncomplete: ((status: number) => void) | null }, bytes: Buffer): number {
    return this.#write(request, bytes.toString('latin1'))
  }
  shutdown(request: { oncomplete: ((status: number) => void) | null }): number {
    this.ended = true
    this.#waiting.push(() => request.oncomplete?.(0))
    if (!this.stalled) this.unstall()
    return 0
  }
  close(): void {
    if (this.closed === 'open') this.closed = 'closed'
  }
  reset(): number {
    this.closed = 'reset'
    return 0
  }
  /** The peer reads: what waited is gone. */
  unstall(): void {
    this.stalled = false
    for (const done of this.#waiting.splice(0)) done()
  }
  /** Bytes from the peer; false when nobody reads them now. */
  receive(text: string): boolean {
    const stream = this.stream
    if (stream === null || stream.closed || !stream.reading) return false
    const bytes = Buffer.from(text, 'latin1')
    stream.owner.onData(bytes, bytes.length)
    return true
  }
}

export interface FakeExchange {
  readonly client: FakeHandle
  readonly connection: HttpConnection
  /** The upstream connections so far. */
  readonly upstreams: readonly FakeHandle[]
  readonly outcomes: readonly RequestOutcome[]
  readonly pod: Pod
  /** Without a policy nothing is counted there. */
  readonly flow: Flow
  readonly load: EndpointLoad
  /** Of all requests. */
  readonly target: ExchangeTarget
  /** While `held`, connections are made when what waits is called. */
  readonly dials: { held: boolean; readonly waiting: (() => void)[] }
  /** Sets the clock, in ms, and lets the connection look at it. */
  passTo(now: number): void
}

/** Its TrafficPolicy; the flow is in the target. */
export function fakeExchange(changes: Partial<ProxyLimits> = {}, traffic?: Partial<TrafficPolicy>): FakeExchange {
  let now = 1000
  const limits = { ...PROXY_LIMITS_DEFAULT, ...changes }
  const outcomes: RequestOutcome[] = []
  const services: Services = {
    limits,
    snapshot: new World().snapshot,
    now: () => now,
    errorText: String,
    rewriteTarget: () => '/',
    originalAuthority: () => '10.0.0.1',
    recorder: {
      keepsAnswers: false,
      request: (_exchange, outcome) => outcomes.push(outcome),
      connectionOpened: () => {},
      connectionMoved: () => {},
      connectionClosed: () => {},
      connectionRefused: () => {},
    },
    tracer: undefined,
    connectionClosed: () => {},
    shedding: false,
    shed: () => {},
    copyOf: () => undefined,
    sessions: { header: () => undefined },
  }
  const stock = new SocketStock('uid', () => {})
  const tunnels = new TunnelPool({
    trustDomain: 'cluster.local',
    connectTimeoutMs: 1,
    idleTimeoutMs: 1,
    credentials: () => undefined,
    now: () => now,
    onRetired: () => {},
    connect: () => {},
  })
  const pod = new Pod('uid', 'shop/client', stock, () => tunnels)
  const handles: FakeHandle[] = []
  const dials: FakeExchange['dials'] = { held: false, waiting: [] }
  const dialer: Dialer = {
    dial: (done) => {
      const handle = new FakeHandle()
      handles.push(handle)
      const connected = () => done(0, new TcpStream(handle, NOBODY), '')
      if (dials.held) dials.waiting.push(connected)
      else queueMicrotask(connected)
    },
  }
  const pool = new UpstreamPool(dialer, limits)
  const edges = new EdgeCache(createIstioFamilies(new Metrics()))
  const description: EdgeDescription = {
    source: UNKNOWN_WORKLOAD,
    destination: UNKNOWN_WORKLOAD,
    service: UNKNOWN_SERVICE,
    protocol: 'http',
    securityPolicy: 'none',
  }
  const access = new AccessEdge(1, 'node', {
    source: '',
    sourceIdentity: '',
    destination: '',
    destinationIdentity: '',
    destinationService: '',
    protocol: 'http',
    direction: 'outbound',
    reporter: 'source',
  })
  const load: EndpointLoad = { active: 0, latencyMs: -1, latencyAt: 0, answers: 0, answersMs: 0, since: 0 }
  const policy: TrafficPolicy = {
    kind: 'traffic-policy',
    namespace: 'shop',
    name: 'web',
    createdAt: '',
    services: ['web'],
    rateLimits: [],
    ...traffic,
  }
  const ends = {
    source_workload: 'client',
    source_workload_namespace: 'shop',
    destination_service_name: 'web',
    destination_service_namespace: 'shop',
  }
  const flow = new Flow(
    'shop/web:80',
    'shop/client',
    () => load,
    { version: 0, levelOf: () => 0, caller: () => undefined, placeOf: () => undefined },
    new FlowMetrics(new FlowFamilies(new Metrics()), ends),
  )
  flow.apply(policy, undefined)
  const decision = traffic === undefined ? undefined : forwardTo(policy)
  const target: ExchangeTarget = {
    kind: 'forward',
    pool,
    load,
    clientAddress: '10.0.0.3',
    workload: undefined,
    policies: undefined,
    quarantine: undefined,
    connection: { sourceIp: '10.0.0.3', destinationIp: '10.0.0.2', destinationPort: 80 },
    identityLines: '',
    identityFields: [],
    speaks: undefined,
    tunnelled: false,
    decision,
    flow: traffic === undefined ? undefined : flow,
    edge: edges.request(description),
    tcpEdge: edges.tcp({ ...description, protocol: 'tcp' }),
    grpcEdge: edges.request({ ...description, protocol: 'grpc' }),
    access,
    tcpAccess: access,
    grpcAccess: access,
    reporters: REPORT_SOURCE,
    traced: undefined,
    upstream: '10.0.0.2:80',
  }
  const client = new FakeHandle()
  const nobody = { onData() {}, onEnd() {}, onDrain() {}, onClose() {} }
  const stream = new TcpStream(client, nobody)
  const pipeline = {
    choose: () => target,
    denialNow: () => undefined,
    isProbe: () => false,
    mirror: false,
    inbound: false,
    fromTunnel: false,
  }
  const connection = new HttpConnection(services, pod, stream, pipeline, '10.0.0.3')
  stream.owner = connection
  stream.resume()
  return {
    client,
    connection,
    upstreams: handles,
    outcomes,
    pod,
    flow,
    load,
    target,
    dials,
    passTo: (time) => {
      now = time
      connection.sweep(now)
    },
  }
}

function forwardTo(traffic: TrafficPolicy): ForwardDecision {
  return {
    kind: 'forward',
    route: undefined,
    rule: undefined,
    service: {
      kind: 'service',
      namespace: 'shop',
      name: 'web',
      addresses: [],
      ports: [],
      endpoints: {},
      sliced: false,
    },
    port: 80,
    protocol: 'unknown',
    endpoints: [],
    requestEdits: [],
    responseEdits: [],
    cors: undefined,
    rewrites: false,
    hostname: undefined,
    path: undefined,
    prefix: '',
    requestTimeoutMs: undefined,
    backendRequestTimeoutMs: traffic.retry?.perTryTimeoutMs,
    retry: traffic.retry,
    traffic,
    versions: traffic.versioning && planVersioning(traffic.versioning),
    mirrors: undefined,
  }
}
