/**
 * What the admin API asks of the agent. The composition root implements it; tests fake it. Everything here is
 * shown to users as it is, so it never carries a key, a certificate or a token.
 */
import type {
  AlertsAnswer,
  CheckLine,
  DiagnoseAnswer,
  EjectedEndpoint,
  KernelRules,
  MetricsAnswer,
  PeerMode,
  TapFilter,
  UnhealthyEndpoint,
} from '#contract'
import type { LogQuery } from '#logs'
import type { Snapshot } from '#mesh'

export interface AdminBackend {
  /** True once every local opted-in pod is enrolled, or has failed and says so among the problems. */
  readonly ready: boolean
  /** The world as of now; read once per request, so that an answer never mixes two worlds. */
  readonly snapshot: Snapshot
  status(): Promise<AgentStatus>
  pods(): Promise<readonly PodStatus[]>
  problems(): readonly Problem[]
  /** Beyond its own state: the machine and the cluster, looked at now, within seconds. */
  doctor(): Promise<readonly CheckLine[]>
  /** What is wrong now; undefined while this agent does not look: it is starting, or waits for its turn. */
  diagnose(): Promise<DiagnoseAnswer | undefined>
  alerts(): AlertsAnswer
  /** Of a pod's network namespace, read now; undefined where it is not enrolled here. Rejects when they cannot be read. */
  kernelRules(uid: string): Promise<readonly KernelRules[] | undefined>
  /** Does a pod of this node ask its own name server, not the mesh? */
  asksOwnDns(uid: string): boolean
  peerAuthentications(): readonly PeerAuthenticationStatus[]
  readonly node: string
  /** As `metrics`, of the proxies alone. */
  traffic(): Promise<readonly MetricsAnswer[]>
  /** The agent's own answer and one per proxy that is up. */
  metrics(): Promise<readonly MetricsAnswer[]>
  /** The configuration in force, with its defaults; values are shown to whoever may reach the admin address. */
  config(): Readonly<Record<string, unknown>>
  /** Absent: this agent reads none. */
  readonly logs?: LogReading
  /** Absent: this agent shows no live traffic. */
  readonly taps?: {
    /** Header fields of which no value is told, besides those of which none ever is. */
    readonly redact: readonly string[]
    load(): Promise<TapReading>
  }
}

/** Live requests and connections, one reader at a time. */
export interface TapReading {
  open(query: TapQuery, handlers: ReadingHandlers): Reading
}

export interface TapQuery {
  readonly filter: TapFilter
  readonly showHeaders: boolean
  /** Events after which it ends; 0: it does not. */
  readonly limit: number
  /** Events that each proxy tells. */
  readonly maxPerSecond: number
}

/** Logs of the node's pods, one reader at a time. */
export interface LogReading {
  open(query: LogQuery, handlers: ReadingHandlers): Reading
}

export interface ReadingHandlers {
  /** JSON lines; a few frames are under way until they are acknowledged. */
  frame(text: string): void
  /** Once; `problem` is empty when nothing is wrong. */
  ended(problem: string): void
}

export interface Reading {
  /** One frame more has left. */
  acknowledge(): void
  close(): void
}

/** An endpoint that a pod's requests are kept from by one of its proxies. */
export interface Ejection extends EjectedEndpoint {
  readonly proxy: number
  /** `namespace/name` of the calling pod. */
  readonly pod: string
}

/** An endpoint that does not pass the health checks of one of the proxies. */
export interface Unhealthy extends UnhealthyEndpoint {
  readonly proxy: number
}

export interface AgentStatus {
  readonly node: string
  readonly version: string
  readonly pid: number
  readonly trustDomain: string
  /** Where the objects come from, e.g. `directory /etc/weir`. */
  readonly source: string
  /** Milliseconds since the epoch. */
  readonly startedAt: number
  readonly ready: boolean
  readonly worldVersion: number
  /** Of the agent; the greatest of the last 10 to 20 seconds. */
  readonly eventLoopLagMs: number
  /** Pods of this node that are opted in, and how many of those are enrolled. */
  readonly optedInPods: number
  readonly enrolledPods: number
  /** Rules or listeners found missing and restored, since the start. */
  readonly repairs: number
  readonly problems: number
  readonly proxies: readonly ProxyState[]
  readonly ejections: readonly Ejection[]
  readonly unhealthy: readonly Unhealthy[]
  readonly quarantined: readonly QuarantineState[]
  /** Who signs the identities, in words. */
  readonly issuer: string
  readonly identities: readonly IdentityState[]
  /** Failed tries to get a certificate, since the start. */
  readonly certificateFailures: number
}

/** A pod of this node in quarantine. */
export interface QuarantineState {
  /** `namespace/name`. */
  readonly pod: string
  readonly allow: readonly string[]
  /** Its rules are in the kernel; false: see the problems. */
  readonly inForce: boolean
}

export interface IdentityState {
  readonly spiffeId: string
  /**
   * pending: no certificate yet; failing: the one at hand is good and its renewal failed; expired, revoked: others
   * refuse the one at hand.
   */
  readonly state: 'pending' | 'valid' | 'failing' | 'expired' | 'revoked'
  /** Upper-case hexadecimal; empty while there is no certificate. */
  readonly serial: string
  /** Milliseconds since the epoch; 0 while there is no certificate. */
  readonly notAfterMs: number
  /** Milliseconds since the epoch; 0 while the last try did not fail. */
  readonly failingSinceMs: number
  readonly lastError: string
}

export interface ProxyState {
  readonly id: number
  readonly state: 'starting' | 'up' | 'restarting' | 'draining' | 'down'
  /** 0 while there is no process. */
  readonly pid: number
  readonly restarts: number
  readonly worldVersion: number
  readonly rssBytes: number
  readonly eventLoopLagMs: number
  /** New requests are refused until the lag is less. */
  readonly shedding: boolean
  /** Readers of live traffic. */
  readonly taps: number
  readonly pods: number
  readonly connections: number
  readonly requestsInFlight: number
}

export interface PodStatus {
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly serviceAccount: string
  /** Empty while it is not scheduled. */
  readonly node: string
  readonly addresses: readonly string[]
  readonly optedIn: boolean
  readonly state: PodState
  /** Why it is not enrolled, with the remedy; empty when there is nothing to say. */
  readonly detail: string
  /** Milliseconds since the epoch when its rules and listeners were last found right; 0 for never. */
  readonly verifiedAt: number
  readonly repairs: number
  /** Ids of the proxies that serve it. */
  readonly proxies: readonly number[]
  readonly connections: number
  readonly requestsInFlight: number
}

/** A PeerAuthentication that validates. */
export interface PeerAuthenticationStatus {
  readonly namespace: string
  readonly name: string
  readonly scope: 'mesh' | 'namespace' | 'workload'
  readonly selector: Readonly<Record<string, string>>
  readonly mode: PeerMode | 'UNSET'
  readonly ports: Readonly<Record<string, PeerMode>>
  /** `namespace/name` of the pods for which it decides. */
  readonly pods: readonly string[]
}

/** `outside`: not opted in, or on another node. */
export type PodState = 'enrolled' | 'enrolling' | 'failed' | 'draining' | 'outside'

export interface Problem {
  readonly severity: 'error' | 'warning'
  /** File, object or process it is about, e.g. `shop.yaml: HTTPRoute shop/reviews`. */
  readonly subject: string
  /** One line: what is wrong, with the field. */
  readonly message: string
  /** One line; empty when the message already says it. */
  readonly remedy: string
}
