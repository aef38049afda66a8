import fc from 'fast-check'
import t from 'tap'
import type {
  AuthorizationOperation,
  AuthorizationPolicy,
  AuthorizationRule,
  AuthorizationSource,
  ConnectionFacts,
  HttpFacts,
  PeerIdentity,
  ServerName,
} from '#contract'
import { authorize, explainPolicy, type PolicyDecision, type PolicySet, policySetFor } from '#policy'
import { policy, request, workload } from './policy-builders.ts'

const web: PeerIdentity = {
  namespace: 'namespace',
  serviceAccount: 'account',
  principal: 'td/ns/namespace/sa/account',
}
const other: PeerIdentity = { namespace: 'ns-alt', serviceAccount: 'sa-alt', principal: 'td-alt/ns/ns-alt/sa/sa-alt' }
const plain: ConnectionFacts = { sourceIp: '127.0.0.1', destinationIp: '127.0.0.2', destinationPort: 8080 }
const tls: ConnectionFacts = { ...plain, source: web }
const alt: ConnectionFacts = { source: other, sourceIp: '127.0.0.3', destinationIp: '127.0.0.4', destinationPort: 9090 }

function setOf(...policies: AuthorizationPolicy[]): PolicySet {
  const source = { authorizationPolicies: () => policies, meshPolicies: () => [] }
  return policySetFor(source, workload({ namespace: 'namespace' }), [])
}

function allows(rule: AuthorizationRule, connection: ConnectionFacts, http?: HttpFacts): boolean {
  return authorize(setOf(policy({ rules: [rule] })), connection, http).kind === 'allow'
}

function denies(rule: AuthorizationRule, connection: ConnectionFacts, http?: HttpFacts): boolean {
  return authorize(setOf(policy({ action: 'DENY', rules: [rule] })), connection, http).kind === 'deny'
}

t.test('DENY comes before ALLOW, and an ALLOW policy that does not match denies', async (t) => {
  const allow = policy({ name: 'allow', rules: [{ from: [{ namespaces: ['namespace'] }] }] })
  const deny = policy({ name: 'deny', action: 'DENY', rules: [{ to: [{ ports: ['8080'] }] }] })
  const table: [
    AuthorizationPolicy[],
    ConnectionFacts,
    PolicyDecision['kind'],
    string | undefined,
    number | undefined,
  ][] = [
    [[], plain, 'allow', undefined, undefined],
    [[allow], tls, 'allow', 'namespace/allow', 0],
    [[allow], alt, 'deny', 'namespace/allow', undefined],
    [[allow], plain, 'deny', 'namespace/allow', undefined],
    [[deny], tls, 'deny', 'namespace/deny', 0],
    [[deny], alt, 'allow', undefined, undefined],
    [[allow, deny], tls, 'deny', 'namespace/deny', 0],
    [[allow, deny], alt, 'deny', 'namespace/allow', undefined],
    [[allow, deny], { ...tls, destinationPort: 80 }, 'allow', 'namespace/allow', 0],
  ]
  for (const [policies, connection, kind, name, rule] of table) {
    const decision = authorize(setOf(...policies), connection, undefined)
    t.match({ kind: decision.kind, policy: decision.policy, rule: decision.rule }, { kind, policy: name, rule })
    t.ok(decision.reason.length > 0)
    t.equal(decision.malformedPath, false)
  }
})

t.test('no rules never match; an empty rule matches everything', async (t) => {
  t.equal(authorize(setOf(policy({ rules: [] })), tls, request()).kind, 'deny', 'ALLOW nothing')
  t.equal(authorize(setOf(policy({ action: 'DENY', rules: [] })), tls, request()).kind, 'allow', 'DENY nothing')
  t.ok(allows({}, plain))
  t.ok(allows({}, plain, request()))
  t.ok(denies({}, plain))
  t.ok(allows({ when: [] }, plain))
})

