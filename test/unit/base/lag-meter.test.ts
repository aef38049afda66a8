import t from 'tap'
import { LagMeter } from '#base'

t.test('the greatest lag is told for a while, then forgotten', async (t) => {
  const meter = new LagMeter(0, 250)
  const ticks = (from: number, to: number) => {
    for (let now = from; now <= to; now += 250) meter.tick(now)
  }
  ticks(250, 1_000)
  t.equal(meter.peakMs, 0)
  meter.tick(1_350)
  t.equal(meter.peakMs, 100)
  ticks(1_600, 11_100)
  t.equal(meter.peakMs, 100)
  ticks(11_350, 22_000)
  t.equal(meter.peakMs, 0)
})
