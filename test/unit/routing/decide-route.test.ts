import t from 'tap'
import type { HeaderEdit, HttpRoute, MeshObject, ReferenceGrant, RouteMatch } from '#contract'
import { decideRoute, type RouteDecision } from '#routing'
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
  worldOf,
} from './mesh-fixture.ts'

/** Rules named after what they match, all with a backend of their own Service. */
function decide(objects: readonly MeshObject[], input: FactsInput = {}, random = 0): RouteDecision {
  const snapshot = snapshotOf(service('shop/web'), ...objects)
  return decideRoute(snapshot, calling(snapshot), facts(input), random)
}

function named(name: string, ...matches: readonly RouteMatch[]): ReturnType<typeof rule> {
  return rule({ name, matches })
}

function ruleOf(decision: RouteDecision): string | undefined {
  return decision.kind === 'fail' ? `${decision.refusal} ${decision.rule ?? ''}`.trim() : decision.rule
}

t.test('without routes a request goes to the Service itself, always as the same object', async (t) => {
  const snapshot = snapshotOf(service('shop/web'))
  const decision = decideRoute(snapshot, calling(snapshot), facts(), 0)
  t.match(decision, {
    kind: 'forward',
    route: undefined,
    rule: undefined,
    port: 80,
    rewrites: false,
    hostname: undefined,
  })
  t.equal(decision.kind === 'forward' && decision.service, snapshot.service('shop/web'))
  t.equal(decision.kind === 'forward' && decision.endpoints.length, 1)
  t.ok(Object.isFrozen(decision))
  t.equal(decideRoute(snapshot, calling(snapshot), facts({ path: '/other' }), 0.5), decision)
})

t.test('paths match exactly, by whole elements, or by expression', async (t) => {
  const table: readonly (readonly [string, string, boolean])[] = [
    ['Exact /abc', '/abc', true],
    ['Exact /abc', '/abc/', false],
    ['Exact /abc', '/Abc', false],
    ['Exact /abc', '/abcd', false],
    ['Exact /', '/', true],
    ['Exact /', '/a', false],
    ['PathPrefix /abc', '/abc', true],
    ['PathPrefix /abc', '/abc/', true],
    ['PathPrefix /abc', '/abc/def', true],
    ['PathPrefix /abc', '/abcd', false],
    ['PathPrefix /abc', '/ABC', false],
    ['PathPrefix /abc', '/ab', false],
    ['PathPrefix /abc', '/x/abc', false],
    ['PathPrefix /abc/', '/abc', true],
    ['PathPrefix /abc/', '/abc/def', true],
    ['PathPrefix /abc/', '/abcd', false],
    ['PathPrefix /a/b', '/a/b/c', true],
    ['PathPrefix /a/b', '/a/bc', false],
    ['PathPrefix /', '/anything/at/all', true],
    ['PathPrefix /', '*', true],
    ['RegularExpression /v[0-9]+/.*', '/v1/x', true],
    ['RegularExpression /v[0-9]+', '/v1/x', false],
    ['RegularExpression /v[0-9]+', 'x/v1', false],
    ['RegularExpression /(?i)ADMIN', '/admin', true],
  ]
  for (const [path, requested, expected] of table) {
    const decision = decide([route('shop/r', [named('hit', match(path))])], { path: requested })
    t.equal(ruleOf(decision), expected ? 'hit' : 'noRoute', `${path} and ${requested}`)
  }
})

