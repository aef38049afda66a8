/** Retries, ejection, breakers, limits and faults, against servers that fail on demand. */
import type http from 'node:http'
import t from 'tap'
import { FailingServer } from '../support/failing-server.ts'
import type { LabPod } from '../support/lab.ts'
import { connectIn } from '../support/raw-socket.ts'
import { type Answer, type Ask, openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const other = await shop.pod('other')

const pods = [await shop.pod('one', { labels: { app: 'web' } }), await shop.pod('two', { labels: { app: 'web' } })]
const servers = pods.map((pod) => new FailingServer(t, pod))
const [one, two] = servers as [FailingServer, FailingServer]
const web = shop.service('web')
const narrow = shop.service('narrow', { selector: { app: 'web' } })
const fresh = shop.service('fresh', { selector: { app: 'web' } })
const share = shop.service('share', { selector: { app: 'web' } })
const budget = shop.service('budget', { selector: { app: 'web' } })
const rated = shop.service('rate', { selector: { app: 'web' } })
await shop.start()

/** Turns are taken unless it says otherwise, so that every endpoint gets its share. */
const policy = (spec: string, service = 'web') => `
apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: ${service}, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: ${service} }]
${/loadBalancing/.test(spec) ? '' : '  loadBalancing: { algorithm: RoundRobin }'}
  ${spec}`

const route = (rule: string) => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules: [{ backendRefs: [{ name: web, port: 80 }], ${rule} }]`

/** Servers as new, and only these objects. */
async function given(...documents: readonly string[]): Promise<void> {
  for (const server of servers) server.reset()
  await shop.apply(...documents)
}

const ask = (request: Ask = {}, from: LabPod = client): Promise<Answer> => shop.ask(from, web.ipv4, 80, request)

/** The flags that the access log has of a path, in order. */
async function flagsOf(target: string): Promise<string[]> {
  const line = () => shop.agent.logs.filter((one) => one['path'] === target)
  await shop.agent.waitFor((one) => one['path'] === target, { from: 0 })
  return line().map((one) => String(one['flags']))
}

/** Sum over the series of a counter whose labels hold all of these. */
async function counted(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
  const { stdout } = await shop.agent.cli('metrics', [])
  return stdout
    .split('\n')
    .filter((line) => line.startsWith(`${name}{`))
    .filter((line) => Object.entries(labels).every(([key, value]) => line.includes(`${key}="${value}"`)))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' '))), 0)
}

t.test('by default the endpoint that answers sooner gets most', async (t) => {
  one.answer = (request, response) => setTimeout(() => one.ok(request, response), 300)
  for (let i = 0; i < 20; i++) await ask()
  t.ok(one.bodies.length < 6, `${one.bodies.length} of 20`)
})

t.test('a route retries on the codes it names, at another endpoint, with the same body', async (t) => {
  await given(route('retry: { codes: [503], attempts: 1, backoff: 1ms }'), policy(''))
  one.answer = one.fail(503)
  for (let i = 0; i < 8; i++) {
    const answer = await ask({ target: '/retried', method: 'PUT' })
    t.equal(answer.status, 200)
    t.equal(answer.by, 'two')
  }
  t.ok(one.bodies.length > 0, 'the one that fails was asked')
  t.equal(two.bodies.length, 8)
  one.answer = one.fail(500)
  const statuses = new Set<number>()
  for (let i = 0; i < 20; i++) statuses.add((await ask({ target: '/not' })).status)
  t.same(statuses, new Set([200, 500]), 'another code is not retried')
})

t.test('when the attempts are used up the last answer is the answer, and the log says so', async (t) => {
  await given(policy('retry: { codes: [503], attempts: 2, backoff: { base: 1ms } }'))
  for (const server of servers) server.answer = server.fail(503)
  const answer = await ask({ target: '/exhausted' })
  t.equal(answer.status, 503)
  t.equal(answer.body, 'failed')
  t.equal(one.bodies.length + two.bodies.length, 3)
  t.same(await flagsOf('/exhausted'), ['URX'])
  t.equal(await counted('weir_retries_total', { outcome: 'exhausted' }), 1)
})

t.test('a body that is streamed is sent again up to 64 KiB, and never beyond', async (t) => {
  await given(policy('retry: { codes: [503], attempts: 3, backoff: { base: 1ms } }'))
  const send = async (size: number): Promise<string> => {
    for (const server of servers) server.bodies.length = 0
    let failures = 1
    for (const server of servers) {
      server.answer = (request, response) =>
        failures-- > 0 ? server.fail(503)(request, response) : server.ok(request, response)
    }
    using socket = await connectIn(client.netnsPath, web.ipv4, 80)
    await socket.send('POST /body HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n')
    for (let left = size; left > 0; left -= 10_000) {
      const length = Math.min(left, 10_000)
      await socket.send(`${length.toString(16)}\r\n${'x'.repeat(length)}\r\n`)
    }
    await socket.send('0\r\n\r\n')
    const { start } = await socket.message()
    return `${start.split(' ')[1]} ${[...one.bodies, ...two.bodies].join(', ')}`
  }
  t.equal(await send(30_000), '200 POST /body 30000, POST /body 30000')
  t.equal(await send(100_000), '503 POST /body 100000')
})

t.test('a reset is retried where it is asked for, and a slow try is given up for another', async (t) => {
  await given(
    policy('retry: { failures: [Reset, Timeout], attempts: 2, perTryTimeout: 300ms, backoff: { base: 1ms } }'),
  )
  one.answer = (request) => request.socket.destroy()
  for (let i = 0; i < 6; i++) t.equal((await ask({ target: '/reset', method: 'POST' })).by, 'two')
  t.ok(one.bodies.length > 0)
  one.reset()
  one.answer = () => {}
  for (let i = 0; i < 6; i++) t.equal((await ask({ target: '/slow' })).by, 'two')
  t.ok(one.bodies.length > 0)
  for (const server of servers) server.answer = () => {}
  t.equal((await ask({ target: '/all-slow' })).status, 504)
  t.same(await flagsOf('/all-slow'), ['UT'])
})

t.test('the request’s timeout bounds all its tries', async (t) => {
  await given(route('timeouts: { request: 400ms }, retry: { codes: [503], attempts: 10, backoff: 150ms }'))
  for (const server of servers) server.answer = server.fail(503)
  t.equal((await ask({ target: '/bounded' })).status, 504)
  t.ok(one.bodies.length + two.bodies.length <= 3)
})

t.test('the budget bounds retries: beyond it the first answer is the answer', async (t) => {
  // A Service that nothing was asked of yet.
  const retry = 'retry: { codes: [503], backoff: { base: 1ms } }'
  await given(policy(`${retry}\n  retryBudget: { percent: 50, minPerSecond: 0 }`, 'fresh'))
  for (const server of servers) server.answer = server.fail(503)
  for (let i = 0; i < 20; i++) t.equal((await shop.ask(client, fresh.ipv4, 80)).status, 503)
  t.equal(one.bodies.length + two.bodies.length, 30)
  t.ok((await counted('weir_retries_total', { outcome: 'overflow' })) >= 10)
})

t.test('an endpoint that fails again and again gets nothing for a while', async (t) => {
  await given(policy('outlierDetection: { consecutiveErrors: 3, baseEjectionTime: 2s, maxEjectedPercent: 50 }'))
  one.answer = one.fail(500)
  let failed = 0
  while ((await counted('weir_ejections_total', { reason: 'errors' })) === 0) {
    if ((await ask()).status === 500) failed++
    if (failed > 20) throw new Error('nobody is ejected')
  }
  t.equal(failed, 3)
  const { steps } = await shop.explain(client, `http://${web.ipv4}/`)
  const sentence = new RegExp(
    `^Endpoint ${pods[0]?.ipv4}:8080 of shop/web:80 failed this pod again and again: proxy 0 sends it`,
  )
  t.ok(
    steps.some((step) => sentence.test(step)),
    steps.join('\n'),
  )
  one.reset()
  for (let i = 0; i < 10; i++) t.equal((await ask()).by, 'two')
  t.equal(one.bodies.length, 0)
  const since = performance.now()
  while ((await ask()).by !== 'one') if (performance.now() - since > 20_000) throw new Error('it never comes back')
  t.pass('it comes back')
})

