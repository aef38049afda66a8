/**
 * Everything about "this pod's traffic to that endpoint" that does not depend on the single request,
 * worked out once per snapshot: pool, policy, identity header, metric handles, fixed log fields.
 */
import type { ConnectionFacts, Verdict, Workload } from '#contract'
import type { PolicySet } from '#policy'
import type { EndpointLoad, ForwardDecision } from '#routing'
import type { AccessEdge, Reporters, RequestEdge, TcpEdge } from '#telemetry'
import type { TracedEdge } from '#tracing'
import type { Flow } from './flow.ts'
import type { UpstreamPool } from './upstream.ts'

/** Made in one place, with all its fields in one order: requests read it again and again. */
export interface ExchangeTarget {
  readonly kind: 'forward'
  readonly pool: UpstreamPool
  readonly load: EndpointLoad
  readonly clientAddress: string
  /** The destination pod, when it is one we know. */
  readonly workload: Workload | undefined
  /** Policies judged here, because the destination is an opted-in pod of this node; undefined: not here. */
  readonly policies: PolicySet | undefined
  readonly connection: ConnectionFacts
  /** Either end is in quarantine and the other one is not let through; before all other judgement. */
  readonly quarantine: Verdict | undefined
  /** Header lines (with CRLF) that tell the application the verified peer; empty when not ours to say. */
  readonly identityLines: string
  /** The same, for HTTP/2: name and value. */
  readonly identityFields: readonly string[]
  /** What the destination is declared to speak; undefined: what the client spoke. */
  readonly speaks: 'HTTP/1.1' | 'HTTP/2' | undefined
  /** Another node's proxy answers. */
  readonly tunnelled: boolean
  readonly decision: ForwardDecision | undefined
  /** Undefined when neither a TrafficPolicy nor a retry says anything of it. */
  readonly flow: Flow | undefined
  readonly edge: RequestEdge
  readonly tcpEdge: TcpEdge
  readonly grpcEdge: RequestEdge
  readonly access: AccessEdge
  readonly tcpAccess: AccessEdge
  readonly grpcAccess: AccessEdge
  readonly reporters: Reporters
  /** Only where tracing is on. */
  readonly traced: TracedEdge | undefined
  /** `ip:port`, for the log. */
  readonly upstream: string
}
