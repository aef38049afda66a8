import t from 'tap'
import { HeldBody, HeldBytes } from '../../../src/proxy/held-body.ts'
import { compileRule } from '../../../src/translation/body-rules.ts'

const add = (body: HeldBody, text: string): void => body.bodyData(Buffer.from(text), 0, Buffer.byteLength(text))
const rules = [compileRule({ type: 'Default', path: ['b'], value: '2' })]
const textOf = (result: ReturnType<HeldBody['translate']>) => (Buffer.isBuffer(result) ? result.toString() : result)

t.test('a body is put together and translated', async (t) => {
  const room = new HeldBytes(10_000)
  const body = new HeldBody(room, 1000, -1)
  for (const piece of ['{"a', '":', '1}']) add(body, piece)
  t.equal(body.length, 7)
  t.equal(textOf(body.translate(rules)), '{"a":1,"b":2}')
  t.ok(room.used > 0, 'and counts until it is let go')
  body.release()
  body.release()
  t.equal(room.used, 0)
})

t.test('of nothing nothing is made', async (t) => {
  t.equal(textOf(new HeldBody(new HeldBytes(100), 100, -1).translate(rules)), '')
})

t.test('a body that is larger than it may be is not held: told, or found out, or made so', async (t) => {
  const room = new HeldBytes(100_000)
  t.equal(new HeldBody(room, 100, 101).problem, 'too-large')
  t.equal(room.used, 0)
  const found = new HeldBody(room, 100, -1)
  add(found, 'x'.repeat(60))
  add(found, 'x'.repeat(60))
  t.equal(found.problem, 'too-large')
  t.equal(room.used, 0)
  add(found, 'x')
  t.equal(found.translate(rules), 'too-large')
  const made = new HeldBody(room, 16, -1)
  add(made, '{"a":"ää"}')
  t.equal(made.translate(rules), 'too-large', 'what comes of it counts in bytes')
})

t.test('what all bodies of a pod, and of all pods, may take is bounded', async (t) => {
  const all = new HeldBytes(10_000)
  const one = new HeldBytes(6_000, all)
  const other = new HeldBytes(6_000, all)
  const first = new HeldBody(one, 10_000, 5_000)
  t.equal(first.problem, undefined)
  t.equal(new HeldBody(one, 10_000, 2_000).problem, 'no-room', 'of the pod')
  const second = new HeldBody(other, 10_000, 5_000)
  t.equal(second.problem, undefined)
  t.equal(new HeldBody(other, 10_000, 500).problem, 'no-room', 'of all')
  t.same([one.used, other.used, all.used], [5_000, 5_000, 10_000])
  first.release()
  t.equal(new HeldBody(other, 10_000, 500).problem, undefined)
})

t.test('room counts, not bytes: many small pieces take no more than they are', async (t) => {
  const room = new HeldBytes(1 << 20)
  const body = new HeldBody(room, 1 << 19, -1)
  for (let i = 0; i < 10_000; i++) add(body, 'x')
  t.ok(room.used <= 20_000, `${room.used}`)
})
