/** Answers of a real application that take longer and longer. */
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { Diagnosed, LOOK_ARGS } from '../support/diagnosed.ts'
import { FailingServer } from '../support/failing-server.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const pod = await shop.pod('web')
const server = new FailingServer(t, pod)
const web = shop.service('web')
await shop.start(LOOK_ARGS)
const diagnosed = new Diagnosed(shop)

async function asks(whileDoing: () => Promise<unknown>): Promise<void> {
  let stopped = false
  const asking = [1, 2, 3].map(async () => {
    while (!stopped) await shop.ask(client, web.ipv4, 80)
  })
  try {
    await whileDoing()
  } finally {
    stopped = true
    await Promise.all(asking)
  }
}

t.test('answers that always take as long are nothing to tell, and what takes longer with each is', async (t) => {
  let slowness = 0
  server.answer = (request, response) => void delay(20 + slowness).then(() => server.ok(request, response))
  await asks(async () => {
    const { findings } = await diagnosed.looked(30)
    t.same(
      findings.filter(({ kind }) => kind === 'latency-leak'),
      [],
    )
    const well = server.answer
    server.answer = (request, response) => {
      slowness += 2
      well(request, response)
    }
    t.match(await diagnosed.found('latency-leak', 'shop/client -> shop/web'), {
      severity: 'warning',
      says: /^Answers from shop\/web to shop\/client take longer and longer, and reach 5 s in about \d/,
      next: 'weir explain --from shop/client --to http://web.shop:80',
    })
    slowness = 0
    server.reset()
    await diagnosed.gone('latency-leak', 'shop/client -> shop/web')
  })
})
