import t from 'tap'
import type { RateLimit } from '#contract'
import { RateLimiter, requestKey } from '#routing'

const SERVICE: RateLimit = { key: { type: 'Service' }, requests: 10, intervalMs: 1_000, burst: 3 }
const none = { header: () => undefined }
const withHeader = (value: string) => ({ header: (name: string) => (name === 'x-user' ? value : undefined) })
const caller = (source = 'shop/a', http: { header(name: string): string | undefined } = none) => ({ source, http })

/** How many of `count` may go at `now`. */
function taken(limiter: RateLimiter, now: number, count = 100, who = caller()): number {
  let found = 0
  for (let i = 0; i < count; i++) if (limiter.take(who, now) === undefined) found++
  return found
}

t.test('a bucket holds its burst and fills with time', async (t) => {
  const limiter = new RateLimiter([SERVICE])
  t.equal(taken(limiter, 0), 3)
  t.equal(limiter.take(caller(), 0), 100, 'until the next token')
  t.equal(taken(limiter, 99), 0)
  t.equal(taken(limiter, 250), 2)
  t.equal(taken(limiter, 100_000), 3, 'never more than the burst')
})

t.test('callers and values of a header have buckets of their own', async (t) => {
  const bySource = new RateLimiter([{ ...SERVICE, key: { type: 'Source' } }])
  t.same(
    ['a', 'b', 'a'].map((name) => taken(bySource, 0, 10, caller(name))),
    [3, 3, 0],
  )
  const byHeader = new RateLimiter([{ ...SERVICE, key: { type: 'Header', name: 'x-user' } }])
  t.same(
    ['u', 'v', 'u'].map((name) => taken(byHeader, 0, 10, caller('x', withHeader(name)))),
    [3, 3, 0],
  )
  t.equal(taken(byHeader, 0, 10), 10, 'without the header there is no limit')
})

t.test('all limits must let a request go, and one that refuses costs the others nothing', async (t) => {
  const limiter = new RateLimiter([
    { ...SERVICE, burst: 5 },
    { ...SERVICE, key: { type: 'Source' }, burst: 2 },
  ])
  t.equal(taken(limiter, 0, 10, caller('a')), 2)
  t.equal(taken(limiter, 0, 10, caller('b')), 2)
  t.equal(taken(limiter, 0, 10, caller('c')), 1)
})

t.test('whoever invents values gets no bucket for each of them', async (t) => {
  const limiter = new RateLimiter([{ ...SERVICE, key: { type: 'Header', name: 'x-user' }, burst: 1 }])
  let passed = 0
  for (let i = 0; i < 5_000; i++) if (limiter.take(caller('x', withHeader(`u${i}`)), 0) === undefined) passed++
  t.ok(passed <= 1_025, `${passed}`)
  t.equal(taken(limiter, 10_000, 1, caller('x', withHeader('new'))), 1, 'full buckets make room')
})

t.test('what consistent hashing goes by', async (t) => {
  const http = { header: (name: string) => ({ 'x-user': 'ann', cookie: 'a=1; session=two; session=three' })[name] }
  t.equal(requestKey({ type: 'Header', name: 'x-user' }, http, '10.0.0.1'), 'ann')
  t.equal(requestKey({ type: 'Cookie', name: 'session' }, http, '10.0.0.1'), 'two')
  t.equal(requestKey({ type: 'Cookie', name: 'sess' }, http, '10.0.0.1'), undefined)
  t.equal(requestKey({ type: 'Source' }, http, '10.0.0.1'), '10.0.0.1')
})
