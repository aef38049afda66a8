/** Streams over a connection: messages, tunnels, their ends, and the connection's own end. */
import t from 'tap'
import { readUint32 } from '../../../../src/http/h2/frames.ts'
import type { H2Stream } from '../../../../src/http/index.ts'
import { Bench, CONNECT, frame, framesOf, GET, OK, Pair, POST, Recorder, setting, uint32 } from './wire.ts'

const MAX_ID = 2 ** 31 - 1
const types = (frames: readonly { type: number }[]) => frames.map((frame) => frame.type)

/** A server that records. */
function recording(onRequest?: (stream: H2Stream, owner: Recorder) => void) {
  const seen: { stream: H2Stream; headers: readonly string[]; owner: Recorder }[] = []
  return {
    seen,
    onStream: (stream: H2Stream, headers: readonly string[]) => {
      const owner = new Recorder()
      stream.owner = owner
      seen.push({ stream, headers, owner })
      stream.resume()
      onRequest?.(stream, owner)
    },
  }
}

t.test('a tunnel carries bytes both ways and ends one way at a time', async (t) => {
  const server = recording((stream) => stream.respond(OK, false))
  const pair = new Pair(server.onStream)
  const { stream, owner } = pair.open(CONNECT)
  t.equal(stream.tunnel, true)
  t.equal(stream.writeText('hello'), true)
  pair.run()
  const there = server.seen[0]
  t.same(there?.headers, CONNECT)
  t.equal(there?.owner.data, 'hello')
  t.same(owner.events, ['headers :status 200'])
  stream.end()
  pair.run()
  t.equal(there?.stream.readEnded, true)
  t.equal(stream.closed, false)
  there?.stream.writeBytes(Buffer.from('more after your end'))
  pair.run()
  t.equal(owner.data, 'more after your end')
  there?.stream.end()
  pair.run()
  t.same(owner.events, ['headers :status 200', 'end', 'close 0'])
  t.same(there?.owner.events, ['end', 'close 0'])
  t.equal(pair.client.openStreams + pair.server.openStreams, 0)
})

t.test('a server may speak first', async (t) => {
  const server = recording((stream) => {
    stream.respond(OK, false)
    stream.writeText('220 ready')
  })
  const pair = new Pair(server.onStream)
  const { owner } = pair.open(CONNECT)
  pair.run()
  t.equal(owner.data, '220 ready')
})

t.test('a message has interim and final heads, data and trailers, in this order', async (t) => {
  const server = recording((stream) => {
    stream.respond([':status', '103', 'link', '</a>'], false)
    stream.respond(OK, false)
    stream.writeText('body')
    stream.sendTrailers(['grpc-status', '0'])
  })
  const pair = new Pair(server.onStream)
  const { stream, owner } = pair.open(POST)
  stream.writeText('request')
  stream.sendTrailers(['x-sum', 'abc'])
  pair.run()
  t.same(owner.events, [
    'headers :status 103 link </a>',
    'headers :status 200',
    'trailers grpc-status 0',
    'end',
    'close 0',
  ])
  t.equal(owner.data, 'body')
  t.same(server.seen[0]?.owner.events, ['trailers x-sum abc', 'end', 'close 0'])
})

t.test('a paused stream gets its end and trailers after its data, once it reads', async (t) => {
  const server = recording((stream) => {
    stream.respond(OK, false)
    stream.writeText('body')
    stream.sendTrailers(['a', 'b'])
  })
  const pair = new Pair(server.onStream)
  const { stream, owner } = pair.open(GET, true)
  stream.pause()
  pair.run()
  t.same(owner.events, ['headers :status 200'])
  t.equal(owner.data, '')
  t.equal(stream.closed, false)
  stream.resume()
  t.equal(owner.data, '', 'not from within resume')
  pair.run()
  t.equal(owner.data, 'body')
  t.same(owner.events, ['headers :status 200', 'trailers a b', 'end', 'close 0'])
  t.equal(pair.client.queuedBytes, 0)
})

