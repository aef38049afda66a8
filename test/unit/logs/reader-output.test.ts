import t from 'tap'
import { mergeLines } from '../../../src/logs/merge-lines.ts'
import { ReaderOutput } from '../../../src/logs/reader-output.ts'

const record = (n: number) => JSON.stringify({ n, text: 'x'.repeat(1000) })

t.test('a reader that does not read is told how many lines are missing, at the place where they are', async (t) => {
  const frames: string[] = []
  const output = new ReaderOutput({ send: (frame) => frames.push(frame), maxFrames: 2, maxWaiting: 100_000 })
  for (let n = 0; n < 1000; n++) output.offer(record(n))
  t.equal(frames.length, 2, 'no more than two are under way')
  const before = output.lostLines
  t.ok(before > 0)
  for (let acknowledged = 0; acknowledged < frames.length; acknowledged++) output.acknowledge()
  output.offer(record(1000))
  output.flush()
  output.acknowledge()
  output.acknowledge()
  const records = frames
    .join('')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
  const at = records.findIndex(({ kind }) => kind === 'lost')
  t.equal(records[at].lines, before)
  t.same(
    records.slice(0, at).map(({ n }) => n),
    Array.from({ length: at }, (_, n) => n),
    'none missing before',
  )
  t.equal(at + before, 1000, 'and all after are counted')
  t.equal(records.at(-1).n, 1000)
})

t.test('whoever writes what is there waits for the reader, and loses nothing', async (t) => {
  const frames: string[] = []
  const output = new ReaderOutput({ send: (frame) => frames.push(frame), maxFrames: 1 })
  let written = 0
  const writing = (async () => {
    for (; written < 500; written++) await output.write(record(written))
    await output.finish()
  })()
  await new Promise((resolve) => setImmediate(resolve))
  t.ok(written < 200, `${written} were written ahead`)
  let done = false
  void writing.then(() => {
    done = true
  })
  for (let acknowledged = 0; !done; acknowledged++) {
    if (acknowledged < frames.length) output.acknowledge()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const records = frames
    .join('')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
  t.same(
    records.map(({ n }) => n),
    Array.from({ length: 500 }, (_, n) => n),
  )
})

t.test('a reader that leaves lets go of whoever waits for it', async (t) => {
  const output = new ReaderOutput({ send: () => {}, maxFrames: 0 })
  const waits = (async () => {
    for (let n = 0; n < 500; n++) await output.write(record(n))
    await output.finish()
  })()
  output.end()
  await waits
  t.pass('it went on')
})

t.test('lines of several writers come in the order of time, each writer’s in its own', async (t) => {
  const source = async function* (blocks: readonly (readonly number[])[]) {
    for (const block of blocks) yield block.map((micros) => ({ micros }))
  }
  const sources = [
    { of: 'a', blocks: source([[1, 5], [6]]) },
    { of: 'b', blocks: source([[2, 2, 9]]) },
    { of: 'c', blocks: source([]) },
    { of: 'd', blocks: source([[4, 3], [10]]) },
  ]
  const merged: string[] = []
  for await (const [of, { micros }] of mergeLines(sources)) merged.push(`${of}${micros}`)
  t.same(merged, ['a1', 'b2', 'b2', 'd4', 'd3', 'a5', 'a6', 'b9', 'd10'])
})
