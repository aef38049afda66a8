/** Flow control: windows kept by both sides, back-pressure, fairness, bounded queues. */
import fc from 'fast-check'
import t from 'tap'
import { GATHER_BYTES } from '../../../../src/http/h2/gather.ts'
import type { H2Stream } from '../../../../src/http/index.ts'
import { TUNNEL_LIMITS } from '../../../../src/tunnel/limits.ts'
import { Bench, CONNECT, type Frame, frame, OK, Pair, Recorder, setting, uint32 } from './wire.ts'

const dataOf = (frames: readonly Frame[]) => frames.filter((frame) => frame.type === 0)
const sum = (frames: readonly { payload: Buffer }[]) => frames.reduce((all, frame) => all + frame.payload.length, 0)

function open(bench: Bench): { stream: H2Stream; owner: Recorder } {
  const stream = bench.session.open(CONNECT, false)
  if (stream === undefined) throw new Error('No stream')
  const owner = new Recorder()
  stream.owner = owner
  return { stream, owner }
}

t.test('a stream writes as far as its window goes, and on when it grows', async (t) => {
  const bench = new Bench('client')
  bench.give(frame(4, 0, 0, setting(4, 1000)), frame(8, 0, 0, uint32(1_000_000)))
  const { stream, owner } = open(bench)
  t.equal(stream.writeBytes(Buffer.alloc(600)), true)
  t.equal(stream.writeSlice(Buffer.alloc(700, 'x'), 0, 600), false)
  t.equal(stream.pendingWrites, 1)
  t.equal(stream.writeText('tail'), false)
  stream.end()
  t.equal(stream.pendingWrites, 2)
  t.equal(sum(dataOf(bench.out())), 1000)
  bench.give(frame(8, 0, 1, uint32(200)))
  const rest = dataOf(bench.out())
  t.equal(sum(rest), 200)
  t.equal(rest.at(-1)?.payload.toString('latin1', 0, 1), 'x')
  t.same(owner.events, [])
  bench.give(frame(8, 0, 1, uint32(4)))
  const last = dataOf(bench.out())
  t.equal(last.at(-1)?.payload.toString(), 'tail')
  t.equal(last.at(-1)?.flags, 1)
  t.same(owner.events, ['drain'])
  t.equal(stream.pendingWrites, 0)
})

t.test('pieces that wait cost little more than their bytes, and leave as they came', async (t) => {
  const bench = new Bench('client')
  bench.give(frame(4, 0, 0, setting(4, 0)), frame(8, 0, 0, uint32(1_000_000)))
  const { stream, owner } = open(bench)
  const sent = Buffer.from(Array.from({ length: 20_000 }, (_, i) => i * 7))
  let taken = 0
  for (let at = 0; at < sent.length; at++) if (stream.writeSlice(sent, at, at + 1)) taken++
  t.equal(taken, 0)
  t.ok(stream.outgoing.length <= 5, `${stream.outgoing.length} buffers`)
  bench.give(frame(8, 0, 1, uint32(10)))
  stream.writeSlice(Buffer.from('end'), 0, 3)
  stream.end()
  bench.give(frame(8, 0, 1, uint32(1_000_000)))
  const frames = dataOf(bench.out())
  t.ok(Buffer.concat(frames.map(({ payload }) => payload)).equals(Buffer.concat([sent, Buffer.from('end')])))
  t.equal(frames.at(-1)?.flags, 1)
  t.same(owner.events, ['drain'])
})

t.test('a window made negative by SETTINGS has to be made good first', async (t) => {
  const bench = new Bench('client')
  const { stream } = open(bench)
  t.equal(stream.writeBytes(Buffer.alloc(60_000)), true)
  bench.out()
  bench.give(frame(4, 0, 0, setting(4, 10_000)), frame(8, 0, 0, uint32(1_000_000)))
  stream.writeBytes(Buffer.alloc(100))
  bench.give(frame(8, 0, 1, uint32(50_000)))
  t.equal(sum(dataOf(bench.out())), 0)
  bench.give(frame(8, 0, 1, uint32(60)))
  t.equal(sum(dataOf(bench.out())), 60)
  bench.give(frame(4, 0, 0, setting(4, 10_100)))
  t.equal(sum(dataOf(bench.out())), 40)
})