t.test('everything of a turn leaves in one write, small writes in one frame', async (t) => {
  const bench = new Bench('client')
  const streams = Array.from({ length: 20 }, () => bench.session.open(CONNECT, false))
  for (const stream of streams) {
    stream?.writeText('head\r\n')
    stream?.writeSlice(Buffer.from('xxbodyxx'), 2, 6)
  }
  streams[0]?.end()
  bench.transport.turn()
  t.equal(bench.transport.writes.length, 1)
  const frames = framesOf(bench.transport.take())
  t.equal(frames.filter((frame) => frame.type === 1).length, 20)
  const data = frames.filter((frame) => frame.type === 0)
  t.equal(data.length, 20)
  t.equal(data[7]?.payload.toString(), 'head\r\nbody')
  t.equal(data[0]?.flags, 1, 'the end goes with the last frame')
  t.equal(data[1]?.flags, 0)
  streams[1]?.end()
  const [end] = bench.out()
  t.same([end?.type, end?.flags, end?.payload.length], [0, 1, 0], 'later, it needs a frame of its own')
})

t.test('what comes between two writes of a stream stays between them', async (t) => {
  const bench = new Bench('client')
  const stream = bench.session.open(CONNECT, false)
  stream?.writeText('one')
  bench.give(frame(6, 0, 0, Buffer.alloc(8)))
  stream?.writeText('two')
  const frames = bench.out()
  t.same(types(frames), [1, 0, 6, 0])
  t.same(
    [frames[1], frames[3]].map((frame) => frame?.payload.toString()),
    ['one', 'two'],
  )
})

t.test('data that comes between resuming and reading comes after what was queued', async (t) => {
  const bench = new Bench('server', {}, false)
  bench.give(bench.headers(1, POST), frame(0, 0, 1, Buffer.from('first ')))
  bench.streams[0]?.stream.resume()
  bench.give(frame(0, 0, 1, Buffer.from('second')))
  t.equal(bench.streams[0]?.owner.data, '')
  bench.out()
  t.equal(bench.streams[0]?.owner.data, 'first second')
})

t.test('a peer without a header table gets nothing indexed', async (t) => {
  const bench = new Bench('client')
  bench.session.open([...GET, 'x-a', 'b'], true)
  bench.out()
  bench.give(frame(4, 0, 0, setting(1, 0)))
  for (let i = 0; i < 2; i++) {
    bench.session.open([...GET, 'x-a', 'b'], true)
    const block = bench.out().find((frame) => frame.type === 1)?.payload ?? Buffer.alloc(0)
    if (i === 0) t.equal(block[0], 0x20, 'the table is given up')
    t.ok(block.includes('x-a'), 'and fields are spelt out')
  }
})

t.test('an end right after the headers goes with them', async (t) => {
  const bench = new Bench('server')
  bench.give(bench.headers(1, GET, true), bench.headers(3, GET, true))
  bench.streams[0]?.stream.respond(OK, false)
  bench.streams[1]?.stream.respond(OK, true)
  bench.streams[0]?.stream.end()
  const frames = bench.out()
  t.same(types(frames), [1, 1])
  t.same(
    frames.map((frame) => frame.flags),
    [5, 5],
  )
})

t.test('large headers are cut as the peer wants its frames', async (t) => {
  const server = recording((stream) => stream.respond([...OK, 'x-large', 'y'.repeat(40_000)], true))
  const pair = new Pair(server.onStream)
  const { owner } = pair.open([...GET, 'x-large', '~'.repeat(30_000)], true)
  pair.run()
  t.equal(server.seen[0]?.headers.at(-1)?.length, 30_000)
  t.equal(owner.events[0]?.length, 'headers :status 200 x-large  end'.length + 40_000)
})

t.test('resets: each side hears of it, and what the other said', async (t) => {
  const server = recording((stream) => stream.respond(OK, false))
  const pair = new Pair(server.onStream)
  const one = pair.open(CONNECT)
  const other = pair.open(CONNECT)
  pair.run()
  one.stream.reset()
  t.equal(one.owner.status, 0)
  t.equal(one.stream.errorCode, 8)
  server.seen[1]?.stream.reset(10)
  pair.run()
  t.equal(server.seen[0]?.owner.status, -104)
  t.equal(server.seen[0]?.stream.errorCode, 8)
  t.equal(other.owner.status, -104)
  t.equal(other.stream.errorCode, 10)
  t.equal(one.stream.writeText('x'), true, 'a closed stream takes writes')
  one.stream.end()
  one.stream.close()
  t.equal(pair.client.alive && pair.server.alive, true)
})

