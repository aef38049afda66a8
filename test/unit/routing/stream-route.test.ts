import fc from 'fast-check'
import t from 'tap'
import type { MeshObject, ServerName, StreamRoute } from '#contract'
import { decideStream, streamRoutesOf } from '#routing'
import { service, snapshotOf, workload } from './mesh-fixture.ts'

const PORT = { name: 'tls', port: 443, protocol: 'tls' } as const
const at443 = (name: string) => service(name, { ports: [PORT], endpoints: { '443': [] } })
const SERVICES = ['shop/web', 'shop/blue', 'shop/green', 'away/far'].map(at443)
const web = at443('shop/web')

function route(kind: StreamRoute['kind'], nsName: string, more: Partial<StreamRoute> = {}): StreamRoute {
  const [namespace = '', name = ''] = nsName.split('/')
  const parents = [{ service: { namespace: 'shop', name: 'web' } }]
  return { kind, namespace, name, createdAt: '', parents, hostnames: [], rules: [to('shop/blue')], ...more }
}

function to(nsName: string, weight = 1, more: object = {}): StreamRoute['rules'][number] {
  return { backends: [backend(nsName, weight, more)] }
}

function backend(nsName: string, weight = 1, more: object = {}) {
  const [namespace = '', name = ''] = nsName.split('/')
  return { weight, service: { namespace, name, port: 443 }, ...more }
}

const tls = (name: string, hostnames: readonly string[], target: string, more: Partial<StreamRoute> = {}) =>
  route('tls-route', name, { hostnames, rules: [to(target)], ...more })

/** `namespace/name` of the Service, or why not; undefined without a route. */
function decide(objects: readonly MeshObject[], serverName: ServerName, random = 0, from?: string) {
  const snapshot = snapshotOf(...SERVICES, ...objects)
  const client = from === undefined ? undefined : workload(from)
  const found = decideStream(streamRoutesOf(snapshot, { client, service: web, port: PORT }), serverName, random)
  if (found === undefined) return undefined
  return found.kind === 'forward' ? `${found.service.namespace}/${found.service.name}` : `no: ${found.why}`
}

t.test('the most specific name decides: exact, then the longer wildcard, whatever the order', async (t) => {
  const routes = [
    tls('shop/a', ['*.example.com'], 'shop/blue'),
    tls('shop/b', ['*.api.example.com', 'www.example.com'], 'shop/green'),
    tls('shop/c', ['v1.api.example.com'], 'shop/web'),
  ]
  for (const order of [routes, routes.toReversed()]) {
    t.equal(decide(order, 'v1.api.example.com'), 'shop/web')
    t.equal(decide(order, 'v2.api.example.com'), 'shop/green')
    t.equal(decide(order, 'a.b.api.example.com'), 'shop/green', 'a wildcard stands for any number of labels')
    t.equal(decide(order, 'www.example.com'), 'shop/green')
    t.equal(decide(order, 'shop.example.com'), 'shop/blue')
    t.match(
      decide(order, 'example.com'),
      /^no: no TLSRoute matches .*no hostname is example.com/,
      'and for one at least',
    )
    t.match(decide(order, 'badexample.com'), /^no: /)
  }
})

t.test('of equal names the oldest route’s counts', async (t) => {
  const young = tls('shop/a', ['x.example'], 'shop/blue', { createdAt: '2026-02-01T00:00:00Z' })
  const old = tls('shop/b', ['x.example'], 'shop/green', { createdAt: '2026-01-01T00:00:00Z' })
  t.equal(decide([young, old], 'x.example'), 'shop/green')
})

