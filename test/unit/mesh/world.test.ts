import t from 'tap'
import type { AuthorizationPolicy, ReferenceGrant } from '#contract'
import { meshKey } from '#contract'
import { World } from '#mesh'
import { route, rule, service, snapshotOf, workload, worldOf } from '../routing/mesh-fixture.ts'

function policy(nsName: string, more: Partial<AuthorizationPolicy> = {}): AuthorizationPolicy {
  const [namespace = '', name = ''] = nsName.split('/')
  return {
    kind: 'authorization-policy',
    namespace,
    name,
    scope: 'namespace',
    selector: {},
    services: [],
    action: 'ALLOW',
    rules: [],
    ...more,
  }
}

function grant(nsName: string): ReferenceGrant {
  const [namespace = '', name = ''] = nsName.split('/')
  return { kind: 'reference-grant', namespace, name, from: [], to: [] }
}

t.test('an empty world knows nothing', async (t) => {
  const { snapshot } = new World()
  t.equal(snapshot.version, 0)
  t.equal(snapshot.workload('shop/web-1'), undefined)
  t.same(snapshot.destination('10.0.0.1', 80), { kind: 'unknown' })
  t.same(snapshot.routesOf('shop/web'), [])
  t.same(snapshot.grants('shop'), [])
  t.same(snapshot.authorizationPolicies('shop'), [])
  t.same(snapshot.meshPolicies(), [])
})

t.test('a snapshot keeps its state when the world moves on', async (t) => {
  const world = worldOf(
    workload('shop/a', { addresses: ['10.0.0.1'] }),
    service('shop/web', { addresses: ['10.96.0.1'] }),
  )
  const before = world.snapshot
  const after = world.apply({
    version: 2,
    reset: false,
    upsert: [workload('shop/a', { addresses: ['10.0.0.2'], uid: 'new' })],
    remove: [meshKey({ kind: 'service', namespace: 'shop', name: 'web' }), 'service:shop/never-known'],
  })
  t.equal(before.version, 1)
  t.equal(before.workloadByAddress('10.0.0.1')?.name, 'a')
  t.equal(before.workloadByAddress('10.0.0.2'), undefined)
  t.equal(before.destination('10.96.0.1', 80).kind, 'service')
  t.equal(after.version, 2)
  t.equal(world.snapshot, after)
  t.equal(after.workloadByAddress('10.0.0.1'), undefined, 'the old address means nothing any more')
  t.equal(after.workloadByAddress('10.0.0.2')?.uid, 'new')
  t.equal(after.workloadByUid('uid-shop/a'), undefined)
  t.equal(after.workloadByUid('new')?.name, 'a')
  t.equal(after.service('shop/web'), undefined)
  t.same(after.destination('10.96.0.1', 80), { kind: 'unknown' })
})

t.test('reset forgets everything that the change does not bring', async (t) => {
  const world = worldOf(workload('shop/a', { addresses: ['10.0.0.1'] }), route('shop/r', [rule()]))
  const after = world.apply({ version: 7, reset: true, upsert: [workload('shop/b')], remove: [] })
  t.equal(after.workload('shop/a'), undefined)
  t.equal(after.workloadByAddress('10.0.0.1'), undefined)
  t.same(after.routesOf('shop/web'), [])
  t.equal(after.workload('shop/b')?.name, 'b')
  const again = world.apply({ version: 8, reset: false, upsert: [], remove: ['workload:shop/a'] })
  t.equal(again.workload('shop/b')?.name, 'b')
})

t.test('indexes that a change does not touch are shared', async (t) => {
  const world = worldOf(route('shop/r', [rule()]), grant('shop/g'), policy('shop/p'))
  const before = world.snapshot
  const after = world.apply({ version: 2, reset: false, upsert: [workload('shop/a')], remove: [] })
  t.equal(after.routesOf('shop/web'), before.routesOf('shop/web'))
  t.equal(after.grants('shop'), before.grants('shop'))
  t.equal(after.authorizationPolicies('shop'), before.authorizationPolicies('shop'))
  t.equal(after.indexes().services, before.indexes().services)
  t.not(after.indexes().workloads, before.indexes().workloads)
})

