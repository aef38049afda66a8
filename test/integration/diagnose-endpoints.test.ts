/** Endpoints of real Services that are slower than their peers, ejected, or do not pass their checks. */
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { Diagnosed, LOOK_ARGS, ofShop } from '../support/diagnosed.ts'
import { FailingServer } from '../support/failing-server.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const pods = [
  await shop.pod('web-1', { labels: { app: 'web' } }),
  await shop.pod('web-2', { labels: { app: 'web' } }),
  await shop.pod('web-3', { labels: { app: 'web' } }),
] as const
const servers = pods.map((pod) => new FailingServer(t, pod))
const web = shop.service('web')
await shop.start(LOOK_ARGS)
const diagnosed = new Diagnosed(shop)
const [, , lastServer] = servers
const [, , lastPod] = pods
if (lastServer === undefined) throw new Error('Three were made')
const subject = `shop/web:80 ${lastPod.ipv4}:8080`

const policy = (more: string) => `apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: web, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: web }]
  loadBalancing: { algorithm: RoundRobin }
  ${more}`

let stopped = false
const asking = Promise.all(
  Array.from({ length: 6 }, async () => {
    while (!stopped) await shop.ask(client, web.ipv4, 80)
  }),
)
t.teardown(async () => {
  stopped = true
  await asking
})

t.test('endpoints that are alike are nothing to tell', async (t) => {
  await shop.apply(policy(''))
  t.same(ofShop(await diagnosed.looked(12)), [])
})

t.test('an endpoint that is slower than its peers, until it is not', async (t) => {
  lastServer.answer = (request, response) => void delay(150).then(() => lastServer.ok(request, response))
  t.match(await diagnosed.found('endpoint-slow', subject), {
    severity: 'warning',
    says: /^Endpoint .*:8080 of Service shop\/web:80 \(pod shop\/web-3\) takes \d+ ms to answer, its peers \d/,
    next: 'weir explain --from shop/client --to http://web.shop:80',
  })
  lastServer.reset()
  await diagnosed.quiet()
})

t.test('an endpoint that is ejected, until it is not', async (t) => {
  await shop.apply(policy('outlierDetection: { consecutiveErrors: 3, baseEjectionTime: 2s, maxEjectedPercent: 50 }'))
  lastServer.answer = lastServer.fail(500)
  t.match(await diagnosed.found('endpoint-ejected', subject), {
    severity: 'warning',
    says: /gets no requests from shop\/client, because requests to it failed one after the other$/,
    next: 'weir explain --from shop/client --to http://web.shop:80',
  })
  lastServer.reset()
  await diagnosed.quiet()
})

t.test('an endpoint that does not pass its health check, until it does', async (t) => {
  lastServer.answer = (request, response) =>
    request.url === '/healthz' ? lastServer.fail(503)(request, response) : lastServer.ok(request, response)
  const check = 'interval: 100ms, timeout: 300ms, unhealthyThreshold: 2, healthyThreshold: 2'
  await shop.apply(policy(`healthChecks: [{ ${check}, type: HTTP, http: { path: /healthz } }]`))
  t.match(await diagnosed.found('endpoint-unhealthy', subject), {
    severity: 'warning',
    says: /gets no requests, because it does not pass its health check: answered 503$/,
    evidence: ['Checked by pods of shop/client: answered 503'],
    next: 'weir status',
  })
  lastServer.reset()
  await diagnosed.quiet()
})
