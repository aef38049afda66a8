import t from 'tap'
import type { Endpoint } from '#contract'
import { pickEndpoint, usableEndpoints } from '#routing'
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
const idle = (): number => 0
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
  t.equal(pickEndpoint([gone, going], idle, never), going)
  t.equal(pickEndpoint([gone], idle, never), undefined)
  t.equal(pickEndpoint([], idle, never), undefined)
})

t.test('the usable endpoints of an array are worked out once', async (t) => {
  const list = [a, b]
  t.equal(usableEndpoints(list), usableEndpoints(list))
})

t.test('the less loaded of two different endpoints is taken', async (t) => {
  const list = [a, b, c]
  const load = (busy: Endpoint) => (e: Endpoint) => (e === busy ? 1 : 0)
  t.equal(pickEndpoint(list, idle, draws(0, 0)), a, 'a tie goes to the first drawn')
  t.equal(pickEndpoint(list, load(a), draws(0, 0)), b)
  t.equal(pickEndpoint(list, load(a), draws(0, 0.99)), c)
  t.equal(pickEndpoint(list, load(c), draws(0.99, 0.99)), b)
  t.equal(pickEndpoint(list, load(b), draws(0.99, 0.99)), c)
  t.equal(pickEndpoint([a], idle, never), a)
})

t.test('every pair is drawn alike', async (t) => {
  const counts = new Map<Endpoint, number>()
  const steps = 30
  for (let i = 0; i < steps; i += 1) {
    for (let j = 0; j < steps; j += 1) {
      const picked = pickEndpoint([a, b, c], (e) => (e === a ? 1 : 0), draws((i + 0.5) / steps, (j + 0.5) / steps))
      if (picked !== undefined) counts.set(picked, (counts.get(picked) ?? 0) + 1)
    }
  }
  t.equal(counts.get(a), undefined, 'the loaded one always loses')
  t.equal(counts.get(b), 450)
  t.equal(counts.get(c), 450)
})