t.test('of several pods with one address the one that lives is answered', async (t) => {
  const ip = '10.0.0.1'
  const going = workload('shop/old', { addresses: [ip], terminating: true, ready: true })
  const starting = workload('shop/starting', { addresses: [ip], ready: false })
  const ready = workload('shop/ready', { addresses: [ip] })
  for (const objects of [
    [going, starting, ready],
    [ready, starting, going],
    [starting, ready, going],
  ]) {
    t.equal(snapshotOf(...objects).workloadByAddress(ip)?.name, 'ready')
  }
  t.equal(snapshotOf(starting, going).workloadByAddress(ip)?.name, 'starting')
  t.equal(snapshotOf(going).workloadByAddress(ip)?.name, 'old')
  const second = workload('shop/second', { addresses: [ip] })
  t.equal(snapshotOf(ready, second).workloadByAddress(ip)?.name, 'second', 'among equals, the one heard of last')
  const world = worldOf(going, ready)
  const after = world.apply({ version: 2, reset: false, upsert: [], remove: ['workload:shop/ready'] })
  t.equal(after.workloadByAddress(ip)?.name, 'old')
})

t.test('a pod on the host network is not found by the address of its node', async (t) => {
  const snapshot = snapshotOf(workload('shop/host', { addresses: ['192.168.0.1'], hostNetwork: true }))
  t.equal(snapshot.workloadByAddress('192.168.0.1'), undefined)
  t.equal(snapshot.workload('shop/host')?.name, 'host')
})

t.test('a destination is a Service by ClusterIP, then a pod by address', async (t) => {
  const web = service('shop/web', { addresses: ['10.96.0.1', 'fd00::1'] })
  const pod = workload('shop/web-1', { addresses: ['10.0.0.1', 'fd01::1'] })
  const snapshot = snapshotOf(web, pod)
  t.same(snapshot.destination('10.96.0.1', 80), { kind: 'service', service: web, port: web.ports[0] })
  t.same(snapshot.destination('fd00::1', 80), { kind: 'service', service: web, port: web.ports[0] })
  t.same(snapshot.destination('10.96.0.1', 81), { kind: 'service-port-unknown', service: web })
  t.same(snapshot.destination('10.0.0.1', 8080), { kind: 'workload', workload: pod, port: 8080 })
  t.same(snapshot.destination('fd01::1', 8080), { kind: 'workload', workload: pod, port: 8080 })
  t.same(snapshot.destination('1.1.1.1', 443), { kind: 'unknown' })
})

t.test('what a ServiceEntry declares takes the address of no Service and of no pod', async (t) => {
  const external = { entry: 'e', resolution: 'STATIC', cidrs: [] } as const
  const addresses = ['10.0.0.1', '10.96.0.1', '192.0.2.1', '192.0.2.2']
  const thief = service('away/thief.example', { addresses, external })
  const web = service('shop/web', { addresses: ['10.96.0.1'] })
  const pod = workload('shop/web-1', { addresses: ['10.0.0.1'] })
  const plain = workload('shop/plain', { addresses: ['192.0.2.2'], optedIn: false })
  const snapshot = snapshotOf(thief, web, pod, plain)
  t.same(snapshot.destination('10.0.0.1', 80), { kind: 'workload', workload: pod, port: 80 })
  t.match(snapshot.destination('10.96.0.1', 80), { kind: 'service', service: { name: 'web' } })
  t.match(snapshot.destination('192.0.2.1', 80), { kind: 'service', service: { name: 'thief.example' } })
  t.same(
    ['10.0.0.1', '10.96.0.1', '192.0.2.1', '192.0.2.2', '192.0.2.3'].map((ip) => snapshot.isInMesh(ip)),
    [true, true, false, false, false],
  )
})

