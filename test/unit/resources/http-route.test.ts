import t from 'tap'
import { isInvalid } from '#resources'
import { objectOf, problemsOf, route } from './samples.ts'

const RULE = 'HTTPRoute shop/web: spec.rules[0]'

t.test('A route gets the defaults of the specification', (t) => {
  for (const version of ['gateway.networking.k8s.io/v1', 'gateway.networking.k8s.io/v1beta1']) {
    t.strictSame(problemsOf(route('rules: [{ backendRefs: [{ name: web, port: 80 }] }]', version)), [])
  }
  t.match(
    objectOf(
      route('rules: [{ matches: [{ headers: [{ name: X, value: a }] }], backendRefs: [{ name: web, port: 80 }] }]'),
    ),
    {
      spec: {
        rules: [
          {
            matches: [{ path: { type: 'PathPrefix', value: '/' }, headers: [{ type: 'Exact' }] }],
            filters: [],
            backendRefs: [{ group: '', kind: 'Service', weight: 1 }],
          },
        ],
      },
    },
  )
  t.match(objectOf(route('hostnames: []')), {
    spec: { rules: [{ matches: [{ path: { value: '/' } }], backendRefs: [] }] },
  })
  t.match(objectOf(route('rules: [{ matches: [] }]')), { spec: { rules: [{ matches: [{ path: { value: '/' } }] }] } })
  t.end()
})

t.test('A CORS filter is checked as the API server would', (t) => {
  const cors = (text: string) => problemsOf(route(`rules: [{ filters: [{ type: CORS, cors: ${text} }] }]`))
  const C = `${RULE}.filters[0].cors`
  t.strictSame(cors('{ allowOrigins: ["*"], allowMethods: ["*"], allowHeaders: ["*"], exposeHeaders: ["*"] }'), [])
  t.strictSame(cors('{ allowOrigins: ["https://*.a.b:8080", "http://a"], allowCredentials: true, maxAge: 1 }'), [])
  for (const origin of ['a.b', 'ftp://a', 'https://a/', 'https://a.*', 'https://', 'null'])
    t.match(cors(`{ allowOrigins: ["${origin}"] }`), [`${C}.allowOrigins[0]: expected * or an origin such as`], origin)
  t.strictSame(cors('{ allowOrigins: ["*", "http://a"] }'), [
    `${C}.allowOrigins: * cannot stand beside others: remove one or the other`,
  ])
  t.match(cors('{ allowMethods: [get] }'), [`${C}.allowMethods[0]: expected GET`])
  t.match(cors('{ maxAge: 0 }'), [`${C}.maxAge: expected 1 to`])
  const both = 'rules: [{ filters: [{ type: CORS, cors: {} }, { type: RequestRedirect, requestRedirect: {} }] }]'
  t.strictSame(problemsOf(route(both)), [
    `${RULE}.filters: RequestRedirect and CORS cannot be combined: keep one of them`,
  ])
  t.end()
})

