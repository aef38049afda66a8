import t from 'tap'
import { FrameReader, frameOf } from '../../../../src/proxy/dns/frames.ts'

t.test('messages come whole, however they were cut', (t) => {
  const messages = ['one', '', 'three'].map((text) => Buffer.from(text))
  const stream = Buffer.concat(messages.map(frameOf))
  for (let size = 1; size <= stream.length; size++) {
    const reader = new FrameReader()
    const found: string[] = []
    const buffer = Buffer.alloc(stream.length)
    for (let at = 0; at < stream.length; at += size) {
      // One buffer for all reads, as streams have it.
      const length = stream.copy(buffer, 0, at, at + size)
      found.push(...reader.read(buffer, length).map(String))
      buffer.fill(0)
    }
    t.same(found, ['one', '', 'three'], `${size} bytes at a time`)
  }
  t.end()
})
