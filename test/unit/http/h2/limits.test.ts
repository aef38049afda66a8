/** What a peer may not do, one by one: the mistake, and the code it is answered with. */
import t from 'tap'
import { PREFACE } from '../../../../src/http/h2/frames.ts'
import { DEFAULT_HTTP2_LIMITS, type Http2Limits } from '../../../../src/http/index.ts'
import { Bench, CONNECT, frame, GET, OK, POST, setting, uint32 } from './wire.ts'

const NO_ERROR = 0
const PROTOCOL_ERROR = 1
const FLOW_CONTROL_ERROR = 3
const SETTINGS_TIMEOUT = 4
const STREAM_CLOSED = 5
const FRAME_SIZE_ERROR = 6
const REFUSED_STREAM = 7
const CANCEL = 8
const COMPRESSION_ERROR = 9
const ENHANCE_YOUR_CALM = 11

type Act = (bench: Bench) => void
const bytes = (count: number) => Buffer.alloc(count)

/** Against a server: the whole connection is in error. Stream 1 is an open POST. */
const CONNECTION_ERRORS: readonly [string, number, Act][] = [
  ['DATA on stream 0', PROTOCOL_ERROR, (b) => b.give(frame(0, 0, 0, bytes(1)))],
  ['DATA on an idle stream', PROTOCOL_ERROR, (b) => b.give(frame(0, 0, 5, bytes(1)))],
  ['DATA on an idle stream of ours', PROTOCOL_ERROR, (b) => b.give(frame(0, 0, 2, bytes(1)))],
  ['DATA padded without a length', FRAME_SIZE_ERROR, (b) => b.give(frame(0, 8, 1))],
  ['DATA with padding as long as the frame', PROTOCOL_ERROR, (b) => b.give(frame(0, 8, 1, [5, 1, 2, 3, 4]))],
  ['a frame larger than allowed', FRAME_SIZE_ERROR, (b) => b.give(frame(0, 0, 1, bytes(16385)).subarray(0, 9))],
  [
    'an unknown frame larger than allowed',
    FRAME_SIZE_ERROR,
    (b) => b.give(frame(99, 0, 1, bytes(16385)).subarray(0, 9)),
  ],
  ['HEADERS on stream 0', PROTOCOL_ERROR, (b) => b.give(b.headers(0, GET))],
  ['HEADERS on an even stream', PROTOCOL_ERROR, (b) => b.give(b.headers(4, GET))],
  ['HEADERS on a stream below one used', PROTOCOL_ERROR, (b) => b.give(b.headers(7, GET), b.headers(5, GET))],
  ['HEADERS padded without a length', FRAME_SIZE_ERROR, (b) => b.give(frame(1, 12, 3))],
  ['HEADERS with padding longer than the frame', PROTOCOL_ERROR, (b) => b.give(frame(1, 12, 3, [9, 0x82]))],
  ['HEADERS with half a priority', FRAME_SIZE_ERROR, (b) => b.give(frame(1, 36, 3, [0, 0, 0, 0]))],
  [
    'HEADERS whose padding reaches into its priority',
    PROTOCOL_ERROR,
    (b) => b.give(frame(1, 44, 3, [1, 0, 0, 0, 0, 0])),
  ],
  ['HEADERS that cannot be decompressed', COMPRESSION_ERROR, (b) => b.give(frame(1, 4, 3, [0x80]))],
  [
    'another frame within a header block',
    PROTOCOL_ERROR,
    (b) => b.give(frame(1, 0, 3, [0x82]), frame(6, 0, 0, bytes(8))),
  ],
  ['DATA within a header block', PROTOCOL_ERROR, (b) => b.give(frame(1, 0, 3, [0x82]), frame(0, 0, 1, bytes(8)))],
  ['HEADERS within a header block', PROTOCOL_ERROR, (b) => b.give(frame(1, 0, 3, [0x82]), frame(1, 4, 5, [0x82]))],
  ['CONTINUATION of another stream', PROTOCOL_ERROR, (b) => b.give(frame(1, 0, 3, [0x82]), frame(9, 4, 5, [0x82]))],
  ['CONTINUATION without HEADERS', PROTOCOL_ERROR, (b) => b.give(frame(9, 4, 1, [0x82]))],
  ['PRIORITY on stream 0', PROTOCOL_ERROR, (b) => b.give(frame(2, 0, 0, bytes(5)))],
  ['PRIORITY of a wrong length on no stream', FRAME_SIZE_ERROR, (b) => b.give(frame(2, 0, 9, bytes(4)))],
  ['RST_STREAM on stream 0', PROTOCOL_ERROR, (b) => b.give(frame(3, 0, 0, uint32(8)))],
  ['RST_STREAM on an idle stream', PROTOCOL_ERROR, (b) => b.give(frame(3, 0, 9, uint32(8)))],
  ['RST_STREAM of a wrong length', FRAME_SIZE_ERROR, (b) => b.give(frame(3, 0, 1, bytes(5)))],
  ['SETTINGS on a stream', PROTOCOL_ERROR, (b) => b.give(frame(4, 0, 1))],
  ['SETTINGS of a wrong length', FRAME_SIZE_ERROR, (b) => b.give(frame(4, 0, 0, bytes(7)))],
  ['SETTINGS acknowledgement with content', FRAME_SIZE_ERROR, (b) => b.give(frame(4, 1, 0, bytes(6)))],
  ['SETTINGS ENABLE_PUSH of 2', PROTOCOL_ERROR, (b) => b.give(frame(4, 0, 0, setting(2, 2)))],
  ['SETTINGS INITIAL_WINDOW_SIZE too large', FLOW_CONTROL_ERROR, (b) => b.give(frame(4, 0, 0, setting(4, 2 ** 31)))],
  ['SETTINGS MAX_FRAME_SIZE too small', PROTOCOL_ERROR, (b) => b.give(frame(4, 0, 0, setting(5, 16383)))],
  ['SETTINGS MAX_FRAME_SIZE too large', PROTOCOL_ERROR, (b) => b.give(frame(4, 0, 0, setting(5, 2 ** 24)))],
  ['SETTINGS ENABLE_CONNECT_PROTOCOL of 2', PROTOCOL_ERROR, (b) => b.give(frame(4, 0, 0, setting(8, 2)))],
  [
    'SETTINGS ENABLE_CONNECT_PROTOCOL taken back',
    PROTOCOL_ERROR,
    (b) => b.give(frame(4, 0, 0, setting(8, 1)), frame(4, 0, 0, setting(8, 0))),
  ],
  [
    'SETTINGS that overflow a window',
    FLOW_CONTROL_ERROR,
    (b) => b.give(frame(8, 0, 1, uint32(2 ** 31 - 1 - 65535)), frame(4, 0, 0, setting(4, 65536))),
  ],
  ['PUSH_PROMISE from a client', PROTOCOL_ERROR, (b) => b.give(frame(5, 4, 1, [0, 0, 0, 2, 0x82]))],
  ['PING on a stream', PROTOCOL_ERROR, (b) => b.give(frame(6, 0, 1, bytes(8)))],
  ['PING of a wrong length', FRAME_SIZE_ERROR, (b) => b.give(frame(6, 0, 0, bytes(7)))],
  ['GOAWAY on a stream', PROTOCOL_ERROR, (b) => b.give(frame(7, 0, 1, bytes(8)))],
  ['GOAWAY too short', FRAME_SIZE_ERROR, (b) => b.give(frame(7, 0, 0, bytes(7)))],
  ['GOAWAY that takes back', PROTOCOL_ERROR, (b) => b.give(frame(7, 0, 0, uint32(4, 0)), frame(7, 0, 0, uint32(6, 0)))],
  ['WINDOW_UPDATE of a wrong length', FRAME_SIZE_ERROR, (b) => b.give(frame(8, 0, 0, bytes(3)))],
  ['WINDOW_UPDATE of 0 on the connection', PROTOCOL_ERROR, (b) => b.give(frame(8, 0, 0, uint32(0)))],
  ['WINDOW_UPDATE on an idle stream', PROTOCOL_ERROR, (b) => b.give(frame(8, 0, 9, uint32(1)))],
  [
    'WINDOW_UPDATE that overflows the connection',
    FLOW_CONTROL_ERROR,
    (b) => b.give(frame(8, 0, 0, uint32(2 ** 31 - 1))),
  ],
]

