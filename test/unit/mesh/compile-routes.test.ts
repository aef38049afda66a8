import t from 'tap'
import { compile, manifest } from './compile-samples.ts'

const GATEWAY = 'gateway.networking.k8s.io/v1'
const PARENT = 'parentRefs: [{ group: "", kind: Service, name: web, port: 80 }]'

function route(rules: string, more = PARENT): string {
  return manifest(GATEWAY, 'HTTPRoute', 'web', `spec: { ${more}, rules: ${rules} }`)
}

t.test('A route is compiled with all defaults filled in', (t) => {
  const { get, lines } = compile(
    route('[{ backendRefs: [{ name: web, port: 8080 }, { name: canary, namespace: lab, port: 80, weight: 0 }] }]'),
  )
  t.strictSame(get('http-route', 'web'), {
    kind: 'http-route',
    namespace: 'shop',
    name: 'web',
    createdAt: '',
    parents: [{ service: { namespace: 'shop', name: 'web' }, port: 80 }],
    hostnames: [],
    rules: [
      {
        matches: [{ path: { type: 'PathPrefix', value: '/' }, headers: [], query: [] }],
        filters: [],
        backends: [
          { weight: 1, filters: [], service: { namespace: 'shop', name: 'web', port: 8080 } },
          { weight: 0, filters: [], service: { namespace: 'lab', name: 'canary', port: 80 } },
        ],
      },
    ],
  })
  t.strictSame(lines, [])
  t.end()
})

t.test('Matches, filters and timeouts are carried over', (t) => {
  const rule = `
- name: main
  matches:
  - path: { type: Exact, value: /a }
    method: POST
    headers: [{ name: X-A, value: "1" }, { name: x-a, value: "2" }, { name: b, type: RegularExpression, value: "x.*" }]
    queryParams: [{ name: q, value: v }, { name: Q, value: w }]
  filters:
  - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: A, value: b }], remove: [C] } }
  - { type: RequestRedirect, requestRedirect: { scheme: https, path: { type: ReplaceFullPath, replaceFullPath: /x } } }
  timeouts: { request: 1m, backendRequest: 500ms }
- filters: [{ type: URLRewrite, urlRewrite: { hostname: a.b, path: { type: ReplacePrefixMatch, replacePrefixMatch: "" } } }]
  timeouts: { request: 0s }`
  const text = manifest(GATEWAY, 'HTTPRoute', 'web', `spec:\n  ${PARENT}\n  rules:${rule.replaceAll('\n', '\n  ')}`)
  const found = compile(text).get('http-route', 'web')
  t.strictSame(found?.kind === 'http-route' && found.rules, [
    {
      name: 'main',
      matches: [
        {
          path: { type: 'Exact', value: '/a' },
          method: 'POST',
          headers: [
            { name: 'x-a', match: { type: 'Exact', value: '1' } },
            { name: 'b', match: { type: 'RegularExpression', value: 'x.*' } },
          ],
          query: [
            { name: 'q', match: { type: 'Exact', value: 'v' } },
            { name: 'Q', match: { type: 'Exact', value: 'w' } },
          ],
        },
      ],
      filters: [
        { type: 'RequestHeaderModifier', edit: { set: [{ name: 'A', value: 'b' }], add: [], remove: ['C'] } },
        { type: 'RequestRedirect', scheme: 'https', path: { type: 'ReplaceFullPath', value: '/x' }, statusCode: 302 },
      ],
      backends: [],
      requestTimeoutMs: 60_000,
      backendRequestTimeoutMs: 500,
    },
    {
      matches: [{ path: { type: 'PathPrefix', value: '/' }, headers: [], query: [] }],
      filters: [{ type: 'URLRewrite', hostname: 'a.b', path: { type: 'ReplacePrefixMatch', value: '' } }],
      backends: [],
    },
  ])
  t.end()
})

t.test('A route of gateways only is not of the mesh', (t) => {
  t.equal(compile(route('[{}]', 'parentRefs: [{ name: gateway }]')).world.size, 0)
  t.end()
})

t.test('A backend that can never work is told, and refuses its share only', (t) => {
  const { get, lines } = compile(
    route(
      '[{ backendRefs: [{ name: web }, { group: x.io, kind: Bucket, name: b, port: 1 }, { name: web, port: 80 }] }]',
    ),
  )
  const at = 'spec.rules[0].backendRefs'
  t.strictSame(lines, [
    `HTTPRoute shop/web: ${at}[0]: needs a port: a Service backend is a name and a port; its share of requests gets 500`,
    `HTTPRoute shop/web: ${at}[1]: x.io/Bucket b is no backend: only Services are; its share of requests gets 500`,
  ])
  t.match(get('http-route', 'web'), {
    rules: [{ backends: [{ invalid: /^spec.rules/ }, { invalid: /Bucket/ }, { weight: 1 }] }],
  })
  const found = get('http-route', 'web')
  t.notOk(
    found?.kind !== 'http-route' || found.invalid !== undefined || found.rules[0]?.backends[2]?.invalid !== undefined,
  )
  t.end()
})

t.test('An invalid route refuses all requests to its parents', (t) => {
  t.match(compile(route('[{ zzz: 1 }]')).get('http-route', 'web'), {
    parents: [{ service: { namespace: 'shop', name: 'web' }, port: 80 }],
    rules: [{ matches: [{ path: { value: '/' } }], backends: [] }],
    invalid: 'spec.rules[0].zzz: unknown field',
  })
  t.end()
})

t.test('A grant lets in what the Gateway API’s routes refer to in the core group', (t) => {
  const spec =
    'spec: { from: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: web }, { group: x, kind: HTTPRoute, namespace: bad }], to: [{ group: "", kind: Service, name: a }, { group: "", kind: Service }, { group: x, kind: Service }] }'
  t.strictSame(compile(manifest(GATEWAY, 'ReferenceGrant', 'g', spec)).get('reference-grant', 'g'), {
    kind: 'reference-grant',
    namespace: 'shop',
    name: 'g',
    from: [{ kind: 'HTTPRoute', namespace: 'web' }],
    to: [{ kind: 'Service', name: 'a' }, { kind: 'Service' }],
  })
  t.end()
})
