/** Which traces are recorded, and which requests are told of all the same. */
import fc from 'fast-check'
import t from 'tap'
import { isSampled, RateBound, type RequestEnd, tailReason } from '#tracing'

const TRACE_ID = fc.stringMatching(/^[0-9a-f]{32}$/)

t.test('a share of random traces is taken, all of them or none at the ends', async (t) => {
  const random = Array.from({ length: 20_000 }, () => {
    return Array.from({ length: 32 }, () => Math.floor(Math.random() * 16).toString(16)).join('')
  })
  const taken = (ratio: number) => random.filter((id) => isSampled(id, ratio)).length
  t.equal(taken(0), 0)
  t.equal(taken(1), 20_000)
  // Six standard deviations of a binomial distribution.
  t.ok(Math.abs(taken(0.1) - 2_000) < 6 * Math.sqrt(20_000 * 0.1 * 0.9))
})

t.test('who takes a greater share takes these, too, and all go by the right half', async () => {
  fc.assert(
    fc.property(TRACE_ID, TRACE_ID, fc.double({ min: 0, max: 1, noNaN: true }), (id, other, ratio) => {
      const sameHalf = other.slice(0, 16) + id.slice(16)
      return (!isSampled(id, ratio / 2) || isSampled(id, ratio)) && isSampled(sameHalf, ratio) === isSampled(id, ratio)
    }),
  )
})

t.test(
  'it is the decision of the SDKs for Go and Python: the right half below the share of all that there are',
  async () => {
    fc.assert(
      fc.property(TRACE_ID, fc.integer({ min: 0, max: 1000 }), (id, permille) => {
        const bound = (2n ** 64n * BigInt(permille)) / 1000n
        const half = BigInt(`0x${id.slice(16)}`)
        // What is lost beyond 52 bits is less than one in 2^51.
        const tooNear = half > bound ? half - bound < 2n ** 13n : bound - half < 2n ** 13n
        return tooNear || isSampled(id, permille / 1000) === half < bound
      }),
    )
  },
)

t.test('errors, refusals, resets and what is slow are told of, and nothing else', async (t) => {
  const end: RequestEnd = { status: 200, grpcStatus: -1, isGrpc: false, flag: '-', waitedMs: 10 }
  const reason = (changes: Partial<RequestEnd>) => tailReason({ ...end, ...changes }, 1000)
  t.equal(reason({}), undefined)
  t.equal(reason({ status: 404 }), undefined)
  t.equal(reason({ status: 500 }), 'error')
  t.equal(reason({ status: 403, flag: 'RBAC' }), 'error')
  t.equal(reason({ flag: 'UC' }), 'error')
  t.equal(reason({ status: 0, flag: 'DC' }), 'error')
  t.equal(reason({ status: 503, flag: 'URX' }), 'error')
  t.equal(reason({ flag: 'DI' }), undefined)
  t.equal(reason({ waitedMs: 1000 }), 'slow')
  t.equal(reason({ flag: 'DI', waitedMs: 1000 }), 'slow')
  t.equal(reason({ isGrpc: true, grpcStatus: 14 }), 'error')
  t.equal(reason({ isGrpc: true, grpcStatus: 5 }), undefined, 'NOT_FOUND is an answer')
})

t.test('so many a second are let through, however they come', async (t) => {
  const bound = new RateBound(10, 0)
  const taken = (now: number, count: number) =>
    Array.from({ length: count }, () => bound.take(now)).filter(Boolean).length
  t.equal(taken(0, 50), 10)
  t.equal(taken(500, 50), 5)
  t.equal(taken(60_000, 50), 10)
})