t.test('conditions are AND-ed within a match and matches OR-ed within a rule', async (t) => {
  const rules = [
    named(
      'hit',
      match('PathPrefix /foo', {
        method: 'POST',
        headers: [
          { name: 'X-Version', match: { type: 'Exact', value: 'v2' } },
          { name: 'x-user', match: { type: 'RegularExpression', value: 'a.*' } },
        ],
        query: [
          { name: 'q', match: { type: 'Exact', value: 'a b' } },
          { name: 'n', match: { type: 'RegularExpression', value: '[0-9]+' } },
        ],
      }),
      match('PathPrefix /v2/foo'),
    ),
  ]
  const good = { method: 'POST', path: '/foo', query: 'q=a%20b&n=12', headers: { 'x-version': 'v2', 'x-user': 'ann' } }
  const table: readonly (readonly [string, FactsInput, boolean])[] = [
    ['all hold', good, true],
    ['the other match', { path: '/v2/foo/x' }, true],
    ['path', { ...good, path: '/fo' }, false],
    ['method', { ...good, method: 'GET' }, false],
    ['method in another case', { ...good, method: 'post' }, false],
    ['header value', { ...good, headers: { 'x-version': 'v3', 'x-user': 'ann' } }, false],
    ['header value in another case', { ...good, headers: { 'x-version': 'V2', 'x-user': 'ann' } }, false],
    ['header absent', { ...good, headers: { 'x-version': 'v2' } }, false],
    ['header expression matches in part only', { ...good, headers: { 'x-version': 'v2', 'x-user': 'xann' } }, false],
    ['query absent', { ...good, query: 'n=12' }, false],
    ['query value', { ...good, query: 'q=ab&n=12' }, false],
    ['first query value counts', { ...good, query: 'q=x&q=a%20b&n=12' }, false],
    ['query expression', { ...good, query: 'q=a%20b&n=12x' }, false],
    ['query names have case', { ...good, query: 'Q=a%20b&n=12' }, false],
  ]
  for (const [name, input, expected] of table) {
    t.equal(ruleOf(decide([route('shop/r', rules)], input)), expected ? 'hit' : 'noRoute', name)
  }
})

t.test('of several conditions on one name only the first counts', async (t) => {
  const doubled = match('PathPrefix /', {
    headers: [
      { name: 'x-a', match: { type: 'Exact', value: '1' } },
      { name: 'X-A', match: { type: 'Exact', value: '2' } },
    ],
    query: [
      { name: 'q', match: { type: 'Exact', value: '1' } },
      { name: 'q', match: { type: 'Exact', value: '2' } },
    ],
  })
  t.equal(ruleOf(decide([route('shop/r', [named('hit', doubled)])], { query: 'q=1', headers: { 'x-a': '1' } })), 'hit')
  t.equal(
    ruleOf(decide([route('shop/r', [named('hit', doubled)])], { query: 'q=2', headers: { 'x-a': '2' } })),
    'noRoute',
  )
  const single = match('PathPrefix /', {
    headers: [
      { name: 'x-a', match: { type: 'Exact', value: '1' } },
      { name: 'x-b', match: { type: 'Exact', value: '1' } },
    ],
  })
  const rules = [named('doubled', match('PathPrefix /', { headers: doubled.headers })), named('two', single)]
  t.equal(
    ruleOf(decide([route('shop/r', rules)], { headers: { 'x-a': '1', 'x-b': '1' } })),
    'two',
    'nor are they counted twice',
  )
})

t.test('headers are asked for only when a candidate matches headers', async (t) => {
  const snapshot = snapshotOf(
    service('shop/web'),
    route('shop/r', [
      named(
        'canary',
        match('PathPrefix /canary', {
          method: 'GET',
          headers: [{ name: 'X-Canary', match: { type: 'Exact', value: '1' } }],
        }),
      ),
      named('rest', match('PathPrefix /')),
    ]),
  )
  const asked: string[] = []
  t.equal(ruleOf(decideRoute(snapshot, calling(snapshot), facts({ path: '/plain' }, asked), 0)), 'rest')
  t.equal(ruleOf(decideRoute(snapshot, calling(snapshot), facts({ path: '/canary', method: 'PUT' }, asked), 0)), 'rest')
  t.same(asked, [])
  t.equal(ruleOf(decideRoute(snapshot, calling(snapshot), facts({ path: '/canary' }, asked), 0)), 'rest')
  t.same(asked, ['x-canary'])
})

