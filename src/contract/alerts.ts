/** What the admin API answers to `/alerts`: the rules in force, what they say now, and whether anybody was told. */
import type { FindingSeverity } from './findings.ts'

export interface AlertsAnswer {
  readonly node: string
  /** The file with the rules; empty: the agent was given none (`--alerts`). */
  readonly file: string
  /** When the rules in force were read, ms since the epoch; 0: none are. */
  readonly readMs: number
  readonly rules: readonly AlertRuleAnswer[]
  /** Those that fire first. */
  readonly alerts: readonly AlertAnswer[]
  /** Undefined: alerts are shown only. */
  readonly delivery?: AlertDelivery
}

export interface AlertRuleAnswer {
  readonly name: string
  readonly severity: FindingSeverity
  /** On one line: what it is about, what begins and what ends it. */
  readonly says: string
  readonly pending: number
  readonly firing: number
}

export interface AlertAnswer {
  readonly rule: string
  readonly severity: FindingSeverity
  /** `clearing`: it fires, and will be resolved if it stays as it is. */
  readonly state: 'pending' | 'firing' | 'clearing'
  /** As the receiver gets them. */
  readonly labels: Readonly<Record<string, string>>
  /** Shares 0 to 1, times in ms; absent where there is no number. */
  readonly value?: number
  /** ms since the epoch. */
  readonly sinceMs: number
  readonly summary: string
  /** The command to run next. */
  readonly next: string
  /** The receiver has been told that it fires. */
  readonly told: boolean
}

export interface AlertDelivery {
  /** Scheme, host and port: what follows may be a secret. */
  readonly to: string
  readonly format: 'webhook' | 'alertmanager-api'
  /** ms since the epoch; 0: never yet. */
  readonly deliveredMs: number
  /** Messages that wait. */
  readonly waiting: number
  /** Why the last try failed; empty when it did not. */
  readonly problem: string
  /** ms since the epoch; 0 while it does not fail. */
  readonly failingSinceMs: number
}
