/** Alerts and Debian's Alertmanager: it takes what Weir tells it, and Weir tells receivers what it would. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import { AlertReceiver } from '../support/alert-receiver.ts'
import { FailingServer } from '../support/failing-server.ts'
import { openShop } from '../support/shop.ts'

const [HOOK_PORT, API_PORT] = [9095, 9093]
const API = `http://127.0.0.1:${API_PORT}/api/v2`
const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const client = await shop.pod('client')
const web = await shop.pod('web')
const service = shop.service('web')
const server = new FailingServer(t, web)
const receiver = await AlertReceiver.start(lab.node, HOOK_PORT)
t.teardown(() => receiver[Symbol.asyncDispose]())

const data = join(lab.dir, 'alertmanager')
mkdirSync(data)
writeFileSync(
  join(data, 'config.yaml'),
  `route: { receiver: weir, group_by: [alertname], group_wait: 100ms, group_interval: 100ms }
receivers: [{ name: weir, webhook_configs: [{ url: "http://127.0.0.1:${HOOK_PORT}/relayed" }] }]
`,
)
const alertmanager = lab.node.spawn('prometheus-alertmanager', [
  `--config.file=${join(data, 'config.yaml')}`,
  `--storage.path=${data}`,
  `--web.listen-address=127.0.0.1:${API_PORT}`,
  '--cluster.listen-address=',
])
t.teardown(() => alertmanager.stop())
await alertmanager.until('its address', () =>
  /Listening on|msg=Listening/.test(alertmanager.stderr) ? true : undefined,
)

/** The same rule, told in both ways by two agents would be two nodes: the file says how, and is changed. */
const rules = (webhook: string) => `webhook: ${webhook}
labels: { cluster: "Zürich" }
rules:
  - name: Error-Rate
    severity: critical
    service: shop/*
    errors: { above: 50%, minRequests: 1 }
    window: 1s
    for: 0s
    keepFiringFor: 0s
    annotations: { runbook: "https://wiki.example/errors" }
`
const file = join(lab.dir, 'alerts.yaml')
writeFileSync(file, rules(`{ url: "${API}/alerts", format: alertmanager-api, repeatEvery: 1s }`))
const agent = await shop.start(['--look-ms', '200', '--access-log', 'off', '--alerts', file])

let isFailing = true
server.answer = (_request, response) => {
  response.statusCode = isFailing ? 500 : 200
  response.end('web')
}
let isOver = false
const load = (async () => {
  while (!isOver) {
    await shop.ask(client, service.ipv4, 80)
    await pause(5)
  }
})()
t.teardown(async () => {
  isOver = true
  await load
})

interface ApiAlert {
  readonly labels: Readonly<Record<string, string>>
  readonly fingerprint: string
  readonly startsAt: string
}

async function known(): Promise<readonly ApiAlert[]> {
  const { body } = await lab.node.curl(`${API}/alerts`)
  return JSON.parse(body) as readonly ApiAlert[]
}

t.test('Alertmanager takes it, shows it, relays it, and hears of its end', async (t) => {
  const relayed = await receiver.waitFor('what Alertmanager relays', ({ body }) => body.status === 'firing')
  const [alert] = await known()
  t.match(alert, {
    labels: {
      alertname: 'Error-Rate',
      cluster: 'Zürich',
      severity: 'critical',
      node: 'node-1',
      service: 'shop/web',
    },
  })
  const amtool = ['alert', 'query', '--alertmanager.url', `http://127.0.0.1:${API_PORT}`, 'service=shop/web']
  t.match((await lab.node.exec('amtool', amtool)).stdout, /^Error-Rate .*shop\/web: 100 % of requests failed/m)

  // What Weir says itself of the same alert: nothing is missing, and nothing is else.
  const from = agent.logs.length
  writeFileSync(file, rules(`{ url: "http://127.0.0.1:${HOOK_PORT}/own" }`))
  await agent.waitFor('alert rules read', { from })
  const own = await receiver.waitFor('what Weir tells itself', ({ url }) => url === '/own')
  t.same(Object.keys(own.body).sort(), Object.keys(relayed.body).sort())
  const [theirs, ours] = [relayed.body.alerts[0], own.body.alerts[0]]
  t.same(Object.keys(ours ?? {}).sort(), Object.keys(theirs ?? {}).sort())
  const { version, status, groupKey, groupLabels, commonLabels, truncatedAlerts } = relayed.body
  t.match(own.body, { version, status, groupKey, groupLabels, commonLabels, truncatedAlerts })
  t.match(ours, { labels: theirs?.labels, fingerprint: theirs?.fingerprint, endsAt: theirs?.endsAt })
  t.equal(ours?.fingerprint, alert?.fingerprint)
  t.equal(Date.parse(ours?.startsAt ?? ''), Date.parse(theirs?.startsAt ?? ''))

  const next = agent.logs.length
  writeFileSync(file, rules(`{ url: "${API}/alerts", format: alertmanager-api, repeatEvery: 1s }`))
  await agent.waitFor('alert rules read', { from: next })
  isFailing = false
  await receiver.waitFor('its end', ({ url, body }) => url === '/relayed' && body.status === 'resolved')
  t.same(await known(), [])
})