t.test('those who wait for the connection take turns, and nobody overtakes them', async (t) => {
  const bench = new Bench('client')
  bench.give(frame(4, 0, 0, setting(4, 10_000_000)))
  const streams = [open(bench), open(bench), open(bench)]
  for (const { stream } of streams) stream.writeBytes(Buffer.alloc(100_000))
  t.equal(sum(dataOf(bench.out())), 65_535, 'the first takes what there is')
  bench.give(frame(8, 0, 0, uint32(16384 * 6)))
  const late = open(bench)
  t.equal(late.stream.writeBytes(Buffer.alloc(10)), false, 'a latecomer waits')
  const frames = dataOf(bench.out())
  // 34465 bytes of the first were left: three frames of it in six.
  t.same(
    frames.map((frame) => frame.id),
    [1, 3, 5, 7, 1, 3, 5],
  )
  bench.give(frame(8, 0, 0, uint32(1_000_000)))
  const rest = dataOf(bench.out())
  for (const { owner, stream } of streams) {
    t.same(owner.events, ['drain'])
    t.equal(stream.pendingWrites, 0)
  }
  t.equal(sum(rest), 300_010 - 65_535 - 16384 * 6)
})

t.test('a transport that does not take stops the writers, with bounded buffers', async (t) => {
  const bench = new Bench('client')
  bench.give(frame(4, 0, 0, setting(4, 2 ** 30)), frame(8, 0, 0, uint32(2 ** 30)))
  bench.out()
  bench.transport.stuck = true
  const { stream, owner } = open(bench)
  let taken = 0
  while (stream.writeBytes(Buffer.alloc(10_000))) {
    taken += 10_000
    if (taken > 10_000_000) break
    bench.transport.turn()
  }
  t.ok(taken <= 2 * GATHER_BYTES, 'one buffer with the transport and one behind it')
  t.ok(bench.session.outbound.backlog <= GATHER_BYTES)
  t.equal(bench.transport.writes.length, 1, 'no second write before the first is taken')
  bench.transport.stuck = false
  bench.session.drained()
  t.same(owner.events, ['drain'])
  bench.out()
  t.equal(stream.pendingWrites, 0)
})

t.test('a paused stream is not acknowledged, the others go on', async (t) => {
  const limits = { streamWindowBytes: 100_000, connectionWindowBytes: 150_000 }
  const streams: { stream: H2Stream; owner: Recorder }[] = []
  const pair = new Pair(
    (stream) => {
      const owner = new Recorder()
      stream.owner = owner
      stream.respond(OK, false)
      streams.push({ stream, owner })
      if (streams.length > 1) stream.resume()
    },
    { server: limits },
  )
  pair.run()
  const stalled = pair.open(CONNECT).stream
  const flowing = pair.open(CONNECT).stream
  t.equal(stalled.writeBytes(Buffer.alloc(1_000_000)), false)
  flowing.writeBytes(Buffer.alloc(1_000_000))
  pair.run()
  t.equal(streams[0]?.owner.bytes, 0)
  t.equal(pair.server.queuedBytes, 100_000, 'its window and no more is held')
  t.equal(streams[1]?.owner.bytes, 1_000_000)
  t.equal(flowing.pendingWrites, 0)
  t.equal(stalled.pendingWrites, 1)
  streams[0]?.stream.resume()
  pair.run()
  t.equal(streams[0]?.owner.bytes, 1_000_000)
  t.equal(pair.server.queuedBytes, 0)
})

t.test('many stalled streams hold no more than the limit and the connection window', async (t) => {
  const limits = { streamWindowBytes: 65_535, connectionWindowBytes: 200_000, maxQueuedBytes: 300_000 }
  const streams: H2Stream[] = []
  const pair = new Pair(
    (stream) => {
      stream.respond(OK, false)
      streams.push(stream)
    },
    { server: limits },
  )
  pair.run()
  const writers = Array.from({ length: 40 }, () => pair.open(CONNECT).stream)
  for (const stream of writers) stream.writeBytes(Buffer.alloc(65_535))
  pair.run()
  const held = pair.server.queuedBytes
  t.ok(held >= 300_000 && held <= 500_000, `${held} bytes are held`)
  const owners = streams.map((stream) => {
    const owner = new Recorder()
    stream.owner = owner
    stream.resume()
    return owner
  })
  pair.run()
  t.equal(pair.server.queuedBytes, 0)
  // Those that came to the front after the window opened again are there too.
  for (const stream of streams.slice(owners.length)) stream.resume()
  pair.run()
  t.ok(
    writers.every((stream) => stream.pendingWrites === 0),
    'and all goes on',
  )
})

