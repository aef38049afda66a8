/** What people run answers mistakes with a line and its usage, never with a stack trace. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'

const ROOT = join(import.meta.dirname, '../../..')

/** Without tap's hooks, which tap adds to NODE_OPTIONS. */
function run(file: string, ...args: readonly string[]) {
  const { NODE_OPTIONS: _, ...env } = process.env
  const { status, stdout, stderr } = spawnSync(file, args, { cwd: ROOT, env, encoding: 'utf8' })
  return { status, stdout, stderr }
}
const node = (...args: readonly string[]) => run(process.execPath, ...args)

t.test('a flag that the demo or the benchmark does not have is told with those it has', async (t) => {
  t.match(node('scripts/demo.ts', '--node', '2'), {
    status: 64,
    stdout: '',
    stderr: /^demo: Unknown option '--node'\nscripts\/demo \[--nodes 2\] \[--keep\]\n/,
  })
  t.match(node('test/bench/main.ts', '--foo'), { status: 64, stdout: '', stderr: /^bench: Unknown option '--foo'\n/ })
  t.match(node('test/fuzz/main.ts', '--foo'), { status: 64, stdout: '', stderr: /^fuzz: Unknown option '--foo'\n/ })
  t.match(node('test/fuzz/main.ts', '--target', 'x'), {
    status: 64,
    stderr: /^fuzz: unknown target x: known are http1/,
  })
  t.match(node('test/support/lab-command.ts', 'up', '--foo'), {
    status: 2,
    stdout: '',
    stderr: /^scripts\/lab up: Unknown option '--foo'\n$/,
  })
})

t.test('each tells how it is used', async (t) => {
  t.match(node('scripts/demo.ts', '--help'), { status: 0, stdout: /--keep .*foreground.* Ctrl-C/, stderr: '' })
  t.match(node('test/bench/main.ts', '--help'), { status: 0, stdout: /--case NAME .*two-hop-mtls/, stderr: '' })
  t.match(node('test/fuzz/main.ts', '--help'), { status: 0, stdout: /--target NAME .*http1-head/, stderr: '' })
  t.match(run('scripts/test', '--help'), { status: 0, stdout: /scripts\/test \[--check\] \[--unit\]/, stderr: '' })
  t.match(node('test/support/lab-command.ts', '--help'), { status: 0, stdout: /^Usage: scripts\/lab/, stderr: '' })
})

t.test('a lab that is not made by root is refused in one line', async (t) => {
  const nobody = 'data:text/javascript,process.getuid=()=>65534'
  t.match(node('--import', nobody, 'test/support/lab-command.ts', 'up'), {
    status: 77,
    stdout: '',
    stderr: /^lab: run scripts\/lab up as root: [^\n]*\n$/,
  })
})
