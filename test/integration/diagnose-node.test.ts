/** Proxies that do not keep up or end, a disk that is full, and pods that say nothing: on a real node. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import type { DiagnoseAnswer } from '#contract'
import { LAG_SAMPLE_MS } from '../../src/proxy/load-shedder.ts'
import { Diagnosed, LOOK_ARGS } from '../support/diagnosed.ts'
import { LogWriter } from '../support/log-writer.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
const small = join(shop.lab.dir, 'small')
mkdirSync(small)
execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'weir-test', small])
const unmount = () => execFileSync('umount', ['-l', small])
process.once('exit', unmount)
t.teardown(async () => {
  await shop.agent.stop()
  process.off('exit', unmount)
  unmount()
  await shop[Symbol.asyncDispose]()
})
const client = await shop.pod('client')
const pod = await shop.pod('web')
const mute = await shop.pod('mute')
await shop.serve(pod)
const web = shop.service('web')
const root = t.testdir({})
const folderOf = ({ name, uid }: { readonly name: string; readonly uid: string }) => `shop_${name}_${uid}`
const webLog = new LogWriter(root, folderOf(pod))
new LogWriter(root, folderOf(mute)).writeRaw('')
const agent = await shop.startOn(small, [
  ...LOOK_ARGS,
  '--log-root',
  root,
  '--shed-lag-ms',
  '200',
  '--resume-lag-ms',
  '100',
])
const diagnosed = new Diagnosed(shop)

t.test('a pod that never writes, and one that writes no more although it is asked', async (t) => {
  let [stopped, writes] = [false, true]
  const writing = (async () => {
    while (!stopped) {
      if (writes) webLog.write(['served'])
      await shop.ask(client, web.ipv4, 80)
      await delay(20)
    }
  })()
  try {
    t.match(await diagnosed.found('pod-silent', 'shop/mute'), {
      severity: 'info',
      says: 'Pod shop/mute has never written a line of log',
    })
    const { findings } = await diagnosed.now()
    t.same(
      findings.filter(({ kind }) => kind === 'pod-silent').map(({ subject }) => subject),
      ['shop/mute'],
    )
    writes = false
    t.match(await diagnosed.found('pod-silent', 'shop/web'), { severity: 'warning', next: 'weir logs shop/web' })
    writes = true
    await diagnosed.gone('pod-silent', 'shop/web')
  } finally {
    stopped = true
    await writing
  }
})

t.test('a disk that is full, until it is not', async (t) => {
  t.notOk((await diagnosed.now()).findings.some(({ kind, subject }) => kind === 'node-saturated' && subject === 'disk'))
  const file = join(small, 'fill')
  writeFileSync(file, Buffer.alloc(15.5 * 2 ** 20))
  t.match(await diagnosed.found('node-saturated', 'disk'), {
    says: /^The file system with the agent's state is full: /,
  })
  rmSync(file)
  await diagnosed.gone('node-saturated', 'disk')
})

t.test('a proxy that sheds load', async (t) => {
  const pid = await agent.proxyPid()
  // On a machine whose processors are used up anyway it is told as what follows from that.
  const sheds = ({ findings }: DiagnoseAnswer) =>
    findings.some(({ severity, says, evidence }) => {
      return (
        severity === 'critical' && [says, ...evidence].some((line) => /Proxy 0 of this node refuses new/.test(line))
      )
    })
  t.notOk(sheds(await diagnosed.now()))
  let ended = false
  const stopping = (async () => {
    while (!ended) {
      process.kill(pid, 'SIGSTOP')
      await delay(4 * LAG_SAMPLE_MS)
      process.kill(pid, 'SIGCONT')
      // Less than there is between two looks at the clock: none may come in time.
      await delay(LAG_SAMPLE_MS / 4)
    }
  })()
  try {
    await diagnosed.until('a proxy that sheds', sheds)
  } finally {
    ended = true
    await stopping
  }
  await diagnosed.until('a proxy that takes all requests again', (answer) => !sheds(answer))
})

t.test('a proxy that ended', async (t) => {
  t.notOk((await diagnosed.now()).findings.some(({ kind }) => kind === 'proxy-restarted'))
  process.kill(await agent.proxyPid(), 'SIGKILL')
  t.match(await diagnosed.found('proxy-restarted', 'proxy 0', ({ severity }) => severity === 'warning'), {
    says: /^Proxy 0 of this node ended once and was started again: its connections were cut$/,
    next: 'weir status',
  })
})