t.test('an endpoint of one family stays ejected while the other family is asked, too', async (t) => {
  await given(policy('outlierDetection: { consecutiveErrors: 3, maxEjectedPercent: 50 }', 'fresh'))
  const by = async (address: string) => (await shop.ask(client, address, 80)).by
  one.answer = one.fail(500)
  for (let i = 0; i < 6; i++) await by(fresh.ipv4)
  one.reset()
  for (let i = 0; i < 4; i++) t.ok(await by(fresh.ipv6 ?? ''))
  for (let i = 0; i < 4; i++) t.equal(await by(fresh.ipv4), 'two')
})

t.test('no more than the share that may be ejected is, and all are used when too few are left', async (t) => {
  const limits = 'consecutiveErrors: 2, maxEjectedPercent: 50'
  await given(policy(`outlierDetection: { ${limits}, panicPercent: 0 }`, 'share'))
  for (const server of servers) server.answer = server.fail(500)
  const before = await counted('weir_ejections_total', { destination_service_name: 'share' })
  for (let i = 0; i < 12; i++) t.equal((await shop.ask(client, share.ipv4, 80)).status, 500)
  t.equal(await counted('weir_ejections_total', { destination_service_name: 'share' }), before + 1, 'one of two')
  const one500 = Math.min(one.bodies.length, two.bodies.length)
  t.equal(one500, 2, 'the other gets what is left')
  await given(policy(`outlierDetection: { ${limits}, panicPercent: 60 }`, 'share'))
  for (let i = 0; i < 6; i++) await shop.ask(client, share.ipv4, 80)
  t.same([one.bodies.length, two.bodies.length], [3, 3], 'one of two is less than 60 %')
})

