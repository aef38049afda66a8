/** Which requests a proxy tells of, on which edge, and what becomes of those that there is no room for. */
import t from 'tap'
import type { TracingSettings } from '#contract'
import { Metrics } from '#telemetry'
import { readBatch, type TracedEdge, type TracedOnEdge } from '#tracing'
import type { ExchangeTarget } from '../../../src/proxy/exchange-target.ts'
import type { HttpExchange } from '../../../src/proxy/http-exchange.ts'
import type { RequestOutcome } from '../../../src/proxy/services.ts'
import { Tracer } from '../../../src/proxy/tracer.ts'

const SETTINGS: TracingSettings = { sampleRatio: 0, tail: 'on', slowMs: 1000 }
const PEER = { namespace: 'shop', pod: 'client', uid: 'u', service: 'client', version: '' }
const EDGE: TracedEdge = { source: PEER, destination: { ...PEER, pod: 'web', service: 'web' }, host: '', sides: 'both' }
const OUTCOME: RequestOutcome = {
  status: 200,
  flag: '-',
  why: '',
  trace: '',
  durationMs: 5,
  upstreamMs: 4,
  bytesIn: 0,
  bytesOut: 0,
  grpcStatus: -1,
  messagesIn: 0,
  messagesOut: 0,
}

function traced(settings: Partial<TracingSettings> = {}) {
  let now = 0
  const metrics = new Metrics()
  const sent: TracedOnEdge[] = []
  const leaving: (() => void)[] = []
  const tracer = new Tracer(
    { ...SETTINGS, ...settings },
    () => now,
    metrics,
    (_count, batch, done) => {
      sent.push(...(readBatch(batch) ?? []))
      leaving.push(done)
    },
  )
  /** @param flags of the caller's traceparent; empty: it has none */
  const end = (outcome: Partial<RequestOutcome> = {}, changes: Partial<HttpExchange> = {}, flags = '00', on = EDGE) => {
    const target = { traced: on, reporters: 3, upstream: '10.0.0.2:80', decision: undefined } as ExchangeTarget
    const exchange = {
      target,
      pipeline: { mirror: false, inbound: false, isProbe: () => false },
      version: 'HTTP/1.1',
      grpc: false,
      upgraded: false,
      method: 'GET',
      path: '/',
      authority: 'web',
      clientAddress: '10.0.0.1',
      requestId: () => '',
      ...changes,
    } as HttpExchange
    const given = flags === '' ? '' : `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-${flags}`
    tracer.ended(tracer.begin(given, undefined), exchange, target, { ...OUTCOME, ...outcome })
  }
  const dropped = () => {
    const family = metrics.snapshot().families.find(({ name }) => name === 'weir_spans_dropped_total')
    return Object.fromEntries((family?.series ?? []).map(({ labels, values }) => [labels['reason'], values[0]]))
  }
  return { tracer, end, sent, leaving, dropped, pass: (ms: number) => (now += ms) }
}

async function sentBy({ tracer, leaving, sent }: ReturnType<typeof traced>): Promise<readonly TracedOnEdge[]> {
  const closed = tracer.close()
  for (let done = leaving.shift(); done !== undefined; done = leaving.shift()) done()
  await closed
  return sent
}

t.test('what is not sampled is told of when it failed or was slow, if that is asked for', async (t) => {
  const on = traced()
  on.end()
  on.end({ status: 500 })
  on.end({ durationMs: 1000 })
  on.end({ durationMs: 60_000 }, { upgraded: true })
  on.end({ durationMs: 60_000, messagesOut: 9 }, { grpc: true })
  on.end({ durationMs: 60_000, messagesOut: 1 }, { grpc: true })
  on.end({}, {}, '01')
  t.same(
    (await sentBy(on)).map(({ request }) => request.reason),
    ['error', 'slow', 'slow', 'head'],
    'what lasts as long as both like is not slow',
  )
  const off = traced({ tail: 'off' })
  off.end({ status: 500 })
  off.end({ durationMs: 1000 })
  t.same(await sentBy(off), [])
})

t.test('errors are bounded by their rate, and what is beyond it is counted; sampled ones are not', async (t) => {
  const all = traced()
  for (let i = 0; i < 150; i++) all.end({ status: 500 })
  t.match(all.dropped(), { 'tail-rate': 50 })
  all.end({ status: 500 }, {}, '01')
  all.pass(100)
  for (let i = 0; i < 20; i++) all.end({ status: 500 })
  t.match(all.dropped(), { 'tail-rate': 60, 'proxy-queue': 0 })
  t.equal((await sentBy(all)).length, 111)
})

