import t from 'tap'
import { isInvalid } from '#resources'
import { objectOf, outcomeOf, policy, problemsOf } from './samples.ts'

const RULE = 'AuthorizationPolicy shop/web: spec.rules[0]'

t.test('A policy that Istio accepts is read as it is, in all three API versions', (t) => {
  const spec = `
action: DENY
selector: { matchLabels: { app: web } }
rules:
- from:
  - source: { principals: ["cluster.local/ns/shop/sa/client", "*"], notNamespaces: ["dev-*"] }
  - source: { serviceAccounts: ["shop/client", "client"], ipBlocks: ["10.0.0.0/8", "fd00::1"] }
  to:
  - operation: { methods: ["GET", "P*"], paths: ["/info*", "*/end", "/a/{*}/b", "/a/{**}/c", "/{*}/{**}"], ports: ["8080"], hosts: ["*.shop"] }
  when:
  - { key: "request.headers[X-Tenant]", values: ["a"] }
  - { key: "request.auth.claims[realm][role]", notValues: ["admin"] }
  - { key: destination.port, values: ["80"], notValues: ["81"] }
- {}`
  for (const version of ['weir.dev/v1alpha1', 'security.istio.io/v1', 'security.istio.io/v1beta1']) {
    const outcome = outcomeOf(policy(spec, version))
    t.match(
      outcome,
      { kind: 'object', problems: [], object: { kind: 'AuthorizationPolicy', spec: { action: 'DENY' } } },
      version,
    )
  }
  t.match(objectOf('apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: { name: none }'), {
    metadata: { namespace: 'default' },
    spec: { action: 'ALLOW' },
  })
  t.end()
})

