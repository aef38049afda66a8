import t from 'tap'
import { newEndpointHealth, observeCheck } from '#routing'

const LIMITS = { unhealthyThreshold: 3, healthyThreshold: 2 }

t.test('only results in a row count, either way', async (t) => {
  const health = newEndpointHealth()
  let now = 0
  const see = (...results: readonly string[]) => results.map((why) => observeCheck(health, why, LIMITS, ++now))
  t.same(see('', 'bad', 'bad', '', 'bad', 'bad'), [false, false, false, false, false, false])
  t.equal(health.healthy, true)
  t.same(see('worse'), [true])
  t.match(health, { healthy: false, why: 'worse', since: 7 })
  t.same(see('worst', '', 'bad', ''), [false, false, false, false], 'one that passes now and then is not well')
  t.match(health, { healthy: false, why: 'bad', since: 7 })
  t.same(see(''), [true])
  t.match(health, { healthy: true, why: '' })
})
