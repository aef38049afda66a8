/** A queue that many share: whoever brings most gives way, and is served no more often than others. */
import fc from 'fast-check'
import t from 'tap'
import { FairQueue } from '#tracing'

const ROOMY = { maxItems: 1_000, maxCharacters: 1_000_000 }

t.test('one of each in turn, those of one source in their order', async (t) => {
  const queue = new FairQueue<string>(ROOMY)
  for (const item of ['a1', 'a2', 'a3', 'b1', 'c1', 'c2']) queue.add(item.charAt(0), item, 1)
  t.same(queue.take(2), ['a1', 'b1'])
  queue.add('b', 'b2', 1)
  t.same(queue.take(2), ['c1', 'a2'], 'it goes on where it was')
  t.same(queue.take(9), ['b2', 'c2', 'a3'])
  t.equal(queue.length, 0)
  t.same(queue.take(9), [])
})

t.test('where there is no room the oldest of who has most gives way, by number or by size', async (t) => {
  const few = new FairQueue<string>({ maxItems: 4, maxCharacters: 100 })
  for (const item of ['a1', 'a2', 'a3', 'b1']) t.equal(few.add(item.charAt(0), item, 1), 0)
  t.equal(few.add('b', 'b2', 1), 1)
  t.equal(few.add('a', 'a4', 1), 1)
  t.same(few.take(9), ['a3', 'b1', 'a4', 'b2'])
  const small = new FairQueue<string>({ maxItems: 100, maxCharacters: 10 })
  for (const item of ['a1', 'a2', 'a3', 'a4']) small.add('a', item, 1)
  t.equal(small.add('b', 'b1', 6), 0)
  t.equal(small.add('c', 'c1', 1), 1, 'not of the one with the most items')
  t.equal(small.add('d', 'd1', 11), 1, 'nor is one taken that has no room at all')
  t.same(small.take(9), ['a1', 'c1', 'a2', 'a3', 'a4'])
})

t.test('whoever brings no more than its share loses nothing, whatever others bring', async (t) => {
  const maxItems = 40
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1, maxLength: 300 }),
      fc.integer({ min: 1, max: maxItems / 4 }),
      (order, modest) => {
        const queue = new FairQueue<string>({ maxItems, maxCharacters: maxItems })
        let left = modest
        let dropped = 0
        for (const of of order) {
          if (of === 'd' && left-- <= 0) continue
          dropped += queue.add(of, of, 1)
        }
        const told = order.filter((of) => of === 'd').length
        const taken = queue.take(maxItems + 1)
        t.ok(taken.length <= maxItems)
        t.equal(taken.filter((of) => of === 'd').length, Math.min(told, modest))
        t.equal(taken.length + dropped, order.length - Math.max(0, told - modest))
      },
    ),
  )
})
