/** The commands of docs/several-nodes.md, as they are written there, in one shell. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { listLabs } from '../support/lab-registry.ts'

const ROOT = join(import.meta.dirname, '../..')
const BLOCK = /^```(sh)?\n(.*?)^```$/gms

t.test('what the page about several nodes says to type works, and prints what it says', async (t) => {
  const page = readFileSync(join(ROOT, 'docs/several-nodes.md'), 'utf8')
  const blocks = Array.from(page.matchAll(BLOCK), ([, language, text = '']) => ({ language, text }))
  const commands = blocks.filter(({ language }) => language === 'sh').map(({ text }) => text)
  t.ok(commands.length > 8)
  // tap puts its hooks into every process that a test starts.
  const { NODE_OPTIONS: _, ...rest } = process.env
  // Not tap's: a socket's path below it would be too long.
  const temporary = mkdtempSync(join(tmpdir(), 'weir-doc-'))
  const env = { ...rest, TMPDIR: temporary }
  const shell = spawn('bash', ['-eu', '-c', commands.join('')], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  shell.stdout.on('data', (chunk) => {
    out += chunk
  })
  shell.stderr.on('data', (chunk) => {
    err += chunk
  })
  t.teardown(() => {
    shell.kill('SIGKILL')
    const id = /^lab +(\w+)$/m.exec(out)?.[1]
    if (listLabs().some((lab) => lab.id === id)) execFileSync(join(ROOT, 'scripts/lab'), ['down', String(id)])
    rmSync(temporary, { recursive: true, force: true })
  })
  const [code] = await once(shell, 'close')
  t.equal(code, 0, err)
  let from = 0
  for (const { text } of blocks.filter(({ language }) => language === undefined)) {
    for (const line of text.trim().split(/\n| {2}/)) {
      const at = out.indexOf(line, from)
      t.ok(at >= 0, `${line}\n\n${at < 0 ? out.slice(from) : ''}`)
      from = Math.max(from, at)
    }
  }
})
