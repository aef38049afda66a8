/** What headers of B3 say, in all their forms; whatever they hold, what is read of them is well-formed. */
import fc from 'fast-check'
import t from 'tap'
import { B3_HEADERS, readB3, readTraceparent, renderTraceparent } from '#tracing'

const TRACE = '80f198ee56343ba864fe8b2a57d3eff7'
const HALF = '64fe8b2a57d3eff7'
const SPAN = 'e457b5a2e4d86bd1'
const PARENT = '05e3ac9a4f6e3b90'

const read = (headers: Readonly<Record<string, string>>) => readB3((name) => headers[name])

t.test('the single header has a trace and span, a decision, or both', async (t) => {
  const named = { traceId: TRACE, spanId: SPAN, form: 'single' }
  t.match(read({ b3: `${TRACE}-${SPAN}` }), { ...named, sampled: undefined, debug: false })
  t.match(read({ b3: `${TRACE}-${SPAN}-1` }), { ...named, sampled: true, debug: false })
  t.match(read({ b3: `${TRACE}-${SPAN}-0-${PARENT}` }), { ...named, sampled: false, debug: false })
  t.match(read({ b3: `${TRACE}-${SPAN}-d` }), { ...named, sampled: true, debug: true })
  t.match(read({ b3: `${HALF}-${SPAN}-1` }), { traceId: `${'0'.repeat(16)}${HALF}`, spanId: SPAN })
  t.match(read({ b3: '0' }), { traceId: '', spanId: '', sampled: false })
  t.match(read({ b3: '1' }), { traceId: '', spanId: '', sampled: true })
  t.match(read({ b3: 'd' }), { traceId: '', sampled: true, debug: true })
})

t.test('several headers say the same, also as they were sent before there was a specification', async (t) => {
  const ids = { 'x-b3-traceid': TRACE, 'x-b3-spanid': SPAN }
  const named = { traceId: TRACE, spanId: SPAN, form: 'several' }
  t.match(read(ids), { ...named, sampled: undefined, debug: false })
  t.match(read({ ...ids, 'x-b3-sampled': '1', 'x-b3-parentspanid': PARENT }), { ...named, sampled: true })
  t.match(read({ ...ids, 'x-b3-sampled': 'false' }), { ...named, sampled: false })
  t.match(read({ ...ids, 'x-b3-flags': '1' }), { ...named, sampled: true, debug: true })
  t.match(read({ ...ids, 'x-b3-sampled': 'maybe' }), { ...named, sampled: undefined })
  t.equal(read({ 'x-b3-sampled': 'constructor' }), undefined, 'a word that objects of the language know')
  t.match(read({ 'x-b3-sampled': '0' }), { traceId: '', spanId: '', sampled: false })
})

t.test('the single header is heard first, and one that is malformed not at all', async (t) => {
  const ids = { 'x-b3-traceid': '1'.repeat(32), 'x-b3-spanid': SPAN }
  t.match(read({ ...ids, b3: `${TRACE}-${SPAN}-1` }), { traceId: TRACE, form: 'single' })
  t.match(read({ ...ids, b3: `${TRACE}-${SPAN}-2` }), { traceId: '1'.repeat(32), form: 'several' })
  for (const b3 of [
    '',
    'x',
    TRACE,
    `${TRACE}-`,
    `${TRACE}-${SPAN}-`,
    `${TRACE}-${SPAN}-1-`,
    `${TRACE}0-${SPAN}`,
    `${TRACE.slice(1)}-${SPAN}`,
    `${'0'.repeat(32)}-${SPAN}-1`,
    `${TRACE}-${'0'.repeat(16)}-1`,
    `${TRACE}-${SPAN}-1\n`,
  ]) {
    t.equal(read({ b3 }), undefined, b3)
  }
  t.equal(read({ 'x-b3-traceid': TRACE, 'x-b3-sampled': '1' }), undefined, 'a trace without a span')
})

const HEX = fc.stringMatching(/^[0-9a-fA-F]{16}$/)
const VALUE = fc.oneof(
  fc.string({ unit: fc.constantFrom(...'0123456789abcdfABCDF-,d '.split('')) }),
  fc.string(),
  HEX,
  fc.tuple(HEX, HEX).map((two) => two.join('')),
  fc.tuple(HEX, HEX, fc.constantFrom('0', '1', 'd', '2')).map((parts) => parts.join('-')),
)
const HEADERS = fc.dictionary(fc.constantFrom(...B3_HEADERS), VALUE, { noNullPrototype: true })

t.test(
  'whatever the headers hold, a trace that is read is well-formed and reads the same from a traceparent',
  async () => {
    fc.assert(
      fc.property(HEADERS, (headers) => {
        const b3 = read(headers)
        if (b3 === undefined) return true
        if (b3.traceId === '') return b3.spanId === '' && b3.sampled !== undefined
        const text = renderTraceparent(b3.traceId, b3.spanId, b3.sampled === true, false)
        const again = readTraceparent(text)
        return (
          /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]$/.test(text) &&
          again.traceId === b3.traceId &&
          again.parentId === b3.spanId &&
          again.sampled === (b3.sampled === true)
        )
      }),
      { numRuns: 2000 },
    )
  },
)

t.test('a well-formed trace is kept, whichever form tells of it', async () => {
  const state = fc.constantFrom('', '-0', '-1', '-d')
  fc.assert(
    fc.property(HEX, HEX, state, (trace, span, decision) => {
      fc.pre(!/^0+$/.test(trace) && !/^0+$/.test(span))
      const single = read({ b3: `${trace}-${span}${decision}` })
      const sampled = decision === '-1' ? { 'x-b3-sampled': '1' } : decision === '-0' ? { 'x-b3-sampled': '0' } : {}
      const several = read({
        'x-b3-traceid': trace,
        'x-b3-spanid': span,
        ...sampled,
        ...(decision === '-d' ? { 'x-b3-flags': '1' } : {}),
      })
      return (
        single?.traceId === trace.toLowerCase().padStart(32, '0') &&
        single.spanId === span.toLowerCase() &&
        JSON.stringify({ ...single, form: '' }) === JSON.stringify({ ...several, form: '' })
      )
    }),
  )
})
