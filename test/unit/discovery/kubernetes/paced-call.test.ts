import t from 'tap'
import { PacedCall } from '../../../../src/discovery/kubernetes/paced-call.ts'

/** Keeps the event loop for so long, as compiling a large world does. */
function work(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

t.test(
  'However often it is asked for, a call comes once, and the next one not before four times its length',
  async (t) => {
    const times: { readonly from: number; readonly to: number }[] = []
    const done = Promise.withResolvers<void>()
    const paced = new PacedCall({
      gapMs: 1,
      maxGapMs: 1000,
      call: () => {
        const from = performance.now()
        work(20)
        times.push({ from, to: performance.now() })
        if (times.length === 2) done.resolve()
        else paced.ask()
      },
    })
    for (let count = 0; count < 100; count++) paced.ask()
    await done.promise
    const [first = { from: 0, to: 0 }, second = { from: 0, to: 0 }] = times
    // A timer may be a millisecond early.
    t.ok(second.from - first.to >= 4 * (first.to - first.from) - 2)
  },
)

t.test('The pause has a bound, and after disposal nothing is called', async (t) => {
  let calls = 0
  const second = Promise.withResolvers<void>()
  const paced = new PacedCall({
    gapMs: 1,
    maxGapMs: 2,
    call: () => {
      work(5)
      if (++calls === 2) second.resolve()
    },
  })
  paced.callNow()
  paced.ask()
  await second.promise
  paced.ask()
  paced[Symbol.dispose]()
  paced.callNow()
  await new Promise((resolve) => setTimeout(resolve, 30))
  t.equal(calls, 2)
})
