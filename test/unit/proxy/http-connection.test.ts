import fc from 'fast-check'
import t from 'tap'
import { type FakeExchange, type FakeHandle, fakeExchange } from './fake-exchange.ts'

const TRAILER = 'x-sum: 1\r\n'

interface Message {
  readonly start: string
  readonly body: string
}

/** Complete HTTP messages at the beginning of `wire`, read by a parser of its own. */
function messages(wire: string): { found: Message[]; rest: string } {
  const found: Message[] = []
  // The only trailer there is; where it stands is the engine's business.
  let rest = wire.replaceAll(TRAILER, '')
  for (;;) {
    const end = rest.indexOf('\r\n\r\n')
    if (end < 0) return { found, rest }
    const [start = '', ...lines] = rest.slice(0, end).split('\r\n')
    const header = (name: string) =>
      lines
        .find((line) => line.toLowerCase().startsWith(`${name}:`))
        ?.slice(name.length + 1)
        .trim()
    let body = ''
    let at = end + 4
    if (header('transfer-encoding') === 'chunked') {
      for (let size = -1; size !== 0; ) {
        const lineEnd = rest.indexOf('\r\n', at)
        if (lineEnd < 0) return { found, rest }
        size = Number.parseInt(rest.slice(at, lineEnd), 16)
        if (rest.length < lineEnd + 2 + size + 2) return { found, rest }
        body += rest.slice(lineEnd + 2, lineEnd + 2 + size)
        at = lineEnd + 2 + size + 2
      }
    } else {
      const length = Number(header('content-length') ?? 0)
      if (rest.length < at + length) return { found, rest }
      body = rest.slice(at, at + length)
      at += length
    }
    found.push({ start, body })
    rest = rest.slice(at)
  }
}

/** Cuts text at places that the numbers choose. */
function cutUp(text: string, sizes: readonly number[]): string[] {
  const pieces: string[] = []
  for (let at = 0, i = 0; at < text.length; i++) {
    const size = sizes.length === 0 ? text.length : (sizes[i % sizes.length] ?? 1)
    pieces.push(text.slice(at, at + size))
    at += size
  }
  return pieces
}

const chunked = (body: string, sizes: readonly number[]) =>
  `${cutUp(body, sizes)
    .map((piece) => `${piece.length.toString(16)};x=y\r\n${piece}\r\n`)
    .join('')}0\r\n${TRAILER}\r\n`

/** A server that answers each request with its start line and body; answers leave cut into pieces. */
class EchoEnd {
  readonly seen: Message[] = []
  readonly #taken = new Map<FakeHandle, number>()
  readonly #sizes: readonly number[]
  #outbox: { handle: FakeHandle; piece: string }[] = []

  constructor(sizes: readonly number[]) {
    this.#sizes = sizes
  }

  /** One step; false when there was nothing to do. */
  step(upstreams: readonly FakeHandle[]): boolean {
    for (const handle of upstreams) {
      const { found } = messages(handle.written)
      for (const message of found.slice(this.#taken.get(handle) ?? 0)) {
        this.seen.push(message)
        const text = `${message.start}|${message.body}`
        const odd = this.seen.length % 2 === 1
        const framing = odd
          ? `content-length: ${text.length}\r\n\r\n${text}`
          : `transfer-encoding: chunked\r\n\r\n${chunked(text, [7, 1])}`
        for (const piece of cutUp(`HTTP/1.1 200 OK\r\n${framing}`, this.#sizes)) this.#outbox.push({ handle, piece })
      }
      this.#taken.set(handle, found.length)
    }
    const next = this.#outbox[0]
    if (next === undefined || !next.handle.receive(next.piece)) return false
    this.#outbox = this.#outbox.slice(1)
    return true
  }
}

/** Sends the packets as the connection reads them, with the server answering, until nothing moves. */
async function run(exchange: FakeExchange, packets: readonly string[], server: EchoEnd): Promise<void> {
  let sent = 0
  for (let idle = 0; idle < 3; ) {
    const took = sent < packets.length && exchange.client.receive(packets[sent] ?? '')
    if (took) sent++
    const answered = server.step(exchange.upstreams)
    await Promise.resolve()
    idle = took || answered ? 0 : idle + 1
  }
}

const bodies = fc.string({ unit: 'binary-ascii', maxLength: 40 })
const requests = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('none' as const), body: fc.constant('') }),
    fc.record({ kind: fc.constant('fixed' as const), body: bodies }),
    fc.record({ kind: fc.constant('chunked' as const), body: bodies }),
  ),
  { minLength: 1, maxLength: 8 },
)
const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 6 })

t.test('however a stream of requests and answers is cut into packets, the same arrives, in order', async (t) => {
  await fc.assert(
    fc.asyncProperty(requests, sizes, sizes, async (list, clientCuts, serverCuts) => {
      const wire = list.map(({ kind, body }, i) => {
        const between = i % 3 === 2 ? '\r\n' : ''
        if (kind === 'none') return `${between}GET /${i} HTTP/1.1\r\nHost: w\r\n\r\n`
        const framing = kind === 'fixed' ? `Content-Length: ${body.length}` : 'Transfer-Encoding: chunked'
        return `${between}POST /${i} HTTP/1.1\r\nHost: w\r\n${framing}\r\n\r\n${kind === 'fixed' ? body : chunked(body, [3, 11])}`
      })
      const exchange = fakeExchange()
      const server = new EchoEnd(serverCuts)
      await run(exchange, cutUp(wire.join(''), clientCuts), server)
      const expected = list.map(({ kind, body }, i) => ({
        start: `${kind === 'none' ? 'GET' : 'POST'} /${i} HTTP/1.1`,
        body,
      }))
      const answers = messages(exchange.client.written)
      return (
        JSON.stringify(messages(exchange.upstreams.map((handle) => handle.written).join('')).found) ===
          JSON.stringify(expected) &&
        JSON.stringify(answers.found.map(({ body }) => body)) ===
          JSON.stringify(expected.map(({ start, body }) => `${start}|${body}`)) &&
        answers.rest === '' &&
        exchange.pod.requestsInFlight === 0 &&
        exchange.upstreams.length === 1
      )
    }),
    { numRuns: 300 },
  )
  t.pass('held')
})

