import t from 'tap'
import { Head, PARSE_BAD, PARSE_DONE, PARSE_MORE } from '../../../src/http/index.ts'
import { MALFORMED_HEADS } from '../../support/smuggling-vectors.ts'

function parse(text: string, limits = { bytes: 65536, headers: 128 }): { result: number; head: Head } {
  const head = new Head(limits.bytes, limits.headers)
  const bytes = Buffer.from(text, 'latin1')
  return { result: head.parseRequest(bytes, 0, bytes.length), head }
}
const REST = '\r\nHost: web\r\n\r\n'

t.test('a plain request head is read', async (t) => {
  const { result, head } = parse('GET /a?b=c HTTP/1.1\r\nHost: web:80\r\nX-One:  padded \t\r\nAccept: */*\r\n\r\nBODY')
  t.equal(result, PARSE_DONE)
  t.equal(head.method, 'GET')
  t.equal(head.target, '/a?b=c')
  t.equal(head.minor, 1)
  t.equal(head.headerCount, 3)
  t.equal(head.get('x-one'), 'padded')
  t.equal(head.get('accept'), '*/*')
  t.equal(head.get('absent'), undefined)
  t.equal(head.text.endsWith('\r\n\r\n'), true)
})

t.test('every cut of a head in two parses once complete, and asks for more before', async (t) => {
  const text = 'POST /x HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\n'
  for (let cut = 0; cut < text.length; cut++) {
    t.equal(parse(text.slice(0, cut)).result, PARSE_MORE, `first ${cut} bytes`)
  }
  t.equal(parse(text).result, PARSE_DONE)
})

t.test('a method of more than 64 bytes is refused, whether or not its end has come', async (t) => {
  t.equal(parse(`${'M'.repeat(64)} / HTTP/1.1${REST}`).result, PARSE_DONE)
  t.equal(parse(`${'M'.repeat(65)} / HTTP/1.1${REST}`).result, PARSE_BAD)
  t.equal(parse('M'.repeat(65)).result, PARSE_BAD)
  t.equal(parse('M'.repeat(64)).result, PARSE_MORE)
})

t.test('what two servers might read differently is refused', async (t) => {
  for (const [name, text] of Object.entries(MALFORMED_HEADS)) {
    const { result, head } = parse(text)
    t.equal(result, PARSE_BAD, name)
    t.not(head.problem, '', `${name}: says why`)
  }
})

t.test('bounds hold', async (t) => {
  t.equal(parse(`GET /${'a'.repeat(2000)} HTTP/1.1${REST}`, { bytes: 1024, headers: 8 }).head.tooLarge, true)
  t.equal(parse(`GET / HTTP/1.1\r\nX: ${'a'.repeat(2000)}`, { bytes: 1024, headers: 8 }).head.tooLarge, true)
  t.equal(
    parse(`GET / HTTP/1.1\r\n${'A: b\r\n'.repeat(9)}${REST.slice(2)}`, { bytes: 1024, headers: 8 }).head.tooLarge,
    true,
  )
  t.equal(parse(`GET / HTTP/1.1\r\n${'A: b\r\n'.repeat(100)}${REST.slice(2)}`).result, PARSE_DONE)
})

t.test('connection options are understood', async (t) => {
  const { head } = parse(
    `GET / HTTP/1.1\r\nConnection: Upgrade, X-Drop, Cookie\r\nX-Drop: 1\r\nCookie: a\r\nConnection: close\r\nUpgrade: websocket${REST}`,
  )
  t.equal(head.connectionUpgrade, true)
  t.equal(head.connectionClose, true)
  t.equal(head.get('x-drop'), undefined, 'listed: gone')
  t.equal(head.get('cookie'), 'a', 'a protected one stays')
})

t.test('responses are read, and malformed ones refused', async (t) => {
  const response = (text: string): { result: number; head: Head } => {
    const head = new Head(65536, 128)
    const bytes = Buffer.from(text, 'latin1')
    return { result: head.parseResponse(bytes, 0, bytes.length), head }
  }
  const ok = response('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello')
  t.equal(ok.result, PARSE_DONE)
  t.equal(ok.head.status, 200)
  t.equal(ok.head.reason, ' OK')
  t.equal(ok.head.contentLength, 5)
  t.equal(response('HTTP/1.1 204\r\n\r\n').head.status, 204, 'no reason phrase at all')
  t.equal(response('HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n').result, PARSE_DONE)
  for (const bad of [
    'HTTP/1.1 20 OK\r\n\r\n',
    'HTTP/1.1 2000 OK\r\n\r\n',
    'HTTP/1.1200 OK\r\n\r\n',
    'ICY 200 OK\r\n\r\n',
    'HTTP/1.1 200 OK\nContent-Length: 5\n\n',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n',
  ]) {
    t.equal(response(bad).result, PARSE_BAD, JSON.stringify(bad))
  }
})
