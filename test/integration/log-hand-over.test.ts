/** An upgrade: the next agent goes on with the lines of pods where the one before was, and there is never a second that ships. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { LogWriter } from '../support/log-writer.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const web = await shop.pod('web')
const directory = t.testdir({ pods: {} })
const [root, out] = [join(directory, 'pods'), join(directory, 'out.json')]
const extraArgs = ['--log-root', root, '--log-file', out, '--take-over', '--keep-rules']
const writer = new LogWriter(root, `shop_web_${web.uid}`)

const shipped = (): readonly string[] =>
  readFileSync(out, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line).message)

t.test('each line is shipped once, by one agent or the next', async (t) => {
  writer.write(['0'])
  const first = await shop.start(extraArgs)
  const next = await shop.lab.startAgent({ proxies: 1, extraArgs, waitReady: false })
  await next.waitFor('standby')
  let [written, ended] = [1, false]
  const writing = (async () => {
    // Over rotations, however soon the other has taken over.
    for (; !ended || written <= 250; written++) {
      writer.write([String(written)])
      if (written % 100 === 0) writer.rotate()
      await sleep(2)
    }
  })()
  t.equal(await first.stop(), 0)
  await next.waitFor('ready')
  const { stdout } = await next.cli('logs', ['web', '--tail', '1'])
  t.match(stdout, /shop\/web app \| \d+\n$/)
  ended = true
  await writing
  while (shipped().at(-1) !== String(written - 1)) await sleep(50)
  t.same(
    shipped(),
    Array.from({ length: written }, (_, n) => String(n)),
  )
})
