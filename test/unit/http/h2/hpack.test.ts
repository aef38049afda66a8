/** HPACK: the vectors of RFC 7541 appendix C, what must be refused, and round trips. */
import fc from 'fast-check'
import t from 'tap'
import { HpackDecoder } from '../../../../src/http/h2/hpack-decoder.ts'
import { HpackEncoder } from '../../../../src/http/h2/hpack-encoder.ts'
import { huffmanLength, putHuffman, readHuffman } from '../../../../src/http/h2/hpack-huffman.ts'

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
function decode(decoder: HpackDecoder, bytes: Buffer) {
  // Not at the beginning of its buffer, and not up to its end.
  const padded = Buffer.concat([Buffer.from('xx'), bytes, Buffer.from('yyy')])
  return decoder.decode(padded, 2, 2 + bytes.length)
}

const DATE_1 = 'Mon, 21 Oct 2013 20:13:21 GMT'
const DATE_2 = 'Mon, 21 Oct 2013 20:13:22 GMT'
const COOKIE = 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'
const REQUESTS = [
  [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com'],
  [':method', 'GET', ':scheme', 'http', ':path', '/', ':authority', 'www.example.com', 'cache-control', 'no-cache'],
  [
    ...[':method', 'GET', ':scheme', 'https', ':path', '/index.html', ':authority', 'www.example.com'],
    ...['custom-key', 'custom-value'],
  ],
]
const LOCATION = ['location', 'https://www.example.com']
const RESPONSES = [
  [':status', '302', 'cache-control', 'private', 'date', DATE_1, ...LOCATION],
  [':status', '307', 'cache-control', 'private', 'date', DATE_1, ...LOCATION],
  [
    ...[':status', '200', 'cache-control', 'private', 'date', DATE_2, ...LOCATION],
    ...['content-encoding', 'gzip', 'set-cookie', COOKIE],
  ],
]
/** Appendix C.5 and C.6 have a table of 256 bytes: a size update says so. */
const SIZE_256 = '3fe101'

const VECTORS: readonly [string, readonly [string, readonly string[], number][]][] = [
  [
    'C.2.1',
    [['400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572', ['custom-key', 'custom-header'], 55]],
  ],
  ['C.2.2', [['040c 2f73 616d 706c 652f 7061 7468', [':path', '/sample/path'], 0]]],
  ['C.2.3', [['1008 7061 7373 776f 7264 0673 6563 7265 74', ['password', 'secret'], 0]]],
  ['C.2.4', [['82', [':method', 'GET'], 0]]],
  [
    'C.3',
    [
      ['8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d', REQUESTS[0] ?? [], 57],
      ['8286 84be 5808 6e6f 2d63 6163 6865', REQUESTS[1] ?? [], 110],
      ['8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65', REQUESTS[2] ?? [], 164],
    ],
  ],
  [
    'C.4',
    [
      ['8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff', REQUESTS[0] ?? [], 57],
      ['8286 84be 5886 a8eb 1064 9cbf', REQUESTS[1] ?? [], 110],
      ['8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf', REQUESTS[2] ?? [], 164],
    ],
  ],
  [
    'C.5',
    [
      [
        `${SIZE_256} 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133
         3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
        RESPONSES[0] ?? [],
        222,
      ],
      ['4803 3330 37c1 c0bf', RESPONSES[1] ?? [], 222],
      [
        `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f
         6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b
         2076 6572 7369 6f6e 3d31`,
        RESPONSES[2] ?? [],
        215,
      ],
    ],
  ],
  [
    'C.6',
    [
      [
        `${SIZE_256} 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d
         29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
        RESPONSES[0] ?? [],
        222,
      ],
      ['4883 640e ffc1 c0bf', RESPONSES[1] ?? [], 222],
      [
        `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335
         dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
        RESPONSES[2] ?? [],
        215,
      ],
    ],
  ],
]

t.test('the examples of RFC 7541 appendix C are read as it says', async (t) => {
  for (const [name, blocks] of VECTORS) {
    const decoder = new HpackDecoder(65536)
    for (const [block, headers, tableBytes] of blocks) {
      t.same(decode(decoder, hex(block.replaceAll(/\s/g, ''))), headers, name)
      t.equal(decoder.tableBytes, tableBytes, `${name}: size of the table`)
    }
  }
})

t.test('requests without secrets are written as appendix C.4 writes them', async (t) => {
  const encoder = new HpackEncoder()
  const blocks = VECTORS.find(([name]) => name === 'C.4')?.[1] ?? []
  for (const [block, headers] of blocks) {
    encoder.encode(headers)
    t.equal(encoder.block.toString('hex', 0, encoder.length), block.replaceAll(' ', ''))
  }
})

t.test('malformed blocks are refused', async (t) => {
  const cases: readonly [string, string][] = [
    ['80', 'index 0'],
    ['be', 'index beyond the table (indexed)'],
    ['7e0161', 'index beyond the table (name)'],
    ['ff', 'integer without its end'],
    ['ffffffffffff0f', 'integer overflow'],
    [`0001617f808080808000${'61'.repeat(127)}`, 'integer longer than it need be'],
    ['0003', 'string without its bytes'],
    ['000161', 'no value'],
    ['0001610361', 'value longer than its block'],
    ['00', 'no name'],
    ['0081ff00', 'Huffman: eight bits of padding'],
    ['0082 1fff 00', 'Huffman: padding of more than seven bits'],
    ['0081 18 00', 'Huffman: padding not of ones'],
    ['0084 ffff ffff 00', 'Huffman: end of string inside'],
    ['0085 ffff fffc ff 00', 'Huffman: end of string and more'],
    ['3fe21f', 'table size update to 4097'],
    ['82 20', 'table size update after a field'],
    ['20 20 20', 'three table size updates'],
  ]
  for (const [block, what] of cases) {
    const decoder = new HpackDecoder(65536)
    t.equal(decode(decoder, hex(block)), undefined, what)
    t.not(decoder.problem, '', what)
  }
  t.same(decode(new HpackDecoder(65536), hex('3fe11f 20 82')), [':method', 'GET'], 'two updates are allowed')
})

t.test('a header bomb is decoded to its end and comes to nothing', async (t) => {
  const decoder = new HpackDecoder(16384)
  // One entry of 4000 bytes, then a reference to it in each byte.
  const value = 'x'.repeat(3900)
  const bomb = Buffer.concat([
    hex('40 01 61 7f bd1d'.replaceAll(' ', '')),
    Buffer.from(value),
    Buffer.alloc(10_000, 0xbe),
    hex('4001620163'),
  ])
  const list = decode(decoder, bomb)
  t.equal(decoder.tooLarge, true)
  t.ok(list !== undefined && list.length <= 2 * 5, 'what was kept is within the limit')
  t.same(decode(decoder, hex('be')), ['b', 'c'], 'the table is in step')
  t.equal(decoder.tooLarge, false)
})

t.test('secrets are never indexed and say so', async (t) => {
  for (const name of ['authorization', 'cookie', 'set-cookie', 'proxy-authorization']) {
    const encoder = new HpackEncoder()
    for (let i = 0; i < 3; i++) {
      encoder.encode([name, 'sesame'])
      t.equal((encoder.block[0] ?? 0) & 0xf0, 0x10, name)
    }
    t.equal(encoder.tableBytes, 0)
  }
})

t.test('a list sent again and again becomes indexes, and its bytes stay right when the table moves', async (t) => {
  const encoder = new HpackEncoder()
  const decoder = new HpackDecoder(65536)
  const list = [':method', 'CONNECT', ':authority', '10.1.2.3:8080', 'baggage', 'k8s.cluster.name=a']
  const lengths: number[] = []
  for (let i = 0; i < 20; i++) {
    // Now and then something else comes between and shifts every index.
    if (i % 5 === 4) {
      encoder.encode([`x-${i}`, 'v'])
      t.same(decode(decoder, encoder.block.subarray(0, encoder.length)), [`x-${i}`, 'v'])
    }
    encoder.encode(list)
    lengths.push(encoder.length)
    t.same(decode(decoder, encoder.block.subarray(0, encoder.length)), list)
  }
  t.ok((lengths.at(-1) ?? 99) <= 3, 'one byte for each field')
  list[3] = '10.1.2.4:8080'
  encoder.encode(list)
  t.same(decode(decoder, encoder.block.subarray(0, encoder.length)), list, 'a list changed in place is a new one')
})

t.test('kept bytes are forgotten when the table shrinks', async (t) => {
  const encoder = new HpackEncoder()
  const decoder = new HpackDecoder(65536)
  const list = ['x-a', 'b', 'x-c', 'd']
  const check = (headers: readonly string[]) => {
    encoder.encode(headers)
    t.same(decode(decoder, encoder.block.subarray(0, encoder.length)), headers)
  }
  const other = ['x-c', 'd']
  for (let i = 0; i < 3; i++) check(list)
  check(other)
  encoder.setMaxTableBytes(0)
  check([':method', 'GET'])
  check(other)
  for (let i = 0; i < 3; i++) check(list)
})

t.test('Huffman coding gives back any text', async () => {
  const text = fc.string({
    unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
    maxLength: 200,
  })
  fc.assert(
    fc.property(text, (text) => {
      const out = Buffer.alloc(1000)
      const end = putHuffman(out, 3, text)
      return end - 3 === huffmanLength(text) && readHuffman(out, 3, end) === text
    }),
    { numRuns: 500 },
  )
})

t.test('what an encoder writes its decoder reads, tables of the same size, whatever comes', async () => {
  const names = fc.constantFrom(
    ':path',
    ':authority',
    'cookie',
    'x-a',
    'x-b',
    'grpc-timeout',
    'date',
    'server',
    'accept',
  )
  const value = fc.oneof(
    fc.constantFrom('', '/', 'a', 'gzip, deflate', 'b'.repeat(100), 'c'.repeat(1900), 'd'.repeat(5000)),
    fc.string({ unit: fc.integer({ min: 32, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 30 }),
  )
  const list = fc.array(fc.tuple(names, value), { maxLength: 12 }).map((fields) => fields.flat())
  const step = fc.oneof(
    { weight: 9, arbitrary: list.map((headers) => ({ headers, size: -1 })) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(0, 60, 200, 4096, 70_000).map((size) => ({ headers: [] as string[], size })),
    },
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const encoder = new HpackEncoder()
      const decoder = new HpackDecoder(1 << 20)
      for (const { headers, size } of steps) {
        if (size >= 0) encoder.setMaxTableBytes(size)
        for (let twice = 0; twice < 2; twice++) {
          encoder.encode(headers)
          const block = Buffer.from(encoder.block.subarray(0, encoder.length))
          const read = decode(decoder, block)
          if (JSON.stringify(read) !== JSON.stringify(headers)) return false
          if (decoder.tableBytes !== encoder.tableBytes) return false
        }
      }
      return true
    }),
    { numRuns: 300 },
  )
})

t.test('random blocks are decoded or refused, never more', async () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }), (blocks) => {
      const decoder = new HpackDecoder(4096)
      for (const block of blocks) {
        const list = decode(decoder, Buffer.from(block))
        if (list === undefined) return decoder.problem !== ''
        if (decoder.tableBytes > 4096) return false
        let size = 0
        for (const text of list) size += text.length + 16
        if (size > 4096) return false
      }
      return true
    }),
    { numRuns: 1000 },
  )
})
