import t from 'tap'
import type { Endpoint, LocalityLevel } from '#contract'
import { nearest, type Place, sharedLevel } from '#routing'
import { endpoint } from './mesh-fixture.ts'

const LEVELS: readonly LocalityLevel[] = ['Node', 'Zone', 'Region']
const here: Place = { node: 'a', zone: 'z1', region: 'r1' }

t.test('how near two pods are', async (t) => {
  const cases: readonly [Place | undefined, number][] = [
    [here, 0],
    [{ ...here, node: 'b' }, 1],
    [{ ...here, node: 'b', zone: 'z2' }, 2],
    [{ node: 'b', zone: 'z1', region: 'r2' }, 3],
    [{ node: 'b' }, 3],
    [undefined, 3],
  ]
  for (const [other, level] of cases) t.equal(sharedLevel(LEVELS, here, other), level, JSON.stringify(other))
  t.equal(sharedLevel(['Zone'], { node: 'a' }, { node: 'a' }), 1, 'unknown zones are not the same')
})

t.test('the nearest are used while enough of them are available, then those of the next level too', async (t) => {
  const levels = [0, 0, 1, 1, 2, 3]
  const list = levels.map((_, i) => endpoint(`10.0.0.${i + 1}`))
  const left = (gone: readonly number[], failoverPercent = 60, all = list) =>
    nearest(
      { levels: LEVELS, failoverPercent },
      all,
      list.filter((_, i) => !gone.includes(i)),
      (one: Endpoint) => levels[list.findIndex(({ address }) => address === one.address)] ?? 9,
    ).map((one) => list.indexOf(one))
  t.same(left([]), [0, 1])
  t.same(left([0]), [1, 2, 3], 'half of the node is not enough')
  t.same(left([0], 50), [1])
  t.same(left([0, 1]), [2, 3, 4], 'half of the zone is not either')
  t.same(left([0, 1], 50), [2, 3])
  t.same(left([0, 1, 2, 3]), [4, 5])
  t.same(left([0, 1, 2, 3, 4], 0), [5])
  t.same(
    left(
      [0],
      60,
      list.map((one, i) => (i === 0 ? { ...one, terminating: true } : one)),
    ),
    [1],
    'one that goes is not missed',
  )
})