t.test('routes of a Service come oldest first, then by name, each once', async (t) => {
  const snapshot = snapshotOf(
    route('shop/z', [rule()], { createdAt: '2026-01-01T00:00:00Z' }),
    route('shop/unknown-age', [rule()], { createdAt: '' }),
    route('shop/b', [rule()], { createdAt: '2026-01-02T00:00:00Z' }),
    route('client/b', [rule()], { createdAt: '2026-01-02T00:00:00Z' }),
    route('shop/offset', [rule()], { createdAt: '2026-01-01T01:30:00+02:00' }),
    route('shop/twice', [rule()], {
      createdAt: '2026-01-03T00:00:00Z',
      parents: [
        { service: { namespace: 'shop', name: 'web' }, port: 80 },
        { service: { namespace: 'shop', name: 'web' }, port: 81 },
        { service: { namespace: 'shop', name: 'other' } },
      ],
    }),
  )
  t.same(
    snapshot.routesOf('shop/web').map((route) => `${route.namespace}/${route.name}`),
    ['shop/offset', 'shop/z', 'client/b', 'shop/b', 'shop/twice', 'shop/unknown-age'],
  )
  t.same(
    snapshot.routesOf('shop/other').map((route) => route.name),
    ['twice'],
  )
  t.equal([...snapshot.routes()].length, 6)
})

t.test('a route that changes its parent leaves the old one', async (t) => {
  const world = worldOf(route('shop/r', [rule()]))
  const moved = route('shop/r', [rule()], { parents: [{ service: { namespace: 'shop', name: 'api' } }] })
  const after = world.apply({ version: 2, reset: false, upsert: [moved], remove: [] })
  t.same(after.routesOf('shop/web'), [])
  t.same(after.routesOf('shop/api'), [moved])
})

t.test('policies of the mesh stand apart from those of namespaces', async (t) => {
  const world = worldOf(
    policy('shop/b'),
    policy('shop/a', { scope: 'workload' }),
    policy('weir-system/all', { scope: 'mesh' }),
    policy('weir-system/own', { scope: 'workload' }),
  )
  const names = (list: readonly AuthorizationPolicy[]): string[] => list.map((policy) => policy.name)
  t.same(names(world.snapshot.authorizationPolicies('shop')), ['a', 'b'])
  t.same(names(world.snapshot.authorizationPolicies('weir-system')), ['own'])
  t.same(names(world.snapshot.meshPolicies()), ['all'])
  const narrowed = policy('weir-system/all', { scope: 'namespace' })
  const after = world.apply({ version: 2, reset: false, upsert: [narrowed], remove: ['authorization-policy:shop/a'] })
  t.same(names(after.meshPolicies()), [])
  t.same(names(after.authorizationPolicies('weir-system')), ['all', 'own'])
  t.same(names(after.authorizationPolicies('shop')), ['b'])
})

t.test('derived values are made once per snapshot and offered to the next', async (t) => {
  const slot = Symbol('test')
  const world = worldOf(workload('shop/a'))
  const seen: unknown[] = []
  const make = (value: string) => (previous: string | undefined) => {
    seen.push(previous)
    return value
  }
  t.equal(world.snapshot.derived(slot, 'k', make('one')), 'one')
  t.equal(world.snapshot.derived(slot, 'k', make('never')), 'one')
  t.equal(world.snapshot.derived(Symbol('other'), 'k', make('else')), 'else')
  const unused = world.apply({ version: 2, reset: false, upsert: [], remove: [] })
  const next = world.apply({ version: 3, reset: false, upsert: [], remove: [] })
  t.equal(next.derived(slot, 'k', make('two')), 'two')
  t.equal(unused.derived(slot, 'k', make('late')), 'late')
  t.same(seen, [undefined, undefined, 'one', undefined], 'only the newest snapshot inherits')
})
