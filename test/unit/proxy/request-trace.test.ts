/** A request's place in its trace: whatever its headers say, what goes on is well-formed, and of one trace. */
import fc from 'fast-check'
import t from 'tap'
import { Head, isTraceparent, PARSE_DONE } from '#http'
import { REPORT_BOTH, REPORT_DESTINATION, REPORT_SOURCE } from '#telemetry'
import { B3_HEADERS, readB3 } from '#tracing'
import { linesOf, renderRequest } from '../../../src/proxy/render.ts'
import { RequestTrace } from '../../../src/proxy/request-trace.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const SPAN = 'b7ad6b7169203331'

function parse(lines: readonly string[]): Head {
  const text = `GET / HTTP/1.1\r\nhost: web\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`
  const head = new Head(65_536, 128)
  if (head.parseRequest(Buffer.from(text, 'latin1'), 0, text.length) !== PARSE_DONE) throw new Error(head.problem)
  return head
}

/** Of a route's filters. */
const EDITS = [{ set: [{ name: 'x-set', value: 'yes' }], add: [], remove: ['x-removed'] }]

/** As an exchange of HTTP/1.1 does it. */
function forwarded(
  lines: readonly string[],
  reporters: 1 | 2 | 3,
  ratio = 0,
  isEdited = false,
): { trace: RequestTrace; head: Head } {
  const head = parse(lines)
  const given = head.traceparentIndex < 0 ? '' : head.value(head.traceparentIndex)
  const trace = new RequestTrace(given, head.hasB3 ? readB3((name) => head.get(name)) : undefined, ratio)
  const extra = `traceparent: ${trace.traceparent(reporters)}\r\n${linesOf(trace.b3Fields(reporters))}`
  const rendering = {
    target: '/',
    host: undefined,
    extra,
    edits: isEdited ? EDITS : [],
    upgrade: false,
    dropTrace: true,
  }
  return { trace, head: parse(renderRequest(head, rendering).split('\r\n').slice(2, -2)) }
}

const HEX16 = fc.stringMatching(/^[0-9a-f]{16}$/)
const VALUE = fc.oneof(
  fc.stringMatching(/^[ -~]{0,60}$/),
  fc
    .tuple(fc.constantFrom('00', '01', 'ff', '0'), HEX16, HEX16, HEX16, fc.constantFrom('00', '01', '03', '1', 'zz'))
    .map(([version, one, two, span, flags]) => `${version}-${one}${two}-${span}-${flags}`),
  fc
    .tuple(HEX16, HEX16, fc.constantFrom('', '-0', '-1', '-d', '-x'))
    .map(([trace, span, state]) => `${trace}-${span}${state}`),
  HEX16,
  fc.constantFrom('0', '1', 'd', `${'0'.repeat(32)}-${SPAN}-1`, `00-${'0'.repeat(32)}-${SPAN}-01`),
)
const LINE = fc.tuple(fc.constantFrom('traceparent', 'tracestate', 'Traceparent', ...B3_HEADERS), VALUE)
const LINES = fc.array(
  LINE.map(([name, value]) => `${name}: ${value.trim()}`),
  { maxLength: 6 },
)
const REPORTERS = fc.constantFrom<1 | 2 | 3>(REPORT_SOURCE, REPORT_DESTINATION, REPORT_BOTH)

