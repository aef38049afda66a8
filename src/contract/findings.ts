/** What is wrong now, as `/diagnose`, `weir diagnose`, the page and alerts tell it. */

/** What can be found wrong; the names are for users to write in alert rules, and do not change. */
export type FindingKind =
  | 'endpoint-ejected'
  | 'endpoint-unhealthy'
  | 'endpoint-slow'
  | 'error-rate'
  | 'policy-denies'
  | 'certificate-expiry'
  | 'proxy-saturated'
  | 'proxy-restarted'
  | 'node-saturated'
  | 'memory-leak'
  | 'latency-leak'
  | 'no-endpoints'
  | 'invalid-route'
  | 'pod-not-enrolled'
  | 'pod-silent'
  | 'invalid-object'

/** `critical`: requests fail now. `warning`: they will, or some do. `info`: worth knowing. */
export type FindingSeverity = 'critical' | 'warning' | 'info'

export interface Finding {
  readonly kind: FindingKind
  readonly severity: FindingSeverity
  /** What it is about: `namespace/name` of a Service, pod, route or policy, an edge as `A -> B`, an identity, or a node. */
  readonly subject: string
  /** One sentence: what is wrong, and why. */
  readonly says: string
  /** Facts that it rests on, a short line each. */
  readonly evidence: readonly string[]
  /** The command to run next, as one types it. */
  readonly next: string
  /** Since when it has been so, ms since the epoch, as far as the agent has seen. */
  readonly sinceMs: number
}

/** What the admin API answers to `/diagnose`: the worst first, causes before what follows from them. */
export interface DiagnoseAnswer {
  readonly node: string
  /** When the agent looked last, ms since the epoch. */
  readonly atMs: number
  /** How far back what it says reaches, ms. */
  readonly windowMs: number
  /** How often it has looked since it was started; one look knows nothing of what changes. */
  readonly looks: number
  /** From one look to the next. */
  readonly lookMs: number
  readonly findings: readonly Finding[]
}