t.test('an entry without fields, or a list without entries, fails closed', async (t) => {
  for (const rule of [
    { from: [{}] },
    { to: [{}] },
    { from: [] },
    { to: [] },
    { from: [{ principals: [] }] },
    { when: [{ key: 'source.ip' }] },
  ]) {
    t.notOk(allows(rule, tls, request()), JSON.stringify(rule))
    t.ok(denies(rule, tls, request()), JSON.stringify(rule))
  }
})

t.test('entries are OR-ed, from, to and when AND-ed', async (t) => {
  const rule: AuthorizationRule = {
    from: [{ namespaces: ['a'] }, { namespaces: ['b'] }],
    to: [{ ports: ['80'] }],
    when: [{ key: 'source.ip', values: ['127.0.0.0/8'] }],
  }
  const from = (namespace: string, destinationPort: number, sourceIp = '127.0.0.1'): ConnectionFacts => ({
    source: { namespace, serviceAccount: 'account', principal: `td/ns/${namespace}/sa/account` },
    sourceIp,
    destinationIp: '127.0.0.2',
    destinationPort,
  })
  const table: [ConnectionFacts, boolean][] = [
    [from('a', 80), true],
    [from('b', 80), true],
    [from('bad', 80), false],
    [from('b', 12345), false],
    [from('a', 80, '10.0.0.1'), false],
  ]
  for (const [connection, matches] of table) {
    t.equal(allows(rule, connection), matches)
    t.equal(denies(rule, connection), matches)
  }
})

t.test('rules are OR-ed and the verdict says which', async (t) => {
  const set = setOf(policy({ rules: [{ from: [{ namespaces: ['a'] }] }, { from: [{ namespaces: ['namespace'] }] }] }))
  t.match(authorize(set, tls, undefined), { kind: 'allow', rule: 1, policy: 'namespace/policy' })
  t.equal(authorize(set, alt, undefined).kind, 'deny')
})

t.test('every source field and its not form, as ztunnel judges them', async (t) => {
  // Columns: plain text (no identity), tls, tls of another.
  const table: [AuthorizationSource, boolean, boolean, boolean][] = [
    [{ namespaces: ['namespace'] }, false, true, false],
    [{ notNamespaces: ['namespace'] }, true, false, true],
    [{ namespaces: ['name*'] }, false, true, false],
    [{ namespaces: ['*-alt'] }, false, false, true],
    [{ namespaces: ['*'] }, false, true, true],
    [{ notNamespaces: ['*'] }, true, false, false],
    [{ serviceAccounts: ['namespace/account'] }, false, true, false],
    [{ serviceAccounts: ['account'] }, false, true, false],
    [{ serviceAccounts: ['sa-alt'] }, false, false, false],
    [{ serviceAccounts: ['ns-alt/sa-alt'] }, false, false, true],
    [{ notServiceAccounts: ['namespace/account'] }, true, false, true],
    [{ principals: ['td/ns/namespace/sa/account'] }, false, true, false],
    [{ principals: ['spiffe://td/ns/namespace/sa/account'] }, false, true, false],
    [{ principals: ['td/*'] }, false, true, false],
    [{ principals: ['spiffe://td/*'] }, false, true, false],
    [{ principals: ['*/sa/account'] }, false, true, false],
    [{ principals: ['*'] }, false, true, true],
    [{ principals: ['td/ns/namespace/sa/accoun'] }, false, false, false],
    [{ notPrincipals: ['td/ns/namespace/sa/account'] }, true, false, true],
    [{ notPrincipals: ['*'] }, true, false, false],
    [{ ipBlocks: ['127.0.0.1/32'] }, true, true, false],
    [{ ipBlocks: ['127.0.0.1'] }, true, true, false],
    [{ ipBlocks: ['127.0.0.0/24'] }, true, true, true],
    [{ notIpBlocks: ['127.0.0.1/32'] }, false, false, true],
    [{ remoteIpBlocks: ['127.0.0.1'] }, true, true, false],
    [{ notRemoteIpBlocks: ['127.0.0.1'] }, false, false, true],
    [{ namespaces: ['*'], notNamespaces: ['namespace'] }, false, false, true],
    [{ namespaces: ['ns-alt', 'namespace'], ipBlocks: ['127.0.0.1'] }, false, true, false],
    [{ requestPrincipals: ['*'] }, false, false, false],
    [{ notRequestPrincipals: ['*'] }, true, true, true],
  ]
  for (const [source, ...expected] of table) {
    for (const [index, connection] of [plain, tls, alt].entries()) {
      const text = `${JSON.stringify(source)} ${index}`
      t.equal(allows({ from: [source] }, connection, request()), expected[index], `ALLOW ${text}`)
      t.equal(denies({ from: [source] }, connection, request()), expected[index], `DENY ${text}`)
    }
  }
})

