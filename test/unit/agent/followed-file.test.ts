import { renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { fileState, isMissingFile, readBounded } from '../../../agent/followed-file.ts'

t.test('a file that was written, replaced or removed is another one', async (t) => {
  const file = join(t.testdir({ one: 'a' }), 'one')
  const states = [await fileState(file)]
  t.equal(await fileState(file), states[0], 'looking changes nothing')
  writeFileSync(file, 'ab')
  states.push(await fileState(file))
  writeFileSync(`${file}.new`, 'ab')
  renameSync(`${file}.new`, file)
  states.push(await fileState(file))
  rmSync(file)
  states.push(await fileState(file))
  t.equal(new Set(states).size, 4)
  t.equal(states.at(-1), '')
  t.equal(await fileState(join(file, 'below')), '', 'nor is there one in a directory that is not there')
})

t.test('what is larger is not read whole, even where it has no end', async (t) => {
  const file = join(t.testdir({ four: 'äb4' }), 'four')
  t.equal(await readBounded(file, 4), 'äb4', 'counted in bytes')
  t.equal(await readBounded(file, 3), undefined)
  t.equal(await readBounded('/dev/zero', 1 << 20), undefined)
  const missing = await readBounded(`${file}-not`, 3).catch((thrown: unknown) => thrown)
  t.ok(isMissingFile(missing))
  t.notOk(isMissingFile(await readBounded('/proc/self/mem', 3).catch((thrown: unknown) => thrown)))
})
