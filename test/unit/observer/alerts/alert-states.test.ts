/** The life of an alert: by examples, and by what must hold of any life. */
import fc from 'fast-check'
import t from 'tap'
import type { AlertRule } from '../../../../src/observer/alerts/alert-rule.ts'
import { type Alert, advanceAlerts, type Ended, stepAlert } from '../../../../src/observer/alerts/alert-states.ts'
import type { Judged, Verdict } from '../../../../src/observer/alerts/judge-rules.ts'

const RULE: AlertRule = {
  name: 'A',
  severity: 'warning',
  condition: { kind: 'rate', of: 'requestsPerSecond', direction: 'above', threshold: 10, clear: 5, minRequests: 0 },
  scope: { kind: 'node' },
  windowMs: 60_000,
  forMs: 20_000,
  keepFiringForMs: 30_000,
  forgetAfterMs: 300_000,
  labels: {},
  annotations: {},
}
const LOOK_MS = 10_000

function seen(verdict: Verdict, subject = ''): Judged {
  return { subject, labels: {}, verdict, value: 1, summary: verdict, next: 'weir top --once' }
}

interface Told {
  readonly look: number
  readonly what: 'fired' | 'resolved'
}

/** What people hear of a life, look after look. @param looks undefined: there was no look */
function live(looks: readonly (Verdict | undefined)[], rule = RULE, told: Told[] = []): readonly Told[] {
  let alerts: ReadonlyMap<string, Alert> = new Map()
  for (const [look, verdict] of looks.entries()) {
    if (verdict === undefined) continue
    const after = advanceAlerts(alerts, [{ rule, judged: [seen(verdict)], others: 'unknown' }], look * LOOK_MS)
    alerts = after.alerts
    for (const _ of after.fired) told.push({ look, what: 'fired' })
    for (const _ of after.ended) told.push({ look, what: 'resolved' })
  }
  return told
}

const [o, b, c, u] = ['over', 'between', 'clear', 'unknown'] as const

t.test('it fires when it has been so for its time, and is resolved when it has been clear for its time', async (t) => {
  t.same(live([o, o, o, o, c, c, c, c, c]), [
    { look: 2, what: 'fired' },
    { look: 7, what: 'resolved' },
  ])
  t.same(live([o, c], { ...RULE, forMs: 0, keepFiringForMs: 0 }), [
    { look: 0, what: 'fired' },
    { look: 1, what: 'resolved' },
  ])
})

t.test('what was over for too short a time is never told', async (t) => {
  t.same(live([o, o, c, o, o, b, o, o, c]), [])
})

t.test('what is clear for too short a time, or only between the thresholds, is not resolved', async (t) => {
  t.same(live([o, o, o, c, c, o, c, c, b, c, c, b]), [{ look: 2, what: 'fired' }])
})

t.test('what is not known, and a look that was not taken, change nothing', async (t) => {
  t.same(live([o, u, u]), [], 'pending, but nobody knows if it still is so')
  t.same(live([o, u, o]), [{ look: 2, what: 'fired' }])
  t.same(live([o, o, o, c, u, u, u, u]), [{ look: 2, what: 'fired' }])
  t.same(live([o, undefined, o, undefined, undefined, c, undefined, undefined, c]), [
    { look: 2, what: 'fired' },
    { look: 8, what: 'resolved' },
  ])
})

t.test('what nothing has been known of for too long is resolved, and says so', async (t) => {
  const firing = stepAlert(undefined, seen(o), { ...RULE, forMs: 0 }, 0)
  if (firing === undefined || 'endedMs' in firing) throw new Error('does not fire')
  t.match(stepAlert(firing, seen(u), RULE, 299_999), { phase: 'firing' })
  t.match(stepAlert(firing, seen(u), RULE, 300_000), { endedMs: 300_000, because: 'unknown' })
  const pending = stepAlert(undefined, seen(o), RULE, 0)
  if (pending === undefined || 'endedMs' in pending) throw new Error('is not pending')
  t.equal(stepAlert(pending, seen(u), RULE, 300_000), undefined)
})

t.test('a clock that is set back makes nothing last longer', async (t) => {
  const pending = stepAlert(undefined, seen(o), RULE, 1_000_000)
  if (pending === undefined || 'endedMs' in pending) throw new Error('is not pending')
  const later = stepAlert(pending, seen(o), RULE, 10_000)
  t.match(later, { phase: 'pending', sinceMs: 10_000 })
  t.match(later === undefined || 'endedMs' in later ? undefined : stepAlert(later, seen(o), RULE, 30_000), {
    phase: 'firing',
    sinceMs: 30_000,
  })
})

