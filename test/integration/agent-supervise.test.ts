import { join } from 'node:path'
import t from 'tap'
import { PROXY_LIMITS_DEFAULT } from '#contract'
import { closeListeners, openListeners } from '../../agent/broker/listeners.ts'
import { createLog } from '../../agent/log.ts'
import { ProxyPool } from '../../agent/supervise/proxy-pool.ts'
import { connectFromPod, createTestNode, readAll } from '../support/agent-pods.ts'

interface FakeStatus {
  readonly pid: number
  readonly uid: number
  readonly capabilities: readonly string[]
  readonly received: readonly string[]
  readonly sockets: readonly number[]
}

function createPool(count: number, compileCacheDir: string, pingMs?: number, main = 'fake-proxy.ts') {
  const pool = new ProxyPool({
    count,
    mainPath: join(import.meta.dirname, '../support', main),
    uid: 1337,
    ...(pingMs === undefined ? {} : { pingMs }),
    compileCacheDir,
    output: 'inherit',
    world: { version: 3, objects: () => [] },
    log: createLog('silent', 'n1'),
    settings: (proxyId) => ({
      proxyId,
      node: 'n1',
      trustDomain: 't',
      accessLog: 'off',
      metrics: 'on',
      limits: PROXY_LIMITS_DEFAULT,
      dns: { upstreams: [], preferCluster: false },
      outboundTrafficPolicy: 'ALLOW_ANY',
    }),
  })
  pool.start()
  return {
    pool,
    async statuses(): Promise<readonly FakeStatus[]> {
      return (await pool.status()).flatMap(({ lastStatus }) =>
        lastStatus ? [lastStatus as unknown as FakeStatus] : [],
      )
    },
    [Symbol.asyncDispose]: () => pool.stop(0),
  }
}

async function until<T>(
  what: string,
  probe: () => Promise<T | undefined | false> | T | undefined | false,
  times = 500,
): Promise<T> {
  for (let i = 0; i < times; i++) {
    const found = await probe()
    if (found) return found
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error(`Never happened: ${what}`)
}

t.test(
  'proxies have no privilege, get world before pods, sockets on demand, and are replaced when they die',
  async (t) => {
    using node = createTestNode(1)
    const pod = node.pod(0)
    const listeners = openListeners(pod.fd, [4, 6])
    await using running = createPool(2, t.testdir())
    const { pool } = running
    pool.addPod({ uid: 'u1', workload: 'shop/web', account: 'shop/web', netnsFd: pod.fd, listeners })
    const before = await until('both proxies up', async () => {
      const all = await running.statuses()
      const answered = ({ sockets, received }: FakeStatus) =>
        sockets.length === 3 && received.filter((type) => type === 'sockets-refused').length === 2
      return all.length === 2 && all.every(answered) && all
    })
    for (const status of before) {
      t.equal(status.uid, 1337)
      t.same(status.capabilities, [])
      t.same(status.received.slice(0, 3), ['settings', 'world', 'pod-add'])
      t.equal(status.received.filter((type) => type === 'sockets-refused').length, 2, 'too many, and a pod unknown')
    }
    t.match(await readAll(await connectFromPod(pod, '::1', 15001)), 'outbound')

    for (const { pid } of before) process.kill(pid, 'SIGKILL')
    const waiting = connectFromPod(pod, '127.0.0.1', 15001).then(readAll)
    const after = await until('both proxies up again', async () => {
      const all = await running.statuses()
      return (
        all.length === 2 &&
        all.every(({ pid, sockets }) => !before.some((old) => old.pid === pid) && sockets.length === 3) &&
        all
      )
    })
    t.match(
      await waiting,
      new RegExp(`^(${after.map(({ pid }) => pid).join('|')}) outbound`),
      'it waited in the backlog',
    )

    await pool.removePod('u1', 'drain')
    t.equal(
      (await pool.status()).every(({ restarts }) => restarts === 1),
      true,
    )
    closeListeners(listeners)
  },
)

t.test('a proxy that hangs is ended and another one started; one that answers stays', async (t) => {
  await using running = createPool(2, t.testdir(), 500)
  const { pool } = running
  const [stuck, sound] = await until('both proxies up', async () => {
    const all = await running.statuses()
    return all.length === 2 && all.map(({ pid }) => pid)
  })
  if (stuck === undefined) throw new Error('There is none')
  process.kill(stuck, 'SIGSTOP')
  // Nobody asks it but who looks whether it is there; an answer is waited for two seconds long.
  await until('another one', () => pool.lastStatus().every(({ state, pid }) => state === 'up' && pid !== stuck), 3000)
  t.match(pool.lastStatus(), [{ restarts: 1 }, { restarts: 0, pid: sound }])
  t.throws(() => process.kill(stuck, 0), { code: 'ESRCH' })
})

t.test('a proxy that hangs while it starts is ended, too', async (t) => {
  await using running = createPool(1, t.testdir(), 100, 'silent-proxy.ts')
  await until('another try', () => (running.pool.lastStatus()[0]?.restarts ?? 0) > 0, 3000)
  t.pass()
})

t.test('removing a pod from proxies that are gone ends by itself', async () => {
  await using running = createPool(1, t.testdir())
  await until('up', async () => (await running.statuses()).length === 1)
  const [status] = await running.statuses()
  const removed = running.pool.removePod('nobody', 'drain')
  if (status === undefined) throw new Error('There is none')
  process.kill(status.pid, 'SIGKILL')
  await removed
})

t.test(
  'a key is told to the proxies that a pod of its account is dealt to, and taken back with the last',
  async (t) => {
    using node = createTestNode(1)
    const netnsFd = node.pod(0).fd
    await using running = createPool(4, t.testdir())
    const { pool } = running
    const told = async (type: string, count: number): Promise<readonly number[]> =>
      await until(`${count} proxies got ${type}`, async () => {
        const slots = await pool.status()
        const statuses = slots.map(({ lastStatus }) => lastStatus as unknown as FakeStatus | undefined)
        if (statuses.some((status) => status === undefined)) return false
        const ids = slots.flatMap(({ id }, i) => (statuses[i]?.received.includes(type) ? [id] : []))
        return ids.length === count && ids
      })
    await until('all are up', async () => (await running.statuses()).length === 4)
    const material = { identity: 'spiffe://t/ns/shop/sa/web', privateKey: 'k', certificateChain: 'c', trustBundle: 'r' }
    pool.setIdentity('shop/web', material)
    const hand = pool.handOf('u1')
    t.ok(hand.length < 4, 'not all proxies serve the pod')
    pool.addPod({ uid: 'u1', workload: 'shop/web-1', account: 'shop/web', netnsFd, listeners: [] })
    t.same(await told('identity', hand.length), hand)
    pool.setIdentity('shop/other', { ...material, identity: 'spiffe://t/ns/shop/sa/other' })
    await pool.removePod('u1', 'now')
    t.same(await told('identity-forget', hand.length), hand)
    for (const { received } of await running.statuses()) {
      t.ok(received.filter((type) => type === 'identity').length <= 1, 'nobody got the other account')
    }
  },
)
