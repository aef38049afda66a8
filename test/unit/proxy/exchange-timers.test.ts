import t from 'tap'
import { ExchangeTimers, requestTimeoutOf } from '../../../src/proxy/exchange-timers.ts'

const retry = {
  attempts: 1,
  codes: [],
  connectFailure: true,
  reset: true,
  timeout: true,
  backoffMs: 0,
  maxBackoffMs: 0,
}

t.test(
  'the shorter of what the route allows and the client waits counts, unless the try is all there is',
  async (t) => {
    const limits = (requestTimeoutMs?: number, backendRequestTimeoutMs?: number, retried = false) => ({
      requestTimeoutMs,
      backendRequestTimeoutMs,
      retry: retried ? retry : undefined,
    })
    const rows = [
      [undefined, undefined, undefined],
      [undefined, 5, 5],
      [limits(), undefined, undefined],
      [limits(), 5, 5],
      [limits(9), undefined, 9],
      [limits(9), 5, 5],
      [limits(9), 20, 9],
      [limits(9, 9), undefined, undefined],
      [limits(9, 4, true), undefined, 9],
      [limits(9, 4), 5, 5],
      [limits(9, 4), 20, undefined],
      [limits(undefined, 4), undefined, undefined],
      [limits(undefined, 4), 20, 20],
    ] as const
    for (const [of, client, expected] of rows) {
      t.equal(requestTimeoutOf(of, client), expected, `${JSON.stringify(of)}, client ${client}`)
    }
  },
)

t.test('each timer tells its owner what it was of, and none that was ended does', async (t) => {
  const told: string[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const timers = new ExchangeTimers({
    timeIsOver: (timeoutMs, ofTry) => {
      told.push(`${ofTry ? 'try' : 'request'} ${timeoutMs}`)
      if (!ofTry) timers.later(1, resolve)
    },
  })
  timers.startTry(1)
  timers.endTry()
  timers.startRequest(1)
  timers.later(1, () => told.push('cleared'))
  timers.clear()
  timers.startTry(2)
  timers.startRequest(4)
  await promise
  t.strictSame(told, ['try 2', 'request 4'])
})
