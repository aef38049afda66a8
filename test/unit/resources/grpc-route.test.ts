import t from 'tap'
import { isInvalid } from '#resources'
import { objectOf, problemsOf } from './samples.ts'

const RULE = 'GRPCRoute shop/web: spec.rules[0]'

function route(spec: string): string {
  const parents = 'parentRefs: [{ group: "", kind: Service, name: web }]'
  return `apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: { name: web, namespace: shop }\nspec: { ${parents}, ${spec} }`
}

t.test('A route gets the defaults of the specification', (t) => {
  const full = `rules: [{ name: one, matches: [{ method: { service: shop.v1.Carts }, headers: [{ name: v, value: "2" }] }],
    filters: [{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: a, value: b }] } }],
    backendRefs: [{ name: web, port: 80 }] }]`
  t.strictSame(problemsOf(route(full)), [])
  t.match(objectOf(route(full)), {
    kind: 'GRPCRoute',
    spec: {
      rules: [
        {
          matches: [{ method: { type: 'Exact', service: 'shop.v1.Carts' }, headers: [{ type: 'Exact' }] }],
          backendRefs: [{ group: '', kind: 'Service', weight: 1, filters: [] }],
        },
      ],
    },
  })
  for (const text of ['rules: [{}]', 'rules: [{ matches: [] }]', 'hostnames: []'])
    t.match(objectOf(route(text)), { spec: { rules: [{ matches: [{ headers: [] }] }] } }, text)
  t.end()
})

t.test('A mistake is told with its exact field, and the route refuses', (t) => {
  const method = (text: string) => `rules: [{ matches: [{ method: ${text} }] }]`
  const M = `${RULE}.matches[0].method`
  const cases: readonly (readonly [string, string])[] = [
    ['rules: [{ matchs: [] }]', `${RULE}.matchs: unknown field; did you mean matches?`],
    [method('{}'), `${M}: names neither service nor method: fill one of them or remove the field`],
    [
      method('{ type: RegularExpression, service: "" }'),
      `${M}: names neither service nor method: fill one of them or remove the field`,
    ],
    [method('{ service: a/b }'), `${M}.service: expected the name of a gRPC service such as shop.v1.Carts, got "a/b"`],
    [method('{ method: a.b }'), `${M}.method: expected the name of a gRPC method such as GetCart, got "a.b"`],
    [
      method('{ type: RegularExpression, method: "(" }'),
      `${M}.method: the regular expression "(" does not compile: Unterminated group`,
    ],
    [method('{ type: Prefix, method: a }'), `${M}.type: expected Exact or RegularExpression, got "Prefix"`],
    [
      'rules: [{ timeouts: { request: 1s } }]',
      `${RULE}.timeouts: is no field of a GRPCRoute: the caller says it (grpc-timeout)`,
    ],
    ['rules: [{ retry: {} }]', `${RULE}.retry: is no field of a GRPCRoute: say it in a TrafficPolicy`],
    [
      'rules: [{ filters: [{ type: URLRewrite, urlRewrite: { hostname: a } }] }]',
      `${RULE}.filters[0].type: URLRewrite is no filter of a GRPCRoute: remove it`,
    ],
    [
      'rules: [{ backendRefs: [{ name: web, port: 80, filters: [{ type: RequestRedirect, requestRedirect: {} }] }] }]',
      `${RULE}.backendRefs[0].filters[0].type: RequestRedirect is no filter of a GRPCRoute: remove it`,
    ],
    ['rules: [{ name: a }, { name: a }]', 'GRPCRoute shop/web: spec.rules[1].name: a is already the name of rules[0]'],
  ]
  for (const [text, line] of cases) {
    t.strictSame(problemsOf(route(text)), [line], text)
    const object = objectOf(route(text))
    t.ok(object !== undefined && isInvalid(object), text)
    t.match(object, { kind: 'GRPCRoute', parentRefs: [{ name: 'web' }] })
  }
  t.end()
})
