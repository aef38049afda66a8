/** Three nodes in two zones: requests stay near while enough of what is near is well, and retries cross nodes. */
import http from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import { FailingServer } from '../support/failing-server.ts'
import { openLab } from '../support/lab.ts'
import { connectSocketIn } from '../support/pod-sockets.ts'

const lab = await openLab({ t, nodes: ['left', 'right', 'far'], zones: ['a', 'a', 'b'] })
t.teardown(() => lab.close())
const spec = (name: string, app = name) => ({ name, namespace: 'shop', serviceAccount: name, labels: { app } })
const client = await lab.nodeNamed('left').addPod(spec('client'))
const pods = [
  await lab.nodeNamed('left').addPod(spec('left', 'web')),
  await lab.nodeNamed('right').addPod(spec('right', 'web')),
  // Not in the mesh, so that its node needs no agent.
  await lab.nodeNamed('far').addPod({ ...spec('far', 'web'), optedIn: false }),
]
const [left, right, far] = pods.map((pod) => new FailingServer(t, pod)) as [FailingServer, FailingServer, FailingServer]
const service = lab.addService({
  name: 'web',
  namespace: 'shop',
  selector: { app: 'web' },
  ports: [{ name: 'http', port: 80, targetPort: 8080 }],
})
const args = { proxies: 1, extraArgs: ['--ca-dir', join(lab.dir, 'ca')] }
const agent = await lab.nodeNamed('left').startAgent(args)
await lab.nodeNamed('right').startAgent(args)

async function apply(text: string): Promise<void> {
  const from = agent.logs.length
  lab.apply(
    `
apiVersion: weir.dev/v1alpha1
kind: TrafficPolicy
metadata: { name: web, namespace: shop }
spec: { targetRefs: [{ kind: Service, name: web }], ${text} }`,
    'test.yaml',
  )
  await agent.waitFor('world applied', { from })
}

/** Who answers so many requests, and with what status when it is not 200. */
async function answers(count = 9): Promise<Readonly<Record<string, number>>> {
  const found: Record<string, number> = {}
  for (let i = 0; i < count; i++) {
    const socket = await connectSocketIn(client.netnsPath, service.ipv4, 80)
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    http
      .get({ createConnection: () => socket, host: 'web', headers: { connection: 'close' } }, (response) => {
        const { statusCode, headers } = response
        response.resume()
        response.on('end', () => resolve(statusCode === 200 ? String(headers['x-by']) : String(statusCode)))
      })
      .on('error', reject)
    const name = await promise
    found[name] = (found[name] ?? 0) + 1
  }
  return found
}

t.test('the nearest level with enough endpoints is used', async (t) => {
  await apply('loadBalancing: { algorithm: RoundRobin }')
  t.same(await answers(), { left: 3, right: 3, far: 3 })
  await apply('loadBalancing: { algorithm: RoundRobin, locality: {} }')
  t.same(await answers(), { left: 9 })
  await apply('loadBalancing: { algorithm: RoundRobin, locality: { prefer: [Zone] } }')
  t.same(Object.keys(await answers()).sort(), ['left', 'right'])
})

t.test('weights say how much goes where, and what is not named gets nothing', async (t) => {
  await apply(
    'loadBalancing: { algorithm: RoundRobin, locality: { weights: [{ from: region-1/a, to: { region-1/a: 50, region-1/b: 50 } }] } }',
  )
  const { left: here = 0, right: beside = 0, far: away = 0 } = await answers(60)
  t.equal(here + beside + away, 60)
  t.ok(here > 5 && beside > 5 && away > 12 && away < 48, `${here} ${beside} ${away}`)
  await apply('loadBalancing: { locality: { weights: [{ from: region-1, to: { region-1/b: 100 } }] } }')
  t.same(await answers(6), { far: 6 })
  await apply('loadBalancing: { locality: { weights: [{ from: eu-7, to: { region-1/b: 100 } }] } }')
  t.same(await answers(6), { left: 6 }, 'nothing is said of callers here: the nearest')
})

t.test('what is ejected nearby is served farther away, and retries cross the tunnel', async (t) => {
  await apply(
    'loadBalancing: { algorithm: RoundRobin, locality: {} }, retry: { codes: [503], attempts: 3, backoff: { base: 1ms } }, outlierDetection: { consecutiveErrors: 2, maxEjectedPercent: 70, panicPercent: 0 }',
  )
  for (const server of [left, right, far]) server.reset()
  left.answer = left.fail(503)
  const { right: served = 0, ...others } = await answers(6)
  t.same(others, { far: 6 - served }, 'the node has nobody left, half of the zone is not enough')
  t.ok(served > 0 && served < 6)
  right.answer = right.fail(503)
  t.same(await answers(6), { far: 6 })
  t.same([left.bodies.length, right.bodies.length - served], [2, 2], 'nobody gets more than it takes to find out')
})
