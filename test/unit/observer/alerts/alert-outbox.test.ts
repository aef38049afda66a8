/** What is told, and when: nothing is lost, nothing is told twice, and an end follows its beginning. */
import fc from 'fast-check'
import t from 'tap'
import { AlertOutbox, type OutboxMessage } from '../../../../src/observer/alerts/alert-outbox.ts'
import type { ToldAlert } from '../../../../src/observer/alerts/alertmanager-message.ts'

const REPEAT_MS = 1000

function alert(name: string, service: string, startsAtMs: number, endsAtMs?: number): ToldAlert {
  return {
    status: endsAtMs === undefined ? 'firing' : 'resolved',
    labels: { alertname: name, service },
    annotations: { summary: `since ${startsAtMs}` },
    startsAtMs,
    endsAtMs,
  }
}

function due(outbox: AlertOutbox, nowMs: number): readonly string[] {
  return outbox.due(nowMs, REPEAT_MS).map(({ group, alerts }) => {
    return `${group}: ${alerts.map(({ status, labels }) => `${labels['service']} ${status}`).join(', ')}`
  })
}

function deliver(outbox: AlertOutbox, nowMs: number): void {
  for (const message of outbox.due(nowMs, REPEAT_MS)) outbox.delivered(message, nowMs)
}

t.test('what fires is told once, again when its time comes, and its end once', async (t) => {
  const outbox = new AlertOutbox()
  outbox.update([alert('A', 'x', 1)], [], 1)
  t.same(due(outbox, 1), ['A: x firing'])
  deliver(outbox, 1)
  outbox.update([{ ...alert('A', 'x', 1), annotations: { summary: 'another value' } }], [], 2)
  t.same(due(outbox, 2), [])
  t.same(due(outbox, 1000), [])
  t.same(due(outbox, 1001), ['A: x firing'])
  deliver(outbox, 1001)
  outbox.update([], [alert('A', 'x', 1, 1500)], 1500)
  t.same(due(outbox, 1500), ['A: x resolved'])
  deliver(outbox, 1500)
  t.same(due(outbox, 99_999), [])
  t.same(outbox.groups, [], 'nothing is kept of it')
})

t.test('a message holds all of its rule that fires, and what ended since the last one', async (t) => {
  const outbox = new AlertOutbox()
  outbox.update([alert('A', 'x', 1), alert('A', 'y', 1), alert('B', 'x', 1)], [], 1)
  t.same(due(outbox, 1), ['A: x firing, y firing', 'B: x firing'])
  deliver(outbox, 1)
  outbox.update([alert('A', 'y', 1), alert('B', 'x', 1)], [alert('A', 'x', 1, 2)], 2)
  t.same(due(outbox, 2), ['A: y firing, x resolved'])
})

t.test('what began and ended while nothing arrived is told as ended', async (t) => {
  const outbox = new AlertOutbox()
  outbox.update([alert('A', 'x', 1)], [], 1)
  outbox.update([], [alert('A', 'x', 1, 2)], 2)
  t.same(due(outbox, 3), ['A: x resolved'])
})

t.test('what ended while its beginning was under way is told as ended after it', async (t) => {
  const outbox = new AlertOutbox()
  outbox.update([alert('A', 'x', 1)], [], 1)
  const [underWay] = outbox.due(1, REPEAT_MS)
  outbox.update([], [alert('A', 'x', 1, 2)], 2)
  if (underWay !== undefined) outbox.delivered(underWay, 3)
  t.same(due(outbox, 3), ['A: x resolved'])
})

t.test('what fires again before its end was told is told as firing, with its new beginning', async (t) => {
  const outbox = new AlertOutbox()
  outbox.update([alert('A', 'x', 1)], [], 1)
  deliver(outbox, 1)
  outbox.update([], [alert('A', 'x', 1, 2)], 2)
  outbox.update([alert('A', 'x', 3)], [], 3)
  t.match(outbox.due(3, REPEAT_MS), [{ alerts: [{ status: 'firing', startsAtMs: 3 }] }])
  t.equal(outbox.due(3, REPEAT_MS)[0]?.alerts.length, 1)
})

t.test('what began and ended again while its first end was under way is told, too', async (t) => {
  const outbox = new AlertOutbox()
  outbox.update([], [alert('A', 'x', 1, 2)], 2)
  const [underWay] = outbox.due(2, REPEAT_MS)
  outbox.update([alert('A', 'x', 3)], [], 3)
  outbox.update([], [alert('A', 'x', 3, 4)], 4)
  if (underWay !== undefined) outbox.delivered(underWay, 5)
  t.match(outbox.due(5, REPEAT_MS), [{ alerts: [{ startsAtMs: 3, endsAtMs: 4 }] }])
})

