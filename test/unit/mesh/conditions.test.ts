import { readFileSync } from 'node:fs'
import t from 'tap'
import { conditionsOf, type ObjectStatus } from '../../../src/mesh/compile/index.ts'
import { manifest, objectsOf } from './compile-samples.ts'

const GATEWAY = 'gateway.networking.k8s.io/v1'
const ISTIO = 'security.istio.io/v1'

const WEB = manifest(
  'v1',
  'Service',
  'web',
  'spec: { ports: [{ name: http, port: 80 }, { name: dns, port: 53, protocol: UDP }] }',
)

function route(parents: string, rules = '[{ backendRefs: [{ name: web, port: 80 }] }]'): string {
  return manifest(GATEWAY, 'HTTPRoute', 'r', `spec: { parentRefs: ${parents}, rules: ${rules} }`)
}
const service = (more: string) => `[{ group: "", kind: Service, ${more} }]`

function statusOf(text: string, kind = 'HTTPRoute'): ObjectStatus | undefined {
  return conditionsOf(objectsOf(text)).find((status) => status.kind === kind)
}

t.test('a route that leads somewhere is accepted, once for each Service it is attached to', (t) => {
  const parents =
    '[{ group: "", kind: Service, name: web, port: 80 }, { name: edge }, { group: "", kind: Service, name: web }]'
  t.match(statusOf(WEB + route(parents)), {
    of: 'route',
    group: 'gateway.networking.k8s.io',
    namespace: 'shop',
    name: 'r',
    parents: [
      {
        parentRef: { group: '', kind: 'Service', name: 'web', port: 80 },
        conditions: [
          { type: 'Accepted', status: 'True', reason: 'Accepted', message: '' },
          { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: '' },
        ],
      },
      { parentRef: { name: 'web' } },
    ],
  })
  t.equal(statusOf(WEB + route('[{ name: edge }]')), undefined, 'a gateway’s route is none of ours')
  t.end()
})

t.test('a parent that is not there is told on it alone', (t) => {
  const cases = [
    ['name: wbe', 'Service shop/wbe does not exist'],
    ['name: web, namespace: other', 'Service other/web does not exist'],
    ['name: web, port: 81', 'Service shop/web has no TCP port 81'],
    ['name: web, port: 53', 'Service shop/web has no TCP port 53'],
    ['name: web, sectionName: grpc', 'Service shop/web has no TCP port named grpc'],
  ] as const
  for (const [ref, message] of cases) {
    const status = statusOf(WEB + route(service(ref)))
    t.match(status, {
      parents: [
        {
          conditions: [{ type: 'Accepted', status: 'False', reason: 'NoMatchingParent', message }, { status: 'True' }],
        },
      ],
    })
  }
  t.end()
})

t.test('a backend that is not there is told with the reason that the Gateway API has for it', (t) => {
  const grant = (from: string, to: string) =>
    manifest(
      'gateway.networking.k8s.io/v1beta1',
      'ReferenceGrant',
      'g',
      `spec: { from: [${from}], to: [${to}] }`,
      'far',
    )
  const far = manifest('v1', 'Service', 'web', 'spec: { ports: [{ port: 80 }] }', 'far')
  const FROM = '{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop }'
  const FAR = 'name: web, namespace: far, port: 80'
  const cases = [
    ['', 'name: nope, port: 80', 'BackendNotFound', /backendRefs\[0\]: Service shop\/nope does not exist$/],
    ['', 'name: web, port: 81', 'BackendNotFound', /has no TCP port 81$/],
    ['', 'name: web', 'BackendNotFound', /needs a port$/],
    ['', 'group: x.dev, kind: Bucket, name: b', 'InvalidKind', /Bucket shop\/b is no backend/],
    [far, FAR, 'RefNotPermitted', /a ReferenceGrant there must allow HTTPRoutes of shop$/],
    [far + grant(FROM, '{ group: "", kind: Service, name: db }'), FAR, 'RefNotPermitted', /ReferenceGrant/],
    [far + grant(FROM.replace('shop', 'x'), '{ group: "", kind: Service }'), FAR, 'RefNotPermitted', /ReferenceGrant/],
    [far + grant(FROM, '{ group: "", kind: Service }'), FAR, 'ResolvedRefs', /^$/],
    [far + grant(FROM, '{ group: "", kind: Service, name: web }'), FAR, 'ResolvedRefs', /^$/],
  ] as const
  for (const [more, ref, reason, message] of cases) {
    const text = WEB + more + route(service('name: web'), `[{ backendRefs: [{ ${ref} }] }]`)
    const status = reason === 'ResolvedRefs' ? 'True' : 'False'
    t.match(statusOf(text), {
      parents: [{ conditions: [{ status: 'True' }, { type: 'ResolvedRefs', status, reason, message }] }],
    })
  }
  t.end()
})

