import t from 'tap'
import type { Endpoint, OutlierLimits } from '#contract'
import { type EjectionReason, OutlierDetector, outcomeOfStatus } from '#routing'
import { endpoint } from './mesh-fixture.ts'

const LIMITS: OutlierLimits = {
  consecutiveErrors: 3,
  consecutiveGatewayErrors: 0,
  consecutiveConnectErrors: 0,
  intervalMs: 1_000_000,
  baseEjectionMs: 1_000,
  maxEjectionMs: 2_500,
  maxEjectedPercent: 50,
  panicPercent: 0,
}

function detector(more: Partial<OutlierLimits> = {}, count = 4) {
  const list = Array.from({ length: count }, (_, i) => endpoint(`10.0.0.${i + 1}`))
  const reasons: EjectionReason[] = []
  const found = new OutlierDetector<Endpoint>(
    { ...LIMITS, ...more },
    (e) => e,
    (_key, reason) => reasons.push(reason),
  )
  found.available(list, 0)
  const fail = (at: number, times: number, status = 500, now = 0) => {
    for (let i = 0; i < times; i++) found.record(list[at] as Endpoint, outcomeOfStatus(status), now)
  }
  const left = (now: number) => found.available(list, now).map((e) => list.indexOf(e))
  return { list, found, reasons, fail, left }
}

t.test('statuses are judged as Envoy judges them', async (t) => {
  const words = [200, 404, 429, 500, 501, 502, 503, 504, 505].map(outcomeOfStatus)
  t.same(words, ['ok', 'ok', 'ok', 'error', 'error', 'gateway', 'gateway', 'gateway', 'error'])
})

t.test('errors in a row eject, a success in between does not', async (t) => {
  const { found, fail, left, reasons } = detector()
  fail(1, 2)
  fail(1, 1, 200)
  fail(1, 2)
  t.same(left(0), [0, 1, 2, 3])
  fail(1, 1)
  t.same(left(0), [0, 2, 3])
  t.same(reasons, ['errors'])
  t.match(found.ejections(400), [{ endpoint: { address: '10.0.0.2' }, leftMs: 600 }])
})

t.test('gateway and connect errors have counts of their own', async (t) => {
  const gateway = detector({ consecutiveErrors: 0, consecutiveGatewayErrors: 2 })
  gateway.fail(0, 1, 503)
  gateway.fail(0, 5, 500)
  gateway.fail(0, 1, 503)
  t.same(gateway.left(0), [0, 1, 2, 3], 'another error is no gateway error')
  gateway.fail(0, 1, 504)
  t.same(gateway.reasons, ['gateway-errors'])
  const connect = detector({ consecutiveErrors: 0, consecutiveConnectErrors: 2 })
  for (let i = 0; i < 2; i++) connect.found.record(connect.list[2] as Endpoint, 'connect', 0)
  t.same(connect.reasons, ['connect-errors'])
  t.same(connect.left(0), [0, 1, 3])
})

t.test('an ejection ends, the next one is longer, up to the longest', async (t) => {
  const { fail, left } = detector()
  for (const [at, untilMs] of [
    [0, 1_000],
    [2_000, 4_000],
    [5_000, 7_500],
    [10_000, 12_500],
  ] as const) {
    fail(1, 3, 500, at)
    t.same(left(untilMs - 1), [0, 2, 3], `ejected at ${at}`)
    t.same(left(untilMs), [0, 1, 2, 3], `back at ${untilMs}`)
  }
})

t.test('a quiet interval makes the next ejection shorter again', async (t) => {
  const { fail, left } = detector({ intervalMs: 100 })
  fail(1, 3, 500, 0)
  left(1_000)
  for (const now of [2_000, 2_200, 2_400]) fail(0, 1, 200, now)
  fail(1, 3, 500, 3_000)
  t.same(left(3_999), [0, 2, 3])
  t.same(left(4_000), [0, 1, 2, 3])
})

t.test('no more than a share is ejected, but one always may be', async (t) => {
  const half = detector()
  for (const at of [0, 1, 2]) half.fail(at, 3)
  t.same(half.left(0), [2, 3])
  const few = detector({ maxEjectedPercent: 0 })
  for (const at of [0, 1]) few.fail(at, 3)
  t.same(few.left(0), [1, 2, 3])
})

t.test('when too few would be left all are used', async (t) => {
  const { fail, left } = detector({ maxEjectedPercent: 100, panicPercent: 50 })
  fail(0, 3)
  fail(1, 3)
  t.same(left(0), [2, 3])
  fail(2, 3)
  t.same(left(0), [0, 1, 2, 3])
})

t.test('whoever is far below the others is ejected by its success rate', async (t) => {
  const successRate = { minRequests: 10, minEndpoints: 5, stdevFactor: 1_900 }
  const { fail, left, reasons } = detector({ consecutiveErrors: 0, intervalMs: 1_000, successRate }, 6)
  for (let at = 0; at < 6; at++) {
    fail(at, at === 4 ? 5 : 1, 500, 10)
    fail(at, at === 4 ? 5 : 9, 200, 10)
  }
  t.same(left(10), [0, 1, 2, 3, 4, 5], 'not before the interval is over')
  fail(0, 1, 200, 1_011)
  t.same(left(1_011), [0, 1, 2, 3, 5])
  t.same(reasons, ['success-rate'])
})

t.test('an endpoint that is gone is forgotten, one that stays is not', async (t) => {
  const { list, found, fail } = detector()
  fail(0, 3)
  const shorter = list.slice(0, 3)
  t.same(found.available(shorter, 0), list.slice(1, 3))
  t.same(found.available(list.slice(1), 0), list.slice(1))
  t.same(found.ejections(0), [])
  t.same(found.available(list, 0), list, 'it comes back as a new one')
  found.record(endpoint('10.9.9.9'), 'connect', 0)
  t.same(found.ejections(0), [])
})
