/**
 * DNS messages to and from values: the codec is `dns-packet`, which throws whatever it meets in bytes that make no
 * sense; nothing here does. Only the question of a query is looked at, and the size its sender can take: a query
 * that is passed on, and its reply, keep their bytes.
 */
import { randomInt } from 'node:crypto'
import codec, { type Answer, type Packet, type Question } from 'dns-packet'
import type { MeshRecord } from './mesh-names.ts'

/** Numbers of RFC 1035 section 4.1.1. */
export const RCODE = { NOERROR: 0, FORMERR: 1, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4, REFUSED: 5 } as const
export type Rcode = keyof typeof RCODE

export interface Query {
  readonly bytes: Buffer
  readonly questionEnd: number
  /** Lower case, without the dot at the end. */
  readonly name: string
  readonly type: string
  /** Class IN, and a name that reads the same written down again: only such can be a name of the mesh. */
  readonly isPlain: boolean
  /** Largest reply over UDP, bytes: what EDNS allows within what crosses a network unfragmented, else 512. */
  readonly maxUdpBytes: number
  readonly hasEdns: boolean
  readonly question: Question
}

export type QueryReading =
  | { readonly kind: 'query'; readonly query: Query }
  /** Nothing that can be answered or passed on: a reply that says so. */
  | { readonly kind: 'reject'; readonly reply: Buffer }
  /** No query at all: a reply to it could start a loop. */
  | { readonly kind: 'drop' }

const HEADER_BYTES = 12
const PLAIN_UDP_BYTES = 512
/** Over loopback nothing is fragmented; more than this nobody asks for. */
const MOST_UDP_BYTES = 4096
const MAX_NAME = 253
const PRINTABLE = /^[!-~]+$/
const MAX_LABEL = 63
const RESPONSE = 0x8000
const OPCODE = 0x7800
const TTL_SECONDS = 30

export function readQuery(bytes: Buffer): QueryReading {
  if (bytes.length < HEADER_BYTES || (bytes.readUInt16BE(2) & RESPONSE) !== 0) return { kind: 'drop' }
  const flags = bytes.readUInt16BE(2)
  const reject = (rcode: Rcode): QueryReading => ({ kind: 'reject', reply: failure(bytes, HEADER_BYTES, rcode) })
  if (((flags >> 11) & 0xf) !== 0) return reject('NOTIMP')
  if (bytes.readUInt16BE(4) !== 1) return reject('FORMERR')
  // The question alone, whatever follows it.
  const alone = Buffer.from(bytes)
  alone.fill(0, 6, HEADER_BYTES)
  const question = decode(alone)?.questions?.[0]
  if (question === undefined) return reject('FORMERR')
  const questionEnd = codec.decode.bytes
  const udpBytes = readUdpSize(bytes)
  const query = {
    bytes,
    questionEnd,
    name: question.name.toLowerCase(),
    type: question.type,
    isPlain: question.class === 'IN' && isSame(question, bytes.subarray(HEADER_BYTES, questionEnd)),
    maxUdpBytes: Math.min(Math.max(udpBytes ?? 0, PLAIN_UDP_BYTES), MOST_UDP_BYTES),
    hasEdns: udpBytes !== undefined,
    question,
  }
  return { kind: 'query', query }
}

/** An answer without a record, for a query that may be anything. */
export function renderFailure(query: Query, rcode: Rcode): Buffer {
  return failure(query.bytes, query.questionEnd, rcode)
}

function failure(bytes: Buffer, end: number, rcode: Rcode): Buffer {
  const reply = Buffer.from(bytes.subarray(0, end))
  const { RECURSION_DESIRED, RECURSION_AVAILABLE } = codec
  const kept = bytes.readUInt16BE(2) & (OPCODE | RECURSION_DESIRED)
  reply.writeUInt16BE(RESPONSE | kept | RECURSION_AVAILABLE | RCODE[rcode], 2)
  reply.fill(0, 4, HEADER_BYTES)
  if (end > HEADER_BYTES) reply.writeUInt16BE(1, 4)
  return reply
}

/** What the sender's OPT record says (RFC 6891); undefined without one. */
function readUdpSize(bytes: Buffer): number | undefined {
  if (bytes.readUInt16BE(10) === 0) return undefined
  for (const record of decode(bytes)?.additionals ?? []) if (record.type === 'OPT') return record.udpPayloadSize
  return undefined
}

/** A label may hold any byte, dots too: written down, it would be two. */
function isSame(question: Question, asked: Buffer): boolean {
  try {
    return codec
      .encode({ questions: [question] })
      .subarray(HEADER_BYTES)
      .equals(asked)
  } catch {
    return false
  }
}

function decode(bytes: Buffer): Packet | undefined {
  try {
    return codec.decode(bytes)
  } catch {
    return undefined
  }
}

export interface Reply {
  readonly rcode: Rcode | number
  readonly answers: readonly (MeshRecord | Answer)[]
  readonly additionals: readonly (MeshRecord | Answer)[]
  readonly authoritative: boolean
}

/**
 * Records of somebody else that cannot be written again make it a SERVFAIL.
 * @param maxBytes what does not fit goes without its records, marked as truncated: the client asks over TCP
 */
