/** The trace a request of HTTP/2 is in, and what of its headers says so and passes on. */
import t from 'tap'
import { isTraceparent } from '#http'
import { DROP_TRACEPARENT, DROP_TRACESTATE, requestFields } from '../../../src/proxy/http2-fields.ts'
import { Http2Request } from '../../../src/proxy/http2-request.ts'
import { newTraceparent, traceparentOfB3 } from '../../../src/proxy/trace-context.ts'

const LINE = { method: 'GET', scheme: 'http', authority: 'web', path: '/', protocol: '' }
const PSEUDO = [':method', 'GET', ':scheme', 'http', ':authority', 'web', ':path', '/']
const GIVEN = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

t.test('what is begun here is well-formed, each its own, and sampled only when that was asked for', async (t) => {
  const begun = Array.from({ length: 500 }, () => newTraceparent())
  t.equal(new Set(begun).size, 500)
  t.ok(begun.every((one) => isTraceparent(one) && one.endsWith('-00')))
  t.match(
    traceparentOfB3({ traceId: '', spanId: '', sampled: true, debug: false, form: 'single', short: false }),
    /-01$/,
  )
  t.match(traceparentOfB3(undefined), /-00$/)
})

t.test('headers of B3 and a request id are seen and passed on', async (t) => {
  const fields = [...PSEUDO, 'b3', '1', 'x-b3-sampled', '1', 'x-request-id', 'abc', 'x_request_id', 'def']
  const request = new Http2Request(fields)
  t.equal(request.hasB3, true)
  t.equal(request.requestId, 'abc')
  t.same(requestFields(LINE, fields, request.firstField, [], [], DROP_TRACEPARENT), fields)
  t.equal(new Http2Request(PSEUDO).hasB3, false)
})

t.test('a tracestate goes with its traceparent, and without one it is of no trace', async (t) => {
  const pass = (fields: readonly string[]) => {
    const request = new Http2Request([...PSEUDO, ...fields])
    const drops = request.traceparent === '' ? DROP_TRACEPARENT | DROP_TRACESTATE : 0
    return requestFields(LINE, request.fields, request.firstField, [], [], drops).slice(PSEUDO.length)
  }
  t.same(pass(['traceparent', GIVEN, 'tracestate', 'a=b']), ['traceparent', GIVEN, 'tracestate', 'a=b'])
  t.same(pass(['tracestate', 'a=b', 'x', 'y']), ['x', 'y'])
  t.same(pass(['traceparent', 'nonsense', 'tracestate', 'a=b', 'x', 'y']), ['x', 'y'])
})
