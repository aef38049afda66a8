/**
 * Messages between the agent and a proxy. They travel as JSON over the child's IPC channel; file
 * descriptors travel beside them over a SOCK_SEQPACKET pair, one packet per `ticket`, always sent
 * before the message that names the ticket (so the receiver never waits for it).
 */
import type { MeshObject, OutboundTrafficPolicy } from './mesh.ts'
import type { TapLoss, TapSpec } from './tap.ts'

/** Process settings of a proxy; sent once, first. */
export interface ProxySettings {
  readonly proxyId: number
  readonly node: string
  readonly trustDomain: string
  /** Where `stdout` leads is the agent's doing. */
  readonly accessLog: 'stdout' | 'off'
  /** `off`: requests and connections are not counted. */
  readonly metrics: 'on' | 'off'
  readonly limits: ProxyLimits
  readonly dns: DnsSettings
  /** Of pods for which nothing else is said. */
  readonly outboundTrafficPolicy: OutboundTrafficPolicy
  /** Absent: no spans are made, and a client's trace passes as it is. */
  readonly tracing?: TracingSettings
}

/** Of which requests spans are made. */
export interface TracingSettings {
  /** Share of the traces that begin here, 0 … 1; of others their callers have decided. */
  readonly sampleRatio: number
  /** `on`: errors and slow requests are told of although their trace is not sampled. */
  readonly tail: 'on' | 'off'
  /** A request that took so long is slow, ms. */
  readonly slowMs: number
}

/** Who is asked for names that are not the mesh's own. */
export interface DnsSettings {
  /** In the order in which they are tried; addresses in canonical text. */
  readonly upstreams: readonly { readonly address: string; readonly port: number }[]
  /** The Service kube-system/kube-dns is asked instead, where there is one. */
  readonly preferCluster: boolean
}

export interface ProxyLimits {
  /** Largest request or response head, bytes, start line included. */
  readonly maxHeadBytes: number
  readonly maxHeaders: number
  /** A request head must be complete this long after its first byte, ms. */
  readonly headTimeoutMs: number
  /** Longest silence inside a request or response body, ms. */
  readonly bodyIdleTimeoutMs: number
  /** A kept-alive client connection without a request is closed after this, ms. */
  readonly clientIdleTimeoutMs: number
  /** An idle pooled upstream connection is closed after this, ms. */
  readonly upstreamIdleTimeoutMs: number
  readonly connectTimeoutMs: number
  /** Silence of both sides after which an opaque TCP connection is closed, ms; 0 for never. */
  readonly tcpIdleTimeoutMs: number
  /** Connections that one pod may hold in one proxy. */
  readonly maxConnectionsPerPod: number
  /** Requests in flight (until the end of the body) of one pod in one proxy. */
  readonly maxRequestsPerPod: number
  /** Above this lag of the event loop (average of the last looks) new requests are shed, ms; 0 for never. */
  readonly shedLagMs: number
  /** Below it they are taken again, ms. */
  readonly resumeLagMs: number
}

export const PROXY_LIMITS_DEFAULT: ProxyLimits = {
  maxHeadBytes: 65536,
  maxHeaders: 128,
  headTimeoutMs: 10_000,
  bodyIdleTimeoutMs: 60_000,
  clientIdleTimeoutMs: 300_000,
  upstreamIdleTimeoutMs: 30_000,
  connectTimeoutMs: 5_000,
  tcpIdleTimeoutMs: 3_600_000,
  maxConnectionsPerPod: 10_000,
  maxRequestsPerPod: 10_000,
  shedLagMs: 500,
  resumeLagMs: 250,
}

/** `tunnel`: HBONE from other nodes. `dns-udp` is no listener but a bound socket; all others are TCP. */
export type Direction = 'outbound' | 'inbound' | 'tunnel' | 'dns-udp' | 'dns-tcp'
export interface ListenerSpec {
  readonly direction: Direction
  readonly family: 4 | 6
  readonly port: number
}

/**
 * Kinds of upstream sockets the broker makes, all unconnected, non-blocking and marked PACKET_MARK.
 * `plain`: leaves with the pod's own address. `transparent`: also IP_TRANSPARENT and IP_FREEBIND,
 * so that the unprivileged proxy may bind it to the client's address. `datagram`: UDP instead of TCP, bound to a
 * port that the pod's own sockets are not given (agent/broker/upstream-sockets.ts says why).
 */
export type SocketKind = 'plain' | 'transparent' | 'datagram'

/** A key and its certificate, PEM texts. Secret: neither logged nor written to disk. */
export interface IdentityMaterial {
  /** SPIFFE ID with its scheme. */
  readonly identity: string
  readonly privateKey: string
  /** The certificate first, then what leads to a root. */
  readonly certificateChain: string
  /** Roots that peers are verified against. */
  readonly trustBundle: string
  /** Of the whole node: the last that a proxy is told is in force for all identities. Absent: nobody is revoked. */
  readonly revocations?: readonly Revocations[]
}

/** What one CA has revoked. */
export interface Revocations {
  /** The CA's name as `X509Certificate.issuer` of Node.js gives it. */
  readonly issuer: string
  /** Upper-case hexadecimal without leading zeros. */
  readonly serials: readonly string[]
}

