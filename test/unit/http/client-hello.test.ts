import fc from 'fast-check'
import t from 'tap'
import { type HelloReading, MAX_HELLO_BYTES, readClientHello } from '#http'
import { CLIENT_HELLOS } from '../../support/client-hellos.ts'

function captured(client: string): Buffer {
  const text = CLIENT_HELLOS[client]
  if (text === undefined) throw new Error(`No hello of ${client}`)
  return Buffer.from(text, 'base64')
}

const uint16 = (value: number) => Buffer.from([value >> 8, value & 255])
const vector = (bytes: Buffer, size: 1 | 2) =>
  Buffer.concat([size === 1 ? Buffer.from([bytes.length]) : uint16(bytes.length), bytes])
const extension = (type: number, body: Buffer) => Buffer.concat([uint16(type), vector(body, 2)])
const hostName = (name: string, type = 0) =>
  Buffer.concat([Buffer.from([type]), vector(Buffer.from(name, 'latin1'), 2)])
const serverName = (...names: readonly Buffer[]) => extension(0, vector(Buffer.concat(names), 2))
/** A value that clients send so that servers stay tolerant (RFC 8701). */
const GREASE = extension(0x1a1a, Buffer.alloc(1))

/** The handshake message. */
function message(extensions: readonly Buffer[] | undefined, type = 1): Buffer {
  const body = Buffer.concat([
    uint16(0x0303),
    Buffer.alloc(32, 7),
    vector(Buffer.alloc(32), 1),
    vector(Buffer.from([0x2a, 0x2a, 0x13, 0x01]), 2),
    vector(Buffer.from([0]), 1),
    ...(extensions === undefined ? [] : [vector(Buffer.concat(extensions), 2)]),
  ])
  return Buffer.concat([Buffer.from([type, 0]), uint16(body.length), body])
}

/** The message in records of `size` bytes. */
function records(bytes: Buffer, size = 16_384): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < bytes.length; at += size) {
    parts.push(Buffer.from([22, 3, 1]), vector(bytes.subarray(at, at + size), 2))
  }
  return Buffer.concat(parts)
}

const named = (name: string) => records(message([GREASE, serverName(hostName(name)), extension(43, Buffer.alloc(3))]))
const hello = (name: string): HelloReading => ({ kind: 'hello', serverName: name })

t.test('the name that real clients ask for is read', async (t) => {
  t.same(readClientHello(captured('openssl s_client')), hello('shop.example.com'), 'written Shop.Example.COM')
  t.same(readClientHello(captured('openssl s_client without a name')), hello(''))
  t.same(readClientHello(captured('openssl s_client of TLS 1.2')), hello('old.example.com'))
  t.same(readClientHello(captured('curl')), hello('shop.example.com'))
  t.same(readClientHello(captured('node')), hello('shop.example.com'))
})

t.test('a hello in any number of packets is waited for, and reads the same', async (t) => {
  for (const [client, text] of Object.entries(CLIENT_HELLOS)) {
    const bytes = Buffer.from(text, 'base64')
    for (let end = 0; end < bytes.length; end++) {
      if (readClientHello(bytes, 0, end).kind !== 'more') t.fail(`${client}: decided after ${end} of ${bytes.length}`)
    }
    const whole = readClientHello(bytes)
    t.equal(whole.kind, 'hello', client)
    t.same(readClientHello(Buffer.concat([Buffer.from('ab'), bytes, Buffer.from('more')]), 2), whole, 'in the middle')
  }
})

t.test('a hello in any number of records reads the same', async (t) => {
  const whole = message([GREASE, serverName(hostName('shop.example.com'))])
  for (const size of [2, 3, 4, 5, 50, whole.length - 1, whole.length]) {
    t.same(readClientHello(records(whole, size)), hello('shop.example.com'), `of ${size} bytes`)
  }
  t.match(readClientHello(records(whole, 1)), { kind: 'unreadable', why: /more than 64 records/ })
})

t.test('GREASE, no extension and an empty list of extensions are no trouble', async (t) => {
  t.same(readClientHello(records(message([GREASE]))), hello(''))
  t.same(readClientHello(records(message([]))), hello(''))
  t.same(readClientHello(records(message(undefined))), hello(''))
})

