/** In which order findings are told, and what is told only as a consequence of another. */
import t from 'tap'
import type { Detected } from '../../../src/observer/detected.ts'
import { MAX_FINDINGS, rankFindings } from '../../../src/observer/rank-findings.ts'

function detected(subject: string, changes: Partial<Detected> = {}): Detected {
  return {
    kind: 'error-rate',
    severity: 'warning',
    subject,
    says: `${subject} fails`,
    evidence: [],
    next: 'weir status',
    sinceMs: 0,
    hurt: 0,
    ...changes,
  }
}

const subjects = (found: readonly Detected[]) => rankFindings(found).map(({ subject }) => subject)

t.test('by severity, then by the requests it hurts, then the one that has been so for longer', async (t) => {
  const found = [
    detected('e', { severity: 'info', hurt: 1000 }),
    detected('d', { sinceMs: 2 }),
    detected('c', { sinceMs: 1 }),
    detected('b', { hurt: 5 }),
    detected('a', { severity: 'critical' }),
  ]
  t.same(subjects(found), ['a', 'b', 'c', 'd', 'e'])
})

t.test('what follows from another is told in its evidence only, through any number of steps', async (t) => {
  const found = [
    detected('a', { severity: 'critical', hurt: 50, follows: ['error-rate b'] }),
    detected('b', { hurt: 40, follows: ['error-rate nobody', 'no-endpoints c'] }),
    detected('c', { kind: 'no-endpoints', evidence: ['none is ready'] }),
  ]
  const [only, ...others] = rankFindings(found)
  t.same(others, [])
  t.match(only, { subject: 'c', severity: 'critical', evidence: ['none is ready', 'So: a fails', 'So: b fails'] })
  t.notOk('hurt' in (only ?? {}))
  t.notOk('follows' in (only ?? {}))
})

t.test('a circle ends at the worst of it', async (t) => {
  const found = [
    detected('entry', { hurt: 9, follows: ['error-rate a'] }),
    detected('a', { hurt: 1, follows: ['error-rate b'] }),
    detected('b', { hurt: 7, follows: ['error-rate c'] }),
    detected('c', { hurt: 3, follows: ['error-rate a'] }),
    detected('self', { follows: ['error-rate self'] }),
  ]
  const ranked = rankFindings(found)
  t.same(
    ranked.map(({ subject }) => subject),
    ['b', 'self'],
  )
  t.same(ranked[0]?.evidence, ['So: entry fails', 'So: c fails', 'So: a fails'])
})

t.test('of many consequences the worst are named, and the rest counted', async (t) => {
  const many = Array.from({ length: 9 }, (_, i) => detected(`d${i}`, { hurt: i, follows: ['error-rate a'] }))
  const [only] = rankFindings([detected('a'), ...many])
  t.same(only?.evidence, ['So: d8 fails', 'So: d7 fails', 'So: d6 fails', 'So: 6 more like these'])
})

t.test('who makes many findings crowds out nobody’s of another namespace', async (t) => {
  const many = Array.from({ length: 300 }, (_, i) => {
    return detected(`HTTPRoute evil/r${i}`, { severity: 'critical', hurt: 1000 })
  })
  const found = subjects([
    ...many,
    detected('shop/a -> shop/b'),
    detected('spiffe://td/ns/bank/sa/x'),
    detected('proxy 1'),
  ])
  t.equal(found.length, MAX_FINDINGS)
  t.same(found.slice(-3).toSorted(), ['proxy 1', 'shop/a -> shop/b', 'spiffe://td/ns/bank/sa/x'])
})

t.test('so many at most', async (t) => {
  const many = Array.from({ length: MAX_FINDINGS + 50 }, (_, i) => detected(`d${i}`))
  t.equal(rankFindings(many).length, MAX_FINDINGS)
})
