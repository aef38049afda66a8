/** What leaves the proxy for a tap: in batches, within bounds, and nothing when nobody looks. */
import t, { type Test } from 'tap'
import type { TapLoss } from '#contract'
import { AccessEdge, AccessLog, AccessRecord, Metrics } from '#telemetry'
import type { HttpExchange } from '../../../src/proxy/http-exchange.ts'
import { Recorder } from '../../../src/proxy/recorder.ts'
import type { RequestOutcome } from '../../../src/proxy/services.ts'
import { Taps } from '../../../src/proxy/tap.ts'
import type { Targets } from '../../../src/proxy/targets.ts'
import { NO_FILTER, tapSpec } from './fake-tap.ts'

const EDGE = new AccessEdge(7, 'node-1', {
  source: 'shop/web',
  sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/web',
  destination: 'shop/db',
  destinationIdentity: '',
  destinationService: 'db.shop.svc.cluster.local',
  protocol: 'http',
  direction: 'outbound',
  reporter: 'both',
})

interface Sent {
  readonly id: number
  readonly events: readonly string[]
  readonly lost: TapLoss
  readonly sent: () => void
}

function openTaps(t: Test) {
  const messages: Sent[] = []
  const clock = { now: 0 }
  const next = { resolve: () => {} }
  const taps = new Taps({
    send: (id, events, lost, sent) => {
      messages.push({ id, events, lost, sent })
      next.resolve()
    },
    now: () => clock.now,
    time: () => 1_700_000_000_000,
    ownerOf: () => undefined,
  })
  t.teardown(() => {
    for (const id of [1, 2]) taps.close(id)
  })
  /** The next message, or the first that is there already. */
  const message = async (): Promise<Sent> => {
    const first = messages.shift()
    if (first !== undefined) return first
    const { promise, resolve } = Promise.withResolvers<void>()
    next.resolve = resolve
    await promise
    return message()
  }
  return { taps, messages, message, clock }
}

function exchange(changes: Partial<HttpExchange> = {}): HttpExchange {
  return {
    method: 'GET',
    path: '/reviews',
    query: 'user=7',
    authority: 'me:pw@reviews',
    header: () => undefined,
    requestFields: () => ['Authorization', 'Bearer s3cret', 'x-a', '1'],
    answerFields: () => ['set-cookie', 'sid=s3cret'],
    ...changes,
  } as HttpExchange
}

const record = () => Object.assign(new AccessRecord(), { method: 'GET', path: '/reviews', status: 200, durationMs: 1 })

t.test('that it looks is told at once; what it sees comes in batches', async (t) => {
  const { taps, message, messages } = openTaps(t)
  taps.open(1, tapSpec())
  t.match(await message(), { id: 1, events: [], lost: { rate: 0, slow: 0 } })
  taps.request(EDGE, record(), exchange())
  taps.connection('opened', EDGE, record())
  taps.connection('connection', EDGE, record())
  t.same(messages, [], 'not one by one')
  const { events } = await message()
  t.match(
    events.map((event) => JSON.parse(event)),
    [
      {
        kind: 'request',
        time: '2023-11-14T22:13:20.000Z',
        source: 'shop/web',
        path: '/reviews?…',
        authority: '[redacted]@reviews',
        status: 200,
      },
      { kind: 'opened', destination: 'shop/db' },
      { kind: 'connection', destination: 'shop/db' },
    ],
  )
  t.notMatch(events.join(), /Headers/)
})

t.test('header fields are for the taps that ask for them, and keep their secrets', async (t) => {
  const { taps, message, messages } = openTaps(t)
  taps.open(1, tapSpec())
  t.notOk(taps.showsHeaders)
  taps.open(2, tapSpec({ showHeaders: true, redact: ['x-a'] }))
  t.ok(taps.showsHeaders)
  messages.length = 0
  taps.request(EDGE, record(), exchange())
  const [plain, full] = [await message(), await message()]
  t.notMatch(plain.events[0], /Headers/)
  t.match(JSON.parse(full.events[0] ?? ''), {
    requestHeaders: { authorization: '[redacted]', 'x-a': '[redacted]' },
    responseHeaders: { 'set-cookie': '[redacted]' },
  })
  t.notMatch(full.events[0], /s3cret/)
  taps.close(2)
  t.notOk(taps.showsHeaders)
})

