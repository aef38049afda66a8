/** The page in a real browser, against a real shop: what is seen, that it can be used without a mouse, and what it does not do. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { Chromium } from '../support/chromium.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const client = await shop.pod('client')
const web = await shop.pod('web')
await shop.serve(web)
const service = shop.service('web')
const directory = t.testdir({})
await shop.start(['--access-log', join(directory, 'access.log')])
const browser = Chromium.start(lab.node.netns)
t.teardown(() => browser[Symbol.asyncDispose]())
const BASE = 'http://127.0.0.1:15000'

/** A hundred requests a second, at most, until it is disposed. */
function load() {
  let stopped = false
  const running = (async () => {
    while (!stopped) {
      await shop.ask(client, service.ipv4, 80)
      await sleep(10)
    }
  })()
  return {
    [Symbol.asyncDispose]: async () => {
      stopped = true
      await running
    },
  }
}

t.test('the graph and the tables have the edge that there is, with its rate and its lock', async (t) => {
  const page = await browser.page()
  await using _ = load()
  await page.open(`${BASE}/`)
  await page.until('document.querySelector(".edge[aria-label^=\\"shop/client to shop/web: \\"][aria-label*=mTLS]")')
  await page.until('document.querySelector("a.node[aria-label^=\\"shop/web: asked\\"]")')
  await page.shows('shop/web', 'tbody')
  await page.value('location.hash = "#/edges"')
  await page.shows('spiffe://cluster.local/ns/shop/sa/client', 'tbody')
  t.same(
    page.complaints.filter((text) => !text.includes('/diagnose')),
    [],
  )
  t.ok(page.asked.length > 5)
  t.same(
    page.asked.filter((url) => !url.startsWith(`${BASE}/`) && url !== 'data:,'),
    [],
    'nothing is asked elsewhere',
  )
})
