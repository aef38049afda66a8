/** One agent follows another on the same node: under load nothing fails, and whoever dies meanwhile takes nothing along. */
import { once } from 'node:events'
import { rmSync, statSync } from 'node:fs'
import http from 'node:http'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { closeFd, connectPackets, nftablesGeneration, openNetfilterSocket, sendPacket } from '#linux'
import { askAgent } from '../../cni/plugin/ask-agent.ts'
import { askFrom } from '../support/dns-peers.ts'
import { openLab } from '../support/lab.ts'
import type { LabAgent } from '../support/lab-agent.ts'
import type { LabPod } from '../support/lab-node.ts'
import { connectSocketIn, inside, listenSocketIn } from '../support/pod-sockets.ts'
import { listenIn } from '../support/raw-socket.ts'

t.setTimeout(120_000)
const lab = await openLab({ t, nodes: 2 })
t.teardown(() => lab.close())
const [, there] = lab.nodes
if (there === undefined) throw new Error('Two nodes were asked for')
const here = lab.node
const spec = (name: string) => ({ name, namespace: 'shop', serviceAccount: name, labels: { app: name } })
const client = await here.addPod(spec('client'))
const web = await here.addPod(spec('web'))
const distant = await there.addPod(spec('distant'))
const ports = [{ name: 'http', port: 80, targetPort: 8080 }]
const service = lab.addService({ name: 'web', namespace: 'shop', selector: { app: 'web' }, ports })
const extraArgs = ['--ca-dir', join(lab.dir, 'ca'), '--keep-rules', '--access-log', join(lab.dir, 'access.log')]
await there.startAgent({ proxies: 1, extraArgs })

/** A request for `/held` has come, and may be answered. */
const arrival = Promise.withResolvers<void>()
const released = Promise.withResolvers<void>()

async function serve(pod: LabPod): Promise<void> {
  const server = http.createServer((request, response) => {
    request.resume()
    if (request.url !== '/held') {
      response.end(pod.name)
      return
    }
    arrival.resolve()
    void released.promise.then(() => response.end('held'))
  })
  server.keepAliveTimeout = 60_000
  server.listen({ fd: listenSocketIn(pod.netnsPath, 8080) })
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
}
await serve(web)
await serve(distant)

const echo = await listenIn(distant.netnsPath, 9000, ({ socket }) => socket.pipe(socket))
t.teardown(() => echo[Symbol.asyncDispose]())

/** One that runs beside another is not waited for until its turn has come. */
const start = (...more: readonly string[]) =>
  here.startAgent({ proxies: 1, extraArgs: [...extraArgs, ...more], waitReady: more.length === 0 })

async function standBeside(agent: LabAgent, ...more: readonly string[]): Promise<LabAgent> {
  const from = agent.logs.length
  const next = await start('--take-over', ...more)
  await next.waitFor('standby', { timeoutMs: 20_000 })
  t.match(await agent.waitFor('successor ready', { from }), { successorPid: next.pid })
  return next
}

/** Requests over and over until stopped; what went wrong, in words. */
function load(from: LabPod, address: string, port: number, keepAlive: boolean) {
  const failures: string[] = []
  let answered = 0
  let connections = 0
  let stopped = false
  const worker = async (): Promise<void> => {
    let socket: Awaited<ReturnType<typeof connectSocketIn>> | undefined
    while (!stopped) {
      try {
        if (socket === undefined || socket.destroyed) {
          socket = await connectSocketIn(from.netnsPath, address, port)
          socket.on('error', () => undefined)
          connections++
        }
        const answer = await ask(socket, keepAlive)
        if (answer.status === 200) answered++
        else failures.push(`status ${answer.status}: ${answer.body}`)
        if (!keepAlive || answer.closes) {
          socket.destroy()
          socket = undefined
        }
      } catch (thrown) {
        failures.push(String(thrown))
        socket?.destroy()
        socket = undefined
      }
    }
    socket?.destroy()
  }
  const workers = Array.from({ length: keepAlive ? 8 : 4 }, worker)
  return {
    /** Resolves when that many more were answered, or as many have failed. */
    async more(count: number) {
      const enough = answered + failures.length + count
      while (answered + failures.length < enough) await new Promise((resolve) => setImmediate(resolve))
    },
    async stop() {
      stopped = true
      await Promise.all(workers)
      return { failures, answered, connections }
    },
  }
}

