/** The file of alert rules, as a value → rules, or everything that is wrong with it, each with its exact place. */
import { FAILED, type Issue, list, type Output, object, optional, parseDurationMs, refine } from '#schema'
import type { AlertCondition, AlertRule, AlertScope, AlertsFile, ThresholdCondition } from './alert-rule.ts'
import { labels, ruleFields, webhook } from './alerts-schema.ts'

const MAX_RULES = 200

const rule = refine(ruleFields, checkRule)

const file = refine(
  object('strict', {
    webhook: optional(webhook),
    labels,
    rules: list(rule, { max: MAX_RULES }),
  }),
  ({ rules }, field, issues) => {
    const names = new Set<string>()
    for (const [index, { name: found }] of rules.entries()) {
      if (names.has(found)) issues.push({ field: `${field}rules[${index}].name`, message: `${found} is there twice` })
      names.add(found)
    }
  },
)

export type ParsedAlerts =
  | { readonly kind: 'alerts'; readonly alerts: AlertsFile }
  /** At least one. */
  | { readonly kind: 'issues'; readonly issues: readonly Issue[] }

/** @param value as YAML or JSON gives it */
export function parseAlerts(value: unknown): ParsedAlerts {
  const issues: Issue[] = []
  const read = file.read(value, '', issues)
  if (read === FAILED) return { kind: 'issues', issues }
  return {
    kind: 'alerts',
    alerts: { webhook: receiverOf(read.webhook), rules: read.rules.map((one) => ruleOf(one, read.labels)) },
  }
}

/** Alertmanager takes for resolved what it is not told of for a while; Prometheus tells it every minute. */
const API_REPEAT = '1m'
const WEBHOOK_REPEAT = '4h'

function receiverOf(read: Output<typeof webhook> | undefined): AlertsFile['webhook'] {
  if (read === undefined) return undefined
  const { timeout, repeatEvery, bearerTokenFile, caFile, externalUrl, ...rest } = read
  return {
    ...rest,
    bearerTokenFile,
    caFile,
    timeoutMs: ms(timeout),
    repeatEveryMs: ms(repeatEvery ?? (rest.format === 'webhook' ? WEBHOOK_REPEAT : API_REPEAT)),
    externalUrl: externalUrl ?? '',
  }
}

function ms(duration: string): number {
  return parseDurationMs(duration) ?? 0
}

type RuleSpec = Output<typeof ruleFields>

function checkRule(spec: RuleSpec, field: string, issues: Issue[]): void {
  const [kind, second] = CONDITIONS.filter((one) => spec[one] !== undefined)
  const issue = (at: string, message: string) => issues.push({ field: at === '' ? field : `${field}.${at}`, message })
  if (kind === undefined) {
    issue(
      '',
      'says nothing to look at: give it one of errors, latency, rate, saturation, certificate, finding, expression',
    )
    return
  }
  if (second !== undefined) issue(second, `not together with ${kind}; make two rules of it`)
  const [scope, otherScope] = SCOPES.filter((one) => spec[one] !== undefined)
  if (otherScope !== undefined) issue(otherScope, `not together with ${String(scope)}; keep one of them`)
  const allowed = ALLOWED_SCOPES[kind]
  if (scope !== undefined && !allowed.includes(scope)) {
    issue(scope, `does not go with ${kind}${allowed.length === 0 ? '' : `; write ${allowed.join(' or ')}`}`)
  }
  if (spec.clearWhen !== undefined && kind !== 'expression') issue('clearWhen', 'goes with expression only')
  checkThresholds(spec, issue)
}

const CONDITIONS = ['errors', 'latency', 'rate', 'saturation', 'certificate', 'finding', 'expression'] as const
const SCOPES = ['service', 'workload', 'namespace', 'edge', 'identity', 'subject'] as const
const TRAFFIC_SCOPES = SCOPES.slice(0, 4)
const ALLOWED_SCOPES: Readonly<Record<(typeof CONDITIONS)[number], readonly string[]>> = {
  errors: TRAFFIC_SCOPES,
  latency: TRAFFIC_SCOPES,
  rate: TRAFFIC_SCOPES,
  expression: TRAFFIC_SCOPES,
  saturation: [],
  certificate: ['identity'],
  finding: ['subject'],
}