t.test('A mistake is told with its exact field', (t) => {
  const match = (text: string): string => `rules: [{ matches: [${text}] }]`
  const path = (value: string, type = 'PathPrefix'): string =>
    match(`{ path: { type: ${type}, value: ${JSON.stringify(value)} } }`)
  const filter = (text: string): string => `rules: [{ filters: [${text}] }]`
  const P = `${RULE}.matches[0].path.value`
  const F = `${RULE}.filters[0]`
  const cases: [string, string][] = [
    ['rules: [{ matchs: [] }]', `${RULE}.matchs: unknown field; did you mean matches?`],
    ['rules: [{ timeout: 1s }]', `${RULE}.timeout: unknown field; did you mean timeouts?`],
    ['rules: [{ zzz: 1 }]', `${RULE}.zzz: unknown field`],
    ['rules: [{ retry: { codes: [200] } }]', `${RULE}.retry.codes[0]: expected 400 to 599, got 200`],
    ['rules: [{ retry: { backoff: 5 } }]', `${RULE}.retry.backoff: expected a string, got number; put it in quotes`],
    [
      'rules: [{ sessionPersistence: { cookieConfig: { lifetimeType: Permanent } } }]',
      `${RULE}.sessionPersistence.absoluteTimeout: is missing: a Permanent cookie needs it`,
    ],
    [
      'rules: [{ sessionPersistence: { sessionName: "a b" } }]',
      `${RULE}.sessionPersistence.sessionName: expected the name of a cookie or a header, up to 128 characters, got "a b"`,
    ],
    [
      'rules: [{ sessionPersistence: { type: Header, sessionName: Cookie } }]',
      `${RULE}.sessionPersistence.sessionName: header Cookie means something else: choose another`,
    ],
    [
      'rules: [{ sessionPersistence: { idleTimeout: 0s } }]',
      `${RULE}.sessionPersistence.idleTimeout: expected a time above 0, got 0s`,
    ],
    [path('web'), `${P}: a path begins with /, got "web"`],
    [path('/a//b'), `${P}: a path to match cannot contain //, got "/a//b"`],
    [path('/a/../b'), `${P}: a path to match cannot contain /../, got "/a/../b"`],
    [path('/a/..'), `${P}: a path to match cannot end in /.., got "/a/.."`],
    [path('/a%2fb'), `${P}: a path to match cannot contain %2f, got "/a%2fb"`],
    [path('/a b', 'Exact'), `${P}: contains a character that no path has unencoded, got "/a b"`],
    [path('/(', 'RegularExpression'), `${P}: the regular expression "/(" does not compile: Unterminated group`],
    [path('/a)(?:b', 'RegularExpression'), `${P}: the regular expression "/a)(?:b" does not compile: Unmatched ')'`],
    [path('/'.padEnd(1025, 'a')), `${P}: has 1025 characters, at most 1024 are allowed`],
    [
      path('/', 'Prefix'),
      `${RULE}.matches[0].path.type: expected Exact, PathPrefix or RegularExpression, got "Prefix"`,
    ],
    [
      match('{ method: get }'),
      `${RULE}.matches[0].method: expected GET, HEAD, POST, PUT, DELETE, CONNECT, OPTIONS, TRACE or PATCH, got "get" (did you mean GET?)`,
    ],
    [
      match('{ headers: [{ name: "a b", value: x }] }'),
      `${RULE}.matches[0].headers[0].name: expected a header name (RFC 9110 token), got "a b"`,
    ],
    [
      match('{ headers: [{ name: a, value: 1 }] }'),
      `${RULE}.matches[0].headers[0].value: expected a string, got number; put it in quotes`,
    ],
    [match('{ queryParams: [{ name: a }] }'), `${RULE}.matches[0].queryParams[0].value: is missing`],
    [
      'rules: [{ backendRefs: [{ name: web, port: 80, weight: 1000001 }] }]',
      `${RULE}.backendRefs[0].weight: expected 0 to 1000000, got 1000001`,
    ],
    [
      'rules: [{ backendRefs: [{ name: web, port: 80, weight: -1 }] }]',
      `${RULE}.backendRefs[0].weight: expected 0 to 1000000, got -1`,
    ],
    ['rules: [{ backendRefs: [{ name: web, port: 0 }] }]', `${RULE}.backendRefs[0].port: expected 1 to 65535, got 0`],
    [
      'rules: [{ timeouts: { request: 10 } }]',
      `${RULE}.timeouts.request: expected a string, got number; put it in quotes`,
    ],
    [
      'rules: [{ timeouts: { request: 1.5s } }]',
      `${RULE}.timeouts.request: expected a duration such as 500ms, 10s or 1m30s, got "1.5s"`,
    ],
    [
      'rules: [{ timeouts: { request: 1s, backendRequest: 1500ms } }]',
      `${RULE}.timeouts.backendRequest: 1500ms is longer than timeouts.request (1s): it may not be`,
    ],
    [
      filter('{ type: ExternalAuth, externalAuth: {} }'),
      `${F}.type: ExternalAuth is not supported: supported are RequestMirror, RequestHeaderModifier, ResponseHeaderModifier, RequestRedirect, URLRewrite, CORS`,
    ],
    [filter('{ type: RequestMirror, requestMirror: {} }'), `${F}.requestMirror.backendRef: is missing`],
    [
      filter(
        '{ type: RequestMirror, requestMirror: { backendRef: { name: a, port: 80 }, percent: 1, fraction: { numerator: 1 } } }',
      ),
      `${F}.requestMirror: percent and fraction cannot be combined: keep one of them`,
    ],
    [
      filter(
        '{ type: RequestMirror, requestMirror: { backendRef: { name: a, port: 80 }, fraction: { numerator: 101 } } }',
      ),
      `${F}.requestMirror.fraction: numerator 101 is above denominator 100`,
    ],
    [filter('{ type: URLRewrite }'), `${F}.urlRewrite: is required by type URLRewrite`],
    [
      filter('{ type: URLRewrite, urlRewrite: {}, requestRedirect: {} }'),
      `${F}.requestRedirect: belongs to type RequestRedirect, but type is URLRewrite`,
    ],
    [
      filter(
        '{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: Transfer-Encoding, value: x }] } }',
      ),
      `${F}.requestHeaderModifier.set[0].name: Transfer-Encoding frames the message and cannot be edited`,
    ],
    [
      filter(
        '{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: X-Forwarded-Client-Cert, value: x }] } }',
      ),
      `${F}.requestHeaderModifier.set[0].name: X-Forwarded-Client-Cert belongs to the mesh and cannot be edited`,
    ],
    [
      filter('{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: "x\\r\\nb: c" }] } }'),
      `${F}.requestHeaderModifier.set[0].value: contains a control character or one beyond Latin-1, which no header value can carry`,
    ],
    [
      filter('{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: x }], remove: [A] } }'),
      `${F}.requestHeaderModifier.remove[0]: A is already edited by set[0].name: one action for each header`,
    ],
    [
      filter('{ type: RequestRedirect, requestRedirect: { hostname: 10.0.0.1 } }'),
      `${F}.requestRedirect.hostname: expected a host name, got the IP address 10.0.0.1`,
    ],
    [
      filter('{ type: RequestRedirect, requestRedirect: { statusCode: 304 } }'),
      `${F}.requestRedirect.statusCode: expected 301, 302, 303, 307 or 308, got 304`,
    ],
    [
      filter('{ type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replacePrefixMatch: /x } } }'),
      `${F}.urlRewrite.path.replaceFullPath: is required by type ReplaceFullPath`,
    ],
    [
      filter('{ type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: x } } }'),
      `${F}.urlRewrite.path.replaceFullPath: expected a path that begins with /, got "x"`,
    ],
    [
      'rules: [{ matches: [{ path: { type: Exact, value: /a } }], filters: [{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: /x } } }] }]',
      `${F}.urlRewrite.path.type: ReplacePrefixMatch needs a rule with exactly one match, of path type PathPrefix`,
    ],
    [
      filter('{ type: URLRewrite, urlRewrite: {} }, { type: URLRewrite, urlRewrite: {} }'),
      `${RULE}.filters[1].type: URLRewrite is already used: once in a list`,
    ],
    [
      filter('{ type: URLRewrite, urlRewrite: {} }, { type: RequestRedirect, requestRedirect: {} }'),
      `${RULE}.filters: RequestRedirect and URLRewrite cannot be combined: keep one of them`,
    ],
    [
      'rules: [{ filters: [{ type: RequestRedirect, requestRedirect: {} }], backendRefs: [{ name: web, port: 80 }] }]',
      `${F}: RequestRedirect cannot stand beside backendRefs: remove one of them`,
    ],
    ['hostnames: ["*"]', 'HTTPRoute shop/web: spec.hostnames[0]: expected a host name, got "*"'],
    ['rules: []', 'HTTPRoute shop/web: spec.rules: is an empty list: fill it or remove the field'],
    ['rules: [{ name: a }, { name: a }]', 'HTTPRoute shop/web: spec.rules[1].name: a is already the name of rules[0]'],
    [`rules: [${'{},'.repeat(17)}]`, 'HTTPRoute shop/web: spec.rules: has 17 items, at most 16 are allowed'],
    [`rules: [{ matches: [${'{},'.repeat(65)}] }]`, `${RULE}.matches: has 65 items, at most 64 are allowed`],
    [
      `rules: [${`{ matches: [${'{},'.repeat(43)}] },`.repeat(3)}]`,
      'HTTPRoute shop/web: spec.rules: have 129 matches together, at most 128 are allowed',
    ],
    [
      `rules: [{ backendRefs: [${'{ name: w, port: 1 },'.repeat(17)}] }]`,
      `${RULE}.backendRefs: has 17 items, at most 16 are allowed`,
    ],
  ]
  for (const [spec, expected] of cases) {
    const problems = problemsOf(route(spec))
    t.equal(problems[0], expected, spec.slice(0, 100))
  }
  t.end()
})