t.test('one batch leaves at a time, and what there is no room for meanwhile is counted', async (t) => {
  const all = traced()
  for (let i = 0; i < 5_000; i++) all.end({}, {}, '01')
  t.equal(all.leaving.length, 1, 'the agent has not taken the first yet')
  t.equal(all.sent.length, 256)
  t.match(all.dropped(), { 'proxy-queue': 5_000 - 256 - 2_048 })
  t.equal((await sentBy(all)).length, 256 + 2_048)
})

t.test('a pod that has all its requests traced crowds out none of those of others', async (t) => {
  const all = traced()
  const other: TracedEdge = { ...EDGE, source: { ...PEER, uid: 'other', pod: 'other' } }
  const outside: TracedEdge = { ...EDGE, source: undefined }
  for (let i = 0; i < 5_000; i++) all.end({}, {}, '01')
  for (let i = 0; i < 100; i++) all.end({}, {}, '01', other)
  for (let i = 0; i < 100; i++) all.end({ status: 500 }, {}, '00', outside)
  for (let i = 0; i < 5_000; i++) all.end({}, {}, '01')
  t.match(all.dropped(), { 'proxy-queue': 10_200 - 256 - 2_048 })
  all.leaving.shift()?.()
  const of = (sent: readonly TracedOnEdge[]) => {
    const told = (uid: string | undefined) => sent.filter(({ edge }) => edge.source?.uid === uid).length
    return { noisy: told('u'), other: told('other'), outside: told(undefined) }
  }
  t.same(of(all.sent.slice(256)), { noisy: 86, other: 85, outside: 85 }, 'they are told of in turns')
  t.same(of(await sentBy(all)), { noisy: 256 + 2_048 - 200, other: 100, outside: 100 })
})

t.test('long paths take no more room than there is', async (t) => {
  const all = traced()
  for (let i = 0; i < 1_000; i++) all.end({}, { path: `/${'x'.repeat(60_000)}` }, '01')
  const room = Math.floor((8 << 20) / 60_000)
  t.equal(all.sent.length, room, 'they do not wait until they are many')
  t.match(all.dropped(), { 'proxy-queue': 1_000 - 2 * room })
  t.equal((await sentBy(all)).length, 2 * room)
})

t.test('a request that was answered where it arrived, before it went anywhere, is of the pod it came to', async (t) => {
  const all = traced()
  all.end(
    { status: 503, flag: 'OM' },
    {
      target: undefined,
      pipeline: { inbound: true, mirror: false, isProbe: () => false } as unknown as HttpExchange['pipeline'],
    },
  )
  all.end({ status: 503, flag: 'UH' }, { target: undefined })
  const [arrived, left] = await sentBy(all)
  t.match(arrived, {
    edge: { source: undefined, destination: PEER, sides: 'server' },
    request: { clientId: '', serverId: /./ },
  })
  t.match(left, { edge: EDGE })
})

t.test('a batch names each edge once', async (t) => {
  const metrics = new Metrics()
  let text = ''
  const tracer = new Tracer(
    SETTINGS,
    () => 0,
    metrics,
    (_count, batch, done) => {
      text = batch
      done()
    },
  )
  const target = { traced: EDGE, reporters: 3, upstream: '', decision: undefined } as ExchangeTarget
  for (let i = 0; i < 3; i++) {
    const exchange = {
      target,
      pipeline: { mirror: false, inbound: false, isProbe: () => false },
      requestId: () => '',
      method: '',
      path: '',
      authority: '',
    }
    const trace = tracer.begin('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', undefined)
    tracer.ended(trace, exchange as unknown as HttpExchange, target, OUTCOME)
  }
  await tracer.close()
  t.equal(text.split('"client"').length - 1, 2, 'its source as a pod and as a service')
  t.equal(text.split('0af7651916cd43dd').length - 1, 3)
})

t.test("the kubelet's probes are no traces, unless somebody has begun one", async (t) => {
  const all = traced({ sampleRatio: 1 })
  const pipeline = { inbound: true, mirror: false, isProbe: () => true } as unknown as HttpExchange['pipeline']
  all.end({}, { pipeline }, '')
  all.end({ status: 503 }, { pipeline }, '')
  all.end({}, {}, '')
  all.end({}, { pipeline }, '01')
  t.equal((await sentBy(all)).length, 2)
})

t.test('what a path holds that is nobody’s business is not told', async (t) => {
  const all = traced()
  all.end({}, { path: '/cart;jsessionid=s3cret/items#access_token=s3cret', query: 'token=s3cret' }, '01')
  const [one] = await sentBy(all)
  t.equal(one?.request.path, '/cart;jsessionid=[redacted]/items#…')
  t.notMatch(JSON.stringify(one), /s3cret/)
})