t.test('whatever bytes come, nothing is thrown, and after a refusal nothing more is sent on', async (t) => {
  const junk = fc.array(
    fc.oneof(
      fc.string({ unit: 'binary-ascii', maxLength: 20 }),
      fc.constantFrom(
        '\r\n',
        '\n',
        'GET / HTTP/1.1\r\n',
        'Host: w\r\n',
        'Content-Length: 3\r\n',
        'Transfer-Encoding: chunked\r\n',
        '0\r\n\r\n',
        '\r\n\r\n',
      ),
    ),
    { maxLength: 20 },
  )
  await fc.assert(
    fc.asyncProperty(junk, sizes, async (parts, cuts) => {
      const exchange = fakeExchange({ maxHeadBytes: 256 })
      await run(exchange, cutUp(parts.join(''), cuts), new EchoEnd([]))
      const refusedAt = exchange.client.written.search(/HTTP\/1\.1 4\d\d/)
      const before = exchange.upstreams.map((handle) => handle.written).join('')
      exchange.client.receive('GET /after HTTP/1.1\r\nHost: w\r\n\r\n')
      await Promise.resolve()
      const after = exchange.upstreams.map((handle) => handle.written).join('')
      return refusedAt < 0 || after === before
    }),
    { numRuns: 300 },
  )
  t.pass('held')
})

t.test('a head whose time is over is 408, though each byte came soon after the other', async (t) => {
  const exchange = fakeExchange({ headTimeoutMs: 500 })
  for (let i = 0; i < 4; i++) {
    exchange.client.receive('G')
    exchange.passTo(1000 + i * 100)
  }
  t.equal(exchange.client.written, '')
  exchange.passTo(1500)
  t.match(exchange.client.written, /^HTTP\/1\.1 408 /)
  t.equal(exchange.outcomes[0]?.flag, 'SI')
  t.equal(exchange.client.ended, true)
})

t.test('a client that does not take its last answer is given up in the end, not at once', async (t) => {
  const exchange = fakeExchange({ bodyIdleTimeoutMs: 4000 })
  exchange.client.stalled = true
  exchange.client.receive('nonsense\r\n\r\n')
  t.match(exchange.client.written, /400/)
  exchange.passTo(3100)
  t.equal(exchange.client.closed, 'open')
  exchange.passTo(5200)
  exchange.passTo(7300)
  t.equal(exchange.client.closed, 'closed')
})

t.test('a client that has ended and whose answer never comes is given up', async (t) => {
  const exchange = fakeExchange()
  exchange.client.receive('GET / HTTP/1.1\r\nHost: w\r\n\r\n')
  await Promise.resolve()
  exchange.connection.onEnd()
  exchange.passTo(4000)
  t.equal(exchange.upstreams[0]?.closed, 'open', 'it may only have ended its side')
  exchange.passTo(6500)
  t.equal(exchange.upstreams[0]?.closed, 'closed')
  t.equal(exchange.outcomes[0]?.flag, 'DC')
  t.equal(exchange.pod.requestsInFlight, 0)
})

t.test('no more is read from a client while the upstream does not take it, and the reverse', async (t) => {
  const exchange = fakeExchange()
  exchange.client.receive('POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 1000\r\n\r\n')
  await Promise.resolve()
  const upstream = exchange.upstreams[0]
  if (upstream === undefined) throw new Error('No upstream connection')
  upstream.stalled = true
  t.equal(exchange.client.receive('x'.repeat(100)), true)
  t.equal(exchange.client.receive('x'), false)
  exchange.passTo(70_000)
  t.equal(exchange.client.written, '', 'and the client is not blamed for it')
  upstream.unstall()
  t.equal(exchange.client.receive('x'.repeat(900)), true)
  exchange.client.stalled = true
  upstream.receive('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n12345')
  t.equal(upstream.receive('6'), false)
  exchange.client.unstall()
  t.equal(upstream.receive('6'), true)
})

t.test('a client that is found gone by the write of its answer is told of once', async (t) => {
  const exchange = fakeExchange()
  exchange.client.receive('GET / HTTP/1.1\r\nHost: w\r\n\r\n')
  await Promise.resolve()
  exchange.client.broken = true
  exchange.upstreams[0]?.receive('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
  t.equal(exchange.client.closed, 'closed')
  t.same(
    exchange.outcomes.map(({ flag, status }) => ({ flag, status })),
    [{ flag: 'DC', status: 200 }],
  )
  const refused = fakeExchange()
  refused.client.broken = true
  refused.client.receive('nonsense\r\n\r\n')
  t.same(
    refused.outcomes.map(({ flag, status }) => ({ flag, status })),
    [{ flag: 'DPE', status: 400 }],
    'what it was refused for is not lost',
  )
})

t.test(
  'a client that hears, within the last of its body, that the upstream is gone is not waited for for ever',
  async (t) => {
    const exchange = fakeExchange()
    exchange.client.receive('POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 5\r\n\r\n')
    await Promise.resolve()
    const upstream = exchange.upstreams[0]
    if (upstream === undefined) throw new Error('No upstream connection')
    upstream.broken = true
    exchange.client.receive('hello')
    t.match(exchange.client.written, /^HTTP\/1\.1 502 /)
    exchange.passTo(4000)
    t.equal(exchange.client.closed, 'closed')
  },
)
