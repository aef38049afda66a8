/**
 * TrafficPolicy (weir.dev/v1alpha1), strict: how requests to Services are balanced, tried again, bounded and disturbed.
 * Defaults are filled in where the policy is compiled.
 */
import { GRPC_FAILURES } from '#contract'
import {
  durationWithin,
  type Issue,
  integer,
  list,
  type Output,
  object,
  oneOf,
  optional,
  parseDurationMs,
  refine,
  string,
  withDefault,
} from '#schema'
import { healthChecks } from './health-check.ts'
import { isCoreGroup } from './http-route.ts'
import { localityWeights } from './locality-weights.ts'
import { checkHeaderName } from './names.ts'
import { targetRefSchema } from './policy-target.ts'
import { versioningSchema } from './versioning.ts'

/** The longest that makes sense of anything here. */
const MAX_DURATION_MS = 24 * 3_600_000

const time = string(durationWithin(1, MAX_DURATION_MS, '1ms to 24h'))
const percent = integer(0, 100)
const amount = integer(1, 1_000_000_000)

/** A header that a request has, with a name as HTTP writes it. */
const headerName = string(checkHeaderName)

const checkCookieName = (text: string): string | undefined =>
  /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text) ? undefined : `expected a cookie's name, got ${JSON.stringify(text)}`

function checkNamed(
  { name, type }: { readonly type: string; readonly name?: string },
  field: string,
  issues: Issue[],
): void {
  const needs = type === 'Header' || type === 'Cookie'
  if (needs && name === undefined)
    issues.push({ field: `${field}.name`, message: `is missing: type ${type} needs a name` })
  if (!needs && name !== undefined)
    issues.push({ field: `${field}.name`, message: `type ${type} has no name: remove it` })
}

const hashOn = refine(
  object('strict', { type: oneOf('Header', 'Cookie', 'Source'), name: optional(string()) }),
  (key, field, issues) => {
    checkNamed(key, field, issues)
    if (key.name === undefined) return
    const wrong = key.type === 'Header' ? checkHeaderName(key.name) : checkCookieName(key.name)
    if (wrong !== undefined) issues.push({ field: `${field}.name`, message: wrong })
  },
)

const locality = object('strict', {
  prefer: withDefault(list(oneOf('Node', 'Zone', 'Region'), { min: 1, max: 3 }), ['Node', 'Zone', 'Region'] as const),
  failoverPercent: withDefault(percent, 70),
  weights: optional(localityWeights),
})

const loadBalancing = refine(
  object(
    'strict',
    {
      algorithm: withDefault(
        oneOf('PeakEwma', 'LeastRequest', 'RoundRobin', 'Random', 'ConsistentHash'),
        'PeakEwma' as const,
      ),
      hashOn: optional(hashOn),
      slowStart: optional(time),
      locality: optional(locality),
    },
    { sessionPersistence: 'is a field of HTTPRoute rules: write it there' },
  ),
  ({ algorithm, hashOn: key, slowStart }, field, issues) => {
    const hashes = algorithm === 'ConsistentHash'
    if (hashes && key === undefined)
      issues.push({ field: `${field}.hashOn`, message: 'is missing: algorithm ConsistentHash needs it' })
    if (!hashes && key !== undefined)
      issues.push({ field: `${field}.hashOn`, message: `goes with algorithm ConsistentHash only, got ${algorithm}` })
    if (hashes && slowStart !== undefined)
      issues.push({ field: `${field}.slowStart`, message: 'does not go with algorithm ConsistentHash: remove one' })
  },
)

const backoff = refine(
  object('strict', { base: withDefault(time, '25ms'), max: optional(time) }),
  ({ base, max }, field, issues) => {
    if (max === undefined || (parseDurationMs(max) ?? 0) >= (parseDurationMs(base) ?? 0)) return
    issues.push({ field: `${field}.max`, message: `${max} is shorter than base (${base}): it may not be` })
  },
)

const retry = refine(
  object(
    'strict',
    {
      attempts: withDefault(integer(1, 10), 2),
      codes: withDefault(list(integer(400, 599), { min: 1, max: 64 }), []),
      grpcStatuses: withDefault(list(oneOf(...GRPC_FAILURES), { min: 1, max: GRPC_FAILURES.length }), []),
      failures: withDefault(list(oneOf('ConnectFailure', 'Reset', 'Timeout'), { min: 1, max: 3 }), []),
      backoff: optional(backoff),
      perTryTimeout: optional(time),
    },
    { retryOn: 'is said by codes, failures and grpcStatuses here' },
  ),
  ({ codes, failures, grpcStatuses }, field, issues) => {
    if (codes.length + failures.length + grpcStatuses.length === 0)
      issues.push({ field, message: 'needs codes, failures or grpcStatuses: nothing would be retried' })
  },
)

