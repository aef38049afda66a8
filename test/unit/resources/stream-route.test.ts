import t from 'tap'
import { parseObject } from '#resources'

const API = 'gateway.networking.k8s.io'
const parentRefs = [{ group: '', kind: 'Service', name: 'web', port: 443 }]
const rules = [{ backendRefs: [{ name: 'blue', port: 443 }] }]

function parse(kind: string, spec: object, version = 'v1') {
  return parseObject({ apiVersion: `${API}/${version}`, kind, metadata: { name: 'r', namespace: 'shop' }, spec })
}

function problemsOf(kind: string, spec: object, version = 'v1'): readonly string[] {
  const outcome = parse(kind, spec, version)
  return 'problems' in outcome ? outcome.problems.map(({ field, message }) => `${field}: ${message}`) : []
}

t.test('TLSRoutes and TCPRoutes of all versions that there are or were', async (t) => {
  for (const version of ['v1', 'v1alpha3', 'v1alpha2']) {
    t.match(parse('TLSRoute', { parentRefs, hostnames: ['*.example.com'], rules }, version), {
      kind: 'object',
      problems: [],
      object: { kind: 'TLSRoute', spec: { hostnames: ['*.example.com'], rules: [{ backendRefs: [{ weight: 1 }] }] } },
    })
  }
  for (const version of ['v1', 'v1alpha2']) {
    t.match(parse('TCPRoute', { parentRefs, rules }, version), { object: { kind: 'TCPRoute' }, problems: [] })
  }
  t.match(problemsOf('TCPRoute', { parentRefs, rules }, 'v1alpha3'), [
    /is not known for TCPRoute: use .*v1 or .*v1alpha2/,
  ])
  t.match(problemsOf('HTTPRoute', { parentRefs, rules: [] }, 'v1alpha2').join(), /is not known for HTTPRoute/)
})

t.test('what does not fit is told by its field, and the route resets until it is mended', async (t) => {
  const cases: readonly (readonly [string, object, RegExp])[] = [
    ['TLSRoute', { parentRefs, rules }, /^spec.hostnames: is missing; until it is mended all connections .* are reset/],
    ['TLSRoute', { parentRefs, hostnames: [], rules }, /^spec.hostnames: is an empty list/],
    ['TLSRoute', { parentRefs, hostnames: ['10.0.0.1'], rules }, /got the IP address 10.0.0.1/],
    ['TLSRoute', { parentRefs, hostnames: ['a.*.b'], rules }, /^spec.hostnames\[0\]: expected a host name/],
    [
      'TLSRoute',
      { parentRefs, hostnames: ['a.b'], rules: [...rules, ...rules] },
      /^spec.rules: has 2 items, at most 1/,
    ],
    ['TLSRoute', { parentRefs, hostnames: ['a.b'], rules: [{}] }, /^spec.rules\[0\].backendRefs: is missing/],
    ['TCPRoute', { parentRefs }, /^spec.rules: is missing/],
    [
      'TCPRoute',
      { parentRefs, rules, hostnames: ['a.b'] },
      /^spec.hostnames: is not supported here: .* a TLSRoute has them/,
    ],
    ['TCPRoute', { parentRefs, rules: [{ ...rules[0], matches: [] }] }, /connections have no path/],
    [
      'TCPRoute',
      { parentRefs, rules: [{ backendRefs: [{ name: 'b', filters: [] }] }] },
      /only requests can be filtered/,
    ],
    [
      'TCPRoute',
      { parentRefs, rules: [{ backendRefs: [{ name: 'b', weight: -1 }] }] },
      /weight: expected 0 to 1000000/,
    ],
  ]
  for (const [kind, spec, expected] of cases) {
    t.match(problemsOf(kind, spec)[0], expected)
    t.match(parse(kind, spec), { kind: 'object', object: { kind, invalid: String, parentRefs: [{ name: 'web' }] } })
  }
})
