/** Lines shipped: each once, whatever becomes of the files and of who ships them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { LogService, type LogsConfig } from '#logs'
import { LogWriter } from '../support/log-writer.ts'

const COMMAND = join(import.meta.dirname, '../support/log-shipper-command.ts')

function configOf(directory: string, changes: Partial<LogsConfig> = {}): LogsConfig {
  return {
    node: 'node-1',
    root: join(directory, 'pods'),
    which: 'all',
    stateFolder: join(directory, 'state'),
    keepMs: 0,
    keepBytes: 0,
    file: { path: join(directory, 'out.json'), maxBytes: 48 << 20, files: 1000 },
    otlpUrl: undefined,
    access: { kind: 'none', why: 'test' },
    ...changes,
  }
}

interface Shipped {
  readonly pod: string
  readonly message: string
}

/** The oldest first. */
function outFiles(directory: string): readonly string[] {
  const rotated = readdirSync(directory)
    .filter((name) => /^out\.json\.\d+$/.test(name))
    .sort((a, b) => Number(b.slice(9)) - Number(a.slice(9)))
  return [...rotated, 'out.json'].map((name) => join(directory, name)).filter((path) => existsSync(path))
}

async function* shipped(directory: string): AsyncGenerator<Shipped> {
  for (const path of outFiles(directory)) {
    for await (const line of createInterface({ input: createReadStream(path) })) yield JSON.parse(line) as Shipped
  }
}

/** Until the file ends with lines that hold all these. */
async function shippedUpTo(directory: string, last: readonly string[]): Promise<void> {
  const left = new Set(last)
  const seen = new Map<string, number>()
  while (left.size > 0) {
    for (const path of outFiles(directory)) {
      const { size, ino } = statSync(path)
      const key = String(ino)
      if (seen.get(key) === size) continue
      seen.set(key, size)
      const text = readFileSync(path, 'utf8')
      for (const one of left) if (text.includes(one)) left.delete(one)
    }
    await sleep(50)
  }
}

async function start(t: Test, config: LogsConfig): Promise<ChildProcess> {
  const { NODE_OPTIONS: _, ...env } = process.env
  const child = spawn(process.execPath, [COMMAND, JSON.stringify(config)], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  if (child.stdout === null) throw new Error('no output')
  await once(child.stdout, 'data')
  return child
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  const exit = once(child, 'exit')
  child.kill(signal)
  await exit
}

t.test('a million numbered lines arrive once each, over rotations, truncations, restarts and kills', async (t) => {
  const directory = t.testdir({ pods: {}, state: {} })
  const config = configOf(directory)
  const pods = ['a', 'b', 'c', 'd']
  const perPod = 250_000
  const step = 2_500
  const writers = pods.map((pod) => new LogWriter(config.root, `shop_${pod}_uid-${pod}`))
  let child = await start(t, config)
  for (let from = 0; from < perPod; from += step) {
    const round = from / step
    for (const [index, writer] of writers.entries()) {
      const lines = Array.from({ length: step }, (_, i) => `line ${from + i} ${'.'.repeat(40 + ((from + i) % 40))}`)
      // A part of a line is at the end of a slice, of a file, and of a run of the shipper, and its rest after it.
      const parted = lines.pop() ?? ''
      writer.write(lines)
      writer.writeRaw(`2026-11-21T11:00:00.${String(from + index).padStart(9, '0')}Z stdout P ${parted.slice(0, 8)}\n`)
      if (round % 7 === index && index === 3) writer.copyTruncate()
      else if (round % 7 === index) writer.rotate()
      writer.writeRaw(`2026-11-21T11:00:00.${String(from + index).padStart(9, '0')}Z stdout F ${parted.slice(8)}\n`)
    }
    if (round % 20 === 10) {
      await end(child, round % 40 === 10 ? 'SIGTERM' : 'SIGKILL')
      // Two of them are rotated twice while nobody looks: what was not read is in a compressed file.
      if (round === 50) for (const writer of writers.slice(0, 2)) for (let n = 0; n < 2; n++) writer.rotate()
      child = await start(t, config)
    }
    await sleep(1)
  }
  await shippedUpTo(
    directory,
    pods.map(
      (pod) => `"pod":"${pod}","container":"app","node":"node-1","uid":"uid-${pod}","message":"line ${perPod - 1} `,
    ),
  )
  await end(child, 'SIGTERM')
  const next = new Map<string, number>()
  let wrong = 0
  for await (const { pod, message } of shipped(directory)) {
    const expected = next.get(pod) ?? 0
    if (!message.startsWith(`line ${expected} `)) {
      wrong++
      if (wrong < 5) t.fail(`pod ${pod}: expected line ${expected}, got ${message.slice(0, 20)}`)
    }
    next.set(pod, Number(/^line (\d+) /.exec(message)?.[1] ?? expected) + 1)
  }
  t.equal(wrong, 0, 'each follows the one before')
  t.same(Object.fromEntries(next), { a: perPod, b: perPod, c: perPod, d: perPod })
  t.ok(outFiles(directory).length > 2, 'the file was rotated meanwhile')
})

interface OtlpAttribute {
  readonly key: string
  readonly value: { readonly stringValue?: string }
}
interface OtlpLogs {
  readonly resourceLogs: readonly {
    readonly resource: { readonly attributes: readonly OtlpAttribute[] }
    readonly scopeLogs: readonly {
      readonly logRecords: readonly {
        readonly timeUnixNano: string
        readonly body: { readonly stringValue: string }
        readonly traceId?: string
        readonly spanId?: string
        readonly attributes: readonly OtlpAttribute[]
      }[]
    }[]
  }[]
}

/** A collector: answers as told, keeps what it took. */
async function collector(t: Test, answer: (asked: number) => number) {
  const taken: OtlpLogs[] = []
  let asked = 0
  const changed = { resolve: () => {} }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const status = answer(++asked)
      if (status === 200) taken.push(JSON.parse(Buffer.concat(chunks).toString()))
      response.writeHead(status, { 'content-type': 'application/json' }).end('{}')
      changed.resolve()
    })
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => server.close())
  const { port } = server.address() as AddressInfo
  const bodies = () =>
    taken.flatMap(({ resourceLogs }) =>
      resourceLogs.flatMap(({ scopeLogs }) => scopeLogs.flatMap(({ logRecords }) => logRecords)),
    )
  const until = async (isEnough: () => boolean) => {
    while (!isEnough()) {
      const { promise, resolve } = Promise.withResolvers<void>()
      changed.resolve = resolve
      await promise
    }
  }
  return { url: `http://127.0.0.1:${port}/v1/logs`, taken, bodies, until, asked: () => asked }
}

