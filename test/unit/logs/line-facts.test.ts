/** What is read from a line and from names: time, trace, pod, order of files; what a reader asks for. */
import t from 'tap'
import { timeMicros } from '../../../src/logs/line-time.ts'
import { parseLogQuery, wantsPod } from '../../../src/logs/log-query.ts'
import { parseAccessLine, renderLine, wantsAccess } from '../../../src/logs/log-record.ts'
import { orderLogFiles, parsePodFolder } from '../../../src/logs/pod-folder.ts'
import { findTrace } from '../../../src/logs/trace-mark.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'

t.test('times have any number of digits and any offset', async (t) => {
  const second = Date.UTC(2026, 10, 21, 10, 15, 2) * 1000
  t.equal(timeMicros('2026-11-21T10:15:02Z'), second)
  t.equal(timeMicros('2026-11-21T10:15:02.5Z'), second + 500_000)
  t.equal(timeMicros('2026-11-21T12:15:02.123456789+02:00'), second + 123_456)
  t.equal(timeMicros('2026-11-21T10:15:02.000001Z') - second, 1)
  for (const bad of [
    '',
    'garbage',
    '2026-11-21 10:15:02Z',
    '2026-13-21T10:15:02Z',
    '2026-11-21T10:15:02.1',
    '2026-11-21T10:15:02.1x',
  ]) {
    t.ok(Number.isNaN(timeMicros(bad)), bad)
  }
})

t.test('a trace is found as traceparent, as a field of JSON or text, and after the word', async (t) => {
  const with32 = [
    `traceparent: 00-${TRACE}-${SPAN}-01`,
    `{"traceparent":"00-${TRACE}-${SPAN}-01"}`,
    `{"trace_id":"${TRACE}","span_id":"${SPAN}"}`,
    `{"traceId": "${TRACE.toUpperCase()}", "spanId": "${SPAN}"}`,
    `{"trace.id":"${TRACE}","span.id":"${SPAN}"}`,
    `level=info trace_id=${TRACE} span_id=${SPAN} msg=x`,
    `{"message":"{\\"trace_id\\":\\"${TRACE}\\",\\"span_id\\":\\"${SPAN}\\"}"}`,
  ]
  for (const line of with32) t.match(findTrace(line), { traceId: TRACE, spanId: SPAN }, line)
  t.match(findTrace(`[trace ${TRACE}] x`), { traceId: TRACE, spanId: '' })
  const half = TRACE.slice(16)
  t.match(findTrace(`{"traceId":"${half}","spanId":"${SPAN}"}`), { traceId: `${'0'.repeat(16)}${half}`, spanId: SPAN })
  t.equal(
    findTrace(`x-request-id: 8f14e45f-ceea-467f-a1d5-b6f5a3c1a2e3`).requestId,
    '8f14e45f-ceea-467f-a1d5-b6f5a3c1a2e3',
  )
  t.equal(findTrace('{"request_id":"abcd1234efgh"}').requestId, 'abcd1234efgh')
  for (const none of [
    'stack trace follows',
    `trace ${TRACE}0`,
    `trace_id=${'0'.repeat(32)}`,
    `a request`,
    'request id: x',
  ]) {
    t.same(findTrace(none), { traceId: '', spanId: '', requestId: '' }, none)
  }
})

t.test('folders name namespace, pod and uid', async (t) => {
  t.same(parsePodFolder('shop_web-1_0b3e'), { namespace: 'shop', name: 'web-1', uid: '0b3e' })
  for (const bad of ['web', 'a_b', 'a_b_c_d', '_b_c', '']) t.equal(parsePodFolder(bad), undefined, bad)
})

t.test('files are in the order in which they were written, the kubelet’s temporary ones left out', async (t) => {
  const files = [
    '1.log',
    '0.log',
    '10.log',
    '1.log.20261121-101500',
    '1.log.20261120-101500.gz',
    '1.log.20261121-101500.gz.tmp',
    'x',
    '1.log.1',
  ]
  const both = [...files, '1.log.20261121-101500.gz']
  t.same(
    orderLogFiles(files).map(({ file }) => file),
    ['0.log', '1.log.20261120-101500.gz', '1.log.20261121-101500', '1.log', '10.log'],
  )
  t.same(orderLogFiles(both).map(({ file }) => file)[2], '1.log.20261121-101500.gz', 'whole once it is there')
})

