import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { CniDecider } from '../../../agent/cni/decider.ts'
import { type HandledRequest, startCniServer } from '../../../agent/cni/server.ts'
import { askAgent } from '../../../cni/plugin/ask-agent.ts'
import { type CniAttachment, type CniReply, MAX_REQUEST_BYTES } from '../../../cni/protocol.ts'

const ATTACHMENT: CniAttachment = {
  containerId: 'c1',
  ifName: 'eth0',
  network: 'net',
  netns: '/run/netns/a',
  pod: { namespace: 'shop', name: 'web', uid: 'u1' },
  addresses: ['10.1.0.7'],
}
const LIMITS = { firstLineMs: 5_000, totalMs: 5_000 }

class FakeDecider implements CniDecider {
  readonly calls: unknown[] = []
  reply: CniReply | Promise<CniReply> = { kind: 'enrolled' }
  optedIn = true

  async add(attachment: CniAttachment, onOptedIn: () => void): Promise<CniReply> {
    this.calls.push(['add', attachment])
    if (this.optedIn) onOptedIn()
    return await this.reply
  }

  check(attachment: CniAttachment): Promise<CniReply> {
    this.calls.push(['check', attachment.pod.name])
    return Promise.resolve(this.reply)
  }

  end(key: unknown): void {
    this.calls.push(['end', key])
  }

  collect(network: string, valid: unknown): void {
    this.calls.push(['collect', network, valid])
  }
}

