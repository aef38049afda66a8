/** The fuzzer finds what is broken on purpose, in each of the ways it looks for, and the same again from the same seed. */
import t from 'tap'
import { type RunOptions, runTarget } from '../../fuzz/run-target.ts'

const module = new URL('../../fuzz/canaries.ts', import.meta.url).href
const run = (target: string, more: Partial<RunOptions> = {}) =>
  runTarget({ module, target, seeds: [Buffer.from('5\r\nhello\r\n0\r\n\r\n')], seed: 7, iterations: 50_000, ...more })

t.test('a reader that takes what another refuses is found, and again from the same seed', async (t) => {
  const { finding, tried } = await run('careless-chunks')
  t.equal(finding?.kind, 'wrong')
  t.match(finding?.problem, /BrokenRule: read as/)
  t.match(finding?.input.toString('latin1'), /[^\r]\n/)
  const again = await run('careless-chunks')
  t.same(again.finding?.input, finding?.input)
  t.equal(again.tried, tried)
  const other = await run('careless-chunks', { seed: 8 })
  t.equal(other.finding?.kind, 'wrong')
  const kept = await run('careless-chunks', { seeds: finding === undefined ? [] : [finding.input], iterations: 0 })
  t.equal(kept.finding?.kind, 'wrong', 'kept as a seed, it fails at once')
})

t.test('an input that never comes back is found, and the thread ended', async (t) => {
  const { finding } = await run('hangs', { hangMs: 500, seeds: [] })
  t.equal(finding?.kind, 'hang')
  t.ok((finding?.input.length ?? 0) > 2)
})

t.test('memory that is not given back is found, in buffers and on the heap', async (t) => {
  t.match((await run('keeps-buffers')).finding?.problem, /Buffers of more than/)
  t.equal((await run('fills-the-heap')).finding?.kind, 'memory')
})

t.test('nothing is found where nothing is broken', async (t) => {
  const { finding, tried } = await run('careless-chunks', { iterations: 0 })
  t.equal(finding, undefined)
  t.equal(tried, 1)
})

t.test('a target that does not exist is an error, not a success', async (t) => {
  await t.rejects(run('no-such-target'), /No target no-such-target/)
})