t.test('a query is read, and each mistake is told by its parameter', async (t) => {
  const parse = (text: string) => parseLogQuery(new URLSearchParams(text), 10_000_000)
  t.match(parse('pod=shop/web-1&follow=true'), {
    pod: 'web-1',
    namespace: 'shop',
    follow: true,
    tail: 100,
    sinceMicros: 0,
  })
  t.match(parse('selector=app=web,tier!=db,canary,!old&since=10s'), {
    selector: [
      { label: 'app', value: 'web', negated: false },
      { label: 'tier', value: 'db', negated: true },
      { label: 'canary', value: undefined, negated: false },
      { label: 'old', value: undefined, negated: true },
    ],
    sinceMicros: 9_990_000_000,
    tail: undefined,
  })
  t.match(parse('all=true&tail=0'), { tail: 0 })
  t.match(parse(`trace=${TRACE}`), { tail: undefined })
  for (const [text, about] of [
    ['', /name a pod/],
    ['pod=a&x=1', /Parameter x/],
    ['pod=a&pod=b', /Parameter pod: given twice/],
    ['pod=a&follow=maybe', /Parameter follow/],
    ['pod=a&since=yesterday', /Parameter since/],
    ['pod=a&tail=10001', /Parameter tail/],
    ['pod=a&all=true', /Parameter all/],
    ['pod=x/a&namespace=y', /Parameter pod/],
    ['selector=app in (a)', /Parameter selector/],
    ['trace=a b c d', /Parameter trace/],
  ] as const) {
    const answer = parse(text)
    t.match(typeof answer === 'string' ? answer : 'taken', about, text)
  }
})

t.test('a selector judges the labels of a pod', async (t) => {
  const query = parseLogQuery(new URLSearchParams('selector=app=web,tier!=db,!old'), 0)
  if (typeof query === 'string') throw new Error(query)
  const pod = (labels: Record<string, string>) => ({ namespace: 'shop', name: 'web-1', labels })
  t.equal(wantsPod(query, pod({ app: 'web' })), true)
  t.equal(wantsPod(query, pod({ app: 'web', tier: 'db' })), false)
  t.equal(wantsPod(query, pod({ app: 'web', old: '' })), false)
  t.equal(wantsPod(query, pod({ tier: 'x' })), false)
})

t.test('a line is shown with the trace that it names, and is JSON whatever it holds', async (t) => {
  const message = `"\u0000\u2028 trace_id=${TRACE}`
  const json = renderLine({ time: 'T', stream: 'stderr', message, cut: true }, ',"pod":"web-1"')
  t.same(JSON.parse(json), {
    kind: 'line',
    time: 'T',
    stream: 'stderr',
    pod: 'web-1',
    traceId: TRACE,
    message,
    cut: true,
  })
})

t.test('requests belong to a pod by either end, and to a trace or request by its id', async (t) => {
  const line = (rest: object) => JSON.stringify({ level: 30, time: 'T', pid: 1, node: 'n', msg: 'request', ...rest })
  const ids = { traceId: TRACE, requestId: '8f14e45f-Ceea' }
  const entry = parseAccessLine(line({ source: 'shop/client', destination: 'shop/web-1', ...ids }))
  if (entry === undefined) throw new Error('not taken')
  const wants = (text: string, pod: string) => {
    const query = parseLogQuery(new URLSearchParams(text), 0)
    return typeof query !== 'string' && wantsAccess(query, entry, (name) => name === pod)
  }
  t.equal(JSON.parse(entry.json).kind, 'request')
  t.equal(wants('pod=web-1', 'shop/web-1'), true)
  t.equal(wants('pod=client', 'shop/client'), true)
  t.equal(wants('pod=other', 'shop/other'), false)
  t.equal(wants('all=true', ''), true)
  t.equal(wants(`trace=${TRACE}`, ''), true)
  t.equal(wants(`trace=${TRACE.toUpperCase()}`, ''), true)
  t.equal(wants('trace=8f14e45f-Ceea', ''), true)
  t.equal(wants('trace=8f14e45f-ceea', ''), false)
  t.equal(wants('trace=abcd', ''), false)
  const short = parseAccessLine(line({ traceId: `${'0'.repeat(16)}${TRACE.slice(16)}` }))
  const query = parseLogQuery(new URLSearchParams(`trace=${TRACE.slice(16).toUpperCase()}`), 0)
  t.ok(short !== undefined && typeof query !== 'string' && wantsAccess(query, short, () => false), 'one of 64 bits')
  t.equal(parseAccessLine(JSON.stringify({ level: 30, msg: 'ready' })), undefined)
  t.equal(parseAccessLine('{"level":30,"msg":"request"'), undefined)
})