t.test('data for a paused stream costs its bytes, however small its frames', async (t) => {
  const bench = new Bench('server', {}, false)
  bench.give(bench.headers(1, CONNECT))
  const stream = bench.streams[0]?.stream
  let sent = ''
  for (let i = 0; i < 10_000; i++) {
    const text = 'abc'.slice(0, 1 + (i % 3))
    sent += text
    bench.give(frame(0, 0, 1, Buffer.from(text)))
  }
  t.ok((stream?.incoming.length ?? 99) <= 5, 'a few chunks hold it')
  t.equal(bench.session.queuedBytes, sent.length)
  stream?.resume()
  bench.out()
  t.equal(bench.streams[0]?.owner.data, sent)
  t.equal(bench.session.queuedBytes, 0)
})

t.test('a stream closed with data queued gives its share back', async (t) => {
  const bench = new Bench('server', { connectionWindowBytes: 65_535, maxQueuedBytes: 10_000 }, false)
  bench.give(bench.headers(1, CONNECT))
  for (let i = 0; i < 3; i++) bench.give(frame(0, 0, 1, Buffer.alloc(16_384)))
  t.equal(bench.out().filter((frame) => frame.type === 8).length, 0, 'the connection window is left to close')
  bench.give(frame(3, 0, 1, uint32(8)))
  t.equal(bench.session.queuedBytes, 0)
  t.equal(bench.out().filter((frame) => frame.type === 8 && frame.id === 0).length, 1)
})

t.test('whatever the schedule, all bytes arrive in order within their windows', async () => {
  const command = fc.record({
    kind: fc.constantFrom(
      'write',
      'write',
      'write',
      'pause',
      'resume',
      'step',
      'step',
      'end',
      'stick',
      'loosen',
      'text',
    ),
    stream: fc.nat(4),
    server: fc.boolean(),
    size: fc.oneof(fc.nat(100), fc.nat(40_000)),
  })
  fc.assert(
    fc.property(
      fc.array(command, { maxLength: 120 }),
      fc.integer({ min: 65_535, max: 90_000 }),
      fc.array(fc.integer({ min: 1, max: 30_000 }), { minLength: 1, maxLength: 20 }),
      (commands, window, cuts) => {
        let cutAt = 0
        const limits = { streamWindowBytes: window, connectionWindowBytes: 65_535, maxQueuedBytes: 100_000 }
        const there: { stream: H2Stream; owner: Recorder }[] = []
        const pair = new Pair(
          (stream) => {
            const owner = new Recorder()
            stream.owner = owner
            there.push({ stream, owner })
            stream.respond(OK, false)
            stream.resume()
          },
          { client: limits, server: limits },
          () => cuts[cutAt++ % cuts.length] ?? 1,
        )
        const here = Array.from({ length: 5 }, () => pair.open(CONNECT))
        pair.run()
        const sent = { client: ['', '', '', '', ''], server: ['', '', '', '', ''] }
        const settle = () => {
          for (const [transport, session] of [
            [pair.a, pair.client],
            [pair.b, pair.server],
          ] as const) {
            transport.stuck = false
            session.drained()
          }
        }
        let counter = 0
        for (const { kind, stream: index, server, size } of commands) {
          const side = server ? there : here
          const transport = server ? pair.b : pair.a
          const stream = side[index]?.stream
          if (stream === undefined) return false
          switch (kind) {
            case 'write':
            case 'text': {
              if (stream.writeEnded) break
              const text = String.fromCharCode(97 + (counter++ % 26)).repeat(size)
              sent[server ? 'server' : 'client'][index] += text
              if (kind === 'text') stream.writeText(text)
              else {
                const bytes = Buffer.from(`__${text}__`)
                stream.writeSlice(bytes, 2, 2 + size)
                bytes.fill('?')
              }
              break
            }
            case 'pause':
              stream.pause()
              break
            case 'resume':
              stream.resume()
              break
            case 'end':
              if (size % 4 === 0) stream.end()
              break
            case 'stick':
              transport.stuck = true
              break
            case 'loosen':
              settle()
              break
            default:
              pair.step()
          }
          if (pair.client.queuedBytes > 200_000 || pair.server.queuedBytes > 200_000) return false
          if (!pair.client.alive || !pair.server.alive) return false
        }
        settle()
        for (const side of [here, there]) for (const { stream } of side) stream.resume()
        pair.run()
        for (const side of [here, there]) for (const { stream } of side) stream.end()
        pair.run()
        for (let i = 0; i < 5; i++) {
          if (there[i]?.owner.data !== sent.client[i] || here[i]?.owner.data !== sent.server[i]) return false
          if (there[i]?.owner.status !== 0 || here[i]?.owner.status !== 0) return false
        }
        return pair.client.queuedBytes === 0 && pair.server.queuedBytes === 0 && pair.client.openStreams === 0
      },
    ),
    { numRuns: 150 },
  )
})