t.test('every operation field and its not form', async (t) => {
  const get = request({ method: 'GET', path: '/info/users', authority: 'Web.Shop:8080' })
  const table: [AuthorizationOperation, boolean][] = [
    [{ ports: ['8080'] }, true],
    [{ ports: ['80', '443'] }, false],
    [{ notPorts: ['8080'] }, false],
    [{ notPorts: ['80'] }, true],
    [{ methods: ['GET'] }, true],
    [{ methods: ['get'] }, false],
    [{ methods: ['POST', 'G*'] }, true],
    [{ notMethods: ['GET'] }, false],
    [{ notMethods: ['POST'] }, true],
    [{ hosts: ['web.shop'] }, true],
    [{ hosts: ['WEB.shop:8080'] }, true],
    [{ hosts: ['web.shop:80'] }, false],
    [{ hosts: ['web.shop:*'] }, true],
    [{ hosts: ['*.shop'] }, true],
    [{ hosts: ['web.*'] }, true],
    [{ hosts: ['*'] }, true],
    [{ hosts: ['eb.shop'] }, false],
    [{ notHosts: ['web.shop'] }, false],
    [{ notHosts: ['other'] }, true],
    [{ paths: ['/info/users'] }, true],
    [{ paths: ['/info'] }, false],
    [{ paths: ['/info*'] }, true],
    [{ paths: ['*/users'] }, true],
    [{ paths: ['*'] }, true],
    [{ paths: ['/Info*'] }, false],
    [{ paths: ['/info/{*}'] }, true],
    [{ paths: ['/{*}'] }, false],
    [{ paths: ['/{**}'] }, true],
    [{ notPaths: ['/info*'] }, false],
    [{ notPaths: ['/other'] }, true],
    [{ methods: ['GET'], paths: ['/other'] }, false],
    [{ methods: ['GET'], paths: ['/other', '/info/*'], notPaths: ['/info/secret'] }, true],
  ]
  for (const [operation, expected] of table) {
    t.equal(allows({ to: [operation] }, tls, get), expected, `ALLOW ${JSON.stringify(operation)}`)
    t.equal(denies({ to: [operation] }, tls, get), expected, `DENY ${JSON.stringify(operation)}`)
  }
})

t.test('every condition key', async (t) => {
  const get = request({ authority: 'web', headers: { 'x-tier': 'gold', list: 'a, b', none: '' } })
  const table: [string, string[], boolean][] = [
    ['source.ip', ['127.0.0.0/8'], true],
    ['source.ip', ['10.0.0.1'], false],
    ['remote.ip', ['127.0.0.1'], true],
    ['source.namespace', ['namespace'], true],
    ['source.namespace', ['ns-alt'], false],
    ['source.principal', ['td/ns/namespace/*'], true],
    ['source.serviceAccount', ['account'], true],
    ['source.serviceAccount', ['ns-alt/account'], false],
    ['destination.ip', ['127.0.0.2'], true],
    ['destination.port', ['8080'], true],
    ['destination.port', ['80'], false],
    ['request.headers[X-Tier]', ['gold'], true],
    ['request.headers[x-tier]', ['g*'], true],
    ['request.headers[x-tier]', ['silver'], false],
    ['request.headers[absent]', ['*'], false],
    ['request.headers[none]', ['*'], true],
    ['request.headers[list]', ['a, b'], true],
    ['request.headers[:authority]', ['web'], true],
    ['request.headers[:method]', ['GET'], true],
    ['request.auth.principal', ['*'], false],
    ['request.auth.claims[iss]', ['*'], false],
    ['request.auth.claims[a][b]', ['*'], false],
    ['connection.sni', ['*'], false],
  ]
  for (const [key, values, expected] of table) {
    const text = `${key} ${values}`
    t.equal(allows({ when: [{ key, values }] }, tls, get), expected, `ALLOW ${text}`)
    t.equal(denies({ when: [{ key, values }] }, tls, get), expected, `DENY ${text}`)
    t.equal(allows({ when: [{ key, notValues: values }] }, tls, get), !expected, `ALLOW not ${text}`)
    t.equal(denies({ when: [{ key, notValues: values }] }, tls, get), !expected, `DENY not ${text}`)
  }
})

