/** GRPCRoutes from their YAML to the decision: what they match, which match wins, and what they do to HTTPRoutes. */
import t from 'tap'
import { decideRoute, explainRoute } from '#routing'
import { compile, manifest } from '../mesh/compile-samples.ts'
import { type FactsInput, facts, snapshotOf, workload } from './mesh-fixture.ts'

const GATEWAY = 'gateway.networking.k8s.io/v1'
const SERVICES = ['web', 'a', 'b'].map((name) =>
  manifest('v1', 'Service', name, 'spec: { ports: [{ name: grpc, port: 80 }, { name: more, port: 81 }] }'),
)

interface RouteSpec {
  readonly kind?: string
  readonly name?: string
  readonly namespace?: string
  readonly parent?: string
}

/** Rules, each as flow YAML without backends: each goes to `a` under its own name. */
function route(rules: readonly string[], spec: RouteSpec = {}): string {
  const { kind = 'GRPCRoute', name = 'r', namespace = 'shop', parent = '' } = spec
  const texts = rules.map((rule) => `{ ${rule}, backendRefs: [{ name: a, namespace: shop, port: 80 }] }`)
  const parents = `[{ group: "", kind: Service, name: web, namespace: shop ${parent} }]`
  return manifest(GATEWAY, kind, name, `spec: { parentRefs: ${parents}, rules: [${texts.join(', ')}] }`, namespace)
}

/** Lets routes of `other` refer to Services of `shop`. */
function grant(kind: string): string {
  const from = `[{ group: gateway.networking.k8s.io, kind: ${kind}, namespace: other }]`
  return manifest(GATEWAY, 'ReferenceGrant', 'g', `spec: { from: ${from}, to: [{ group: "", kind: Service }] }`)
}

function world(...routes: readonly string[]) {
  const { world, lines } = compile([...SERVICES, ...routes].join(''))
  t.strictSame(lines, [])
  return snapshotOf(...world.values(), workload('shop/client'), workload('other/client'))
}

/** Name of the rule that decides, or the refusal; with the route's name where it is not `r`. */
function decided(snapshot: ReturnType<typeof world>, path: string, more: FactsInput = {}, port = 80, from = 'shop') {
  const service = snapshot.service('shop/web')
  const servicePort = service?.ports.find((one) => one.port === port)
  if (service === undefined || servicePort === undefined) throw new Error('no Service')
  const request = { client: snapshot.workload(`${from}/client`), service, port: servicePort }
  const decision = decideRoute(snapshot, request, facts({ method: 'POST', path, ...more }), 0)
  const lines = explainRoute(snapshot, request, facts({ method: 'POST', path, ...more }), 0)
  if (decision.kind === 'fail') return { text: decision.refusal, lines }
  const name = decision.route === 'shop/r' || decision.route === undefined ? '' : `${decision.route} `
  return { text: `${name}${decision.rule ?? 'no route'}`, lines }
}

t.test('Services and methods match exactly and with case, by expression, or any', async (t) => {
  const snapshot = world(
    route([
      'name: method, matches: [{ method: { service: shop.v1.Carts, method: Get } }]',
      'name: service, matches: [{ method: { service: shop.v1.Carts } }]',
      'name: any-service, matches: [{ method: { method: Check } }]',
      'name: expression, matches: [{ method: { type: RegularExpression, service: "shop[.]v[23].*", method: "Get|List" } }]',
      'name: any-service-expression, matches: [{ method: { type: RegularExpression, method: "Watch.*" } }]',
      'name: service-expression, matches: [{ method: { type: RegularExpression, service: "old[.].*" } }]',
    ]),
  )
  const cases = {
    '/shop.v1.Carts/Get': 'method',
    '/shop.v1.Carts/List': 'service',
    '/shop.v1.Carts/get': 'service',
    '/shop.v1.carts/Get': 'noRoute',
    '/shop.v1.CartsMore/Get': 'noRoute',
    '/shop.v1/Get': 'noRoute',
    '/grpc.health.v1.Health/Check': 'any-service',
    '/grpc.health.v1.Health/Checks': 'noRoute',
    '/a/b/Check': 'noRoute',
    '/shop.v2.Carts/Get': 'expression',
    '/shop.v3.Carts/List': 'expression',
    '/shop.v4.Carts/List': 'noRoute',
    '/shop.v2.Carts/Delete': 'noRoute',
    '/other.Thing/WatchAll': 'any-service-expression',
    '/old.Thing/Get': 'service-expression',
    '/older.Thing/Get': 'noRoute',
  }
  for (const [path, name] of Object.entries(cases)) t.equal(decided(snapshot, path).text, name, path)
})