t.test('A mistake is told with its exact field', (t) => {
  const op = (text: string): string => `rules: [{ to: [{ operation: ${text} }] }]`
  const src = (text: string): string => `rules: [{ from: [{ source: ${text} }] }]`
  const when = (text: string): string => `rules: [{ when: [${text}] }]`
  const cases: [string, string][] = [
    [
      op('{ methods: [GET, 7] }'),
      `${RULE}.to[0].operation.methods[1]: expected a string, got number; put it in quotes`,
    ],
    [op('{ methods: [GET, ""] }'), `${RULE}.to[0].operation.methods[1]: is empty`],
    [op('{ methods: [G ET] }'), `${RULE}.to[0].operation.methods[0]: expected a method, got "G ET"`],
    [op('{ methods: [] }'), `${RULE}.to[0].operation.methods: is an empty list: fill it or remove the field`],
    [op('{ methods: GET }'), `${RULE}.to[0].operation.methods: expected a list, got string`],
    [op('{ method: [GET] }'), `${RULE}.to[0].operation.method: unknown field; did you mean methods?`],
    [op('{}'), `${RULE}.to[0].operation: has no field: set at least one of them`],
    [op('{ ports: ["0"] }'), `${RULE}.to[0].operation.ports[0]: expected a port from 1 to 65535, got "0"`],
    [op('{ ports: ["65536"] }'), `${RULE}.to[0].operation.ports[0]: expected a port from 1 to 65535, got "65536"`],
    [
      op('{ paths: ["/a/*/b"] }'),
      `${RULE}.to[0].operation.paths[0]: a * may stand only once, at the beginning or at the end; for one path segment write {*}, got "/a/*/b"`,
    ],
    [
      op('{ paths: ["/{**}/{*}"] }'),
      `${RULE}.to[0].operation.paths[0]: {**} must be the last operator of a path template, got "/{**}/{*}"`,
    ],
    [
      op('{ paths: ["/{*}/x*"] }'),
      `${RULE}.to[0].operation.paths[0]: in a path template {*} and {**} are whole segments and the only wildcards, got "/{*}/x*"`,
    ],
    [
      op('{ notPaths: ["/{*}/{id}"] }'),
      `${RULE}.to[0].operation.notPaths[0]: in a path template {*} and {**} are whole segments and the only wildcards, got "/{*}/{id}"`,
    ],
    [
      op('{ paths: ["/a{*}"] }'),
      `${RULE}.to[0].operation.paths[0]: in a path template {*} and {**} are whole segments and the only wildcards, got "/a{*}"`,
    ],
    [
      src('{ principals: ["spiffe://cluster.local/ns/a/sa/b"] }'),
      `${RULE}.from[0].source.principals[0]: principals are written without spiffe://, got "spiffe://cluster.local/ns/a/sa/b"`,
    ],
    [
      src('{ principals: ["cluster.local/ns/*/sa/b"] }'),
      `${RULE}.from[0].source.principals[0]: a * may stand only once, at the beginning or at the end, got "cluster.local/ns/*/sa/b"`,
    ],
    [
      src('{ ipBlocks: ["10.0.0.0/33"] }'),
      `${RULE}.from[0].source.ipBlocks[0]: expected an IP address or CIDR block such as 10.0.0.0/8, got "10.0.0.0/33"`,
    ],
    [
      src('{ notRemoteIpBlocks: ["1.2.3"] }'),
      `${RULE}.from[0].source.notRemoteIpBlocks[0]: expected an IP address or CIDR block such as 10.0.0.0/8, got "1.2.3"`,
    ],
    [
      src('{ serviceAccounts: ["a/b/c"] }'),
      `${RULE}.from[0].source.serviceAccounts[0]: expected NAME or NAMESPACE/NAME, got "a/b/c"`,
    ],
    [
      src('{ serviceAccounts: [a], namespaces: [b] }'),
      `${RULE}.from[0].source.serviceAccounts: cannot be combined with namespaces: keep one of them`,
    ],
    [src('{}'), `${RULE}.from[0].source: has no field: set at least one of them`],
    ['rules: [{ from: [{}] }]', `${RULE}.from[0].source: is missing`],
    ['rules: [{ from: [] }]', `${RULE}.from: is an empty list: fill it or remove the field`],
    ['rules: []', 'AuthorizationPolicy shop/web: spec.rules: is an empty list: fill it or remove the field'],
    ['rules:', 'AuthorizationPolicy shop/web: spec.rules: expected a list, got null'],
    [when('{ key: source.ip }'), `${RULE}.when[0]: needs values or notValues for source.ip`],
    [
      when('{ key: source.ip, values: [x] }'),
      `${RULE}.when[0].values[0]: expected an IP address or CIDR block such as 10.0.0.0/8, got "x"`,
    ],
    [
      when('{ key: "request.headers[]", values: [x] }'),
      `${RULE}.when[0].key: expected request.headers[NAME] with a header name, got "request.headers[]"`,
    ],
    [
      when('{ key: "destination.labels[app]", values: [x] }'),
      `${RULE}.when[0].key: destination.labels is not supported: use spec.selector instead`,
    ],
    ['action: CUSTOM', 'AuthorizationPolicy shop/web: spec.action: CUSTOM is not supported: use ALLOW, DENY or AUDIT'],
    [
      'action: allow',
      'AuthorizationPolicy shop/web: spec.action: expected ALLOW, DENY or AUDIT, got "allow" (did you mean ALLOW?)',
    ],
    [
      'action: DENY',
      'AuthorizationPolicy shop/web: spec.rules: a DENY policy without rules never matches: add the rule {} to deny everything',
    ],
    ['selector: { matchLabels: { app: web }, x: 1 }', 'AuthorizationPolicy shop/web: spec.selector.x: unknown field'],
    [
      'selector: { matchLabels: { app: "w*" } }',
      'AuthorizationPolicy shop/web: spec.selector.matchLabels[app]: a selector knows no wildcards: write the label as it is',
    ],
    [
      '{ selector: {}, targetRefs: [{ kind: Service, name: web }] }',
      'AuthorizationPolicy shop/web: spec.targetRefs: cannot be combined with selector: keep one of them',
    ],
    [
      'targetRefs: [{ kind: Service, name: web, namespace: other }]',
      'AuthorizationPolicy shop/web: spec.targetRefs[0].namespace: a policy applies to its own namespace (shop) only, got other',
    ],
  ]
  for (const [spec, expected] of cases) t.strictSame(problemsOf(policy(spec)), [expected], spec)
  t.match(
    problemsOf(policy(when('{ key: source.port, values: [x] }')))[0],
    /unknown attribute "source\.port": known are source\.ip, /,
  )
  t.end()
})

t.test('All mistakes of a policy are told, and the first one is what it refuses with', (t) => {
  const text = policy('{ action: CUSTOM, provider: { name: x }, rules: [{ to: [{ operation: { methods: [1] } }] }] }')
  t.equal(problemsOf(text).length, 3)
  const object = objectOf(text)
  t.ok(isInvalid(object) && object.invalid === 'spec.action: CUSTOM is not supported: use ALLOW, DENY or AUDIT')
  t.end()
})

