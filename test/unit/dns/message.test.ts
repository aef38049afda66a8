import codec, { type Answer, type Packet } from 'dns-packet'
import fc from 'fast-check'
import t from 'tap'
import { aliasRecord, isReplyTo, type Query, readQuery, recordsOf, renameQuery, renderFailure, renderReply } from '#dns'

const QUESTION = { name: 'Web.shop', type: 'A', class: 'IN' } as const

function message(more: Packet = {}): Buffer {
  return codec.encode({ id: 7, type: 'query', flags: codec.RECURSION_DESIRED, questions: [QUESTION], ...more })
}

function opt(udpPayloadSize: number): Packet {
  return { additionals: [{ type: 'OPT', name: '.', udpPayloadSize, flags: 0, options: [] } as unknown as Answer] }
}

function read(bytes: Buffer): Query {
  const reading = readQuery(bytes)
  if (reading.kind !== 'query') throw new Error(`Not a query: ${reading.kind}`)
  return reading.query
}

const records = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ type: 'A' as const, name: 'web.shop', address: `10.0.0.${i}` }))
const reply = (count: number) => ({ rcode: 0, answers: records(count), additionals: [], authoritative: true })

t.test('a query is read: its name in lower case, and what its sender takes', (t) => {
  t.match(read(message()), { name: 'web.shop', type: 'A', isPlain: true, maxUdpBytes: 512, hasEdns: false })
  t.match(read(message(opt(1232))), { maxUdpBytes: 1232, hasEdns: true })
  t.match(read(message(opt(100))), { maxUdpBytes: 512 })
  t.match(read(message(opt(65_000))), { maxUdpBytes: 4096 })
  t.end()
})

t.test('a name that cannot be written as text is none of the mesh’s', (t) => {
  const dotted = message({ questions: [{ ...QUESTION, name: 'webxshop' }] })
  dotted.write('.', dotted.indexOf('x'))
  t.match(read(dotted), { name: 'web.shop', isPlain: false })
  const binary = message()
  binary[14] = 0xff
  t.equal(read(binary).isPlain, false)
  const chaos = message()
  chaos.writeUInt16BE(3, chaos.length - 2)
  t.equal(read(chaos).isPlain, false)
  t.end()
})

t.test('what is no query is dropped, what is none that can be answered is refused with its id', (t) => {
  t.equal(readQuery(Buffer.alloc(11)).kind, 'drop')
  t.equal(readQuery(message({ type: 'response' })).kind, 'drop')
  const rcodeOf = (bytes: Buffer) => {
    const reading = readQuery(bytes)
    if (reading.kind !== 'reject') return reading.kind
    return `${reading.reply.readUInt16BE(0)} ${(codec.decode(reading.reply) as { rcode?: string }).rcode}`
  }
  t.equal(rcodeOf(message({ flags: 5 << 11 })), '7 NOTIMP')
  t.equal(rcodeOf(message({ questions: [QUESTION, QUESTION] })), '7 FORMERR')
  t.equal(rcodeOf(message().subarray(0, 16)), '7 FORMERR')
  t.end()
})

t.test('no bytes make the reader throw, and what it makes of a query can be answered', (t) => {
  const whole = renderReply(read(message(opt(1232))), reply(2), 1232)
  const changed = fc
    .tuple(fc.array(fc.tuple(fc.nat(90), fc.nat(255)), { maxLength: 6 }), fc.nat(60), fc.boolean())
    .map(([edits, cut, isReply]) => {
      const bytes = Buffer.from(isReply ? whole : message(opt(1232)))
      for (const [at, value] of edits) if (at < bytes.length) bytes[at] = value
      return bytes.subarray(0, bytes.length - (cut > 40 ? cut - 40 : 0))
    })
  const asked = read(message())
  const anything = fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes))
  fc.assert(
    fc.property(fc.oneof(changed, anything), (bytes) => {
      const reading = readQuery(bytes)
      const found = recordsOf(bytes)
      if (found !== undefined) renderReply(asked, { ...found, additionals: [], authoritative: false }, 4096)
      if (reading.kind !== 'query') return
      const { query } = reading
      const failed = renderFailure(query, 'SERVFAIL')
      if (!isReplyTo(query, failed)) throw new Error('A failure is a reply')
      if (query.isPlain) codec.decode(renderReply(query, reply(2), 512))
    }),
    { numRuns: 3000 },
  )
  t.end()
})