t.test('what cannot be evaluated never allows and always denies', async (t) => {
  const rules: AuthorizationRule[] = [
    { when: [{ key: 'destination.labels[version]', values: ['v1'] }] },
    { when: [{ key: 'destination.labels[version]', notValues: ['v1'] }] },
    { when: [{ key: 'experimental.envoy.filters.x[y]', values: ['v1'] }] },
    { when: [{ key: 'request.headers[]', values: ['v1'] }] },
    { when: [{ key: 'request.headers[:path]', values: ['/x'] }] },
    { from: [{ ipBlocks: ['10.0.0.0/99'] }] },
    { from: [{ notIpBlocks: ['not an address'] }] },
    { from: [{ principals: ['td/*/sa/account'] }] },
    { from: [{ namespaces: ['*name*'] }] },
    { from: [{ serviceAccounts: ['namespace/*'] }] },
    { from: [{ serviceAccounts: ['a/b/c'] }] },
    { to: [{ ports: ['http'] }] },
    { to: [{ notPorts: ['70000'] }] },
    { to: [{ paths: ['/a/{**}/b/{*}'] }] },
    { to: [{ paths: ['/a/{*}/{name}'] }] },
    { to: [{ paths: ['/a/{*}*'] }] },
    { to: [{ paths: ['/{*}{*}'] }] },
    { to: [{ notPaths: ['/a/*/{*}'] }] },
  ]
  for (const rule of rules) {
    t.notOk(allows(rule, tls, request()), `ALLOW ${JSON.stringify(rule)}`)
    t.ok(denies(rule, tls, request()), `DENY ${JSON.stringify(rule)}`)
    // The rest of the rule still counts.
    const elsewhere = { ...rule, to: [...(rule.to ?? [{}]).map((entry) => ({ ...entry, methods: ['PUT'] }))] }
    t.notOk(denies(elsewhere, tls, request()), `DENY elsewhere ${JSON.stringify(rule)}`)
  }
  const strange: ConnectionFacts = { ...tls, sourceIp: 'unknown' }
  t.ok(denies({ from: [{ ipBlocks: ['10.0.0.0/8'] }] }, strange))
  t.notOk(allows({ from: [{ notIpBlocks: ['10.0.0.0/8'] }] }, strange))
  t.ok(allows({ from: [{ ipBlocks: ['10.0.0.0/99', '127.0.0.1'] }] }, tls), 'a good value beside a bad one counts')
})

t.test('a doubt is not outweighed by what else is certain', async (t) => {
  const doubtful = { key: 'unknown', values: ['x'] }
  const certain = { key: 'destination.port', values: ['8080'] }
  for (const when of [
    [doubtful, certain],
    [certain, doubtful],
  ]) {
    t.notOk(allows({ when }, tls))
    t.ok(denies({ when }, tls))
  }
  t.notOk(allows({ from: [{ ipBlocks: ['bad'] }], to: [{ ports: ['8080'] }], when: [certain] }, tls))
  t.ok(
    allows({ to: [{ ports: ['bad'] }, { ports: ['8080'] }, { ports: ['bad'] }] }, tls),
    'one certain entry is enough',
  )
})

