import t from 'tap'
import { backoffMs, KeyedQueue, Semaphore } from '#base'

t.test('jobs of one key run one after the other, also behind one that failed', async (t) => {
  const queue = new KeyedQueue()
  const seen: string[] = []
  const gate = Promise.withResolvers<void>()
  const first = queue.run('a', async () => {
    await gate.promise
    seen.push('first')
    throw new Error('failed')
  })
  const second = queue.run('a', async () => void seen.push('second'))
  await queue.run('b', async () => void seen.push('other'))
  gate.resolve()
  await t.rejects(first, { message: 'failed' })
  await second
  t.same(seen, ['other', 'first', 'second'])
  await queue.idle()
  t.equal(queue.size, 0)
})

t.test('a semaphore lets no more jobs run than it has slots', async (t) => {
  const semaphore = new Semaphore(2)
  let running = 0
  let most = 0
  const job = async () => {
    running += 1
    most = Math.max(most, running)
    await new Promise((resolve) => setImmediate(resolve))
    running -= 1
  }
  await Promise.all(Array.from({ length: 9 }, () => semaphore.run(job)))
  t.equal(most, 2)
})

t.test('back-off doubles up to its bound, and jitter takes off at most half', (t) => {
  const options = { baseMs: 100, maxMs: 1000 }
  t.same(
    [1, 2, 3, 4, 5, 500].map((failures) => backoffMs(failures, 1, options)),
    [100, 200, 400, 800, 1000, 1000],
  )
  t.equal(backoffMs(3, 0, options), 200)
  t.end()
})
