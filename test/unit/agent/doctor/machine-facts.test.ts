import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { readMachineFacts } from '../../../../agent/doctor/machine-facts.ts'

t.test('the state directory is tried, and nothing is left of that', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'weir-doctor-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const file = join(directory, 'file')
  writeFileSync(file, '')
  mkdirSync(join(directory, 'state'))
  const trouble = (path: string) => readMachineFacts(path).stateDirTrouble
  t.equal(trouble(join(directory, 'state')), undefined)
  t.equal(trouble(join(directory, 'not', 'yet', 'there')), undefined)
  t.equal(trouble(file), `${file}: ENOTDIR`)
  t.equal(trouble(join(file, 'below')), `${file}: ENOTDIR`)
  t.equal(trouble('/proc/x'), '/proc: a pseudo file system, proc')
  t.equal(trouble('/sys/x/y'), '/sys: a pseudo file system, sysfs')
  t.strictSame(readdirSync(directory, { recursive: true }).map(String).sort(), ['file', 'state'])
})
