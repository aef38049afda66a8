import t from 'tap'
import { LAG_SAMPLE_MS, LoadShedder } from '../../../src/proxy/load-shedder.ts'

function shedder(shedLagMs = 500, resumeLagMs = 250) {
  let now = 0
  const found = new LoadShedder({ shedLagMs, resumeLagMs }, now)
  /** Looks that come so late, ms; tells after which of them `shedding` changed. */
  const late = (...times: readonly number[]) =>
    times.map((ms) => {
      now += LAG_SAMPLE_MS + ms
      return found.sample(now)
    })
  return { found, late }
}

t.test('a loop that runs late again and again sheds, until it has caught up', async (t) => {
  const { found, late } = shedder()
  t.same(late(0, 900, 900, 900), [false, false, false, true])
  t.equal(found.shedding, true)
  // Average: 394, then 197.
  t.same(late(0, 0), [false, true])
  t.equal(found.shedding, false)
})

t.test('between the thresholds it stays as it is', async (t) => {
  const { found, late } = shedder()
  late(400, 400, 400, 400, 400, 400)
  t.equal(found.shedding, false)
  late(900, 900, 900)
  t.equal(found.shedding, true)
  late(400, 400, 400, 400, 400, 400)
  t.equal(found.shedding, true)
})

t.test('one pause is no overload, however long', async (t) => {
  const { found, late } = shedder()
  late(0, 60_000, 0, 0)
  t.equal(found.shedding, false)
})

t.test('0 turns it off', async (t) => {
  const { found, late } = shedder(0)
  late(9_000, 9_000, 9_000, 9_000)
  t.equal(found.shedding, false)
})