t.test('no name, an uncertain name and no TLS at all match no TLSRoute', async (t) => {
  const routes = [tls('shop/a', ['x.example'], 'shop/blue')]
  t.match(decide(routes, ''), /the client names no server/)
  t.match(decide(routes, null), /cannot be told/)
  t.match(decide(routes, undefined), /is no TLS/)
  const both = [...routes, route('tcp-route', 'shop/t', { rules: [to('shop/green')] })]
  t.equal(decide(both, undefined), 'shop/green', 'a TCPRoute decides what is no TLS')
  t.equal(decide(both, 'x.example'), 'shop/blue')
  t.match(decide(both, 'y.example'), /^no: /, 'and nothing else')
  t.equal(decide(both.slice(1), 'y.example'), 'shop/green', 'unless there is no TLSRoute')
  t.equal(decide([], 'x.example'), undefined)
})

t.test('connections are shared by weight, and the share of what cannot be reached fails', async (t) => {
  const rules = [{ backends: [backend('shop/blue', 3), backend('shop/none', 1), backend('shop/green', 0)] }]
  const routes = [route('tcp-route', 'shop/t', { rules })]
  t.equal(decide(routes, undefined, 0), 'shop/blue')
  t.equal(decide(routes, undefined, 0.749), 'shop/blue')
  t.equal(decide(routes, undefined, 0.75), 'no: backend Service shop/none does not exist')
  t.equal(decide(routes, undefined, 0.999), 'no: backend Service shop/none does not exist')
  const zero = [route('tcp-route', 'shop/t', { rules: [to('shop/blue', 0)] })]
  t.equal(decide(zero, undefined), 'no: all backends have weight 0')
  const odd = [route('tcp-route', 'shop/t', { rules: [to('shop/blue', 1, { invalid: 'is no Service' })] })]
  t.equal(decide(odd, undefined), 'no: is no Service')
  const broken = [route('tls-route', 'shop/t', { invalid: 'spec.rules: is missing', rules: [{ backends: [] }] })]
  t.match(decide(broken, 'x.example'), /the route is invalid: spec.rules: is missing/)
})

t.test('a share is as large as its weight', async () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 50 }), (one, other) => {
      const rules = [{ backends: [backend('shop/blue', one), backend('shop/green', other)] }]
      const snapshot = snapshotOf(...SERVICES, route('tcp-route', 'shop/t', { rules }))
      const routes = streamRoutesOf(snapshot, { client: undefined, service: web, port: PORT })
      const total = one + other
      let blue = 0
      for (let i = 0; i < total; i++) {
        const found = decideStream(routes, undefined, (i + 0.5) / total)
        if (found?.kind === 'forward' && found.service.name === 'blue') blue++
      }
      return blue === one
    }),
  )
})

t.test('another namespace is referred to with a ReferenceGrant for that kind of route', async (t) => {
  const routes = [route('tcp-route', 'shop/t', { rules: [to('away/far')] })]
  t.match(decide(routes, undefined), /no ReferenceGrant in away lets TCPRoutes of shop refer to it/)
  const grant = (kind: string): MeshObject => ({
    kind: 'reference-grant',
    namespace: 'away',
    name: 'g',
    from: [{ kind, namespace: 'shop' }],
    to: [{ kind: 'Service' }],
  })
  t.match(decide([...routes, grant('HTTPRoute')], undefined), /no ReferenceGrant/)
  t.equal(decide([...routes, grant('TCPRoute')], undefined), 'away/far')
})

t.test('a client’s own namespace may route for itself; a route binds the ports that it names', async (t) => {
  const producer = route('tcp-route', 'shop/t', { rules: [to('shop/blue')] })
  const consumer = route('tcp-route', 'away/t', { rules: [to('away/far')] })
  t.equal(decide([producer, consumer], undefined, 0, 'shop/c'), 'shop/blue')
  t.equal(decide([producer, consumer], undefined, 0, 'away/c'), 'away/far')
  t.equal(decide([consumer], undefined, 0, 'shop/c'), undefined)
  const parents = [{ service: { namespace: 'shop', name: 'web' }, port: 444 }]
  t.equal(decide([{ ...producer, parents }], undefined), undefined)
})
