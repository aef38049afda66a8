/** The agent's side of its span thread, with the real thread and a collector of the test's own. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import pino from 'pino'
import t, { type Test } from 'tap'
import { renderBatch, renderEdge, renderRow, type TracedEdge, type TracedRequest } from '#tracing'
import { SpanDesk } from '../../../agent/tracing/span-desk.ts'

const EDGE: TracedEdge = { source: undefined, destination: undefined, host: '', sides: 'server' }
const REQUEST: TracedRequest = {
  traceId: '0af7651916cd43dd8448eb211c80319c',
  parentId: '',
  clientId: '',
  serverId: 'b7ad6b7169203331',
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
  clientAddress: '',
  upstream: '',
  route: '',
  policy: '',
  requestId: '',
  bytesIn: 0,
  bytesOut: 0,
  retries: [],
}
const batchOf = (count: number) =>
  renderBatch(
    [renderEdge(EDGE)],
    Array.from({ length: count }, () => renderRow(0, REQUEST)),
  )

/** Counts the spans that it is sent. */
async function collector(t: Test): Promise<{ readonly url: string; spans: number; readonly server: Server }> {
  const found = { url: '', spans: 0, server: createServer() }
  found.server.on('request', (request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString()
    })
    request.on('end', () => {
      found.spans += body.split('"spanId"').length - 1
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    })
  })
  found.server.listen(0, '127.0.0.1')
  await once(found.server, 'listening')
  found.url = `http://127.0.0.1:${(found.server.address() as AddressInfo).port}/v1/traces`
  t.teardown(() => {
    found.server.close()
    found.server.closeAllConnections()
  })
  return found
}

function deskOf(url: string): { readonly desk: SpanDesk; readonly lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = []
  const log = pino({}, { write: (line: string) => lines.push(JSON.parse(line)) })
  return { desk: new SpanDesk({ node: 'node-1', url, log }), lines }
}

const counts = (desk: SpanDesk) =>
  Object.fromEntries(
    desk
      .families()
      .flatMap(({ series }) => series.map(({ labels, values }) => [labels['reason'] ?? 'sent', values[0]])),
  )

t.test('what proxies tell is sent; what is malformed is said', async (t) => {
  const taken = await collector(t)
  const { desk, lines } = deskOf(taken.url)
  desk.take(3, batchOf(3))
  desk.take(1, '[[],[[]]]')
  desk.take(2, batchOf(2))
  while (counts(desk)['sent'] !== 5) await delay(10)
  await desk.stop()
  t.equal(taken.spans, 5)
  t.same(counts(desk), { sent: 5, 'agent-queue': 0, collector: 0 })
  t.match(lines, [{ level: 40, problem: 'A proxy told of spans that are malformed' }])
  desk.take(1, batchOf(1))
  t.equal(taken.spans, 5, 'nothing is begun again')
})

t.test('what the thread has not read yet is bounded, and the rest counted', async (t) => {
  const { url } = await collector(t)
  const { desk } = deskOf(url)
  const batch = batchOf(5_000)
  const room = Math.floor((16 * 1024 * 1024) / batch.length)
  for (let i = 0; i < room + 7; i++) desk.take(256, batch)
  t.match(counts(desk), { 'agent-queue': 256 * 7 })
  desk.take(1, ' '.repeat(2 * 1024 * 1024 + 1))
  t.match(counts(desk), { 'agent-queue': 256 * 7 + 1 })
  await desk.stop()
})
