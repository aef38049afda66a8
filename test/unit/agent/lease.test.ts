import t from 'tap'
import { Lease } from '../../../agent/cluster/lease.ts'
import { MemoryCluster } from '../../support/memory-cluster.ts'

const PATH = '/apis/coordination.k8s.io/v1/namespaces/weir-system/leases/weir-status'

function setUp() {
  const cluster = new MemoryCluster()
  const clock = { ms: 0 }
  const contender = (holder: string) =>
    new Lease({
      api: cluster,
      namespace: 'weir-system',
      name: 'weir-status',
      holder,
      durationMs: 60_000,
      now: () => clock.ms,
      date: () => Date.UTC(2026, 0, 1) + clock.ms,
    })
  const spec = () => cluster.objects.get(PATH)?.['spec']
  return { cluster, clock, contender, spec }
}

t.test('one of two holds it, and keeps it as long as it renews', async (t) => {
  const { clock, contender, spec } = setUp()
  const [a, b] = [contender('a'), contender('b')]
  t.equal(await a.renew(), true)
  t.equal(await b.renew(), false)
  t.match(spec(), {
    holderIdentity: 'a',
    leaseDurationSeconds: 60,
    acquireTime: '2026-01-01T00:00:00.000000Z',
    leaseTransitions: 1,
  })
  for (let i = 0; i < 5; i++) {
    clock.ms += 50_000
    t.equal(await a.renew(), true)
    t.equal(await b.renew(), false)
  }
  t.match(spec(), { acquireTime: '2026-01-01T00:00:00.000000Z', renewTime: '2026-01-01T00:04:10.000000Z' })
  t.same([a.held, b.held], [true, false])
})

t.test('one that does not renew loses it after its time, by the other’s clock', async (t) => {
  const { clock, contender, spec } = setUp()
  const [a, b] = [contender('a'), contender('b')]
  await a.renew()
  clock.ms += 59_999
  t.equal(a.held, true)
  t.equal(await b.renew(), false, 'it saw the entry only now')
  clock.ms += 1
  t.equal(a.held, false, 'the holder itself stops first')
  clock.ms += 59_998
  t.equal(await b.renew(), false)
  clock.ms += 1
  t.equal(await b.renew(), true)
  t.match(spec(), { holderIdentity: 'b', leaseTransitions: 2 })
  t.equal(await a.renew(), false)
})

t.test('one that leaves gives it to the next at once', async (t) => {
  const { cluster, contender } = setUp()
  const [a, b] = [contender('a'), contender('b')]
  await a.renew()
  await b.release()
  t.equal(await b.renew(), false, 'what is another’s is not released')
  await a.release()
  t.equal(a.held, false)
  t.equal(await b.renew(), true)
  const writes = cluster.writes.length
  await a.release()
  t.equal(cluster.writes.length, writes)
})

t.test('of two who take a free one at the same time, one gets it', async (t) => {
  const { cluster, clock, contender } = setUp()
  const [a, b, c] = [contender('a'), contender('b'), contender('c')]
  t.equal((await Promise.all([a.renew(), b.renew()])).filter(Boolean).length, 1)
  await c.renew()
  clock.ms += 60_000
  cluster.onRequest = (method) => {
    if (method !== 'PUT') return
    cluster.onRequest = () => undefined
    const held = cluster.objects.get(PATH)
    if (held !== undefined) cluster.put(PATH, { ...held, spec: { holderIdentity: 'd', leaseDurationSeconds: 60 } })
  }
  t.equal(await c.renew(), false)
  t.equal(c.held, false)
})

t.test('what cannot be asked is thrown, and what was held stays held', async (t) => {
  const { cluster, contender } = setUp()
  const a = contender('a')
  await a.renew()
  cluster.onRequest = () => {
    throw new Error('gone')
  }
  await t.rejects(a.renew(), { message: 'gone' })
  t.equal(a.held, true)
})
