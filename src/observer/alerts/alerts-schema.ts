/** The file of alert rules, field by field: what each may hold. Strict. */
import type { FindingKind, FindingSeverity } from '#contract'
import {
  durationWithin,
  FAILED,
  integer,
  list,
  map,
  type Output,
  object,
  oneOf,
  optional,
  type Schema,
  string,
  typeName,
  withDefault,
} from '#schema'
import type { ConditionNode } from './expression.ts'
import { parseExpression } from './expression.ts'

const MAX_TEXT = 2048
/** What is kept of traffic reaches no further back. */
const MAX_WINDOW_MS = 600_000
const DAY_MS = 86_400_000

const duration = (leastMs: number, mostMs: number, words: string) => string(durationWithin(leastMs, mostMs, words))
const upToADay = duration(0, DAY_MS, '0s to 24h')

const text = string((value) => (value.length <= MAX_TEXT ? undefined : `is longer than ${MAX_TEXT} characters`))
/** Of Prometheus' data model, which every receiver of alerts has. */
const labelName = (name: string) =>
  /^[a-zA-Z_][a-zA-Z0-9_]{0,127}$/.test(name)
    ? undefined
    : `expected a label name (letters, digits and _, no digit first), got ${JSON.stringify(name)}`
/** Labels that say what an alert is about. */
const OWN_LABELS = [
  'alertname',
  'severity',
  'node',
  'service',
  'workload',
  'namespace',
  'source',
  'destination',
  'identity',
  'process',
  'finding',
  'subject',
]
const notOwn = (name: string) =>
  OWN_LABELS.includes(name) ? `is set by Weir; choose another name than ${name}` : undefined

const name = string((value) =>
  /^[A-Za-z_][A-Za-z0-9_:.-]{0,62}$/.test(value)
    ? undefined
    : `expected a name such as ShopErrors (letters, digits, _ : . -, at most 63), got ${JSON.stringify(value)}`,
)
const glob = string((value) =>
  /^[^\s]{1,253}$/.test(value) ? undefined : `expected a name such as shop/web or shop/*, got ${JSON.stringify(value)}`,
)
export const labels = withDefault(map(text, labelName, notOwn), {})

/** `5%`, or 0.05. */
const share: Schema<number> = {
  read(value, field, issues) {
    const [, digits] = typeof value === 'string' ? (/^(\d{1,3}(?:\.\d{1,6})?) ?%$/.exec(value) ?? []) : []
    const found = digits === undefined ? value : Number(digits) / 100
    if (typeof found === 'number' && found >= 0 && found <= 1) return found
    const got = typeof value === 'string' || typeof value === 'number' ? JSON.stringify(value) : typeName(value)
    issues.push({ field, message: `expected a share such as 5% or 0.05, got ${got}` })
    return FAILED
  },
}

const amount: Schema<number> = {
  read(value, field, issues) {
    if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value
    const got = typeof value === 'number' || typeof value === 'string' ? JSON.stringify(value) : typeName(value)
    issues.push({ field, message: `expected a number of at least 0, got ${got}` })
    return FAILED
  },
}

const minRequests = withDefault(integer(0, 1_000_000), 10)
const errors = object('strict', { above: share, clear: optional(share), minRequests })
const latency = object('strict', {
  percentile: withDefault(oneOf('p50', 'p95', 'p99'), 'p99'),
  aboveMs: amount,
  clearMs: optional(amount),
  minRequests,
})
const rate = object('strict', { above: optional(amount), below: optional(amount), clear: optional(amount) })
const saturation = object('strict', {
  of: oneOf('cpu', 'memory', 'event-loop-lag', 'proxy-cpu'),
  above: optional(share),
  clear: optional(share),
  aboveMs: optional(amount),
  clearMs: optional(amount),
})
const certificate = object('strict', {
  expiresWithin: duration(1000, 365 * DAY_MS, '1s to 8760h'),
  clear: optional(duration(1000, 365 * DAY_MS, '1s to 8760h')),
})

