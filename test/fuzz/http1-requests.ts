/** What a client may send on one connection: requests that are right, nearly right, and made to be read in two ways. */
import { MALFORMED_CHUNKS, MALFORMED_HEADS } from '../support/smuggling-vectors.ts'
import { mutate } from './mutate.ts'
import type { Random } from './random.ts'
import { HTTP1_WORDS } from './targets/http1-words.ts'

const METHODS = ['GET', 'POST', 'PUT', 'HEAD', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'QUERY']
const TARGETS = [
  '/',
  '/a/b?c=d',
  '/%2e%2e/',
  '//x/y',
  '/a;b=c',
  "/~!$&'()*+,;=:@",
  '/?',
  '/a?b?c=/d',
  '/"<>[]^`{|}\\',
  'http://web/x',
  'http://other:8080/?q',
  'https://web?q',
  'HTTP://WEB/',
  'http://web',
  'http://a@web/',
  'http://[::1]:8080/',
]
const HOSTS = ['web', 'web:80', 'web.shop.svc', '[::1]', '[fd00::1]:80', '10.0.0.1', '', 'WEB', 'a_b', 'web:']
const FIELDS = [
  'Accept: */*',
  'accept:text/html',
  'X-A:  padded \t',
  'X-A: again',
  'X-Empty:',
  'x-tab: a\tb',
  'x-obs: \xe9\xff\x80',
  'X-Quote: "a, b", c',
  'Cookie: a=b; c=d',
  'Cookie: e=f',
  'Connection: close',
  'Connection: keep-alive',
  'Connection: x-a, cookie',
  'Connection: content-length, host, transfer-encoding',
  'Connection: te',
  'connection:',
  'Connection: ,',
  'TE: trailers',
  'TE: gzip',
  'Trailer: x-sum',
  'Keep-Alive: timeout=5, max=10',
  'Proxy-Connection: keep-alive',
  'Upgrade: h2c',
  'Upgrade: protocol/1',
  'Connection: upgrade, x-a',
  'HTTP2-Settings: AAMAAABkAAQAAP__',
  'Connection: Upgrade, HTTP2-Settings',
  'X-Forwarded-Client-Cert: By=x',
  'x_forwarded_client_cert: By=y',
  'X-Weir-Source: y',
  'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
  'Content_Length: 9',
  'Transfer_Encoding: chunked',
  'Content-Encoding: gzip',
  "!#$%&'*+-.^_`|~: token",
  'Expect: 100-continue',
  'Max-Forwards: 1',
]
const BODIES = ['', 'hello', 'GET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n', '0\r\n\r\n', '\r\n\r\n', '\0\xff']

function chunked(random: Random, body: string): string {
  let text = ''
  for (let at = 0; at < body.length; ) {
    const size = 1 + random.below(body.length - at)
    const digits = random.pick([size.toString(16), size.toString(16).toUpperCase(), `00${size.toString(16)}`])
    text += `${digits}${random.pick(['', ';a', ';a="b\t;"', ';\xe9'])}\r\n${body.slice(at, at + size)}\r\n`
    at += size
  }
  return `${text}${random.pick(['0', '000'])}\r\n${random.pick(['', 'x-sum: 1\r\n', 'Content-Length: 9\r\nx-a:\r\n', 'Host: evil\r\n'])}\r\n`
}

function right(random: Random): string {
  const lines = [`${random.pick(METHODS)} ${random.pick(TARGETS)} HTTP/1.${random.below(12) === 0 ? 0 : 1}`]
  const fields = [`${random.pick(['Host', 'host', 'HOST'])}: ${random.pick(HOSTS)}`]
  for (let i = random.below(6); i > 0; i--) fields.push(random.pick(FIELDS))
  const body = random.pick(BODIES)
  const framing = random.below(4)
  if (framing === 0) fields.push(`Content-Length: ${body.length}`)
  if (framing === 1) fields.push(`Content-Length:\t00${body.length} `)
  if (framing === 2) fields.push(`Transfer-Encoding: ${random.pick(['chunked', 'Chunked', 'CHUNKED'])}`)
  for (let i = fields.length; i > 0; i--) lines.push(...fields.splice(random.below(fields.length), 1))
  return `${lines.join('\r\n')}\r\n\r\n${framing === 3 ? '' : framing === 2 ? chunked(random, body) : body}`
}

const VECTORS = [
  ...Object.values(MALFORMED_HEADS),
  ...Object.values(MALFORMED_CHUNKS).map(
    (text) => `POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n${text}`,
  ),
]

/** One of each kind in turn: right; a vector with a right one behind it; one with a few bytes changed; two in a row. */
export function clientBytes(random: Random, turn: number): string {
  switch (turn % 4) {
    case 0:
      return right(random)
    case 1:
      return `${random.below(3) === 0 ? right(random) : ''}${random.pick(VECTORS)}${right(random)}`
    case 2:
      return mutate(random, [Buffer.from(right(random), 'latin1')], HTTP1_WORDS, 2000).toString('latin1')
    default:
      return right(random) + right(random)
  }
}