t.test('more events than the rate are counted and told, of each tap by itself', async (t) => {
  const { taps, message, messages, clock } = openTaps(t)
  taps.open(1, tapSpec({ maxPerSecond: 3 }))
  taps.open(2, tapSpec())
  messages.length = 0
  for (let i = 0; i < 5; i++) taps.request(EDGE, record(), exchange())
  const [one, two] = [await message(), await message()]
  t.match([one.events.length, one.lost, two.events.length], [3, { rate: 2, slow: 0 }, 5])
  clock.now += 1_000
  taps.request(EDGE, record(), exchange())
  t.match([(await message()).events.length, (await message()).events.length], [1, 1])
})

t.test('all taps together tell no more than 2,000 a second', async (t) => {
  const { taps, message, messages } = openTaps(t)
  taps.open(1, tapSpec({ maxPerSecond: 5_000 }))
  messages.length = 0
  const count = 2_500
  for (let i = 0; i < count; i++) {
    taps.request(EDGE, record(), exchange())
    for (const { sent } of messages) sent()
  }
  let told = 0
  let lost = 0
  while (told + lost < count) {
    const { events, lost: more } = await message()
    told += events.length
    lost += more.rate
  }
  t.same([told, lost], [2_000, 500])
})

t.test('what the agent does not take is not kept: further events are counted until there is room', async (t) => {
  const { taps, messages, clock } = openTaps(t)
  taps.open(1, tapSpec({ maxPerSecond: 2_000 }))
  messages.length = 0
  const path = `/${'a'.repeat(3_000)}`
  const ask = () => {
    clock.now += 1
    taps.request(EDGE, record(), exchange({ path }))
  }
  for (let i = 0; i < 1_000; i++) ask()
  const chars = messages.reduce((sum, { events }) => sum + events.join('').length, 0)
  t.ok(chars > 256 << 10 && chars < 640 << 10, `bounded: ${chars} characters`)
  const told = () => messages.reduce((sum, { events }) => sum + events.length, 0)
  const before = told()
  for (const { sent } of messages) sent()
  for (let i = 0; i < 100; i++) ask()
  t.ok(told() > before)
  const lost = messages.reduce((sum, { lost: { slow } }) => sum + slow, 0)
  t.ok(lost > 500 && lost <= 1_000 - before, 'and told of with what comes next')
})

t.test('what does not fit is not rendered, and costs no rate', async (t) => {
  const { taps, message, messages } = openTaps(t)
  taps.open(1, tapSpec({ maxPerSecond: 1, filter: { ...NO_FILTER, methods: ['PUT'] } }))
  messages.length = 0
  for (let i = 0; i < 10; i++) taps.request(EDGE, record(), exchange())
  taps.request(EDGE, record(), exchange({ method: 'PUT' }))
  t.match(await message(), { events: [/"kind":"request"/], lost: { rate: 0 } })
})

t.test('a recorder without taps and log looks at nothing of a request', async (t) => {
  const log = new AccessLog({ target: 'off', node: 'node-1', metrics: new Metrics() })
  t.teardown(() => log[Symbol.asyncDispose]())
  const looked: PropertyKey[] = []
  const targets = { nowhere: () => ({}) } as unknown as Targets
  const recorder = new Recorder(targets, log, false, undefined)
  const watched = new Proxy(exchange(), {
    get: (of, name, receiver) => {
      looked.push(name)
      return Reflect.get(of, name, receiver)
    },
  })
  t.equal(recorder.taps, undefined)
  t.equal(recorder.keepsAnswers, false)
  recorder.request(watched, {} as RequestOutcome)
  t.same(looked, ['target', 'pod', 'clientAddress'], 'only what says where it went')
})
