/** `weir logs` and /logs against a running agent: files as a kubelet has them, requests as the proxies log them. */
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { WebSocket } from 'ws'
import { LogWriter } from '../support/log-writer.ts'
import { parsePrometheus } from '../support/prometheus-text.ts'
import { openShop } from '../support/shop.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const client = await shop.pod('client')
const web = await shop.pod('web', { labels: { app: 'web', tier: 'front' } })
const outsider = await shop.pod('outsider', { optedIn: false })
const leaving = await shop.pod('leaving')
await shop.serve(web)
const service = shop.service('web')
const directory = t.testdir({ pods: {} })
const root = join(directory, 'pods')
const folderOf = (pod: { readonly name: string; readonly uid: string }) => `shop_${pod.name}_${pod.uid}`
const webLog = new LogWriter(root, folderOf(web))
const sideLog = new LogWriter(root, folderOf(web), 'side')
const clientLog = new LogWriter(root, folderOf(client))
new LogWriter(root, folderOf(outsider)).write(['not to be seen'])
const leavingLog = new LogWriter(root, folderOf(leaving))
webLog.write(['web 1', 'web 2'])
webLog.rotate()
sideLog.write(['side 3'], 'stderr')
webLog.write([`web 4 trace_id=${TRACE}`])
webLog.rotate()
clientLog.write(['client 5'])
webLog.write(['web 6'])
leavingLog.write(['last words'])
const agent = await shop.start([
  '--log-root',
  root,
  '--access-log',
  join(directory, 'access.log'),
  '--log-file',
  join(directory, 'out.json'),
])

interface Record {
  readonly kind: string
  readonly message: string
  readonly pod: string
  readonly gone?: boolean
  readonly traceId?: string
  readonly path?: string
}

async function records(...args: string[]): Promise<readonly Record[]> {
  const { stdout, stderr, code } = await agent.cli('logs', [...args, '--json'])
  if (code !== 0) throw new Error(`weir logs ${args.join(' ')} ended with ${code}: ${stderr}`)
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line))
}
const messages = async (...args: string[]) => (await records(...args)).map(({ message }) => message)

t.test('all files of a pod are read in the order of time, compressed ones too', async (t) => {
  t.same(await messages('web'), ['web 1', 'web 2', 'side 3', `web 4 trace_id=${TRACE}`, 'web 6'])
  t.same(await messages('shop/web', '--tail', '2'), [`web 4 trace_id=${TRACE}`, 'web 6'])
  t.same(await messages('web', '--tail', 'all', '-c', 'side'), ['side 3'])
  t.same(await messages('web', '--since', '2026-11-21'), await messages('web', '--tail', 'all'))
  t.same(await messages('web', '--since', '1s'), [], 'all of it is older')
})

t.test('pods are chosen by labels, lines by expressions and traces', async (t) => {
  t.same(await messages('-l', 'app=web,tier=front', '--grep', 'web [12]$'), ['web 1', 'web 2'])
  t.same(await messages('-l', 'app!=web', '--grep', 'client'), ['client 5'])
  t.match(await records('--trace', TRACE), [{ message: `web 4 trace_id=${TRACE}`, traceId: TRACE, pod: 'web' }])
  const all = await messages('--all')
  t.same(
    all.filter((message) => message.startsWith('not')),
    [],
    'nothing of a pod that has not opted in',
  )
  t.equal(all.length, 7)
})

t.test('for people: when, who, which stream', async (t) => {
  const { stdout } = await agent.cli('logs', ['web'])
  const lines = stdout.trimEnd().split('\n')
  t.match(lines[0], /^2026-11-21T\S+Z shop\/web app \| web 1$/)
  t.match(lines[2], /^2026-11-21T\S+Z shop\/web side ! side 3$/)
})

