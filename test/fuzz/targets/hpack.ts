/** HPACK: blocks of any bytes decode within bounds; lists come back as they were, tables of both sides in step. */
import { HpackDecoder } from '../../../src/http/h2/hpack-decoder.ts'
import { HpackEncoder } from '../../../src/http/h2/hpack-encoder.ts'
import { Choices } from '../choices.ts'
import { type FuzzTarget, rule } from '../target.ts'

const MAX_LIST_BYTES = 4096
const TABLE_BYTES = 4096
const NAMES = [':path', ':status', 'x-a', 'x-b', 'cookie', 'content-type', 'traceparent', '', 'authorization']
const VALUES = ['/', '200', '', 'a', 'application/grpc', 'b'.repeat(60), 'c'.repeat(2100), '\xff\x00']

/** Blocks one after the other on one connection, each led by its length. */
function decodeBlocks(input: Buffer): string {
  const decoder = new HpackDecoder(MAX_LIST_BYTES)
  const encoder = new HpackEncoder()
  const mirror = new HpackDecoder(2 ** 20)
  const ways: string[] = []
  for (let at = 0; at < input.length; ) {
    const end = Math.min(input.length, at + 1 + (input[at] ?? 0))
    const list = decoder.decode(input, at + 1, end)
    at = end
    rule(decoder.tableBytes <= TABLE_BYTES, () => `a table of ${decoder.tableBytes} bytes`)
    rule((list === undefined) === (decoder.problem !== ''), () => 'neither a list nor a problem')
    if (list === undefined) return `${ways.join()} ${decoder.problem}`
    const bytes = list.reduce((sum, text) => sum + text.length + 16, 0)
    rule(bytes <= MAX_LIST_BYTES, () => `a list of ${bytes} bytes`)
    encodeAndCompare(encoder, mirror, list)
    ways.push(`${list.length > 0}${decoder.tooLarge}`)
  }
  return ways.slice(0, 4).join()
}

function encodeAndCompare(encoder: HpackEncoder, decoder: HpackDecoder, list: readonly string[]): void {
  encoder.encode(list)
  const block = Buffer.from(encoder.block.subarray(0, encoder.length))
  const back = decoder.decode(block, 0, block.length)
  rule(
    JSON.stringify(back) === JSON.stringify(list),
    () => `${JSON.stringify(list)} came back as ${JSON.stringify(back)} (${decoder.problem})`,
  )
  rule(
    encoder.tableBytes === decoder.tableBytes,
    () => `tables of ${encoder.tableBytes} and ${decoder.tableBytes} bytes`,
  )
}

/** Lists made by choice, with the peer's wish for its table's size changing between them. */
function roundTrip(input: Buffer): void {
  const choices = new Choices(input)
  const encoder = new HpackEncoder()
  const decoder = new HpackDecoder(2 ** 20)
  while (choices.left > 0) {
    if (choices.below(6) === 0) encoder.setMaxTableBytes(choices.pick([0, 1, 60, 100, 2000, 4096, 65_536]))
    const list: string[] = []
    const fields = choices.below(8)
    for (let i = 0; i < fields; i++) {
      list.push(choices.below(4) === 0 ? choices.bytes(3).toString('latin1').toLowerCase() : choices.pick(NAMES))
      list.push(choices.below(3) === 0 ? choices.bytes(choices.below(20)).toString('latin1') : choices.pick(VALUES))
    }
    encodeAndCompare(encoder, decoder, list)
  }
}

export const hpack: FuzzTarget = {
  name: 'hpack',
  dictionary: [
    '\x20',
    '\x3f\xe1\x1f',
    '\x40',
    '\x80',
    '\xff\xff\xff\xff\x0f',
    '\x82\x86\x84',
    '\x7f\x80\x80\x00',
    '\x88',
  ],
  maxBytes: 1024,
  run(input) {
    roundTrip(input)
    return decodeBlocks(input)
  },
}