t.test('the more specific match wins, whatever the order of rules', async (t) => {
  const header = (...names: readonly string[]): RouteMatch['headers'] =>
    names.map((name) => ({ name, match: { type: 'Exact', value: '1' } }))
  const all: FactsInput = { path: '/a/b', method: 'GET', query: 'p=1&q=1', headers: { x: '1', y: '1' } }
  const table: readonly (readonly [string, RouteMatch, RouteMatch])[] = [
    [
      'exact before prefix',
      match('Exact /a/b'),
      match('PathPrefix /a/b', { method: 'GET', headers: header('x', 'y') }),
    ],
    ['exact before expression', match('Exact /a/b'), match('RegularExpression /a/b.*', { method: 'GET' })],
    ['expression before prefix', match('RegularExpression /a.*'), match('PathPrefix /a/b', { method: 'GET' })],
    ['longer expression', match('RegularExpression /a/.*'), match('RegularExpression /a.*', { method: 'GET' })],
    ['longer prefix', match('PathPrefix /a/b'), match('PathPrefix /a', { method: 'GET', headers: header('x', 'y') })],
    ['any prefix before /', match('PathPrefix /a'), match('PathPrefix /', { method: 'GET' })],
    [
      'method before headers',
      match('PathPrefix /a', { method: 'GET' }),
      match('PathPrefix /a', { headers: header('x', 'y') }),
    ],
    [
      'more headers',
      match('PathPrefix /a', { headers: header('x', 'y') }),
      match('PathPrefix /a', { headers: header('x'), query: header('p', 'q') }),
    ],
    [
      'more query parameters',
      match('PathPrefix /a', { query: header('p', 'q') }),
      match('PathPrefix /a', { query: header('p') }),
    ],
    ['query before nothing', match('PathPrefix /a/', { query: header('p') }), match('PathPrefix /a')],
  ]
  for (const [name, winner, loser] of table) {
    for (const rules of [
      [named('winner', winner), named('loser', loser)],
      [named('loser', loser), named('winner', winner)],
    ]) {
      t.equal(ruleOf(decide([route('shop/r', rules)], all)), 'winner', name)
      const apart = rules.map((rule, i) => route(`shop/r${i}`, [rule]))
      t.equal(ruleOf(decide(apart, all)), 'winner', `${name}, in two routes`)
    }
  }
})

t.test('a less specific match decides when the more specific one does not hold', async (t) => {
  const rules = [
    named('exact', match('Exact /a/b', { method: 'PUT' })),
    named('regex', match('RegularExpression /a/.*', { method: 'PUT' })),
    named('long', match('PathPrefix /a/b', { method: 'PUT' })),
    named('short', match('PathPrefix /a', { method: 'PUT' })),
    named('root', match('PathPrefix /')),
  ]
  t.equal(ruleOf(decide([route('shop/r', rules)], { path: '/a/b' })), 'root')
  t.equal(ruleOf(decide([route('shop/r', rules)], { path: '/a/b', method: 'PUT' })), 'exact')
})

t.test('ties go to the oldest route, then the first name, then the first rule', async (t) => {
  const at = (nsName: string, createdAt: string): HttpRoute =>
    route(nsName, [named(nsName, match('PathPrefix /')), named('second', match('PathPrefix /'))], { createdAt })
  const early = '2026-01-01T00:00:00Z'
  const late = '2026-01-02T00:00:00Z'
  t.equal(ruleOf(decide([at('shop/a', late), at('shop/b', early)])), 'shop/b')
  t.equal(ruleOf(decide([at('shop/a', ''), at('shop/b', early)])), 'shop/b')
  t.equal(ruleOf(decide([at('shop/b', early), at('shop/a', early)])), 'shop/a')
})

t.test('attached routes of which none matches answer 404', async (t) => {
  const decision = decide([route('shop/r', [named('a', match('PathPrefix /a'))])], { path: '/b' })
  t.match(decision, { kind: 'fail', refusal: 'noRoute', route: undefined, why: /shop\/r/ })
})

t.test('hostnames do not select: a mesh route binds by ClusterIP', async (t) => {
  const routes = [route('shop/r', [rule()], { hostnames: ['elsewhere.example'] })]
  t.match(decide(routes, { authority: 'web.shop' }), { kind: 'forward', route: 'shop/r' })
  const byHeader = match('PathPrefix /', { headers: [{ name: 'Host', match: { type: 'Exact', value: 'web.shop' } }] })
  t.equal(ruleOf(decide([route('shop/r', [named('hit', byHeader)])], { authority: 'web.shop' })), 'hit')
  t.equal(ruleOf(decide([route('shop/r', [named('hit', byHeader)])], { authority: 'other' })), 'noRoute')
})