t.test('a mistake that concerns the connection ends it with its code', async (t) => {
  for (const [what, code, act] of CONNECTION_ERRORS) {
    const bench = new Bench('server')
    bench.give(bench.headers(1, POST))
    t.equal(bench.goawayCode(), -1, 'before')
    act(bench)
    const frames = bench.out()
    t.equal(bench.goawayCode(frames), code, what)
    t.equal(frames.at(-1)?.type, 7, `${what}: GOAWAY is the last`)
    t.equal(bench.closed?.code, code)
    t.equal(bench.transport.ended, true)
    t.equal(bench.streams[0]?.owner.status, -71, 'streams are told')
    bench.give(frame(6, 0, 0, bytes(8)))
    t.same(bench.out(), [], 'nothing is read any more')
  }
})

/** Against a server: one stream is in error, the connection goes on. Stream 1 is an open POST. */
const STREAM_ERRORS: readonly [string, number, number, Act][] = [
  ['DATA after END_STREAM', STREAM_CLOSED, 1, (b) => b.give(frame(0, 1, 1), frame(0, 0, 1, bytes(1)))],
  ['HEADERS after END_STREAM', STREAM_CLOSED, 1, (b) => b.give(frame(0, 1, 1), b.headers(1, ['x-a', 'b'], true))],
  ['trailers without END_STREAM', PROTOCOL_ERROR, 1, (b) => b.give(b.headers(1, ['x-a', 'b']))],
  ['trailers with a pseudo-header', PROTOCOL_ERROR, 1, (b) => b.give(b.headers(1, [':path', '/'], true))],
  ['WINDOW_UPDATE of 0', PROTOCOL_ERROR, 1, (b) => b.give(frame(8, 0, 1, uint32(0)))],
  ['WINDOW_UPDATE that overflows', FLOW_CONTROL_ERROR, 1, (b) => b.give(frame(8, 0, 1, uint32(2 ** 31 - 1)))],
  ['PRIORITY of a wrong length', FRAME_SIZE_ERROR, 1, (b) => b.give(frame(2, 0, 1, bytes(4)))],
  [
    'content-length below the DATA',
    PROTOCOL_ERROR,
    3,
    (b) => b.give(b.headers(3, [...POST, 'content-length', '3']), frame(0, 0, 3, bytes(4))),
  ],
  [
    'content-length above the DATA',
    PROTOCOL_ERROR,
    3,
    (b) => b.give(b.headers(3, [...POST, 'content-length', '3']), frame(0, 1, 3, bytes(2))),
  ],
  [
    'content-length above the DATA before trailers',
    PROTOCOL_ERROR,
    3,
    (b) => b.give(b.headers(3, [...POST, 'content-length', '3']), b.headers(3, ['x-a', 'b'], true)),
  ],
  [
    'content-length without a body',
    PROTOCOL_ERROR,
    3,
    (b) => b.give(b.headers(3, [...POST, 'content-length', '3'], true)),
  ],
]

