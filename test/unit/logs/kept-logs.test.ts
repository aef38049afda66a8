/** Last lines of pods that are gone: for a time, and within a size. */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KeptLogs } from '../../../src/logs/kept-logs.ts'
import type { LogPod } from '../../../src/logs/log-line.ts'
import { LogTree } from '../../../src/logs/log-tree.ts'
import { LogWriter } from '../../support/log-writer.ts'

function setUp(t: Test, maxBytes: number) {
  const directory = t.testdir({ pods: {} })
  const root = join(directory, 'pods')
  const clock = { now: Date.now() }
  const kept = new KeptLogs({ folder: join(directory, 'gone'), keepMs: 60_000, maxBytes, now: () => clock.now })
  t.teardown(() => kept[Symbol.dispose]())
  const look = () => {
    const tree = new LogTree(root, () => clock.now)
    kept.update(
      tree
        .scan(() => true)
        .map((container) => {
          const { uid, namespace, name } = container.pod
          const pod: LogPod = {
            uid,
            namespace,
            name,
            node: 'n',
            serviceAccount: 'sa',
            owner: '',
            labels: { app: name },
            enrolled: true,
          }
          return { container, pod }
        }),
    )
  }
  const end = (name: string) => rmSync(join(root, `shop_${name}_uid-${name}`), { recursive: true })
  const textOf = (name: string) =>
    readFileSync(join(directory, 'gone', `shop_${name}_uid-${name}`, 'app/0.log'), 'utf8')
  return {
    root,
    clock,
    kept,
    look,
    end,
    textOf,
    writer: (name: string) => new LogWriter(root, `shop_${name}_uid-${name}`),
  }
}

t.test(
  'the end of what was written is kept with whose it was, also what came after the last look, for a time',
  async (t) => {
    const { clock, kept, look, end, textOf, writer } = setUp(t, 1 << 20)
    const web = writer('web')
    web.write(['first'])
    web.rotate()
    web.write(['second'])
    look()
    web.write(['third'])
    end('web')
    look()
    t.match(textOf('web'), / first\n.* second\n.* third\n$/)
    t.match(kept.pods().get('shop_web_uid-web'), { name: 'web', labels: { app: 'web' } })
    clock.now += 61_000
    look()
    t.equal(kept.pods().size, 0)
  },
)

t.test('of a long file the last whole lines are kept, and of many pods the latest', async (t) => {
  const { look, end, kept, textOf, writer, clock } = setUp(t, 600 << 10)
  for (const name of ['a', 'b', 'c']) {
    writer(name).write(Array.from({ length: 5_000 }, (_, n) => `${name} ${n} ${'.'.repeat(80)}`))
    look()
    end(name)
    look()
    clock.now += 10
    if (name !== 'a') continue
    const text = textOf('a')
    t.ok(text.length <= 256 << 10 && text.length > 200 << 10)
    t.match(text, /^2026\S+ stdout F a \d+ /)
    t.match(text, / a 4999 \.+\n$/)
  }
  t.same([...kept.pods().keys()].sort(), ['shop_b_uid-b', 'shop_c_uid-c'])
})