t.test('port and sectionName of a parent limit it to that port', async (t) => {
  const web = service('shop/web', {
    ports: [
      { name: 'http', port: 80, protocol: 'http' },
      { name: 'admin', port: 81, protocol: 'http' },
    ],
    endpoints: {},
  })
  const parent = { namespace: 'shop', name: 'web' }
  const table: readonly (readonly [string, HttpRoute['parents'], boolean, boolean])[] = [
    ['neither', [{ service: parent }], true, true],
    ['port', [{ service: parent, port: 81 }], false, true],
    ['section', [{ service: parent, sectionName: 'http' }], true, false],
    ['both, agreeing', [{ service: parent, port: 80, sectionName: 'http' }], true, false],
    ['both, not agreeing', [{ service: parent, port: 81, sectionName: 'http' }], false, false],
    ['unknown port', [{ service: parent, port: 82 }], false, false],
    [
      'two parents',
      [
        { service: parent, port: 80 },
        { service: parent, port: 81 },
      ],
      true,
      true,
    ],
    ['another Service', [{ service: { namespace: 'shop', name: 'api' } }], false, false],
    ['a Service of that name elsewhere', [{ service: { namespace: 'client', name: 'web' } }], false, false],
  ]
  for (const [name, parents, on80, on81] of table) {
    const snapshot = snapshotOf(web, route('shop/r', [rule()], { parents }))
    const bound = (port: number): boolean => {
      const decision = decideRoute(snapshot, calling(snapshot, 'shop/web', port), facts(), 0)
      return decision.kind === 'forward' && decision.route === 'shop/r'
    }
    t.same([bound(80), bound(81)], [on80, on81], name)
  }
})

t.test('consumer routes bind the clients of their namespace, and replace the producer routes for them', async (t) => {
  const snapshot = snapshotOf(
    service('shop/web'),
    route('shop/producer', [named('producer', match('PathPrefix /'))]),
    route('client/consumer', [named('consumer', match('PathPrefix /c'))]),
    route('client/second', [named('second', match('PathPrefix /d'))]),
    route('other/elsewhere', [named('elsewhere', match('Exact /c'))], {
      parents: [{ service: { namespace: 'shop', name: 'web' }, port: 81 }],
    }),
  )
  const from = (namespace: string | undefined, path: string): string | undefined => {
    const client = namespace === undefined ? undefined : workload(`${namespace}/pod`)
    return ruleOf(decideRoute(snapshot, calling(snapshot, 'shop/web', 80, client), facts({ path }), 0))
  }
  t.equal(from('client', '/c'), 'consumer')
  t.equal(from('client', '/d'), 'second', 'consumer routes merge with each other')
  t.equal(from('client', '/x'), 'noRoute', 'but not with producer routes')
  t.equal(from('shop', '/c'), 'producer')
  t.equal(from('stranger', '/c'), 'producer')
  t.equal(from(undefined, '/c'), 'producer')
  t.equal(from('other', '/c'), 'producer', 'a consumer route for another port replaces nothing')
})

t.test('without producer routes, clients elsewhere reach the Service itself', async (t) => {
  const snapshot = snapshotOf(service('shop/web'), route('client/consumer', [rule()]))
  const decision = decideRoute(snapshot, calling(snapshot, 'shop/web', 80, workload('shop/pod')), facts(), 0)
  t.match(decision, { kind: 'forward', route: undefined })
})