t.test('closing a tunnel is an end to its peer; cutting a message short is not', async (t) => {
  const server = recording((stream) => stream.respond(OK, false))
  const pair = new Pair(server.onStream)
  const tunnel = pair.open(CONNECT)
  const message = pair.open(POST)
  pair.run()
  tunnel.stream.writeText('last words')
  tunnel.stream.close()
  message.stream.writeText('half')
  message.stream.close()
  pair.run()
  t.equal(server.seen[0]?.owner.data, 'last words')
  t.same(server.seen[0]?.owner.events, ['end', 'close 0'])
  t.same(server.seen[1]?.owner.events, ['close -104'])
  t.equal(pair.client.openStreams + pair.server.openStreams, 0)
})

t.test('a response that comes before the request is complete is complete', async (t) => {
  const server = recording((stream) => {
    stream.respond([...OK], false)
    stream.writeText('no, thank you')
    stream.end()
    stream.close()
  })
  const pair = new Pair(server.onStream)
  const { stream, owner } = pair.open(POST)
  stream.writeText('x'.repeat(200_000))
  pair.run()
  t.equal(owner.data, 'no, thank you')
  t.same(owner.events, ['headers :status 200', 'end', 'drain', 'close 0'])
})

t.test('refused: by limit, by GOAWAY; both say that nothing was done', async (t) => {
  const bench = new Bench('client')
  const one = bench.session.open(GET, true)
  const two = bench.session.open(GET, true)
  const three = bench.session.open(GET, true)
  const owners = [one, two, three].map((stream) => {
    const owner = new Recorder()
    if (stream !== undefined) stream.owner = owner
    return owner
  })
  bench.give(frame(3, 0, 1, uint32(7)))
  t.equal(owners[0]?.status, -111)
  t.equal(one?.errorCode, 7)
  bench.give(frame(7, 0, 0, uint32(3, 0)))
  t.same(bench.goaways, [[3, 0]])
  t.equal(owners[2]?.status, -111)
  t.equal(three?.errorCode, 7)
  t.equal(bench.session.canOpen, false)
  t.equal(bench.session.open(GET, true), undefined)
  t.equal(two?.closed, false, 'what the server has taken goes on')
  two?.resume()
  bench.give(bench.headers(3, OK, true))
  t.equal(owners[1]?.status, 0)
  t.equal(bench.closed?.code, 0, 'with the last stream the session ends')
  bench.out()
  t.equal(bench.transport.ended, true)
})

t.test('a server says GOAWAY in two steps and loses no request on its way', async (t) => {
  const bench = new Bench('server')
  bench.give(bench.headers(1, GET))
  bench.session.goaway()
  const first = bench.out()
  t.same(types(first), [7, 6])
  t.equal(readUint32(first[0]?.payload ?? uint32(0), 0), MAX_ID)
  bench.give(bench.headers(3, GET))
  t.equal(bench.streams.length, 2, 'it was on its way')
  bench.give(frame(6, 1, 0, first[1]?.payload ?? []))
  const [second] = bench.out()
  t.equal(second?.type, 7)
  t.equal(readUint32(second?.payload ?? uint32(0), 0), 3)
  bench.give(bench.headers(5, [...GET, 'x-new', 'a'], true))
  t.equal(bench.streams.length, 2, 'it comes after')
  const twin = new Bench('server')
  twin.give(twin.headers(1, GET))
  twin.session.goaway(2)
  twin.give(twin.headers(3, GET, true))
  twin.session.close()
  t.same(
    twin
      .out()
      .filter((frame) => frame.type === 7)
      .map((frame) => readUint32(frame.payload, 0)),
    [1, 1],
  )
  for (const { stream } of bench.streams) stream.respond(OK, true)
  t.equal(bench.closed, undefined)
  bench.give(frame(0, 1, 1), frame(0, 1, 3))
  t.equal(bench.closed?.code, 0)
  const last = bench.out()
  t.equal(bench.transport.ended, true)
  t.equal(last.filter((frame) => frame.type === 1).length, 2)

  const silent = new Bench('server')
  silent.session.tick(1000)
  silent.session.goaway()
  silent.out()
  silent.session.tick(1999)
  t.same(silent.out(), [])
  silent.session.tick(2000)
  t.same(types(silent.out()), [7], 'who does not answer the PING is not waited for')
  t.equal(silent.transport.ended, true)
})

t.test('a client that goes away opens nothing more and ends with its last stream', async (t) => {
  const server = recording((stream) => stream.respond(OK, false))
  const pair = new Pair(server.onStream)
  const { stream, owner } = pair.open(CONNECT)
  pair.run()
  pair.client.goaway()
  pair.run()
  t.equal(pair.client.canOpen, false)
  stream.writeText('still here')
  pair.run()
  t.equal(server.seen[0]?.owner.data, 'still here')
  stream.end()
  server.seen[0]?.stream.end()
  pair.run()
  t.equal(owner.status, 0)
  t.equal(pair.a.ended && pair.b.ended, true)
})

