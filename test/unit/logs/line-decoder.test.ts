import fc from 'fast-check'
import t from 'tap'
import { DECODE_BYTES, JoinBudget, LineDecoder } from '../../../src/logs/line-decoder.ts'
import { CUT_MARK, type LogLine, MAX_LINE_BYTES, TORN_MARK } from '../../../src/logs/log-line.ts'

const TIME = '2026-11-21T10:15:02.123456789Z'
const budget = () => new JoinBudget(64 << 20)

/** Fed as a file is read: what was not taken comes again. */
function decode(bytes: Buffer, splits: readonly number[] = [], decoder = new LineDecoder('cri', budget())): LogLine[] {
  const lines: LogLine[] = []
  let from = 0
  for (const to of [...splits, bytes.length]) {
    const block = bytes.subarray(from, to)
    from += decoder.decode(block, block.length, (line) => lines.push(line))
  }
  return lines
}
const messages = (lines: readonly LogLine[]) => lines.map(({ message }) => message)

t.test('a line of the format has its time, stream and message', async (t) => {
  const text = `${TIME} stdout F hello  world \n${TIME} stderr F \n2026-11-21T10:15:02+02:00 stdout F:tag x\n${TIME} stdout F\n`
  t.same(decode(Buffer.from(text)), [
    { time: TIME, stream: 'stdout', message: 'hello  world ', cut: false },
    { time: TIME, stream: 'stderr', message: '', cut: false },
    { time: '2026-11-21T10:15:02+02:00', stream: 'stdout', message: 'x', cut: false },
    { time: TIME, stream: 'stdout', message: '', cut: false },
  ])
})

t.test('parts are joined per stream, with the time of the first', async (t) => {
  const later = TIME.replace(':02', ':03')
  const text = [
    `${TIME} stdout P one `,
    `${TIME} stderr P uno `,
    `${later} stdout P:x two `,
    `${later} stderr F due`,
    `${later} stdout F three`,
  ]
  t.same(decode(Buffer.from(`${text.join('\n')}\n`)), [
    { time: TIME, stream: 'stderr', message: 'uno due', cut: false },
    { time: TIME, stream: 'stdout', message: 'one two three', cut: false },
  ])
})

t.test('a character that is split between two parts is whole again', async (t) => {
  const [a, b] = [
    Buffer.from('gr\u00fc\u00df \u{1f600}').subarray(0, 3),
    Buffer.from('gr\u00fc\u00df \u{1f600}').subarray(3),
  ]
  const bytes = Buffer.concat([
    Buffer.from(`${TIME} stdout P `),
    a,
    Buffer.from(`\n${TIME} stdout F `),
    b,
    Buffer.from('\n'),
  ])
  t.same(messages(decode(bytes)), ['gr\u00fc\u00df \u{1f600}'])
})

t.test('bytes that are no UTF-8 become replacement marks, and the lines around stay', async (t) => {
  const bytes = Buffer.concat([
    Buffer.from(`${TIME} stdout F a`),
    Buffer.of(0xff, 0xc3),
    Buffer.from(`\n${TIME} stdout F b\n`),
  ])
  t.same(messages(decode(bytes)), ['a\ufffd\ufffd', 'b'])
})

t.test('what is not of the format is a line as it is, and counted', async (t) => {
  const bad = [
    'garbage',
    `${TIME} stdin F x`,
    `${TIME} stdout X x`,
    'x stdout F y',
    `${TIME} stdout Fx`,
    `${TIME} stdout`,
  ]
  const decoder = new LineDecoder('cri', budget())
  t.same(messages(decode(Buffer.from(`${bad.join('\n')}\n\n`), [], decoder)), bad)
  t.equal(decoder.malformed, bad.length)
})

t.test('a line is cut at 1 MiB with a mark, in one piece or in parts, and the next is whole', async (t) => {
  const long = '\u00e4'.repeat(MAX_LINE_BYTES / 2 + 100)
  const part = `${TIME} stdout P ${'y'.repeat(16_000)}\n`
  const text = `${TIME} stdout F ${long}\n${part.repeat(100)}${TIME} stdout F end\n${TIME} stdout F next\n`
  const lines = decode(Buffer.from(text))
  t.same(
    lines.map(({ message, cut }) => [message.length, message.endsWith(CUT_MARK), cut]),
    [
      [MAX_LINE_BYTES / 2 + CUT_MARK.length, true, true],
      [MAX_LINE_BYTES + CUT_MARK.length, true, true],
      [4, false, false],
    ],
  )
})

