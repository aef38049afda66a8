import t from 'tap'
import { detect } from '../../../src/http/index.ts'

const of = (text: string) => detect(Buffer.from(text, 'latin1'), 0, text.length)

t.test('a request line is HTTP however it is cut', async (t) => {
  const line = 'GET / HTTP/1.1\r\n'
  for (let cut = 1; cut < 4; cut++) t.equal(of(line.slice(0, cut)), 'more', line.slice(0, cut))
  for (let cut = 4; cut <= line.length; cut++) t.equal(of(line.slice(0, cut)), 'http1')
  t.equal(of('\r\nPOST /x HTTP/1.0\r\n'), 'http1')
  t.equal(of('FROBNICATE /x HTTP/1.1\r\n'), 'http1', 'an unregistered method')
  t.equal(of('GET / HTTP/1.1\n'), 'http1', 'malformed HTTP is still judged as HTTP')
})

t.test('the HTTP/2 preface is told from a method named PRI', async (t) => {
  t.equal(of('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 'http2')
  t.equal(of('PRI * HT'), 'more')
  t.equal(of('PRI /x HTTP/1.1\r\n'), 'http1')
})

t.test('other protocols are told apart at once', async (t) => {
  for (const text of [
    'SSH-2.0-x\r\n',
    '\x16\x03\x01',
    '\0\0\0',
    'EHLO mail\r\n',
    'SET a b\r\n',
    '*1\r\n$4\r\n',
    'PING\r\n',
    '{"a":1}',
  ]) {
    t.equal(of(text), 'other', JSON.stringify(text))
  }
  t.equal(of('EHLO ma'), 'more', 'a first line is decided at its end')
})

t.test('a line with a byte that no line holds is judged the same however it is cut', async (t) => {
  const line = 'FROB /x HTTP/1.1\0\n'
  t.equal(of(line.slice(0, -2)), 'more')
  t.equal(of(line.slice(0, -1)), 'http1', 'by what comes before the byte')
  t.equal(of(line), 'http1')
  t.equal(of('SET a \0HTTP/1.1\n'), 'other')
  t.equal(of('SET a \0'), 'other')
})
