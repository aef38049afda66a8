import t from 'tap'
import type { RetryPlan, TrafficPolicy } from '#contract'
import { decideRoute, explainRoute } from '#routing'
import { facts, route, rule, service, snapshotOf, worldOf } from './mesh-fixture.ts'

const RETRY: RetryPlan = {
  attempts: 2,
  codes: [503],
  connectFailure: true,
  reset: false,
  timeout: false,
  backoffMs: 25,
  maxBackoffMs: 250,
}

function policy(name: string, more: Partial<TrafficPolicy> = {}): TrafficPolicy {
  return { kind: 'traffic-policy', namespace: 'shop', name, createdAt: '', services: ['web'], rateLimits: [], ...more }
}

const web = service('shop/web')
const request = { client: undefined, service: web, port: { name: 'http', port: 80, protocol: 'http' } as const }

t.test('the policy of the backend comes with the decision, and its retry unless the route has its own', async (t) => {
  const own: RetryPlan = { ...RETRY, codes: [500] }
  const traffic = policy('p', { retry: RETRY })
  t.match(decideRoute(snapshotOf(web, traffic), request, facts(), 0), { traffic, retry: RETRY })
  t.match(decideRoute(snapshotOf(web, traffic, route('shop/r', [rule({ retry: own })])), request, facts(), 0), {
    retry: own,
  })
  const none = route('shop/r', [rule({ retry: { ...own, attempts: 0 } })])
  t.match(decideRoute(snapshotOf(web, traffic, none), request, facts(), 0), { traffic, retry: undefined })
})

t.test('the time of one try is the rule’s, or else the retry’s', async (t) => {
  const traffic = policy('p', { retry: { ...RETRY, perTryTimeoutMs: 300 } })
  t.match(decideRoute(snapshotOf(web, traffic), request, facts(), 0), { backendRequestTimeoutMs: 300 })
  const quick = route('shop/r', [rule({ backendRequestTimeoutMs: 100 })])
  t.match(decideRoute(snapshotOf(web, traffic, quick), request, facts(), 0), { backendRequestTimeoutMs: 100 })
})

t.test('of several the oldest valid one applies; a change of policy changes the decision', async (t) => {
  const old = policy('z', { createdAt: '2020-01-01T00:00:00Z' })
  const young = policy('a', { createdAt: '2024-01-01T00:00:00Z' })
  const broken = policy('b', { createdAt: '2019-01-01T00:00:00Z', invalid: 'spec: is missing' })
  const world = worldOf(web, broken, young, old)
  const applying = () => {
    const decision = decideRoute(world.snapshot, request, facts(), 0)
    return decision.kind === 'forward' ? decision.traffic?.name : decision.kind
  }
  t.equal(applying(), 'z')
  world.apply({ version: 2, reset: false, upsert: [], remove: ['traffic-policy:shop/z'] })
  t.equal(applying(), 'a')
  world.apply({ version: 3, reset: false, upsert: [], remove: ['traffic-policy:shop/a'] })
  t.equal(applying(), undefined, 'one that does not validate never does')
})

t.test('explain tells what applies, what does not, and why', async (t) => {
  const traffic = policy('p', {
    createdAt: '2020-01-01T00:00:00Z',
    retry: RETRY,
    balancing: { algorithm: 'ConsistentHash', hashOn: { type: 'Cookie', name: 'session' } },
    breaker: { maxRequests: 10, maxRetries: 3 },
    rateLimits: [{ key: { type: 'Source' }, requests: 5, intervalMs: 1_000, burst: 10 }],
    faults: { delay: { percent: 10, ms: 200 }, abort: { percent: 1, status: 503 } },
    outliers: {
      consecutiveErrors: 5,
      consecutiveGatewayErrors: 0,
      consecutiveConnectErrors: 2,
      intervalMs: 1,
      baseEjectionMs: 30_000,
      maxEjectionMs: 300_000,
      maxEjectedPercent: 10,
      panicPercent: 50,
    },
  })
  const snapshot = snapshotOf(web, traffic, policy('q'), policy('r', { invalid: 'spec.retry: is wrong' }))
  const lines = explainRoute(snapshot, request, facts(), 0)
  t.same(lines.slice(lines.indexOf('TrafficPolicy shop/p applies to it.')), [
    'TrafficPolicy shop/p applies to it.',
    'TrafficPolicy shop/q does not apply: an older one does.',
    'TrafficPolicy shop/r does not apply: spec.retry: is wrong.',
    '5 requests in 1 s (10 at once) are let through of each calling service account by each proxy; others get 429.',
    'At a time a calling pod may have 10 requests, 3 retries in a proxy; what is beyond gets 503.',
    'An endpoint is ejected for 30 s and more by 5 errors or 2 failed connections in a row; weir_ejections_total counts it.',
    '10 % of the requests are delayed by 200 ms (fault).',
    '1 % of the requests get 503 (fault).',
    'It is tried again up to 2 times after status 503 or a failed connection, 25 ms later or more, while retries are below 20 % of requests plus 10 a second and its body is not larger than 64 KiB.',
    'Its endpoint is chosen by ConsistentHash by cookie session.',
  ])
})

t.test('explain names gRPC statuses, and times in the unit that a person would use', async (t) => {
  const retry: RetryPlan = { ...RETRY, codes: [], connectFailure: false, grpcStatuses: [14, 8], backoffMs: 1500 }
  const limit = { key: { type: 'Service' }, requests: 1, intervalMs: 300_000, burst: 1 } as const
  const lines = explainRoute(snapshotOf(web, policy('p', { retry, rateLimits: [limit] })), request, facts(), 0)
  t.match(
    lines.find((line) => line.startsWith('It is tried again')),
    /^It is tried again up to 2 times after gRPC status UNAVAILABLE, RESOURCE_EXHAUSTED, 1500 ms later or more,/,
  )
  t.match(
    lines.find((line) => line.startsWith('1 request')),
    /^1 request in 5 min \(1 at once\) is let through of all callers together by each proxy; others get 429\.$/,
  )
})