t.test('A route that does not validate is passed on as one that refuses, with its parents', (t) => {
  const object = objectOf(route('rules: [{ zzz: 1 }]'))
  t.ok(isInvalid(object))
  t.match(object, { invalid: 'spec.rules[0].zzz: unknown field', parentRefs: [{ kind: 'Service', name: 'web' }] })
  t.end()
})

t.test('A Service parent outside the core group is told, as the group defaults to that of gateways', (t) => {
  const text = route('rules: [{}]').replace('group: "", ', '')
  t.strictSame(problemsOf(text), [
    'HTTPRoute shop/web: spec.parentRefs[0].group: a Service parent is in the core group: write group: ""',
  ])
  t.end()
})

t.test('Prefix replacement is fine beside exactly one prefix match', (t) => {
  const rewrite = '{ type: URLRewrite, urlRewrite: { path: { type: ReplacePrefixMatch, replacePrefixMatch: "" } } }'
  t.strictSame(problemsOf(route(`rules: [{ filters: [${rewrite}] }]`)), [])
  t.strictSame(problemsOf(route(`rules: [{ matches: [{ path: { value: /a } }], filters: [${rewrite}] }]`)), [])
  t.end()
})

t.test('A zero request timeout bounds nothing', (t) => {
  t.strictSame(problemsOf(route('rules: [{ timeouts: { request: 0s, backendRequest: 5s } }]')), [])
  t.end()
})

t.test('A ReferenceGrant names its fields, and is rejected when it does not validate', (t) => {
  const grant = (to: string): string =>
    `apiVersion: gateway.networking.k8s.io/v1beta1\nkind: ReferenceGrant\nmetadata: { name: g, namespace: shop }\nspec: { from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: web }], to: ${to} }`
  t.strictSame(problemsOf(grant('[{ group: "", kind: Service }]')), [])
  t.strictSame(problemsOf(grant('[{ group: "", knd: Service }]')), [
    'ReferenceGrant shop/g: spec.to[0].kind: is missing',
    'ReferenceGrant shop/g: spec.to[0].knd: unknown field; did you mean kind?',
  ])
  t.end()
})
