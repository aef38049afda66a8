/**
 * The life of an alert: inactive → pending → firing → (kept) → resolved. What is between the thresholds changes nothing, what
 * is not known neither, until it has not been known for too long. Pure: the time is given.
 */
import type { AlertRule } from './alert-rule.ts'
import type { Judged, JudgedRule, Verdict } from './judge-rules.ts'

export interface Alert {
  /** Of its rule. */
  readonly rule: string
  readonly subject: string
  readonly phase: 'pending' | 'firing'
  /** Since when it has been so, ms since the epoch; of `firing` when it began to fire. */
  readonly sinceMs: number
  /** When anything was known of it last. */
  readonly knownMs: number
  /** Firing, and clear since then without a break; undefined: it is not clear. */
  readonly clearSinceMs?: number
  readonly labels: Readonly<Record<string, string>>
  /** When it was known last; undefined: it has none. */
  readonly value?: number
  readonly summary: string
  readonly next: string
}

export interface Ended {
  readonly alert: Alert
  readonly endedMs: number
  /** Why, where the value did not say so. */
  readonly because?: 'unknown' | 'rule-removed'
}

export interface Advanced {
  /** Under `alertKey`. */
  readonly alerts: ReadonlyMap<string, Alert>
  readonly fired: readonly Alert[]
  readonly ended: readonly Ended[]
  /** So many new ones found no room. */
  readonly leftOut: number
}

/** At a time, on one node. */
const MAX_ALERTS = 1000

export function alertKey({ rule, subject }: { readonly rule: string; readonly subject: string }): string {
  return `${rule}\n${subject}`
}

/** One look. What is of no rule ends. */
export function advanceAlerts(
  alerts: ReadonlyMap<string, Alert>,
  judgedRules: readonly JudgedRule[],
  nowMs: number,
): Advanced {
  const next = new Map<string, Alert>()
  const fired: Alert[] = []
  const ended: Ended[] = []
  const left = new Map(alerts)
  let leftOut = 0
  const take = (rule: AlertRule, before: Alert | undefined, seen: Judged): void => {
    if (before === undefined && seen.verdict === 'over' && next.size + left.size >= MAX_ALERTS) {
      leftOut++
      return
    }
    const after = stepAlert(before, seen, rule, nowMs)
    if (after !== undefined && 'endedMs' in after) ended.push(after)
    else if (after !== undefined) {
      next.set(alertKey(after), after)
      if (after.phase === 'firing' && before?.phase !== 'firing') fired.push(after)
    }
  }
  for (const { rule, judged, others } of judgedRules) {
    for (const seen of judged) {
      const key = alertKey({ rule: rule.name, subject: seen.subject })
      const before = left.get(key)
      left.delete(key)
      take(rule, before, seen)
    }
    for (const [key, before] of left) {
      if (before.rule !== rule.name) continue
      left.delete(key)
      take(rule, before, { ...before, verdict: others, value: before.value })
    }
  }
  for (const alert of left.values()) {
    if (alert.phase === 'firing') ended.push({ alert, endedMs: nowMs, because: 'rule-removed' })
  }
  return { alerts: next, fired, ended, leftOut }
}

/** @returns undefined: inactive, and nothing to tell */
export function stepAlert(
  before: Alert | undefined,
  seen: Judged,
  rule: Pick<AlertRule, 'name' | 'forMs' | 'keepFiringForMs' | 'forgetAfterMs'>,
  nowMs: number,
): Alert | Ended | undefined {
  const { verdict } = seen
  if (before === undefined) {
    if (verdict !== 'over') return undefined
    return stepPending({ ...newAlert(rule.name, seen), sinceMs: nowMs, knownMs: nowMs }, verdict, rule, nowMs)
  }
  // A clock that was set back shall not make anything last longer.
  const clamped = { ...before, sinceMs: Math.min(before.sinceMs, nowMs), knownMs: Math.min(before.knownMs, nowMs) }
  if (verdict === 'unknown') {
    if (nowMs - clamped.knownMs < rule.forgetAfterMs) return clamped
    return clamped.phase === 'pending' ? undefined : { alert: clamped, endedMs: nowMs, because: 'unknown' }
  }
  const known = { ...clamped, ...newAlert(rule.name, seen, before), knownMs: nowMs, phase: before.phase }
  return known.phase === 'pending' ? stepPending(known, verdict, rule, nowMs) : stepFiring(known, verdict, rule, nowMs)
}

function stepPending(
  alert: Alert,
  verdict: Verdict,
  { forMs }: Pick<AlertRule, 'forMs'>,
  nowMs: number,
): Alert | undefined {
  if (verdict !== 'over') return undefined
  return nowMs - alert.sinceMs >= forMs ? { ...alert, phase: 'firing', sinceMs: nowMs } : alert
}

function stepFiring(
  alert: Alert,
  verdict: Verdict,
  { keepFiringForMs }: Pick<AlertRule, 'keepFiringForMs'>,
  nowMs: number,
): Alert | Ended {
  if (verdict !== 'clear') {
    const { clearSinceMs: _, ...rest } = alert
    return rest
  }
  const clearSinceMs = Math.min(alert.clearSinceMs ?? nowMs, nowMs)
  return nowMs - clearSinceMs >= keepFiringForMs ? { alert, endedMs: nowMs } : { ...alert, clearSinceMs }
}

/** What it says while it is over is what people are told, also of its end. */
function newAlert(
  rule: string,
  { subject, labels, value, summary, next, verdict }: Judged,
  before?: Alert,
): Omit<Alert, 'sinceMs' | 'knownMs' | 'clearSinceMs'> {
  const says =
    verdict === 'over' || before === undefined ? { summary, next } : { summary: before.summary, next: before.next }
  return { rule, subject, phase: 'pending', labels, ...(value === undefined ? {} : { value }), ...says }
}
