/** Session persistence of HTTPRoutes: by cookie and by header, across nodes, weights and endpoints that go. */
import type http from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { FailingServer } from '../support/failing-server.ts'
import { type LabPod, openLab } from '../support/lab.ts'
import { type Answer, Shop } from '../support/shop.ts'

const lab = await openLab({ t, nodes: ['left', 'right'] })
const shop = new Shop(lab)
t.teardown(() => shop[Symbol.asyncDispose]())
const spec = (name: string, app = name) => ({ name, namespace: 'shop', serviceAccount: name, labels: { app } })
const right = lab.nodeNamed('right')
const [near, far] = [await lab.addPod(spec('client')), await right.addPod(spec('other'))]
const blue = [await lab.addPod(spec('blue-1', 'blue')), await right.addPod(spec('blue-2', 'blue'))]
const green = [await lab.addPod(spec('green-1', 'green')), await right.addPod(spec('green-2', 'green'))]
const servers = new Map([...blue, ...green].map((pod) => [pod.name, new FailingServer(t, pod)]))
const web = shop.service('web', { selector: { app: 'nobody' } })
shop.service('blue')
shop.service('green')
const args = ['--ca-dir', join(lab.dir, 'ca')]
await shop.start(args)
const rightAgent = await right.startAgent({ proxies: 1, extraArgs: args })

const route = (...rules: readonly string[]) => `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules:
${rules.map((rule) => `    - ${rule}`).join('\n')}`

const rule = (session: string, backends = 'blue: 1', path = '/') => {
  const refs = backends.split(', ').map((one) => {
    const [name, weight] = one.split(': ')
    return `{ name: ${name}, port: 80, weight: ${weight} }`
  })
  return `{ matches: [{ path: { value: ${path} } }], backendRefs: [${refs.join(', ')}], sessionPersistence: { ${session} } }`
}

const turns = `
apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: turns, namespace: shop }
spec:
  targetRefs: [{ kind: Service, name: blue }, { kind: Service, name: green }]
  loadBalancing: { algorithm: RoundRobin }
  outlierDetection: { consecutiveErrors: 2, maxEjectedPercent: 50, panicPercent: 0, baseEjectionTime: 30s }`

/** Both nodes go by it. */
async function given(...documents: readonly string[]): Promise<void> {
  const from = rightAgent.logs.length
  await shop.apply(turns, ...documents)
  await rightAgent.waitFor('world applied', { from })
}

const ask = (cookie = '', from: LabPod = near, target = '/') =>
  shop.ask(from, web.ipv4, 80, { target, headers: cookie === '' ? {} : { cookie } })

const setCookie = ({ headers }: Answer) => headers['set-cookie']?.[0] ?? ''
const cookieOf = (answer: Answer) => setCookie(answer).split(';')[0] ?? ''

/** Who answers requests with this cookie, and whether one was told a new one. */
async function by(cookie: string, from: LabPod = near, target = '/', count = 6) {
  const names = new Set<string>()
  let told = 0
  for (let i = 0; i < count; i++) {
    const answer = await ask(cookie, from, target)
    names.add(answer.by)
    if (setCookie(answer) !== '') told++
  }
  return { names: [...names].sort(), told }
}

t.test('a session keeps to its endpoint, from any node; others are balanced', async (t) => {
  await given(route(rule('sessionName: kept', 'blue: 1', '/shop')))
  const first = await ask('', near, '/shop/cart')
  t.match(setCookie(first), /^kept=[\w-]{54}; Path=\/shop; HttpOnly; SameSite=Strict$/)
  const cookie = cookieOf(first)
  const value = Buffer.from(cookie.slice(5), 'base64url')
  for (const pod of blue) t.notOk(value.includes(pod.ipv4) || value.includes(pod.name), 'it names nobody')
  t.same(await by(cookie, near, '/shop'), { names: [first.by], told: 0 })
  t.same(await by(`a=b; ${cookie}; kept=other`, far, '/shop/x'), { names: [first.by], told: 0 })
  t.same(await by('', near, '/shop'), { names: ['blue-1', 'blue-2'], told: 6 })
})

t.test('what was made up, or changed, or belongs to another rule, is no session', async (t) => {
  await given(route(rule('sessionName: s', 'blue: 1', '/a'), rule('sessionName: s', 'blue: 1', '/b')))
  const cookie = cookieOf(await ask('', near, '/a'))
  t.equal((await by(cookie, near, '/a')).told, 0)
  t.equal((await by(cookie, near, '/b')).told, 6, 'rules do not share sessions')
  const last = cookie.slice(0, -2)
  t.equal((await by(`${last}${cookie.endsWith('AA') ? 'BB' : 'AA'}`, near, '/a')).told, 6)
  t.equal((await by('s=', near, '/a')).told, 6)
  t.equal((await by(`s=${'A'.repeat(54)}`, near, '/a')).told, 6)
})

