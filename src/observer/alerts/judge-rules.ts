/**
 * A look and the rules → what each rule says of each thing that it is about. Keeps what windows need of earlier looks, and
 * no clock.
 */
import type { Finding, MetricFamily } from '#contract'
import { fairShare, namespaceIn, percentile } from '#observer'
import type { AlertCondition, AlertRule, ThresholdCondition } from './alert-rule.ts'
import { evaluateCondition, firstValue, type KnownValues, ratesIn, type Series } from './evaluate-expression.ts'
import { type ConditionNode, NODE_VALUES, type NumberNode, type ValueName } from './expression.ts'
import { isExact, matchesGlob } from './glob.ts'
import { SampledRates, sumOf } from './sampled-rates.ts'
import { summaryOf } from './say-alert.ts'
import { addSum, type EdgeTraffic, newSum, type TrafficSum, TrafficWindow } from './traffic-window.ts'

export interface AlertLook {
  /** Monotonic, of the counters. */
  readonly atMs: number
  /** ms since the epoch. */
  readonly nowMs: number
  /** Counters of the proxies (`istio_…`), and the agent's own families where a rule needs them. */
  readonly families: readonly MetricFamily[]
  /** Undefined: nobody has looked. */
  readonly findings: readonly Finding[] | undefined
}

/** `between`: neither where it begins nor where it ends. */
export type Verdict = 'over' | 'between' | 'clear' | 'unknown'

export interface Judged {
  /** What tells it from the others of its rule. */
  readonly subject: string
  /** Those that say what it is about. */
  readonly labels: Readonly<Record<string, string>>
  readonly verdict: Verdict
  readonly value: number | undefined
  /** One sentence; empty where it is not over. */
  readonly summary: string
  /** The command to run next; empty where it is not over. */
  readonly next: string
}

export interface JudgedRule {
  readonly rule: AlertRule
  readonly judged: readonly Judged[]
  /** Of what is not among them. */
  readonly others: 'clear' | 'unknown'
}

/** Things that one rule may be about at a time; of more, so many of each namespace. */
const MAX_SUBJECTS = 500

export class RuleJudge {
  readonly #node: string
  readonly #rules: readonly AlertRule[]
  readonly #traffic: TrafficWindow
  readonly #rates: SampledRates
  readonly #wanted: readonly Series[]
  /** Of this look, by scope and window: many rules have the same. */
  readonly #known = new Map<string, readonly Subject[]>()

  constructor(node: string, rules: readonly AlertRule[]) {
    this.#node = node
    this.#rules = rules
    const longestMs = Math.max(0, ...rules.map(({ windowMs }) => windowMs))
    this.#traffic = new TrafficWindow(longestMs)
    this.#rates = new SampledRates(longestMs)
    this.#wanted = rules.flatMap(({ condition }) => expressionsOf(condition).flatMap(ratesIn))
  }

  judge(look: AlertLook): readonly JudgedRule[] {
    this.#known.clear()
    this.#traffic.add(look.atMs, look.families)
    this.#rates.add(look.atMs, look.families, [...this.#wanted, ...processesIn(look.families).map(cpuSecondsOf)])
    return this.#rules.map((rule) => ({ rule, ...this.#judgeRule(rule, look) }))
  }