t.test('backends share by weight', async (t) => {
  const objects = [
    service('shop/v2', { endpoints: {} }),
    route('shop/r', [rule({ backends: [backend('shop/web', 90), backend('shop/zero', 0), backend('shop/v2', 10)] })]),
  ]
  const table: readonly (readonly [number, string])[] = [
    [0, 'web'],
    [0.5, 'web'],
    [0.8999, 'web'],
    [0.9, 'v2'],
    [0.9999, 'v2'],
  ]
  for (const [random, expected] of table) {
    const decision = decide(objects, {}, random)
    t.equal(decision.kind === 'forward' ? decision.service.name : decision.kind, expected, String(random))
  }
  const counts = new Map<string, number>()
  const steps = 1000
  for (let i = 0; i < steps; i += 1) {
    const decision = decide(objects, {}, i / steps)
    const name = decision.kind === 'forward' ? decision.service.name : decision.kind
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  t.same(
    [...counts],
    [
      ['web', 900],
      ['v2', 100],
    ],
  )
})

t.test('backends that cannot work fail their share of the requests with 500', async (t) => {
  const table: readonly (readonly [string, Parameters<typeof rule>[0], RegExp])[] = [
    ['marked invalid', { backends: [backend('shop/web', 1, { invalid: 'kind Bucket is not supported' })] }, /Bucket/],
    ['unknown Service', { backends: [backend('shop/none')] }, /shop\/none does not exist/],
    [
      'unknown port',
      { backends: [backend('shop/web', 1, { service: { namespace: 'shop', name: 'web', port: 9 } })] },
      /no port 9/,
    ],
    ['no grant', { backends: [backend('other/api')] }, /ReferenceGrant/],
    ['all weights zero', { backends: [backend('shop/web', 0)] }, /weight 0/],
    ['no backend', { backends: [] }, /no backend/],
    [
      'no backend, but filters',
      { backends: [], filters: [{ type: 'URLRewrite', hostname: 'x.example' }] },
      /no backend/,
    ],
  ]
  for (const [name, more, why] of table) {
    const objects = [service('other/api'), route('shop/r', [rule(more)])]
    t.match(decide(objects), { kind: 'fail', refusal: 'invalidRoute', route: 'shop/r', rule: '0', why }, name)
  }
  const half = [route('shop/r', [rule({ backends: [backend('shop/web', 1), backend('shop/none', 1)] })])]
  t.equal(decide(half, {}, 0.49).kind, 'forward')
  t.equal(decide(half, {}, 0.5).kind, 'fail')
})

t.test('a backend without endpoints is a forward to nobody, not an invalid route', async (t) => {
  const decision = decide([
    service('shop/v2', { endpoints: {} }),
    route('shop/r', [rule({ backends: [backend('shop/v2')] })]),
  ])
  t.match(decision, { kind: 'forward', endpoints: [] })
})

t.test('references across namespaces need a grant that fits', async (t) => {
  const grant = (namespace: string, from: ReferenceGrant['from'], to: ReferenceGrant['to']): ReferenceGrant => ({
    kind: 'reference-grant',
    namespace,
    name: 'g',
    from,
    to,
  })
  const shop = [{ kind: 'HTTPRoute', namespace: 'shop' }]
  const table: readonly (readonly [string, ReferenceGrant, boolean])[] = [
    ['any Service', grant('other', shop, [{ kind: 'Service' }]), true],
    ['that Service', grant('other', shop, [{ kind: 'Secret' }, { kind: 'Service', name: 'api' }]), true],
    ['another Service', grant('other', shop, [{ kind: 'Service', name: 'db' }]), false],
    ['another kind', grant('other', shop, [{ kind: 'Secret', name: 'api' }]), false],
    ['from another namespace', grant('other', [{ kind: 'HTTPRoute', namespace: 'x' }], [{ kind: 'Service' }]), false],
    ['from another kind', grant('other', [{ kind: 'GRPCRoute', namespace: 'shop' }], [{ kind: 'Service' }]), false],
    ['in the wrong namespace', grant('shop', shop, [{ kind: 'Service' }]), false],
  ]
  for (const [name, given, expected] of table) {
    const objects = [service('other/api'), given, route('shop/r', [rule({ backends: [backend('other/api')] })])]
    t.equal(decide(objects).kind, expected ? 'forward' : 'fail', name)
  }
})

t.test('a consumer route may send on to the Service called, and elsewhere with a grant only', async (t) => {
  const to = (nsName: string): RouteDecision => {
    const snapshot = snapshotOf(
      service('shop/web'),
      service('shop/v2'),
      service('client/own'),
      route('client/r', [rule({ backends: [backend(nsName)] })]),
    )
    return decideRoute(snapshot, calling(snapshot, 'shop/web', 80, workload('client/pod')), facts(), 0)
  }
  t.equal(to('shop/web').kind, 'forward')
  t.equal(to('client/own').kind, 'forward')
  t.match(to('shop/v2'), { kind: 'fail', refusal: 'invalidRoute' })
})

t.test('an invalid route fails what nothing else takes', async (t) => {
  const invalid = route('shop/broken', [], { invalid: 'spec.rules[0]: wrong', createdAt: '2020-01-01T00:00:00Z' })
  const valid = route('shop/r', [named('valid', match('PathPrefix /a'))])
  t.equal(ruleOf(decide([invalid, valid], { path: '/a' })), 'valid')
  t.match(decide([invalid, valid], { path: '/b' }), {
    kind: 'fail',
    refusal: 'invalidRoute',
    route: 'shop/broken',
    why: 'spec.rules[0]: wrong',
  })
})

t.test('an expression that cannot be read fails what nothing else takes', async (t) => {
  const header = match('PathPrefix /h', { headers: [{ name: 'x', match: { type: 'RegularExpression', value: '(' } }] })
  for (const bad of [match('RegularExpression /(?=a)'), header]) {
    const routes = [route('shop/r', [named('bad', bad), named('good', match('PathPrefix /a'))])]
    t.equal(ruleOf(decide(routes, { path: '/a' })), 'good')
    t.equal(ruleOf(decide(routes, { path: '/b' })), 'invalidRoute bad')
  }
})

t.test('header edits of the rule come before those of the backend', async (t) => {
  const edit = (value: string): HeaderEdit => ({ set: [{ name: 'x', value }], add: [], remove: [] })
  const decision = decide([
    route('shop/r', [
      rule({
        filters: [
          { type: 'RequestHeaderModifier', edit: edit('rule') },
          { type: 'ResponseHeaderModifier', edit: edit('rule response') },
        ],
        backends: [
          backend('shop/web', 1, {
            filters: [
              { type: 'ResponseHeaderModifier', edit: edit('backend response') },
              { type: 'RequestHeaderModifier', edit: edit('backend') },
            ],
          }),
        ],
      }),
    ]),
  ])
  t.match(decision, {
    requestEdits: [edit('rule'), edit('backend')],
    responseEdits: [edit('rule response'), edit('backend response')],
  })
})

t.test('timeouts are passed on, and zero means none', async (t) => {
  const set = rule({ requestTimeoutMs: 1000, backendRequestTimeoutMs: 500 })
  t.match(decide([route('shop/r', [set])]), { requestTimeoutMs: 1000, backendRequestTimeoutMs: 500 })
  const zero = rule({ requestTimeoutMs: 0, backendRequestTimeoutMs: 0 })
  t.match(decide([route('shop/r', [zero])]), { requestTimeoutMs: undefined, backendRequestTimeoutMs: undefined })
})

t.test('one backend of one rule is one frozen object, also when a header chose it', async (t) => {
  const snapshot = snapshotOf(
    service('shop/web'),
    service('shop/v2'),
    route('shop/r', [
      rule({
        matches: [match('PathPrefix /a'), match('Exact /b')],
        backends: [backend('shop/web'), backend('shop/v2')],
      }),
    ]),
  )
  const first = decideRoute(snapshot, calling(snapshot), facts({ path: '/a/1' }), 0.1)
  t.ok(Object.isFrozen(first))
  t.equal(decideRoute(snapshot, calling(snapshot), facts({ path: '/b', headers: { a: '1' } }), 0.4), first)
  t.not(decideRoute(snapshot, calling(snapshot), facts({ path: '/a/1' }), 0.6), first)
  const none = decideRoute(snapshot, calling(snapshot), facts({ path: '/none' }), 0)
  t.ok(Object.isFrozen(none))
  t.equal(decideRoute(snapshot, calling(snapshot), facts({ path: '/nothing' }), 0), none)
})

t.test('decisions outlive changes that do not concern them, and only those', async (t) => {
  const world = worldOf(
    service('shop/web'),
    service('shop/v2'),
    service('other/api'),
    route('shop/r', [
      named('v2', match('PathPrefix /v2')),
      rule({ name: 'api', matches: [match('PathPrefix /api')], backends: [backend('other/api')] }),
    ]),
  )
  let version = 1
  const change = (upsert: readonly MeshObject[], remove: readonly string[] = []): void => {
    version += 1
    world.apply({ version, reset: false, upsert, remove })
  }
  const ask = (path: string): RouteDecision => {
    const { snapshot } = world
    return decideRoute(snapshot, calling(snapshot), facts({ path }), 0)
  }
  const before = ask('/v2')
  t.equal(ask('/api').kind, 'fail')
  change([workload('shop/new'), service('shop/v2'), route('shop/x', [rule()], { parents: [] })])
  t.equal(ask('/v2'), before, 'a workload, a Service not referred to, a route for something else')
  change([
    {
      kind: 'reference-grant',
      namespace: 'other',
      name: 'g',
      from: [{ kind: 'HTTPRoute', namespace: 'shop' }],
      to: [{ kind: 'Service' }],
    },
  ])
  t.equal(ask('/api').kind, 'forward', 'a grant that comes')
  change([service('other/api', { endpoints: { '80': [endpoint('10.0.0.5'), endpoint('10.0.0.6')] } })])
  t.match(
    ask('/api'),
    { endpoints: [{ address: '10.0.0.5' }, { address: '10.0.0.6' }] },
    'endpoints of another backend',
  )
  change([], ['service:other/api'])
  t.equal(ask('/api').kind, 'fail', 'a backend that goes')
  change([service('other/api')])
  t.equal(ask('/api').kind, 'forward', 'a backend that comes')
  change([], ['reference-grant:other/g'])
  t.equal(ask('/api').kind, 'fail', 'a grant that goes')
  change([service('shop/web', { endpoints: { '80': [endpoint('10.0.0.7'), endpoint('10.0.0.8')] } })])
  const moved = ask('/v2')
  t.equal(moved.kind === 'forward' && moved.endpoints.length, 2, 'endpoints of the backend')
  change([], ['http-route:shop/r'])
  t.match(ask('/v2'), { kind: 'forward', route: undefined }, 'the route')
  change([route('shop/r', [rule({ name: 'again' })])])
  t.equal(ruleOf(ask('/v2')), 'again')
  change([service('shop/web', { ports: [{ name: 'web', port: 80, protocol: 'http' }] })])
  change([
    route('shop/r', [rule()], { parents: [{ service: { namespace: 'shop', name: 'web' }, sectionName: 'http' }] }),
  ])
  t.match(ask('/'), { route: undefined }, 'a section that is not there')
  change([service('shop/web')])
  t.match(ask('/'), { route: 'shop/r' }, 'a port that is renamed to it')
  change([route('shop/always', [named('always', match('PathPrefix /'))], { createdAt: '2026-02-01T00:00:00Z' })])
  t.match(ask('/'), { route: 'shop/r' })
  change([service('shop/web', { ports: [{ name: 'web', port: 80, protocol: 'http' }] })])
  t.match(ask('/'), { route: 'shop/always' }, 'a port renamed while another route stays bound')
})

t.test('a caller with older objects gets the answer of the snapshot it asks', async (t) => {
  const world = worldOf(service('shop/web'))
  const old = calling(world.snapshot)
  const now = world.apply({
    version: 2,
    reset: false,
    upsert: [service('shop/web', { endpoints: { '80': [endpoint('10.0.0.7')] } }), route('shop/r', [rule()])],
    remove: [],
  })
  const decision = decideRoute(now, old, facts(), 0)
  t.match(decision, { route: 'shop/r', endpoints: [{ address: '10.0.0.7' }] })
  t.equal(decideRoute(now, calling(now), facts(), 0), decision)
  const gone = world.apply({ version: 3, reset: false, upsert: [], remove: ['service:shop/web'] })
  t.match(decideRoute(gone, old, facts(), 0), { kind: 'fail', refusal: 'invalidRoute' })
})
