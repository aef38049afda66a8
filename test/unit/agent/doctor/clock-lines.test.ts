import t from 'tap'
import { certificateClockLines, serverClockLine } from '../../../../agent/doctor/clock-lines.ts'

t.test('the clock is compared within what a Date header and an answer’s way allow', async (t) => {
  // The header is of 10:00:00, which is any moment of that second.
  const dateMs = Date.parse('2026-01-01T10:00:00Z')
  const cases: readonly (readonly [number, 'ok' | 'warning' | 'failure', RegExp])[] = [
    [0, 'ok', /agrees/],
    [5_900, 'ok', /agrees/],
    [-4_900, 'ok', /agrees/],
    [31_000, 'warning', /30 s ahead of/],
    [-30_000, 'warning', /30 s behind/],
    [90_000, 'failure', /ahead of/],
    [-90_000, 'failure', /behind/],
  ]
  for (const [offMs, result, what] of cases) {
    const line = serverClockLine({ dateMs, askedMs: dateMs + offMs, answeredMs: dateMs + offMs })
    t.match(line, { result, what }, String(offMs))
    t.equal(line.remedy === '', result === 'ok')
  }
  const slow = serverClockLine({ dateMs, askedMs: dateMs - 60_000, answeredMs: dateMs + 60_000 })
  t.equal(slow.result, 'ok', 'an answer that took two minutes says nothing about the clock')
  t.equal(serverClockLine({ dateMs: undefined, askedMs: 0, answeredMs: 0 }).result, 'warning')
})

t.test('a certificate that begins in the future shows a clock that is behind', async (t) => {
  const now = 1_000_000
  const one = (name: string, notBeforeMs: number) => ({ spiffeId: `spiffe://c/ns/shop/sa/${name}`, notBeforeMs })
  t.strictSame(certificateClockLines([one('pending', 0), one('web', now)], now), [])
  t.match(certificateClockLines([one('web', now + 500), one('cart', now + 90_000)], now), [
    { result: 'failure', what: /2 certificates begin later, that of .*cart in 90 s/, remedy: /synchronise/ },
  ])
})
