import t from 'tap'
import type { TrafficPolicy, Versioning } from '#contract'
import { decideRoute, explainRoute, forwardedFacts } from '#routing'
import {
  backend,
  calling,
  endpoint,
  type FactsInput,
  facts,
  match,
  route,
  rule,
  service,
  snapshotOf,
  workload,
} from './mesh-fixture.ts'

const web = service('shop/web')
const next = service('shop/next', { endpoints: { '80': [endpoint('10.0.0.2')] } })

/** A rule to `next` for requests that have all of these headers, and one to `web` for the rest. */
function canary(headers: Readonly<Record<string, string>>) {
  const exact = Object.entries(headers).map(([name, value]) => ({ name, match: { type: 'Exact', value } }) as const)
  return route('shop/r', [
    rule({ name: 'next', matches: [match('PathPrefix /', { headers: exact })], backends: [backend('shop/next')] }),
    rule({ name: 'rest', matches: [match('PathPrefix /')] }),
  ])
}

const caller = workload('billing/invoices-1', {
  serviceAccount: 'biller',
  owner: 'invoices',
  labels: { track: 'canary', 'app.kubernetes.io/Name': 'Invoices', Track: 'upper' },
})

t.test('a route matches on who calls', async (t) => {
  const chosen = (headers: Record<string, string>, client: typeof caller | null = caller, input?: FactsInput) => {
    const snapshot = snapshotOf(web, next, canary(headers))
    const decision = decideRoute(snapshot, calling(snapshot, 'shop/web', 80, client ?? undefined), facts(input), 0)
    return decision.kind === 'forward' ? decision.rule : decision.kind
  }
  t.equal(chosen({ 'X-Weir-Source-Namespace': 'billing' }), 'next')
  t.equal(chosen({ 'x-weir-source-namespace': 'shop' }), 'rest')
  t.equal(chosen({ 'x-weir-source-service-account': 'biller', 'x-weir-source-workload': 'invoices' }), 'next')
  t.equal(chosen({ 'x-weir-source-service-account': 'biller', 'x-weir-source-workload': 'other' }), 'rest')
  t.equal(chosen({ 'x-weir-source-label-track': 'canary' }), 'next', 'of two keys the one in lower case')
  t.equal(chosen({ 'x-weir-source-label-app.kubernetes.io~1name': 'Invoices' }), 'next')
  t.equal(chosen({ 'x-weir-source-label-constructor': 'x' }), 'rest')
  const forged = { headers: { 'x-weir-source-namespace': 'billing' } }
  t.equal(chosen({ 'x-weir-source-namespace': 'billing' }, null, forged), 'rest', 'who is not known has nothing')
  t.equal(
    chosen({ 'x-weir-source-namespace': 'billing', 'x-user': 'ann' }, caller, { headers: { 'x-user': 'ann' } }),
    'next',
  )
})

const versioning: Versioning = {
  unknown: 'Refuse',
  maxBodyBytes: 1024,
  versions: [
    { name: '2', matches: [{ type: 'Header', name: 'v', value: '2' }] },
    {
      name: '1',
      matches: [{ type: 'PathPrefix', value: '/v1' }],
      request: { prefixes: [{ from: '/v1', to: '/v2' }], body: [] },
    },
  ],
}
const policy = (services: readonly string[], more: Partial<Versioning> = {}): TrafficPolicy => ({
  kind: 'traffic-policy',
  namespace: 'shop',
  name: 'p',
  createdAt: '',
  services,
  rateLimits: [],
  versioning: { ...versioning, ...more },
})

t.test('a route matches on the version that the policy of the called Service tells', async (t) => {
  const chosen = (input: FactsInput, services = ['web']) => {
    const snapshot = snapshotOf(web, next, canary({ 'x-weir-api-version': '2' }), policy(services, { unknown: 'Pass' }))
    const decision = decideRoute(snapshot, calling(snapshot), facts(input), 0)
    return decision.kind === 'forward' ? decision.rule : decision.kind
  }
  t.equal(chosen({ headers: { v: '2' } }), 'next')
  t.equal(chosen({ headers: { v: '3' } }), 'rest')
  t.equal(chosen({}), 'rest')
  t.equal(chosen({ path: '/v1', headers: { v: '2' } }), 'rest')
  t.equal(chosen({ headers: { v: '2' } }, ['next']), 'rest', 'not that of a backend')
})

t.test('a version that is not declared is refused where the backend’s policy says so', async (t) => {
  const snapshot = snapshotOf(web, policy(['web']))
  const decided = (input: FactsInput) => decideRoute(snapshot, calling(snapshot), facts(input), 0)
  t.match(decided({ headers: { v: '3' } }), {
    kind: 'fail',
    refusal: 'unknownVersion',
    why: 'header v: 3 is no version that TrafficPolicy shop/p declares',
  })
  t.match(decided({ headers: { v: '2' } }), { kind: 'forward' })
  t.match(decided({}), { kind: 'forward' }, 'one that names none is not refused')
  t.match(explainRoute(snapshot, calling(snapshot), facts({ headers: { v: '3' } }), 0).at(-1), /fails with 400/)
})

t.test('policy judges the request as it is translated', async (t) => {
  const snapshot = snapshotOf(web, policy(['web']))
  const asked = facts({ path: '/v1/items', query: 'a=1' })
  const decision = decideRoute(snapshot, calling(snapshot), asked, 0)
  t.equal(decision.kind, 'forward')
  if (decision.kind !== 'forward') return
  t.equal(forwardedFacts(decision, asked).path, '/v2/items')
  const steps = explainRoute(snapshot, calling(snapshot), asked, 0)
  t.ok(steps.includes('It is of API version 1, by path prefix /v1.'), steps.join('\n'))
  t.ok(steps.includes('Its target /v1/items?a=1 is translated to /v2/items?a=1.'))
  const other = facts({ path: '/x' })
  t.equal(forwardedFacts(decision, other), other, 'what is not translated is not copied')
})

t.test('a gRPC port has no versions', async (t) => {
  const grpc = service('shop/web', { ports: [{ name: 'grpc', port: 80, protocol: 'grpc' }] })
  const snapshot = snapshotOf(grpc, policy(['web']))
  t.match(decideRoute(snapshot, calling(snapshot), facts(), 0), { kind: 'forward', versions: undefined })
})
