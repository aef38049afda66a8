/** Alerts: from a real fault of an application to a receiver, and back. */
import { renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { AlertsAnswer } from '#contract'
import { AlertReceiver } from '../support/alert-receiver.ts'
import { FailingServer } from '../support/failing-server.ts'
import { openShop } from '../support/shop.ts'

const PORT = 9095
const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const client = await shop.pod('client')
const web = await shop.pod('web')
const service = shop.service('web')
const server = new FailingServer(t, web)
const file = join(lab.dir, 'alerts.yaml')

const WEBHOOK = `webhook: { url: "http://127.0.0.1:${PORT}/hook", headers: { x-team: shop } }\n`
const ERRORS = `rules:
  - name: ErrorRate
    severity: critical
    service: shop/*
    errors: { above: 50%, clear: 20%, minRequests: 5 }
    window: 2s
    for: 0s
    keepFiringFor: 0s
    labels: { team: shop }
    annotations: { runbook: "https://wiki.example/errors" }
`

function write(text: string): void {
  writeFileSync(`${file}.new`, text)
  renameSync(`${file}.new`, file)
}

write(WEBHOOK + ERRORS)
const agent = await shop.start(['--look-ms', '200', '--alerts', file])

async function alerts(): Promise<AlertsAnswer> {
  return JSON.parse((await agent.cli('alerts', ['--json'])).stdout) as AlertsAnswer
}

/** Requests, one after the other, until it is disposed of; every `nth` of them fails. */
function load(failing: (count: number) => boolean) {
  let isOver = false
  let count = 0
  server.answer = (_request, response) => {
    response.statusCode = failing(count++) ? 500 : 200
    response.end('web')
  }
  const running = (async () => {
    while (!isOver) await shop.ask(client, service.ipv4, 80)
  })()
  return {
    [Symbol.asyncDispose]: async () => {
      isOver = true
      await running
    },
  }
}

t.test(
  'an error rate above its threshold reaches the receiver, in the format of Alertmanager, and so does its end',
  async (t) => {
    const receiver = await AlertReceiver.start(lab.node, PORT)
    {
      await using _ = load(() => true)
      const { url, headers, body } = await receiver.waitFor('a message', () => true)
      t.equal(url, '/hook')
      t.match(headers, { 'content-type': 'application/json', 'x-team': 'shop' })
      const [alert] = body.alerts
      t.match(body, {
        version: '4',
        status: 'firing',
        receiver: 'weir',
        groupKey: '{}:{alertname="ErrorRate"}',
        groupLabels: { alertname: 'ErrorRate' },
        truncatedAlerts: 0,
        alerts: [
          {
            status: 'firing',
            labels: { alertname: 'ErrorRate', severity: 'critical', node: 'node-1', service: 'shop/web', team: 'shop' },
            annotations: {
              summary: 'shop/web: 100 % of requests failed in the last 2s, above 50 %',
              next: 'weir stat shop/web',
              runbook: 'https://wiki.example/errors',
            },
            endsAt: '0001-01-01T00:00:00Z',
            fingerprint: /^[0-9a-f]{16}$/,
          },
        ],
      })
      t.ok(Math.abs(Date.parse(alert?.startsAt ?? '') - Date.now()) < 60_000)
      t.match(await alerts(), {
        rules: [{ name: 'ErrorRate', firing: 1, pending: 0 }],
        alerts: [{ rule: 'ErrorRate', state: 'firing', told: true, value: 1 }],
        delivery: { to: `http://127.0.0.1:${PORT}`, problem: '', waiting: 0 },
      })
      const { stdout } = await agent.cli('alerts')
      t.match(
        stdout,
        /^ErrorRate +critical +firing +\d+ s +yes +shop\/web: 100 % of requests failed.* +weir stat shop\/web$/m,
      )
      t.match(stdout, /^ErrorRate +critical +1 +0 +service shop\/\*, errors above 50 % until 20 %, in 2s$/m)
      t.match((await agent.cli('metrics')).stdout, /^weir_alerts_firing\{severity="critical"\} 1$/m)
    }
    await using _ = load(() => false)
    const { body } = await receiver.waitFor('the end', (one) => one.body.status === 'resolved')
    const [begun, over] = [receiver.received[0]?.body.alerts[0], body.alerts[0]]
    t.match(over, {
      status: 'resolved',
      labels: begun?.labels,
      startsAt: begun?.startsAt,
      fingerprint: begun?.fingerprint,
    })
    t.ok(Date.parse(over?.endsAt ?? '') > Date.parse(over?.startsAt ?? ''))
    t.equal(receiver.received.length, 2)
    t.match(await alerts(), { alerts: [], rules: [{ firing: 0 }] })
    t.match((await agent.cli('metrics')).stdout, /^weir_alert_deliveries_total\{outcome="delivered"\} 2$/m)
    await receiver.stop()
  },
)