function ask(
  socket: Awaited<ReturnType<typeof connectSocketIn>>,
  keepAlive: boolean,
): Promise<{ readonly status: number; readonly body: string; readonly closes: boolean }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string; closes: boolean }>()
  let text = ''
  const late = setTimeout(() => fail(new Error('No answer')), 20_000)
  const done = () => {
    clearTimeout(late)
    socket.off('data', take)
    socket.off('error', fail)
    socket.off('close', closed)
  }
  const fail = (error: Error) => {
    done()
    reject(error)
  }
  const closed = () => fail(new Error(`closed after ${JSON.stringify(text)}`))
  const take = (bytes: Buffer) => {
    text += bytes.toString('latin1')
    const end = text.indexOf('\r\n\r\n')
    if (end === -1) return
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
    if (text.length < end + 4 + length) return
    done()
    resolve({
      status: Number(text.slice(9, 12)),
      body: text.slice(end + 4),
      closes: /\r\nconnection: close/i.test(text),
    })
  }
  socket.on('data', take)
  socket.on('error', fail)
  socket.on('close', closed)
  socket.write(`GET / HTTP/1.1\r\nHost: web\r\n${keepAlive ? '' : 'Connection: close\r\n'}\r\n`)
  return promise
}

const PATIENCE = { firstLineMs: 5_000, totalMs: 5_000 }

/** Does it over and over until stopped; what went wrong, in words. */
function repeat(job: () => Promise<string>) {
  const failures: string[] = []
  let stopped = false
  const running = (async () => {
    while (!stopped) {
      const failure = await job().catch(String)
      if (failure !== '') failures.push(failure)
      await new Promise((resolve) => setImmediate(resolve))
    }
  })()
  return {
    async stop() {
      stopped = true
      await running
      return failures
    },
  }
}

async function rules(): Promise<string> {
  const parts: string[] = []
  for (const pod of [client, web]) {
    for (const program of ['iptables-save', 'ip6tables-save']) parts.push((await pod.exec(program)).stdout)
    for (const args of [['rule'], ['route', 'show', 'table', '100']]) parts.push((await pod.exec('ip', args)).stdout)
  }
  return parts
    .join('')
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .map((line) => line.replace(/ \[\d+:\d+\]$/, ''))
    .join('\n')
}

/** Of the pod's nftables: any change of any rule moves it. */
function generation(pod: LabPod): number | undefined {
  const fd = inside(pod.netnsPath, openNetfilterSocket)
  try {
    return nftablesGeneration(fd)
  } finally {
    closeFd(fd)
  }
}

async function status(agent: LabAgent): Promise<Record<string, unknown>> {
  return JSON.parse((await agent.cli('status', ['--json'])).stdout) as Record<string, unknown>
}

const ADMIN = '127.0.0.1:15000'

/** Waits until that agent answers at the address. */
async function answersAt(agent: LabAgent, address: string): Promise<void> {
  for (let tried = 1; ; tried++) {
    const { body } = await here.curl(`http://${address}/status`)
    if (body !== '' && (JSON.parse(body) as { pid: number }).pid === agent.pid) return
    if (tried === 100) throw new Error(`Not ${agent.pid} answers at ${address}: ${body}`)
  }
}

const isSound = (agent: LabAgent) => ({ ready: true, pid: agent.pid, enrolledPods: 2, repairs: 0, problems: [] })