t.test('on TCP, HTTP attributes never allow, and a DENY is judged by the rest', async (t) => {
  const operations: AuthorizationOperation[] = [
    { methods: ['GET'] },
    { notMethods: ['GET'] },
    { hosts: ['web'] },
    { notHosts: ['web'] },
    { paths: ['/admin'] },
    { notPaths: ['/admin'] },
  ]
  for (const operation of operations) {
    const text = JSON.stringify(operation)
    t.notOk(allows({ to: [operation] }, tls), `ALLOW ${text}`)
    t.ok(denies({ to: [operation] }, tls), `DENY ${text}`)
    t.ok(denies({ to: [{ ...operation, ports: ['8080'] }] }, tls), `DENY ${text} on the port`)
    t.notOk(denies({ to: [{ ...operation, ports: ['80'] }] }, tls), `DENY ${text} on another port`)
    t.notOk(denies({ from: [{ namespaces: ['x'] }], to: [operation] }, tls), `DENY ${text} from another`)
    t.ok(allows({ to: [operation, { ports: ['8080'] }] }, tls), `ALLOW ${text} or the port`)
  }
  for (const from of [{ requestPrincipals: ['*'] }, { notRequestPrincipals: ['*'] }]) {
    t.notOk(allows({ from: [from] }, tls))
    t.ok(denies({ from: [from] }, tls))
  }
  for (const key of ['request.headers[x]', 'request.auth.principal', 'request.auth.claims[iss]']) {
    for (const condition of [
      { key, values: ['a'] },
      { key, notValues: ['a'] },
    ]) {
      t.notOk(allows({ when: [condition] }, tls), key)
      t.ok(denies({ when: [condition] }, tls), key)
    }
  }
})

t.test('no spelling of a denied path slips past, and none of another path slips into an allowed one', async (t) => {
  for (const path of [
    '/admin',
    '//admin',
    '/%61dmin',
    '/x/../admin',
    '/x/%2e%2e/admin',
    '/./admin',
    '/admin;x',
    '/admin;',
    '\\admin',
    '/%2fadmin',
    '/%5cadmin',
    '/%2561dmin',
    '/%25%36%31dmin',
    '/x/..;/admin',
    '/x/..%2fadmin',
    '/admin/',
    '/admin/.',
    '//host/admin',
    '/admin/x/..',
    '/admin%2f',
    '/admin/%2e',
    '/admin/../x/../admin',
  ]) {
    const decision = authorize(
      setOf(policy({ action: 'DENY', rules: [{ to: [{ paths: ['/admin'] }] }] })),
      tls,
      request({ path }),
    )
    t.equal(decision.kind, 'deny', path)
    t.notOk(allows({ to: [{ notPaths: ['/admin'] }] }, tls, request({ path })), `notPaths ${path}`)
  }
  for (const path of [
    '/public/../admin',
    '/public/..;/admin',
    '/public/%2e%2e/admin',
    '/public/..%2fadmin',
    '/public\\..\\admin',
    '/public/%252e%252e/admin',
    '//public/admin',
    '/public/..%252fadmin',
    '/\\public/admin',
  ]) {
    t.notOk(allows({ to: [{ paths: ['/public/*'] }] }, tls, request({ path })), `ALLOW /public/* ${path}`)
  }
  for (const path of [
    '/public/a',
    '/public//a',
    '/public/%61',
    '/public/a;v=1',
    '/public/a%20b',
    '/public/./a',
    '/public/100%25',
  ]) {
    t.ok(allows({ to: [{ paths: ['/public/*'] }] }, tls, request({ path })), `ALLOW /public/* ${path}`)
  }
  for (const path of ['/administrator', '/public', '/a/admin', '/admin.', '/ADMIN', '/admin/x']) {
    t.notOk(denies({ to: [{ paths: ['/admin'] }] }, tls, request({ path })), `not denied ${path}`)
  }
  t.ok(allows({ to: [{ paths: ['/public/'] }] }, tls, request({ path: '/public/' })), 'a trailing slash matches itself')
  t.notOk(
    allows({ to: [{ paths: ['/public'] }] }, tls, request({ path: '/public/' })),
    'but not the path without, to allow',
  )
})

