/** Lines shipped: each once, whatever becomes of the files and of who ships them. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import type { LogsConfig } from '#logs'
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