async function answers(t: Test): Promise<void> {
  t.equal((await client.curl(`http://${service.ipv4}/`)).body, 'web')
  t.equal((await client.curl(`http://${distant.ipv4}:8080/`)).body, 'distant')
  t.equal((await distant.curl(`http://${web.ipv4}:8080/`)).body, 'web')
}

let agent = await start()
const rulesBefore = await rules()

t.test('an agent that follows another takes over all pods, and no request fails', async (t) => {
  t.match(rulesBefore, /WEIR_OUTPUT/)
  const loads = {
    'new, inside the node': load(client, service.ipv4, 80, false),
    'kept, inside the node': load(client, service.ipv4, 80, true),
    'new, from the other node': load(distant, web.ipv4, 8080, false),
    'kept, from the other node': load(distant, web.ipv4, 8080, true),
    'new, to the other node': load(client, distant.ipv4, 8080, false),
    'kept, to the other node': load(client, distant.ipv4, 8080, true),
  }
  const all = Object.entries(loads)
  const names = repeat(async () => {
    const { answers } = await askFrom(client, 'web.shop.svc.cluster.local')
    return answers.join() === `A ${service.ipv4}` ? '' : answers.join()
  })
  const plugin = repeat(async () => {
    const asked = await askAgent(join(here.stateDir, 'cni.sock'), { command: 'STATUS' }, PATIENCE)
    // It asks again where nobody listens, so that is no failure of a pod.
    return asked.kind === 'reply' || asked.refused ? '' : asked.why
  })
  for (let round = 1; round <= 3; round++) {
    const next = await standBeside(agent)
    t.equal((await status(agent))['pid'], agent.pid, 'until then the old one answers')
    await Promise.all(all.map(([, running]) => running.more(50)))
    t.equal(await agent.stop(), 0)
    t.match(await next.waitFor('ready'), { pods: 2, failed: 0 })
    t.match(await next.waitFor('taking over'), { pods: 2 })
    await Promise.all(all.map(([, running]) => running.more(50)))
    t.match(await status(next), isSound(next))
    await answersAt(next, ADMIN)
    agent = next
  }
  for (const [name, running] of all) {
    const { failures, answered, connections } = await running.stop()
    t.comment(`${name}: ${answered} answered on ${connections} connections`)
    t.same(failures.slice(0, 5), [], `${name}: ${failures.length} failed`)
  }
  t.same(await names.stop(), [], 'names')
  t.same(await plugin.stop(), [], 'the CNI plugin')
  t.equal(await rules(), rulesBefore)
})

t.test('a connection that waits in the queue, a slow answer and an open stream outlive the agent', async (t) => {
  const next = await standBeside(agent)
  const held = arrival.promise
  const slow = client.curl(`http://${service.ipv4}/held`)
  await held
  const stream = await connectSocketIn(client.netnsPath, distant.ipv4, 9000)
  stream.write('\0before')
  t.equal(String(await once(stream, 'data')), '\0before')
  const ended = agent.stop()
  await next.waitFor('ready')
  stream.write('after')
  t.equal(String(await once(stream, 'data')), 'after')
  released.resolve()
  t.equal((await slow).body, 'held')
  await answers(t)
  stream.destroy()
  t.equal(await ended, 0)
  agent = next
})

t.test('an agent that is killed leaves its pods to the one that stands by', async (t) => {
  const before = generation(client)
  const next = await standBeside(agent)
  await agent.stop('SIGKILL')
  t.match(await next.waitFor('taking over'), { pods: 0 })
  t.match(await next.waitFor('ready'), { pods: 2, failed: 0 })
  await answers(t)
  t.match(await status(next), isSound(next))
  t.equal(await rules(), rulesBefore)
  t.equal(generation(client), before, 'rules that are right are not touched')
  agent = next
})