t.test('policies may spell paths as they like', async (t) => {
  for (const written of [
    '/caf\u00e9',
    '/caf%c3%a9',
    '/caf%C3%A9',
    '/c%61f%C3%A9',
    '//caf\u00e9',
    '/caf*',
    '*\u00e9',
    '/x/../caf\u00e9',
  ]) {
    for (const path of ['/caf%c3%a9', '/caf\u00c3\u00a9']) {
      t.ok(denies({ to: [{ paths: [written] }] }, tls, request({ path })), `${written} ${path}`)
    }
  }
  t.ok(denies({ to: [{ paths: ['/a b'] }] }, tls, request({ path: '/a%20b' })))
  t.ok(denies({ to: [{ paths: ['/100%'] }] }, tls, request({ path: '/100%25' })))
  t.ok(denies({ to: [{ paths: ['/v1:reload'] }] }, tls, request({ path: '/v1%3Areload' })))
})

t.test('path templates match segments', async (t) => {
  const table: [string, string, boolean][] = [
    ['/foo/{*}', '/foo/bar', true],
    ['/foo/{*}', '/foo/bar/baz', false],
    ['/foo/{*}', '/foo/', false],
    ['/foo/{*}', '/foo', false],
    ['/foo/{**}', '/foo/bar', true],
    ['/foo/{**}', '/foo/bar/baz.txt', true],
    ['/foo/{**}', '/foo/', true],
    ['/foo/{**}', '/foo', false],
    ['/foo/{**}', '/foobar', false],
    ['/foo/{**}/', '/foo/bar/', true],
    ['/foo/{**}/', '/foo//', true],
    ['/foo/{**}/', '/foo/bar', false],
    ['/foo/{**}/bar', '/foo/bar', true],
    ['/foo/{**}/bar', '/foo/a/b/bar', true],
    ['/foo/{**}/bar', '/foo/xbar', false],
    ['/foo/{*}/bar/{**}', '/foo/buzz/bar/', true],
    ['/foo/{*}/bar/{**}', '/foo/buzz/bar/baz/qux', true],
    ['/foo/{*}/bar/{**}', '/foo/buzz/baz', false],
    ['/{*}/{*}', '/a/b', true],
    ['/{*}/{*}', '/a', false],
    ['/v1/{*}.json', '/v1/a.json', true],
    ['/v1/{*}.json', '/v1/axjson', false],
    ['/v1/{**}.json', '/v1/a/b.json', true],
    ['/v1/{*}', '/v1/a%2Fb', false],
  ]
  for (const [template, path, expected] of table) {
    t.equal(allows({ to: [{ paths: [template] }] }, tls, request({ path })), expected, `${template} ${path}`)
  }
})

t.test('a malformed path is refused when a policy looks at paths', async (t) => {
  const path = '/%c0%afadmin'
  const looks = setOf(policy({ rules: [{ to: [{ paths: ['*'] }] }, {}] }))
  t.match(authorize(looks, tls, request({ path })), { kind: 'deny', malformedPath: true })
  t.match(authorize(setOf(policy({ rules: [{}] })), tls, request({ path })), { kind: 'allow', malformedPath: false })
  const audit = policy({ action: 'AUDIT', rules: [{ to: [{ paths: ['/admin'] }] }] })
  t.match(authorize(setOf(audit), tls, request({ path })), { kind: 'allow', audited: ['namespace/policy'] })
  t.match(authorize(looks, tls, undefined), { kind: 'allow', malformedPath: false })
})