t.test(
  'The longer service wins, then the longer method, then more headers, then the older and the first',
  async (t) => {
    const header = (count: number) =>
      `headers: [${Array.from({ length: count }, (_, i) => `{ name: h${i}, value: x }`).join(', ')}]`
    const all = { headers: { h0: 'x', h1: 'x' } }
    const snapshot = world(
      route([
        `name: everything, matches: [{ ${header(2)} }]`,
        `name: any-service, matches: [{ method: { method: List }, ${header(2)} }]`,
        `name: service, matches: [{ method: { service: a.B }, ${header(1)} }]`,
        `name: method, matches: [{ method: { service: a.B, method: Get } }]`,
        `name: method-header, matches: [{ method: { service: a.B, method: Get }, ${header(1)} }]`,
        `name: method-header-later, matches: [{ method: { service: a.B, method: Get }, ${header(1)} }]`,
      ]),
      route(['name: nothing'], { name: 's' }),
    )
    t.equal(decided(snapshot, '/a.B/Get').text, 'method')
    t.equal(decided(snapshot, '/a.B/Get', all).text, 'method-header', 'of equals the first rule')
    t.equal(decided(snapshot, '/a.B/List', all).text, 'service', 'a service before a method of any service')
    t.equal(decided(snapshot, '/a.C/List', all).text, 'any-service', 'a method of any service before everything')
    t.equal(decided(snapshot, '/a.C/Get', all).text, 'everything')
    t.equal(decided(snapshot, '/a.C/Get').text, 'shop/s nothing')
  },
)

t.test('Headers match exactly or by expression, without regard to the case of their names', async (t) => {
  const snapshot = world(
    route([
      'name: both, matches: [{ headers: [{ name: X-Version, value: "2" }, { name: x-user, type: RegularExpression, value: "a.*" }] }]',
      'name: first, matches: [{ headers: [{ name: Version, value: one }, { name: version, value: two }] }]',
    ]),
  )
  t.equal(decided(snapshot, '/a.B/C', { headers: { 'x-version': '2', 'x-user': 'ab' } }).text, 'both')
  t.equal(decided(snapshot, '/a.B/C', { headers: { 'x-version': '2', 'x-user': 'b' } }).text, 'noRoute')
  t.equal(decided(snapshot, '/a.B/C', { headers: { version: 'one' } }).text, 'first', 'of equal names the first counts')
})

t.test(
  'On a port with a GRPCRoute HTTPRoutes do not apply; on other ports and for other namespaces they do',
  async (t) => {
    const http = { kind: 'HTTPRoute', name: 'h' }
    const snapshot = world(
      route(['name: grpc, matches: [{ method: { service: a.B } }]'], { parent: ', port: 80' }),
      route(['name: http'], http),
      route(['name: consumer'], { ...http, namespace: 'other' }),
      grant('HTTPRoute'),
    )
    t.equal(decided(snapshot, '/a.B/C').text, 'grpc')
    const { text, lines } = decided(snapshot, '/')
    t.equal(text, 'noRoute', 'no merging of the two kinds')
    t.ok(lines.some((line) => line.startsWith('HTTPRoute shop/h does not apply: a GRPCRoute binds this port')))
    t.match(lines.at(-1), /no rule of the producer GRPCRoutes matches \(shop\/r\)/)
    t.equal(decided(snapshot, '/', {}, 81).text, 'shop/h http')
    t.equal(decided(snapshot, '/', {}, 80, 'other').text, 'other/h consumer', 'consumers judge for themselves')
  },
)

t.test('An HTTPRoute and a GRPCRoute of one name are two routes', async (t) => {
  const snapshot = world(
    route(['name: grpc'], { parent: ', port: 80' }),
    route(['name: http'], { kind: 'HTTPRoute', parent: ', port: 81' }),
  )
  t.same([decided(snapshot, '/').text, decided(snapshot, '/', {}, 81).text], ['grpc', 'http'])
  t.equal([...snapshot.routes()].length, 2)
})

t.test('A ReferenceGrant for HTTPRoutes is none for GRPCRoutes', async (t) => {
  const consumer = route(['name: consumer'], { namespace: 'other' })
  const asked = (kind: string) => decided(world(consumer, grant(kind)), '/a.B/C', {}, 80, 'other').text
  t.equal(asked('HTTPRoute'), 'invalidRoute')
  t.equal(asked('GRPCRoute'), 'other/r consumer')
})

t.test(
  'A GRPCRoute that does not validate refuses what it binds, and an HTTPRoute does not take its place',
  async (t) => {
    const { world: objects } = compile(
      [...SERVICES, route(['zzz: 1']), route(['name: http'], { kind: 'HTTPRoute', name: 'h' })].join(''),
    )
    const snapshot = snapshotOf(...objects.values(), workload('shop/client'))
    t.equal(decided(snapshot, '/a.B/C').text, 'invalidRoute')
  },
)
