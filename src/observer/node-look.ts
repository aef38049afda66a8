/**
 * What was seen of a node at one time, as far as finding faults needs it. Everything is bounded and small: some thirty of
 * them are kept. Names that many looks share are one object.
 */
import type { CheckedEndpoint } from '#contract'

/** One way that traffic takes. */
export interface Edge {
  /** `namespace/workload`; `unknown` outside the mesh. */
  readonly source: string
  /** `unknown` also when no endpoint was reached. */
  readonly destination: string
  /** `namespace/name`; empty when none was asked for, or the caller's node alone knows it. */
  readonly service: string
}

/** What went on an edge since the look before. Opaque connections count as requests when they end. */
export interface EdgeSample {
  readonly edge: Edge
  readonly requests: number
  /** No answer, 5xx, or a gRPC status that stands for one. */
  readonly failed: number
  /** Refused by a policy. */
  readonly denied: number
  /** Of what failed: by whom and why, a response flag and the status, as `UF 503` or `- 500`. */
  readonly reasons: Readonly<Record<string, number>>
  /** Of all requests together, until the last byte. */
  readonly durationMs: number
}

export interface ProxySample {
  readonly id: number
  readonly isUp: boolean
  /** So many times in a row, each five seconds after the other, it did not answer the agent. */
  readonly missedPings: number
  readonly restarts: number
  readonly lagMs: number
  readonly shedding: boolean
  readonly rssBytes: number
  /** User and system time since it was started; undefined when it cannot be read. */
  readonly cpuSeconds: number | undefined
}

/** Of an endpoint, as the callers of this node see it, since the look before. */
export interface EndpointSample {
  /** `namespace/name:port`. */
  readonly service: string
  /** `address:port`. */
  readonly endpoint: string
  /** `namespace/name` of the pod; empty when it is none. */
  readonly pod: string
  readonly answers: number
  /** Until the head of the answer, of all answers together. */
  readonly answersMs: number
}

export interface EjectedSample {
  readonly service: string
  readonly endpoint: string
  /** `namespace/name` of the pods that do not ask it. */
  readonly callers: readonly string[]
}

export interface PodSample {
  /** `namespace/name`. */
  readonly name: string
  readonly owner: string
  readonly isReady: boolean
  readonly state: 'enrolled' | 'enrolling' | 'failed' | 'draining'
  /** Why it is not enrolled. */
  readonly detail: string
  /** When its log was last written to, ms since the epoch; 0: never; undefined: it is not known. */
  readonly lastLogMs: number | undefined
  /** Of its cgroup; undefined: it is not known. */
  readonly memoryBytes: number | undefined
  /** What it may have; undefined: no limit, or it is not known. */
  readonly memoryLimitBytes: number | undefined
}

export interface CertificateSample {
  readonly identity: string
  readonly state: 'pending' | 'valid' | 'failing' | 'expired' | 'revoked'
  /** 0 while there is none. */
  readonly notAfterMs: number
  /** For how long one is issued. */
  readonly ttlMs: number
  readonly lastError: string
}

/** What is wrong with an object, as the agent tells it anyway. */
export interface ProblemSample {
  readonly severity: 'error' | 'warning'
  /** Kind and `namespace/name`; empty: not one object's. */
  readonly object: string
  /** File and object. */
  readonly place: string
  /** With the field. */
  readonly message: string
}

export interface NodeSample {
  /** 0 … 1 since the look before; undefined at the first. */
  readonly cpuBusy: number | undefined
  readonly memoryTotalBytes: number
  readonly memoryAvailableBytes: number
  /** Of the file system with the agent's state. */
  readonly diskTotalBytes: number
  readonly diskAvailableBytes: number
  /** Of the agent itself. */
  readonly agentRssBytes: number
  /** What agent and proxies may have together; undefined: no limit but the node's memory. */
  readonly agentLimitBytes: number | undefined
}

export interface PolicyChange {
  readonly atMs: number
  /** Kind and `namespace/name`. */
  readonly policy: string
  readonly change: 'added' | 'changed' | 'removed'
  /** Whether it decides for pods of all namespaces; others decide for those of their own alone. */
  readonly isMeshWide?: boolean
}

/** A Service that no endpoint of which can be asked. */
export interface EmptyService {
  /** `namespace/name`. */
  readonly service: string
  /** Endpoints that are there and not ready. */
  readonly unready: number
  /** Kind and `namespace/name` of routes that lead to it. */
  readonly routes: readonly string[]
}

/** What is known of the objects; the same value while they do not change. */
export interface WorldSample {
  readonly version: number
  readonly emptyServices: readonly EmptyService[]
  /** `namespace/name` of a pod of a workload (`namespace/owner`), one of this node if there is any. */
  podOf(workload: string): string | undefined
  /** `namespace/name` of the Services for which a route (kind and `namespace/name`) decides. */
  servicesOf(route: string): readonly string[]
  /** As a client would write it; `service` may have its port. */
  urlOf(service: string): string | undefined
}

export interface NodeLook {
  /** ms since the epoch. */
  readonly atMs: number
  /** Since the look before; 0 at the first. */
  readonly seconds: number
  readonly edges: readonly EdgeSample[]
  readonly proxies: readonly ProxySample[]
  readonly endpoints: readonly EndpointSample[]
  readonly ejected: readonly EjectedSample[]
  readonly unhealthy: readonly CheckedEndpoint[]
  readonly pods: readonly PodSample[]
  readonly certificates: readonly CertificateSample[]
  readonly problems: readonly ProblemSample[]
  readonly node: NodeSample
  /** Since the look before. */
  readonly policyChanges: readonly PolicyChange[]
  readonly world: WorldSample
}
