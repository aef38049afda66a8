import t from 'tap'
import type { RetryPlan } from '#contract'
import { mayRetry, RetryWindow, retryDelayMs, type TryFailure } from '#routing'

const plan: RetryPlan = {
  attempts: 3,
  codes: [503],
  connectFailure: false,
  reset: false,
  timeout: false,
  backoffMs: 100,
  maxBackoffMs: 500,
}

t.test('only what the plan names is retried', async (t) => {
  const cases: readonly [Partial<RetryPlan>, TryFailure, boolean][] = [
    [{}, 503, true],
    [{}, 500, false],
    [{}, 'connect-failure', false],
    [{}, 'reset', false],
    [{}, 'timeout', false],
    [{ connectFailure: true }, 'connect-failure', true],
    [{ reset: true }, 'reset', true],
    [{ timeout: true }, 'timeout', true],
    [{ codes: [] }, 503, false],
  ]
  for (const [more, failure, expected] of cases) {
    t.equal(mayRetry({ ...plan, ...more }, failure), expected, `${JSON.stringify(more)} ${failure}`)
  }
})

t.test('the wait doubles up to the longest, with up to as much again', async (t) => {
  t.same(
    [1, 2, 3, 4, 40].map((retry) => retryDelayMs(plan, retry, 0)),
    [100, 200, 400, 500, 500],
  )
  t.equal(retryDelayMs(plan, 1, 0.5), 150)
})

t.test('the budget is a share of the requests of ten seconds and a few that there are always', async (t) => {
  const taken = (window: RetryWindow, percent: number, minPerSecond: number, now: number): number => {
    let count = 0
    while (count < 1_000 && window.takeRetry({ percent, minPerSecond }, now)) count++
    return count
  }
  t.equal(taken(new RetryWindow(), 20, 10, 5_000), 100)
  t.equal(taken(new RetryWindow(), 20, 0, 5_000), 0)
  const window = new RetryWindow()
  for (let i = 0; i < 100; i++) window.request(5_000 + i)
  t.equal(taken(window, 20, 0, 6_000), 20)
  t.equal(taken(window, 20, 0, 14_999), 0, 'they are used up')
  t.equal(taken(window, 20, 1, 14_999), 10, 'one a second there always is')
  t.equal(taken(window, 20, 1, 16_500), 0, 'retries of two seconds ago count')
  t.equal(taken(window, 20, 1, 26_000), 10, 'requests and retries of long ago do not')
})
