import t from 'tap'
import { KeptBody } from '../../../src/proxy/kept-body.ts'

const MAX = 65536

t.test('a body is kept as it came, however it was cut, in one piece', async (t) => {
  for (const piece of [1, 7, 1000, 4096, 16384, MAX]) {
    const body = Buffer.from(Array.from({ length: MAX }, (_, i) => i * 31))
    const kept = new KeptBody()
    for (let at = 0; at < MAX; at += piece) kept.add(body, at, Math.min(MAX, at + piece))
    t.ok(kept.bytes().equals(body), `pieces of ${piece}`)
    t.equal(kept.bytes().buffer.byteLength, MAX, 'and no room is lost')
  }
})

t.test('what was given to be sent stays as it was while more is kept', async (t) => {
  const kept = new KeptBody()
  kept.add(Buffer.from('begun'), 0, 5)
  const sent = kept.bytes()
  for (let i = 0; i < 5000; i++) kept.add(Buffer.from('x'), 0, 1)
  t.equal(sent.toString(), 'begun')
  t.equal(kept.bytes().toString(), `begun${'x'.repeat(5000)}`)
})

t.test('more than may be kept is not', async (t) => {
  const kept = new KeptBody()
  t.equal(kept.add(Buffer.alloc(MAX), 0, MAX), true)
  t.equal(kept.add(Buffer.alloc(1), 0, 1), false)
  kept.clear()
  t.equal(kept.length, 0)
  t.equal(kept.replace(Buffer.alloc(MAX)), true)
  t.equal(kept.replace(Buffer.alloc(MAX + 1)), false)
  t.equal(kept.length, MAX + 1, 'it is to be sent once all the same')
})
