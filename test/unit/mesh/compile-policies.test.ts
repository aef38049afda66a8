import t from 'tap'
import { compile, manifest } from './compile-samples.ts'

const OURS = 'weir.dev/v1alpha1'

function policy(spec: string, namespace = 'shop'): string {
  return manifest(OURS, 'AuthorizationPolicy', 'p', `spec: ${spec}`, namespace)
}

t.test('The scope is that of selector, target and namespace', (t) => {
  const cases: [string, string, string, object][] = [
    ['{}', 'shop', 'weir-system', { scope: 'namespace', selector: {}, services: [] }],
    ['{ selector: {} }', 'shop', 'weir-system', { scope: 'namespace' }],
    ['{}', 'weir-system', 'weir-system', { scope: 'mesh' }],
    ['{}', 'istio-system', 'istio-system', { scope: 'mesh' }],
    [
      '{ selector: { matchLabels: { app: web } } }',
      'shop',
      'weir-system',
      { scope: 'workload', selector: { app: 'web' } },
    ],
    [
      '{ selector: { matchLabels: { app: web } } }',
      'weir-system',
      'weir-system',
      { scope: 'mesh', selector: { app: 'web' } },
    ],
    [
      '{ targetRefs: [{ kind: Service, name: a }, { group: core, kind: Service, name: b }] }',
      'shop',
      'weir-system',
      { scope: 'workload', services: ['a', 'b'] },
    ],
    ['{ targetRef: { kind: Service, name: a } }', 'shop', 'weir-system', { scope: 'workload', services: ['a'] }],
  ]
  for (const [spec, namespace, rootNamespace, expected] of cases) {
    t.match(
      compile(policy(spec, namespace), { rootNamespace }).get('authorization-policy', 'p', namespace),
      expected,
      `${namespace} ${spec}`,
    )
  }
  t.end()
})

t.test('Rules are carried over with canonical blocks and the trust domain of the mesh', (t) => {
  const spec = `{ action: DENY, rules: [{ from: [{ source: { principals: ["cluster.local/ns/a/sa/b", "*/sa/c"], notIpBlocks: ["FD00::1"] } }], to: [{ operation: { methods: [GET] } }], when: [{ key: source.principal, notValues: ["cluster.local/*"] }, { key: source.ip, values: ["10.0.0.1"] }] }, {}] }`
  t.strictSame(compile(policy(spec), { trustDomain: 'example.org' }).get('authorization-policy', 'p'), {
    kind: 'authorization-policy',
    namespace: 'shop',
    name: 'p',
    scope: 'namespace',
    selector: {},
    services: [],
    action: 'DENY',
    rules: [
      {
        from: [{ principals: ['example.org/ns/a/sa/b', '*/sa/c'], notIpBlocks: ['fd00::1/128'] }],
        to: [{ methods: ['GET'] }],
        when: [
          { key: 'source.principal', notValues: ['example.org/*'] },
          { key: 'source.ip', values: ['10.0.0.1/32'] },
        ],
      },
      {},
    ],
  })
  t.end()
})

t.test('An invalid policy denies what it selects, or its namespace when that cannot be read', (t) => {
  const cases: [string, string, object][] = [
    ['{ action: X, selector: { matchLabels: { app: web } } }', 'shop', { scope: 'workload', selector: { app: 'web' } }],
    ['{ action: X, targetRefs: [{ kind: Service, name: a }] }', 'shop', { scope: 'workload', services: ['a'] }],
    ['{ selector: { matchLabels: 7 } }', 'shop', { scope: 'namespace', selector: {}, services: [] }],
    ['{ selector: { matchLabels: 7 } }', 'weir-system', { scope: 'mesh' }],
    ['7', 'shop', { scope: 'namespace' }],
  ]
  for (const [spec, namespace, expected] of cases) {
    t.match(
      compile(policy(spec, namespace)).get('authorization-policy', 'p', namespace),
      { ...expected, action: 'DENY', rules: [{}], invalid: /^spec/ },
      spec,
    )
  }
  t.end()
})

t.test('An invalid authentication policy denies, too; a valid one says what of it is not enforced', (t) => {
  const broken = compile(
    manifest(OURS, 'PeerAuthentication', 'p', 'spec: { mtls: { mode: X }, selector: { matchLabels: { app: web } } }'),
  )
  t.match(broken.get('authorization-policy', 'PeerAuthentication/p'), {
    scope: 'workload',
    selector: { app: 'web' },
    invalid: /^spec\.mtls\.mode: /,
  })
  const request = compile(manifest(OURS, 'RequestAuthentication', 'r', 'spec: { jwtRules: [{ issuer: x }] }'))
  t.equal(request.world.size, 0)
  t.strictSame(request.lines, [
    'RequestAuthentication shop/r: spec.jwtRules: tokens are not verified by this version: no request has a request principal or claims',
  ])
  t.end()
})

t.test('A policy for a Gateway applies to nothing in the mesh, and says so', (t) => {
  const { world, lines } = compile(
    policy('{ targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }] }'),
  )
  t.equal(world.size, 0)
  t.strictSame(lines, [
    'AuthorizationPolicy shop/p: spec.targetRefs[0]: Gateway edge is not in the mesh: only a Service can be targeted; not applied to it',
  ])
  t.end()
})

t.test('Policies of one name in both API groups are both in force, in whatever order they come', (t) => {
  const ours = policy('{}')
  const istio = manifest('security.istio.io/v1', 'AuthorizationPolicy', 'p', 'spec: { action: DENY, rules: [{}] }')
  for (const text of [ours + istio, istio + ours]) {
    const { get } = compile(text)
    t.match(get('authorization-policy', 'p'), { action: 'ALLOW' })
    t.match(get('authorization-policy', 'p.security.istio.io'), { action: 'DENY' })
  }
  t.end()
})