t.test('a reply repeats id and question letter by letter and marks what it is', (t) => {
  const query = read(message(opt(1232)))
  const packet = codec.decode(renderReply(query, reply(2), 1232))
  t.match(packet, { id: 7, flag_qr: true, flag_aa: true, flag_rd: true, flag_ra: true, flag_tc: false })
  t.match(packet.questions, [QUESTION])
  t.match(packet.answers, [
    { name: 'Web.shop', ttl: 30, data: '10.0.0.0' },
    { name: 'Web.shop', data: '10.0.0.1' },
  ])
  t.match(packet.additionals, [{ type: 'OPT' }])
  t.same(codec.decode(renderReply(read(message()), reply(1), 512)).additionals, [])
  t.end()
})

t.test('what does not fit loses first its additional records, then all, marked as truncated', (t) => {
  const query = read(message())
  const whole = { ...reply(2), additionals: records(20) }
  t.match(codec.decode(renderReply(query, whole, 512)), { flag_tc: false, answers: { length: 2 }, additionals: [] })
  const cut = renderReply(query, reply(60), 512)
  t.match(codec.decode(cut), { flag_tc: true, answers: [], questions: [QUESTION] })
  t.ok(cut.length <= 512)
  t.end()
})

t.test('records that cannot be written again are a failure', (t) => {
  const broken = { type: 'SRV', name: 'web.shop' } as unknown as Answer
  const bytes = renderReply(read(message()), { ...reply(0), answers: [broken] }, 512)
  t.match(codec.decode(bytes), { rcode: 'SERVFAIL', questions: [QUESTION] })
  t.end()
})

t.test('only the same question with the same id is replied to', (t) => {
  const query = read(message())
  const made = (more: Packet) => message({ type: 'response', ...more })
  t.ok(isReplyTo(query, made({})))
  t.ok(isReplyTo(query, made({ questions: [{ ...QUESTION, name: 'wEB.SHOP' }] })))
  t.ok(isReplyTo(query, made({ questions: [], flags: 1 })), 'a server that could not read it')
  t.notOk(isReplyTo(query, made({ questions: [] })))
  t.notOk(isReplyTo(query, made({ id: 8 })))
  t.notOk(isReplyTo(query, made({ questions: [{ ...QUESTION, name: 'web.shoq' }] })))
  t.notOk(isReplyTo(query, made({ questions: [{ ...QUESTION, type: 'AAAA' }] })))
  t.notOk(isReplyTo(query, message()))
  t.notOk(isReplyTo(query, Buffer.alloc(3)))
  t.end()
})

t.test('an alias is asked for by its own name, with the same id', (t) => {
  const query = read(message(opt(1232)))
  const renamed = renameQuery(query, 'outside.example')
  if (renamed === undefined) throw new Error('outside.example is a name')
  t.match(read(renamed.bytes), { name: 'outside.example', type: 'A', maxUdpBytes: 1232 })
  t.equal(renamed.bytes.readUInt16BE(0), 7)
  t.equal(renamed.questionEnd, read(renamed.bytes).questionEnd)
  t.match(aliasRecord(query, 'outside.example'), { name: 'Web.shop', type: 'CNAME', data: 'outside.example' })
  for (const name of ['a..b', '', 'ä.example', 'a b.example', `${'a'.repeat(64)}.b`, `${'a.'.repeat(127)}a`])
    t.equal(renameQuery(query, name), undefined)
  t.end()
})