export type AgentToProxy =
  | { readonly type: 'settings'; readonly settings: ProxySettings }
  | {
      readonly type: 'world'
      readonly version: number
      /** True: forget everything first. */
      readonly reset: boolean
      readonly upsert: readonly MeshObject[]
      /** Keys as made by `meshKey`. */
      readonly remove: readonly string[]
    }
  /** What pods of an account prove themselves with: before the first of them, and again when it is renewed. */
  | { readonly type: 'identity'; readonly material: IdentityMaterial }
  | { readonly type: 'identity-forget'; readonly identity: string }
  /** A pod is enrolled: the ticket's packet carries one listening socket per entry, in this order. */
  | {
      readonly type: 'pod-add'
      readonly ticket: number
      readonly uid: string
      /** `namespace/name` of its Workload. */
      readonly workload: string
      readonly listeners: readonly ListenerSpec[]
    }
  /** Stop accepting; `drain` lets connections end by themselves, `now` cuts them (the pod is gone). */
  | { readonly type: 'pod-remove'; readonly uid: string; readonly mode: 'drain' | 'now' }
  /** Answer to `sockets-wanted`; the ticket's packet carries `count` sockets. */
  | { readonly type: 'sockets'; readonly id: number; readonly ticket: number; readonly count: number }
  | { readonly type: 'sockets-refused'; readonly id: number; readonly error: string }
  /** Finish what is in flight, close idle connections, then answer `drained` and exit. */
  | { readonly type: 'drain'; readonly graceMs: number }
  | { readonly type: 'query'; readonly id: number; readonly what: ProxyQuery }
  /** Tell what fits from now on, in `tapped`; the first of them comes at once, and may be empty. */
  | { readonly type: 'tap'; readonly id: number; readonly spec: TapSpec }
  | { readonly type: 'tap-end'; readonly id: number }

export type ProxyQuery =
  | { readonly kind: 'metrics' }
  | { readonly kind: 'status' }
  /** `only`: of the metrics those families; absent: all. */
  | { readonly kind: 'look'; readonly only?: readonly string[] }

export type ProxyToAgent =
  /** Privileges are dropped and the control channel is up. */
  | { readonly type: 'hello'; readonly pid: number }
  | { readonly type: 'world-applied'; readonly version: number }
  | { readonly type: 'pod-listening'; readonly uid: string }
  /** The last connection of a removed pod has ended. */
  | { readonly type: 'pod-drained'; readonly uid: string }
  | {
      readonly type: 'sockets-wanted'
      readonly id: number
      readonly uid: string
      readonly kind: SocketKind
      readonly family: 4 | 6
      readonly count: number
    }
  /** An endpoint is seen as healthy, or not, from now on: for the log. */
  | { readonly type: 'endpoint-health'; readonly healthy: boolean; readonly endpoint: CheckedEndpoint }
  /** New requests are refused from now on because the event loop lags, or taken again: for the log. */
  | { readonly type: 'shedding'; readonly shedding: boolean; readonly lagMs: number; readonly shedRequests: number }
  /** What spans are made of, `count` requests; `batch` is of `renderBatch` (src/tracing), and read only by what sends them on. */
  | { readonly type: 'spans'; readonly count: number; readonly batch: string }
  | { readonly type: 'answer'; readonly id: number; readonly data: unknown }
  /** Events of a tap, each a JSON object without line feeds, and how many more there were. */
  | { readonly type: 'tapped'; readonly id: number; readonly events: readonly string[]; readonly lost: TapLoss }
  | { readonly type: 'drained' }

/** `answer` to the query `look`, for one asker. `endpoints`: of those that have answered since the query before, those that did most often. */
export interface LookAnswer extends MetricsAnswer {
  readonly endpoints: readonly EndpointLatency[]
}
export interface EndpointLatency {
  /** `address:port`. */
  readonly endpoint: string
  readonly answers: number
  /** Until the head of the answer, of all of them together. */
  readonly answersMs: number
}

/** `answer` to the query `metrics`. */
export interface MetricsAnswer {
  readonly families: readonly MetricFamily[]
}
/** What the admin API answers to `/traffic`. */
export interface TrafficAnswer {
  /** The node of the agent: what its proxies saw, and no other's. */
  readonly node: string
  /** Monotonic, ms: for the time between two answers. */
  readonly atMs: number
  readonly families: readonly MetricFamily[]
}
export interface MetricFamily {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  /** Upper bounds of the histogram's buckets, ascending, without +Inf. */
  readonly buckets?: readonly number[]
  readonly series: readonly MetricSeries[]
}
export interface MetricSeries {
  readonly labels: Readonly<Record<string, string>>
  /** Counter or gauge: one value. Histogram: one count per bucket (not cumulative), then +Inf, then sum. */
  readonly values: readonly number[]
}

/** `answer` to the query `status`. */
export interface ProxyStatusAnswer {
  readonly pid: number
  readonly worldVersion: number
  readonly rssBytes: number
  readonly eventLoopLagMs: number
  /** New requests are refused until the lag is less. */
  readonly shedding: boolean
  /** Open taps. */
  readonly taps: number
  readonly pods: readonly {
    readonly uid: string
    readonly workload: string
    readonly connections: number
    readonly requestsInFlight: number
    readonly draining: boolean
    /** Endpoints that this pod's requests are kept from for now, because they failed. */
    readonly ejected: readonly EjectedEndpoint[]
  }[]
  /** Endpoints that requests are kept from because they do not pass their health checks. */
  readonly unhealthy: readonly UnhealthyEndpoint[]
}

export interface CheckedEndpoint {
  /** `namespace/name:port`. */
  readonly service: string
  /** `address:port`. */
  readonly endpoint: string
  /** `namespace/name` of the service account whose pods check it, and send nothing there for now. */
  readonly source: string
  /** What the last check found. */
  readonly why: string
}

export interface UnhealthyEndpoint extends CheckedEndpoint {
  readonly forMs: number
}

export interface EjectedEndpoint {
  /** `namespace/name:port`. */
  readonly service: string
  /** `address:port`. */
  readonly endpoint: string
  readonly leftMs: number
}
