/** Translated exchanges in pieces of any size: the same message however it is cut, and nothing stays held. */
import fc from 'fast-check'
import t from 'tap'
import type { Versioning } from '#contract'
import { type FakeExchange, fakeExchange } from './fake-exchange.ts'

const versioning: Versioning = {
  unknown: 'Pass',
  maxBodyBytes: 2000,
  versions: [
    {
      name: '1',
      matches: [{ type: 'PathPrefix', value: '/v1' }],
      request: {
        prefixes: [{ from: '/v1', to: '/v2' }],
        body: [{ type: 'Rename', path: ['a', null, 'old'], to: 'new' }],
      },
      response: { body: [{ type: 'Rename', path: ['a', null, 'new'], to: 'old' }], errorBody: [] },
    },
  ],
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** Hands over a text in pieces of these sizes, each when it is read. */
async function feed(receive: (text: string) => boolean, text: string, sizes: readonly number[]): Promise<void> {
  for (let at = 0, i = 0; at < text.length; i++) {
    const piece = text.slice(at, at + (sizes[i % sizes.length] ?? 1))
    for (let tries = 0; !receive(piece) && tries < 10; tries++) await turn()
    at += piece.length
  }
  await turn()
}

const json = (count: number) => `{"a":[${Array.from({ length: count }, (_, i) => `{"old":${i}.0}`).join(',')}],"x":"y"}`
const chunk = (text: string) => (text === '' ? '' : `${text.length.toString(16)}\r\n${text}\r\n`)

interface Framed {
  readonly head: string
  readonly body: string
}
function framed(body: string, chunked: boolean): Framed {
  if (!chunked) return { head: `Content-Length: ${body.length}`, body }
  const half = body.length >> 1
  return {
    head: 'Transfer-Encoding: chunked',
    body: `${chunk(body.slice(0, half))}${chunk(body.slice(half))}0\r\nDigest: x\r\n\r\n`,
  }
}

const TYPE = 'Content-Type: application/json\r\n'
const sizes = fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1, maxLength: 5 })

async function answered(exchange: FakeExchange, text: string, cuts: readonly number[]): Promise<string> {
  await turn()
  const handle = exchange.upstreams.at(-1)
  const request = handle?.written ?? ''
  await feed((piece) => handle?.receive(piece) ?? true, text, cuts)
  return request
}

t.test('a request and its answer are the same however they are cut and framed, and nothing stays held', async (t) => {
  const property = fc.asyncProperty(
    fc.integer({ min: 0, max: 60 }),
    fc.boolean(),
    fc.boolean(),
    sizes,
    sizes,
    fc.boolean(),
    async (count, chunkedRequest, chunkedAnswer, requestCuts, answerCuts, stalled) => {
      const exchange = fakeExchange({}, { versioning })
      const body = json(count)
      const there = body.replaceAll('"old"', '"new"')
      const request = framed(body, chunkedRequest)
      await feed(
        (piece) => exchange.client.receive(piece),
        `POST /v1/x HTTP/1.1\r\nHost: w\r\n${TYPE}${request.head}\r\n\r\n${request.body}`,
        requestCuts,
      )
      exchange.client.stalled = stalled
      const answer = framed(there, chunkedAnswer)
      const sent = await answered(
        exchange,
        `HTTP/1.1 200 OK\r\n${TYPE}${answer.head}\r\n\r\n${answer.body}`,
        answerCuts,
      )
      const held = exchange.pod.held.used
      if (stalled) exchange.client.unstall()
      await turn()
      const got = exchange.client.written
      return (
        sent.startsWith('POST /v2/x HTTP/1.1\r\n') &&
        sent.endsWith(
          `content-length: ${there.length}\r\ntraceparent: ${/traceparent: (\S+)/.exec(sent)?.[1]}\r\n\r\n${there}`,
        ) &&
        !/digest|chunked/i.test(sent) &&
        got.endsWith(`content-length: ${body.length}\r\n\r\n${body}`) &&
        !/chunked/i.test(got) &&
        held > 0 === stalled &&
        exchange.pod.held.used === 0 &&
        exchange.outcomes.length === 1 &&
        exchange.flow.active === 0
      )
    },
  )
  await t.resolves(fc.assert(property, { numRuns: 60 }))
})

t.test('whenever an end goes away, nothing stays held', async (t) => {
  const request = `POST /v1/x HTTP/1.1\r\nHost: w\r\n${TYPE}Content-Length: 500\r\n\r\n${'x'.repeat(400)}`
  const gone = fakeExchange({}, { versioning })
  await feed((piece) => gone.client.receive(piece), request, [100])
  t.ok(gone.pod.held.used > 0)
  gone.client.stream?.close()
  t.equal(gone.pod.held.used, 0)
  t.same(gone.upstreams, [], 'and nothing was sent')

  const late = fakeExchange({}, { versioning })
  await feed((piece) => late.client.receive(piece), request, [100])
  late.passTo(1_000_000)
  t.match(late.client.written, /^HTTP\/1\.1 408 /)
  t.equal(late.pod.held.used, 0)

  const cut = fakeExchange({}, { versioning })
  await feed((piece) => cut.client.receive(piece), 'GET /v1/x HTTP/1.1\r\nHost: w\r\n\r\n', [1000])
  await answered(cut, `HTTP/1.1 200 OK\r\n${TYPE}Content-Length: 500\r\n\r\n{"a"`, [1000])
  t.ok(cut.pod.held.used > 0)
  t.equal(cut.client.written, '', 'nothing of it was sent')
  cut.upstreams[0]?.stream?.close()
  await turn()
  t.match(cut.client.written, /^HTTP\/1\.1 502 /)
  t.equal(cut.pod.held.used, 0)
})

t.test('an answer that lasts to the end of its connection is translated at its end', async (t) => {
  const exchange = fakeExchange({}, { versioning })
  await feed((piece) => exchange.client.receive(piece), 'GET /v1/x HTTP/1.1\r\nHost: w\r\n\r\n', [1000])
  await answered(exchange, `HTTP/1.1 200 OK\r\n${TYPE}\r\n{"a":[{"new":1}]}`, [1000])
  t.equal(exchange.client.written, '')
  exchange.upstreams[0]?.stream?.owner.onEnd()
  await turn()
  t.match(exchange.client.written, /content-length: 17\r\n(?:[^\r]+\r\n)*\r\n\{"a":\[\{"old":1\}\]\}$/)
})
