import t from 'tap'
import { BodyReader } from '../../../src/http/index.ts'

/** Feeds `wire` in pieces of `size` bytes. */
function read(mode: 'length' | 'chunked' | 'close', length: number, wire: string, size: number) {
  const body = new BodyReader(1024, 8)
  body.begin(mode, length)
  let data = ''
  const sink = {
    bodyData: (bytes: Buffer, start: number, end: number) => (data += bytes.toString('latin1', start, end)),
  }
  const bytes = Buffer.from(wire, 'latin1')
  let consumed = 0
  for (let at = 0; at < bytes.length && !body.done && body.problem === ''; at += size) {
    const end = Math.min(bytes.length, at + size)
    consumed = body.read(bytes, at, end, sink)
  }
  return { body, data, consumed }
}

t.test('a body ends where it says, however it is cut', async (t) => {
  const chunked = '5\r\nhello\r\n6;ext="a;b"\r\n world\r\n0\r\nX-Sum: abc\r\n\r\nNEXT'
  for (let size = 1; size <= chunked.length; size++) {
    const { body, data, consumed } = read('chunked', 0, chunked, size)
    t.equal(data, 'hello world', `pieces of ${size}`)
    t.equal(body.done, true)
    t.equal(body.trailers?.get('x-sum'), 'abc')
    t.equal(consumed, chunked.length - 4, 'the next request is untouched')
  }
  for (let size = 1; size <= 9; size++) {
    const { data, body, consumed } = read('length', 5, 'helloNEXT', size)
    t.equal(data, 'hello')
    t.equal(body.done, true)
    t.equal(consumed, 5)
  }
})

t.test('malformed chunks are refused', async (t) => {
  for (const wire of [
    'g\r\n',
    '\r\n',
    '-1\r\n',
    '+5\r\nhello\r\n0\r\n\r\n',
    '0x5\r\nhello\r\n0\r\n\r\n',
    '5\nhello\r\n0\r\n\r\n',
    '5 \r\nhello\r\n0\r\n\r\n',
    '5\r\nhelloX\r\n0\r\n\r\n',
    '5\r\nhello\n0\r\n\r\n',
    '5\r\nhello0\r\n\r\n',
    '5\rX\r\nhello\r\n',
    'ffffffffffffffff\r\n',
    `5;${'x'.repeat(5000)}\r\nhello`,
    '5;a\0b\r\nhello\r\n',
    '5;a\nb\r\nhello\r\n',
    '0\r\nX : y\r\n\r\n',
    `0\r\nX: ${'y'.repeat(2000)}\r\n\r\n`,
  ]) {
    t.not(read('chunked', 0, wire, wire.length).body.problem, '', JSON.stringify(wire.slice(0, 40)))
    t.not(read('chunked', 0, wire, 1).body.problem, '', `byte by byte: ${JSON.stringify(wire.slice(0, 40))}`)
  }
})

t.test('a body until close ends with the connection', async (t) => {
  const { body, data } = read('close', 0, 'abc', 2)
  t.equal(data, 'abc')
  t.equal(body.done, false)
  t.equal(body.end(), true)
})
