/** What an alert says to people: one sentence, with the value and where it began. */
import { never } from '#base'
import type { AlertRule } from './alert-rule.ts'

/** @param subject what it is about, the node for one of all of it */
export function summaryOf({ condition, windowMs }: AlertRule, subject: string, value: number | undefined): string {
  const within = `in the last ${renderDuration(windowMs)}`
  switch (condition.kind) {
    case 'errors':
      return `${subject}: ${renderShare(value)} of requests failed ${within}, above ${renderShare(condition.threshold)}`
    case 'latency':
      return `${subject}: ${condition.of} is ${renderMs(value)} ${within}, above ${renderMs(condition.threshold)}`
    case 'rate': {
      const { direction, threshold } = condition
      return `${subject}: ${renderNumber(value)} requests a second ${within}, ${direction} ${renderNumber(threshold)}`
    }
    case 'saturation': {
      const { of, threshold } = condition
      const [what, render] = SATURATED[of] ?? [of, renderNumber]
      return `${subject}: ${what} is ${render(value)}, above ${render(threshold)}`
    }
    case 'certificate':
      return value !== undefined && value <= 0
        ? `The certificate of ${subject} has ended`
        : `The certificate of ${subject} ends in ${renderLeft(value ?? 0)}, within ${renderDuration(condition.expiresWithinMs)}`
    case 'expression':
      return `${subject}: ${condition.source}`
    case 'finding':
      return subject
    default:
      return never(condition)
  }
}

/** A rule on one line: what begins it, what ends it, what it is about. */
export function describeRule(rule: AlertRule): string {
  const { condition, scope, forMs, keepFiringForMs, windowMs } = rule
  const about =
    scope.kind === 'edge'
      ? `edge ${scope.from} -> ${scope.to}`
      : 'name' in scope
        ? `${scope.kind} ${scope.name}`
        : scope.kind === 'process'
          ? 'each process'
          : 'the node'
  const isOfTraffic = ['errors', 'latency', 'rate', 'expression'].includes(condition.kind)
  const times = [
    ...(isOfTraffic ? [`in ${renderDuration(windowMs)}`] : []),
    ...(forMs === 0 ? [] : [`for ${renderDuration(forMs)}`]),
    ...(keepFiringForMs === 0 ? [] : [`kept ${renderDuration(keepFiringForMs)}`]),
  ]
  return [about, describeCondition(rule), ...times].join(', ')
}

function describeCondition({ condition }: AlertRule): string {
  const limits = (what: string, direction: string, from: string, to: string) =>
    `${what} ${direction} ${from}${from === to ? '' : ` until ${to}`}`
  switch (condition.kind) {
    case 'errors':
      return limits('errors', 'above', renderShare(condition.threshold), renderShare(condition.clear))
    case 'latency':
      return limits(condition.of, 'above', renderMs(condition.threshold), renderMs(condition.clear))
    case 'rate': {
      const { direction, threshold, clear } = condition
      return limits('requests a second', direction, renderNumber(threshold), renderNumber(clear))
    }
    case 'saturation': {
      const [what, render] = SATURATED[condition.of] ?? [condition.of, renderNumber]
      return limits(what, 'above', render(condition.threshold), render(condition.clear))
    }
    case 'certificate': {
      const { expiresWithinMs, clearMs } = condition
      return limits('certificate ends', 'within', renderDuration(expiresWithinMs), renderDuration(clearMs))
    }
    case 'finding': {
      const kinds = condition.kinds.length === 0 ? 'any finding' : `finding ${condition.kinds.join(' or ')}`
      return condition.severities.length === 0 ? kinds : `${kinds} that is ${condition.severities.join(' or ')}`
    }
    case 'expression':
      return condition.source
    default:
      return never(condition)
  }
}

const SATURATED: Readonly<Record<string, readonly [string, (value: number | undefined) => string]>> = {
  cpu: ['processor use', renderShare],
  memory: ['memory use', renderShare],
  lag: ['the lag of the event loop', renderMs],
  proxyCpu: ['use of a processor', renderShare],
}

export function renderShare(value: number | undefined): string {
  return value === undefined ? 'an unknown share' : `${renderNumber(value * 100)} %`
}

export function renderMs(value: number | undefined): string {
  return value === undefined ? 'an unknown time' : `${renderNumber(value)} ms`
}

/** Three digits, or all before the point. */
export function renderNumber(value: number | undefined): string {
  if (value === undefined) return 'unknown'
  return Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)))
}

/** `90s`, `5m`, `4h`: in the largest unit that it is whole in, else in whole seconds. */
export function renderDuration(ms: number): string {
  for (const [unit, unitMs] of [
    ['h', 3_600_000],
    ['m', 60_000],
  ] as const) {
    if (ms >= unitMs && ms % unitMs === 0) return `${ms / unitMs}${unit}`
  }
  return ms < 1000 ? `${Math.round(ms)}ms` : `${Math.round(ms / 1000)}s`
}

/** `23h59m`, `4m10s`: the two largest units, rounded down. */
function renderLeft(ms: number): string {
  const seconds = Math.floor(ms / 1000)
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60]
  if (hours >= 48) return `${Math.floor(hours / 24)}d${hours % 24}h`
  return hours > 0 ? `${hours}h${minutes}m` : minutes > 0 ? `${minutes}m${seconds % 60}s` : `${seconds}s`
}
