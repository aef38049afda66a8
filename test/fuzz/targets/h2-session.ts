/**
 * HTTP/2 connections of either role, fed with frames of any kind: they live or say goodbye, what they hold is bounded,
 * what they send is frames, and the same bytes mean the same however they are cut.
 */
import { PREFACE } from '../../../src/http/h2/frames.ts'
import { Bench, CONNECT, frame, framesOf, GET, OK, POST, setting, uint32 } from '../../unit/http/h2/wire.ts'
import { Choices } from '../choices.ts'
import { type FuzzTarget, rule } from '../target.ts'

const LISTS: readonly (readonly string[])[] = [
  GET,
  POST,
  CONNECT,
  OK,
  [...POST, 'content-length', '5'],
  [...OK, 'content-length', '5'],
  [':status', '103'],
  ['x-trailer', 'a'],
  [...GET, 'te', 'trailers', 'cookie', 'a=b', 'cookie', 'c=d'],
  [...GET, 'connection', 'close'],
  [...GET, 'X-Upper', 'a'],
  [...GET, 'x-a', 'b\r\nc: d'],
  [...GET, 'transfer-encoding', 'chunked'],
  [...GET, ':path', '/two'],
  ['x-a', 'b', ...GET],
  [':method', 'CONNECT', ':protocol', 'websocket', ':scheme', 'http', ':authority', 'web', ':path', '/'],
]

/** The bytes of a conversation. */
function wireOf(choices: Choices, role: 'client' | 'server', scratch: Bench): Buffer {
  const pieces: Buffer[] = [role === 'server' && choices.below(16) !== 1 ? PREFACE : Buffer.alloc(0)]
  if (choices.below(8) !== 1) pieces.push(frame(4, 0, 0), frame(4, 1, 0))
  const id = () => choices.pick([1, 3, 5, 7, 0, 2, 9, 2 ** 31 - 1])
  while (choices.left > 0) {
    switch (choices.below(10)) {
      case 0:
      case 1: {
        const block = scratch.block(choices.pick(LISTS))
        const flags = choices.pick([5, 4, 4, 0, 0x0c, 0x25])
        const padded = flags === 0x0c ? Buffer.concat([Buffer.from([2]), block, Buffer.alloc(2)]) : block
        pieces.push(
          frame(1, flags, id(), flags === 0x25 ? Buffer.concat([uint32(0), Buffer.from([1]), block]) : padded),
        )
        break
      }
      case 2:
      case 3:
        pieces.push(frame(0, choices.pick([0, 1, 8]), id(), choices.bytes(choices.below(12))))
        break
      case 4:
        pieces.push(frame(8, 0, id(), uint32(choices.pick([1, 0, 65_535, 2 ** 31 - 1]))))
        break
      case 5:
        pieces.push(frame(3, 0, id(), uint32(choices.below(14))))
        break
      case 6:
        pieces.push(
          frame(4, 0, 0, setting(1 + choices.below(9), choices.pick([0, 1, 16_384, 65_535, 2 ** 31 - 1, 2 ** 32 - 1]))),
        )
        break
      case 7:
        pieces.push(frame(9, choices.pick([4, 0]), id(), choices.bytes(choices.below(6))))
        break
      case 8:
        pieces.push(
          choices.below(2) === 0
            ? frame(6, choices.below(2), 0, Buffer.alloc(8))
            : frame(7, 0, 0, uint32(id(), choices.below(14))),
        )
        break
      default:
        pieces.push(frame(choices.below(14), choices.byte(), id(), choices.bytes(choices.below(24))))
    }
  }
  return Buffer.concat(pieces)
}

/** What came of it: what owners saw, and how the connection stands. */
function converse(role: 'client' | 'server', wire: Buffer, cuts: readonly number[]): string {
  const bench = new Bench(role, { maxConcurrentStreams: 4, maxQueuedBytes: 2 ** 20 }, true, false)
  const opened =
    role === 'client' ? [GET, POST, CONNECT].map((headers) => bench.session.open(headers, headers === GET)) : []
  for (const stream of opened) stream?.resume()
  let at = 0
  for (const cut of [...cuts, wire.length]) {
    if (cut <= at) continue
    const piece = Buffer.from(wire.subarray(at, cut))
    bench.give(piece)
    piece.fill(0xee)
    at = cut
  }
  for (const { stream } of bench.streams) {
    if (stream.closed || stream.headersSent) continue
    stream.respond(OK, false)
    stream.writeText('answer')
    if (stream.id % 3 === 0) stream.end()
  }
  for (let turns = 0; bench.transport.turn(); turns++) rule(turns < 1000, () => 'never quiet')
  bench.session.tick(0)
  bench.session.tick(20_000)
  for (let turns = 0; bench.transport.turn(); turns++) rule(turns < 1000, () => 'never quiet')
  const { session, closed, transport } = bench
  const frames = framesOf(transport.take())
  rule(session.openStreams <= 8, () => `${session.openStreams} streams are open`)
  rule(session.queuedBytes <= wire.length, () => `${session.queuedBytes} bytes are queued of ${wire.length}`)
  if (session.alive) rule(closed === undefined && !transport.ended, () => 'alive and closed')
  else {
    rule(session.openStreams === 0, () => 'over, with streams open')
    rule(closed?.code === 0 || frames.some(({ type }) => type === 7), () => 'over without a GOAWAY')
  }
  // What an error overtakes need not have reached its owner.
  const seen = bench.streams.map(({ stream, headers, owner }) => [
    stream.id,
    headers,
    ...(session.alive && (owner.status ?? 0) === 0 ? [owner.events, owner.data] : [owner.status]),
  ])
  return JSON.stringify([
    session.alive,
    closed,
    seen,
    bench.goaways,
    session.alive && opened.map((stream) => stream?.errorCode),
  ])
}

export const h2Session: FuzzTarget = {
  name: 'h2-session',
  dictionary: ['\x00\x00', '\x02\x01\x05hello', '\x04\x00\x00', '\x09', '\x06\x03'],
  maxBytes: 400,
  run(input) {
    const choices = new Choices(input)
    const role = choices.below(2) === 0 ? 'server' : 'client'
    const step = 1 + choices.below(40)
    const wire =
      choices.below(8) === 1 ? Buffer.concat([PREFACE, choices.bytes(400)]) : wireOf(choices, role, new Bench('client'))
    const whole = converse(role, wire, [])
    const cuts = Array.from({ length: Math.floor(wire.length / step) }, (_, i) => (i + 1) * step)
    const cut = converse(role, wire, cuts)
    rule(cut === whole, () => `in pieces of ${step}: ${cut}\nas a whole: ${whole}`)
    return whole
      .replace(/"data[^"]*"/g, '')
      .replace(/\d{3,}/g, '#')
      .slice(0, 300)
  },
}
