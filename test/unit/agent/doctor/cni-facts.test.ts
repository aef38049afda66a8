import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { readCniFacts } from '../../../../agent/doctor/cni-facts.ts'

t.test('executables count as plugins, a file or nothing as no directory', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'weir-doctor-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const binDir = join(directory, 'bin')
  const confDir = join(directory, 'file')
  mkdirSync(join(binDir, 'deeper'), { recursive: true })
  writeFileSync(confDir, '')
  writeFileSync(join(binDir, 'README.md'), '')
  const none = await readCniFacts({ confDir, binDir })
  t.match(none, { configurations: undefined, plugins: [], named: { confDir: false, binDir: false } })
  t.equal(none.plugins?.length, 0)
  writeFileSync(join(binDir, 'bridge'), '', { mode: 0o755 })
  writeFileSync(join(binDir, 'weir'), '#!/bin/sh\nexit 1\n', { mode: 0o755 })
  t.strictSame((await readCniFacts({ confDir, binDir })).plugins, ['bridge'])
  t.equal((await readCniFacts({ confDir, binDir: join(directory, 'nowhere') })).plugins, undefined)
  const named = { confDir: true, binDir: false }
  t.strictSame((await readCniFacts({ confDir, binDir, named })).named, named)
})