t.test('an endpoint whose success rate is far below the others’ is ejected', async (t) => {
  const rate = 'successRate: { minRequests: 5, minEndpoints: 2, stdevFactor: 900 }'
  await given(
    policy(`outlierDetection: { consecutiveErrors: 0, ${rate}, interval: 300ms, maxEjectedPercent: 50 }`, 'rate'),
  )
  let bad = 0
  one.answer = (request, response) => (bad++ % 2 === 0 ? one.fail(500) : one.ok)(request, response)
  const ejected = () => counted('weir_ejections_total', { destination_service_name: 'rate', reason: 'success-rate' })
  const since = performance.now()
  while ((await ejected()) === 0) {
    for (let i = 0; i < 20; i++) await shop.ask(client, rated.ipv4, 80)
    if (performance.now() - since > 20_000) throw new Error('nobody is ejected')
  }
  one.reset()
  for (let i = 0; i < 8; i++) t.equal((await shop.ask(client, rated.ipv4, 80)).by, 'two')
})

t.test('one pod’s bad requests eject nothing for another pod', async (t) => {
  await given(policy('outlierDetection: { consecutiveErrors: 2, maxEjectedPercent: 50 }'))
  one.answer = (request, response) => (request.url === '/bad' ? one.fail(500) : one.ok)(request, response)
  for (let i = 0; i < 8; i++) await ask({ target: '/bad' })
  one.bodies.length = 0
  for (let i = 0; i < 6; i++) t.equal((await ask()).by, 'two')
  const by = new Set<string>()
  for (let i = 0; i < 6; i++) by.add((await ask({}, other)).by)
  t.same([...by].sort(), ['one', 'two'])
})

t.test('more requests than the breaker lets through are refused at once', async (t) => {
  await given(policy('circuitBreaker: { maxRequests: 2 }'))
  const held: http.ServerResponse[] = []
  for (const server of servers) server.answer = (_request, response) => held.push(response)
  const first = [ask({ target: '/held' }), ask({ target: '/held' })]
  while (held.length < 2) await new Promise((resolve) => setTimeout(resolve, 5))
  t.equal((await ask({ target: '/over' })).status, 503)
  t.same(await flagsOf('/over'), ['UO'])
  for (const response of held) response.end()
  for (const answer of await Promise.all(first)) t.equal(answer.status, 200)
  for (const server of servers) server.reset()
  t.equal((await ask()).status, 200)
  t.equal(await counted('weir_circuit_breaker_overflows_total', { limit: 'requests' }), 1)
})

t.test('connections are bounded: who finds none waits its turn, and no more than may wait', async (t) => {
  await given(policy('circuitBreaker: { maxConnections: 1, maxPendingRequests: 2 }', 'narrow'))
  const held: http.ServerResponse[] = []
  for (const server of servers) server.answer = (_request, response) => held.push(response)
  const get = (target: string) => shop.ask(client, narrow.ipv4, 80, { target })
  const arrived = async (count: number) => {
    while (held.length < count) await new Promise((resolve) => setTimeout(resolve, 5))
  }
  const first = get('/1')
  await arrived(1)
  // Two wait; the third is one too many.
  const more = [get('/2'), get('/3'), get('/4')]
  t.equal((await Promise.race(more)).status, 503)
  for (let done = 1; done <= 3; done++) {
    await arrived(done)
    t.equal(held.length, done)
    held[done - 1]?.end()
  }
  t.equal((await first).status, 200)
  const statuses = (await Promise.all(more)).map(({ status }) => status)
  t.equal(statuses.filter((status) => status === 200).length, 2)
  t.equal(await counted('weir_circuit_breaker_overflows_total', { limit: 'pending' }), 1)
})

