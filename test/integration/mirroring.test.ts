/** Copies of requests: to other backends, never in the way of the request itself. */
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { FailingServer } from '../support/failing-server.ts'
import { connectIn } from '../support/raw-socket.ts'
import { type Ask, openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const webPod = await shop.pod('web')
const shadowPod = await shop.pod('shadow')
const darkPod = await shop.pod('dark')
const [web, shadow, dark] = [webPod, shadowPod, darkPod].map((pod) => new FailingServer(t, pod)) as [
  FailingServer,
  FailingServer,
  FailingServer,
]
const service = shop.service('web')
shop.service('shadow')
shop.service('dark')
await shop.start()

const mirror = (name: string, more = '') =>
  `{ type: RequestMirror, requestMirror: { backendRef: { name: ${name}, port: 80 }${more} } }`

const route = (filters: string) => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules: [{ filters: [${filters}], backendRefs: [{ name: web, port: 80 }] }]`

const ask = (request: Ask = {}) => shop.ask(client, service.ipv4, 80, request)

async function given(...documents: readonly string[]): Promise<void> {
  for (const server of [web, shadow, dark]) server.reset()
  await shop.apply(...documents)
}

/** Waits until the server has got as many requests. */
async function got(server: FailingServer, count: number): Promise<readonly string[]> {
  for (let i = 0; server.bodies.length < count; i++) {
    if (i > 400) throw new Error(`${server.name} got ${server.bodies.length} of ${count}`)
    await delay(10)
  }
  return server.bodies
}

async function counted(outcome: string): Promise<number> {
  const { stdout } = await shop.agent.cli('metrics', [])
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('weir_mirrored_requests_total{') && line.includes(`outcome="${outcome}"`))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
}

t.test('each mirror gets a copy, body included, as the rule has changed it; the log marks it', async (t) => {
  const edit = '{ type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: x-edited, value: yes }] } }'
  await given(route(`${mirror('shadow')}, ${mirror('dark')}, ${edit}`))
  const seen: unknown[] = []
  shadow.answer = (request, response) => {
    const { host, 'x-edited': edited, 'x-forwarded-client-cert': peer, 'x-own': own } = request.headers
    seen.push({ host, edited, peer, own })
    shadow.fail(500)(request, response)
  }
  using socket = await connectIn(client.netnsPath, service.ipv4, 80)
  await socket.send('POST /copied?a=1 HTTP/1.1\r\nHost: web.shop\r\nX-Own: 1\r\nTransfer-Encoding: chunked\r\n\r\n')
  for (let i = 0; i < 6; i++) await socket.send(`2710\r\n${'x'.repeat(10_000)}\r\n`)
  await socket.send('0\r\n\r\n')
  const { start } = await socket.message()
  t.match(start, /^HTTP\/1.1 200/, 'the answer is that of the backend')
  t.same(web.bodies, ['POST /copied?a=1 60000'])
  t.same(await got(shadow, 1), ['POST /copied?a=1 60000'])
  t.same(await got(dark, 1), ['POST /copied?a=1 60000'])
  t.same(seen, [
    {
      host: 'web.shop',
      edited: 'yes',
      peer: 'By=spiffe://cluster.local/ns/shop/sa/shadow;URI=spiffe://cluster.local/ns/shop/sa/client',
      own: '1',
    },
  ])
  const line = await shop.agent.waitFor((one) => one['mirror'] === true && one['destination'] === 'shop/shadow', {
    from: 0,
  })
  t.match(line, {
    path: '/copied',
    status: 500,
    route: 'shop/web',
    destinationService: 'shadow.shop.svc.cluster.local',
  })
  t.equal(await counted('sent'), 2)
})

t.test('a mirror that hangs, fails or is full delays nothing', async (t) => {
  await given(route(mirror('shadow')))
  shadow.answer = () => {}
  const since = performance.now()
  const all = await Promise.all(Array.from({ length: 80 }, () => ask({ target: '/many' })))
  t.same(new Set(all.map(({ status }) => status)), new Set([200]))
  t.ok(performance.now() - since < 8_000)
  t.equal(web.bodies.length, 80)
  await got(shadow, 64)
  t.equal(await counted('overflow'), 16, 'no more than 64 at a time')
  t.equal(shadow.bodies.length, 64)
})

t.test('larger bodies, and what the client breaks off, are not mirrored', async (t) => {
  await given(route(mirror('dark')))
  using socket = await connectIn(client.netnsPath, service.ipv4, 80)
  await socket.send(`POST /large HTTP/1.1\r\nHost: w\r\nContent-Length: 70000\r\n\r\n${'x'.repeat(70_000)}`)
  t.match((await socket.message()).start, /200/)
  using broken = await connectIn(client.netnsPath, service.ipv4, 80)
  await broken.send('POST /broken HTTP/1.1\r\nHost: w\r\nContent-Length: 10\r\n\r\nhalf')
  broken.reset()
  await ask({ target: '/small' })
  t.same(await got(dark, 1), ['GET /small 0'])
  t.equal(await counted('too-large'), 1)
})

t.test('percent and fraction are kept, within chance', async (t) => {
  await given(
    route(`${mirror('dark', ', fraction: { numerator: 1, denominator: 4 }')}, ${mirror('shadow', ', percent: 0')}`),
  )
  for (let i = 0; i < 100; i++) await ask({ target: '/part' })
  await got(dark, 1)
  t.ok(dark.bodies.length > 5 && dark.bodies.length < 55, String(dark.bodies.length))
  t.equal(shadow.bodies.length, 0)
})

t.test('policy of the mirror’s destination judges the copy; it does not touch the request', async (t) => {
  const deny = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: dark, namespace: shop }
spec:
  selector: { matchLabels: { app: dark } }
  action: DENY
  rules: [{ from: [{ source: { principals: [cluster.local/ns/shop/sa/client] } }] }]`
  await given(route(mirror('dark')), deny)
  t.equal((await ask({ target: '/judged' })).status, 200)
  const line = await shop.agent.waitFor((one) => one['mirror'] === true && one['path'] === '/judged', { from: 0 })
  t.match(line, { flags: 'RBAC', status: 403, policy: 'shop/dark' })
  t.equal(dark.bodies.length, 0)
})

t.test('what happens to copies is not held against the backend, nor against the flow', async (t) => {
  const policy = `
apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: web, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: web }]
  circuitBreaker: { maxRequests: 1 }
  retry: { codes: [500], backoff: { base: 1ms } }
  outlierDetection: { consecutiveErrors: 1, maxEjectedPercent: 100 }`
  await given(route(mirror('dark')), policy)
  dark.answer = dark.fail(500)
  for (let i = 0; i < 5; i++) t.equal((await ask({ target: '/calm' })).status, 200)
  t.equal((await got(dark, 5)).length, 5, 'none of them was tried again')
  t.equal((await shop.agent.cli('status', [])).stdout.includes('EJECTED'), false)
})

t.test('a reference that leads nowhere is told, and the requests go on', async (t) => {
  const from = shop.agent.logs.length
  await given(route(mirror('nobody')))
  t.equal((await ask()).status, 200)
  const { problem } = await shop.agent.waitFor('problem', { from })
  t.match(
    problem,
    'HTTPRoute shop/web: spec.rules[0].filters[0].requestMirror.backendRef: Service shop/nobody does not exist; nothing is mirrored there',
  )
})