t.test('what the receiver takes for firing and is not any more is ended, whoever forgot it', async (t) => {
  const before = new AlertOutbox()
  before.update([alert('A', 'x', 1), alert('A', 'y', 1)], [], 1)
  deliver(before, 1)
  const outbox = new AlertOutbox(before.groups)
  outbox.update([alert('A', 'y', 1)], [], 5)
  t.same(due(outbox, 5), ['A: y firing, x resolved'])
  t.equal(outbox.due(5, REPEAT_MS)[0]?.alerts[1]?.endsAtMs, 5)
})

t.test('over a restart nothing is told again', async (t) => {
  const before = new AlertOutbox()
  before.update([alert('A', 'x', 1)], [], 1)
  deliver(before, 1)
  const outbox = new AlertOutbox(JSON.parse(JSON.stringify(before.groups)) as typeof before.groups)
  outbox.update([alert('A', 'x', 1)], [], 500)
  t.same(due(outbox, 500), [])
  t.same(due(outbox, 1001), ['A: x firing'])
})

t.test('another receiver is told what fires, and not the end of what it never heard of', async (t) => {
  const outbox = new AlertOutbox()
  outbox.update([alert('A', 'x', 1), alert('B', 'y', 1)], [], 1)
  deliver(outbox, 1)
  outbox.forgetTold()
  outbox.update([alert('A', 'x', 1)], [], 2)
  t.same(due(outbox, 2), ['A: x firing'])
})

t.test('of what was never told as firing, two hundred ends wait at most; those that were told all do', async (t) => {
  const outbox = new AlertOutbox()
  outbox.update([alert('A', 'told', 1)], [], 1)
  deliver(outbox, 1)
  outbox.update([], [alert('A', 'told', 1, 2)], 2)
  for (let i = 0; i < 300; i++) outbox.update([], [alert('A', `x${i}`, i, i + 1)], i + 3)
  const [message] = outbox.due(1000, REPEAT_MS)
  t.equal(message?.alerts.length, 200)
  t.ok(message?.alerts.some(({ labels }) => labels['service'] === 'told'))
  t.equal(outbox.dropped, 101)
})

/** A receiver that goes by what it is told, as people would. */
function believes(messages: readonly OutboxMessage[]): ReadonlySet<string> {
  const firing = new Set<string>()
  for (const { alerts } of messages) {
    for (const { status, labels } of alerts) {
      const name = `${labels['alertname']} ${labels['service']}`
      if (status === 'firing') firing.add(name)
      else firing.delete(name)
    }
  }
  return firing
}

t.test(
  'any order of beginnings, ends, failures and restarts: in the end the receiver believes what is so',
  async (t) => {
    const steps = fc.array(
      fc.oneof(
        fc.record({ toggle: fc.constantFrom('A x', 'A y', 'B x') }),
        fc.constant('deliver' as const),
        fc.constant('fail' as const),
        fc.constant('restart' as const),
      ),
      { maxLength: 60 },
    )
    fc.assert(
      fc.property(steps, (all) => {
        let outbox = new AlertOutbox()
        const firing = new Map<string, ToldAlert>()
        const arrived: OutboxMessage[] = []
        let nowMs = 1
        for (const step of [...all, 'deliver' as const]) {
          nowMs++
          if (step === 'restart')
            outbox = new AlertOutbox(JSON.parse(JSON.stringify(outbox.groups)) as typeof outbox.groups)
          const ended: ToldAlert[] = []
          if (typeof step === 'object') {
            const [name = '', service = ''] = step.toggle.split(' ')
            const was = firing.get(step.toggle)
            if (was === undefined) firing.set(step.toggle, alert(name, service, nowMs))
            else {
              firing.delete(step.toggle)
              ended.push({ ...was, status: 'resolved', endsAtMs: nowMs })
            }
          }
          outbox.update([...firing.values()], ended, nowMs)
          if (step !== 'deliver') continue
          for (const message of outbox.due(nowMs, REPEAT_MS)) {
            arrived.push(message)
            outbox.delivered(message, nowMs)
          }
        }
        const [believed, so] = [[...believes(arrived)].sort(), [...firing.keys()].sort()]
        if (JSON.stringify(believed) !== JSON.stringify(so)) throw new Error(`${believed} instead of ${so}`)
      }),
    )
    t.pass()
  },
)