t.test('names are compared in lower case, without the dot at their end', async (t) => {
  t.same(readClientHello(named('WWW.Example.com.')), hello('www.example.com'))
  t.same(readClientHello(named('a_b-1.x')), hello('a_b-1.x'))
})

t.test('where servers might read another name there is none', async (t) => {
  const two = serverName(hostName('a.example'), hostName('b.example'))
  const cases: Readonly<Record<string, Buffer>> = {
    'two names': records(message([two])),
    'two extensions': records(message([serverName(hostName('a.example')), serverName(hostName('b.example'))])),
    'a name of another type': records(message([serverName(hostName('a.example', 1))])),
    'an empty list': records(message([serverName()])),
    'an empty name': named(''),
    'a NUL within': named('a.example\0.b.example'),
    'a space': named('a example'),
    'a slash': named('a/b'),
    'bytes beyond ASCII': named('\xe4.example'),
    'two dots': named('a..example'),
    'a wildcard': named('*.example'),
    'too long': named(`${'a'.repeat(255)}.example`),
    'bytes after the names': records(
      message([extension(0, Buffer.concat([vector(hostName('a.example'), 2), GREASE]))]),
    ),
    'an extension longer than the hello': records(message([Buffer.from([0, 0, 0, 9, 1])])),
    'another handshake message': records(message([], 2)),
    'an alert first': Buffer.concat([Buffer.from([21, 3, 1, 0, 2, 1, 0]), named('a.example')]),
    'an empty record': Buffer.from([22, 3, 1, 0, 0]),
    'a record that is too long': Buffer.from([22, 3, 1, 0x40, 1]),
    'a hello that is too long': records(Buffer.concat([Buffer.from([1, 0xff, 0xff, 0xff]), Buffer.alloc(100)])),
  }
  for (const [what, bytes] of Object.entries(cases)) {
    t.equal(readClientHello(bytes).kind, 'unreadable', what)
  }
  const first = records(message([serverName(hostName('a.example'))]), 40).subarray(0, 45)
  t.equal(
    readClientHello(Buffer.concat([first, Buffer.from([21, 3, 1, 0, 2, 1, 0])])).kind,
    'unreadable',
    'an alert within',
  )
})

t.test('the version of the record does not matter, as to servers', async (t) => {
  const bytes = named('a.example')
  bytes[1] = 0
  t.same(readClientHello(bytes), hello('a.example'))
})

t.test('other protocols are told at once', async (t) => {
  for (const text of ['GET / HTTP/1.1\r\n', '\x10\x20\0\x04MQTT', 'SSH-2.0-x', '\x16\x40\0', '\x80\x2e\x01\x03\x01']) {
    t.equal(readClientHello(Buffer.from(text, 'latin1')).kind, 'other', JSON.stringify(text))
  }
  t.equal(readClientHello(Buffer.alloc(0)).kind, 'more')
})

t.test(
  'whatever comes: an answer, the same in any prefix once it is one, and never more than so many bytes awaited',
  async (t) => {
    const mutated = fc
      .tuple(
        fc.constantFrom(...Object.keys(CLIENT_HELLOS)),
        fc.array(fc.tuple(fc.nat(600), fc.nat(255)), { maxLength: 6 }),
      )
      .map(([client, changes]) => {
        const bytes = captured(client)
        for (const [at, value] of changes) bytes[at % bytes.length] = value
        return bytes
      })
    const records22 = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.concat([Buffer.from([22, 3]), bytes]))
    fc.assert(
      fc.property(fc.oneof(mutated, records22, fc.uint8Array()), fc.nat(600), (bytes, cut) => {
        const whole = readClientHello(bytes)
        const part = readClientHello(bytes, 0, Math.min(cut, bytes.length))
        return part.kind === 'more' || JSON.stringify(part) === JSON.stringify(whole)
      }),
      { numRuns: 3000 },
    )
    const endless = Buffer.alloc(MAX_HELLO_BYTES + 16_400)
    for (let at = 0; at + 5 < endless.length; at += 5 + 16_000) endless.set([22, 3, 1, 16_000 >> 8, 16_000 & 255], at)
    endless.set([1, 0, 0x80, 0], 5)
    t.equal(readClientHello(endless).kind, 'unreadable')
  },
)
