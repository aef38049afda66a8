import { spawnSync } from 'node:child_process'
import { mkdtempSync, openSync, readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { AccessEdgeDescription } from '#telemetry'
import { AccessEdge, AccessLog, AccessRecord, Metrics } from '#telemetry'
import { renderLine, writeConnectionLine, writeRequestLine } from '../../../src/telemetry/access-line.ts'

const EDGE: AccessEdgeDescription = {
  source: 'shop/web-1',
  sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/web',
  destination: 'shop/reviews-1',
  destinationIdentity: 'spiffe://cluster.local/ns/shop/sa/reviews',
  destinationService: 'reviews.shop.svc.cluster.local',
  protocol: 'http',
  direction: 'outbound',
  reporter: 'both',
}

function record(): AccessRecord {
  const filled = new AccessRecord()
  filled.sourceAddress = '10.1.0.2'
  filled.route = 'shop/reviews'
  filled.rule = 'canary'
  filled.policy = 'shop/allow-web'
  filled.upstream = '10.1.0.3:8080'
  filled.method = 'GET'
  filled.path = '/reviews/1'
  filled.authority = 'reviews:8080'
  filled.status = 200
  filled.durationMs = 1.23456
  filled.upstreamMs = 0.5
  filled.bytesIn = 3
  filled.bytesOut = 120
  filled.traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
  filled.requestId = '8f14e45f-ceea'
  return filled
}

t.test('a request line carries every field once, as pino writes it', async (t) => {
  const line = renderLine(writeRequestLine, new AccessEdge(7, 'node-1', EDGE), record(), 1_700_000_000_000)
  t.ok(line.endsWith('}\n'))
  t.strictSame(JSON.parse(line), {
    level: 30,
    time: '2023-11-14T22:13:20.000Z',
    pid: 7,
    node: 'node-1',
    msg: 'request',
    ...EDGE,
    sourceAddress: '10.1.0.2',
    route: 'shop/reviews',
    rule: 'canary',
    policy: 'shop/allow-web',
    upstream: '10.1.0.3:8080',
    method: 'GET',
    path: '/reviews/1',
    authority: 'reviews:8080',
    status: 200,
    flags: '-',
    durationMs: 1.235,
    upstreamMs: 0.5,
    bytesIn: 3,
    bytesOut: 120,
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    requestId: '8f14e45f-ceea',
  })
})

t.test('what is not known is left out, and a refusal is a warning', async (t) => {
  const empty = new AccessRecord()
  empty.status = 403
  empty.flags = 'RBAC'
  empty.refused = true
  const edge = new AccessEdge(7, 'node-1', { ...EDGE, source: '', sourceIdentity: '' })
  const line: unknown = JSON.parse(renderLine(writeRequestLine, edge, empty, 1))
  t.match(line, { level: 40, status: 403, flags: 'RBAC' })
  const keys = Object.keys(Object(line))
  for (const name of ['source', 'sourceIdentity', 'route', 'upstream', 'upstreamMs', 'traceId', 'requestId']) {
    t.notOk(keys.includes(name), name)
  }
})

t.test('a connection line has bytes, flags and duration, and nothing of HTTP', async (t) => {
  const line: unknown = JSON.parse(renderLine(writeConnectionLine, new AccessEdge(7, 'node-1', EDGE), record(), 1))
  t.match(line, { msg: 'connection', bytesIn: 3, bytesOut: 120, flags: '-', durationMs: 1.235 })
  t.notOk('method' in Object(line))
})

const HOSTILE = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes).toString('latin1')),
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
  fc.constantFrom('"', '\\', '\ud800', '\udfff\ud800', '\u2028', '\x1b[31m', '\x9b31m', '","level":60,"x":"', '\n'),
)

t.test('hostile values always give one line of valid JSON that says what they were', async () => {
  const edge = new AccessEdge(7, 'node-1', EDGE)
  fc.assert(
    fc.property(HOSTILE, HOSTILE, HOSTILE, fc.double(), (path, authority, method, durationMs) => {
      const hostile = record()
      hostile.path = path
      hostile.authority = authority
      hostile.method = method
      hostile.durationMs = durationMs
      const line = renderLine(writeRequestLine, edge, hostile, 1)
      const sent = Buffer.from(line).toString()
      const parsed: Record<string, unknown> = JSON.parse(sent)
      const bad = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(sent)
      return (
        !bad &&
        sent.indexOf('\n') === sent.length - 1 &&
        parsed['path'] === path &&
        parsed['authority'] === authority &&
        parsed['method'] === method &&
        parsed['level'] === 30
      )
    }),
    { interruptAfterTimeLimit: 3000, numRuns: 5000 },
  )
})