t.test('one of several header lines is enough to deny, never to allow', async (t) => {
  const two = request({ headers: { 'x-user': 'good, bad' } })
  const key = 'request.headers[x-user]'
  t.ok(denies({ when: [{ key, values: ['bad'] }] }, tls, two))
  t.notOk(allows({ when: [{ key, values: ['good'] }] }, tls, two))
  t.notOk(allows({ when: [{ key, notValues: ['bad'] }] }, tls, two))
  t.ok(denies({ when: [{ key, notValues: ['good'] }] }, tls, two))
})

t.test('a host with the port or the root dot is the same host', async (t) => {
  for (const authority of ['web', 'WEB', 'web:80', 'web.', 'web.:8080', 'Web:']) {
    t.ok(denies({ to: [{ hosts: ['web'] }] }, tls, request({ authority })), authority)
    t.notOk(allows({ to: [{ notHosts: ['web'] }] }, tls, request({ authority })), authority)
  }
  t.ok(denies({ to: [{ hosts: ['[fd00::1]'] }] }, tls, request({ authority: '[fd00::1]:80' })))
  t.notOk(denies({ to: [{ hosts: ['*'] }] }, tls, request({ authority: '' })), 'absent')
})

t.test('AUDIT policies report and never change the verdict', async (t) => {
  const audit = policy({ name: 'watch', action: 'AUDIT', rules: [{ from: [{ namespaces: ['namespace'] }] }] })
  const deny = policy({ name: 'deny', action: 'DENY', rules: [{ to: [{ methods: ['DELETE'] }] }] })
  t.match(authorize(setOf(audit), tls, request()), { kind: 'allow', audited: ['namespace/watch'] })
  t.strictSame(authorize(setOf(audit), alt, request()).audited, [])
  t.match(authorize(setOf(audit, deny), tls, request({ method: 'DELETE' })), {
    kind: 'deny',
    policy: 'namespace/deny',
    audited: ['namespace/watch'],
  })
})

t.test('an invalid policy denies all that it selects, whatever its action', async (t) => {
  for (const action of ['ALLOW', 'DENY', 'AUDIT'] as const) {
    const broken = policy({ name: 'broken', action, rules: [], invalid: 'spec.rules[0].to[0]: no such field' })
    const decision = authorize(setOf(broken, policy({ name: 'all', rules: [{}] })), tls, request())
    t.match(decision, { kind: 'deny', policy: 'namespace/broken' })
    t.match(decision.reason, 'spec.rules[0].to[0]: no such field')
  }
})

t.test('common outcomes are the same frozen object each time', async (t) => {
  const set = setOf(
    policy({ name: 'a', rules: [{ to: [{ methods: ['GET'] }] }] }),
    policy({ name: 'd', action: 'DENY', rules: [{ to: [{ paths: ['/admin'] }] }] }),
  )
  for (const http of [request(), request({ method: 'PUT' }), request({ path: '/admin' }), request({ path: '/%' })]) {
    const decision = authorize(set, tls, http)
    t.ok(Object.isFrozen(decision))
    t.equal(authorize(set, tls, http), decision)
  }
  t.ok(Object.isFrozen(set))
})

t.test('an explanation begins with the verdict and shows the field that decides', async (t) => {
  const set = setOf(
    policy({
      name: 'a',
      rules: [{ from: [{ namespaces: ['other'] }], to: [{ methods: ['GET'], paths: ['/x'] }] }, {}],
    }),
    policy({ name: 'd', action: 'DENY', rules: [{ to: [{ paths: ['/admin'] }] }] }),
  )
  const lines = explainPolicy(set, tls, request({ path: '/x/../admin' }))
  t.equal(lines[0], 'Denied: Rule 0 of DENY policy namespace/d matches')
  t.match(lines.join('\n'), 'paths ["/admin"] cannot be judged for certain')
  t.match(lines.join('\n'), '/admin, also read as /x/../admin')
  t.match(explainPolicy(set, tls, request())[0], 'Allowed: Rule 1 of ALLOW policy namespace/a matches')
  t.match(explainPolicy(set, plain, request()).join('\n'), 'no verified identity')
  t.equal(explainPolicy(setOf(), tls, undefined).length, 1)
})

