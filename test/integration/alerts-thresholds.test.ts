/** Alerts of latency and of event loops that lag: from a slow application and a proxy that comes to nothing, to a receiver and back. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { AlertsAnswer } from '#contract'
import { AlertReceiver, type Received } from '../support/alert-receiver.ts'
import { Diagnosed } from '../support/diagnosed.ts'
import { FailingServer } from '../support/failing-server.ts'
import { openShop } from '../support/shop.ts'

const PORT = 9096
const PATIENCE_MS = 60_000
/** Far above what a machine with much to do makes of nothing. */
const SLOW_MS = 2_000
const STOPPED_MS = 1_800
const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const client = await shop.pod('client')
const web = await shop.pod('web')
const service = shop.service('web')
const server = new FailingServer(t, web)
let isSlow = false
server.answer = (request, response) => {
  if (isSlow) setTimeout(() => server.ok(request, response), SLOW_MS)
  else server.ok(request, response)
}
const file = join(lab.dir, 'alerts.yaml')
writeFileSync(
  file,
  `webhook: { url: "http://127.0.0.1:${PORT}/hook" }
rules:
  - name: SlowAnswers
    service: shop/*
    latency: { percentile: p50, aboveMs: 1000, clearMs: 900, minRequests: 3 }
    window: 4s
    for: 0s
    keepFiringFor: 0s
  - name: LateProcess
    severity: critical
    saturation: { of: event-loop-lag, aboveMs: 1500, clearMs: 1400 }
    for: 0s
    keepFiringFor: 0s
`,
)
const agent = await shop.start(['--look-ms', '200', '--access-log', 'off', '--alerts', file])
const diagnosed = new Diagnosed(shop, agent, PATIENCE_MS)
const receiver = await AlertReceiver.start(lab.node, PORT)
t.teardown(() => receiver[Symbol.asyncDispose]())
let isOver = false
const loading = Array.from({ length: 6 }, async () => {
  while (!isOver) {
    // What gets no answer at all is not what this is about.
    await shop.ask(client, service.ipv4, 80).catch(() => {})
    await pause(50)
  }
})
const endLoad = async () => {
  isOver = true
  await Promise.all(loading)
}
t.teardown(endLoad)

type Label = readonly [name: string, value: string]
const SLOW: Label = ['service', 'shop/web']
const LATE: Label = ['process', 'proxy-0']

/** What is told of that one, whatever else a message tells. */
function toldOf({ body }: Received, [name, value]: Label) {
  return body.alerts.find(({ labels }) => labels[name] === value)
}

async function told(label: Label, status: string) {
  const isIt = (received: Received) => toldOf(received, label)?.status === status
  const received = await receiver.waitFor(`${label[1]} ${status}`, isIt, PATIENCE_MS)
  return toldOf(received, label)
}

/** Judged several times over, it neither fires nor is about to. */
async function silent([name, value]: Label): Promise<void> {
  let answer: AlertsAnswer | undefined
  for (let asked = 0; asked < 30; asked++) {
    await diagnosed.looked(5)
    answer = JSON.parse((await agent.cli('alerts', ['--json'])).stdout) as AlertsAnswer
    if (!answer.alerts.some(({ labels }) => labels[name] === value)) return
  }
  throw new Error(`It is not silent: ${JSON.stringify(answer)}`)
}

t.test('a proxy whose event loop lags is told, and so is its end; meanwhile a service that answers late', async (t) => {
  await silent(LATE)
  await silent(SLOW)
  const pid = await agent.proxyPid()
  let isFiring = false
  const stopping = (async () => {
    while (!isFiring) {
      process.kill(pid, 'SIGSTOP')
      await pause(STOPPED_MS)
      process.kill(pid, 'SIGCONT')
      await pause(500)
    }
  })()
  try {
    t.match(await told(LATE, 'firing'), {
      labels: { alertname: 'LateProcess', severity: 'critical', node: 'node-1', process: 'proxy-0' },
      annotations: { summary: /^proxy-0: the lag of the event loop is \d{4,} ms, above 1500 ms$/, next: /^weir \w/ },
      endsAt: '0001-01-01T00:00:00Z',
    })
  } finally {
    isFiring = true
    await stopping
  }

  isSlow = true
  const slow = await told(SLOW, 'firing')
  t.match(slow, {
    labels: { alertname: 'SlowAnswers', severity: 'warning', node: 'node-1', service: 'shop/web' },
    annotations: {
      summary: /^shop\/web: p50 is \d{4,} ms in the last 4s, above 1000 ms$/,
      next: 'weir stat shop/web',
    },
  })
  isSlow = false
  const ended = await told(SLOW, 'resolved')
  t.match(ended, { startsAt: slow?.startsAt, fingerprint: slow?.fingerprint })
  t.ok(Date.parse(ended?.endsAt ?? '') > Date.parse(ended?.startsAt ?? ''))
  await silent(SLOW)

  // The greatest of the last 10 to 20 seconds.
  t.match(await told(LATE, 'resolved'), { labels: { process: 'proxy-0' } })
  await silent(LATE)
})