t.test('a successor that hangs gets its turn later; until then the rules fail closed', async (t) => {
  const next = await standBeside(agent)
  process.kill(next.pid, 'SIGSTOP')
  const from = agent.logs.length
  const ended = agent.stop()
  await agent.waitFor('hand-over failed: the successor did not take the sockets', { from })
  t.equal(await ended, 0)
  t.equal(await rules(), rulesBefore)
  t.not((await client.curl(`http://${service.ipv4}/`, ['-m', '1'])).code, 0)
  process.kill(next.pid, 'SIGCONT')
  t.match(await next.waitFor('ready'), { pods: 2, failed: 0 })
  await answers(t)
  agent = next
})

t.test('one that stands by and dies, by force or not, takes nothing along', async (t) => {
  for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
    const next = await standBeside(agent, '--admin', '127.0.0.1:15009')
    t.equal((await here.curl('http://127.0.0.1:15009/healthz/ready')).status, 200, 'it could serve')
    await answersAt(next, '127.0.0.1:15009')
    await answersAt(agent, ADMIN)
    const from = agent.logs.length
    const code = await next.stop(signal)
    if (signal === 'SIGTERM') t.equal(code, 0)
    await agent.waitFor('successor gone', { from })
    await answers(t)
    t.match(await status(agent), isSound(agent))
  }
  t.equal(await rules(), rulesBefore)
})

t.test('of two that stand by one is the successor, the other waits until that one has gone', async (t) => {
  const first = await standBeside(agent)
  const second = await start('--take-over')
  await second.waitFor('world applied')
  const from = agent.logs.length
  await first.stop()
  t.match(await agent.waitFor('successor ready', { from }), { successorPid: second.pid })
  const third = await start('--take-over')
  await third.waitFor('world applied')
  await agent.stop()
  await second.waitFor('ready')
  t.match(await second.waitFor('successor ready'), { successorPid: third.pid })
  await third.stop()
  await answers(t)
  agent = second
})

t.test('nonsense at the door harms nobody, and keeps nobody out', async (t) => {
  const path = join(here.stateDir, 'hand-over.sock')
  t.equal(statSync(path).mode & 0o777, 0o600)
  const hello = (more: object) => JSON.stringify({ type: 'hello', version: 1, node: here.name, pid: 1, ...more })
  const words = [
    ['\0\xff{'],
    ['x'.repeat(32_768)],
    ['{"type":"yours"}'],
    [hello({ version: 99 })],
    [hello({ node: 'another' })],
    [hello({}), hello({})],
    [hello({}), '{"type":"received","pods":2}'],
    [hello({}), '{"type":"pod","uid":"a","workload":"b","listeners":[]}'],
  ]
  for (const said of words) {
    const from = agent.logs.length
    const fd = connectPackets(path)
    for (const word of said) sendPacket(fd, Buffer.from(word, 'latin1'), [0, 1].slice(0, said.length === 1 ? 2 : 0))
    t.type((await agent.waitFor('successor gone', { from }))['reason'], 'string', said.join().slice(0, 60))
    closeFd(fd)
  }
  const silent = connectPackets(path)
  const next = await standBeside(agent)
  closeFd(silent)
  await next.stop()
  t.match(await status(agent), isSound(agent))
  await answers(t)
})

t.test('beside an agent that knows no hand-over it waits for that one to end', async (t) => {
  rmSync(join(here.stateDir, 'hand-over.sock'))
  const before = generation(web)
  const next = await start('--take-over')
  await next.waitFor('no hand-over: waits for the end of the running agent')
  await next.waitFor('standby')
  t.equal((await client.curl(`http://${service.ipv4}/`)).body, 'web')
  t.equal(await agent.stop(), 0)
  t.match(await next.waitFor('ready'), { pods: 2, failed: 0 })
  await answers(t)
  t.equal(await rules(), rulesBefore)
  t.equal(generation(web), before, 'rules that are right are not touched')
  agent = next
})

t.test('stopped and started again, an agent finds its rules right and touches none', async (t) => {
  const before = generation(web)
  t.equal(await agent.stop(), 0)
  t.equal(await rules(), rulesBefore)
  agent = await start()
  await answers(t)
  t.match(await status(agent), isSound(agent))
  t.equal(generation(web), before)
})