t.test('a mistake that concerns a stream resets it and nothing else', async (t) => {
  for (const [what, code, id, act] of STREAM_ERRORS) {
    const bench = new Bench('server')
    bench.give(bench.headers(1, POST))
    bench.out()
    act(bench)
    t.equal(bench.resetCode(id), code, what)
    t.equal(bench.session.alive, true)
    t.equal(bench.session.streams.get(id), undefined)
    bench.give(bench.headers(9, GET, true))
    t.equal(bench.streams.at(-1)?.stream.id, 9, 'the next request is served')
    // What was on its way when the reset left is no mistake.
    bench.give(frame(8, 0, id, uint32(1)), frame(3, 0, id, uint32(8)))
    t.equal(bench.goawayCode(), -1, what)
  }
})

const MALFORMED_REQUESTS: readonly [string, readonly string[]][] = [
  ['no method', [':scheme', 'http', ':authority', 'web', ':path', '/']],
  ['an empty method', [':method', '', ':scheme', 'http', ':authority', 'web', ':path', '/']],
  ['a method with a space', [':method', 'GET /x', ':scheme', 'http', ':authority', 'web', ':path', '/']],
  ['no scheme', [':method', 'GET', ':authority', 'web', ':path', '/']],
  ['no path', [':method', 'GET', ':scheme', 'http', ':authority', 'web']],
  ['an empty path', [':method', 'GET', ':scheme', 'http', ':authority', 'web', ':path', '']],
  ['a path with a space', [':method', 'GET', ':scheme', 'http', ':authority', 'web', ':path', '/a b']],
  ['a path with a fragment', [':method', 'GET', ':scheme', 'http', ':authority', 'web', ':path', '/a#b']],
  ['a path that is none', [':method', 'GET', ':scheme', 'http', ':authority', 'web', ':path', 'a']],
  ['asterisk without OPTIONS', [':method', 'GET', ':scheme', 'http', ':authority', 'web', ':path', '*']],
  ['neither authority nor host', [':method', 'GET', ':scheme', 'http', ':path', '/']],
  ['user information', [':method', 'GET', ':scheme', 'http', ':authority', 'me@web', ':path', '/']],
  ['host against authority', [...GET, 'host', 'other']],
  ['two hosts', [':method', 'GET', ':scheme', 'http', ':path', '/', 'host', 'web', 'host', 'web']],
  ['a pseudo-header twice', [...GET, ':path', '/']],
  ['an unknown pseudo-header', [...GET, ':version', '1']],
  ['a response pseudo-header', [...GET, ':status', '200']],
  [
    'a pseudo-header after a field',
    [':method', 'GET', ':scheme', 'http', ':path', '/', 'x-a', 'b', ':authority', 'web'],
  ],
  ['an upper-case name', [...GET, 'X-A', 'b']],
  ['an empty name', [...GET, '', 'b']],
  ['a name with a colon', [...GET, 'a:b', 'c']],
  ['a name with a line end', [...GET, 'a\r\nb', 'c']],
  ['a value with CR', [...GET, 'x-a', 'b\rc']],
  ['a value with LF', [...GET, 'x-a', 'b\nc']],
  ['a value with NUL', [...GET, 'x-a', 'b\0c']],
  ['a value with space before', [...GET, 'x-a', ' b']],
  ['a value with a tab behind', [...GET, 'x-a', 'b\t']],
  ['connection', [...GET, 'connection', 'close']],
  ['keep-alive', [...GET, 'keep-alive', '1']],
  ['proxy-connection', [...GET, 'proxy-connection', 'close']],
  ['transfer-encoding', [...GET, 'transfer-encoding', 'chunked']],
  ['upgrade', [...GET, 'upgrade', 'websocket']],
  ['te other than trailers', [...GET, 'te', 'gzip']],
  ['content-length not a number', [...GET, 'content-length', '0x0']],
  ['content-length twice', [...GET, 'content-length', '0', 'content-length', '0']],
  ['CONNECT with a path', [...CONNECT, ':path', '/']],
  ['CONNECT with a scheme', [...CONNECT, ':scheme', 'http']],
  ['CONNECT without authority', [':method', 'CONNECT']],
  ['CONNECT without a port', [':method', 'CONNECT', ':authority', '10.0.0.1']],
  ['extended CONNECT without a path', [...CONNECT, ':protocol', 'websocket', ':scheme', 'http']],
  ['protocol without CONNECT', [...GET, ':protocol', 'websocket']],
]