const retryBudget = object('strict', {
  percent: withDefault(percent, 20),
  minPerSecond: withDefault(integer(0, 1_000_000), 10),
})

const circuitBreaker = refine(
  object('strict', {
    maxConnections: optional(amount),
    maxPendingRequests: optional(integer(0, 1_000_000_000)),
    maxRequests: optional(amount),
    maxRetries: optional(integer(0, 1_000_000_000)),
  }),
  (limits, field, issues) => {
    if (Object.keys(limits).length === 0) issues.push({ field, message: 'is empty: fill it or remove the field' })
  },
)

const count = integer(0, 1_000_000)

const outlierDetection = refine(
  object(
    'strict',
    {
      consecutiveErrors: withDefault(count, 5),
      consecutiveGatewayErrors: withDefault(count, 0),
      consecutiveConnectErrors: withDefault(count, 0),
      successRate: optional(
        object('strict', {
          minRequests: withDefault(integer(1, 1_000_000), 100),
          minEndpoints: withDefault(integer(2, 1_000_000), 5),
          stdevFactor: withDefault(integer(1, 100_000), 1900),
        }),
      ),
      interval: withDefault(time, '10s'),
      baseEjectionTime: withDefault(time, '30s'),
      maxEjectionTime: withDefault(time, '5m'),
      maxEjectedPercent: withDefault(percent, 10),
      panicPercent: withDefault(percent, 50),
    },
    {
      consecutive5xxErrors: 'is called consecutiveErrors here',
      maxEjectionPercent: 'is called maxEjectedPercent here',
      minHealthPercent: 'is called panicPercent here',
    },
  ),
  ({ baseEjectionTime: base, maxEjectionTime: max }, field, issues) => {
    if ((parseDurationMs(max) ?? 0) >= (parseDurationMs(base) ?? 0)) return
    const message = `${max} is shorter than baseEjectionTime (${base}): it may not be`
    issues.push({ field: `${field}.maxEjectionTime`, message })
  },
)

const rateLimit = object('strict', {
  by: withDefault(
    refine(object('strict', { type: oneOf('Service', 'Source', 'Header'), name: optional(headerName) }), checkNamed),
    { type: 'Service' as const },
  ),
  requests: amount,
  interval: withDefault(time, '1s'),
  burst: optional(amount),
})

const faults = refine(
  object('strict', {
    delay: optional(object('strict', { percent: withDefault(percent, 100), duration: time })),
    abort: optional(object('strict', { percent: withDefault(percent, 100), status: integer(400, 599) })),
  }),
  (value, field, issues) => {
    if (Object.keys(value).length === 0) issues.push({ field, message: 'is empty: fill it or remove the field' })
  },
)

const target = refine(targetRefSchema, ({ group, kind }, field, issues) => {
  if (!isCoreGroup(group)) issues.push({ field: `${field}.group`, message: 'a Service is in the core group: write ""' })
  if (kind !== 'Service')
    issues.push({ field: `${field}.kind`, message: `only a Service can be targeted, got ${JSON.stringify(kind)}` })
})

const spec = object(
  'strict',
  {
    targetRefs: list(target, { min: 1, max: 16 }),
    loadBalancing: optional(loadBalancing),
    retry: optional(retry),
    retryBudget: optional(retryBudget),
    circuitBreaker: optional(circuitBreaker),
    outlierDetection: optional(outlierDetection),
    healthChecks: optional(healthChecks),
    rateLimits: withDefault(list(rateLimit, { min: 1, max: 16 }), []),
    faults: optional(faults),
    versioning: optional(versioningSchema),
  },
  {
    mirror: 'is a filter of routes: write a RequestMirror there',
    loadShedding: 'is for the whole proxy: give --shed-lag-ms to the agent',
    sessionPersistence: 'is a field of HTTPRoute rules: write it there',
    timeouts: 'is a field of HTTPRoute rules: write it there; here retry.perTryTimeout bounds each try',
    tls: 'is said by a BackendTLSPolicy: write one for the Service',
    // As Istio calls them.
    retries: 'is called retry here',
    loadBalancer: 'is called loadBalancing here',
    connectionPool: 'is called circuitBreaker here',
  },
)

export const trafficPolicyBody = object('strict', { spec })

export type TrafficPolicyBody = Output<typeof trafficPolicyBody>
export type TrafficPolicySpec = TrafficPolicyBody['spec']
export type RateLimitSpec = Output<typeof rateLimit>
