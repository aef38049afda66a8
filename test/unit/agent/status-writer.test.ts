import t from 'tap'
import { KubernetesError } from '#kubernetes'
import type { ObjectStatus } from '#mesh/compile'
import { Lease } from '../../../agent/cluster/lease.ts'
import { StatusWriter } from '../../../agent/cluster/status-writer.ts'
import { MemoryCluster } from '../../support/memory-cluster.ts'

const ROUTES = '/apis/gateway.networking.k8s.io/v1/namespaces/shop/httproutes'

function routeSaid(name: string, reason = 'Accepted', generation = 1): ObjectStatus {
  const status = reason === 'Accepted' ? 'True' : 'False'
  const conditions = [{ type: 'Accepted', status, reason, message: '' }] as const
  const parents = [{ parentRef: { group: '', kind: 'Service', name: 'web' }, conditions }]
  return {
    of: 'route',
    group: 'gateway.networking.k8s.io',
    kind: 'HTTPRoute',
    namespace: 'shop',
    name,
    generation,
    parents,
  } as ObjectStatus
}

function setUp(t: { teardown(handler: () => unknown): void }, periodMs = 20_000) {
  const cluster = new MemoryCluster()
  const warnings: string[] = []
  const heard = { wake: Promise.withResolvers<void>() }
  const add = (name: string, generation = 1) => cluster.put(`${ROUTES}/${name}`, { metadata: { name, generation } })
  const open = (holder: string) => {
    const lease = new Lease({
      api: cluster,
      namespace: 'weir-system',
      name: 'weir-status',
      holder,
      durationMs: 60_000,
      now: () => performance.now(),
      date: Date.now,
    })
    const writer = new StatusWriter({
      api: cluster,
      lease,
      periodMs,
      warn: (line) => {
        warnings.push(line)
        heard.wake.resolve()
      },
      info: () => undefined,
      date: Date.now,
    })
    t.teardown(() => writer[Symbol.asyncDispose]())
    return writer
  }
  const statusOf = (name: string) => JSON.stringify(cluster.objects.get(`${ROUTES}/${name}`)?.['status'] ?? null)
  /** Asks until it is so. */
  const until = async (condition: () => boolean) => {
    while (!condition()) await new Promise((resolve) => setImmediate(resolve))
  }
  return { cluster, warnings, heard, add, open, statusOf, until }
}

t.test('what is said is written once, and again when it changes', async (t) => {
  const { cluster, add, open, statusOf, until } = setUp(t)
  add('r')
  const writer = open('a')
  writer.update(() => [routeSaid('r')])
  await until(() => statusOf('r').includes('"reason":"Accepted"'))
  writer.update(() => [routeSaid('r'), routeSaid('gone')])
  await until(() => cluster.requests >= 5)
  writer.update(() => [routeSaid('r', 'NoMatchingParent')])
  await until(() => statusOf('r').includes('NoMatchingParent'))
  t.same(
    cluster.writes.filter((line) => line.includes('httproutes')),
    [`PATCH ${ROUTES}/r`, `PATCH ${ROUTES}/r`],
  )
})

t.test('one of two writes; when it leaves the other goes on', async (t) => {
  const { cluster, add, open, statusOf, until } = setUp(t, 1)
  add('r')
  const first = open('a')
  first.update(() => [routeSaid('r')])
  await until(() => statusOf('r').includes('Accepted'))
  const second = open('b')
  second.update(() => [routeSaid('r', 'NoMatchingParent')])
  const { requests } = cluster
  await until(() => cluster.requests > requests + 4)
  t.notMatch(statusOf('r'), /NoMatchingParent/)
  await first[Symbol.asyncDispose]()
  await until(() => statusOf('r').includes('NoMatchingParent'))
})

t.test('nothing is said of an object that has changed since it was judged', async (t) => {
  const { add, open, statusOf, until, cluster } = setUp(t)
  add('r', 2)
  add('s')
  const writer = open('a')
  writer.update(() => [routeSaid('r', 'Accepted', 1), routeSaid('s')])
  await until(() => statusOf('s').includes('Accepted'))
  t.equal(statusOf('r'), 'null')
  writer.update(() => [routeSaid('r', 'Accepted', 2)])
  await until(() => statusOf('r').includes('"observedGeneration":2'))
  t.ok(cluster.objects.has(`${ROUTES}/r`))
})

t.test('what cannot be written is told and tried again, and holds up no other', async (t) => {
  const { cluster, add, open, statusOf, until, warnings } = setUp(t)
  add('a')
  add('b')
  let refusals = 0
  cluster.onRequest = (method, path) => {
    if (method !== 'PATCH' || !path.includes('/a/') || refusals++ > 0) return
    throw new KubernetesError({ status: 403, reason: 'Forbidden', message: 'may not' })
  }
  const writer = open('x')
  writer.update(() => [routeSaid('a'), routeSaid('b')])
  await until(() => statusOf('b').includes('Accepted'))
  t.same(warnings, ['Cannot write the status of HTTPRoute shop/a: may not'])
  t.equal(statusOf('a'), 'null')
  await until(() => statusOf('a').includes('Accepted'))
  t.equal(refusals, 2)
})
