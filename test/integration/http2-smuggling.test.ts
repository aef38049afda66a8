/** What an HTTP/2 client may not say, by raw frames: none of it reaches a server of HTTP/1.1 as another message. */
import t from 'tap'
import { FRAME_DATA, FRAME_HEADERS, FRAME_RST_STREAM, FRAME_SETTINGS, PREFACE } from '../../src/http/h2/frames.ts'
import { HpackEncoder } from '../../src/http/h2/hpack-encoder.ts'
import { openDataPath } from '../support/data-path.ts'
import { connectIn, listenIn, type RawSocket } from '../support/raw-socket.ts'
import { frame, framesOf } from '../unit/http/h2/wire.ts'

const path = await openDataPath(t)
t.teardown(() => path[Symbol.asyncDispose]())
const PORT = 8000
const { ipv4 } = await path.change(() =>
  path.lab.addService({
    name: 'declared',
    namespace: 'shop',
    selector: { app: 'web' },
    ports: [{ name: 'http', port: PORT }],
  }),
)
/** The start lines that the server has read, by its own strict parser. */
const heads: string[] = []
const server = await listenIn(path.web.netnsPath, PORT, async (connection) => {
  for (;;) {
    const { start, lines } = await connection.message()
    heads.push([start, ...lines].join('|'))
    await connection.send('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
  }
})
t.teardown(() => server[Symbol.asyncDispose]())

const END_STREAM = 1
const END_HEADERS = 4
const GET = [':method', 'GET', ':scheme', 'http', ':authority', 'w', ':path', '/good']
const POST = GET.map((text) => (text === 'GET' ? 'POST' : text))
const without = (name: string) => GET.filter((_, i) => GET[i & ~1] !== name)
const withValue = (name: string, value: string) =>
  GET.map((text, i) => (GET[i & ~1] === name && i % 2 === 1 ? value : text))

/** Sends one request on a new connection; the frame that ends its stream. */
async function request(fields: readonly string[], data: readonly string[] = []): Promise<string> {
  using socket: RawSocket = await connectIn(path.client.netnsPath, ipv4, PORT)
  const encoder = new HpackEncoder()
  encoder.encode(fields)
  const block = Buffer.from(encoder.block.subarray(0, encoder.length))
  const frames = [
    PREFACE,
    frame(FRAME_SETTINGS, 0, 0),
    frame(FRAME_HEADERS, END_HEADERS | (data.length === 0 ? END_STREAM : 0), 1, block),
    ...data.map((text, i) => frame(FRAME_DATA, i === data.length - 1 ? END_STREAM : 0, 1, Buffer.from(text))),
  ]
  await socket.send(Buffer.concat(frames))
  return await socket.wait('the end of the stream', () => {
    const bytes = socket.peek()
    const whole: Buffer[] = []
    for (let at = 0; at + 9 <= bytes.length; ) {
      const end = at + 9 + bytes.readUIntBE(at, 3)
      if (end > bytes.length) break
      whole.push(bytes.subarray(at, end))
      at = end
    }
    const last = framesOf(Buffer.concat(whole))
      .filter(({ id }) => id === 1)
      .at(-1)
    if (last?.type === FRAME_RST_STREAM) return `reset ${last.payload.readUInt32BE(0)}`
    return last !== undefined && (last.flags & END_STREAM) !== 0 ? 'answered' : undefined
  })
}

const VECTORS: Readonly<Record<string, readonly [fields: readonly string[], data?: readonly string[]]>> = {
  'CR and LF in a value': [[...GET, 'x', 'a\r\nx-evil: 1']],
  'LF in a value': [[...GET, 'x', 'a\nx-evil: 1']],
  'NUL in a value': [[...GET, 'x', 'a\0b']],
  'white space before a value': [[...GET, 'x', ' a']],
  'a colon in a name': [[...GET, 'x:evil', 'a']],
  'a space in a name': [[...GET, 'x evil', 'a']],
  'CR and LF in a name': [[...GET, 'x\r\nx-evil', 'a']],
  'an upper-case name': [[...GET, 'X-Evil', 'a']],
  'an empty name': [[...GET, '', 'a']],
  'transfer-encoding': [[...POST, 'transfer-encoding', 'chunked'], ['0\r\n\r\n']],
  connection: [[...GET, 'connection', 'close']],
  'keep-alive': [[...GET, 'keep-alive', '1']],
  'proxy-connection': [[...GET, 'proxy-connection', 'close']],
  upgrade: [[...GET, 'upgrade', 'websocket']],
  'te other than trailers': [[...GET, 'te', 'gzip']],
  'content-length without data': [[...POST, 'content-length', '5']],
  'two content-lengths': [[...POST, 'content-length', '3', 'content-length', '3'], ['abc']],
  'content-length with a sign': [[...POST, 'content-length', '+3'], ['abc']],
  'two hosts': [[...without(':authority'), 'host', 'w', 'host', 'w']],
  'another host than :authority': [[...GET, 'host', 'other']],
  'no authority': [without(':authority')],
  'white space in :authority': [withValue(':authority', 'w evil')],
  'user information in :authority': [withValue(':authority', 'user@w')],
  'a path without slash': [withValue(':path', 'good')],
  'a second line in :path': [withValue(':path', '/ HTTP/1.1\r\nx-evil: 1')],
  'white space in :path': [withValue(':path', '/a b')],
  'an empty path': [withValue(':path', '')],
  'white space in :method': [withValue(':method', 'GET /x')],
  'no method': [without(':method')],
  'a pseudo-header twice': [[...GET, ':path', '/other']],
  'a pseudo-header after others': [['x', 'a', ...GET]],
  'an unknown pseudo-header': [[...GET, ':evil', 'a']],
}

for (const [name, [fields, data]] of Object.entries(VECTORS)) {
  t.test(`${name}: refused, and nothing of it is sent on`, async (t) => {
    heads.length = 0
    t.equal(await request(fields, data), 'reset 1')
    t.equal(await request(GET), 'answered')
    t.same(
      heads.map((head) => head.split('|')[0]),
      ['GET /good HTTP/1.1'],
    )
  })
}

t.test('data that disagrees with content-length never becomes a request', async (t) => {
  for (const data of [['abcde'], ['ab', 'cd'], ['ab']]) {
    heads.length = 0
    t.equal(await request([...POST, 'content-length', '3'], data), 'reset 1', data.join())
    t.equal(await request(GET), 'answered')
    t.same(
      heads.map((head) => head.split('|')[0]),
      ['GET /good HTTP/1.1'],
      data.join(),
    )
  }
})

t.test('data that looks like a request is the data that it is', async (t) => {
  heads.length = 0
  const inner = 'GET /evil HTTP/1.1\r\nhost: w\r\n\r\n'
  t.equal(await request(POST, [inner, `0\r\n\r\n${inner}`]), 'answered')
  t.equal(await request([...POST, 'content-length', String(inner.length)], [inner]), 'answered')
  t.equal(await request([...GET, 'x_forwarded_client_cert', 'me', 'x-weir-refusal', 'RBAC']), 'answered')
  t.equal(heads.length, 3)
  t.notOk(heads.some((head) => /evil|x.weir|=me|cert: me/.test(head)))
})