  #judgeRule(rule: AlertRule, look: AlertLook): Omit<JudgedRule, 'rule'> {
    const { condition } = rule
    switch (condition.kind) {
      case 'finding':
        return look.findings === undefined
          ? { judged: [], others: 'unknown' }
          : { judged: look.findings.flatMap((found) => judgeFinding(rule, condition, found)), others: 'clear' }
      case 'certificate':
        return { judged: judgeCertificates(rule, condition, look), others: 'clear' }
      default: {
        const key = JSON.stringify([rule.scope, rule.windowMs, condition.kind === 'saturation' && condition.of])
        const subjects =
          this.#known.get(key) ??
          fairShare(this.#subjects(rule, look), MAX_SUBJECTS, ({ subject }) => namespaceIn(subject))
        this.#known.set(key, subjects)
        return {
          judged: subjects.map((subject) => this.#judgeValues(rule, condition, subject, look)),
          others: 'unknown',
        }
      }
    }
  }

  #judgeValues(
    rule: AlertRule,
    condition: Extract<AlertCondition, { readonly kind: 'expression' }> | ThresholdCondition,
    { subject, labels, traffic, process }: Subject,
    look: AlertLook,
  ): Judged {
    const known: KnownValues = {
      value: (name) => trafficValue(name, traffic) ?? this.#nodeValue(name, look.families, rule.windowMs, process),
      metric: (name, wanted) => sumOf(look.families, { name, labels: wanted }),
      rate: (name, wanted) => this.#rates.perSecond({ name, labels: wanted }, rule.windowMs),
    }
    const { verdict, value } =
      condition.kind === 'expression' ? judgeExpression(condition, known) : judgeThreshold(condition, known)
    // Only what is over is told, and there are many that are not.
    if (verdict !== 'over') return { subject, labels, verdict, value, summary: '', next: '' }
    const summary = summaryOf(rule, subject === '' ? this.#node : subject, value)
    return { subject, labels, verdict, value, summary, next: nextOf(rule, subject) }
  }

  #nodeValue(
    name: ValueName,
    families: readonly MetricFamily[],
    windowMs: number,
    process: string | undefined,
  ): number | undefined {
    const of = (metric: string, labels = {}) => sumOf(families, { name: metric, labels })
    const processes = process === undefined ? processesIn(families) : [process]
    switch (name) {
      case 'cpu':
        return of('weir_node_cpu_busy_ratio')
      case 'memory': {
        const total = of('weir_node_memory_total_bytes')
        const available = of('weir_node_memory_available_bytes')
        return total === undefined || available === undefined || total === 0 ? undefined : 1 - available / total
      }
      case 'lag':
        return greatest(processes.map((one) => of(LAG_METRIC, { process: one })))
      case 'proxyCpu': {
        const proxies = processes.filter((one) => one.startsWith('proxy-'))
        return greatest(proxies.map((one) => this.#rates.perSecond(cpuSecondsOf(one), windowMs)))
      }
      default:
        return undefined
    }
  }

  #subjects({ scope, windowMs, condition }: AlertRule, look: AlertLook): readonly Subject[] {
    if (scope.kind === 'process') {
      const isOfProxies = condition.kind === 'saturation' && condition.of === 'proxyCpu'
      return processesIn(look.families)
        .filter((process) => !isOfProxies || process.startsWith('proxy-'))
        .map((process) => ({ subject: process, labels: { process }, traffic: undefined, process }))
    }
    const traffic = this.#traffic.within(windowMs)
    const groups = new Map<string, { readonly labels: Labels; readonly sum: TrafficSum }>()
    const add = (name: string, labels: () => Labels, edge?: EdgeTraffic) => {
      const group = groups.get(name) ?? { labels: labels(), sum: newSum() }
      groups.set(name, group)
      if (edge !== undefined) addSum(group.sum, edge.sum)
    }
    // What a rule names outright is looked at even if nobody has asked for it yet.
    if (scope.kind === 'node') add('', () => ({}))
    else if ('name' in scope && isExact(scope.name)) add(scope.name, () => ({ [scope.kind]: scope.name }))
    for (const edge of traffic?.edges ?? []) {
      if (scope.kind === 'edge') {
        const { source, destination } = edge
        if (!matchesGlob(scope.from, source) || !matchesGlob(scope.to, destination)) continue
        add(`${source} -> ${destination}`, () => ({ source, destination }), edge)
      } else if (scope.kind === 'node') add('', () => ({}), edge)
      else {
        const name = nameIn(edge, scope.kind)
        if (name !== '' && matchesGlob(scope.name, name)) add(name, () => ({ [scope.kind]: name }), edge)
      }
    }
    return [...groups].map(([subject, { labels, sum }]) => {
      return { subject, labels, traffic: traffic === undefined ? undefined : { sum, seconds: traffic.seconds } }
    })
  }
}

type Labels = Readonly<Record<string, string>>

interface Subject {
  /** Empty: the node. */
  readonly subject: string
  readonly labels: Labels
  /** Undefined: it is not known. */
  readonly traffic: { readonly sum: TrafficSum; readonly seconds: number } | undefined
  readonly process?: string
}

const LAG_METRIC = 'weir_event_loop_lag_milliseconds'

function processesIn(families: readonly MetricFamily[]): readonly string[] {
  const found = families.find(({ name }) => name === LAG_METRIC)?.series ?? []
  return found.flatMap(({ labels }) => (labels['process'] === undefined ? [] : [labels['process']]))
}

function cpuSecondsOf(process: string): Series {
  return { name: 'weir_process_cpu_seconds_total', labels: { process } }
}

function greatest(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined)
  return known.length === 0 ? undefined : Math.max(...known)
}

function nameIn({ service, destination }: EdgeTraffic, kind: string): string {
  const name = kind === 'workload' || service === '' ? destination : service
  if (kind === 'service') return service
  return kind === 'namespace' ? (name.includes('/') ? name.slice(0, name.indexOf('/')) : '') : name
}

