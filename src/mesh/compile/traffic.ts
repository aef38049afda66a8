/** TrafficPolicies and the retries of routes → what proxies carry out, all defaults filled in. */
import {
  type Faults,
  GRPC_STATUS,
  type HealthCheck,
  type LocalityLevel,
  type OutlierLimits,
  type RateLimit,
  type RetryPlan,
  type TrafficPolicy,
} from '#contract'
import {
  type HealthCheckSpec,
  type InvalidTrafficPolicy,
  parseLocality,
  parseStatuses,
  type RateLimitSpec,
  type RouteRuleBody,
  type TargetSpec,
  type TrafficPolicyObject,
  type TrafficPolicySpec,
  targetRefsOf,
} from '#resources'
import { parseDurationMs } from '#schema'
import { compileVersioning } from './versioning.ts'

const LEVELS: readonly LocalityLevel[] = ['Node', 'Zone', 'Region']
const BACKOFF_DEFAULT_MS = 25
/** The longest wait is that many times the shortest, unless it is said. */
const BACKOFF_SPAN = 10
const ROUTE_ATTEMPTS_DEFAULT = 2

export function compileTrafficPolicy({ metadata, spec }: TrafficPolicyObject): TrafficPolicy {
  const { loadBalancing, retry, circuitBreaker, outlierDetection, faults } = spec
  return {
    ...nameOf(metadata),
    services: servicesOf(spec),
    ...(loadBalancing === undefined ? {} : { balancing: compileBalancing(loadBalancing) }),
    ...(retry === undefined ? {} : { retry: compileRetry(retry) }),
    ...(spec.retryBudget === undefined ? {} : { retryBudget: spec.retryBudget }),
    ...(circuitBreaker === undefined ? {} : { breaker: circuitBreaker }),
    ...(outlierDetection === undefined ? {} : { outliers: compileOutliers(outlierDetection) }),
    ...(spec.healthChecks === undefined ? {} : { healthChecks: spec.healthChecks.map(compileHealthCheck) }),
    rateLimits: spec.rateLimits.map(compileRateLimit),
    ...(faults === undefined ? {} : { faults: compileFaults(faults) }),
    ...(spec.versioning === undefined ? {} : { versioning: compileVersioning(spec.versioning) }),
  }
}

/** It does not apply; that is told where its Services are explained. */
export function compileInvalidTrafficPolicy({ metadata, target, invalid }: InvalidTrafficPolicy): TrafficPolicy {
  return { ...nameOf(metadata), services: servicesOf(target ?? {}), rateLimits: [], invalid }
}

/** Of an HTTPRoute's rule: failed connections, resets and timeouts are retried with it, as GEP-1731 asks. */
export function compileRouteRetry(retry: NonNullable<RouteRuleBody['retry']>): RetryPlan {
  const backoffMs = msOf(retry.backoff) ?? BACKOFF_DEFAULT_MS
  return {
    attempts: retry.attempts ?? ROUTE_ATTEMPTS_DEFAULT,
    codes: [...new Set(retry.codes)],
    connectFailure: true,
    reset: true,
    timeout: true,
    backoffMs,
    maxBackoffMs: backoffMs * BACKOFF_SPAN,
  }
}

function nameOf({ namespace, name, creationTimestamp = '' }: TrafficPolicyObject['metadata']) {
  return { kind: 'traffic-policy', namespace, name, createdAt: creationTimestamp } as const
}

function servicesOf(spec: TargetSpec): readonly string[] {
  return [...new Set(targetRefsOf(spec).map(({ name }) => name))]
}

function compileBalancing({ algorithm, hashOn, slowStart, locality }: NonNullable<TrafficPolicySpec['loadBalancing']>) {
  const slowStartMs = msOf(slowStart)
  return {
    algorithm,
    ...(hashOn === undefined ? {} : { hashOn: keyOf(hashOn) }),
    ...(slowStartMs === undefined ? {} : { slowStartMs }),
    ...(locality === undefined
      ? {}
      : {
          locality: {
            levels: LEVELS.filter((level) => locality.prefer.includes(level)),
            failoverPercent: locality.failoverPercent,
            ...(locality.weights === undefined
              ? {}
              : {
                  weights: locality.weights.map(({ from, to }) => ({
                    from: parseLocality(from) ?? {},
                    to: Object.entries(to).map(([name, percent]) => ({ place: parseLocality(name) ?? {}, percent })),
                  })),
                }),
          },
        }),
  }
}

