/** A proxy whose event loop does not keep up: it is stopped again and again, as a machine without time for it would. */
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { connectIn } from '../support/raw-socket.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const readinessProbe = { httpGet: { path: '/healthz', port: 8080 } }
const pod = await shop.pod('web', { container: { readinessProbe } })
const web = shop.service('web')
await shop.serve(pod)
await shop.start(['--shed-lag-ms', '200', '--resume-lag-ms', '100'])

async function proxy(): Promise<{ readonly pid: number; readonly shedding: boolean }> {
  const { stdout } = await shop.agent.cli('status', ['--json'])
  const [only] = (JSON.parse(stdout) as { proxies: { pid: number; shedding: boolean }[] }).proxies
  if (only === undefined) throw new Error(stdout)
  return only
}

t.test('new requests are refused while the event loop lags; others, and the kubelet, are served', async (t) => {
  const { pid } = await proxy()
  t.equal((await shop.ask(client, web.ipv4, 80)).status, 200)
  const arrived = shop.arrival('held')
  const held = shop.ask(client, web.ipv4, 80, { target: '/?wait=held' })
  await arrived
  const sockets = [await connectIn(client.netnsPath, web.ipv4, 80), await connectIn(client.netnsPath, web.ipv4, 80)]
  const from = shop.agent.logs.length
  let stopped = false
  const stop = () => {
    stopped = true
    process.kill(pid, 'SIGSTOP')
  }
  const go = () => {
    stopped = false
    process.kill(pid, 'SIGCONT')
  }
  t.teardown(() => stopped && go())
  // Each time it goes on it finds its clock far behind; what came meanwhile is read after that.
  for (let i = 0; i < 4; i++) {
    stop()
    await delay(500)
    if (i === 3) {
      for (const socket of sockets) await socket.send('GET /new HTTP/1.1\r\nHost: w\r\n\r\n')
      // Its kubelet asks from the node itself.
      void probe()
    }
    go()
    if (i < 3) await delay(20)
  }
  for (const socket of sockets) {
    const { start, body, header } = await socket.message()
    t.match(start, /^HTTP\/1.1 503 /)
    t.equal(body.toString(), 'weir: overloaded, try again')
    t.equal(header('retry-after'), '1')
  }
  shop.release('held')
  t.equal((await held).status, 200, 'what was there before goes on')
  t.equal(await probed.promise, 200, 'the kubelet’s probe passes')
  await shop.agent.waitFor('proxy sheds load: its event loop lags', { from })
  const again = await shop.agent.waitFor('proxy takes all requests again', { from })
  t.match(again, { proxy: 0, shedRequests: 2 })
  t.equal((await shop.ask(client, web.ipv4, 80)).status, 200)
  const line = await shop.agent.waitFor((one) => one['path'] === '/new', { from })
  t.match(line, { flags: 'OM', status: 503, reason: 'the event loop of the proxy lags' })
  const metrics = (await shop.agent.cli('metrics', [])).stdout
  t.match(metrics, /^weir_shed_requests_total 2$/m)
  t.match(metrics, /^weir_load_shedding 0$/m)
  t.match(metrics, /istio_requests_total\{[^}]*response_flags="OM"[^}]*\} /)
  for (const socket of sockets) socket.reset()
})

const probed = Promise.withResolvers<number>()

async function probe(): Promise<void> {
  const { status } = await shop.ask({ netnsPath: `/run/netns/${shop.lab.node.netns}` }, pod.ipv4, 8080, {
    target: '/healthz',
  })
  probed.resolve(status)
}
