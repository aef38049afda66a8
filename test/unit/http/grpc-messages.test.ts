import fc from 'fast-check'
import t from 'tap'
import { GrpcMessages } from '#http'

function message(length: number): Buffer {
  const bytes = Buffer.alloc(5 + length, 0xff)
  bytes[0] = 0
  bytes.writeUInt32BE(length, 1)
  return bytes
}

t.test('messages are counted however they are cut', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 12 }),
      fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1 }),
      (lengths, cuts) => {
        const all = Buffer.concat(lengths.map(message))
        const messages = new GrpcMessages()
        for (let at = 0, i = 0; at < all.length; i++) {
          const end = Math.min(all.length, at + (cuts[i % cuts.length] ?? 1))
          messages.feed(all, at, end)
          at = end
        }
        return messages.count === lengths.length
      },
    ),
  )
})

t.test('a length of 4 GiB is no negative number', async (t) => {
  const messages = new GrpcMessages()
  const begun = Buffer.concat([Buffer.from([0, 0xff, 0xff, 0xff, 0xff]), Buffer.alloc(1000)])
  messages.feed(begun, 0, begun.length)
  t.equal(messages.count, 1)
})
