/** How a new version is brought to its callers, with the manifests of examples/: canaries, blue/green, versions, rollback. */
import { readFileSync } from 'node:fs'
import { Agent } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import type { LabPod } from '../support/lab.ts'
import { connectSocketIn } from '../support/pod-sockets.ts'
import { type Ask, openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const checkout = await shop.pod('checkout')
const tester = await shop.pod('tester', { labels: { track: 'canary' } })
const invoices = await shop.pod('invoices-1', { namespace: 'billing' })
const other = await shop.pod('other', { namespace: 'billing' })
for (const version of ['v1', 'v2']) {
  await shop.serve(await shop.pod(`web-${version}`, { labels: { app: 'web', version } }))
  shop.service(`web-${version}`, { selector: { app: 'web', version } })
}
const web = shop.service('web')
await shop.start()

const example = (name: string): string =>
  readFileSync(join(import.meta.dirname, '../../examples', `${name}.yaml`), 'utf8')

async function by(ask: Ask = {}, from: LabPod = client): Promise<string> {
  const answer = await shop.ask(from, web.ipv4, 80, ask)
  return answer.by || `${answer.status} ${answer.body}`
}

t.test('a canary by calling workload: account, label, namespace and owner', async (t) => {
  await shop.apply(example('canary-source'))
  t.equal(await by(), 'web-v1')
  t.equal(await by({}, checkout), 'web-v2')
  t.equal(await by({}, tester), 'web-v2')
  t.equal(await by({}, invoices), 'web-v2')
  t.equal(await by({}, other), 'web-v1')
  const forged = {
    'x-weir-source-service-account': 'checkout',
    'x-weir-source-label-track': 'canary',
    'x-weir-source-namespace': 'billing',
  }
  t.equal(await by({ headers: forged }), 'web-v1', 'nobody can say that of itself')
  const { steps } = await shop.explain(checkout, `http://${web.ipv4}/`)
  t.ok(steps.includes('The mesh knows of this request: x-weir-source-service-account is "checkout".'), steps.join('\n'))
  const why = (await shop.explain(client, `http://${web.ipv4}/`, { headers: forged })).steps.join('\n')
  t.match(why, /header x-weir-source-service-account must be "checkout", but is "client"/)
  t.match(why, /header x-weir-source-label-track must be "canary", but is absent/)
})

t.test('a canary by cookie, among several', async (t) => {
  await shop.apply(example('canary-cookie'))
  const cookie = (text: string) => by({ headers: { cookie: text } })
  for (const text of [
    'canary=always',
    'a=1; canary=always',
    'canary=always; b=2',
    'a=1; canary=always; b=2',
    'a=1;canary=always;b',
  ]) {
    t.equal(await cookie(text), 'web-v2', text)
  }
  for (const text of [
    'a=1',
    'canary=never',
    'xcanary=always',
    'a=canary=always',
    'canary=always1',
    'a=1; canary=always2; b=2',
  ]) {
    t.equal(await cookie(text), 'web-v1', text)
  }
  t.equal(await by(), 'web-v1')
})

t.test('a canary by header, and by weight for the rest', async (t) => {
  await shop.apply(example('canary-header'))
  for (let i = 0; i < 5; i++) t.equal(await by({ headers: { 'x-canary': 'true' } }), 'web-v2')
  const seen = new Map<string, number>()
  for (let i = 0; i < 100; i++) {
    const one = await by()
    seen.set(one, (seen.get(one) ?? 0) + 1)
  }
  t.ok((seen.get('web-v1') ?? 0) > (seen.get('web-v2') ?? 0) * 2, JSON.stringify([...seen]))
})

t.test('versions by path, header and media type, by the route alone', async (t) => {
  await shop.apply(example('version-routing'))
  t.equal(await by(), 'web-v2')
  t.equal(await by({ target: '/v1/items' }), 'web-v1')
  t.equal(await by({ target: '/v10/items' }), 'web-v2')
  t.equal(await by({ headers: { 'api-version': '1' } }), 'web-v1')
  t.equal(await by({ headers: { 'api-version': '2' } }), 'web-v2')
  t.equal(await by({ headers: { accept: 'application/vnd.shop.v1+json' } }), 'web-v1')
  t.equal(await by({ headers: { 'content-type': 'application/json; version=1' } }), 'web-v1')
  t.equal(await by({ headers: { 'content-type': 'application/json; version=12' } }), 'web-v2')
})

t.test('versions that a policy declares, with several media types and their weights', async (t) => {
  await shop.apply(example('version-declared'))
  const accept = (text: string) => by({ headers: { accept: text } })
  t.equal(await by(), 'web-v1', 'the default')
  t.equal(await by({ target: '/v2/items' }), 'web-v2')
  t.equal(await by({ headers: { 'api-version': '2' } }), 'web-v2')
  t.equal(await accept('application/vnd.shop.v1+json;q=0.5, application/vnd.shop.v2+json;q=0.9, */*;q=0.1'), 'web-v2')
  t.equal(await accept('application/vnd.shop.v1+json, application/vnd.shop.v2+json;q=0.9'), 'web-v1')
  t.equal(await accept('text/html, application/json;version=2'), 'web-v2')
  t.equal(await by({ headers: { 'x-weir-api-version': '2' } }), 'web-v1', 'nobody can say it in the mesh’s name')
  t.equal(await by({ headers: { 'api-version': '7' } }), '400 weir: unknown API version')
  const { steps } = await shop.explain(client, `http://${web.ipv4}/`, {
    headers: { accept: 'application/json; version=2' },
  })
  t.ok(steps.includes('It is of API version 2, by accept: application/json.'), steps.join('\n'))
})

/** Requests in turn, until it is told to stop: on one connection, or each on its own. */
class Load {
  readonly answers: { readonly by: string; readonly sentAt: number }[] = []
  readonly failures: string[] = []
  readonly #running: Promise<unknown>
  #stopped = false
  #wake = Promise.withResolvers<void>()

  constructor(workers: number) {
    this.#running = Promise.all(Array.from({ length: workers }, (_, index) => this.#run(index % 2 === 0)))
  }

  async #run(keepsConnection: boolean): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    if (keepsConnection) {
      const socket = await connectSocketIn(client.netnsPath, web.ipv4, 80)
      agent.createConnection = () => socket
    }
    while (!this.#stopped && this.answers.length < MAX_REQUESTS) {
      const sentAt = performance.now()
      try {
        const headers = { connection: 'keep-alive' }
        const answer = keepsConnection
          ? await shop.send({ agent }, web.ipv4, 80, { headers })
          : await shop.ask(client, web.ipv4, 80)
        this.answers.push({ by: answer.by || String(answer.status), sentAt })
      } catch (error) {
        this.failures.push(String(error))
        if (keepsConnection) break
      }
      this.#wake.resolve()
    }
    agent.destroy()
  }

  /** Resolves when that many further requests are answered. */
  async more(count: number): Promise<void> {
    for (const goal = this.answers.length + count; this.answers.length < goal && this.failures.length === 0; ) {
      this.#wake = Promise.withResolvers()
      await this.#wake.promise
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }
}
/** More than this mean that a change never came: the load ends. */
const MAX_REQUESTS = 20_000

t.test('a rollback is one manifest change, and fails no request', async (t) => {
  await shop.apply(example('blue-green'))
  const load = new Load(8)
  await load.more(200)
  const changedAt = performance.now()
  const rolledBack = example('blue-green').replace('weight: 0 ', 'weight: X ').replace('weight: 100', 'weight: 0')
  await shop.apply(rolledBack.replace('weight: X ', 'weight: 100 '))
  const appliedAt = performance.now()
  await load.more(200)
  await load.stop()
  t.same(load.failures, [])
  t.same(new Set(load.answers.map(({ by }) => by)), new Set(['web-v1', 'web-v2']), 'nothing but the servers answered')
  const before = load.answers.filter(({ sentAt }) => sentAt < changedAt)
  const after = load.answers.filter(({ sentAt }) => sentAt > appliedAt)
  t.ok(before.length >= 200 && before.every(({ by }) => by === 'web-v2'))
  t.ok(after.length > 0 && after.every(({ by }) => by === 'web-v1'))
  const last = Math.max(...load.answers.filter(({ by }) => by === 'web-v2').map(({ sentAt }) => sentAt))
  t.comment(
    `${load.answers.length} requests; the last that went to the new version began ${Math.round(last - changedAt)} ms after the change`,
  )
})