function attributes(list: readonly OtlpAttribute[]): Record<string, string | undefined> {
  return Object.fromEntries(list.map(({ key, value }) => [key, value.stringValue]))
}

const POD = {
  uid: 'uid-web',
  namespace: 'shop',
  name: 'web-1',
  node: 'node-1',
  serviceAccount: 'web',
  owner: 'web',
  labels: {},
  enrolled: true,
}

t.test(
  'a collector gets each line with whose it is and its trace, also when it was away, and over a restart',
  async (t) => {
    const directory = t.testdir({ pods: {}, state: {} })
    const otlp = await collector(t, (asked) => (asked === 1 ? 503 : 200))
    const config = configOf(directory, { which: 'enrolled', file: undefined, otlpUrl: otlp.url })
    const writer = new LogWriter(config.root, 'shop_web-1_uid-web')
    new LogWriter(config.root, 'shop_other_uid-other').write(['not enrolled'])
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736'
    writer.write(['one'])
    writer.write([`two traceparent=00-${trace}-00f067aa0ba902b7-01`], 'stderr')
    const run = async (count: number) => {
      const service = new LogService(config, () => {}, Date.now)
      service.setPods([POD])
      await service.begin()
      await otlp.until(() => otlp.bodies().length >= count)
      await service.stop()
    }
    await run(2)
    writer.rotate()
    writer.write(['three'])
    await run(3)
    t.same(
      otlp.bodies().map(({ body }) => body.stringValue.slice(0, 5)),
      ['one', 'two t', 'three'],
    )
    t.ok(otlp.asked() > 2, 'the first time it did not take them')
    const [one, two] = otlp.bodies()
    t.equal(one?.timeUnixNano.slice(0, 10), String(Date.UTC(2026, 10, 21, 10) / 1000))
    t.equal(one?.traceId, undefined)
    t.match(two, { traceId: trace, spanId: '00f067aa0ba902b7' })
    t.equal(attributes(two?.attributes ?? [])['log.iostream'], 'stderr')
    t.match(attributes(otlp.taken[0]?.resourceLogs[0]?.resource.attributes ?? []), {
      'service.name': 'web',
      'k8s.namespace.name': 'shop',
      'k8s.pod.name': 'web-1',
      'k8s.pod.uid': 'uid-web',
      'k8s.container.name': 'app',
      'k8s.node.name': 'node-1',
    })
  },
)

t.test('what a collector refuses is counted as lost and said, and the next is sent', async (t) => {
  const directory = t.testdir({ pods: {}, state: {} })
  const otlp = await collector(t, (asked) => (asked === 1 ? 400 : 200))
  const config = configOf(directory, { file: undefined, otlpUrl: otlp.url })
  const writer = new LogWriter(config.root, 'shop_web-1_uid-web')
  writer.write(['refused'])
  const problems: string[] = []
  const service = new LogService(config, (problem) => problems.push(problem), Date.now)
  await service.begin()
  await otlp.until(() => otlp.asked() === 1)
  writer.write(['taken'])
  await otlp.until(() => otlp.bodies().length > 0)
  const [sink] = service.status().sinks
  await service.stop()
  t.same(
    otlp.bodies().map(({ body }) => body.stringValue),
    ['taken'],
  )
  t.equal(sink?.lost, 1)
  t.match(problems.join(), /Logs not taken by http.*1 lines are given up/)
})

t.test('a file that is full is rotated, and no more files are kept than were asked for', async (t) => {
  const directory = t.testdir({ pods: {}, state: {} })
  const config = configOf(directory, { file: { path: join(directory, 'out.json'), maxBytes: 100_000, files: 3 } })
  const writer = new LogWriter(config.root, 'shop_web-1_uid-web')
  const service = new LogService(config, () => {}, Date.now)
  await service.begin()
  const filler = '.'.repeat(300)
  for (let n = 0; n < 5; n++) {
    writer.write(Array.from({ length: 1000 }, (_, i) => `n${n * 1000 + i} ${filler}`))
    await shippedUpTo(directory, [`n${n * 1000 + 999} `])
  }
  await service.stop()
  t.same(
    readdirSync(directory).filter((name) => name.startsWith('out')),
    ['out.json', 'out.json.1', 'out.json.2'],
  )
})
