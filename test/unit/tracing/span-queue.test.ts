/** Traced requests on their way to a collector that takes them, or does not: bounded, and all accounted for. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import t from 'tap'
import { type SpanCounts, SpanQueue, type SpanSink, type TracedOnEdge } from '#tracing'

const items = (count: number, round = 0) => {
  return Array.from({ length: count }, () => ({ edge: {}, request: { status: round }, characters: 0 }) as TracedOnEdge)
}

const REQUEST: TracedOnEdge = {
  characters: 0,
  edge: { source: undefined, destination: undefined, host: '', sides: 'client' },
  request: {
    traceId: '0af7651916cd43dd8448eb211c80319c',
    parentId: '',
    clientId: 'b7ad6b7169203331',
    serverId: '',
    sampled: true,
    reason: 'head',
    startMs: 1,
    durationMs: 1,
    method: 'GET',
    path: '/',
    authority: 'web',
    isHttp2: false,
    isGrpc: false,
    isMirror: false,
    status: 200,
    grpcStatus: -1,
    flag: '-',
    why: '',
    clientAddress: '10.0.0.1',
    upstream: '10.0.0.2:80',
    route: '',
    policy: '',
    requestId: '',
    bytesIn: 0,
    bytesOut: 0,
    retries: [],
  },
}

/** A sink whose answers are those that the test gives, one for each export. */
class HeldSink implements SpanSink {
  readonly batches: number[] = []
  readonly rounds = new Set<number>()
  readonly #statuses: number[] = []
  readonly #answers: PromiseWithResolvers<Awaited<ReturnType<SpanSink['export']>>>[] = []
  readonly #asked: (() => void)[] = []

