/**
 * Whatever Weir forwards, Node's own parser and HAProxy read as the same one message, with nothing left over. The real
 * HTTP connection of the proxy, without sockets, forwards what a fuzzer's client sends.
 */
import { METHODS } from 'node:http'
import t from 'tap'
import { clientBytes } from '../fuzz/http1-requests.ts'
import { Random } from '../fuzz/random.ts'
import { type Forwarded, forwardedMessages } from '../support/forwarded-messages.ts'
import { type Http1Reader, openHaproxyReader, openNodeReader, type ReadMessage } from '../support/http1-readers.ts'
import { fakeExchange } from '../unit/proxy/fake-exchange.ts'

const SEED = 20_261_121
const CONNECTIONS = 8000
const PER_BATCH = 40

/** What leaves for the server when a client sends this, cut in pieces; each request is answered as soon as it is whole. */
async function forwarded(random: Random, text: string): Promise<string[]> {
  const { client, upstreams } = fakeExchange()
  const cut = random.below(3) === 0 ? 1 + random.below(text.length) : text.length
  const pieces = [text.slice(0, cut), text.slice(cut)].filter((piece) => piece !== '')
  const answered: number[] = []
  for (let round = 0; round < 6; round++) {
    const piece = pieces.shift()
    if (piece !== undefined) client.receive(piece)
    // Dialling takes a turn of the event loop's.
    await new Promise((resolve) => setImmediate(resolve))
    for (const [i, upstream] of upstreams.entries()) {
      const whole = forwardedMessages(upstream.written).messages.length
      for (let from = answered[i] ?? 0; from < whole; from++)
        upstream.receive('HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n')
      answered[i] = whole
    }
  }
  return upstreams.map(({ written }) => written)
}

/** Neither says anything about the message: between two hops only. */
const HOP_FIELDS = new Set(['connection', 'keep-alive', 'te', 'upgrade'])

function meaning({ method, target, fields, body, trailers }: ReadMessage): string {
  const own = fields.filter((line) => !HOP_FIELDS.has(line.slice(0, line.indexOf(':'))))
  const authority = /^https?:\/\//i.test(target)
  return JSON.stringify({
    method,
    target: authority ? withoutPort(target) : target,
    fields: (authority ? own.map((line) => (line.startsWith('host:') ? withoutPort(line) : line)) : own).sort(),
    body,
    trailers: [...trailers].sort(),
  })
}

/** HAProxy leaves out the port that the scheme means (RFC 3986 section 6.2.3). */
function withoutPort(text: string): string {
  return text.replace(/:(?:80|443)(?=$|[/?])/, '')
}

function marker(i: number): string {
  return `/marker-${i}`
}

/**
 * Each message with a marker behind it, on one connection: undefined when all are read as they are meant. Nothing follows
 * what asks for a tunnel: Weir itself waits for the answer there.
 */
async function firstMisread(reader: Http1Reader, batch: readonly Forwarded[]): Promise<string | undefined> {
  const isMarked = !batch.some(({ isTunnel }) => isTunnel)
  const behind = (i: number) => (isMarked ? `GET ${marker(i)} HTTP/1.1\r\nhost: marker\r\n\r\n` : '')
  const wire = batch.map((one, i) => `${one.wire}${behind(i)}`).join('')
  const seen = await reader.read(wire, isMarked ? marker(batch.length - 1) : (batch[0]?.message.target ?? ''))
  const expected = batch.flatMap(({ message }, i) => [meaning(message), ...(isMarked ? [marker(i)] : [])])
  const found = seen.map((message) => (message.target.startsWith('/marker-') ? message.target : meaning(message)))
  for (const [i, wanted] of expected.entries()) {
    if (found[i] !== wanted) return `${reader.name} reads ${found[i]} instead of ${wanted}: ${JSON.stringify(wire)}`
  }
  return found.length === expected.length
    ? undefined
    : `${reader.name} reads more than there is: ${JSON.stringify(wire)}`
}

const random = new Random(SEED)
const all = new Map<string, Forwarded>()
let tunnels = 0

t.test('what is forwarded is whole messages, one for each that is answered', async (t) => {
  let broken = 0
  for (let i = 0; i < CONNECTIONS; i++) {
    const text = clientBytes(random, i)
    for (const written of await forwarded(random, text)) {
      const { messages, rest, problem } = forwardedMessages(written)
      if (problem !== '') t.fail(`${problem}: ${JSON.stringify([text, written])}`)
      if (rest !== '') broken++
      for (const one of messages) {
        if (one.isTunnel) tunnels++
        // A method that Node does not know it refuses.
        if (METHODS.includes(one.message.method) && one.message.method !== 'CONNECT') all.set(one.wire, one)
      }
    }
  }
  t.comment(`${all.size} different messages, ${broken} cut off by the client, ${tunnels} that ask for a tunnel`)
  t.ok(all.size > CONNECTIONS / 3, 'many of them reach the server')
})

for (const open of [openNodeReader, openHaproxyReader]) {
  t.test(`${open === openNodeReader ? 'node:http' : 'HAProxy'} reads each as the same one message`, async (t) => {
    await using reader = await open()
    const marked = [...all.values()].filter(({ isTunnel }) => !isTunnel)
    const batches: Forwarded[][] = [...all.values()].filter(({ isTunnel }) => isTunnel).map((one) => [one])
    for (let at = 0; at < marked.length; at += PER_BATCH) batches.push(marked.slice(at, at + PER_BATCH))
    const wrong: string[] = []
    for (const batch of batches) {
      if ((await firstMisread(reader, batch)) === undefined) continue
      for (const one of batch) {
        const misread = await firstMisread(reader, [one])
        if (misread !== undefined) wrong.push(misread)
      }
    }
    t.equal(wrong.join('\n'), '')
  })

  t.test(`${open === openNodeReader ? 'node:http' : 'HAProxy'} would be caught reading otherwise`, async (t) => {
    await using reader = await open()
    const message = {
      method: 'POST',
      target: '/',
      fields: ['host: web', 'content-length: 5'],
      body: 'hello',
      trailers: [],
    }
    const isTunnel = false
    const head = 'POST / HTTP/1.1\r\nhost: web\r\ncontent-length: '
    t.equal(await firstMisread(reader, [{ isTunnel, wire: `${head}5\r\n\r\nhello`, message }]), undefined)
    t.match(await firstMisread(reader, [{ isTunnel, wire: `${head}4\r\n\r\nhello`, message }]), /reads/)
    t.match(await firstMisread(reader, [{ isTunnel, wire: `${head}6\r\n\r\nhello`, message }]), /reads/)
  })
}
