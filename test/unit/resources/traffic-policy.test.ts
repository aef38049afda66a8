import t from 'tap'
import { parse } from 'yaml'
import { parseObject, renderFault } from '#resources'

const TARGET = 'targetRefs: [{ kind: Service, name: web }]'

function problemsOf(spec: string): readonly string[] {
  const text = `{ apiVersion: weir.dev/v1alpha1, kind: TrafficPolicy, metadata: { name: p, namespace: shop }, spec: { ${spec} } }`
  const outcome = parseObject(parse(text))
  if (outcome.kind !== 'object') throw new Error(`${spec}: ${outcome.kind}`)
  return outcome.problems.map((problem) => renderFault(problem).replace('TrafficPolicy shop/p: ', ''))
}

const EFFECT = '; until it is mended it does not apply'

t.test('a policy needs a Service to apply to, and nothing else', async (t) => {
  t.same(problemsOf(TARGET), [])
  t.same(problemsOf(''), [`spec.targetRefs: is missing${EFFECT}`])
  t.same(problemsOf('targetRefs: []'), [`spec.targetRefs: is an empty list: fill it or remove the field${EFFECT}`])
  t.same(problemsOf('targetRefs: [{ kind: Deployment, name: web }]'), [
    `spec.targetRefs[0].kind: only a Service can be targeted, got "Deployment"${EFFECT}`,
  ])
  t.same(problemsOf('targetRefs: [{ kind: Service, name: web, namespace: other }]'), [
    `spec.targetRefs[0].namespace: a policy applies to its own namespace (shop) only, got other${EFFECT}`,
  ])
})

t.test('a mistake is told with its exact field', async (t) => {
  const cases: [string, string][] = [
    ['retry: {}', 'retry: needs codes, failures or grpcStatuses: nothing would be retried'],
    ['retry: { codes: [200] }', 'retry.codes[0]: expected 400 to 599, got 200'],
    ['retry: { codes: [503], attempts: 11 }', 'retry.attempts: expected 1 to 10, got 11'],
    [
      'retry: { failures: [Resets] }',
      'retry.failures[0]: expected ConnectFailure, Reset or Timeout, got "Resets" (did you mean Reset?)',
    ],
    [
      'retry: { codes: [503], backoff: { base: 2s, max: 1s } }',
      'retry.backoff.max: 1s is shorter than base (2s): it may not be',
    ],
    ['retry: { codes: [503], perTryTimeout: 0s }', 'retry.perTryTimeout: expected a time from 1ms to 24h, got 0s'],
    ['retries: { codes: [503] }', 'retries: is called retry here'],
    [
      'timeouts: { request: 1s }',
      'timeouts: is a field of HTTPRoute rules: write it there; here retry.perTryTimeout bounds each try',
    ],
    ['connectionPool: {}', 'connectionPool: is called circuitBreaker here'],
    [
      'outlierDetection: { consecutive5xxErrors: 5 }',
      'outlierDetection.consecutive5xxErrors: is called consecutiveErrors here',
    ],
    ['retry: { codes: [503], retryOn: 5xx }', 'retry.retryOn: is said by codes, failures and grpcStatuses here'],
    ['retryBudget: { percent: 101 }', 'retryBudget.percent: expected 0 to 100, got 101'],
    [
      'loadBalancing: { algorithm: ConsistentHash }',
      'loadBalancing.hashOn: is missing: algorithm ConsistentHash needs it',
    ],
    [
      'loadBalancing: { hashOn: { type: Source } }',
      'loadBalancing.hashOn: goes with algorithm ConsistentHash only, got PeakEwma',
    ],
    [
      'loadBalancing: { algorithm: ConsistentHash, hashOn: { type: Header } }',
      'loadBalancing.hashOn.name: is missing: type Header needs a name',
    ],
    [
      'loadBalancing: { algorithm: ConsistentHash, hashOn: { type: Cookie, name: "a b" } }',
      'loadBalancing.hashOn.name: expected a cookie\'s name, got "a b"',
    ],
    [
      'loadBalancing: { locality: { weights: [{ from: eu-1, to: { eu-1/a: 80, eu-1/b: 10 } }] } }',
      'loadBalancing.locality.weights[0].to: the shares must be 100 together, got 90',
    ],
    [
      'loadBalancing: { locality: { weights: [{ from: eu-1/a/rack, to: { "*": 100 } }] } }',
      'loadBalancing.locality.weights[0].from: expected a region (eu-1), a zone (eu-1/eu-1a) or *, got "eu-1/a/rack"',
    ],
    [
      'loadBalancing: { locality: { weights: [{ from: eu-1, to: { eu-1/a: 50, eu-1/*: 50 } }] } }',
      'loadBalancing.locality.weights[0].to[eu-1/*]: eu-1/* overlaps with eu-1/a: each place may be named once',
    ],
    [
      'loadBalancing: { locality: { weights: [{ from: eu-1/a, to: { us: 100 } }, { from: "*", to: { us: 100 } }] } }',
      'loadBalancing.locality.weights[1].from: * overlaps with eu-1/a: each place may be named once',
    ],
    ['healthChecks: []', 'healthChecks: is an empty list: fill it or remove the field'],
    ['healthChecks: [{}]', 'healthChecks[0].type: is missing'],
    ['healthChecks: [{ type: HTTP, tcp: {} }]', 'healthChecks[0].tcp: goes with type TCP only, got HTTP'],
    [
      'healthChecks: [{ type: HTTP, http: { path: "/a b" } }]',
      'healthChecks[0].http.path: expected a path such as /healthz, percent-encoded, got "/a b"',
    ],
    [
      'healthChecks: [{ type: HTTP, http: { statuses: ["299-200"] } }]',
      'healthChecks[0].http.statuses[0]: expected a status such as "204" or a range such as "200-299", got "299-200"',
    ],
    [
      'healthChecks: [{ type: TCP, interval: 10ms }]',
      'healthChecks[0].interval: expected a time from 100ms to 1h, got 10ms',
    ],
    ['circuitBreaker: {}', 'circuitBreaker: is empty: fill it or remove the field'],
    ['circuitBreaker: { maxRequest: 1 }', 'circuitBreaker.maxRequest: unknown field; did you mean maxRequests?'],
    [
      'outlierDetection: { baseEjectionTime: 10m }',
      'outlierDetection.maxEjectionTime: 5m is shorter than baseEjectionTime (10m): it may not be',
    ],
    ['rateLimits: [{}]', 'rateLimits[0].requests: is missing'],
    [
      'rateLimits: [{ requests: 1, by: { type: Source, name: a } }]',
      'rateLimits[0].by.name: type Source has no name: remove it',
    ],
    ['faults: { abort: { status: 200 } }', 'faults.abort.status: expected 400 to 599, got 200'],
    ['faults: { delay: {} }', 'faults.delay.duration: is missing'],
  ]
  for (const [spec, expected] of cases) t.same(problemsOf(`${TARGET}, ${spec}`), [`spec.${expected}${EFFECT}`], spec)
})
