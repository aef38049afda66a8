/** The demo of two nodes, to its end: it checks itself, and what it prints is what it promises. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'

const DEMO = join(import.meta.dirname, '../../scripts/demo')

async function run(...args: string[]): Promise<{ readonly code: unknown; readonly out: string; readonly err: string }> {
  // tap puts its hooks into every process that a test starts.
  const { NODE_OPTIONS: _, ...env } = process.env
  const child = spawn(DEMO, args, { env, stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => void child.kill('SIGTERM'))
  let [out, err] = ['', '']
  child.stdout.on('data', (chunk) => {
    out += chunk
  })
  child.stderr.on('data', (chunk) => {
    err += chunk
  })
  const [code] = await once(child, 'close')
  return { code, out, err }
}

t.test(
  'the demo of two nodes shows both identities, the cipher, no plain text, and a revoked identity refused',
  async (t) => {
    const { code, out, err } = await run('--nodes', '2')
    t.strictSame([code, err], [0, ''])
    for (const text of [
      /sa\/client +valid +[0-9A-F]+ +\S+Z \(in 24 h\)/,
      /node-2: GET \/ 200 {2}spiffe:\S+\/client -> spiffe:\S+\/web/,
      /to web: +\d+ bytes to and from port 15008, TLS 1\.3 with TLS_AES_\S+; "\S+" is not in them/,
      /to plain: GET \/order/,
      /node-2: tunnel refused: the peer sent no certificate/,
      /node-1: .*the pod's own certificate is revoked/,
      /node-2: tunnel refused: the peer's certificate is revoked/,
      /The namespaces are gone/,
    ]) {
      t.match(out, text)
    }
  },
)

t.test('a number of nodes that there is no demo for is refused', async (t) => {
  t.match(await run('--nodes', '3'), { code: 64, out: '', err: /--nodes: expected 1 or 2, got "3"/ })
})
