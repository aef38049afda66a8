/** What the index finds is what asking every rule in its order finds, for any rules and any subject. */
import fc from 'fast-check'
import t from 'tap'
import type { AuthorizationPolicy, AuthorizationRule, ConnectionFacts } from '#contract'
import { firstMatch } from '../../../src/policy/authorize.ts'
import { authorize, policySetFor } from '../../../src/policy/index.ts'
import type { PolicySet } from '../../../src/policy/policy-set.ts'
import { Subject } from '../../../src/policy/subject.ts'
import { policy, request, workload } from './policy-builders.ts'

const values = (...from: readonly string[]) => fc.uniqueArray(fc.constantFrom(...from), { maxLength: 2 })
const sometimes = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 })
const some = <T>(from: Readonly<Record<string, fc.Arbitrary<T | undefined>>>) =>
  fc.record(from).map((all) => Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)))

const PRINCIPALS = [
  'cluster.local/ns/shop/sa/a',
  'cluster.local/ns/shop/sa/b',
  'spiffe://cluster.local/ns/shop/sa/a',
  '*',
  'cluster.local/*',
  '*/sa/b',
  'a*b',
  '',
]
const PATHS = [
  '/',
  '/*',
  '/a',
  '/a/',
  '/a*',
  '/a/*',
  '/a/b',
  '/a/b*',
  '/a/{*}/c',
  '/a/{**}',
  '/{*}',
  '*/b',
  '*',
  '/%61',
  '/a//b',
  '/a*b',
  '/a/./b',
  '/x{*}',
  'a',
  '/a\\b',
  '/a%2fb*',
]
const source = some({
  principals: sometimes(values(...PRINCIPALS)),
  notPrincipals: sometimes(values('cluster.local/ns/shop/sa/a')),
  namespaces: sometimes(values('shop', '*')),
})
const operation = some({
  paths: sometimes(values(...PATHS)),
  notPaths: sometimes(values('/a/b', '/a*')),
  methods: sometimes(values('GET', 'P*')),
  ports: sometimes(values('80', 'x')),
})
const rule = some<unknown>({
  from: sometimes(fc.array(source, { maxLength: 2 })),
  to: sometimes(fc.array(operation, { maxLength: 2 })),
}) as fc.Arbitrary<AuthorizationRule>

const asked = fc.constantFrom(
  '/',
  '/a',
  '/a/',
  '/a/b',
  '/a/b/',
  '/a/x/c',
  '/b',
  '/a/b/c',
  '/A',
  '//a',
  '/a;p/b',
  '/a/../b',
  '/a%2fb',
  '/%61/b',
  '/a\\b',
  '/%2561',
  '*',
  '/bad%',
)
const connection = fc.constantFrom<ConnectionFacts>(
  { sourceIp: '10.0.0.1', destinationIp: '10.0.0.2', destinationPort: 80 },
  ...['a', 'b', 'c'].map((name) => ({
    sourceIp: '10.0.0.1',
    destinationIp: '10.0.0.2',
    destinationPort: 80,
    source: { namespace: 'shop', serviceAccount: name, principal: `cluster.local/ns/shop/sa/${name}` },
  })),
)

function setOf(policies: readonly AuthorizationPolicy[]): PolicySet {
  const source = { authorizationPolicies: () => policies, meshPolicies: () => [] }
  return policySetFor(source, workload(), [])
}

/** Asks rule after rule, as the specification says. */
function byTheBook(set: PolicySet, connection: ConnectionFacts, http: ReturnType<typeof request> | undefined) {
  const subject = new Subject()
  subject.begin(connection, http)
  if (set.empty) return set.otherwise
  if (set.needsPath && http !== undefined && subject.paths === undefined) return undefined
  for (const policies of [set.deny, set.allow]) {
    for (const one of policies) {
      const match = firstMatch(one, subject)
      if (match !== undefined) return match.decision
    }
  }
  return set.otherwise
}

t.test('it decides as asking every rule in its order does', async () => {
  const policies = fc.array(
    fc.record({ action: fc.constantFrom('ALLOW', 'DENY'), rules: fc.array(rule, { maxLength: 12 }) }),
    { minLength: 1, maxLength: 6 },
  )
  const subjects = fc.array(fc.record({ connection, path: sometimes(asked), method: fc.constantFrom('GET', 'POST') }), {
    minLength: 1,
    maxLength: 8,
  })
  fc.assert(
    fc.property(policies, subjects, (parts, subjects) => {
      const set = setOf(
        parts.map(({ action, rules }, i) =>
          policy({ namespace: 'shop', name: `p${i}`, action: action as 'ALLOW' | 'DENY', rules }),
        ),
      )
      for (const { connection, path, method } of subjects) {
        const http = path === undefined ? undefined : request({ path, method })
        const expected = byTheBook(set, connection, http)
        const got = authorize(set, connection, http)
        if (expected === undefined ? !got.malformedPath : got !== expected) {
          throw new Error(`${JSON.stringify([connection, path, method])}: ${got.reason} instead of ${expected?.reason}`)
        }
      }
    }),
    { numRuns: 1500 },
  )
})

t.test('rules about other callers and other paths are not asked', async (t) => {
  const asked: number[] = []
  for (const count of [10, 1000]) {
    let looks = 0
    const rules = Array.from({ length: count }, (_, i) => ({
      from: [{ principals: [`cluster.local/ns/shop/sa/a${i}`] }],
      to: [{ paths: [`/api/${i}/*`] }],
    }))
    const set = setOf(
      rules.map((rule, i) => policy({ namespace: 'shop', name: `p${i}`, rules: [rule, ...rules.slice(0, 9)] })),
    )
    const facts = {
      sourceIp: '',
      destinationIp: '',
      destinationPort: 80,
      source: {
        namespace: 'shop',
        serviceAccount: 'x',
        get principal() {
          looks++
          return `cluster.local/ns/shop/sa/a${count - 1}`
        },
      },
    }
    t.equal(authorize(set, facts, request({ path: `/api/${count - 1}/x` })).kind, 'allow')
    asked.push(looks)
  }
  t.ok((asked[1] ?? 0) <= (asked[0] ?? 0) + 2, `${asked.join(' and ')} looks at the caller for 100 and 10,000 rules`)
})