t.test('sessions go before weights, and stay with a backend whose weight is 0', async (t) => {
  await given(route(rule('sessionName: split', 'blue: 50, green: 50')))
  const firsts = []
  for (let i = 0; i < 30; i++) firsts.push(await ask())
  const colours = new Set(firsts.map(({ by: name }) => name.split('-')[0]))
  t.same(colours, new Set(['blue', 'green']))
  const first = firsts.find(({ by: name }) => name.startsWith('blue'))
  if (first === undefined) throw new Error('no blue')
  t.same(await by(cookieOf(first)), { names: [first.by], told: 0 })
  await given(route(rule('sessionName: split', 'blue: 0, green: 100')))
  t.same(await by(cookieOf(first)), { names: [first.by], told: 0 })
  t.same((await by('')).names, ['green-1', 'green-2'])
})

t.test('an endpoint that fails loses its sessions to others of its backend, which keep them', async (t) => {
  await given(route(rule('sessionName: moved', 'blue: 50, green: 50')))
  let first = await ask()
  while (!first.by.startsWith('blue')) first = await ask()
  const server = servers.get(first.by)
  if (server === undefined) throw new Error(first.by)
  server.answer = server.fail(500)
  const cookie = cookieOf(first)
  for (let i = 0; i < 2; i++) t.equal((await ask(cookie)).status, 500)
  const next = await ask(cookie)
  t.equal(next.status, 200)
  t.match(next.by, /^blue/)
  t.not(next.by, first.by)
  t.match(setCookie(next), /^moved=/, 'the client is told of its new session')
  t.same(await by(cookieOf(next)), { names: [next.by], told: 0 })
  server.reset()
})

t.test('timeouts end sessions; use keeps one that may not be idle', async (t) => {
  await given(route(rule('sessionName: idle, idleTimeout: 2s')))
  let cookie = cookieOf(await ask())
  const names = new Set<string>()
  for (let i = 0; i < 4; i++) {
    await delay(600)
    const answer = await ask(cookie)
    names.add(answer.by)
    t.not(setCookie(answer), '', 'the time of its last use is told again')
    cookie = cookieOf(answer)
  }
  t.equal(names.size, 1)
  await given(route(rule('sessionName: brief, idleTimeout: 300ms')))
  const brief = cookieOf(await ask())
  await delay(310)
  t.not(cookieOf(await ask(brief)), '', 'it was idle for too long')
  await given(route(rule('sessionName: whole, absoluteTimeout: 1500ms')))
  const short = cookieOf(await ask())
  t.equal(setCookie(await ask(short)), '')
  await delay(1510)
  t.not(cookieOf(await ask(short)), short)
  t.not(cookieOf(await ask(short)), '')
})

t.test('a permanent cookie says when it ends', async (t) => {
  await given(route(rule('sessionName: long, absoluteTimeout: 5m, cookieConfig: { lifetimeType: Permanent }')))
  const [, , maxAge = '', expires = ''] = setCookie(await ask()).split('; ')
  t.equal(maxAge, 'Max-Age=300')
  const leftMs = Date.parse(expires.replace('Expires=', '')) - Date.now()
  t.ok(leftMs > 290_000 && leftMs <= 300_000, expires)
})

t.test('a header carries a session as well', async (t) => {
  await given(route(rule('type: Header, sessionName: X-Session')))
  const first = await ask()
  const token = first.headers['x-session']
  t.match(token, /^[\w-]{54}$/)
  t.equal(first.headers['set-cookie'], undefined)
  for (let i = 0; i < 6; i++) {
    const answer = await shop.ask(far, web.ipv4, 80, {
      headers: { 'x-session': token } satisfies http.OutgoingHttpHeaders,
    })
    t.equal(answer.by, first.by)
    t.equal(answer.headers['x-session'], undefined)
  }
})

t.test('a Service with an affinity of its own is refused', async (t) => {
  const own = `
apiVersion: v1
kind: Service
metadata: { name: own, namespace: shop }
spec:
  clusterIP: None
  selector: { app: blue }
  ports: [{ name: http, port: 80, targetPort: 8080 }]
  sessionAffinity: ClientIP`
  const from = shop.agent.logs.length
  await given(own, route(rule('sessionName: clash', 'own: 1')))
  t.equal((await ask()).status, 500)
  const clash = 'Service own has sessionAffinity ClientIP, which does not go with sessionPersistence'
  await shop.agent.waitFor((line) => String(line['problem']).includes(clash), { from })
  await given(own, route(rule('sessionName: clash', 'own: 1').replace(/, sessionPersistence: .*}/, ' }')))
  t.equal((await ask()).status, 200, 'by itself it is none of the mesh’s business')
})

t.test('without a name each rule has one of its own', async (t) => {
  await given(route(rule('', 'blue: 1', '/a').replace('{  }', '{}'), rule('', 'blue: 1', '/b').replace('{  }', '{}')))
  const [a, b] = [cookieOf(await ask('', near, '/a')), cookieOf(await ask('', near, '/b'))]
  t.match(a, /^weir-session-[0-9a-f]{8}=/)
  t.not(a.split('=')[0], b.split('=')[0])
  const { steps } = await shop.explain(near, `http://${web.ipv4}/a`)
  t.ok(
    steps.some((step) => /bring the cookie weir-session-/.test(step)),
    steps.join('\n'),
  )
})
