import t from 'tap'
import type { Endpoint } from '#contract'
import {
  type EndpointLoad,
  newEndpointLoad,
  observeFailure,
  observeLatency,
  pickBy,
  pickEndpoint,
  usableEndpoints,
} from '#routing'
import { endpoint } from './mesh-fixture.ts'

function draws(...values: readonly number[]): () => number {
  let at = 0
  return () => {
    const value = values[at]
    if (value === undefined) throw new Error('drawn too often')
    at += 1
    return value
  }
}
const load = (active: number): EndpointLoad => ({ ...newEndpointLoad(0), active })
const idle = (): EndpointLoad => load(0)
const never = (): number => {
  throw new Error('no draw is needed')
}

const a = endpoint('10.0.0.1')
const b = endpoint('10.0.0.2')
const c = endpoint('10.0.0.3')

t.test('only ready endpoints that are not terminating are usable', async (t) => {
  const unready = endpoint('10.0.0.8', { ready: false })
  const going = endpoint('10.0.0.9', { terminating: true })
  t.same(usableEndpoints([unready, a, going, b]), [a, b])
})

t.test('terminating endpoints that still serve are the last resort', async (t) => {
  const going = endpoint('10.0.0.9', { terminating: true })
  const gone = endpoint('10.0.0.8', { terminating: true, ready: false })
  t.equal(pickEndpoint([gone, going], idle, 0, never), going)
  t.equal(pickEndpoint([gone], idle, 0, never), undefined)
  t.equal(pickEndpoint([], idle, 0, never), undefined)
})

t.test('the usable endpoints of an array are worked out once', async (t) => {
  const list = [a, b]
  t.equal(usableEndpoints(list), usableEndpoints(list))
})

t.test('the less loaded of two different endpoints is taken', async (t) => {
  const list = [a, b, c]
  const busyAt = (busy: Endpoint) => (e: Endpoint) => load(e === busy ? 1 : 0)
  t.equal(pickEndpoint(list, idle, 0, draws(0, 0)), a, 'a tie goes to the first drawn')
  t.equal(pickEndpoint(list, busyAt(a), 0, draws(0, 0)), b)
  t.equal(pickEndpoint(list, busyAt(a), 0, draws(0, 0.99)), c)
  t.equal(pickEndpoint(list, busyAt(c), 0, draws(0.99, 0.99)), b)
  t.equal(pickEndpoint(list, busyAt(b), 0, draws(0.99, 0.99)), c)
  t.equal(pickEndpoint([a], idle, 0, never), a)
})

t.test('every pair is drawn alike', async (t) => {
  const counts = new Map<Endpoint, number>()
  const steps = 30
  for (let i = 0; i < steps; i += 1) {
    for (let j = 0; j < steps; j += 1) {
      const picked = pickEndpoint(
        [a, b, c],
        (e) => load(e === a ? 1 : 0),
        0,
        draws((i + 0.5) / steps, (j + 0.5) / steps),
      )
      if (picked !== undefined) counts.set(picked, (counts.get(picked) ?? 0) + 1)
    }
  }
  t.equal(counts.get(a), undefined, 'the loaded one always loses')
  t.equal(counts.get(b), 450)
  t.equal(counts.get(c), 450)
})

/** Loads by endpoint, with the latencies given. */
function known(latencies: ReadonlyMap<Endpoint, number>, active = 0): (endpoint: Endpoint) => EndpointLoad {
  return (endpoint) => ({ ...load(active), latencyMs: latencies.get(endpoint) ?? -1 })
}

t.test('the one that answers sooner is taken, unless the difference is noise or one is not known yet', async (t) => {
  const first = (latencies: [Endpoint, number][]) => pickEndpoint([a, b], known(new Map(latencies)), 0, draws(0, 0))
  t.equal(
    first([
      [a, 50],
      [b, 10],
    ]),
    b,
  )
  t.equal(
    first([
      [a, 10],
      [b, 50],
    ]),
    a,
  )
  t.equal(
    first([
      [a, 11],
      [b, 10],
    ]),
    a,
    'within a quarter',
  )
  t.equal(
    first([
      [a, 1],
      [b, 0.1],
    ]),
    a,
    'too short to tell',
  )
  t.equal(first([[a, 50]]), a, 'nobody knows the other')
})