t.test('a malformed request is reset and never seen', async (t) => {
  for (const [what, headers] of MALFORMED_REQUESTS) {
    const bench = new Bench('server')
    bench.give(bench.headers(1, headers, true))
    t.equal(bench.resetCode(1), PROTOCOL_ERROR, what)
    t.equal(bench.streams.length, 0, what)
    t.equal(bench.session.alive, true)
  }
})

t.test('requests that only look strange are served', async (t) => {
  const fine: readonly (readonly string[])[] = [
    [':method', 'OPTIONS', ':scheme', 'http', ':authority', 'web', ':path', '*'],
    [':method', 'GET', ':scheme', 'http', ':path', '/', 'host', 'web'],
    [...GET, 'host', 'WEB'],
    [...GET, 'te', 'trailers'],
    [...GET, 'x-a', ''],
    [...GET, 'x-a', 'caf\xe9 \t b'],
    [...GET, 'cookie', 'a=1', 'cookie', 'b=2'],
    [...CONNECT, ':scheme', 'https', ':path', '/chat', ':protocol', 'websocket'],
    [':method', 'CONNECT', ':authority', '[fd00::1]:15008'],
  ]
  for (const headers of fine) {
    const bench = new Bench('server')
    bench.give(bench.headers(1, headers, true))
    t.same(bench.streams[0]?.headers, headers)
    t.equal(bench.resetCode(1), -1)
  }
})