function trafficValue(name: ValueName, traffic: Subject['traffic']): number | undefined {
  if (traffic === undefined) return undefined
  const { sum, seconds } = traffic
  switch (name) {
    case 'requests':
      return sum.requests
    case 'errors':
      return sum.failed
    case 'errorRate':
      return sum.requests === 0 ? undefined : sum.failed / sum.requests
    case 'p50':
    case 'p95':
    case 'p99':
      return percentile(sum.bounds, sum.buckets, Number(name.slice(1)) / 100)?.estimateMs
    case 'requestsPerSecond':
      return sum.requests / seconds
    case 'connections':
      return sum.connections
    case 'bytesPerSecond':
      return sum.bytes / seconds
    default:
      return undefined
  }
}

interface Found {
  readonly verdict: Verdict
  readonly value: number | undefined
}

function judgeThreshold(condition: ThresholdCondition, known: KnownValues): Found {
  const value = known.value(condition.of)
  const requests = known.value('requests')
  const isTooFew = condition.minRequests > 0 && (requests ?? 0) < condition.minRequests
  if (value === undefined || isTooFew) return { verdict: 'unknown', value }
  const { threshold, clear } = condition
  const sign = condition.direction === 'above' ? 1 : -1
  if (sign * value > sign * threshold) return { verdict: 'over', value }
  return { verdict: sign * value <= sign * clear ? 'clear' : 'between', value }
}

function judgeExpression(
  { when, clearWhen }: Extract<AlertCondition, { readonly kind: 'expression' }>,
  known: KnownValues,
): Found {
  const value = firstValue(when, known)
  const isOver = evaluateCondition(when, known)
  if (isOver === true) return { verdict: 'over', value }
  const isClear = clearWhen === undefined ? isOver === false : evaluateCondition(clearWhen, known)
  if (isOver === undefined || isClear === undefined) return { verdict: 'unknown', value }
  return { verdict: isClear ? 'clear' : 'between', value }
}

function judgeFinding(
  rule: AlertRule,
  { kinds, severities }: Extract<AlertCondition, { readonly kind: 'finding' }>,
  { kind, severity, subject, says, next }: Finding,
): readonly Judged[] {
  const isMeant =
    (kinds.length === 0 || kinds.includes(kind)) &&
    (severities.length === 0 || severities.includes(severity)) &&
    (rule.scope.kind !== 'subject' || matchesGlob(rule.scope.name, subject))
  if (!isMeant) return []
  return [
    {
      subject: `${kind} ${subject}`,
      labels: { finding: kind, subject },
      verdict: 'over',
      value: undefined,
      summary: says,
      next,
    },
  ]
}

function judgeCertificates(
  rule: AlertRule,
  { expiresWithinMs, clearMs }: Extract<AlertCondition, { readonly kind: 'certificate' }>,
  { families, nowMs }: AlertLook,
): readonly Judged[] {
  const found = families.find(({ name }) => name === 'weir_certificate_expiry_timestamp_seconds')?.series ?? []
  const { scope } = rule
  return found.flatMap(({ labels, values }) => {
    const { identity = '' } = labels
    const isMeant = scope.kind !== 'identity' || matchesGlob(scope.name, identity)
    if (!isMeant) return []
    const leftMs = (values[0] ?? 0) * 1000 - nowMs
    const verdict: Verdict = leftMs < expiresWithinMs ? 'over' : leftMs >= clearMs ? 'clear' : 'between'
    const summary = summaryOf(rule, identity, leftMs)
    return [{ subject: identity, labels: { identity }, verdict, value: leftMs, summary, next: nextOf(rule, identity) }]
  })
}

function nextOf({ condition, scope }: AlertRule, subject: string): string {
  if (condition.kind === 'certificate') return 'weir status'
  if (condition.kind === 'saturation') return 'weir metrics'
  if (scope.kind === 'service' || scope.kind === 'workload' || scope.kind === 'namespace') return `weir stat ${subject}`
  return 'weir top --once'
}

function expressionsOf(condition: AlertCondition): readonly ConditionNode[] {
  if (condition.kind !== 'expression') return []
  return [condition.when, ...(condition.clearWhen === undefined ? [] : [condition.clearWhen])]
}

/** `true` where a rule looks at more than traffic and findings: families that are not free to gather. */
export function needsOwnFamilies(rules: readonly AlertRule[]): boolean {
  return rules.some(
    ({ condition }) =>
      condition.kind === 'saturation' ||
      condition.kind === 'certificate' ||
      expressionsOf(condition).some(looksBeyondTraffic),
  )
}

function looksBeyondTraffic(node: ConditionNode | NumberNode): boolean {
  switch (node.kind) {
    case 'number':
      return false
    case 'metric':
    case 'rate':
      return true
    case 'value':
      return NODE_VALUES.some((name) => name === node.name)
    case 'not':
    case 'negative':
      return looksBeyondTraffic(node.of)
    default:
      return looksBeyondTraffic(node.left) || looksBeyondTraffic(node.right)
  }
}