t.test('requests of a trace stand among its lines', async (t) => {
  const traceparent = `00-${TRACE}-00f067aa0ba902b7-01`
  t.match(await shop.ask(client, service.ipv4, 80, { target: '/traced', headers: { traceparent } }), { status: 200 })
  await shop.ask(client, service.ipv4, 80, { target: '/other' })
  let found: readonly Record[] = []
  // The access log is written within a tenth of a second.
  while (!found.some(({ kind }) => kind === 'request')) found = await records('--trace', TRACE, '--requests')
  t.match(found, [
    { kind: 'line', message: /^web 4/ },
    { kind: 'request', path: '/traced', traceId: TRACE },
  ])
  const ofClient = await records('client', '--requests', '--tail', 'all')
  t.same(
    ofClient.filter(({ kind }) => kind === 'request').map(({ path }) => path),
    ['/traced', '/other'],
  )
  const { stdout } = await agent.cli('logs', ['client', '--requests'])
  t.match(stdout, /shop\/client > shop\/web GET \/traced 200 [\d.]+ ms trace 4bf92f/)
})

t.test('what is asked for wrongly, or is not there, is told with the remedy', async (t) => {
  for (const [args, code, line] of [
    [[], 64, /needs a pod, -l SELECTOR, --all or --trace/],
    [['web', 'x'], 64, /takes no further argument "x"/],
    [['nobody'], 1, /No pod nobody on node .*; weir pods --all/],
    [['outsider'], 1, /Pod outsider is not in the mesh.*--logs all/],
    [['web', '--grep', '(x'], 1, /^--grep: missing \) at offset 2 of "\(x" /],
    [['web', '--since', 'x'], 1, /^--since: expected a duration/],
    [['web', '--tail', '-1'], 1, /^--tail: /],
  ] as const) {
    const { stderr, code: ended } = await agent.cli('logs', args)
    t.match({ ended, stderr }, { ended: code, stderr: line }, args.join(' '))
  }
  const elsewhere = await lab.node.exec(join(import.meta.dirname, '../../scripts/weir'), [
    'logs',
    '--all',
    '--state-dir',
    directory,
  ])
  t.match(elsewhere, { code: 69, stderr: /no agent is running there/ })
})

function stream(query: string) {
  const lines: string[] = []
  const socket = new WebSocket(`ws+unix:${join(lab.node.stateDir, 'admin.sock')}:/logs?${query}`)
  let waits: readonly { readonly text: string; readonly resolve: () => void }[] = []
  socket.on('message', (data) => {
    const fresh = String(data)
    lines.push(...fresh.split('\n').filter((line) => line !== ''))
    for (const { text, resolve } of waits) if (fresh.includes(text)) resolve()
    waits = waits.filter(({ text }) => !fresh.includes(text))
  })
  const until = (text: string) => {
    const { promise, resolve } = Promise.withResolvers<void>()
    if (lines.some((line) => line.includes(text))) resolve()
    else waits = [...waits, { text, resolve }]
    return promise
  }
  t.teardown(() => socket.terminate())
  return { socket, lines, until }
}

async function metricAbove(metric: string, least: number): Promise<void> {
  for (;;) {
    const samples = parsePrometheus((await agent.cli('metrics')).stdout)
    if (samples.some(({ name, value }) => name === metric && value > least)) return
  }
}

t.test('a reader that follows gets each line once, over a rotation, after the last that were there', async (t) => {
  const { lines, until, socket } = stream('pod=web&container=app&follow=true&tail=1')
  await until('"kind":"live"')
  webLog.write(['web 7'])
  await until('web 7')
  webLog.writeRaw('2026-11-21T10:00:01Z stdout P web ')
  webLog.writeRaw('\n')
  webLog.rotate()
  webLog.writeRaw('2026-11-21T10:00:01Z stdout F 8\n')
  await until('web 8')
  const shown = lines.map((line) => JSON.parse(line))
  t.same(
    shown.map(({ kind, message }) => message ?? kind),
    ['web 6', 'live', 'web 7', 'web 8'],
  )
  socket.terminate()
})