t.test('a malformed response closes its stream', async (t) => {
  const malformed: readonly [string, readonly string[], boolean][] = [
    ['no status', ['x-a', 'b'], false],
    ['a status that is none', [':status', '20'], false],
    ['a request', GET, false],
    ['two statuses', [':status', '200', ':status', '200'], false],
    ['switching protocols', [':status', '101'], false],
    ['an interim response that ends', [':status', '100'], true],
    ['a connection-specific field', [...OK, 'connection', 'close'], false],
    ['lengths that disagree', [...OK, 'content-length', '1', 'content-length', '2'], false],
    ['a length without a body', [...OK, 'content-length', '1'], true],
  ]
  for (const [what, headers, endStream] of malformed) {
    const bench = new Bench('client')
    const stream = bench.session.open(GET, true)
    bench.out()
    bench.give(bench.headers(1, headers, endStream))
    t.equal(bench.resetCode(1), PROTOCOL_ERROR, what)
    t.equal(stream?.closed, true)
  }
})

t.test('a client refuses what only clients do, and answers to nothing it asked', async (t) => {
  const cases: readonly [string, number, Act][] = [
    ['PUSH_PROMISE', PROTOCOL_ERROR, (b) => b.give(frame(5, 4, 1, [0, 0, 0, 2, 0x82]))],
    ['ENABLE_PUSH', PROTOCOL_ERROR, (b) => b.give(frame(4, 0, 0, setting(2, 1)))],
    ['HEADERS on an idle stream', PROTOCOL_ERROR, (b) => b.give(b.headers(3, OK))],
    ['HEADERS on an even stream', PROTOCOL_ERROR, (b) => b.give(b.headers(2, OK))],
    ['HEADERS after the end', STREAM_CLOSED, (b) => b.give(b.headers(1, OK, true), b.headers(1, ['x-a', 'b'], true))],
    ['DATA after the end', STREAM_CLOSED, (b) => b.give(b.headers(1, OK, true), frame(0, 0, 1, bytes(1)))],
  ]
  for (const [what, code, act] of cases) {
    const bench = new Bench('client')
    bench.session.open(GET, true)?.resume()
    bench.out()
    act(bench)
    t.equal(bench.goawayCode(), code, what)
  }
  const early = new Bench('client')
  early.session.open(GET, true)
  early.give(frame(0, 0, 1, bytes(1)))
  t.equal(early.resetCode(1), PROTOCOL_ERROR, 'DATA before HEADERS')
  const head = new Bench('client')
  head.session.open([':method', 'HEAD', ...GET.slice(2)], true)
  head.give(head.headers(1, [...OK, 'content-length', '5']), frame(0, 0, 1, bytes(5)))
  t.equal(head.resetCode(1), PROTOCOL_ERROR, 'a body in answer to HEAD')
})

