/** What TrafficPolicies and retries do to requests of a Service, in words. */
import type {
  BackendTls,
  Balancing,
  HashKey,
  HealthCheck,
  LocalityName,
  RateLimit,
  RetryPlan,
  TrafficPolicy,
} from '#contract'
import { grpcStatusName, REFUSAL, RETRY_BUDGET_DEFAULT } from '#contract'
import type { Snapshot } from '#mesh'
import type { ForwardDecision } from './decision.ts'
import { durationWords } from './duration-words.ts'

/** One sentence each; nothing of what is as it is without a policy. */
export function explainTraffic(snapshot: Snapshot, decision: ForwardDecision): readonly string[] {
  const { service, traffic, retry } = decision
  const lines: string[] = []
  const tls = snapshot.backendTls(service, decision.port)
  if (tls !== undefined) lines.push(explainTls(tls))
  for (const policy of snapshot.trafficPolicies(`${service.namespace}/${service.name}`)) {
    const name = `TrafficPolicy ${policy.namespace}/${policy.name}`
    if (policy === traffic) lines.push(`${name} applies to it.`)
    else if (policy.invalid !== undefined) lines.push(`${name} does not apply: ${policy.invalid}.`)
    else lines.push(`${name} does not apply: an older one does.`)
  }
  if (traffic !== undefined) lines.push(...explainLimits(traffic))
  for (const { decision: copy, numerator, denominator } of decision.mirrors ?? []) {
    const share = numerator === denominator ? 'Each request' : `${numerator} of ${denominator} requests`
    lines.push(
      `${share} of up to 64 KiB goes to Service ${copy.service.namespace}/${copy.service.name}:${copy.port}, too, as a copy whose answer is thrown away.`,
    )
  }
  if (retry !== undefined) lines.push(explainRetry(retry, traffic))
  if (traffic?.balancing !== undefined) lines.push(explainBalancing(traffic.balancing))
  return lines
}

function explainTls({ namespace, name, hostname, names, invalid }: BackendTls): string {
  const policy = `BackendTLSPolicy ${namespace}/${name}`
  if (invalid !== undefined) return `It fails with ${REFUSAL.connectFailed.status}: ${policy}: ${invalid}.`
  const wanted = names.length === 0 ? hostname : `one of ${names.map(({ value }) => value).join(', ')}`
  return `The mesh speaks TLS to the endpoint, asks for ${hostname}, and its certificate must be for ${wanted}: ${policy} applies.`
}

function explainLimits({ rateLimits, breaker, outliers, healthChecks = [], faults }: TrafficPolicy): string[] {
  const lines = rateLimits.map(
    (limit) =>
      `${limit.requests} ${limit.requests === 1 ? 'request' : 'requests'} in ${durationWords(limit.intervalMs)} (${limit.burst} at once) ${limit.requests === 1 ? 'is' : 'are'} let through ${keyWords(limit)} by each proxy; others get 429.`,
  )
  const { maxRequests, maxConnections, maxPendingRequests, maxRetries } = breaker ?? {}
  const most = [
    maxRequests === undefined ? '' : `${maxRequests} requests`,
    maxConnections === undefined ? '' : `${maxConnections} connections`,
    maxPendingRequests === undefined ? '' : `${maxPendingRequests} requests that wait for a connection`,
    maxRetries === undefined ? '' : `${maxRetries} retries`,
  ].filter((text) => text !== '')
  if (most.length > 0)
    lines.push(`At a time a calling pod may have ${most.join(', ')} in a proxy; what is beyond gets 503.`)
  if (outliers !== undefined) {
    const { consecutiveErrors, consecutiveGatewayErrors, consecutiveConnectErrors } = outliers
    const tests = [
      consecutiveErrors === 0 ? '' : `${consecutiveErrors} errors`,
      consecutiveGatewayErrors === 0 ? '' : `${consecutiveGatewayErrors} gateway errors`,
      consecutiveConnectErrors === 0 ? '' : `${consecutiveConnectErrors} failed connections`,
    ].filter((text) => text !== '')
    const rate = outliers.successRate === undefined ? '' : ', or a success rate far below that of the others'
    if (tests.length > 0 || rate !== '') {
      const row = tests.length === 0 ? '' : `${tests.join(' or ')} in a row`
      lines.push(
        `An endpoint is ejected for ${durationWords(outliers.baseEjectionMs)} and more by ${row || 'bad success'}${rate}; weir_ejections_total counts it.`,
      )
    }
  }
  lines.push(...healthChecks.map(explainCheck))
  const { delay, abort } = faults ?? {}
  if (delay !== undefined)
    lines.push(`${delay.percent} % of the requests are delayed by ${durationWords(delay.ms)} (fault).`)
  if (abort !== undefined) lines.push(`${abort.percent} % of the requests get ${abort.status} (fault).`)
  return lines
}

