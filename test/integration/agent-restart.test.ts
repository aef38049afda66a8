/** How long a node of a hundred enrolled pods is without a ready agent, whichever way the agent goes (told, not judged). */
import t from 'tap'
import { openLab } from '../support/lab.ts'
import type { LabAgent, LogLine } from '../support/lab-agent.ts'

const PODS = 100

t.setTimeout(120_000)

t.test(
  'an agent that comes after another has a hundred pods enrolled again, with their rules as they were',
  async (t) => {
    await using lab = await openLab({ t })
    for (let i = 0; i < PODS; i++) await lab.addPod({ name: `pod-${i}`, namespace: 'shop' })
    const start = (waitReady: boolean, ...more: readonly string[]) =>
      lab.node.startAgent({ proxies: 1, waitReady, extraArgs: ['--keep-rules', ...more] })
    const time = (line: LogLine) => Date.parse(String(line['time']))
    const tell = async (what: string, agent: LabAgent) => {
      const ready = await agent.waitFor('ready', { timeoutMs: 30_000 })
      t.match(ready, { pods: PODS, failed: 0 }, what)
      const began = agent.logs.find(({ msg }) => msg === 'taking over')
      const tookMs = began === undefined ? ready['tookMs'] : time(ready) - time(began)
      t.comment(`${what}: ready after ${String(tookMs)} ms${began === undefined ? ' (from its start)' : ''}`)
    }

    const first = await start(false)
    await tell('first start', first)
    t.equal(await first.stop(), 0)

    const second = await start(false)
    await tell('stopped and started again', second)

    const third = await start(false, '--take-over')
    await third.waitFor('standby', { timeoutMs: 20_000 })
    await second.waitFor('successor ready')
    t.equal(await second.stop(), 0)
    await tell('taken over', third)

    const fourth = await start(false, '--take-over')
    await fourth.waitFor('standby', { timeoutMs: 20_000 })
    await third.stop('SIGKILL')
    await tell('taken over from one that was killed', fourth)
    for (const agent of [second, third, fourth]) {
      t.same(
        agent.logs.filter(({ msg }) => msg === 'rules repaired' || msg === 'pod not enrolled'),
        [],
      )
    }
    t.equal(await fourth.stop(), 0)
  },
)
