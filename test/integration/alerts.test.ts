/** Alerts: from a real fault of an application to a receiver, and back. */
import { execFileSync } from 'node:child_process'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { AlertAnswer, AlertsAnswer } from '#contract'
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
    window: 1s
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
const ARGS = ['--look-ms', '200', '--access-log', 'off', '--alerts', file]
let agent = await shop.start(ARGS)

async function alerts(): Promise<AlertsAnswer> {
  return JSON.parse((await agent.cli('alerts', ['--json'])).stdout) as AlertsAnswer
}

/** The only alert, once it is so. */
async function alertWhere(isSo: (alert: AlertAnswer) => boolean): Promise<AlertAnswer> {
  let answer: AlertsAnswer | undefined
  for (let asked = 0; asked < 60; asked++) {
    answer = await alerts()
    const [alert] = answer.alerts
    if (alert !== undefined && isSo(alert)) return alert
  }
  throw new Error(`It is not so: ${JSON.stringify(answer)}`)
}

/** Requests, one after the other, until it is disposed of. */
function load(failing: (count: number) => boolean) {
  let isOver = false
  let count = 0
  server.answer = (_request, response) => {
    response.statusCode = failing(count++) ? 500 : 200
    response.end('web')
  }
  const running = (async () => {
    while (!isOver) {
      await shop.ask(client, service.ipv4, 80)
      await pause(5)
    }
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
    await using receiver = await AlertReceiver.start(lab.node, PORT)
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
              summary: 'shop/web: 100 % of requests failed in the last 1s, above 50 %',
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
      t.match(stdout, /^ErrorRate +critical +1 +0 +service shop\/\*, errors above 50 % until 20 %, in 1s$/m)
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
  },
)

t.test('a receiver that is down at first gets what began meanwhile, and what ended after it', async (t) => {
  {
    await using _ = load(() => true)
    const from = agent.logs.length
    await agent.waitFor('alerts not delivered', { from })
    t.match((await alerts()).delivery, { problem: /ECONNREFUSED/, waiting: 1 })
    const { stdout } = await agent.cli('status')
    t.match(stdout, /alerts do not reach http:\/\/127\.0\.0\.1:9095 since .*ECONNREFUSED/)
    const { stdout: text } = await agent.cli('alerts')
    t.match(text, /Nothing reaches http:\/\/127\.0\.0\.1:9095 since \d+ s: .*ECONNREFUSED.*; 1 to tell\./)
  }
  await using receiver = await AlertReceiver.start(lab.node, PORT)
  t.match((await receiver.waitFor('the beginning', () => true)).body, { status: 'firing' })
  await using _ = load(() => false)
  t.match((await receiver.waitFor('the end', (one) => one.body.status === 'resolved')).body.alerts.length, 1)
  t.equal(receiver.received.length, 2)
})

t.test('a value that dances between and over the thresholds is told once', async (t) => {
  await using receiver = await AlertReceiver.start(lab.node, PORT)
  let isWorse = true
  await using _ = load((count) => count % 5 < (isWorse ? 4 : 2))
  await receiver.waitFor('the beginning', () => true)
  for (const isOver of [false, true, false]) {
    isWorse = isOver
    const { state } = await alertWhere(({ value = 0 }) => value > 0.5 === isOver)
    t.equal(state, 'firing')
  }
  t.equal(receiver.received.length, 1)
})

t.test('over restarts of the agent what fires is not told again, and what ended meanwhile is told', async (t) => {
  await using receiver = await AlertReceiver.start(lab.node, PORT)
  // It fires since the test before; its receiver is another process now.
  t.match((await alerts()).alerts, [{ state: 'firing', told: true }])
  await agent.stop()
  agent = await shop.start(ARGS)
  {
    await using _ = load((count) => count % 5 < 4)
    t.match(await alertWhere(({ value = 0 }) => value > 0.5), { state: 'firing', told: true })
  }
  t.same(receiver.received, [])
  await agent.stop('SIGKILL')
  agent = await shop.start(ARGS)
  await using _ = load(() => false)
  const { body } = await receiver.waitFor('the end', () => true)
  t.match(body, { status: 'resolved', alerts: [{ status: 'resolved', labels: { service: 'shop/web' } }] })
})

t.test('a file that is broken leaves the rules before in force, and says where it is wrong', async (t) => {
  const from = agent.logs.length
  write(WEBHOOK + ERRORS.replace('above:', 'abvoe:'))
  t.match(await agent.waitFor('alert rules not read', { from }), { problem: /^rules\[0\]\.errors\.above: is missing$/ })
  t.match(
    (await agent.cli('status')).stdout,
    /Alert rules .*alerts\.yaml: rules\[0\]\.errors\.abvoe: unknown field; did you mean above\? .*the rules read before stay in force/,
  )
  t.match(await alerts(), { rules: [{ name: 'ErrorRate' }] })
  write(`${WEBHOOK}rules:\n  - service: *\n`)
  t.match(
    await agent.waitFor((line) => /^a \* that is not in quotes at line 3/.test(String(line['problem'])), { from }),
    {},
  )
  write(WEBHOOK + ERRORS)
  await agent.waitFor('alert rules read', { from })
  t.notMatch((await agent.cli('status')).stdout, /rules\[0\]|not in quotes/)
})

t.test('over TLS by a CA of one’s own, with a token; both read anew, and refused without them', async (t) => {
  const [key, cert] = [join(lab.dir, 'tls.key'), join(lab.dir, 'ca.crt')]
  const name = ['-subj', '/CN=receiver', '-addext', 'subjectAltName=IP:127.0.0.1']
  const made = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1']
  execFileSync('openssl', [...made, ...name, '-keyout', key, '-out', cert], { stdio: 'ignore' })
  const secure = (more: string) => `webhook: { url: "https://127.0.0.1:${PORT}/hook", ${more} }\n${ERRORS}`
  const tls = [readFileSync(key, 'utf8'), readFileSync(cert, 'utf8')]
  await using receiver = await AlertReceiver.start(lab.node, PORT, 200, tls)
  await using _ = load(() => true)
  const from = agent.logs.length
  write(secure('bearerTokenFile: token'))
  const refused = (why: RegExp) =>
    agent.waitFor((line) => line['msg'] === 'alerts not delivered' && why.test(String(line['why'])), { from })
  await refused(/ENOENT.*token/)
  writeFileSync(join(lab.dir, 'token'), 'secret\n')
  write(secure('bearerTokenFile: token, receiver: other'))
  await refused(/self-signed certificate/)
  t.same(receiver.received, [])
  write(secure('bearerTokenFile: token, caFile: ca.crt'))
  const { headers } = await receiver.waitFor('the beginning', () => true)
  t.equal(headers['authorization'], 'Bearer secret')
})

t.test('certificates, saturation, findings and metrics are those of the real node', async (t) => {
  const now = 'for: 0s'
  write(`rules:
  - { name: Certificate, certificate: { expiresWithin: 48h }, identity: "spiffe://cluster.local/ns/shop/sa/*", ${now} }
  - { name: Memory, saturation: { of: memory, above: 0% }, ${now} }
  - { name: Processors, saturation: { of: cpu, above: 0% }, ${now} }
  - { name: Proxies, expression: 'metric("weir_proxy_up") == 1 and metric("weir_enrolled_pods") == 2', ${now} }
  - { name: Found, finding: [invalid-route], ${now} }
  - { name: Quiet, service: shop/nobody, rate: { below: 1 }, ${now} }
  - { name: Never, certificate: { expiresWithin: 1s }, ${now} }
`)
  lab.apply(
    `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules: [{ backendRefs: [{ name: missing, port: 80 }] }]
`,
    'route.yaml',
  )
  const expected = [
    'Certificate spiffe://cluster.local/ns/shop/sa/client',
    'Certificate spiffe://cluster.local/ns/shop/sa/web',
    'Found HTTPRoute shop/web',
    'Memory ',
    'Processors ',
    'Proxies ',
    'Quiet shop/nobody',
  ]
  let found: readonly string[] = []
  for (let asked = 0; asked < 60 && found.length < expected.length; asked++) {
    found = (await alerts()).alerts
      .map(({ rule, labels }) => `${rule} ${labels['identity'] ?? labels['subject'] ?? labels['service'] ?? ''}`)
      .sort()
  }
  t.same(found, expected)
})
