/** Whatever goes wrong upstream, a client gets one whole answer, and nothing stays counted. */
import fc from 'fast-check'
import t from 'tap'
import type { RetryPlan } from '#contract'
import { type FakeExchange, type FakeHandle, fakeExchange } from './fake-exchange.ts'

const PLAN: RetryPlan = {
  attempts: 2,
  codes: [503],
  connectFailure: true,
  reset: true,
  timeout: true,
  backoffMs: 0,
  maxBackoffMs: 0,
}

type Deed = 'ok' | 'fail' | 'fail-in-part' | 'other' | 'close' | 'garbage'
const ANSWERS: Readonly<Record<Exclude<Deed, 'close'>, string>> = {
  ok: 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
  fail: 'HTTP/1.1 503 No\r\ncontent-length: 2\r\n\r\nno',
  'fail-in-part': 'HTTP/1.1 503 No\r\ncontent-length: 9\r\n\r\npart',
  other: 'HTTP/1.1 500 Oh\r\ncontent-length: 2\r\n\r\noh',
  garbage: 'what?\r\n\r\n',
}

const pause = () => new Promise<void>((resolve) => setTimeout(resolve, 2))

/** Bodies of the whole requests that were written to an upstream connection. */
function requestsOf({ written }: FakeHandle): string[] {
  return written
    .split('POST / HTTP/1.1\r\n')
    .slice(1)
    .map((text) => text.slice(text.indexOf('\r\n\r\n') + 4))
}

/** Lets the upstreams do one deed for each whole request, until there is nothing to do. */
async function serve(exchange: FakeExchange, length: number, deeds: readonly Deed[]): Promise<number> {
  let done = 0
  const served = new Map<FakeHandle, number>()
  for (let idle = 0; idle < 4; idle++) {
    await pause()
    for (const handle of [...exchange.upstreams]) {
      const whole = requestsOf(handle).filter((body) => body.length === length).length
      if (whole <= (served.get(handle) ?? 0)) continue
      served.set(handle, whole)
      idle = 0
      const deed = deeds[done++] ?? 'ok'
      if (deed === 'close') handle.stream?.owner.onEnd()
      else handle.receive(ANSWERS[deed])
    }
  }
  return done
}

t.test('one answer to each request, from the first try that needs no other or the last one there may be', async (t) => {
  const deed = fc.constantFrom<Deed>('ok', 'fail', 'fail-in-part', 'other', 'close', 'garbage')
  await fc.assert(
    fc.asyncProperty(
      fc.array(deed, { minLength: 3, maxLength: 3 }),
      fc.array(fc.integer({ min: 1, max: 3_000 }), { minLength: 1, maxLength: 4 }),
      async (deeds, pieces) => {
        const exchange = fakeExchange({}, { retry: PLAN })
        const length = pieces.reduce((sum, piece) => sum + piece, 0)
        exchange.client.receive(`POST / HTTP/1.1\r\nHost: w\r\nContent-Length: ${length}\r\n\r\n`)
        for (const piece of pieces) {
          await Promise.resolve()
          await Promise.resolve()
          exchange.client.receive('x'.repeat(piece))
        }
        const tries = await serve(exchange, length, deeds)
        const deciding = deeds.findIndex((one, at) => one === 'ok' || one === 'other' || at === PLAN.attempts)
        const last = deeds[deciding]
        const status = last === 'ok' ? 200 : last === 'other' ? 500 : last === 'close' || last === 'garbage' ? 502 : 503
        const answers = exchange.client.written.match(/HTTP\/1\.1 \d+/g) ?? []
        const bodies = exchange.upstreams.flatMap(requestsOf)
        if (last === 'fail-in-part') for (const handle of exchange.upstreams) handle.stream?.owner.onEnd()
        return (
          tries === deciding + 1 &&
          answers.join() === `HTTP/1.1 ${status}` &&
          bodies.length === tries &&
          bodies.every((body) => body === 'x'.repeat(length)) &&
          exchange.outcomes.length === 1 &&
          exchange.flow.active === 0 &&
          exchange.flow.retrying === 0 &&
          exchange.load.active === 0 &&
          exchange.pod.requestsInFlight === 0
        )
      },
    ),
    { numRuns: 60 },
  )
  t.pass('held')
})

t.test('a client that goes while its request waits for the next try leaves nothing behind', async (t) => {
  const exchange = fakeExchange({}, { retry: { ...PLAN, backoffMs: 60_000, maxBackoffMs: 60_000 } })
  exchange.client.receive('POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 1\r\n\r\nx')
  await serve(exchange, 1, ['fail'])
  t.equal(exchange.flow.retrying, 1)
  exchange.connection.onClose(0)
  t.equal(exchange.outcomes[0]?.flag, 'DC')
  t.match(exchange.flow, { active: 0, retrying: 0 })
  t.equal(exchange.load.active, 0)
})

t.test('whoever waits for a connection gets the one that is freed, and whoever went is skipped', async (t) => {
  const exchange = fakeExchange({}, { breaker: { maxConnections: 1 } })
  const { flow } = exchange
  t.ok(flow.takeConnection())
  const woken: string[] = []
  const waiter = (name: string) => ({ connectionFreed: () => woken.push(name) })
  const [first, gone, last] = [waiter('first'), waiter('gone'), waiter('last')]
  for (const one of [first, gone, last]) t.equal(flow.wait(one), undefined)
  t.notOk(flow.takeConnection())
  flow.waitNoMore(gone)
  flow.connected(undefined)
  flow.wake()
  t.same(woken, ['first', 'last'])
  t.equal(flow.connections, 0)
})

t.test('the request’s own timeout is the end, whatever the tries', async (t) => {
  const exchange = fakeExchange({}, { retry: { ...PLAN, perTryTimeoutMs: 5 } })
  exchange.client.receive('POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 1\r\n\r\nx')
  for (let i = 0; i < 40 && exchange.outcomes.length === 0; i++) await pause()
  t.match(exchange.outcomes, [{ status: 504, flag: 'UT' }])
  t.equal(exchange.upstreams.flatMap(requestsOf).length, 3)
  t.match(exchange.flow, { active: 0, retrying: 0 })
})

t.test('an answer to half a request is the answer', async (t) => {
  const exchange = fakeExchange({}, { retry: PLAN })
  exchange.client.receive('POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 9\r\n\r\nhalf')
  await pause()
  exchange.upstreams[0]?.receive(ANSWERS.fail)
  await pause()
  t.match(exchange.client.written, /^HTTP\/1\.1 503 No/)
  t.equal(exchange.upstreams.length, 1)
  t.match(exchange.flow, { active: 0, retrying: 0 })
})

t.test('a connection that comes when its try is over is for another', async (t) => {
  const exchange = fakeExchange({}, { retry: { ...PLAN, perTryTimeoutMs: 20 } })
  exchange.dials.held = true
  exchange.client.receive('POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 1\r\n\r\nx')
  while (exchange.dials.waiting.length < 2) await pause()
  t.ok(exchange.load.latencyMs >= 5, 'an endpoint that lets connect for so long is no quick one')
  exchange.dials.held = false
  for (const connected of exchange.dials.waiting) connected()
  t.equal(await serve(exchange, 1, ['ok']), 1)
  t.same(exchange.upstreams.flatMap(requestsOf), ['x'])
  t.match(exchange.client.written, /^HTTP\/1\.1 200/)
  t.match(exchange.flow, { active: 0, connections: 2 })
  t.equal(exchange.load.active, 0)
})
