import t from 'tap'
import type { AuthorizationPolicy } from '#contract'
import { authorize, policySetFor } from '#policy'
import { policy, request, workload } from './policy-builders.ts'

function applies(
  one: AuthorizationPolicy,
  parts: Parameters<typeof workload>[0] = {},
  services: string[] = [],
): boolean {
  const source = {
    authorizationPolicies: (namespace: string) => (one.namespace === namespace ? [one] : []),
    meshPolicies: () => (one.namespace === 'weir-system' ? [one] : []),
  }
  return policySetFor(source, workload(parts), services).policies.includes(`${one.namespace}/${one.name}`)
}

t.test('a namespace policy applies to its namespace only', async (t) => {
  t.ok(applies(policy({ namespace: 'shop' })))
  t.notOk(applies(policy({ namespace: 'bank' })))
})

t.test('a workload policy needs every label', async (t) => {
  const one = policy({ namespace: 'shop', scope: 'workload', selector: { app: 'web', version: 'v1' } })
  t.ok(applies(one, { labels: { app: 'web', version: 'v1', more: 'x' } }))
  t.notOk(applies(one, { labels: { app: 'web' } }))
  t.notOk(applies(one, { labels: { app: 'web', version: 'v2' } }))
  t.notOk(applies(one, { namespace: 'bank', labels: { app: 'web', version: 'v1' } }))
  t.notOk(applies(policy({ namespace: 'shop', scope: 'workload', selector: { toString: 'x' } })))
})

t.test('a source that lists policies of other namespaces is not believed', async (t) => {
  for (const scope of ['namespace', 'workload'] as const) {
    const foreign = policy({ namespace: 'bank', scope, selector: { app: 'web' }, services: ['web'] })
    const source = { authorizationPolicies: () => [foreign], meshPolicies: () => [] }
    t.ok(policySetFor(source, workload({ labels: { app: 'web' } }), ['web']).empty)
  }
})

t.test('a targeted policy applies to the pods behind its Services', async (t) => {
  const one = policy({ namespace: 'shop', scope: 'workload', services: ['web', 'api'] })
  t.ok(applies(one, {}, ['api']))
  t.notOk(applies(one, {}, ['db']))
  t.notOk(applies(one, {}, []))
  t.notOk(applies(one, { namespace: 'bank' }, ['api']))
})

t.test(
  'a mesh policy applies everywhere, and in the root namespace a selector selects in all namespaces',
  async (t) => {
    t.ok(applies(policy({ namespace: 'weir-system', scope: 'mesh' })))
    t.ok(applies(policy({ namespace: 'weir-system', scope: 'mesh' }), { namespace: 'weir-system' }))
    const selecting = policy({ namespace: 'weir-system', scope: 'mesh', selector: { app: 'web' } })
    t.ok(applies(selecting, { labels: { app: 'web' } }))
    t.notOk(applies(selecting, { labels: { app: 'db' } }))
  },
)

t.test('a policy that is listed twice counts once', async (t) => {
  const one = policy({ namespace: 'weir-system', scope: 'mesh' })
  const set = policySetFor(
    { authorizationPolicies: () => [one], meshPolicies: () => [one] },
    workload({ namespace: 'weir-system' }),
    [],
  )
  t.strictSame(set.policies, ['weir-system/policy'])
})

t.test('the set says what need not be looked at', async (t) => {
  const flags = (...policies: AuthorizationPolicy[]): [boolean, boolean, boolean] => {
    const set = policySetFor({ authorizationPolicies: () => policies, meshPolicies: () => [] }, workload(), [])
    return [set.empty, set.needsHttp, set.needsPath]
  }
  const shop = { namespace: 'shop' }
  t.strictSame(flags(), [true, false, false])
  t.strictSame(flags(policy({ namespace: 'bank' })), [true, false, false])
  t.strictSame(flags(policy({ ...shop, rules: [{ from: [{ principals: ['*'] }] }] })), [false, false, false])
  t.strictSame(flags(policy({ ...shop, rules: [{ to: [{ ports: ['80'] }] }] })), [false, false, false])
  t.strictSame(flags(policy({ ...shop, rules: [{ to: [{ methods: ['GET'] }] }] })), [false, true, false])
  t.strictSame(flags(policy({ ...shop, rules: [{ when: [{ key: 'request.headers[x]', values: ['y'] }] }] })), [
    false,
    true,
    false,
  ])
  t.strictSame(flags(policy({ ...shop, rules: [{ from: [{ notRequestPrincipals: ['*'] }] }] })), [false, true, false])
  t.strictSame(flags(policy({ ...shop, rules: [{}, { to: [{ notPaths: ['/x'] }] }] })), [false, true, true])
  t.strictSame(flags(policy({ ...shop, action: 'AUDIT', rules: [{ to: [{ paths: ['/x'] }] }] })), [false, true, false])
})

t.test('an invalid policy refuses only what it selects', async (t) => {
  const broken = policy({ namespace: 'shop', scope: 'workload', selector: { app: 'web' }, invalid: 'spec.action: no' })
  const source = { authorizationPolicies: () => [broken], meshPolicies: () => [] }
  t.equal(authorize(policySetFor(source, workload({ labels: { app: 'web' } }), []), facts, request()).kind, 'deny')
  t.equal(authorize(policySetFor(source, workload({ labels: { app: 'db' } }), []), facts, request()).kind, 'allow')
})

const facts = { sourceIp: '10.0.0.1', destinationIp: '10.0.0.2', destinationPort: 80 }