/** A socket's path has at most 107 bytes. */
function shortDir(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'weir-cni-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

async function start(t: Test, requestTimeoutMs?: number) {
  const socketPath = join(shortDir(t), 'cni.sock')
  const decider = new FakeDecider()
  const handled: HandledRequest[] = []
  const server = await startCniServer({
    socketPath,
    decider,
    onHandled: (one) => handled.push(one),
    ...(requestTimeoutMs === undefined ? {} : { requestTimeoutMs }),
  })
  t.teardown(() => server[Symbol.asyncDispose]())
  return { socketPath, decider, handled, server }
}

/** Sends bytes as they are; answers all that comes back until the end. */
async function raw(socketPath: string, bytes: string | Buffer, end = false): Promise<string> {
  const socket = connect(socketPath)
  socket.on('error', () => undefined)
  let text = ''
  socket.setEncoding('utf8')
  socket.on('data', (chunk: string) => {
    text += chunk
  })
  socket.write(bytes)
  if (end) socket.end()
  await once(socket, 'close')
  return text
}

t.test('each request reaches the decider, and its answer the plugin', async (t) => {
  const { socketPath, decider, handled } = await start(t)
  const ask = (request: Parameters<typeof askAgent>[1]) => askAgent(socketPath, request, LIMITS)
  t.same(await ask({ command: 'ADD', attachment: ATTACHMENT }), { kind: 'reply', reply: { kind: 'enrolled' } })
  decider.reply = { kind: 'failed', why: 'no' }
  t.same(await ask({ command: 'CHECK', attachment: ATTACHMENT }), { kind: 'reply', reply: decider.reply })
  const key = { containerId: 'c1', ifName: 'eth0' }
  t.same(await ask({ command: 'DEL', attachment: key }), { kind: 'reply', reply: { kind: 'done' } })
  t.same(await ask({ command: 'GC', network: 'net', valid: [key] }), { kind: 'reply', reply: { kind: 'done' } })
  t.same(await ask({ command: 'STATUS' }), { kind: 'reply', reply: { kind: 'done' } })
  t.same(decider.calls, [
    ['add', ATTACHMENT],
    ['check', 'web'],
    ['end', key],
    ['collect', 'net', [key]],
  ])
  t.match(handled, [
    { command: 'ADD', outcome: 'enrolled', pod: 'shop/web', why: '' },
    { command: 'CHECK', outcome: 'failed', why: 'no' },
    { command: 'DEL', outcome: 'done', pod: '' },
    { command: 'GC', outcome: 'done' },
    { command: 'STATUS', outcome: 'done' },
  ])
})

t.test('only root may open the socket', async (t) => {
  const { socketPath, server } = await start(t)
  t.equal(statSync(socketPath).mode & 0o777, 0o600)
  await server[Symbol.asyncDispose]()
  t.notOk(existsSync(socketPath))
})

t.test('a second server takes over without a gap, and the first leaves its socket alone', async (t) => {
  const { socketPath, server } = await start(t)
  const second = await startCniServer({ socketPath, decider: new FakeDecider() })
  await server[Symbol.asyncDispose]()
  t.match(await askAgent(socketPath, { command: 'STATUS' }, LIMITS), { kind: 'reply' })
  await second[Symbol.asyncDispose]()
  t.notOk(existsSync(socketPath))
})

t.test('an agent that ends after saying that a pod is opted in has said it', async (t) => {
  const { socketPath, decider, server } = await start(t)
  decider.reply = new Promise(() => undefined)
  const asked = askAgent(socketPath, { command: 'ADD', attachment: ATTACHMENT }, { firstLineMs: 5_000, totalMs: 5_000 })
  while (decider.calls.length === 0) await new Promise((resolve) => setImmediate(resolve))
  await new Promise((resolve) => setImmediate(resolve))
  await server[Symbol.asyncDispose]()
  t.match(await asked, { kind: 'away', saidOptedIn: true, refused: false })
})

t.test('a silent agent is given up on, with or without a first line', async (t) => {
  const { socketPath, decider } = await start(t)
  decider.reply = new Promise(() => undefined)
  const request = { command: 'ADD', attachment: ATTACHMENT } as const
  t.match(await askAgent(socketPath, request, { firstLineMs: 5_000, totalMs: 50 }), {
    kind: 'away',
    saidOptedIn: true,
    why: 'gave no answer within 0.05 s',
  })
  decider.optedIn = false
  t.match(await askAgent(socketPath, request, { firstLineMs: 50, totalMs: 5_000 }), {
    kind: 'away',
    saidOptedIn: false,
  })
})

t.test('a path that no socket can have is refused with the remedy', async (t) => {
  const socketPath = `/tmp/${'x'.repeat(120)}/cni.sock`
  await t.rejects(startCniServer({ socketPath, decider: new FakeDecider() }), /longer than 107 bytes; choose a shorter/)
})

t.test('no agent, no socket', async (t) => {
  const dir = t.testdir({})
  t.match(await askAgent(join(dir, 'none'), { command: 'STATUS' }, LIMITS), {
    kind: 'away',
    refused: true,
    why: 'does not answer (ENOENT)',
  })
})

t.test('garbage gets an error, is counted, and reaches nobody', async (t) => {
  const { socketPath, decider, handled } = await start(t)
  const add = (changes: object) => JSON.stringify({ command: 'ADD', attachment: { ...ATTACHMENT, ...changes } })
  const lines = [
    'hello',
    '[]',
    'null',
    '"ADD"',
    '{"command":"__proto__"}',
    '{"command":"ADD"}',
    '{"command":"DEL","attachment":{"containerId":1,"ifName":"e"}}',
    '{"command":"GC","network":"n","valid":{}}',
    `{"command":"GC","network":"n","valid":[${'1,'.repeat(5000)}1]}`,
    add({ netns: 'relative' }),
    add({ netns: '/a\0b' }),
    add({ addresses: Array.from({ length: 100 }, () => 'x') }),
    add({ addresses: 'x' }),
    add({ pod: { namespace: 'shop' } }),
    add({ pod: { namespace: 'shop', name: 'x'.repeat(5000) } }),
    add({ pod: { namespace: 'shop', name: 'web', uid: 7 } }),
    Buffer.from([0xff, 0xfe, 0x00, 0x0a]),
  ]
  for (const line of lines) {
    const answer = await raw(socketPath, Buffer.concat([Buffer.from(line), Buffer.from('\n')]))
    t.match(JSON.parse(answer.split('\n')[0] ?? ''), { kind: 'malformed', why: String }, String(line).slice(0, 60))
  }
  t.equal(handled.filter(({ command, outcome }) => command === 'none' && outcome === 'malformed').length, lines.length)
  t.same(decider.calls, [])
})

t.test('an endless, a cut and a withheld line are refused', async (t) => {
  const { socketPath, handled } = await start(t, 100)
  t.match(await raw(socketPath, 'x'.repeat(MAX_REQUEST_BYTES + 1)), 'longer than')
  t.match(await raw(socketPath, '{"command":', true), 'the line has no end')
  t.match(await raw(socketPath, '{'), 'no whole request arrived in time')
  t.equal(await raw(socketPath, '', true), '', 'a connection that asks nothing is let go')
  t.equal(handled.length, 3)
})

t.test('what follows a request is not a second one', async (t) => {
  const { socketPath, decider } = await start(t)
  t.equal(
    await raw(socketPath, '{"command":"STATUS"}\n{"command":"GC","network":"n","valid":[]}\n'),
    '{"kind":"done"}\n',
  )
  t.same(decider.calls, [])
})

t.test('a strange answer is no answer', async (t) => {
  const { createServer } = await import('node:net')
  const path = join(shortDir(t), 's')
  let answer = ''
  const server = createServer((socket) => socket.on('error', () => undefined).end(answer)).listen(path)
  t.teardown(() => server.close())
  await once(server, 'listening')
  for (answer of ['', '{}\n', 'enrolled\n', '{"kind":"failed"}\n', 'x'.repeat(100_000), '{"kind":"opted-in"}\n']) {
    const asked = await askAgent(path, { command: 'STATUS' }, LIMITS)
    t.match(asked, { kind: 'away', saidOptedIn: answer.includes('opted-in') }, answer.slice(0, 30))
  }
})
