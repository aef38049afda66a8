/** Manifests and pods change while requests run: none is lost, none fails, each follows one world from end to end. */
import { execFileSync } from 'node:child_process'
import { renameSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type TAP as Tap } from 'tap'
import type { LabPod } from '../support/lab.ts'
import type { LogLine } from '../support/lab-agent.ts'
import { connectIn, listenIn, type RawSocket } from '../support/raw-socket.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const client = await shop.pod('client')
const pods = new Map<string, LabPod>()
for (const name of ['web', 'v1', 'v2']) {
  const pod = await shop.pod(name)
  pods.set(name, pod)
  await shop.serve(pod)
}
const web = shop.service('web')
shop.service('v1')
shop.service('v2')
const agent = await shop.start()

/** An HTTPRoute of Service web that says in a response header which version of it was followed. */
function route(backend: 'v1' | 'v2', version: string = backend): string {
  return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: web, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: web }]
  rules:
    - backendRefs: [{ name: ${backend}, port: 80 }]
      filters:
        - type: ResponseHeaderModifier
          responseHeaderModifier: { set: [{ name: x-rule, value: ${version} }] }
`
}

interface Got {
  /** Number of the phase in which the request was sent, and in which its answer was complete. */
  readonly sentIn: number
  readonly doneIn: number
  readonly status: string
  /** The server, and the version of the rule that the answer names. */
  readonly by: string
}

/** More than this mean that a change never came: the load ends. */
const MAX_REQUESTS = 10_000

/** Requests one after the other on each of some connections, which are never opened again. */
class Steady implements AsyncDisposable {
  readonly got: Got[] = []
  phase = 0
  readonly #sockets: readonly RawSocket[]
  readonly #running: Promise<unknown>
  #stopped = false
  #wake = Promise.withResolvers<void>()

  constructor(sockets: readonly RawSocket[]) {
    this.#sockets = sockets
    this.#running = Promise.all(sockets.map((socket) => this.#run(socket)))
    this.#running.catch(() => this.#wake.resolve())
  }

  static async open(from: LabPod, address: string, connections = 6): Promise<Steady> {
    const opening = Array.from({ length: connections }, () => connectIn(from.netnsPath, address, 80))
    return new Steady(await Promise.all(opening))
  }

  async #run(socket: RawSocket): Promise<void> {
    while (!this.#stopped && this.got.length < MAX_REQUESTS) {
      const sentIn = this.phase
      await socket.send('GET /steady HTTP/1.1\r\nhost: web\r\n\r\n')
      const answer = await socket.message()
      const by = `${answer.header('x-by')}/${answer.header('x-rule') ?? 'none'}`
      this.got.push({ sentIn, doneIn: this.phase, status: answer.start.slice(9, 12), by })
      this.#wake.resolve()
      this.#wake = Promise.withResolvers()
    }
  }

  /** Resolves after so many further answers; fails when a request does. */
  async more(count = 30): Promise<void> {
    const until = this.got.length + count
    if (until > MAX_REQUESTS) throw new Error(`The load has ended after ${MAX_REQUESTS} requests`)
    while (this.got.length < until) await Promise.race([this.#wake.promise, this.#running])
  }

  /** Makes the change under load: `settled` resolves when it is in force. */
  async through(edit: () => unknown, settled: () => Promise<unknown>): Promise<readonly Got[]> {
    await this.more()
    this.phase++
    await edit()
    await settled()
    this.phase++
    await this.more()
    return this.got
  }

  /** Ends every connection after its last answer: each request that was sent has been answered. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true
    await this.#running.catch(() => {})
    for (const socket of this.#sockets) socket[Symbol.dispose]()
  }
}

function since(from: number, wanted: string | ((line: LogLine) => boolean)): Promise<LogLine> {
  return agent.waitFor(wanted, { from })
}

const path = (name: string) => join(lab.manifestsDir, name)

/** Changes the routes under load, and checks that what was sent before followed `before`, and after `after`. */
async function change(
  t: Pick<Tap, 'same'>,
  load: Steady,
  what: string,
  before: string,
  after: string,
  edit: () => unknown,
): Promise<void> {
  const from = agent.logs.length
  const got = await load.through(edit, () => since(from, 'world applied'))
  const during = load.phase - 1
  const kinds = (some: readonly Got[]) => [...new Set(some.map(({ status, by }) => `${status} ${by}`))].sort()
  const inPhase = (phase: number) => got.filter(({ sentIn, doneIn }) => sentIn === phase && doneIn === phase)
  t.same(kinds(inPhase(during - 1)), [`200 ${before}`], `${what}: old before`)
  t.same(kinds(inPhase(during + 1)), [`200 ${after}`], `${what}: new after`)
  const between = got.filter(({ sentIn, doneIn }) => sentIn === during || doneIn === during)
  const strange = kinds(between).filter((kind) => kind !== `200 ${before}` && kind !== `200 ${after}`)
  t.same(strange, [], `${what}: old or new meanwhile`)
}

t.test('routes change under steady keep-alive traffic without a lost or failed request', async (t) => {
  await using load = await Steady.open(client, web.ipv4)
  await change(t, load, 'added by a rename', 'web/none', 'v1/v1', () => lab.apply(route('v1'), 'web.yaml'))
  await change(t, load, 'edited in place', 'v1/v1', 'v2/v2', () => writeFileSync(path('web.yaml'), route('v2')))
  await change(t, load, 'replaced by a rename', 'v2/v2', 'v1/again', () => lab.apply(route('v1', 'again'), 'web.yaml'))
  const several = `${route('v2', 'several')}---
