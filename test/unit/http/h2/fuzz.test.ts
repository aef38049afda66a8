/** Bytes cut anywhere mean the same; bytes that mean nothing end in GOAWAY or wait for more, and never throw. */
import fc from 'fast-check'
import t from 'tap'
import { FrameReader, type FrameSink, PREFACE } from '../../../../src/http/h2/frames.ts'
import { Bench, CONNECT, frame, framesOf, GET, OK, POST, setting, uint32 } from './wire.ts'

const anyFrame = fc.record({
  type: fc.nat(12),
  flags: fc.oneof(fc.constantFrom(0, 1, 4, 5, 8, 0x20), fc.nat(255)),
  id: fc.oneof(fc.nat(9), fc.nat(2 ** 31 - 1)),
  payload: fc.uint8Array({ maxLength: 40 }),
})
const bytesOf = ({ type, flags, id, payload }: { type: number; flags: number; id: number; payload: Uint8Array }) =>
  frame(type, flags, id, Buffer.from(payload))

t.test('frames are found however their bytes are cut', async () => {
  fc.assert(
    fc.property(
      fc.array(anyFrame, { maxLength: 20 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1 }),
      (frames, cuts) => {
        const wire = Buffer.concat(frames.map(bytesOf))
        const found: { type: number; flags: number; id: number; payload: number[] }[] = []
        let complete = 0
        const sink: FrameSink = {
          frameHead: (length, type, flags, id) => {
            found.push({ type, flags, id, payload: [] })
            return length <= 40
          },
          framePiece: (bytes, start, end, last) => {
            found.at(-1)?.payload.push(...bytes.subarray(start, end))
            if (last) complete++
            return true
          },
          framePayload: (bytes, start, end) => {
            found.at(-1)?.payload.push(...bytes.subarray(start, end))
            complete++
            return true
          },
        }
        const reader = new FrameReader(sink)
        for (let at = 0, i = 0; at < wire.length; i++) {
          const end = Math.min(wire.length, at + (cuts[i % cuts.length] ?? 1))
          const piece = Buffer.concat([Buffer.from('#'), wire.subarray(at, end), Buffer.from('##')])
          if (!reader.read(piece, 1, 1 + end - at)) return false
          piece.fill(0)
          at = end
        }
        const wanted = frames.map(({ type, flags, id, payload }) => ({ type, flags, id, payload: [...payload] }))
        return complete === frames.length && JSON.stringify(found) === JSON.stringify(wanted)
      },
    ),
    { numRuns: 300 },
  )
})

/** Gives bytes in pieces and lets owners answer; the session must stay sound. */
function survives(role: 'client' | 'server', pieces: readonly Buffer[]): boolean {
  const bench = new Bench(role)
  if (role === 'client') {
    for (const headers of [GET, POST, CONNECT]) bench.session.open(headers, false)?.resume()
  }
  const out: Buffer[] = []
  let clock = 0
  for (const piece of pieces) {
    bench.give(piece)
    for (const { stream } of bench.streams) {
      if (stream.closed || stream.headersSent) continue
      stream.respond(OK, false)
      stream.writeText('answer')
      if (stream.id % 3 === 0) stream.end()
    }
    clock += 10
    bench.session.tick(clock)
    bench.transport.turn()
    out.push(bench.transport.take())
  }
  // Whatever left is frames, and the connection is either alive or said goodbye.
  const frames = framesOf(Buffer.concat(out))
  if (bench.session.alive) return bench.closed === undefined && !bench.transport.ended
  const goodbye = bench.closed?.code === 0 || frames.some((frame) => frame.type === 7)
  return goodbye && bench.transport.ended && bench.session.openStreams === 0
}

t.test('random bytes end in GOAWAY or wait for more', async () => {
  fc.assert(
    fc.property(
      fc.constantFrom('client', 'server'),
      fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 5 }),
      (role, pieces) =>
        survives(
          role,
          pieces.map((piece) => Buffer.from(piece)),
        ),
    ),
    { numRuns: 500 },
  )
})

t.test('random frames too, among frames that are right', async () => {
  const scratch = new Bench('client')
  const blocks = [GET, POST, CONNECT, OK, ['x-a', 'b'], [':status', '103']].map((headers) => scratch.block(headers))
  const id = fc.constantFrom(1, 3, 5, 7, 9)
  const right = fc.oneof(
    fc.tuple(id, fc.constantFrom(...blocks), fc.boolean()).map(([id, block, end]) => frame(1, end ? 5 : 4, id, block)),
    fc.tuple(id, fc.nat(3000), fc.boolean()).map(([id, size, end]) => frame(0, end ? 1 : 0, id, Buffer.alloc(size))),
    fc.tuple(id, fc.integer({ min: 1, max: 100_000 })).map(([id, count]) => frame(8, 0, id, uint32(count))),
    fc.tuple(id, fc.nat(13)).map(([id, code]) => frame(3, 0, id, uint32(code))),
    fc
      .tuple(fc.constantFrom(1, 2, 3, 4, 5, 6), fc.nat(2 ** 24))
      .map(([id, value]) => frame(4, 0, 0, setting(id, value))),
    fc.constant(frame(6, 0, 0, Buffer.alloc(8))),
    fc.nat(9).map((last) => frame(7, 0, 0, uint32(last, 0))),
  )
  const pieces = fc.array(fc.oneof({ weight: 12, arbitrary: right }, { weight: 1, arbitrary: anyFrame.map(bytesOf) }), {
    maxLength: 60,
  })
  fc.assert(
    fc.property(fc.constantFrom('client', 'server'), pieces, (role, pieces) => survives(role, pieces)),
    { numRuns: 600 },
  )
})

t.test('a recorded conversation damaged in one byte ends in GOAWAY or goes on', async () => {
  const scratch = new Bench('client')
  const wire = Buffer.concat([
    PREFACE,
    frame(4, 0, 0, setting(4, 100_000)),
    frame(4, 1, 0),
    scratch.headers(1, POST),
    frame(0, 0, 1, Buffer.from('hello')),
    frame(0, 9, 1, [2, 104, 105, 0, 0]),
    scratch.headers(3, CONNECT),
    frame(8, 0, 3, uint32(1000)),
    frame(0, 0, 3, Buffer.from('tunnel')),
    frame(3, 0, 3, uint32(8)),
    frame(6, 0, 0, Buffer.alloc(8)),
  ])
  fc.assert(
    fc.property(fc.nat(wire.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const damaged = Buffer.from(wire)
      damaged[at] = (damaged[at] ?? 0) ^ change
      const bench = new Bench('server', {}, true, false)
      bench.give(damaged)
      const frames = bench.out()
      return bench.session.alive || frames.some((frame) => frame.type === 7)
    }),
    { numRuns: 600 },
  )
})
