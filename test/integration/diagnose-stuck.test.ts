/** A proxy that gives no answer any more although its process is there: told while it is so, and not after. */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Diagnosed, LOOK_ARGS } from '../support/diagnosed.ts'
import { bindFor } from '../support/lab-mounts.ts'
import { openShop } from '../support/shop.ts'

/** It is asked every five seconds, and must have missed that twice. */
const PATIENCE_MS = 60_000

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const client = await shop.pod('client')
const pod = await shop.pod('web')
await shop.serve(pod)
const web = shop.service('web')
const agent = await shop.startWithOwnMounts(LOOK_ARGS)
// Where others use up the machine's processors, that would be told as the cause: this agent cannot see it.
const stat = join(shop.lab.dir, 'stat')
copyFileSync('/proc/stat', stat)
bindFor(agent.pid, stat, '/proc/stat')
const diagnosed = new Diagnosed(shop, agent, PATIENCE_MS)

/** On a machine that is slow enough it has been ended for it meanwhile, and another one serves. */
function goOn(pid: number): void {
  try {
    process.kill(pid, 'SIGCONT')
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}

t.test('a proxy that hangs is told as stuck; when it goes on, so do its requests, and nothing is told', async (t) => {
  t.equal((await shop.ask(client, web.ipv4, 80)).by, 'web')
  const { findings } = await diagnosed.looked(3)
  t.same(
    findings.filter(({ kind, severity }) => kind.startsWith('proxy-') && severity === 'critical'),
    [],
  )
  const pid = await agent.proxyPid()
  process.kill(pid, 'SIGSTOP')
  let waiting: ReturnType<typeof shop.ask> | undefined
  try {
    const found = await diagnosed.found('proxy-saturated', 'proxy 0', ({ says }) => says.includes('stuck'))
    t.match(found, {
      severity: 'critical',
      says: 'Proxy 0 of this node gives no answer: its event loop is stuck, and with it all its connections',
      evidence: [
        /^It has not answered [2-9] times in a row, asked every 5 s; after half a minute it is started again$/,
      ],
      next: 'weir top --sort requests',
    })
    // It waits in the backlog of the listener.
    waiting = shop.ask(client, web.ipv4, 80)
    waiting.catch(() => {})
  } finally {
    goOn(pid)
  }
  t.equal((await waiting).by, 'web')
  await diagnosed.until('a proxy that answers', (answer) => {
    return !answer.findings.some(({ says }) => says.includes('gives no answer'))
  })
})