t.test('a rate limit answers 429 and says when to come back, for each caller its own', async (t) => {
  await given(policy('rateLimits: [{ by: { type: Source }, requests: 3, interval: 1h }]'))
  const statuses = []
  for (let i = 0; i < 5; i++) statuses.push((await ask({ target: '/limited' })).status)
  t.same(statuses, [200, 200, 200, 429, 429])
  const refused = await ask({ target: '/limited-again' })
  t.equal(refused.headers['retry-after'], '1200')
  t.equal(refused.body, 'weir: too many requests')
  t.same(await flagsOf('/limited-again'), ['RL'])
  const line = shop.agent.logs.find((one) => one['path'] === '/limited-again')
  t.match(line, { reason: 'a rate limit of TrafficPolicy shop/web', destinationService: 'web.shop.svc.cluster.local' })
  t.equal((await ask({}, other)).status, 200)
  t.equal(await counted('weir_rate_limited_total', { source_workload: 'client' }), 3)
})

t.test('rate limits by Service and by header value', async (t) => {
  await given(
    policy(
      'rateLimits: [{ requests: 4, interval: 1h }, { by: { type: Header, name: X-User }, requests: 1, interval: 1h }]',
      'fresh',
    ),
  )
  const get = async (user?: string) =>
    (await shop.ask(client, fresh.ipv4, 80, user === undefined ? {} : { headers: { 'x-user': user } })).status
  t.same([await get('ann'), await get('ann'), await get('bob')], [200, 429, 200])
  t.same([await get(), (await shop.ask(other, fresh.ipv4, 80)).status, await get()], [200, 200, 429])
  const refused = await shop.ask(client, fresh.ipv4, 80)
  t.equal(refused.headers['retry-after'], '900')
})

t.test('without a policy’s word the budget is a fifth of the requests and ten a second', async (t) => {
  await given(policy('retry: { codes: [503], attempts: 1, backoff: { base: 1ms } }', 'budget'))
  for (const server of servers) server.answer = server.fail(503)
  // Ten a second over the ten seconds that count are 100; a fifth of 150 requests are 30 more.
  for (let i = 0; i < 150; i++) await shop.ask(client, budget.ipv4, 80)
  const retries = one.bodies.length + two.bodies.length - 150
  t.ok(retries >= 120 && retries <= 140, `${retries} retries`)
})

t.test('faults delay and abort', async (t) => {
  await given(policy('faults: { abort: { status: 418 } }'))
  t.equal((await ask({ target: '/aborted' })).status, 418)
  t.same(await flagsOf('/aborted'), ['FI'])
  t.equal(one.bodies.length + two.bodies.length, 0)
  await shop.apply(policy('faults: { delay: { duration: 300ms }, abort: { percent: 0, status: 500 } }'))
  const since = performance.now()
  t.equal((await ask({ target: '/delayed' })).status, 200)
  t.ok(performance.now() - since >= 295)
  t.same(await flagsOf('/delayed'), ['DI'])
})

t.test('a key keeps to its endpoint', async (t) => {
  await given(policy('loadBalancing: { algorithm: ConsistentHash, hashOn: { type: Header, name: X-User } }'))
  const homes = new Set<string>()
  for (let user = 0; user < 12; user++) {
    const by = new Set<string>()
    for (let i = 0; i < 4; i++) by.add((await ask({ headers: { 'x-user': `user-${user}` } })).by)
    t.equal(by.size, 1)
    for (const name of by) homes.add(name)
  }
  t.equal(homes.size, 2)
})

t.test('a policy that does not validate does not apply, and is told', async (t) => {
  await given(policy('faults: { abort: { status: 418 } }'))
  const before = shop.agent.logs.length
  await shop.apply(policy('faults: { abort: { status: 200 } }'))
  t.equal((await ask()).status, 200)
  const { problem } = await shop.agent.waitFor('problem', { from: before })
  t.match(
    problem,
    'TrafficPolicy shop/web: spec.faults.abort.status: expected 400 to 599, got 200; until it is mended it does not apply',
  )
})