export function renderReply(query: Query, reply: Reply, maxBytes: number): Buffer {
  try {
    return render(query, reply, maxBytes)
  } catch {
    return renderFailure(query, 'SERVFAIL')
  }
}

function render(query: Query, reply: Reply, maxBytes: number): Buffer {
  const rcode = typeof reply.rcode === 'number' ? reply.rcode : RCODE[reply.rcode]
  const flags =
    rcode |
    codec.RECURSION_AVAILABLE |
    (query.bytes.readUInt16BE(2) & codec.RECURSION_DESIRED) |
    (reply.authoritative ? codec.AUTHORITATIVE_ANSWER : 0)
  const opt = query.hasEdns ? [OPT] : []
  const head = { id: query.bytes.readUInt16BE(0), type: 'response' as const, questions: [query.question] }
  const answers = reply.answers.map((record) => toAnswer(record, query))
  for (const additionals of [reply.additionals.map((record) => toAnswer(record, query)), []]) {
    const whole = codec.encode({ ...head, flags, answers, additionals: [...additionals, ...opt] })
    if (whole.length <= maxBytes) return whole
  }
  return codec.encode({ ...head, flags: flags | codec.TRUNCATED_RESPONSE, additionals: opt })
}

const OPT: Answer = {
  type: 'OPT',
  name: '.',
  udpPayloadSize: MOST_UDP_BYTES,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
}

/** A record of the asked name carries it as it was asked: clients may compare letter by letter. */
function toAnswer(record: MeshRecord | Answer, query: Query): Answer {
  if (!('address' in record) && !('target' in record)) return record
  const name = record.name === query.name ? query.question.name : record.name
  const head = { name, ttl: TTL_SECONDS, class: 'IN' } as const
  if (record.type === 'SRV') {
    return { ...head, type: 'SRV', data: { priority: 0, weight: 100, port: record.port, target: record.target } }
  }
  return { ...head, type: record.type, data: record.address }
}

function isName(text: string): boolean {
  return (
    text.length <= MAX_NAME &&
    PRINTABLE.test(text) &&
    text.split('.').every((label) => label.length > 0 && label.length <= MAX_LABEL)
  )
}

/** The query's name is an alias of `target`, as a record. */
export function aliasRecord(query: Query, target: string): Answer {
  return { name: query.question.name, type: 'CNAME', ttl: TTL_SECONDS, class: 'IN', data: target }
}

/** A question of our own, with a random id; undefined when the name can be none. */
export function newQuery(name: string, type: 'A' | 'AAAA'): Query | undefined {
  if (!isName(name)) return undefined
  const question: Question = { type, class: 'IN', name }
  const bytes = codec.encode({
    id: randomInt(65_536),
    type: 'query',
    flags: codec.RECURSION_DESIRED,
    questions: [question],
    additionals: [{ ...OPT, udpPayloadSize: MOST_UDP_BYTES } as Answer],
  })
  const questionEnd = codec.encode({ questions: [question] }).length
  const rest = { isPlain: true, maxUdpBytes: MOST_UDP_BYTES, hasEdns: true }
  return { bytes, question, questionEnd, name: name.toLowerCase(), type, ...rest }
}

/** The same question about another name; undefined when that can be none. */
export function renameQuery(query: Query, name: string): Query | undefined {
  if (!isName(name)) return undefined
  const bytes = codec.encode({
    id: query.bytes.readUInt16BE(0),
    type: 'query',
    flags: codec.RECURSION_DESIRED,
    questions: [{ ...query.question, name }],
    additionals: query.hasEdns ? [{ ...OPT, udpPayloadSize: query.maxUdpBytes } as Answer] : [],
  })
  const question = { ...query.question, name }
  const questionEnd = codec.encode({ questions: [question] }).length
  return { ...query, bytes, question, questionEnd, name: name.toLowerCase() }
}

/** True when `bytes` are a reply to the query: its id and its question, in letters of either case. */
export function isReplyTo(query: Query, bytes: Buffer): boolean {
  if (bytes.length < HEADER_BYTES || bytes.readUInt16BE(0) !== query.bytes.readUInt16BE(0)) return false
  if ((bytes.readUInt16BE(2) & RESPONSE) === 0) return false
  // A server that could not read the query need not repeat the question.
  if (bytes.readUInt16BE(4) === 0) return (bytes.readUInt16BE(2) & 0xf) !== RCODE.NOERROR
  const questionOf = (message: Buffer) => message.toString('latin1', HEADER_BYTES, query.questionEnd).toLowerCase()
  return questionOf(bytes) === questionOf(query.bytes)
}

/** What an upstream's reply says; undefined when it cannot be read. Truncated means: ask again over TCP. */
export function recordsOf(
  bytes: Buffer,
): { readonly rcode: number; readonly isTruncated: boolean; readonly answers: readonly Answer[] } | undefined {
  const packet = decode(bytes)
  if (packet === undefined) return undefined
  const flags = bytes.readUInt16BE(2)
  return { rcode: flags & 0xf, isTruncated: (flags & codec.TRUNCATED_RESPONSE) !== 0, answers: packet.answers ?? [] }
}
