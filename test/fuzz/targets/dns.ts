/** DNS messages: none throws, a query can be answered, and the answer is recognised as its own. */
import { aliasRecord, isReplyTo, readQuery, recordsOf, renameQuery, renderFailure, renderReply } from '#dns'
import { type FuzzTarget, rule } from '../target.ts'

export const dns: FuzzTarget = {
  name: 'dns',
  dictionary: [
    '\x03web\x04shop\x00',
    '\x00\x01\x00\x01',
    '\xc0\x0c',
    '\x00\x00\x29\x10\x00',
    '\x3f',
    '\x00\x1c',
    '\x00\xff',
    '\x01\x00',
    '\x84\x00',
  ],
  maxBytes: 600,
  run(input) {
    recordsOf(input)
    const reading = readQuery(input)
    if (reading.kind === 'drop') return 'drop'
    if (reading.kind === 'reject') {
      rule(reading.reply.length >= 12 && (reading.reply[2] ?? 0) >= 128, () => 'the refusal is no reply')
      return 'reject'
    }
    const { query } = reading
    rule(query.questionEnd <= input.length, () => 'the question ends beyond the message')
    rule(isReplyTo(query, renderFailure(query, 'SERVFAIL')), () => 'a failure is not its reply')
    const answers = [{ type: 'A' as const, name: query.name, address: '10.0.0.1' }, aliasRecord(query, 'web.shop')]
    const reply = renderReply(
      query,
      { rcode: 'NOERROR', answers, additionals: [], authoritative: true },
      query.maxUdpBytes,
    )
    rule(reply.length <= Math.max(query.maxUdpBytes, query.questionEnd), () => `a reply of ${reply.length} bytes`)
    if (query.isPlain) rule(isReplyTo(query, reply), () => 'an answer is not its reply')
    const renamed = renameQuery(query, 'web.shop.svc.cluster.local')
    if (renamed !== undefined) rule(readQuery(renamed.bytes).kind === 'query', () => 'renamed, it is no query')
    isReplyTo(query, input)
    return `${query.isPlain} ${query.hasEdns} ${query.type}`
  },
}
