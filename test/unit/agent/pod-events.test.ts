import t from 'tap'
import { PodEvents } from '../../../agent/cluster/pod-events.ts'
import { MemoryCluster } from '../../support/memory-cluster.ts'

const trouble = { uid: 'u-1', namespace: 'shop', name: 'web', why: 'its network namespace is gone' }

function setUp() {
  const cluster = new MemoryCluster()
  const warnings: string[] = []
  const clock = { ms: Date.UTC(2026, 0, 1) }
  const open = () =>
    new PodEvents({ api: cluster, node: 'node-1', warn: (line) => warnings.push(line), date: () => clock.ms })
  return { cluster, warnings, clock, open, events: open(), held: () => [...cluster.objects.values()] }
}

t.test('a pod that could not be enrolled has an Event that says why', async (t) => {
  const { events, held, warnings } = setUp()
  await events.update([trouble])
  t.match(held(), [
    {
      kind: 'Event',
      metadata: { namespace: 'shop', name: /^web\.[0-9a-f]{16}$/ },
      involvedObject: { kind: 'Pod', namespace: 'shop', name: 'web', uid: 'u-1' },
      type: 'Warning',
      reason: 'EnrolmentFailed',
      message: 'Not in the mesh: its network namespace is gone',
      reportingInstance: 'node-1',
      firstTimestamp: '2026-01-01T00:00:00Z',
      count: 1,
    },
  ])
  t.same(warnings, [])
})

t.test('trouble that lasts is told again seldom, as one Event', async (t) => {
  const { cluster, events, clock, held, open } = setUp()
  for (let minute = 0; minute <= 25; minute++) {
    await events.update([trouble])
    clock.ms += 60_000
  }
  t.equal(held().length, 1)
  t.match(held(), [{ count: 3, firstTimestamp: '2026-01-01T00:00:00Z', lastTimestamp: '2026-01-01T00:20:00Z' }])
  await open().update([trouble])
  t.equal(held().length, 1, 'an agent that has restarted goes on with it')
  await events.update([{ ...trouble, why: 'another reason' }])
  t.equal(held().length, 2)
  await events.update([])
  const { requests } = cluster
  await events.update([])
  t.equal(cluster.requests, requests)
})

t.test('an Event that cannot be written is told, and costs one request', async (t) => {
  const { cluster, events, warnings } = setUp()
  cluster.onRequest = () => {
    throw new Error('gone')
  }
  await events.update([trouble])
  await events.update([trouble])
  t.same(warnings, ['Cannot write an Event on Pod shop/web: gone'])
  t.equal(cluster.requests, 1)
})
