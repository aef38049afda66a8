/** A thread of the agent that is told to end, dies, or takes more memory than it has: with real threads. */
import { once } from 'node:events'
import pino from 'pino'
import t from 'tap'
import { WorkerThread } from '../../../agent/worker-thread.ts'

type ToTest = { readonly type: 'echo' | 'die' | 'fill' | 'grow' | 'stop' | 'hang' }
type FromTest = { readonly type: 'echoed' }

const GUARD = new URL('../../../agent/heap-guard.ts', import.meta.url)
/** Does what it is told: `fill` in one turn, `grow` turn by turn, into a table that doubles. */
const MODULE = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort } from 'node:worker_threads'
    import { guardHeap } from '${GUARD.href}'
    guardHeap()
    const held = []
    const table = new Map()
    const grow = () => {
      for (let i = 0; i < 20_000; i++) table.set(String(table.size), i)
      setImmediate(grow)
    }
    const does = {
      echo: () => parentPort.postMessage({ type: 'echoed' }),
      die: () => { throw new Error('a mistake') },
      fill: () => { for (;;) held.push({ at: held.length, texts: [String(held.length)] }) },
      grow,
      hang: () => { for (;;); },
      stop: () => {
        parentPort.postMessage({ type: 'problem', problem: 'half of it is left' })
        parentPort.postMessage({ type: 'stopped' })
        parentPort.close()
      },
    }
    parentPort.on('message', ({ type }) => does[type]())
  `)}`,
)

function started(stopTimeoutMs = 5_000) {
  const lines: Record<string, unknown>[] = []
  const heard = new EventTarget()
  const tell = (name: string) => heard.dispatchEvent(new Event(name))
  const thread = new WorkerThread<ToTest, FromTest>({
    module: MODULE,
    name: 'test',
    workerData: undefined,
    heapMib: { old: 64, young: 4 },
    stopTimeoutMs,
    log: pino({}, { write: (line: string) => lines.push(JSON.parse(line)) }),
    first: () => [{ type: 'echo' }],
    onMessage: ({ type }) => tell(type),
    onEnded: () => tell('ended'),
  })
  return { thread, lines, told: (name: string) => once(heard, name) }
}

t.test('it starts with the first thing that it is told, and ends when it is told to', async (t) => {
  const { thread, lines, told } = started()
  thread.sayIfRunning({ type: 'echo' })
  t.notOk(thread.isRunning)
  const echoed = told('echoed')
  thread.say({ type: 'echo' })
  t.ok(thread.isRunning)
  await echoed
  await thread.stop({ type: 'stop' })
  t.notOk(thread.isRunning)
  t.match(lines, [{ level: 40, problem: 'half of it is left' }])
  thread.say({ type: 'echo' })
  t.notOk(thread.isRunning, 'nothing is begun again')
})

t.test('one that does not listen is ended', async (t) => {
  const { thread, told } = started(1)
  const ended = told('ended')
  thread.say({ type: 'hang' })
  await thread.stop({ type: 'stop' })
  await ended
  t.notOk(thread.isRunning)
})

for (const [how, does] of [
  ['fill', 'in one turn'],
  ['grow', 'by a table, which would be too large for what is left when it doubles'],
] as const) {
  t.test(`one that runs out of memory ${does} ends alone, which is said, and begins anew`, async (t) => {
    const { thread, lines, told } = started()
    const ended = told('ended')
    thread.say({ type: how })
    await ended
    t.notOk(thread.isRunning)
    t.match(lines, [
      { level: 50, msg: 'test thread failed', problem: /^The test thread needed more than its 32 MiB of memory/ },
    ])
    const echoed = told('echoed')
    thread.say({ type: 'echo' })
    await echoed
    await thread.stop({ type: 'stop' })
  })
}

t.test('one that makes a mistake says which', async (t) => {
  const { thread, lines, told } = started()
  const ended = told('ended')
  thread.say({ type: 'die' })
  await ended
  t.match(lines, [{ level: 50, msg: 'test thread failed', err: { message: 'a mistake' } }])
})