apiVersion: v1
kind: List
items:
  - { apiVersion: v1, kind: ConfigMap, metadata: { name: other } }
  - apiVersion: weir.dev/v1alpha1
    kind: AuthorizationPolicy
    metadata: { name: none, namespace: shop }
    spec: { action: DENY, rules: [{ to: [{ operation: { paths: [/never] } }] }] }
`
  await change(t, load, 'one of several documents', 'v1/again', 'v2/several', () =>
    writeFileSync(path('web.yaml'), several),
  )
  t.equal((await shop.ask(client, web.ipv4, 80, { target: '/never' })).status, 403, 'the other document counts too')

  await change(t, load, 'renamed, then edited under the new name', 'v2/several', 'v1/moved', () => {
    renameSync(path('web.yaml'), path('moved.yaml'))
    writeFileSync(path('moved.yaml'), several.replace('value: several', 'value: moved').replace('name: v2', 'name: v1'))
  })
  await change(t, load, 'removed', 'v1/moved', 'web/none', () => lab.remove('moved.yaml'))
  t.equal((await shop.ask(client, web.ipv4, 80, { target: '/never' })).status, 200, 'with all that was in the file')
  t.equal((await agent.cli('status')).code, 0, 'no problem is left')
})

t.test('a file renamed as it is changes nothing, not even for a moment', async (t) => {
  await shop.change(() => lab.apply(route('v1'), 'a.yaml'))
  await using load = await Steady.open(client, web.ipv4)
  const from = agent.logs.length
  for (const [old, name] of [
    ['a.yaml', 'z.yaml'],
    ['z.yaml', 'b.yaml'],
  ] as const) {
    // The new object, in a file of its own, shows when the renamed ones have been looked at.
    const mark = agent.logs.length
    const service = { name: `mark-${old[0]}`, ports: [{ port: 1 }] }
    await load.through(
      () => {
        renameSync(path(old), path(name))
        lab.addService(service)
      },
      () => since(mark, 'world applied'),
    )
  }
  t.same([...new Set(load.got.map(({ by }) => by))], ['v1/v1'])
  const changed = agent.logs.slice(from).filter(({ msg }) => msg === 'world changed')
  t.same(
    changed.map(({ changed, removed }) => [changed, removed]),
    [
      [1, 0],
      [1, 0],
    ],
    'only the marks were changes',
  )
  await shop.change(() => lab.remove('b.yaml'))
})

t.test('a request in flight ends under the rule that it began with', async (t) => {
  await shop.apply(route('v1', 'old'))
  const held = await connectIn(client.netnsPath, web.ipv4, 80)
  const begun = await connectIn(client.netnsPath, web.ipv4, 80)
  const arrivals = [shop.arrival('held'), shop.arrival('begun')]
  await held.send('GET /?wait=held HTTP/1.1\r\nhost: web\r\n\r\n')
  await begun.send('GET /?wait=begun&stream HTTP/1.1\r\nhost: web\r\n\r\n')
  await Promise.all(arrivals)
  await begun.until('begun ')
  await shop.apply(route('v2', 'new'))
  shop.release('held')
  shop.release('begun', 'ended')
  const answer = await held.message()
  t.same([answer.header('x-by'), answer.header('x-rule'), String(answer.body)], ['v1', 'old', 'released'])
  t.match(await begun.until('0\r\n\r\n'), /ended\r\n/, 'a body that had begun is complete')
  for (const socket of [held, begun]) {
    await socket.send('GET / HTTP/1.1\r\nhost: web\r\n\r\n')
    const next = await socket.message()
    t.same([next.header('x-by'), next.header('x-rule')], ['v2', 'new'], 'the next one on the same connection')
    socket[Symbol.dispose]()
  }
  // Also when the Service that it went by, and the server's own pod, are not in the world any more.
  const arrival = shop.arrival('gone')
  const last = shop.ask(client, web.ipv4, 80, { target: '/?wait=gone' })
  await arrival
  await shop.apply()
  await shop.change(() => lab.remove('service-shop-v2.yaml'))
  shop.release('gone')
  t.match(await last, { status: 200, by: 'v2', headers: { 'x-rule': 'new' } })
  await shop.change(() => shop.service('v2'))
})

interface Reported {
  readonly problems: readonly { readonly subject: string; readonly message: string }[]
}

t.test('a half-written file is not applied and is told with its line until it is mended', async (t) => {
  const good = `${route('v1', 'good')}---\n${route('v2').replace('name: web,', 'name: web-too,')}`
  await shop.apply(good)
  await using load = await Steady.open(client, web.ipv4)
  const half = good
    .replace('value: good', 'value: bad')
    .replace('kind: HTTPRoute\nmetadata: { name: web-too', 'kind: {')
  const line = half.split('\n').findIndex((text) => text.startsWith('kind: {')) + 1
  let from = agent.logs.length
  await load.through(
    () => writeFileSync(path('test.yaml'), half),
    () => since(from, 'problem'),
  )
  const told = agent.logs.slice(from).find(({ msg }) => msg === 'problem')
  t.match(told?.['problem'], /^test\.yaml \(document 2\): not valid YAML: .*; the last good contents stay in force/)
  const at = Number(/ at line (\d+)/.exec(String(told?.['problem']))?.[1])
  t.ok(at >= line && at <= line + 2, `line ${at} is where it breaks (${line})`)

  const { code, stdout } = await agent.cli('status', ['--json'])
  t.equal(code, 1)
  const { problems } = JSON.parse(stdout) as Reported
  t.equal(problems.length, 1)
  t.match(problems[0], { subject: 'test.yaml (document 2)', message: / at line \d+/ })
  const words = await agent.cli('status')
  t.equal(words.code, 1)
  t.match(words.stdout, /error: test\.yaml \(document 2\): not valid YAML: .* at line \d+/)

  from = agent.logs.length
  await load.through(
    () => truncateSync(path('test.yaml')),
    () => since(from, (entry) => String(entry['problem']).includes('is empty')),
  )
  t.same([...new Set(load.got.map(({ by }) => by))], ['v1/good'], 'all that time the last good rule was followed')

  from = agent.logs.length
  await change(t, load, 'mended', 'v1/good', 'v2/mended', () =>
    writeFileSync(path('test.yaml'), good.replace('name: v1', 'name: v2').replace('value: good', 'value: mended')),
  )
  await since(from, 'problem solved')
  t.equal((await agent.cli('status')).code, 0)
  await shop.apply()
})

const echo = (connection: RawSocket) => connection.socket.pipe(connection.socket)
const talk = async (socket: RawSocket, word: string) => {
  await socket.send(`${word}\n`)
  return await socket.until(`${word}\n`)
}

t.test('pods come and go while the traffic of the others flows on', async (t) => {
  const outsider = await shop.pod('outsider', { optedIn: false })
  await using server = await listenIn((pods.get('web') as LabPod).netnsPath, 9000, echo)
  await using own = await listenIn(outsider.netnsPath, 9000, echo)
  await using load = await Steady.open(client, web.ipv4)
  const event = (from: number, msg: string) => () =>
    since(from, (entry) => entry['msg'] === msg && entry['pod'] === 'shop/outsider')
  const seenAt = async () => (await shop.ask(outsider, web.ipv4, 80)).seen?.headers['x-forwarded-client-cert']
  const podIp = (pods.get('web') as LabPod).ipv4
  const out = await connectIn(outsider.netnsPath, podIp, 9000)
  const inward = await connectIn(`/run/netns/${lab.node.netns}`, outsider.ipv4, 9000)
  t.equal(await talk(out, 'before'), 'before\n')
  t.equal(await talk(inward, 'before'), 'before\n')

  let from = agent.logs.length
  await load.through(() => outsider.update({ optedIn: true }), event(from, 'pod enrolled'))
  t.equal(await talk(out, 'enrolled'), 'enrolled\n', 'a connection from before goes on')
  t.equal(await talk(inward, 'enrolled'), 'enrolled\n', 'in both directions')
  t.match(await seenAt(), 'ns/shop/sa/outsider', 'a new one has the pod’s identity')

  from = agent.logs.length
  await load.through(() => outsider.update({ optedIn: false }), event(from, 'pod draining'))
  t.equal(await talk(out, 'left'), 'left\n')
  t.equal(await talk(inward, 'left'), 'left\n')
  await event(from, 'pod un-enrolled')()
  t.equal(await talk(out, 'gone'), 'gone\n')
  t.equal(await talk(inward, 'gone'), 'gone\n')

  from = agent.logs.length
  await load.through(() => outsider.update({ optedIn: true }), event(from, 'pod enrolled'))
  t.equal(await talk(out, 'again'), 'again\n')
  for (const socket of [out, inward]) socket[Symbol.dispose]()
  from = agent.logs.length
  const applied = () => since(from, (entry) => entry['msg'] === 'world applied')
  await load.through(() => {
    // As a node does it: first the namespace goes, then the object.
    execFileSync('ip', ['netns', 'del', outsider.netns])
    lab.remove('pod-shop-outsider.yaml')
  }, applied)
  const { got } = load
  t.same([...new Set(got.map(({ status, by }) => `${status} ${by}`))], ['200 web/none'], 'the others noticed nothing')
  t.ok(got.length > 50, `${got.length} requests`)
  t.notMatch((await agent.cli('pods')).stdout, 'outsider')
  t.same([server.failures, own.failures], [[], []])
})

t.test('a connection that runs through the mesh goes on when its pod opts out, until it ends', async (t) => {
  const leaver = await shop.pod('leaver')
  const event = (msg: string) => (entry: LogLine) => entry['msg'] === msg && entry['pod'] === 'shop/leaver'
  await since(0, event('pod enrolled'))
  await using server = await listenIn((pods.get('web') as LabPod).netnsPath, 9001, echo)
  using within = await connectIn(leaver.netnsPath, (pods.get('web') as LabPod).ipv4, 9001)
  t.equal(await talk(within, 'within'), 'within\n')
  leaver.update({ optedIn: false })
  await since(0, event('pod draining'))
  t.equal(await talk(within, 'left'), 'left\n')
  within.end()
  t.equal(await within.ended(), 'end')
  await since(0, event('pod un-enrolled'))
  t.same(server.failures, [])
})