t.test('A broken policy keeps what it selects, if that can be read', (t) => {
  t.match(objectOf(policy('{ action: X, selector: { matchLabels: { app: web } } }')), {
    target: { selector: { matchLabels: { app: 'web' } } },
  })
  t.match(objectOf(policy('{ action: X, targetRefs: [{ kind: Service, name: web }] }')), {
    target: { targetRefs: [{ name: 'web' }] },
  })
  t.notOk('target' in objectOf(policy('{ selector: { matchLabels: { app: 1 } } }')), 'an unreadable selector')
  const both = '{ selector: { matchLabels: { a: b } }, targetRefs: [{ kind: Service, name: web }] }'
  t.notOk('target' in objectOf(policy(both)), 'two targets')
  t.notOk('target' in objectOf(policy('{ selector: { matchLables: { app: web } } }')), 'a misspelt selector')
  t.end()
})

t.test('A policy is recognised by its kind alone, so that a mistake around it does not lose it', (t) => {
  const spec = 'action: ALLOW'
  const cases: [string, string][] = [
    [
      policy(spec, 'weir.dev/v1'),
      'AuthorizationPolicy shop/web: apiVersion: weir.dev/v1 is not known for AuthorizationPolicy: use weir.dev/v1alpha1',
    ],
    [
      policy(spec, 'v1'),
      'AuthorizationPolicy shop/web: apiVersion: AuthorizationPolicy is in weir.dev/v1alpha1 or security.istio.io/v1, got "v1"',
    ],
    [policy(spec).replace(/^apiVersion.*\n/, ''), 'AuthorizationPolicy shop/web: apiVersion: is missing'],
    [policy(spec).replace('name: web, ', ''), 'AuthorizationPolicy shop/unnamed-object-1-1: metadata.name: is missing'],
    [policy(spec).replace('spec:', 'sepc:'), 'AuthorizationPolicy shop/web: sepc: unknown field; did you mean spec?'],
    [
      policy(spec).replace('namespace: shop', 'namespace: 7'),
      'AuthorizationPolicy 7/web: metadata.namespace: expected a string, got number; put it in quotes',
    ],
  ]
  for (const [text, line] of cases) {
    t.strictSame(problemsOf(text), [line])
    t.ok(isInvalid(objectOf(text)), line)
  }
  t.end()
})

t.test('Authentication policies are judged by the rules of Istio', (t) => {
  const peer = (spec: string): string[] => problemsOf(policy(spec, 'security.istio.io/v1', 'PeerAuthentication'))
  const request = (spec: string): string[] => problemsOf(policy(spec, 'security.istio.io/v1', 'RequestAuthentication'))
  t.strictSame(
    peer(
      '{ selector: { matchLabels: { app: web } }, mtls: { mode: STRICT }, portLevelMtls: { 8080: { mode: DISABLE } } }',
    ),
    [],
  )
  t.strictSame(peer('mtls: { mode: strict }'), [
    'PeerAuthentication shop/web: spec.mtls.mode: expected UNSET, DISABLE, PERMISSIVE or STRICT, got "strict" (did you mean STRICT?)',
  ])
  t.strictSame(peer('portLevelMtls: { 80: {} }'), [
    'PeerAuthentication shop/web: spec.portLevelMtls: needs a selector with labels: ports can only be set for chosen workloads',
  ])
  t.strictSame(peer('{ selector: { matchLabels: { a: b } }, portLevelMtls: { 0: {} } }'), [
    'PeerAuthentication shop/web: spec.portLevelMtls[0]: expected a port from 1 to 65535 as key, got "0"',
  ])
  t.strictSame(request('jwtRules: [{ issuer: a, jwksUri: "https://a/jwks", fromHeaders: [{ name: x }] }]'), [])
  t.strictSame(request('jwtRules: [{ jwks: "{}" }]'), [
    'RequestAuthentication shop/web: spec.jwtRules[0]: needs issuer or jwksUri',
  ])
  t.strictSame(request('jwtRules: [{ issuer: a, jwksUri: "ftp://a" }]'), [
    'RequestAuthentication shop/web: spec.jwtRules[0].jwksUri: expected an http or https URL, got "ftp://a"',
  ])
  t.end()
})
