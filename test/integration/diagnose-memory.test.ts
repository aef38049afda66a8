/** The memory of a real proxy and of real programs in pods' cgroups, that grows before it is used up. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, rmdirSync, writeFileSync } from 'node:fs'
import type net from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { Diagnosed, LOOK_ARGS } from '../support/diagnosed.ts'
import { connectSocketIn } from '../support/pod-sockets.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const pod = await shop.pod('web')
await shop.serve(pod)
const web = shop.service('web')
const agent = await shop.start(LOOK_ARGS)
const diagnosed = new Diagnosed(shop)

/** Of the memory controller, whichever version there is. */
function memoryCgroup(path: string, limitBytes: number) {
  const isV1 = existsSync('/sys/fs/cgroup/memory/memory.usage_in_bytes')
  const root = isV1 ? '/sys/fs/cgroup/memory' : '/sys/fs/cgroup'
  const folder = join(root, path)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, isV1 ? 'memory.limit_in_bytes' : 'memory.max'), String(limitBytes))
  const remove = async () => {
    for (let one = folder; one !== root; one = dirname(one)) {
      // The kernel lets go of it a little after its last process; others may use what is above it.
      for (let tries = 0; tries < 50 && existsSync(one); tries++) {
        try {
          rmdirSync(one)
        } catch {
          if (one !== folder) break
          await delay(20)
        }
      }
    }
  }
  return { add: (pid: number) => writeFileSync(join(folder, 'cgroup.procs'), String(pid)), remove }
}

const LEAK = `const kept = []
setInterval(() => { if (process.argv[1] === 'leak') kept.push(Buffer.alloc(1 << 20, kept.length)) }, 100)`

t.test('a pod whose memory grows towards its limit; one that holds what it has is not told', async (t) => {
  const groups = [
    { of: client, how: 'hold' },
    { of: pod, how: 'leak' },
  ].map(({ of, how }) => {
    const group = memoryCgroup(`kubepods/burstable/pod${of.uid}`, 512 << 20)
    const child = spawn(process.execPath, ['-e', LEAK, how], { stdio: 'ignore', env: {} })
    group.add(child.pid ?? 0)
    const ended = new Promise((resolve) => child.once('exit', resolve))
    return { group, child, ended }
  })
  try {
    t.match(await diagnosed.found('memory-leak', 'shop/web'), {
      says: /^The memory of pod shop\/web grows steadily, and reaches what there is for it in about \d/,
      evidence: [/^From \d+ MiB to \d+ MiB in \d.* s; there are 512 MiB for it$/],
    })
    const { findings } = await diagnosed.now()
    t.notOk(findings.some(({ kind, subject }) => kind === 'memory-leak' && subject === 'shop/client'))
  } finally {
    for (const { child } of groups) child.kill('SIGKILL')
    await Promise.all(groups.map(({ ended }) => ended))
    for (const { group } of groups) await group.remove()
  }
  await diagnosed.gone('memory-leak', 'shop/web')
})

t.test('a proxy whose memory grows with each connection that is held', async (t) => {
  // What is in the way of the agent's proxies is the limit of its own cgroup.
  const group = memoryCgroup(`weir-test-${shop.lab.id}`, 2 ** 30)
  t.teardown(async () => {
    await agent.stop()
    await group.remove()
  })
  group.add(agent.pid)
  const held: net.Socket[] = []
  let stopped = false
  const opening = (async () => {
    while (!stopped && held.length < 6000) {
      const more = await Promise.all(Array.from({ length: 8 }, () => connectSocketIn(client.netnsPath, web.ipv4, 80)))
      for (const socket of more) {
        socket.on('error', () => {})
        socket.write(`POST / HTTP/1.1\r\nHost: w\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(1000)}`)
      }
      held.push(...more)
      await delay(20)
    }
  })()
  try {
    t.match(await diagnosed.found('memory-leak', 'proxy 0'), {
      severity: 'warning',
      says: /^The memory of proxy 0 of this node grows steadily, and reaches what there is for it in about \d/,
      evidence: [/there are \d{3} MiB for it$/],
      next: 'weir top --sort connections',
    })
  } finally {
    stopped = true
    await opening
    t.comment(`${held.length} connections`)
    for (const socket of held) socket.destroy()
  }
  await diagnosed.gone('memory-leak', 'proxy 0')
})
