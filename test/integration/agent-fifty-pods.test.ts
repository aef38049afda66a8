/** What a node of fifty idle pods costs: memory, and how long enrolment takes (told, not judged). */
import { readFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { openLab } from '../support/lab.ts'

const MAX_MIB = 180
const IDLE_LOOKS = 30
const LOOK_MS = 500

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
}

t.test('agent and one proxy with fifty idle pods stay below 180 MiB', async (t) => {
  await using lab = await openLab({ t })
  for (let i = 0; i < 50; i++) await lab.addPod({ name: `pod-${i}`, namespace: 'shop' })
  // The first start after a change of the sources compiles them; what runs from then on does not.
  await using first = await lab.startAgent({ proxies: 1 })
  await first.waitFor('world applied')
  await first.stop()

  const agent = await lab.startAgent({ proxies: 1 })
  await agent.waitFor('world applied')
  const { proxies, enrolledPods } = JSON.parse((await agent.cli('status', ['--json'])).stdout) as {
    proxies: { pid: number }[]
    enrolledPods: number
  }
  t.equal(enrolledPods, 50)
  const pids = [agent.pid, ...proxies.map(({ pid }) => pid)]
  let parts: readonly number[] = []
  let total = Number.POSITIVE_INFINITY
  // Idle is what it is some seconds after the last pod: what enrolling left behind is collected when V8 thinks fit.
  for (let looked = 0; looked < IDLE_LOOKS && total > MAX_MIB; looked++) {
    if (looked > 0) await setTimeout(LOOK_MS)
    parts = pids.map(residentMiB)
    total = parts.reduce((sum, part) => sum + part, 0)
  }
  const times = agent.logs.filter(({ msg }) => msg === 'pod enrolled').map((line) => Number(line['tookMs']))
  times.sort((a, b) => a - b)
  t.comment(`RSS ${total.toFixed(0)} MiB (${parts.map((part) => part.toFixed(0)).join(' + ')})`)
  t.comment(`enrolling a pod took ${times[25]} ms at the median, ${times.at(-1)} ms at most`)
  t.ok(total <= MAX_MIB, `${total.toFixed(1)} MiB`)
  t.equal(await agent.stop(), 0)
})