  export(requests: readonly TracedOnEdge[]): ReturnType<SpanSink['export']> {
    this.batches.push(requests.length)
    for (const { request } of requests) {
      this.rounds.add(request.status)
      this.#statuses.push(request.status)
    }
    const answer = Promise.withResolvers<Awaited<ReturnType<SpanSink['export']>>>()
    this.#answers.push(answer)
    for (const tell of this.#asked.splice(0)) tell()
    return answer.promise
  }

  /** How many with that status. */
  told(status: number): number {
    return this.#statuses.filter((one) => one === status).length
  }

  /** Answers the export that waits, or the next one. */
  async answer(failure?: Awaited<ReturnType<SpanSink['export']>>): Promise<void> {
    while (this.#answers.length === 0) await new Promise<void>((resolve) => this.#asked.push(resolve))
    this.#answers.shift()?.resolve(failure)
    await new Promise(setImmediate)
  }

  [Symbol.dispose](): void {}
}

function started(now: () => number = () => 0) {
  const sink = new HeldSink()
  const problems: string[] = []
  let counts: SpanCounts = { sent: 0, overflowed: 0, refused: 0 }
  const queue = new SpanQueue({
    node: 'node-1',
    url: 'http://collector/v1/traces',
    onProblem: (problem) => problems.push(problem),
    onCounts: (told) => {
      counts = told
    },
    now,
    random: () => 0,
    openSink: () => Promise.resolve(sink),
  })
  return { sink, queue, problems, counts: () => counts }
}

const FAILED = { error: new Error('connect ECONNREFUSED'), isFinal: false }

t.test('what came together is sent in batches, one at a time', async (t) => {
  const { sink, queue, counts } = started()
  queue.add(items(300))
  queue.add(items(10))
  await sink.answer()
  await sink.answer()
  t.same(sink.batches, [256, 54])
  t.same(counts(), { sent: 310, overflowed: 0, refused: 0 })
  queue.add(items(1))
  await sink.answer()
  t.equal(counts().sent, 311)
  await queue.stop()
})

t.test(
  'while nobody takes any, the oldest go first, it is said once, and what is left is sent afterwards',
  async (t) => {
    const { sink, queue, counts, problems } = started()
    queue.add(items(256))
    await sink.answer(FAILED)
    for (let round = 1; round <= 40; round++) queue.add(items(256, round))
    t.match(counts(), { sent: 0, overflowed: 40 * 256 - 8_192, refused: 0 })
    await sink.answer(FAILED)
    t.same(problems, ['Spans not taken by http://collector/v1/traces: connect ECONNREFUSED'])
    for (let i = 0; i < 33; i++) await sink.answer()
    t.match(counts(), { sent: 256 + 8_192, overflowed: 40 * 256 - 8_192, refused: 0 })
    t.same([...sink.rounds], [0, ...Array.from({ length: 32 }, (_, i) => 9 + i)])
    await queue.stop()
  },
)

t.test('while nobody takes any, a pod with many crowds out none of those of others', async (t) => {
  const { sink, queue, counts } = started()
  const of = (uid: string, count: number) => {
    const peer = { namespace: 'shop', pod: uid, uid, service: uid, version: '' }
    const status = uid === 'quiet' ? 1 : 2
    return Array.from({ length: count }, () => ({
      ...REQUEST,
      edge: { ...REQUEST.edge, source: peer },
      request: { ...REQUEST.request, status },
    }))
  }
  queue.add(of('noisy', 256))
  await sink.answer(FAILED)
  queue.add(of('quiet', 1_000))
  for (let i = 0; i < 100; i++) queue.add(of('noisy', 256))
  t.match(counts(), { overflowed: 1_000 + 100 * 256 - 8_192 })
  await sink.answer()
  await sink.answer()
  await sink.answer()
  t.equal(sink.told(1), 3 * 128, 'half of what was sent since')
  for (let i = 0; i < 30; i++) await sink.answer()
  t.equal(sink.told(1), 1_000)
  t.equal(sink.told(2), 2 * 256 + 8_192 - 1_000, 'the first ones twice')
  await queue.stop()
})

t.test('what a proxy can make long takes no more than its room', async (t) => {
  const { sink, queue, counts } = started()
  queue.add([REQUEST])
  await sink.answer(FAILED)
  queue.add(Array.from({ length: 2_000 }, () => ({ ...REQUEST, characters: 16_384 })))
  t.match(counts(), { overflowed: 2_000 - 1_024 })
  for (let i = 0; i < 5; i++) await sink.answer()
  t.match(counts(), { sent: 1 + 1_024 })
  await queue.stop()
})

t.test('what is refused, or not taken for five minutes, is given up, and the next is tried', async (t) => {
  let now = 0
  const { sink, queue, counts, problems } = started(() => now)
  queue.add(items(256))
  queue.add(items(100))
  await sink.answer({ error: new Error('400'), isFinal: true })
  t.match(counts(), { sent: 0, refused: 256 })
  await sink.answer(FAILED)
  now = 300_001
  await sink.answer(FAILED)
  t.match(counts(), { sent: 0, refused: 356 })
  t.equal(problems.length, 1)
  queue.add(items(5))
  await sink.answer()
  t.match(counts(), { sent: 5, refused: 356 })
  await queue.stop()
})

t.test('told to end, it tries what is left once', async (t) => {
  const { sink, queue, counts } = started()
  queue.add(items(600))
  const stopped = queue.stop()
  for (let i = 0; i < 3; i++) await sink.answer()
  await stopped
  t.match(counts(), { sent: 600, refused: 0 })
  const away = started()
  away.queue.add(items(600))
  await away.sink.answer(FAILED)
  const ended = away.queue.stop()
  await away.sink.answer(FAILED)
  await ended
  t.match(away.counts(), { sent: 0, refused: 256 })
})

t.test('a collector that answers with another protocol, once, stops no spans', async (t) => {
  let asked = 0
  const other = 'HTTP/1.1 101 Other\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'
  const taken = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}'
  const collector = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', () => socket.write(asked++ === 0 ? other : taken))
    t.teardown(() => socket.destroy())
  }).listen(0, '127.0.0.1')
  await once(collector, 'listening')
  t.teardown(() => collector.close())
  const bound = collector.address()
  const { promise: sent, resolve } = Promise.withResolvers<SpanCounts>()
  const problems: string[] = []
  const queue = new SpanQueue({
    node: 'node-1',
    url: `http://127.0.0.1:${typeof bound === 'object' ? bound?.port : 0}/v1/traces`,
    onProblem: (problem) => problems.push(problem),
    onCounts: (counts) => counts.sent > 0 && resolve(counts),
    now: () => performance.now(),
    random: () => 0,
    exportTimeoutMs: 500,
  })
  queue.add([REQUEST])
  t.same(await sent, { sent: 1, overflowed: 0, refused: 0 })
  t.match(problems, [/: the collector began to answer and did not end$/])
  await queue.stop()
})
