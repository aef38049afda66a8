/** What finding faults is told of the objects, and which changes of policies it notices. */
import t from 'tap'
import type { MeshObject, MeshService } from '#contract'
import { World } from '#mesh'
import { EndpointServices } from '../../../agent/observe/endpoint-services.ts'
import { WorldLook } from '../../../agent/observe/world-look.ts'
import { FakeBackend, workload } from '../admin/fake-backend.ts'

function service(name: string, changes: Partial<MeshService> = {}): MeshService {
  const endpoints = { 80: [{ address: '10.1.0.9', port: 8080, ready: true, terminating: false }] }
  const ports = [{ name: 'http', port: 80, protocol: 'http' as const }]
  return { kind: 'service', namespace: 'shop', name, addresses: [], ports, endpoints, sliced: false, ...changes }
}

function unready(name: string): MeshService {
  return service(name, { endpoints: { 80: [{ address: '10.1.0.9', port: 8080, ready: false, terminating: false }] } })
}

const MESH_WIDE = 'mesh-wide'

class Looking {
  readonly world = new World()
  readonly #look = new WorldLook('node-1')
  #version = 0
  #nowMs = 0

  apply(upsert: readonly MeshObject[], remove: readonly string[] = []): void {
    this.world.apply({ version: ++this.#version, reset: false, upsert, remove })
  }

  look(peers: Readonly<Record<string, string>> = {}) {
    // Long enough after the look before.
    this.#nowMs += 60_000
    const clock = { nowMs: this.#nowMs, atMs: this.#nowMs }
    const seen = Object.entries(peers).map(([name, says]) => [name, { says, isMeshWide: says === MESH_WIDE }] as const)
    return this.#look.look(this.world.snapshot, () => new Map(seen), clock)
  }
}

t.test('Services without a ready endpoint, with the routes that lead to them', async (t) => {
  const looking = new Looking()
  const { world } = new FakeBackend()
  const route = [...world.snapshot.routes()][0]
  if (route === undefined) throw new Error('The fake has a route')
  looking.apply([
    service('reviews'),
    unready('reviews-v1'),
    unready('missing'),
    service('outside', { endpoints: {}, external: { entry: 'x', resolution: 'DNS', cidrs: [] } }),
    service('alias', { endpoints: {}, externalName: 'x.example' }),
    service('portless', { endpoints: {}, ports: [] }),
    route,
  ])
  t.same(
    looking.look().world.emptyServices.toSorted((a, b) => (a.service < b.service ? -1 : 1)),
    [
      // A backend without weight gets nothing.
      { service: 'shop/missing', unready: 1, routes: [] },
      { service: 'shop/reviews-v1', unready: 1, routes: ['HTTPRoute shop/reviews'] },
    ],
  )
  t.same(looking.look().world.servicesOf('HTTPRoute shop/reviews'), ['shop/reviews'])
  t.same(looking.look().world.servicesOf('TCPRoute shop/reviews'), [])
})

t.test('a pod of a workload, one of this node if there is any; a URL as a client would write it', async (t) => {
  const looking = new Looking()
  looking.apply([
    workload('web-a', '10.1.0.1', { owner: 'web', node: 'node-2' }),
    workload('web-b', '10.1.0.2', { owner: 'web', terminating: true }),
    workload('far-a', '10.1.0.4', { owner: 'far', node: 'node-2' }),
    service('web'),
    service('api.example.com', { external: { entry: 'x', resolution: 'DNS', cidrs: [] } }),
    service('*.example.com', { external: { entry: 'x', resolution: 'NONE', cidrs: [] } }),
  ])
  t.equal(looking.look().world.podOf('shop/web'), 'shop/web-a')
  looking.apply([workload('web-c', '10.1.0.3', { owner: 'web' })])
  const { world } = looking.look()
  t.equal(world.podOf('shop/web'), 'shop/web-c')
  t.equal(world.podOf('shop/far'), 'shop/far-a')
  t.equal(world.podOf('shop/nobody'), undefined)
  t.equal(world.urlOf('shop/web'), 'http://web.shop:80')
  t.equal(world.urlOf('shop/web:80'), 'http://web.shop:80')
  t.equal(world.urlOf('shop/web:81'), undefined)
  t.equal(world.urlOf('shop/api.example.com'), 'http://api.example.com:80')
  t.equal(world.urlOf('shop/*.example.com'), undefined)
})

t.test('policies that are added, changed and removed, and nothing at the first look', async (t) => {
  const looking = new Looking()
  const policy = [...new FakeBackend().world.snapshot.authorizationPolicies('shop')][0]
  if (policy === undefined) throw new Error('The fake has a policy')
  looking.apply([policy])
  t.same(looking.look({ 'shop/peers': 'STRICT' }).changes, [])
  looking.apply([service('web'), { ...policy, name: 'other' }])
  t.match(looking.look({ 'shop/peers': 'STRICT' }).changes, [
    { policy: 'AuthorizationPolicy shop/other', change: 'added' },
  ])
  looking.apply([{ ...policy, action: 'DENY' }], ['authorization-policy:shop/other'])
  t.match(
    looking.look({ 'shop/peers': 'DISABLE' }).changes.toSorted((a, b) => (a.policy < b.policy ? -1 : 1)),
    [
      { policy: 'AuthorizationPolicy shop/only-web', change: 'changed' },
      { policy: 'AuthorizationPolicy shop/other', change: 'removed' },
      { policy: 'PeerAuthentication shop/peers', change: 'changed' },
    ],
  )
  t.same(looking.look({ 'shop/peers': 'DISABLE' }).changes, [])
})

t.test('endpoints are told by their Services, also when the objects change', async (t) => {
  const looking = new Looking()
  const endpoints = { 80: [{ address: '10.1.0.9', port: 8080, ready: true, terminating: false, workload: 'shop/a' }] }
  looking.apply([service('web', { endpoints }), service('other', { endpoints: {} })])
  const known = new EndpointServices()
  const answers = [
    { endpoints: [{ endpoint: '10.1.0.9:8080', answers: 3, answersMs: 30 }] },
    { endpoints: [{ endpoint: '10.1.0.9:8080', answers: 1, answersMs: 2 }] },
    { endpoints: [{ endpoint: '10.1.0.7:8080', answers: 1, answersMs: 2 }] },
  ]
  const sample = { endpoint: '10.1.0.9:8080', pod: 'shop/a', answers: 4, answersMs: 32 }
  t.same(known.samples(looking.world.snapshot, answers), [{ service: 'shop/web:80', ...sample }])
  looking.apply([service('other', { endpoints })])
  t.same(
    known
      .samples(looking.world.snapshot, answers)
      .map(({ service: name }) => name)
      .sort(),
    ['shop/other:80', 'shop/web:80'],
  )
})

t.test('of policies that decide for all namespaces that is told, and also when they are gone', async (t) => {
  const looking = new Looking()
  looking.apply([service('web')])
  looking.look({ 'shop/peers': 'a' })
  looking.apply([service('web', { addresses: ['10.2.0.1'] })])
  const added = looking.look({ 'shop/peers': 'b', 'root/all': MESH_WIDE }).changes
  t.match(added, [
    { policy: 'PeerAuthentication shop/peers', change: 'changed', isMeshWide: undefined },
    { policy: 'PeerAuthentication root/all', change: 'added', isMeshWide: true },
  ])
  looking.apply([service('web', { addresses: ['10.2.0.2'] })])
  t.match(looking.look({ 'shop/peers': 'b' }).changes, [{ change: 'removed', isMeshWide: true }])
})

t.test('Services without endpoints of one namespace crowd out none of another', async (t) => {
  const looking = new Looking()
  const many = Array.from({ length: 600 }, (_, i) => ({ ...unready(`s${i}`), namespace: 'evil' }))
  looking.apply([...many, { ...unready('web'), namespace: 'victim' }])
  const names = looking.look().world.emptyServices.map((one) => one.service)
  t.equal(names.length, 500)
  t.ok(names.includes('victim/web'))
})