function explainCheck({ probe, intervalMs, timeoutMs, unhealthyThreshold, healthyThreshold }: HealthCheck): string {
  const asked =
    probe.type === 'HTTP'
      ? `GET ${probe.path}`
      : probe.type === 'GRPC'
        ? `gRPC health${probe.service === '' ? '' : ` of ${probe.service}`}`
        : 'a TCP connection'
  return `Each endpoint is asked for ${asked} every ${durationWords(intervalMs)}: ${unhealthyThreshold} failures in a row (none may take longer than ${durationWords(timeoutMs)}) take it out, ${healthyThreshold} passed put it back.`
}

function keyWords({ key }: RateLimit): string {
  switch (key.type) {
    case 'Service':
      return 'of all callers together'
    case 'Source':
      return 'of each calling service account'
    case 'Header':
      return `for each value of header ${key.name}`
  }
}

function explainRetry(plan: RetryPlan, traffic: TrafficPolicy | undefined): string {
  const causes = [
    plan.codes.length === 0 ? '' : `status ${plan.codes.join(', ')}`,
    plan.connectFailure ? 'a failed connection' : '',
    plan.reset ? 'a reset' : '',
    plan.timeout ? 'a try that takes too long' : '',
    plan.grpcStatuses === undefined || plan.grpcStatuses.length === 0
      ? ''
      : `gRPC status ${plan.grpcStatuses.map(grpcStatusName).join(', ')}`,
  ].filter((text) => text !== '')
  const { percent, minPerSecond } = traffic?.retryBudget ?? RETRY_BUDGET_DEFAULT
  const often = plan.attempts === 1 ? 'once' : `up to ${plan.attempts} times`
  return `It is tried again ${often} after ${causes.join(' or ')}, ${durationWords(plan.backoffMs)} later or more, while retries are below ${percent} % of requests plus ${minPerSecond} a second and its body is not larger than 64 KiB.`
}

function explainBalancing({ algorithm, hashOn, slowStartMs, locality }: Balancing): string {
  const by = hashOn === undefined ? '' : ` by ${hashWords(hashOn)}`
  const slow = slowStartMs === undefined ? '' : `; a new one gets its full share after ${durationWords(slowStartMs)}`
  const near =
    locality === undefined
      ? ''
      : `, of the same ${locality.levels.join(', else ').toLowerCase()} while ${locality.failoverPercent} % there are available`
  const weights = (locality?.weights ?? []).map(({ from, to }) => {
    const shares = to.map(({ place, percent }) => `${percent} % to ${placeWords(place)}`)
    return ` From ${placeWords(from)} go ${shares.join(', ')}.`
  })
  return `Its endpoint is chosen by ${algorithm}${by}${near}${slow}.${weights.join('')}`
}

function placeWords({ region = 'anywhere', zone }: LocalityName): string {
  return zone === undefined ? region : `${region}/${zone}`
}

function hashWords(key: HashKey): string {
  return key.type === 'Source' ? 'the calling pod’s address' : `${key.type.toLowerCase()} ${key.name}`
}