t.test('a connection begins with a preface and SETTINGS', async (t) => {
  const cases: readonly [string, readonly Buffer[]][] = [
    ['HTTP/1.1', [Buffer.from('GET / HTTP/1.1\r\n\r\n')]],
    ['a preface that goes wrong at its end', [Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\rX')]],
    ['no SETTINGS', [PREFACE, frame(6, 0, 0, bytes(8))]],
    ['an acknowledgement first', [PREFACE, frame(4, 1, 0)]],
  ]
  for (const [what, pieces] of cases) {
    const bench = new Bench('server', {}, true, false)
    bench.give(...pieces)
    t.equal(bench.goawayCode(), PROTOCOL_ERROR, what)
  }
})

t.test('unknown frames, flags and settings are ignored', async (t) => {
  const bench = new Bench('server')
  bench.give(frame(0xfa, 0xff, 0, bytes(20)), frame(0x10, 0, 7, bytes(3)), frame(4, 0, 0, setting(0xee, 9)))
  bench.give(frame(6, 0xfe, 0, bytes(8)), bench.headers(1, GET, true))
  t.equal(bench.streams.length, 1)
  t.equal(bench.goawayCode(), -1)
})

t.test('a frame of the largest size allowed is taken', async (t) => {
  const bench = new Bench('server', { maxFrameBytes: 65536 })
  bench.give(bench.headers(1, POST), frame(0, 0, 1, bytes(65536)))
  t.equal(bench.streams[0]?.owner.bytes, 65536)
  bench.give(frame(0, 0, 1, bytes(65537)))
  t.equal(bench.goawayCode(), FRAME_SIZE_ERROR)
})

/** Floods: as many as the limit says are borne, one more is not. `units`: what a step costs. */
const FLOODS: readonly [string, Partial<Http2Limits>, (bench: Bench, step: number) => void][] = [
  ['SETTINGS', { settings: { burst: 22, perSecond: 1 } }, (b) => b.give(frame(4, 0, 0))],
  ['SETTINGS acknowledgements', { settings: { burst: 22, perSecond: 1 } }, (b) => b.give(frame(4, 1, 0))],
  ['PING', { pings: { burst: 20, perSecond: 1 } }, (b) => b.give(frame(6, 0, 0, bytes(8)))],
  ['PRIORITY', { ignoredFrames: { burst: 20, perSecond: 1 } }, (b) => b.give(frame(2, 0, 1, bytes(5)))],
  ['unknown frames', { ignoredFrames: { burst: 20, perSecond: 1 } }, (b) => b.give(frame(0x20, 0, 1))],
  ['empty DATA', { emptyFrames: { burst: 20, perSecond: 1 } }, (b) => b.give(frame(0, 0, 1))],
  [
    'DATA of nothing but padding',
    { emptyFrames: { burst: 20, perSecond: 1 } },
    (b) => b.give(frame(0, 8, 1, [3, 0, 0, 0])),
  ],
  ['WINDOW_UPDATE', { windowUpdates: { burst: 20, perSecond: 1 } }, (b) => b.give(frame(8, 0, 0, uint32(1)))],
  [
    'empty HEADERS',
    { emptyFrames: { burst: 20, perSecond: 1 } },
    (b, i) => b.give(frame(1, 0, 101 + 2 * i), frame(9, 4, 101 + 2 * i, b.block(GET))),
  ],
  [
    'requests reset at once (CVE-2023-44487)',
    { resets: { burst: 20, perSecond: 1 } },
    (b, i) => b.give(b.headers(101 + 2 * i, GET, true), frame(3, 0, 101 + 2 * i, uint32(CANCEL))),
  ],
  [
    'requests we are made to reset (CVE-2025-8671)',
    { resets: { burst: 20, perSecond: 1 } },
    (b, i) => b.give(b.headers(101 + 2 * i, GET), frame(8, 0, 101 + 2 * i, uint32(0))),
  ],
  [
    'malformed requests',
    { resets: { burst: 20, perSecond: 1 } },
    (b, i) => b.give(b.headers(101 + 2 * i, ['x-a', 'b'], true)),
  ],
  [
    'requests beyond the limit',
    { resets: { burst: 20, perSecond: 1 }, maxConcurrentStreams: 1 },
    (b, i) => b.give(b.headers(101 + 2 * i, GET, true)),
  ],
]

t.test('floods are borne up to their limit, and again after a while', async (t) => {
  for (const [what, limits, step] of FLOODS) {
    const bench = new Bench('server', limits)
    bench.session.tick(1000)
    bench.give(bench.headers(1, POST))
    let i = 0
    const steps = (count: number) => {
      for (let n = 0; n < count; n++) {
        step(bench, i++)
        // Turns pass, so that this is not the limit per turn.
        if (bench.transport.turn()) bench.transport.take()
      }
    }
    steps(20)
    t.equal(bench.session.alive, true, `${what}: the burst`)
    bench.session.tick(4000)
    steps(3)
    t.equal(bench.session.alive, true, `${what}: three seconds later, three more`)
    step(bench, i++)
    t.equal(bench.closed?.code, ENHANCE_YOUR_CALM, `${what}: one too many`)
    t.equal(bench.goawayCode(), ENHANCE_YOUR_CALM)
  }
})

t.test('resets of what was answered, or is over, are no flood', async (t) => {
  const bench = new Bench('server', { resets: { burst: 5, perSecond: 0 } })
  for (let id = 1; id < 101; id += 2) {
    bench.give(bench.headers(id, CONNECT))
    bench.streams.at(-1)?.stream.respond(OK, false)
    bench.give(frame(3, 0, id, uint32(CANCEL)), frame(3, 0, id, uint32(CANCEL)))
    bench.out()
  }
  t.equal(bench.streams.length, 50)
  t.equal(bench.session.alive, true)
})

t.test('a CONTINUATION flood ends at a number of frames, and at a size', async (t) => {
  const many = new Bench('server')
  many.give(frame(1, 0, 1, [0x82]))
  for (let i = 0; i < DEFAULT_HTTP2_LIMITS.maxContinuations; i++) many.give(frame(9, 0, 1, [0x82]))
  t.equal(many.session.alive, true)
  many.give(frame(9, 0, 1, [0x82]))
  t.equal(many.goawayCode(), ENHANCE_YOUR_CALM)

  const large = new Bench('server')
  large.give(frame(1, 0, 1, bytes(16384)), frame(9, 0, 1, bytes(16384)), frame(9, 0, 1, bytes(16384)))
  large.give(frame(9, 0, 1, bytes(16384)))
  t.equal(large.session.alive, true)
  large.give(frame(9, 0, 1, bytes(1)))
  t.equal(large.goawayCode(), ENHANCE_YOUR_CALM)
})

t.test('a header list that is too large is answered with 431, and the connection goes on', async (t) => {
  const bench = new Bench('server', { maxHeaderListBytes: 300 })
  bench.give(bench.headers(1, [...GET, 'x-a', 'b'.repeat(300)]))
  const frames = bench.out()
  t.same(bench.decode(frames[0])?.slice(0, 2), [':status', '431'])
  t.equal((frames[0]?.flags ?? 0) & 1, 1)
  t.equal(bench.resetCode(1, frames), NO_ERROR)
  bench.give(bench.headers(3, GET, true))
  t.equal(bench.streams[0]?.stream.id, 3)
})

t.test('a client drops a response head that is too large', async (t) => {
  const bench = new Bench('client', { maxHeaderListBytes: 300 })
  const stream = bench.session.open(GET, true)
  bench.give(bench.headers(1, [...OK, 'x-a', 'b'.repeat(300)], true))
  t.equal(bench.resetCode(1), ENHANCE_YOUR_CALM)
  t.equal(stream?.closed, true)
})

t.test('streams beyond the limit are refused, also those reset in the same turn', async (t) => {
  const bench = new Bench('server', { maxConcurrentStreams: 3 })
  for (const id of [1, 3, 5, 7]) bench.give(bench.headers(id, GET))
  t.equal(bench.resetCode(7), REFUSED_STREAM)
  t.equal(bench.streams.length, 3)
  t.equal(bench.session.openStreams, 3)
  bench.give(frame(3, 0, 1, uint32(CANCEL)), bench.headers(9, GET))
  t.equal(bench.resetCode(9), REFUSED_STREAM, 'a reset stream counts until the turn is over')
  bench.give(bench.headers(11, GET))
  t.equal(bench.streams.at(-1)?.stream.id, 11)
})

t.test('DATA beyond a window is refused: of a stream, and of the connection', async (t) => {
  const limits = { streamWindowBytes: 65535, connectionWindowBytes: 100_000 }
  const stream = new Bench('server', limits, false)
  stream.give(stream.headers(1, POST))
  for (let i = 0; i < 4; i++) stream.give(frame(0, 0, 1, bytes(16383)))
  t.equal(stream.resetCode(1), -1)
  stream.give(frame(0, 0, 1, bytes(4)))
  t.equal(stream.resetCode(1), FLOW_CONTROL_ERROR)

  const connection = new Bench('server', { ...limits, maxQueuedBytes: 0 }, false)
  connection.give(connection.headers(1, POST), connection.headers(3, POST))
  for (let i = 0; i < 3; i++) connection.give(frame(0, 0, 1, bytes(16384)), frame(0, 0, 3, bytes(16384)))
  t.equal(connection.goawayCode(), -1)
  connection.give(frame(0, 0, 3, bytes(1697)))
  t.equal(connection.goawayCode(), FLOW_CONTROL_ERROR)
})

t.test('a peer that asks and does not read is left', async (t) => {
  const bench = new Bench('server', { pings: { burst: 1e9, perSecond: 0 }, maxBacklogBytes: 10_000 })
  bench.transport.stuck = true
  let pings = 0
  while (bench.session.alive && pings < 5000) {
    bench.give(frame(6, 0, 0, bytes(8)))
    bench.transport.turn()
    pings++
  }
  t.equal(bench.closed?.code, ENHANCE_YOUR_CALM)
  t.ok(pings < 700, 'what waited was bounded')
})

t.test(
  'time limits: SETTINGS, a stream that cannot send, a connection that does not take or does not close',
  async (t) => {
    const settings = new Bench('server', { settingsTimeoutMs: 100 }, true, false)
    settings.give(PREFACE, frame(4, 0, 0))
    settings.session.tick(5_000_000)
    settings.session.tick(5_000_099)
    t.equal(settings.session.alive, true, 'time begins with the first tick')
    settings.session.tick(5_000_100)
    t.equal(settings.goawayCode(), SETTINGS_TIMEOUT)

    const stall = new Bench('server', { stallTimeoutMs: 1000 })
    stall.session.tick(50_000)
    stall.give(frame(4, 0, 0, setting(4, 10)), stall.headers(1, POST), stall.headers(3, POST))
    const [one, other] = stall.streams
    one?.stream.respond(OK, false)
    other?.stream.respond(OK, false)
    one?.stream.writeText('0123456789abc')
    stall.out()
    stall.session.tick(50_999)
    stall.give(frame(8, 0, 1, uint32(1)))
    stall.out()
    stall.session.tick(51_998)
    t.equal(one?.owner.status, undefined, 'a byte taken is progress')
    stall.session.tick(51_999)
    t.equal(one?.owner.status, -110)
    t.equal(stall.resetCode(1), CANCEL)
    t.equal(other?.owner.status, undefined, 'who has nothing to send waits as long as it likes')

    const stuck = new Bench('server', { transportTimeoutMs: 1000 })
    stuck.session.tick(0)
    stuck.transport.stuck = true
    stuck.give(stuck.headers(1, POST), frame(6, 0, 0, bytes(8)))
    stuck.transport.turn()
    stuck.session.tick(999)
    t.equal(stuck.transport.destroyed, false)
    stuck.session.tick(1000)
    t.equal(stuck.transport.destroyed, true)
    t.equal(stuck.streams[0]?.owner.status, -110)

    const lingering = new Bench('server', { closeTimeoutMs: 1000 })
    lingering.session.tick(0)
    lingering.session.close()
    t.equal(lingering.goawayCode(), NO_ERROR)
    lingering.session.tick(999)
    t.equal(lingering.transport.destroyed, false)
    lingering.session.tick(1000)
    t.equal(lingering.transport.destroyed, true)
  },
)

t.test(
  'a window too large is refused though no stream has it yet; the reserved bit of an identifier is ignored',
  async (t) => {
    const bench = new Bench('server')
    const headers = bench.headers(1, GET, true)
    headers[5] = 0x80
    bench.give(headers)
    t.equal(bench.streams[0]?.stream.id, 1)
    bench.streams[0]?.stream.respond(OK, true)
    t.equal(bench.session.openStreams, 0)
    bench.give(frame(4, 0, 0, setting(4, 2 ** 31)))
    t.equal(bench.goawayCode(), FLOW_CONTROL_ERROR)
  },
)

t.test('a stream may be made as patient as TCP', async (t) => {
  const bench = new Bench('client', { stallTimeoutMs: Number.POSITIVE_INFINITY })
  bench.session.tick(0)
  bench.give(frame(4, 0, 0, setting(4, 0)))
  const stream = bench.session.open(CONNECT, false)
  stream?.writeText('x')
  bench.session.tick(1e9)
  t.equal(stream?.closed, false)
})

t.test(
  'what crosses our reset is swallowed: DATA still counts for the connection, headers for the table',
  async (t) => {
    const bench = new Bench('server', { connectionWindowBytes: 65535 })
    bench.give(bench.headers(1, POST))
    bench.streams[0]?.stream.reset()
    bench.out()
    for (let i = 0; i < 10; i++) {
      bench.give(frame(0, 0, 1, bytes(16384)))
      bench.out()
    }
    t.equal(bench.session.alive, true, 'the window was given back')
    bench.give(bench.headers(1, ['x-new', 'value'], true))
    bench.give(bench.headers(3, [...GET, 'x-new', 'value'], true))
    t.same(bench.streams.at(-1)?.headers.slice(-2), ['x-new', 'value'])
    bench.give(frame(0, 0, 1, bytes(1)))
    t.equal(bench.goawayCode(), STREAM_CLOSED, 'after its end nothing more')
  },
)
