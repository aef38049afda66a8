import t from 'tap'
import { parseDurationMs } from '#schema'

t.test('Durations are those of GEP-2257', (t) => {
  const cases: [string, number | undefined][] = [
    ['0s', 0],
    ['500ms', 500],
    ['1h30m', 5_400_000],
    ['1m30s5ms', 90_005],
    ['99999h', 359_996_400_000],
    ['100000s', undefined],
    ['1h1m1s1ms1s', undefined],
    ['1.5s', undefined],
    ['-1s', undefined],
    ['10', undefined],
    ['1d', undefined],
    ['', undefined],
  ]
  for (const [text, expected] of cases) t.equal(parseDurationMs(text), expected, text)
  t.end()
})
