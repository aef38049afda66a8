/** `weir alerts` as text, of an agent that answers what the test says. */
import t from 'tap'
import type { AlertsAnswer } from '#contract'
import { alertsVerb } from '../../../src/cli/alerts.ts'

const NOW = Date.parse('2026-11-21T12:00:00Z')

async function run(answer: AlertsAnswer, json = false) {
  return alertsVerb.run({
    values: {},
    words: [],
    json,
    ask: async () => ({ kind: 'answer', status: 200, text: JSON.stringify(answer) }),
    listen: () => Promise.reject(new Error('not asked for')),
    print: async () => true,
    isTerminal: false,
    preflight: async () => [],
    annotatePod: async () => undefined,
    nowMs: NOW,
  })
}

const NONE: AlertsAnswer = { node: 'node-1', file: '', readMs: 0, rules: [], alerts: [] }
const SOME: AlertsAnswer = {
  ...NONE,
  file: '/etc/alerts.yaml',
  readMs: NOW - 60_000,
  rules: [{ name: 'A', severity: 'critical', says: 'the node, errors above 5 %', pending: 0, firing: 1 }],
  alerts: [
    {
      rule: 'A',
      severity: 'critical',
      state: 'clearing',
      labels: {},
      sinceMs: NOW - 5000,
      summary: 'an \u001b[31m escape',
      next: 'weir top --once',
      told: true,
    },
  ],
}
const DELIVERY = {
  to: 'http://a',
  format: 'webhook',
  deliveredMs: 0,
  waiting: 0,
  problem: '',
  failingSinceMs: 0,
} as const

t.test('without a file, and with one that holds no good rules, it says what to do', async (t) => {
  t.match(await run(NONE), {
    exitCode: 0,
    output: 'Node node-1: no rules of alerts. Give the agent a file with --alerts FILE.\n',
  })
  t.match(
    (await run({ ...NONE, file: '/etc/alerts.yaml' })).output,
    /none? are in force|no rules .* are in force, from \/etc\/alerts\.yaml/,
  )
})

t.test('what fires, and the rules; nothing that a terminal would obey', async (t) => {
  t.equal(
    (await run({ ...SOME, delivery: DELIVERY })).output,
    `Node node-1, rules of /etc/alerts.yaml, read 60 s ago. Told to http://a, never yet.

ALERT  SEVERITY  STATE     FOR  TOLD  WHAT             NEXT
A      critical  clearing  5 s  yes   an ?[31m escape  weir top --once

RULE  SEVERITY  FIRING  PENDING  LOOKS AT
A     critical  1       0        the node, errors above 5 %
`,
  )
  t.match(
    (await run({ ...SOME, alerts: [] })).output,
    /Nobody is told: the file has no webhook\.\n\nNothing fires\.\n\nRULE/,
  )
})

t.test('whether anybody hears of it', async (t) => {
  const told = async (delivery: object) => (await run({ ...SOME, delivery: { ...DELIVERY, ...delivery } })).output
  t.match(await told({ deliveredMs: NOW - 4000 }), /Told to http:\/\/a, last 4 s ago\.$/m)
  const failing = { problem: 'it answered 500', failingSinceMs: NOW - 9000, waiting: 2 }
  t.match(await told(failing), /Nothing reaches http:\/\/a since 9 s: it answered 500; 2 to tell\.$/m)
})

t.test('as JSON it is what the agent answers', async (t) => {
  t.same(JSON.parse((await run(SOME, true)).output), SOME)
})