t.test(
  'whatever the headers, one well-formed traceparent goes on, of the span made here, and B3 says the same',
  async () => {
    fc.assert(
      fc.property(
        LINES,
        REPORTERS,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.boolean(),
        (lines, reporters, ratio, isEdited) => {
          const { trace, head } = forwarded(lines, reporters, ratio, isEdited)
          const all = lines
            .filter((line) => /^traceparent:/i.test(line))
            .map((line) => line.slice(line.indexOf(':') + 1).trim())
          const given = all.length === 1 && isTraceparent(all[0] ?? '') ? all[0] : undefined
          const text = head.get('traceparent') ?? ''
          const span = reporters === REPORT_SOURCE ? trace.clientId : trace.serverId
          const b3 = head.hasB3 ? readB3((name) => head.get(name)) : undefined
          return (
            isTraceparent(text) &&
            text.startsWith('00-') &&
            text.slice(36, 52) === span &&
            (given === undefined || given.slice(3, 35) === text.slice(3, 35)) &&
            (given === undefined || (Number.parseInt(given.slice(53), 16) & 3) === Number(text.slice(54))) &&
            (given !== undefined || head.get('tracestate') === undefined) &&
            (!head.hasB3 || (b3 !== undefined && b3.spanId === span && b3.sampled === trace.sampled)) &&
            (b3 === undefined || b3.traceId === text.slice(3, 35))
          )
        },
      ),
      {
        numRuns: 3000,
        examples: [
          [[`traceparent: 00-${SPAN}${'0'.repeat(16)}-${SPAN}-01`, `b3: ${SPAN}-${SPAN}-1`], REPORT_BOTH, 0, false],
          [[`b3: ${SPAN}-${SPAN}-d`, `traceparent: 00-${TRACE}-${SPAN}-00`], REPORT_SOURCE, 0, true],
        ],
      },
    )
  },
)

t.test('the caller decides, and where it does not the share does', async (t) => {
  const sampled = (lines: readonly string[], ratio: number) => forwarded(lines, REPORT_BOTH, ratio).trace.sampled
  t.equal(sampled([`traceparent: 00-${TRACE}-${SPAN}-01`], 0), true)
  t.equal(sampled([`traceparent: 00-${TRACE}-${SPAN}-00`], 1), false)
  t.equal(sampled([`traceparent: 00-${TRACE}-${SPAN}-00`, `b3: ${TRACE}-${SPAN}-1`], 1), false, 'W3C is heard first')
  t.equal(sampled([`b3: ${TRACE}-${SPAN}-0`], 1), false)
  t.equal(sampled(['b3: 1'], 0), true)
  t.equal(sampled(['x-b3-sampled: 0'], 1), false)
  t.equal(sampled([`b3: ${TRACE}-${SPAN}`], 1), true, 'left open')
  t.equal(sampled([`b3: ${TRACE}-${SPAN}`], 0), false)
  t.equal(sampled([], 1), true)
  t.equal(sampled(['traceparent: nonsense'], 1), true)
})

t.test(
  'the same ids are kept for all tries, and those of a side that it did not have are made when it has it',
  async (t) => {
    const trace = new RequestTrace(`00-${TRACE}-${SPAN}-03`, undefined, 0)
    const first = trace.traceparent(REPORT_SOURCE)
    t.equal(first, `00-${TRACE}-${trace.clientId}-03`, 'that the id is random is passed on')
    t.equal(trace.serverId, '')
    t.equal(trace.traceparent(REPORT_SOURCE), first)
    const second = trace.traceparent(REPORT_BOTH)
    t.equal(second, `00-${TRACE}-${trace.serverId}-03`)
    t.equal(first.slice(36, 52), trace.clientId)
    t.not(trace.clientId, trace.serverId)
  },
)

t.test('a name that is only read is another one when it is spelled with underscores, and passes on', async (t) => {
  const head = parse(['x_request_id: 1', 'X_B3_TraceId: 2', 'X-Request-ID: 3', 'tracestate_: 4'])
  t.equal(head.hasB3, false)
  t.equal(head.value(head.requestIdIndex), '3')
  const rendering = { target: '/', host: undefined, extra: '', edits: [], upgrade: false, dropTrace: true }
  t.match(renderRequest(head, rendering), /x_request_id: 1\r\nX_B3_TraceId: 2\r\nX-Request-ID: 3\r\ntracestate_: 4\r\n/)
  t.equal(parse(['X-B3-Flags: 1']).hasB3, true)
  t.equal(parse(['B3: 1']).hasB3, true)
})