t.test('a line without an end does not hold up what comes after it', async (t) => {
  const decoder = new LineDecoder('cri', budget())
  const lines: LogLine[] = []
  const bytes = Buffer.alloc(DECODE_BYTES, 'x')
  bytes.write(`${TIME} stdout F `)
  const tell = (line: LogLine) => lines.push(line)
  t.equal(decoder.decode(bytes, 1000, tell), 0)
  t.equal(decoder.decode(bytes, bytes.length, tell), bytes.length)
  const saved = new LineDecoder('cri', budget(), decoder.state())
  const rest = Buffer.from(`xxx\n${TIME} stdout F next\n`)
  t.equal(saved.decode(rest, rest.length, tell), rest.length)
  t.same(
    lines.map(({ message, cut }) => [message.slice(-4), cut]),
    [
      [CUT_MARK.slice(-4), true],
      ['next', false],
    ],
  )
})

t.test('unfinished lines together take no more than their budget', async (t) => {
  const shared = new JoinBudget(100)
  const [a, b] = [new LineDecoder('cri', shared), new LineDecoder('cri', shared)]
  decode(Buffer.from(`${TIME} stdout P ${'a'.repeat(80)}\n`), [], a)
  decode(Buffer.from(`${TIME} stdout P ${'b'.repeat(80)}\n`), [], b)
  t.equal(shared.bytes, 100)
  t.same(messages(decode(Buffer.from(`${TIME} stdout F .\n`), [], b)), [`${'b'.repeat(20)}${CUT_MARK}`])
  a[Symbol.dispose]()
  t.equal(shared.bytes, 0)
})

t.test('parts whose end does not come are told with a mark; a last line without its line feed is told', async (t) => {
  const decoder = new LineDecoder('cri', budget())
  const lines = decode(Buffer.from(`${TIME} stderr P begun\n`), [], decoder)
  decoder.tellRest(Buffer.from(`${TIME} stdout F last`), (line) => lines.push(line))
  decoder.tellTorn((line) => lines.push(line))
  t.same(messages(lines), ['last', `begun${TORN_MARK}`])
})

t.test('the access log: whole lines with the time that is in them', async (t) => {
  const text = `{"level":30,"time":"${TIME}","msg":"request"}\nno json\n`
  const lines = decode(Buffer.from(text), [], new LineDecoder('json', budget()))
  t.same(
    lines.map(({ time, message }) => [time, message]),
    [
      [TIME, `{"level":30,"time":"${TIME}","msg":"request"}`],
      ['', 'no json'],
    ],
  )
})

t.test(
  'property: wherever the bytes are split, and wherever another decoder goes on, the lines are the same',
  async (t) => {
    const piece = fc.record({
      stream: fc.constantFrom('stdout', 'stderr'),
      tag: fc.constantFrom('P', 'F', 'F:x', 'P:a:b', 'Q'),
      text: fc.oneof(fc.string({ unit: 'binary', maxLength: 30 }), fc.constant('\u{1f600}\u00fc')),
    })
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), fc.array(fc.nat(), { maxLength: 10 }), (pieces, cuts) => {
        const bytes = Buffer.from(
          pieces.map(({ stream, tag, text }) => `${TIME} ${stream} ${tag} ${text.replaceAll('\n', ' ')}\n`).join(''),
        )
        const splits = cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b)
        const whole = decode(bytes)
        t.same(decode(bytes, splits), whole)
        let decoder = new LineDecoder('cri', budget())
        const resumed: LogLine[] = []
        let from = 0
        for (const to of [...splits, bytes.length]) {
          const block = bytes.subarray(from, to)
          from += decoder.decode(block, block.length, (line) => resumed.push(line))
          decoder = new LineDecoder('cri', budget(), JSON.parse(JSON.stringify(decoder.state() ?? null)) ?? undefined)
        }
        t.same(resumed, whole)
      }),
      { numRuns: 300 },
    )
  },
)