function checkThresholds(spec: RuleSpec, issue: (at: string, message: string) => void): void {
  const notAbove = (at: string, clear: number | undefined, threshold: number | undefined) => {
    if (clear !== undefined && threshold !== undefined && clear > threshold) {
      issue(at, `must not be above ${threshold}, where it begins`)
    }
  }
  notAbove('errors.clear', spec.errors?.clear, spec.errors?.above)
  notAbove('latency.clearMs', spec.latency?.clearMs, spec.latency?.aboveMs)
  if (spec.rate !== undefined) {
    const { above, below, clear } = spec.rate
    if ((above === undefined) === (below === undefined)) issue('rate', 'needs either above or below')
    notAbove('rate.clear', below === undefined ? clear : undefined, above)
    if (below !== undefined && clear !== undefined && clear < below) {
      issue('rate.clear', `must not be below ${below}, where it begins`)
    }
  }
  if (spec.saturation !== undefined) {
    const { of, above, clear, aboveMs, clearMs } = spec.saturation
    const isLag = of === 'event-loop-lag'
    const [wanted, other] = isLag ? ['aboveMs', 'above'] : ['above', 'aboveMs']
    if ((isLag ? aboveMs : above) === undefined) issue(`saturation.${wanted}`, 'is missing')
    if ((isLag ? above : aboveMs) !== undefined) issue(`saturation.${other}`, `does not go with ${of}; write ${wanted}`)
    if ((isLag ? clear : clearMs) !== undefined)
      issue(`saturation.${isLag ? 'clear' : 'clearMs'}`, `does not go with ${of}`)
    notAbove('saturation.clear', clear, above)
    notAbove('saturation.clearMs', clearMs, aboveMs)
  }
  const { certificate: ends } = spec
  if (ends?.clear !== undefined && ms(ends.clear) < ms(ends.expiresWithin)) {
    issue('certificate.clear', `must not be shorter than ${ends.expiresWithin}, where it begins`)
  }
}

function ruleOf(spec: RuleSpec, common: Readonly<Record<string, string>>): AlertRule {
  return {
    name: spec.name,
    severity: spec.severity,
    condition: conditionOf(spec),
    scope: scopeOf(spec),
    windowMs: ms(spec.window),
    forMs: ms(spec.for),
    keepFiringForMs: ms(spec.keepFiringFor),
    forgetAfterMs: ms(spec.forgetAfter),
    labels: { ...common, ...spec.labels },
    annotations: spec.annotations,
  }
}

const SATURATION_VALUES = { cpu: 'cpu', memory: 'memory', 'event-loop-lag': 'lag', 'proxy-cpu': 'proxyCpu' } as const

function conditionOf(spec: RuleSpec): AlertCondition {
  const above = (
    kind: ThresholdCondition['kind'],
    of: ThresholdCondition['of'],
    threshold: number,
    clear: number | undefined,
    least = 0,
  ): AlertCondition => ({ kind, of, direction: 'above', threshold, clear: clear ?? threshold, minRequests: least })
  if (spec.errors !== undefined) {
    return above('errors', 'errorRate', spec.errors.above, spec.errors.clear, spec.errors.minRequests)
  }
  if (spec.latency !== undefined) {
    const { percentile, aboveMs, clearMs, minRequests: least } = spec.latency
    return above('latency', percentile, aboveMs, clearMs, least)
  }
  if (spec.rate?.below !== undefined) {
    const { below, clear = below } = spec.rate
    return { kind: 'rate', of: 'requestsPerSecond', direction: 'below', threshold: below, clear, minRequests: 0 }
  }
  if (spec.rate !== undefined) return above('rate', 'requestsPerSecond', spec.rate.above ?? 0, spec.rate.clear)
  if (spec.saturation !== undefined) {
    const { of, above: part, clear, aboveMs, clearMs } = spec.saturation
    return above('saturation', SATURATION_VALUES[of], part ?? aboveMs ?? 0, clear ?? clearMs)
  }
  if (spec.certificate !== undefined) {
    const { expiresWithin, clear = expiresWithin } = spec.certificate
    return { kind: 'certificate', expiresWithinMs: ms(expiresWithin), clearMs: ms(clear) }
  }
  if (spec.expression !== undefined) {
    const { condition, source } = spec.expression
    return { kind: 'expression', when: condition, source, clearWhen: spec.clearWhen?.condition }
  }
  return { kind: 'finding', kinds: spec.finding?.kinds ?? [], severities: spec.finding?.severity ?? [] }
}

function scopeOf(spec: RuleSpec): AlertScope {
  if (spec.edge !== undefined) return { kind: 'edge', ...spec.edge }
  for (const kind of ['service', 'workload', 'namespace', 'identity', 'subject'] as const) {
    const found = spec[kind]
    if (found !== undefined) return { kind, name: found }
  }
  if (spec.certificate !== undefined) return { kind: 'identity', name: '*' }
  if (spec.finding !== undefined) return { kind: 'subject', name: '*' }
  const isOfProcesses = spec.saturation?.of === 'event-loop-lag' || spec.saturation?.of === 'proxy-cpu'
  return { kind: isOfProcesses ? 'process' : 'node' }
}
