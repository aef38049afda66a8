/** What anybody may ask is asked of the proxies once in a while. */
import t from 'tap'
import { textReply } from '../../../agent/admin/reply.ts'
import { sharedMetrics } from '../../../agent/admin/shared-metrics.ts'

function counted() {
  let now = 0
  let asked = 0
  const answers = sharedMetrics(
    async (path) => textReply(`${path} ${++asked}`),
    () => now,
  )
  const ask = async (path: string, query = '') => (await answers(path, new URLSearchParams(query))).body
  return { ask, pass: (ms: number) => (now += ms) }
}

t.test('metrics are gathered once a second, however often they are asked for, in each form', async (t) => {
  const { ask, pass } = counted()
  t.same(await Promise.all([ask('/metrics'), ask('/metrics', 'x=1')]), ['/metrics 1', '/metrics 1'])
  pass(999)
  t.equal(await ask('/metrics'), '/metrics 1')
  t.equal(await ask('/metrics', 'format=json'), '/metrics 2')
  pass(1)
  t.equal(await ask('/metrics'), '/metrics 3')
})

t.test('all else is answered as it is asked', async (t) => {
  const { ask } = counted()
  t.same([await ask('/status'), await ask('/status')], ['/status 1', '/status 2'])
})

t.test('one that hangs is not waited for by those who come later, and one that failed is tried again', async (t) => {
  let now = 0
  let asked = 0
  const answers = sharedMetrics(
    () => (asked++ === 0 ? new Promise(() => {}) : Promise.reject(new Error('no proxies'))),
    () => now,
  )
  const ask = () => answers('/metrics', new URLSearchParams())
  void ask()
  now += 5_000
  await t.rejects(ask(), { message: 'no proxies' })
  now += 1_000
  await t.rejects(ask(), { message: 'no proxies' })
  t.equal(asked, 3)
})