t.test('what is known of latency fades', async (t) => {
  const loads = new Map([
    [a, { ...load(0), latencyMs: 100 }],
    [b, { ...load(0), latencyMs: 20, latencyAt: 60_000 }],
  ])
  const loadOf = (e: Endpoint) => loads.get(e) ?? load(0)
  t.equal(pickEndpoint([a, b], loadOf, 60_000, draws(0.99, 0)), a, 'after a minute it is tried again')
})

t.test('a peak counts at once, better times little by little, a failure is no quick answer', async (t) => {
  const one = load(0)
  observeLatency(one, 10, 0)
  t.equal(one.latencyMs, 10)
  observeLatency(one, 200, 0)
  t.equal(one.latencyMs, 200)
  observeLatency(one, 10, 1_000)
  t.ok(one.latencyMs > 150 && one.latencyMs < 200, String(one.latencyMs))
  const other = load(0)
  for (const expected of [5, 10, 20, 40]) {
    observeFailure(other, 0.1, 0)
    t.equal(other.latencyMs, expected)
  }
  for (let i = 0; i < 10; i++) observeFailure(other, 0.1, 0)
  t.equal(other.latencyMs, 100, 'and no more than that')
  observeFailure(other, 700, 0)
  observeFailure(other, 0.1, 0)
  t.equal(other.latencyMs, 700, 'unless it was that slow')
})

const facts = { now: 0, random: draws(), turn: 0, hashKey: undefined }

t.test('round robin takes turns, random draws, least request does not look at latency', async (t) => {
  const list = [a, b, c]
  const turns = [0, 1, 2, 3].map((turn) => pickBy({ algorithm: 'RoundRobin' }, list, idle, { ...facts, turn }))
  t.same(turns, [a, b, c, a])
  t.equal(pickBy({ algorithm: 'Random' }, list, idle, { ...facts, random: draws(0.5) }), b)
  const slow = known(
    new Map([
      [a, 500],
      [b, 1],
    ]),
  )
  t.equal(pickBy({ algorithm: 'LeastRequest' }, list, slow, { ...facts, random: draws(0, 0) }), a)
  t.equal(pickBy({ algorithm: 'PeakEwma' }, list, slow, { ...facts, random: draws(0, 0) }), b)
})

t.test('a new endpoint gets less at first', async (t) => {
  const loadOf = (e: Endpoint) => (e === a ? { ...load(0), since: 9_000 } : load(4))
  for (const [now, algorithm, random, expected] of [
    [10_000, 'LeastRequest', [0, 0], b],
    [15_000, 'LeastRequest', [0, 0], a],
    [10_000, 'RoundRobin', [0.2], b],
    [10_000, 'RoundRobin', [0.05], a],
    [19_000, 'RoundRobin', [], a],
  ] as const) {
    const picked = pickBy({ algorithm, slowStartMs: 10_000 }, [a, b], loadOf, {
      ...facts,
      now,
      random: draws(...random),
    })
    t.equal(picked, expected, `${algorithm} at ${now}`)
  }
})

t.test('a key stays where it is when others come and go, and leaves an endpoint that has too much', async (t) => {
  const list = Array.from({ length: 10 }, (_, i) => endpoint(`10.0.0.${i + 1}`))
  const keys = Array.from({ length: 2_000 }, (_, i) => `user-${i}`)
  const at = (candidates: readonly Endpoint[], key: string, loadOf: (e: Endpoint) => EndpointLoad = idle) =>
    pickBy({ algorithm: 'ConsistentHash', hashOn: { type: 'Source' } }, candidates, loadOf, { ...facts, hashKey: key })
  const without3 = list.filter((e) => e !== list[3])
  const counts = new Map<Endpoint | undefined, number>()
  for (const key of keys) {
    const before = at(list, key)
    counts.set(before, (counts.get(before) ?? 0) + 1)
    if (before !== list[3] && at(without3, key) !== before) t.fail(`${key} moved`)
  }
  t.equal(counts.size, 10)
  t.ok(Math.max(...counts.values()) < 320 && Math.min(...counts.values()) > 100, [...counts.values()].join(' '))
  const home = at(list, 'user-1')
  t.not(
    at(list, 'user-1', (e) => load(e === home ? 9 : 1)),
    home,
  )
})
