import fc from 'fast-check'
import t from 'tap'
import { dealHand } from '../../../agent/supervise/deal.ts'

t.test('a hand is two different proxies that exist, or all there are', (t) => {
  fc.assert(
    fc.property(fc.string(), fc.integer({ min: 1, max: 20 }), (uid, count) => {
      const hand = dealHand(uid, count)
      return (
        hand.length === Math.min(2, count) &&
        new Set(hand).size === hand.length &&
        hand.every((id) => Number.isInteger(id) && id >= 0 && id < count)
      )
    }),
  )
  t.end()
})

t.test('the same pod gets the same hand, and hands spread over all pairs', (t) => {
  t.same(dealHand('a', 8), dealHand('a', 8))
  const hands = new Set(Array.from({ length: 1000 }, (_, i) => dealHand(`pod-${i}`, 8).join()))
  t.equal(hands.size, 28)
  t.end()
})

t.test('one proxy more changes few hands', (t) => {
  const uids = Array.from({ length: 1000 }, (_, i) => `pod-${i}`)
  const moved = uids.filter((uid) => dealHand(uid, 8).join() !== dealHand(uid, 9).join()).length
  t.ok(moved < 350, `${moved} of 1000 moved`)
  t.end()
})
