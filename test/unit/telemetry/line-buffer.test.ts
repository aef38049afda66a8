import * as fc from 'fast-check'
import t from 'tap'
import { LineBuffer, roomOfText } from '../../../src/telemetry/line-buffer.ts'

function writtenBy(write: (out: LineBuffer) => void, bytes = 64_000): string {
  const out = new LineBuffer(Buffer.alloc(bytes), () => t.fail('there was room') as never)
  write(out)
  return out.written.toString('latin1')
}

t.test('whole numbers are written as JavaScript writes them', async () => {
  const whole = fc.oneof(fc.nat(1100), fc.nat(), fc.maxSafeNat(), fc.constantFrom(999_999_999, 1_000_000_000))
  fc.assert(fc.property(whole, (value) => writtenBy((out) => out.integer(value)) === String(value)))
})

t.test('milliseconds are true to the microsecond, and what is no time is 0', async (t) => {
  const times = fc.double({ min: 0, max: 1e9, noNaN: true })
  fc.assert(
    fc.property(times, (value) => {
      const text = writtenBy((out) => out.milliseconds(value))
      return /^(0|[1-9]\d*)(\.\d{3})?$/.test(text) && Number(text) === Math.round(value * 1000) / 1000
    }),
  )
  for (const none of [Number.NaN, Number.POSITIVE_INFINITY, -1]) {
    t.equal(
      writtenBy((out) => out.milliseconds(none)),
      '0',
    )
  }
})

t.test('any text is one JSON string within its room', async () => {
  const texts = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.string({ unit: 'grapheme-ascii', maxLength: 60 }),
    fc.string({ minLength: 4090, maxLength: 4100 }),
  )
  fc.assert(
    fc.property(texts, (value) => {
      const text = writtenBy((out) => out.text(value))
      const said: unknown = JSON.parse(text)
      const isCut = value.length > 4096
      return text.length <= roomOfText(value) && said === (isCut ? `${value.slice(0, 4096)}…` : value)
    }),
  )
})

t.test('when there is no room the written part is taken, and writing goes on in other memory', async (t) => {
  const taken: string[] = []
  const out: LineBuffer = new LineBuffer(Buffer.alloc(8), (bytes) => {
    taken.push(out.written.toString())
    return Buffer.alloc(bytes)
  })
  for (const text of ['first', 'next', 'last']) {
    out.makeRoom(text.length)
    out.ascii(text)
  }
  t.strictSame([...taken, out.written.toString()], ['first', 'next', 'last'])
})