/** All of the contract's: one that is missing here does not compile. */
const FINDING_KINDS = Object.keys({
  'endpoint-ejected': true,
  'endpoint-unhealthy': true,
  'endpoint-slow': true,
  'error-rate': true,
  'policy-denies': true,
  'certificate-expiry': true,
  'proxy-saturated': true,
  'proxy-restarted': true,
  'node-saturated': true,
  'memory-leak': true,
  'latency-leak': true,
  'no-endpoints': true,
  'invalid-route': true,
  'pod-not-enrolled': true,
  'pod-silent': true,
  'invalid-object': true,
} satisfies Record<FindingKind, true>) as FindingKind[]
const severityOf = oneOf('critical', 'warning', 'info')
const kinds = list(oneOf(...FINDING_KINDS), { min: 1 })
const findingFields = object('strict', {
  kinds: withDefault(kinds, [] as readonly FindingKind[]),
  severity: withDefault(list(severityOf, { min: 1 }), [] as readonly FindingSeverity[]),
})
/** A list of kinds is short for a mapping with only these. */
const finding: Schema<Output<typeof findingFields>> = {
  read(value, field, issues) {
    if (!Array.isArray(value)) return findingFields.read(value, field, issues)
    const read = kinds.read(value, field, issues)
    return read === FAILED ? FAILED : { kinds: read, severity: [] }
  },
}

const expression: Schema<{ readonly source: string; readonly condition: ConditionNode }> = {
  read(value, field, issues) {
    const source = text.read(value, field, issues)
    if (source === FAILED) return FAILED
    const parsed = parseExpression(source)
    if (parsed.kind === 'expression') return { source, condition: parsed.condition }
    issues.push({ field, message: `column ${parsed.error.column}: ${parsed.error.message}` })
    return FAILED
  },
}

export const ruleFields = object('strict', {
  name,
  severity: withDefault(severityOf, 'warning'),
  errors: optional(errors),
  latency: optional(latency),
  rate: optional(rate),
  saturation: optional(saturation),
  certificate: optional(certificate),
  finding: optional(finding),
  expression: optional(expression),
  clearWhen: optional(expression),
  service: optional(glob),
  workload: optional(glob),
  namespace: optional(glob),
  edge: optional(object('strict', { from: withDefault(glob, '*'), to: withDefault(glob, '*') })),
  identity: optional(glob),
  subject: optional(glob),
  window: withDefault(duration(1000, MAX_WINDOW_MS, '1s to 10m'), '1m'),
  for: withDefault(upToADay, '1m'),
  keepFiringFor: withDefault(upToADay, '1m'),
  forgetAfter: withDefault(duration(1000, DAY_MS, '1s to 24h'), '15m'),
  labels,
  annotations: withDefault(map(text, labelName), {}),
})

const url = string((value) => {
  const parsed = URL.parse(value)
  const fits = parsed !== null && (parsed.protocol === 'http:' || parsed.protocol === 'https:')
  if (!fits || parsed.hash !== '')
    return `expected a URL such as http://alerts.example:9093/hook, got ${JSON.stringify(value)}`
  return parsed.username === '' && parsed.password === ''
    ? undefined
    : 'must hold no user and password; use bearerTokenFile, or headers'
})
/** RFC 9110 sections 5.1 and 5.5. */
const headerName = (value: string) =>
  /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/.test(value) &&
  !/^(host|content-(length|type)|connection|transfer-encoding)$/i.test(value)
    ? undefined
    : `expected the name of a header that is not the message's own, got ${JSON.stringify(value)}`
const headerValue = string((value) =>
  /^[\t\x20-\x7e]{0,2048}$/.test(value) ? undefined : 'expected visible ASCII characters',
)
const path = string((value) => (value === '' ? 'must not be empty' : undefined))

export const webhook = object('strict', {
  url,
  format: withDefault(oneOf('webhook', 'alertmanager-api'), 'webhook'),
  receiver: withDefault(name, 'weir'),
  headers: withDefault(map(headerValue, headerName), {}),
  bearerTokenFile: optional(path),
  caFile: optional(path),
  timeout: withDefault(duration(100, 60_000, '100ms to 1m'), '10s'),
  repeatEvery: optional(duration(1000, 7 * DAY_MS, '1s to 168h')),
  externalUrl: optional(url),
})
