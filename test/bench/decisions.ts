/**
 * What one decision costs, without the proxy around it: routing with 10 and 1,000 HTTPRoutes of 10 rules on one Service,
 * authorizing with 10 and 1,000 policies of 10 rules that all apply. `node test/bench/decisions.ts`.
 */
import type { AuthorizationPolicy } from '#contract'
import { authorize, policySetFor } from '#policy'
import { decideRoute } from '#routing'
import {
  backend,
  calling,
  facts,
  match,
  route,
  rule,
  service,
  snapshotOf,
  workload,
} from '../unit/routing/mesh-fixture.ts'

const FEW = 10
const MANY = 1000
const ROUNDS = 15
const TIMES = 20_000

type Decide = () => unknown

/** Least of all rounds, which take turns: what else the machine does only adds. */
function nanosOf(decisions: readonly Decide[]): number[] {
  const least = decisions.map(() => Number.POSITIVE_INFINITY)
  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, decide] of decisions.entries()) {
      const begun = performance.now()
      for (let n = 0; n < TIMES; n++) decide()
      least[i] = Math.min(least[i] ?? 0, ((performance.now() - begun) / TIMES) * 1e6)
    }
  }
  return least
}

function routing(count: number): Decide {
  const routes = Array.from({ length: count }, (_, i) =>
    route(
      `shop/route-${i}`,
      Array.from({ length: 10 }, (_, n) =>
        rule({ matches: [match(`PathPrefix /api/${i}/${n}`)], backends: [backend('shop/web')] }),
      ),
    ),
  )
  const snapshot = snapshotOf(service('shop/web'), ...routes)
  const request = calling(snapshot)
  const asked = facts({ path: `/api/${count - 1}/9/x` })
  return () => decideRoute(snapshot, request, asked, 0.5)
}

function authorizing(action: 'ALLOW' | 'DENY', count: number): Decide {
  const policies = Array.from(
    { length: count },
    (_, i): AuthorizationPolicy => ({
      kind: 'authorization-policy',
      namespace: 'shop',
      name: `policy-${i}`,
      scope: 'namespace',
      selector: {},
      services: [],
      action,
      rules: Array.from({ length: 10 }, (_, n) => ({
        from: [{ principals: [`cluster.local/ns/shop/sa/caller-${i}-${n}`] }],
        to: [{ methods: ['GET'], paths: [`/api/${i}/${n}/*`] }],
      })),
    }),
  )
  const web = workload('shop/web')
  const set = policySetFor(snapshotOf(web, ...policies), web, [])
  const name = `caller-${count - 1}-9`
  const connection = {
    source: { namespace: 'shop', serviceAccount: name, principal: `cluster.local/ns/shop/sa/${name}` },
    sourceIp: '10.0.0.1',
    destinationIp: '10.0.0.2',
    destinationPort: 80,
  }
  const asked = facts({ path: `/api/${count - 1}/9/x` })
  return () => authorize(set, connection, asked)
}

const cases: readonly [string, (count: number) => Decide][] = [
  ['routes', routing],
  ['ALLOW policies', (count) => authorizing('ALLOW', count)],
  ['DENY policies', (count) => authorizing('DENY', count)],
]
console.log(`| ns per decision | ${FEW} of 10 rules | ${MANY} of 10 rules | ratio |\n| --- | --- | --- | --- |`)
for (const [name, make] of cases) {
  const [few = 0, many = 0] = nanosOf([make(FEW), make(MANY)])
  console.log(`| ${name} | ${few.toFixed(0)} | ${many.toFixed(0)} | ${(many / few).toFixed(2)} |`)
}