t.test('what is not seen any more is as its rule says: clear or unknown; and without a rule it ends', async (t) => {
  const rule = { ...RULE, forMs: 0, keepFiringForMs: 0 }
  const { alerts } = advanceAlerts(new Map(), [{ rule, judged: [seen(o, 'x')], others: 'clear' }], 0)
  const gone = (others: 'clear' | 'unknown') => advanceAlerts(alerts, [{ rule, judged: [], others }], 1000)
  t.match(gone('clear'), { ended: [{ alert: { subject: 'x', summary: 'over' }, endedMs: 1000 }] })
  t.match(gone('unknown'), { ended: [] })
  t.equal(gone('unknown').alerts.size, 1)
  t.match(advanceAlerts(alerts, [], 1000), { ended: [{ because: 'rule-removed' }] })
})

t.test('there are at most a thousand at a time', async (t) => {
  const judged = Array.from({ length: 1200 }, (_, i) => seen(o, String(i)))
  const first = advanceAlerts(new Map(), [{ rule: RULE, judged, others: 'unknown' }], 0)
  t.equal(first.alerts.size, 1000)
  t.equal(first.leftOut, 200)
  const again = advanceAlerts(first.alerts, [{ rule: RULE, judged: judged.toReversed(), others: 'unknown' }], 1)
  t.same([...again.alerts.keys()].sort(), [...first.alerts.keys()].sort(), 'those that are there keep their place')
})

const verdicts = fc.constantFrom<Verdict | undefined>(o, b, c, u, undefined)
const lives = fc.array(verdicts, { maxLength: 60 })
const rules = fc
  .record({ forMs: fc.nat(5), keepFiringForMs: fc.nat(5), forgetAfterMs: fc.integer({ min: 2, max: 60 }) })
  .map(({ forMs, keepFiringForMs, forgetAfterMs }) => ({
    ...RULE,
    forMs: forMs * LOOK_MS,
    keepFiringForMs: keepFiringForMs * LOOK_MS,
    forgetAfterMs: forgetAfterMs * LOOK_MS,
  }))

t.test('any life: it fires and is resolved in turns, and fires only where it is over', async (t) => {
  fc.assert(
    fc.property(lives, rules, (looks, rule) => {
      const told = live(looks, rule)
      for (const [at, { what, look }] of told.entries()) {
        if (what !== (at % 2 === 0 ? 'fired' : 'resolved')) throw new Error('out of turn')
        if (what === 'fired' && looks[look] !== o) throw new Error('fires where it is not over')
      }
    }),
  )
  t.pass()
})

t.test(
  'any life: once it fires, what stays between the thresholds or unknown never ends it or tells it again',
  async (t) => {
    const calm = fc.array(fc.constantFrom<Verdict | undefined>(o, b, u, undefined), { maxLength: 60 })
    fc.assert(
      fc.property(calm, rules, (looks, rule) => {
        const begun: Verdict[] = [o, o, o, o, o, o]
        const told = live([...begun, ...looks.flatMap((one) => [one, o] as const)], rule)
        if (told.length !== 1) throw new Error(JSON.stringify(told))
      }),
    )
    t.pass()
  },
)

t.test('any life: between two ends, and two beginnings, lies at least what the rule asks for', async (t) => {
  fc.assert(
    fc.property(lives, rules, (looks, rule) => {
      const told = live(looks, rule)
      for (const [at, { what, look }] of told.entries()) {
        const before = told[at - 1]
        if (before === undefined) continue
        const least = what === 'fired' ? rule.forMs : Math.min(rule.keepFiringForMs, rule.forgetAfterMs)
        if ((look - before.look) * LOOK_MS < least) throw new Error(`${what} too soon`)
      }
    }),
  )
  t.pass()
})

t.test('any life: looks that were not taken, put in anywhere, change no order of what is told', async (t) => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom<Verdict>(o, b, c), { maxLength: 40 }), (looks) => {
      const rule = { ...RULE, forMs: 0, keepFiringForMs: 0 }
      const whole = live(looks, rule).map(({ what }) => what)
      const sparse = live(
        looks.flatMap((one) => [one, undefined]),
        rule,
      ).map(({ what }) => what)
      if (JSON.stringify(whole) !== JSON.stringify(sparse)) throw new Error('differs')
    }),
  )
  t.pass()
})

t.test('an end is told with what it was when it was over', async (t) => {
  const rule = { ...RULE, forMs: 0, keepFiringForMs: 0 }
  const first = advanceAlerts(new Map(), [{ rule, judged: [seen(o)], others: 'unknown' }], 0)
  const [ended]: readonly (Ended | undefined)[] = advanceAlerts(
    first.alerts,
    [{ rule, judged: [seen(c)], others: 'unknown' }],
    10,
  ).ended
  t.match(ended, { alert: { summary: 'over' }, endedMs: 10 })
})