t.test('in a tunnel no stream waits for the reader of another, however many stall', (t) => {
  const streams: H2Stream[] = []
  const pair = new Pair(
    (stream) => {
      stream.respond(OK, false)
      streams.push(stream)
    },
    { client: TUNNEL_LIMITS, server: TUNNEL_LIMITS },
  )
  pair.run()
  const { maxConcurrentStreams, streamWindowBytes } = TUNNEL_LIMITS
  for (let i = 1; i < maxConcurrentStreams; i++) pair.open(CONNECT).stream.writeBytes(Buffer.alloc(2_000_000))
  pair.run()
  t.equal(pair.server.queuedBytes, (maxConcurrentStreams - 1) * streamWindowBytes, 'a window of each is held')
  const flowing = pair.open(CONNECT).stream
  flowing.writeBytes(Buffer.alloc(3_000_000))
  pair.run()
  const owner = new Recorder()
  const last = streams.at(-1)
  if (last === undefined) throw new Error('No stream')
  last.owner = owner
  last.resume()
  pair.run()
  t.equal(owner.bytes, 3_000_000)
  t.end()
})

t.test('the window of a stream grows with a reader that keeps up, as long as there is something to grow by', (t) => {
  const streams: H2Stream[] = []
  const limits = { ...TUNNEL_LIMITS, windowGrowthBytes: 1_500_000 }
  const pair = new Pair(
    (stream) => {
      stream.owner = new Recorder()
      stream.respond(OK, false)
      stream.resume()
      streams.push(stream)
    },
    { server: limits },
  )
  pair.run()
  const send = (bytes: number) => {
    const { stream } = pair.open(CONNECT)
    stream.writeBytes(Buffer.alloc(bytes))
    pair.run()
    return { stream, window: streams.at(-1)?.windowBytes }
  }
  t.equal(send(400_000).window, 65_536, 'little needs no more')
  const first = send(8_000_000)
  t.equal(first.window, 1_048_576)
  t.equal(pair.server.growthLeft, 1_500_000 - 1_048_576 + 65_536)
  t.equal(send(8_000_000).window, 1_500_000 - 1_048_576 + 2 * 65_536, 'what is left')
  t.equal(send(8_000_000).window, 65_536)
  first.stream.reset()
  pair.run()
  t.equal(pair.server.growthLeft, 1_048_576 - 65_536, 'a stream that is gone gives it back')
  t.equal(send(8_000_000).window, 1_048_576)
  t.end()
})

t.test('data that crosses the resets of very many streams harms no other', (t) => {
  const streams: H2Stream[] = []
  const limits = { ...TUNNEL_LIMITS, maxConcurrentStreams: 4096, maxOpenStreams: 4096 }
  const pair = new Pair(
    (stream) => {
      stream.respond(OK, false)
      streams.push(stream)
    },
    { client: limits, server: limits },
  )
  pair.run()
  const opened = Array.from({ length: 4000 }, () => pair.open(CONNECT))
  pair.run()
  for (const stream of streams) stream.writeText('on its way')
  pair.b.turn()
  const bystander = opened.pop()
  for (const { stream } of opened) stream.reset()
  pair.run()
  t.equal(bystander?.owner.data, 'on its way')
  t.end()
})