t.test('what does not validate is not accepted, and its effect is told', (t) => {
  const bad = route(service('name: web'), '[{ timeouts: { request: soon } }]')
  t.match(statusOf(WEB + bad), {
    parents: [
      { conditions: [{ type: 'Accepted', status: 'False', reason: 'UnsupportedValue', message: /soon.*get 500$/ }] },
    ],
  })
  const policy = manifest(ISTIO, 'AuthorizationPolicy', 'p', 'spec: { action: MAYBE }')
  t.match(statusOf(policy, 'AuthorizationPolicy'), {
    of: 'policy',
    group: 'security.istio.io',
    conditions: [
      { type: 'WeirAccepted', status: 'False', reason: 'Invalid', message: /MAYBE.*denies what it selects$/ },
    ],
  })
  t.end()
})

t.test('a policy is accepted where its target is', (t) => {
  const at = (name: string) =>
    WEB + manifest(ISTIO, 'AuthorizationPolicy', 'p', `spec: { targetRefs: [{ kind: Service, name: ${name} }] }`)
  const conditions = (text: string) => {
    const status = statusOf(text, 'AuthorizationPolicy')
    return status?.of === 'policy' ? status.conditions : []
  }
  t.match(conditions(at('web')), [{ type: 'WeirAccepted', status: 'True', reason: 'Accepted' }])
  t.match(conditions(at('wbe')), [{ status: 'False', reason: 'TargetNotFound', message: /Service shop\/wbe does not/ }])
  t.end()
})

t.test('of TrafficPolicies: whether they apply, and which one does instead', async (t) => {
  const policy = (name: string, spec: string) => manifest('weir.dev/v1alpha1', 'TrafficPolicy', name, `spec: ${spec}`)
  const forService = (name: string) => `{ targetRefs: [{ kind: Service, name: ${name} }] }`
  const cases: readonly [string, 'True' | 'False', string, string | RegExp][] = [
    [policy('a', forService('web')), 'True', 'Accepted', ''],
    [policy('a', forService('wbe')), 'False', 'TargetNotFound', /Service shop\/wbe does not exist/],
    [policy('a', '{}'), 'False', 'Invalid', 'spec.targetRefs: is missing; until it is mended it does not apply'],
    [
      policy('b', forService('web')) + policy('a', forService('web')),
      'False',
      'Conflicted',
      'TrafficPolicy a is older and applies to Service web instead: merge them',
    ],
  ]
  for (const [text, status, reason, message] of cases) {
    t.match(statusOf(WEB + text, 'TrafficPolicy'), { of: 'policy', conditions: [{ status, reason, message }] }, reason)
  }
})

t.test('an HTTPRoute whose ports a GRPCRoute of its namespace binds is told so', (t) => {
  const two = manifest('v1', 'Service', 'web', 'spec: { ports: [{ name: http, port: 80 }, { name: grpc, port: 81 }] }')
  const grpc = (parent: string, namespace = 'shop') =>
    manifest(GATEWAY, 'GRPCRoute', 'g', `spec: { parentRefs: ${service(`namespace: shop, ${parent}`)} }`, namespace)
  const cases = [
    [
      'name: web',
      'name: web',
      'Conflicted',
      'GRPCRoute g applies to port 80, 81 of Service shop/web: only routes of one kind can',
    ],
    [
      'name: web',
      'name: web, port: 81',
      'Accepted',
      'GRPCRoute g applies to port 81 of Service shop/web: only routes of one kind can',
    ],
    ['name: web, port: 80', 'name: web, sectionName: grpc', 'Accepted', ''],
    [
      'name: web, sectionName: grpc',
      'name: web, port: 81',
      'Conflicted',
      'GRPCRoute g applies to port 81 of Service shop/web: only routes of one kind can',
    ],
  ] as const
  for (const [parent, other, reason, message] of cases) {
    const status = reason === 'Accepted' ? 'True' : 'False'
    const found = statusOf(two + route(service(parent)) + grpc(other))
    t.match(found, { parents: [{ conditions: [{ type: 'Accepted', status, reason, message }, {}] }] }, parent)
    t.match(statusOf(two + route(service(parent)) + grpc(other), 'GRPCRoute'), {
      parents: [{ conditions: [{ reason: 'Accepted', message: '' }, { reason: 'ResolvedRefs' }] }],
    })
  }
  const elsewhere = two + route(service('name: web')) + grpc('name: web', 'other')
  t.match(statusOf(elsewhere), { parents: [{ conditions: [{ reason: 'Accepted', message: '' }, {}] }] })
  t.end()
})

