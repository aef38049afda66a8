/**
 * Makes the picture of the page in README.md: a real shop in a lab, of which one part fails, seen in a real browser.
 * `node scripts/page-picture.ts [FILE] [--dark] [--width PX] [--height PX] [--place HASH] [--settle-s N]`; without FILE it is
 * docs/page.png. As root.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Chromium } from '../test/support/chromium.ts'
import { FailingServer } from '../test/support/failing-server.ts'
import { openLab } from '../test/support/lab.ts'
import type { LabPod } from '../test/support/lab-node.ts'
import { connectIn, listenIn } from '../test/support/raw-socket.ts'
import { Shop } from '../test/support/shop.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dark: { type: 'boolean' },
    width: { type: 'string', default: '1280' },
    height: { type: 'string' },
    'settle-s': { type: 'string', default: '45' },
    place: { type: 'string', default: '#/now' },
  },
})
const file = positionals[0] ?? join(import.meta.dirname, '../docs/page.png')
/** Long enough for the agent to know what is usual here, and then what is not. */
const SETTLE_MS = Number(values['settle-s']) * 1000
const EVERY_MS = 40

await using ends = new AsyncDisposableStack()
const directory = mkdtempSync(join(tmpdir(), 'weir-picture-'))
ends.defer(() => rmSync(directory, { recursive: true, force: true }))
const shop = ends.use(new Shop(await openLab()))
const names = ['web', 'catalog', 'reviews', 'cart', 'ratings', 'payments'] as const
const pods = new Map<string, LabPod>()
for (const name of ['frontend', ...names, 'db']) pods.set(name, await shop.pod(name))
const legacy = await shop.pod('legacy', { optedIn: false })
const podOf = (name: string): LabPod => {
  const pod = pods.get(name)
  if (pod === undefined) throw new Error(`The shop has no pod ${name}`)
  return pod
}
const addresses = new Map(names.map((name) => [name as string, shop.service(name).ipv4]))
const database = shop.service('db', { ports: [{ name: 'tcp-sql', port: 5432 }] })
for (const name of names) if (name !== 'payments') await shop.serve(podOf(name))
const payments = new FailingServer({ teardown: (end) => ends.defer(end) }, podOf('payments'))
ends.use(
  await listenIn(podOf('db').netnsPath, 5432, async (connection) => {
    for (;;) await connection.send(await connection.until('\n'))
  }),
)
await shop.start(['--access-log', join(directory, 'access.log'), '--log-root', directory])
const held = ends.use(await connectIn(podOf('catalog').netnsPath, database.ipv4, 5432))

const calls: readonly (readonly [from: string, to: string, times: number])[] = [
  ['frontend', 'web', 3],
  ['web', 'catalog', 2],
  ['web', 'reviews', 1],
  ['web', 'cart', 1],
  ['reviews', 'ratings', 1],
  ['cart', 'payments', 1],
]
let isEnded = false
let count = 0
const load = (async () => {
  while (!isEnded) {
    const all = calls.flatMap(([from, to, times]) => Array.from({ length: times }, () => ({ from, to })))
    await Promise.all(all.map(({ from, to }) => shop.ask(podOf(from), addresses.get(to) ?? '', 80)))
    if (count++ % 4 === 0) await shop.ask(legacy, podOf('web').ipv4, 8080)
    await held.send('select 1\n')
    await sleep(EVERY_MS)
  }
})()
ends.defer(async () => {
  isEnded = true
  await load
})
await sleep(SETTLE_MS)
// What worked until now fails from here on, for two of five.
payments.answer = (request, response) =>
  Math.random() < 0.4 ? payments.fail(503)(request, response) : payments.ok(request, response)
await sleep(SETTLE_MS)

const browser = ends.use(Chromium.start(shop.lab.node.netns))
const page = await browser.page()
await page.size(Number(values.width), Number(values.height ?? 900))
await page.colours(values.dark === true ? 'dark' : 'light')
await page.open(`http://127.0.0.1:15000/${values.place}`)
await sleep(12_000)
await page.value('document.querySelector("details")?.setAttribute("open", "")')
// All of it, unless said otherwise.
const wholePx = await page.value<number>('Math.ceil(document.body.getBoundingClientRect().height)')
if (values.height === undefined) await page.size(Number(values.width), wholePx)
writeFileSync(file, await page.picture())
console.log(`${file} is made`)
