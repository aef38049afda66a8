/** `weir diagnose` as text and as JSON, of an agent that answers what the test says. */
import t from 'tap'
import type { DiagnoseAnswer, Finding } from '#contract'
import { diagnoseVerb } from '../../../src/cli/diagnose.ts'

const NOW = Date.parse('2026-11-21T12:00:00Z')

const FINDING: Finding = {
  kind: 'error-rate',
  severity: 'critical',
  subject: 'shop/frontend -> shop/reviews',
  says: '38 % of requests fail',
  evidence: ['120 of 316 requests', 'an \u001b[31m escape'],
  next: 'weir explain --from shop/frontend-1 --to http://reviews.shop:80',
  sinceMs: NOW - 95_000,
}

async function run(status: number, answer: unknown, json = false) {
  return diagnoseVerb.run({
    values: {},
    words: [],
    json,
    ask: async () => ({ kind: 'answer', status, text: JSON.stringify(answer) }),
    listen: () => Promise.reject(new Error('not asked for')),
    print: async () => true,
    isTerminal: false,
    preflight: async () => [],
    annotatePod: async () => undefined,
    nowMs: NOW,
  })
}

function answer(findings: readonly Finding[], looks = 30): DiagnoseAnswer {
  return { node: 'node-1', atMs: NOW, windowMs: looks * 10_000, looks, lookMs: 10_000, findings }
}

t.test('the worst first, with its evidence and the next command, and exit code 1', async (t) => {
  const { exitCode, output } = await run(
    200,
    answer([FINDING, { ...FINDING, severity: 'info', subject: 'shop/quiet', evidence: [] }]),
  )
  t.equal(exitCode, 1)
  t.equal(
    output,
    `Node node-1, looked at every 10 s, for the last 5 min. Its own pods; other nodes' agents tell theirs.

1. CRITICAL shop/frontend -> shop/reviews: 38 % of requests fail (for 95 s).
   - 120 of 316 requests
   - an ?[31m escape
   next: weir explain --from shop/frontend-1 --to http://reviews.shop:80

2. INFO shop/quiet: 38 % of requests fail (for 95 s).
   next: weir explain --from shop/frontend-1 --to http://reviews.shop:80
`,
  )
})

t.test('nothing, and nothing worse than info, is exit code 0', async (t) => {
  const nothing = await run(200, answer([]))
  t.equal(nothing.exitCode, 0)
  t.match(nothing.output, /\n\nNothing is wrong that this agent can see\.\n$/)
  t.equal((await run(200, answer([{ ...FINDING, severity: 'info' }]))).exitCode, 0)
  t.equal((await run(200, answer([{ ...FINDING, severity: 'warning' }]))).exitCode, 1)
})

t.test('an agent that has looked only once says so', async (t) => {
  const { output } = await run(200, answer([], 1))
  t.match(output, /^Node node-1, looked at once since the agent was started: what changes with time shows in 10 s\.\n/)
})

t.test('an agent that does not look any more is not taken for one that finds nothing', async (t) => {
  const stale = { ...answer([]), atMs: NOW - 90_000 }
  const { exitCode, output } = await run(200, stale)
  t.equal(exitCode, 1)
  t.match(output, /^The last look was 90 s ago, and what came since is not known/m)
  t.notMatch(output, /Nothing is wrong/)
  t.equal((await run(200, { ...stale, atMs: NOW - 50_000 })).exitCode, 0)
})

t.test('JSON is what the agent answered, with the same exit code', async (t) => {
  const { exitCode, output } = await run(200, answer([FINDING]), true)
  t.equal(exitCode, 1)
  t.same(JSON.parse(output), answer([FINDING]))
})

t.test('an agent that is starting is told as such', async (t) => {
  const { exitCode, error } = await run(503, { error: 'The agent is starting, and has not looked yet; ask again' })
  t.equal(exitCode, 1)
  t.equal(error, 'The agent is starting, and has not looked yet; ask again')
})
