/** What grows without end is told before it fails; steps, waves, noise and what settles are not. */
import t from 'tap'
import { steadyGrowth } from '../../../src/observer/trend.ts'
import { edge, pod, Watched } from './looks.ts'

const MIB = 1 << 20
/** The same numbers each time, between -1 and 1. */
const noise = (at: number) => Math.sin(at * 12.9898) * Math.cos(at * 78.233)

function grows(values: (at: number) => number, count = 36): boolean {
  const points = Array.from({ length: count }, (_, at) => ({ atMs: at * 10_000, value: values(at) }))
  return steadyGrowth(points) !== undefined
}

t.test('steady growth, also with noise on it, and no other shape', async (t) => {
  t.ok(grows((at) => 100 + at))
  t.ok(grows((at) => 100 + at + noise(at) * 3))
  t.ok(grows((at) => 100 * 1.05 ** at))
  t.notOk(
    grows(() => 100),
    'level',
  )
  t.notOk(
    grows((at) => 100 + noise(at) * 20),
    'noise',
  )
  t.notOk(
    grows((at) => (at < 18 ? 100 : 200)),
    'a step',
  )
  t.notOk(
    grows((at) => 100 + 50 * Math.sin(at / 4)),
    'a wave',
  )
  t.notOk(
    grows((at) => 200 - 100 * Math.exp(-at / 8)),
    'what settles',
  )
  t.notOk(
    grows((at) => 200 - at),
    'what shrinks',
  )
  t.notOk(
    grows((at) => at, 2),
    'two points',
  )
})

const proxyOf = (rssBytes: number) => ({
  proxies: [
    { id: 0, isUp: true, missedPings: 0, restarts: 0, lagMs: 5, shedding: false, rssBytes, cpuSeconds: undefined },
  ],
})

t.test('a proxy whose memory would be used up within the hour', async (t) => {
  // 4 GiB are left: at 20 MiB each ten seconds that is half an hour.
  const found = new Watched().look((at) => proxyOf((80 + 20 * at) * MIB), 24)
  t.match(found, [
    {
      kind: 'memory-leak',
      severity: 'warning',
      subject: 'proxy 0',
      says: /^The memory of proxy 0 of this node grows steadily, and reaches what there is for it in about \d\d min$/,
      next: 'weir top --sort connections',
    },
  ])
})

t.test('silent: too slow to matter, too early to say, and memory that settles', async (t) => {
  t.same(
    new Watched().look((at) => proxyOf((80 + at) * MIB), 36),
    [],
  )
  t.same(
    new Watched().look((at) => proxyOf((80 + 20 * at) * MIB), 23),
    [],
  )
  t.same(
    new Watched().look((at) => proxyOf((800 - 700 * Math.exp(-at / 8)) * MIB), 36),
    [],
  )
})

t.test('a pod is measured against its own limit', async (t) => {
  const leaking = (memoryLimitBytes: number | undefined) => (at: number) => {
    return { pods: [pod('shop/web-1', { memoryBytes: (100 + at) * MIB, memoryLimitBytes })] }
  }
  t.match(new Watched().look(leaking(256 * MIB), 30), [
    { kind: 'memory-leak', subject: 'shop/web-1', says: /^The memory of pod shop\/web-1 grows .* in about \d\d min$/ },
  ])
  t.same(new Watched().look(leaking(undefined), 30), [])
})

t.test('answers that take longer and longer are told; slow ones, and few of them, are not', async (t) => {
  const growing = (requests: number) => (at: number) => {
    return { edges: [edge('frontend', 'reviews', { requests, meanMs: 20 + 20 * at })] }
  }
  t.match(new Watched().look(growing(50), 24), [
    {
      kind: 'latency-leak',
      subject: 'shop/frontend -> shop/reviews',
      says: /^Answers from shop\/reviews to shop\/frontend take longer and longer, and reach 5 s in about \d+ min$/,
      evidence: [/^From \d+ ms to \d+ ms on average in 4 min, over 1200 requests$/],
    },
  ])
  t.same(new Watched().look(growing(2), 24), [])
  t.same(
    new Watched().look((at) => ({ edges: [edge('a', 'b', { meanMs: 800 + 50 * noise(at) })] }), 36),
    [],
  )
})