t.test('a connection that breaks closes its streams, once', async (t) => {
  const bench = new Bench('client')
  const owner = new Recorder()
  const stream = bench.session.open(CONNECT, false)
  if (stream !== undefined) stream.owner = owner
  const answers: boolean[] = []
  bench.session.ping((alive) => answers.push(alive))
  bench.session.transportClosed()
  bench.session.transportClosed()
  t.equal(owner.status, -104)
  t.same(answers, [false])
  t.equal(bench.session.alive, false)
  t.same(bench.out(), [], 'nothing is written any more')
  bench.session.ping((alive) => answers.push(alive))
  t.same(answers, [false, false])
})

t.test('PING is answered with what it carried, and ours by its own answer', async (t) => {
  const bench = new Bench('client')
  bench.give(frame(6, 0, 0, Buffer.from('abcdefgh')))
  const [answer] = bench.out()
  t.same([answer?.type, answer?.flags, answer?.payload.toString()], [6, 1, 'abcdefgh'])
  const order: string[] = []
  bench.session.ping(() => order.push('first'))
  bench.session.ping(() => order.push('second'))
  const [first, second] = bench.out()
  bench.give(frame(6, 1, 0, Buffer.from('abcdefgh')))
  t.same(order, [])
  bench.give(frame(6, 1, 0, second?.payload ?? []), frame(6, 1, 0, first?.payload ?? []))
  t.same(order, ['second', 'first'])
})

t.test('a session greets: a client with its preface, a server with extended CONNECT', async (t) => {
  const client = new Bench('client', {}, true, false)
  client.transport.turn()
  const greeting = client.transport.take()
  t.equal(greeting.toString('latin1', 0, 24), 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  const settings = (payload: Buffer) => {
    const found = new Map<number, number>()
    for (let at = 0; at < payload.length; at += 6) found.set(payload.readUInt16BE(at), payload.readUInt32BE(at + 2))
    return found
  }
  const [ours] = framesOf(greeting)
  t.equal(settings(ours?.payload ?? Buffer.alloc(0)).get(2), 0, 'no push')
  const server = new Bench('server', { maxConcurrentStreams: 77 }, true, false)
  const [theirs] = server.out()
  t.equal(settings(theirs?.payload ?? Buffer.alloc(0)).get(8), 1)
  t.equal(settings(theirs?.payload ?? Buffer.alloc(0)).get(3), 77)
  t.equal(client.session.peerTakesExtendedConnect, false)
  t.equal(client.settings, 0)
  client.give(frame(4, 0, 0, Buffer.concat([setting(8, 1), setting(3, 2)])))
  t.same(
    client.out().map((frame) => [frame.type, frame.flags]),
    [[4, 1]],
    'acknowledged',
  )
  t.equal(client.settings, 1, 'and told')
  t.equal(client.session.peerTakesExtendedConnect, true)
  t.ok(client.session.open(GET, true))
  t.equal(client.session.canOpen, true)
  t.ok(client.session.open(GET, true))
  t.equal(client.session.canOpen, false, 'as many as the server allows')
})

t.test('writing before responding is a bug and says so', async (t) => {
  const bench = new Bench('server')
  bench.give(bench.headers(1, GET))
  const stream = bench.streams[0]?.stream
  t.throws(() => stream?.writeText('x'), /respond first/)
  t.throws(() => stream?.end(), /respond first/)
  stream?.respond(OK, false)
  t.throws(() => stream?.respond(OK, false), /it has a response/)
})

t.test('an owner without slices gets data at the beginning of its bytes', async (t) => {
  const bench = new Bench('server', {}, false)
  bench.give(bench.headers(1, POST))
  const stream = bench.streams[0]?.stream
  let data = ''
  if (stream !== undefined) {
    stream.owner = {
      onData: (bytes, length) => (data += bytes.toString('latin1', 0, length)),
      onEnd() {},
      onDrain() {},
      onClose() {},
    }
  }
  stream?.resume()
  bench.give(Buffer.concat([frame(0, 8, 1, [2, 97, 98, 0, 0]), frame(0, 0, 1, Buffer.from('cd'))]))
  t.equal(data, 'abcd', 'and without the padding')
})