const anyRule: fc.Arbitrary<AuthorizationRule> = fc.constantFrom<AuthorizationRule>(
  {},
  { from: [{ namespaces: ['namespace'] }] },
  { from: [{ notPrincipals: ['*'] }] },
  { to: [{ paths: ['/admin*'] }] },
  { to: [{ notPaths: ['/public/*'], methods: ['GET'] }] },
  { to: [{ hosts: ['web'] }], when: [{ key: 'unknown', values: ['x'] }] },
  { to: [{ ports: ['8080'] }] },
  { when: [{ key: 'request.headers[x]', notValues: ['a'] }] },
)
const anyPolicy = fc
  .tuple(fc.constantFrom('ALLOW' as const, 'DENY' as const, 'AUDIT' as const), fc.array(anyRule, { maxLength: 3 }))
  .map(([action, rules]) => policy({ action, rules }))
const anyRequest = fc.option(
  fc.constantFrom('/admin', '/public/x', '/public/../admin', '/%', '/', '//admin').map((path) => request({ path })),
  { nil: undefined },
)
const anyConnection = fc.constantFrom(plain, tls, alt)

t.test('one more DENY never allows, one more AUDIT changes nothing, and order does not matter', async (t) => {
  let turned = 0
  fc.assert(
    fc.property(
      fc.array(anyPolicy, { maxLength: 5 }),
      anyPolicy,
      anyConnection,
      anyRequest,
      (some, one, connection, http) => {
        const named = some.map((each, index) => ({ ...each, name: `p${index}` }))
        const before = authorize(setOf(...named), connection, http)
        const denied = authorize(setOf(...named, { ...one, name: 'more', action: 'DENY' }), connection, http)
        if (before.kind === 'deny' && denied.kind === 'allow') throw new Error('a DENY policy allowed')
        if (before.kind !== denied.kind) turned++
        const audited = authorize(setOf(...named, { ...one, name: 'more', action: 'AUDIT' }), connection, http)
        if (audited.kind !== before.kind) throw new Error('an AUDIT policy decided')
        const reversed = authorize(setOf(...named.toReversed()), connection, http)
        if (reversed.kind !== before.kind) throw new Error('the order decided')
        explainPolicy(setOf(...named), connection, http)
      },
    ),
    { numRuns: 1000, interruptAfterTimeLimit: 2000, markInterruptAsFailure: false },
  )
  t.ok(turned > 0)
})

t.test('connection.sni: the name that the application’s own TLS asks for', async (t) => {
  const asks = (sni: ServerName) => ({ ...tls, sni })
  const named: AuthorizationRule = { when: [{ key: 'connection.sni', values: ['WWW.example.com', '*.shop.example'] }] }
  const others: AuthorizationRule = { when: [{ key: 'connection.sni', notValues: ['www.example.com'] }] }
  t.ok(allows(named, asks('www.example.com'), undefined), 'in any spelling')
  t.ok(allows(named, asks('a.b.shop.example'), undefined))
  t.notOk(allows(named, asks('shop.example'), undefined))
  t.notOk(allows(named, asks(''), undefined), 'no name')
  t.notOk(allows(named, asks(undefined), undefined), 'no TLS')
  t.ok(allows({ when: [{ key: 'connection.sni', values: ['*'] }] }, asks('x'), undefined), 'any name')
  t.notOk(allows({ when: [{ key: 'connection.sni', values: ['*'] }] }, asks(''), undefined))
  t.ok(allows(others, asks(''), undefined), 'what is absent is none of the values')
  t.notOk(allows(others, asks('www.example.com'), undefined))
  t.notOk(allows(named, asks(null), undefined), 'a name that is not certain is never allowed')
  t.notOk(allows(others, asks(null), undefined))
  t.ok(denies(named, asks(null), undefined), 'and may be what is denied')
  t.ok(denies(others, asks(null), undefined))
})