/** Header names are looked up in lower case. */
function keyOf<T extends string>({ type, name = '' }: { readonly type: T; readonly name?: string }) {
  if (type === 'Header') return { type: 'Header', name: name.toLowerCase() } as const
  if (type === 'Cookie') return { type: 'Cookie', name } as const
  return { type: type as Exclude<T, 'Header' | 'Cookie'> }
}

function compileRetry(retry: NonNullable<TrafficPolicySpec['retry']>): RetryPlan {
  const backoffMs = msOf(retry.backoff?.base) ?? BACKOFF_DEFAULT_MS
  const perTryTimeoutMs = msOf(retry.perTryTimeout)
  return {
    attempts: retry.attempts,
    codes: [...new Set(retry.codes)],
    connectFailure: retry.failures.includes('ConnectFailure'),
    reset: retry.failures.includes('Reset'),
    timeout: retry.failures.includes('Timeout'),
    backoffMs,
    maxBackoffMs: msOf(retry.backoff?.max) ?? backoffMs * BACKOFF_SPAN,
    ...(perTryTimeoutMs === undefined ? {} : { perTryTimeoutMs }),
    ...(retry.grpcStatuses.length === 0 ? {} : { grpcStatuses: retry.grpcStatuses.map((name) => GRPC_STATUS[name]) }),
  }
}

function compileOutliers(limits: NonNullable<TrafficPolicySpec['outlierDetection']>): OutlierLimits {
  const { interval, baseEjectionTime, maxEjectionTime, ...rest } = limits
  return {
    ...rest,
    intervalMs: msOf(interval) ?? 0,
    baseEjectionMs: msOf(baseEjectionTime) ?? 0,
    maxEjectionMs: msOf(maxEjectionTime) ?? 0,
  }
}

function compileHealthCheck(check: HealthCheckSpec): HealthCheck {
  const intervalMs = msOf(check.interval) ?? 0
  return {
    probe: compileProbe(check),
    intervalMs,
    jitterMs: (intervalMs * check.jitterPercent) / 100,
    timeoutMs: msOf(check.timeout) ?? 0,
    unhealthyThreshold: check.unhealthyThreshold,
    healthyThreshold: check.healthyThreshold,
  }
}

function compileProbe({ type, http, grpc, tcp }: HealthCheckSpec): HealthCheck['probe'] {
  if (type === 'GRPC') return { type, service: grpc?.service ?? '', ...hostOf(grpc?.host) }
  if (type === 'TCP') {
    return {
      type,
      ...(tcp?.send === undefined ? {} : { send: latin1(tcp.send) }),
      ...(tcp?.expect === undefined ? {} : { expect: latin1(tcp.expect) }),
    }
  }
  const statuses = (http?.statuses ?? ['200-299']).map(parseStatuses)
  return { type, path: http?.path ?? '/', ...hostOf(http?.host), statuses }
}

function hostOf(host: string | undefined) {
  return host === undefined ? {} : { host }
}

/** Its UTF-8, one character for each byte. */
function latin1(text: string): string {
  return Buffer.from(text).toString('latin1')
}

function compileRateLimit({ by, requests, interval, burst }: RateLimitSpec): RateLimit {
  return { key: keyOf(by) as RateLimit['key'], requests, intervalMs: msOf(interval) ?? 0, burst: burst ?? requests }
}

function compileFaults({ delay, abort }: NonNullable<TrafficPolicySpec['faults']>): Faults {
  return {
    ...(delay === undefined ? {} : { delay: { percent: delay.percent, ms: msOf(delay.duration) ?? 0 } }),
    ...(abort === undefined ? {} : { abort }),
  }
}

function msOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : parseDurationMs(text)
}