t.test('a GRPCRoute is judged as an HTTPRoute is', (t) => {
  const grpc = (rules: string) =>
    statusOf(
      WEB + manifest(GATEWAY, 'GRPCRoute', 'g', `spec: { parentRefs: ${service('name: web')}, rules: ${rules} }`),
      'GRPCRoute',
    )
  const refs = (reason: string) => ({
    parents: [{ conditions: [{ reason: 'Accepted' }, { type: 'ResolvedRefs', reason }] }],
  })
  t.match(grpc('[{ backendRefs: [{ name: web, port: 80 }] }]'), refs('ResolvedRefs'))
  t.match(grpc('[{ backendRefs: [{ name: wbe, port: 80 }] }]'), refs('BackendNotFound'))
  t.match(grpc('[{ backendRefs: [{ kind: Bucket, name: web, port: 80 }] }]'), refs('InvalidKind'))
  const far = grpc('[{ backendRefs: [{ name: web, namespace: other, port: 80 }] }]')
  t.match(far, refs('RefNotPermitted'))
  t.match(JSON.stringify(far), /must allow GRPCRoutes of shop/)
  t.match(grpc('[{ zzz: 1 }]'), { parents: [{ conditions: [{ type: 'Accepted', reason: 'UnsupportedValue' }] }] })
  t.end()
})

const BACKEND_TLS = readFileSync('examples/backend-tls.yaml', 'utf8')

/** Of the policy of the example, changed. */
function tlsStatus(text: string, name = 'vault-tls') {
  const found = conditionsOf(objectsOf(text)).find((one) => one.kind === 'BackendTLSPolicy' && one.name === name)
  return found?.of === 'ancestors' ? found.ancestors : undefined
}

t.test('a BackendTLSPolicy is accepted for the Service it is for', (t) => {
  t.strictSame(tlsStatus(BACKEND_TLS), [
    {
      parentRef: { group: '', kind: 'Service', name: 'vault-tls', namespace: 'shop', sectionName: 'http' },
      conditions: [
        { type: 'Accepted', status: 'True', reason: 'Accepted', message: '' },
        { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', message: '' },
      ],
    },
  ])
  t.end()
})

t.test('what a BackendTLSPolicy cannot be carried out for is told in the words of the Gateway API', (t) => {
  const ref = '{ group: "", kind: ConfigMap, name: vault-roots }'
  const cases = [
    ['ca.crt:', 'roots.crt:', 'NoValidCACertificate', 'InvalidCACertificateRef', 'has no key ca.crt'],
    [
      'name: vault-roots, namespace: shop',
      'name: other, namespace: shop',
      'NoValidCACertificate',
      'InvalidCACertificateRef',
      'does not exist',
    ],
    [
      ref,
      '{ group: "", kind: Secret, name: vault-roots }',
      'NoValidCACertificate',
      'InvalidKind',
      'Secret vault-roots is no source',
    ],
    [
      ref,
      `${ref}, { group: "", kind: Secret, name: more }`,
      'Accepted',
      'InvalidKind',
      'caCertificateRefs[1]: Secret more',
    ],
  ] as const
  for (const [from, to, accepted, resolved, message] of cases) {
    const [first] = tlsStatus(BACKEND_TLS.replace(from, to)) ?? []
    t.match(first?.conditions, [{ reason: accepted }, { type: 'ResolvedRefs', status: 'False', reason: resolved }], to)
    t.ok(first?.conditions[1]?.message.includes(message), message)
  }
  const nowhere = tlsStatus(BACKEND_TLS.replace('name: vault-tls, sectionName', 'name: vault, sectionName'))
  t.match(nowhere, [{ conditions: [{ status: 'False', reason: 'TargetNotFound' }, { status: 'True' }] }])
  t.match(tlsStatus(BACKEND_TLS.replace('hostname: vault.example\n    ca', 'hostname: "*"\n    ca')), [
    { parentRef: { name: 'vault-tls' }, conditions: [{ status: 'False', reason: 'Invalid', message: /hostname/ }] },
  ])
  t.end()
})

t.test('of two BackendTLSPolicies for a port of a Service the older one counts', (t) => {
  const own = BACKEND_TLS.slice(BACKEND_TLS.lastIndexOf('---'))
  const second = own.replace('name: vault-tls, namespace', 'name: zz, namespace')
  const both = BACKEND_TLS + second
  t.match(tlsStatus(both), [{ conditions: [{ status: 'True' }] }])
  t.match(tlsStatus(both, 'zz'), [
    { conditions: [{ status: 'False', reason: 'Conflicted', message: /BackendTLSPolicy vault-tls is older/ }] },
  ])
  t.end()
})