t.test('a slow reader is told how many lines it lost, and another gets them all', async (t) => {
  const count = 40_000
  const slow = stream('pod=web&container=app&follow=true&tail=0')
  const quick = stream('pod=web&container=app&follow=true&tail=0')
  await Promise.all([slow.until('"kind":"live"'), quick.until('"kind":"live"')])
  slow.socket.pause()
  const filler = '.'.repeat(300)
  for (let from = 0; from < count; from += 4000) {
    webLog.write(Array.from({ length: 4000 }, (_, i) => `n${from + i} ${filler}`))
    await quick.until(`n${from + 3999} `)
  }
  const of = (lines: readonly string[]) => lines.map((line) => JSON.parse(line))
  t.same(of(quick.lines).filter(({ message }) => message?.startsWith('n')).length, count, 'none is missing there')
  await metricAbove('weir_log_reader_lost_lines_total', 0)
  slow.socket.resume()
  await slow.until('"kind":"lost"')
  webLog.write(['after'])
  await slow.until('after')
  const got = of(slow.lines)
  const lost = got.filter(({ kind }) => kind === 'lost').reduce((sum, { lines }) => sum + lines, 0)
  t.ok(lost > 0)
  t.equal(
    got.filter(({ message }) => message?.startsWith('n')).length + lost,
    count,
    'what came and what is missing are all',
  )
  slow.socket.terminate()
  quick.socket.terminate()
})

t.test('the last lines of a pod that is gone can still be read', async (t) => {
  // It is held once the agent has looked: shipped lines show that it has.
  await metricAbove('weir_log_lines_sent_total', 7)
  leavingLog.write(['very last words'])
  await leaving.remove()
  rmSync(join(root, folderOf(leaving)), { recursive: true })
  let found: readonly Record[] = []
  while (found.length === 0 || found[0]?.gone !== true) found = await records('leaving').catch(() => [])
  t.match(found, [
    { message: 'last words', gone: true, pod: 'leaving' },
    { message: 'very last words', gone: true },
  ])
  const { stdout } = await agent.cli('logs', ['leaving'])
  t.match(stdout, /shop\/leaving app \(gone\) \| last words/)
})

t.test('requests of a request id stand among the lines that name it, and one that is no id is not kept', async (t) => {
  const id = '8f14e45f-ceea-467f-a1d5-b6f5a3c1a2e3'
  webLog.write([`web 8 request_id=${id}`])
  await shop.ask(client, service.ipv4, 80, { target: '/numbered', headers: { 'x-request-id': id } })
  await shop.ask(client, service.ipv4, 80, { target: '/wordy', headers: { 'x-request-id': 'more than one word' } })
  let found: readonly Record[] = []
  while (!found.some(({ kind }) => kind === 'request')) found = await records('--trace', id, '--requests')
  t.same(
    new Set(found.map(({ kind, message, path }) => message ?? `${kind} ${path}`)),
    new Set([`web 8 request_id=${id}`, 'request /numbered']),
  )
  const short = '64fe8b2a57d3eff7'
  webLog.write([`web 9 traceId=${short}`])
  await shop.ask(client, service.ipv4, 80, { target: '/short', headers: { b3: `${short}-${short}-0` } })
  for (const named of [short, short.padStart(32, '0')]) {
    let both: readonly Record[] = []
    while (both.length < 2) both = await records('--trace', named, '--requests')
    t.same(new Set(both.map(({ message, path }) => message ?? path)), new Set([`web 9 traceId=${short}`, '/short']))
  }
  const { stdout } = await agent.cli('logs', ['client', '--requests', '--tail', 'all'])
  t.match(stdout, new RegExp(`GET /numbered 200 .* request ${id}\\n`))
  t.match(stdout, /GET \/wordy 200 [\d.]+ ms trace [0-9a-f]{32}\n/)
})

t.test('a page of another origin, and what is no WebSocket, are refused', async (t) => {
  const path = join(lab.node.stateDir, 'admin.sock')
  const socket = new WebSocket(`ws+unix:${path}:/logs?all=true`, { origin: 'http://evil.example' })
  const [, response] = await once(socket, 'unexpected-response')
  t.equal(response.statusCode, 403)
  response.resume()
  socket.on('error', () => {})
  socket.terminate()
})
