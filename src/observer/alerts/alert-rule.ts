/** What an alert rule is, once it has been read. Times in ms, shares 0 to 1. */
import type { FindingKind, FindingSeverity } from '#contract'
import type { ConditionNode, ValueName } from './expression.ts'

export type SaturationOf = 'cpu' | 'memory' | 'event-loop-lag' | 'proxy-cpu'

/** A value that is held against a threshold. `of` a resource other than cpu and memory: each process by itself. */
export interface ThresholdCondition {
  readonly kind: 'errors' | 'latency' | 'rate' | 'saturation'
  readonly of: ValueName
  readonly direction: 'above' | 'below'
  readonly threshold: number
  /** Where it ends: on the other side of this. Between the two, what was so stays so. */
  readonly clear: number
  /** With fewer requests in the window nothing can be said. */
  readonly minRequests: number
}

export type AlertCondition =
  | ThresholdCondition
  | { readonly kind: 'certificate'; readonly expiresWithinMs: number; readonly clearMs: number }
  | {
      readonly kind: 'finding'
      /** Empty: all. */
      readonly kinds: readonly FindingKind[]
      /** Empty: all. */
      readonly severities: readonly FindingSeverity[]
    }
  | {
      readonly kind: 'expression'
      readonly when: ConditionNode
      readonly source: string
      /** Undefined: it ends when `when` is false. */
      readonly clearWhen: ConditionNode | undefined
    }

/** Each thing that matches is an alert of its own. */
export type AlertScope =
  /** One alert for all of the node. */
  | { readonly kind: 'node' }
  | { readonly kind: 'service' | 'workload' | 'namespace' | 'identity' | 'subject'; readonly name: string }
  | { readonly kind: 'edge'; readonly from: string; readonly to: string }
  | { readonly kind: 'process' }

export interface AlertRule {
  readonly name: string
  readonly severity: FindingSeverity
  readonly condition: AlertCondition
  readonly scope: AlertScope
  /** Of traffic, and of what `rate` in an expression grows by. */
  readonly windowMs: number
  /** So long must it be so before it fires. */
  readonly forMs: number
  /** So long must it be clear before it is resolved. */
  readonly keepFiringForMs: number
  /** So long may nothing be known of what fires before it is resolved. */
  readonly forgetAfterMs: number
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

/** Who is told. */
export interface AlertReceiver {
  readonly url: string
  /** `webhook`: as Alertmanager tells its receivers. `alertmanager-api`: as Prometheus tells Alertmanager. */
  readonly format: 'webhook' | 'alertmanager-api'
  /** Its name in the message. */
  readonly receiver: string
  readonly headers: Readonly<Record<string, string>>
  /** Read anew for each delivery. */
  readonly bearerTokenFile: string | undefined
  /** PEM; undefined: the machine's own. */
  readonly caFile: string | undefined
  readonly timeoutMs: number
  /** What fires is told again this often. */
  readonly repeatEveryMs: number
  /** For links in the messages; empty when there is none. */
  readonly externalUrl: string
}

export interface AlertsFile {
  /** Undefined: alerts are shown only. */
  readonly webhook: AlertReceiver | undefined
  readonly rules: readonly AlertRule[]
}