t.test('hostile names in an edge cannot break the line either', async () => {
  fc.assert(
    fc.property(HOSTILE, (name) => {
      const edge = new AccessEdge(7, name, { ...EDGE, source: name, protocol: name })
      const parsed: Record<string, unknown> = JSON.parse(renderLine(writeRequestLine, edge, record(), 1))
      return parsed['node'] === name && parsed['protocol'] === name && parsed['msg'] === 'request'
    }),
    { interruptAfterTimeLimit: 2000, numRuns: 1000 },
  )
})

t.test('a very long path is cut off', async (t) => {
  const long = record()
  long.path = `/${'a'.repeat(60_000)}`
  const parsed: Record<string, unknown> = JSON.parse(
    renderLine(writeRequestLine, new AccessEdge(7, 'n', EDGE), long, 1),
  )
  t.equal(String(parsed['path']).length, 4097)
  t.ok(String(parsed['path']).endsWith('…'))
})

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'weir-access-log-'))
  t.teardown(() => rm(path, { recursive: true, force: true }))
  return path
}

t.test('lines reach the file, in order, once the log is disposed of', async (t) => {
  const path = join(directory(t), 'access.log')
  const log = new AccessLog({ target: openSync(path, 'a'), node: 'node-1', metrics: new Metrics(), chunkBytes: 1000 })
  const edge = log.edge(EDGE)
  const line = record()
  for (let i = 0; i < 1000; i++) {
    line.status = i
    log.request(edge, line)
  }
  await log[Symbol.asyncDispose]()
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
  t.strictSame(
    lines.map((text) => JSON.parse(text).status),
    Array.from({ length: 1000 }, (_, i) => i),
  )
  t.equal(log.dropped, 0)
})

t.test('memory is filled again only when what it held is written', async (t) => {
  const path = join(directory(t), 'access.log')
  const log = new AccessLog({ target: openSync(path, 'a'), node: 'node-1', metrics: new Metrics(), chunkBytes: 2000 })
  const edge = log.edge(EDGE)
  const line = record()
  for (let i = 0; i < 3000; i++) {
    line.bytesIn = i
    log.request(edge, line)
    // Writes end while others are still to begin.
    if (i % 11 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  await log[Symbol.asyncDispose]()
  const lines = readFileSync(path, 'utf8').trimEnd().split('\n')
  t.strictSame(
    lines.map((text) => JSON.parse(text).bytesIn),
    Array.from({ length: 3000 }, (_, i) => i),
  )
})

t.test('beyond its bound the log drops lines, and counts each', async (t) => {
  const metrics = new Metrics()
  const path = join(directory(t), 'access.log')
  const log = new AccessLog({
    target: openSync(path, 'a'),
    node: 'n',
    metrics,
    chunkBytes: 1000,
    maxBufferedBytes: 20_000,
  })
  const edge = log.edge(EDGE)
  for (let i = 0; i < 1000; i++) log.request(edge, record())
  await log[Symbol.asyncDispose]()
  const written = readFileSync(path, 'utf8').split('\n').length - 1
  t.ok(log.dropped > 0)
  t.equal(written + log.dropped, 1000)
  const family = metrics.snapshot().families.find(({ name }) => name === 'weir_access_log_dropped_total')
  t.strictSame(family?.series[0]?.values, [log.dropped])
})

t.test('a log that is off takes lines and writes none', async (t) => {
  await using log = new AccessLog({ target: 'off', node: 'n', metrics: new Metrics() })
  t.equal(log.enabled, false)
  log.request(log.edge(EDGE), record())
})

t.test('on stdout, a line goes out by itself, and the last ones when the process exits', async (t) => {
  const script = `
    import { AccessLog, AccessRecord, Metrics } from '#telemetry'
    const log = new AccessLog({ target: 1, node: 'n', metrics: new Metrics(), flushMs: 10 })
    const edge = log.edge(${JSON.stringify(EDGE)})
    const record = new AccessRecord()
    log.request(edge, record)
    setTimeout(() => { log.request(edge, record); process.exit(0) }, 200)
  `
  const ran = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
  t.equal(ran.stderr, '')
  t.equal(ran.stdout.split('\n').length, 3)
})
