/** Canaries: every gate of `scripts/test --check` must fail on code that it is there to stop. */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'

const ROOT = join(import.meta.dirname, '../../..')
const TSCONFIG = JSON.stringify({ extends: join(ROOT, 'tsconfig.json'), include: ['*.ts'] })
const PACKAGE = JSON.stringify({ name: 'canary', type: 'module' })

/** Without tap's hooks, which tap adds to NODE_OPTIONS, and with the pinned Node first. */
function run(command: string, args: readonly string[], cwd: string, input = '') {
  const path = `${join(ROOT, 'node_modules/.bin')}:${process.env['PATH']}`
  const clean = ['-u', 'NODE_OPTIONS', `PATH=${path}`, command, ...args]
  const { status, stdout, stderr } = spawnSync('env', clean, { cwd, input, encoding: 'utf8' })
  return { status, output: stdout + stderr, lastLine: stdout.trimEnd().split('\n').at(-1) }
}
const bin = (name: string) => join(ROOT, 'node_modules/.bin', name)

t.test('the compiler refuses an unchecked index, an enum and a wrong type', async (t) => {
  const check = (text: string) => run(bin('tsc'), ['-p', '.'], t.testdir({ 'tsconfig.json': TSCONFIG, 'x.ts': text }))
  t.match(check('export const a: readonly string[] = []\n'), { status: 0 })
  t.match(check('export const a: string = ([] as string[])[0]\n'), { status: /[12]/, output: 'TS2322' })
  t.match(check('export enum A { B }\n'), { status: /[12]/, output: 'TS1294' })
  t.match(check('export const a: number = "b"\n'), { status: /[12]/, output: 'TS2322' })
})

t.test('the compiler gives the page what browsers have, and nothing of Node', async (t) => {
  const config = JSON.stringify({ extends: join(ROOT, 'src/page/tsconfig.json'), include: ['*.ts'] })
  const check = (text: string) => run(bin('tsc'), ['-p', '.'], t.testdir({ 'tsconfig.json': config, 'x.ts': text }))
  t.match(check('export const a = document.title\n'), { status: 0 })
  t.match(check('export const a = process.argv\n'), { status: /[12]/, output: 'TS2591' })
})

t.test('biome refuses what the house style bans', async (t) => {
  const config = readFileSync(join(ROOT, 'biome.json'), 'utf8')
  const check = (text: string) => {
    const args = ['check', '--colors=off', '--error-on-warnings', '--vcs-enabled=false', '.']
    return run(bin('biome'), args, t.testdir({ 'biome.json': config, 'x.ts': text }))
  }
  t.match(check('export const a = 1\n'), { status: 0 })
  t.match(check('export default 1\n'), { status: 1, output: 'noDefaultExport' })
  t.match(check('export const a = "b";\n'), { status: 1, output: 'Formatter would have printed' })
  t.match(check('export const a: any = 1\n'), { status: 1, output: 'noExplicitAny' })
  t.match(check('export const a = (b?: string) => b!.length\n'), { status: 1, output: 'noNonNullAssertion' })
})

t.test('oxlint refuses floating and misused promises and a switch that forgets a case', async (t) => {
  const check = (text: string) => {
    const dir = t.testdir({ 'tsconfig.json': TSCONFIG, 'x.ts': text })
    const args = ['-c', join(ROOT, '.oxlintrc.json'), '--type-aware', '--deny-warnings', '--no-ignore', 'x.ts']
    return run(bin('oxlint'), args, dir)
  }
  t.match(check('export const a = 1\n'), { status: 0 })
  const promise = 'const a = async () => 1\n'
  t.match(check(`${promise}a()\n`), { status: 1, output: 'no-floating-promises' })
  t.match(check(`${promise}if (a()) console.log(1)\n`), { status: 1, output: 'no-misused-promises' })
  const forgetful = `export function f(a: 'b' | 'c') { switch (a) { case 'b': return 1 }\n return 2 }\n`
  t.match(check(forgetful), { status: 1, output: 'switch-exhaustiveness-check' })
})

t.test('knip refuses a file that nothing uses', async (t) => {
  const check = (files: Record<string, string>) => {
    const knip = JSON.stringify({ entry: ['main.ts'], project: ['*.ts'] })
    const dir = t.testdir({ 'package.json': PACKAGE, 'knip.json': knip, 'main.ts': 'export {}\n', ...files })
    return run(bin('knip'), ['--no-progress', '--directory', dir], dir)
  }
  t.match(check({}), { status: 0 })
  t.match(check({ 'lonely.ts': 'export {}\n' }), { status: 1, output: 'lonely.ts' })
})

t.test('scripts/test fails on a failed test, a crash, a file without tests and a missing file', async (t) => {
  // A checkout of its own: two runs of tap at once would clear away each other's notes in `.tap`.
  const root = mkdtempSync(join(tmpdir(), 'weir-canary-'))
  t.teardown(() => rmSync(root, { recursive: true }))
  const own = new Set(['.git', '.tap', 'scripts'])
  for (const name of readdirSync(ROOT)) if (!own.has(name)) symlinkSync(join(ROOT, name), join(root, name))
  cpSync(join(ROOT, 'scripts'), join(root, 'scripts'), { recursive: true })
  const dir = join(root, 'canary')
  mkdirSync(dir)
  const check = (text?: string, ...options: string[]) => {
    const file = join(dir, 'x.test.ts')
    rmSync(file, { force: true })
    if (text !== undefined) writeFileSync(file, text)
    const { status, lastLine, output } = run(join(root, 'scripts/test'), [...options, file], root)
    return { status, lastLine, output }
  }
  const head = `import t from 'tap'\n`
  const good = `t.test('good', async t => { t.ok(true) })\n`
  t.match(check(head + good + good.replace('good', 'too')), { status: 0, lastLine: '2 passed, 0 failed' })
  t.match(check(`${head + good}t.test('bad', async t => { t.ok(false) })`), {
    status: 1,
    lastLine: '1 passed, 1 failed',
  })
  t.match(check(`${head}process.exit(3)`), { status: 1, lastLine: '0 passed, 1 failed' })
  t.match(check(head), { status: 1, lastLine: '0 passed, 1 failed' })
  t.match(check(), { status: 1, lastLine: '0 passed, 1 failed' })

  // What fails again has failed; what does not is named, with what it said at first.
  const bad = `t.test('bad', async t => { t.ok(false) })\n`
  t.match(check(head + good + bad, '--again'), { status: 1, lastLine: '1 passed, 1 failed' })
  const marker = JSON.stringify(join(dir, 'seen'))
  const once = `${head}import { existsSync, writeFileSync } from 'node:fs'
const seen = existsSync(${marker})
writeFileSync(${marker}, '')
${good}t.test('the second time', async t => { t.ok(seen, 'seen') })
`
  t.match(check(once), { status: 1, lastLine: '1 passed, 1 failed' })
  rmSync(join(dir, 'seen'))
  t.match(check(once, '--again'), {
    status: 0,
    lastLine: '2 passed, 0 failed',
    output: /not ok 2 - the second time.*unsteady - canary\/x\.test\.ts: failed, and passed when it was run again/s,
  })
})
