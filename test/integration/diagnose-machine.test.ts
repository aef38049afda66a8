/**
 * A node whose processors are really used up, and one whose memory is: of that there is too much to use it up, so that the
 * agent reads of it in files of the test's, as it does of pods in cgroups of version 2 where this kernel has version 1.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import t from 'tap'
import type { DiagnoseAnswer } from '#contract'
import { Diagnosed, LOOK_ARGS } from '../support/diagnosed.ts'
import { bindFor } from '../support/lab-mounts.ts'
import { openShop } from '../support/shop.ts'

const shop = await openShop(t)
t.teardown(() => shop[Symbol.asyncDispose]())
const { lab } = shop
const web = await shop.pod('web')
const reader = await shop.pod('reader')
/** `RECENT_LOOKS` of the observer. */
const RECENT_LOOKS = 6
const agent = await shop.startWithOwnMounts(LOOK_ARGS)
const diagnosed = new Diagnosed(shop, agent, 60_000)

const isTold = ({ findings }: DiagnoseAnswer, of: string) =>
  findings.some(({ kind, subject }) => kind === 'node-saturated' && subject === of)

/** What the processors have done until now, proc_stat(5). */
function ticks(): { readonly busy: number; readonly total: number } {
  const [, ...fields] = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]?.split(/ +/) ?? []
  const numbers = fields.slice(0, 8).map(Number)
  const total = numbers.reduce((sum, one) => sum + one, 0)
  return { total, busy: total - (numbers[3] ?? 0) - (numbers[4] ?? 0) }
}

/** Waits until nothing is told of the processors; on a machine that others use up it is told, and so it should be. */
async function untilQuietOrBusy(): Promise<'quiet' | 'busy'> {
  for (let asked = 0; asked < 6; asked++) {
    const before = ticks()
    // Twice as many looks as are judged together: when those are busy, half of this time was.
    const answer = await diagnosed.looked(2 * RECENT_LOOKS)
    const now = ticks()
    const share = (now.busy - before.busy) / (now.total - before.total)
    if (!isTold(answer, 'processors')) return 'quiet'
    if (share < 0.4) throw new Error(`They are said to be used up, and are busy to ${share}: ${JSON.stringify(answer)}`)
  }
  return 'busy'
}

/** Ends by itself, also when the test was killed; whatever else there is to do goes before it. */
const BURN = `
const parent = process.ppid
const endMs = Date.now() + 120_000
console.log('listening')
while (process.ppid === parent && Date.now() < endMs) for (let i = 0; i < 1e6; i++);
`

t.test('processors that are used up, until they are not', async (t) => {
  t.comment(`before: ${await untilQuietOrBusy()}`)
  const count = 2 * availableParallelism()
  const burners = Array.from({ length: count }, () => {
    return lab.node.spawn('nice', ['-n', '19', process.execPath, '-e', BURN])
  })
  try {
    t.match(await diagnosed.found('node-saturated', 'processors'), {
      severity: /^(?:warning|critical)$/,
      says: /^The processors of this node are used up: (?:9[5-9]|100)(?:\.\d)? % busy over the last looks$/,
      next: 'weir metrics',
    })
  } finally {
    await Promise.all(burners.map((one) => one.stop('SIGKILL')))
  }
  t.comment(`after: ${await untilQuietOrBusy()}`)
})

t.test('memory that is used up, until it is not', async (t) => {
  const file = join(lab.dir, 'meminfo')
  const real = readFileSync('/proc/meminfo', 'latin1')
  const write = (availableKib: number) => {
    const text = real.replace(/^MemTotal:.*$/m, 'MemTotal:       16777216 kB')
    const available = `MemAvailable:   ${String(availableKib).padStart(10)} kB`
    // In place and as long as before: it is this file that the agent sees, at any time.
    writeFileSync(file, text.replace(/^MemAvailable:.*$/m, available), { flag: existsSync(file) ? 'r+' : 'w' })
  }
  write(8 << 20)
  bindFor(agent.pid, file, '/proc/meminfo')
  t.notOk(isTold(await diagnosed.looked(2), 'memory'), 'half of it can be had')
  write(512 << 10)
  t.match(await diagnosed.found('node-saturated', 'memory'), {
    severity: 'warning',
    says: 'The memory of this node is used up: 512 MiB of 16384 MiB can be had',
    evidence: ['When nothing is left the kernel kills what it thinks fit'],
    next: 'weir metrics',
  })
  write(100 << 10)
  await diagnosed.found('node-saturated', 'memory', ({ severity }) => severity === 'critical')
  // More than where it begins, and less than where it ends.
  write(1000 << 10)
  t.ok(isTold(await diagnosed.looked(2), 'memory'), 'it does not flap')
  write(8 << 20)
  await diagnosed.gone('node-saturated', 'memory')
})

/** A pod's cgroup of version 2 as the kubelet makes it; of its use, `inactive` are pages of files that nobody uses. */
function podCgroup(path: string) {
  const folder = join(lab.dir, 'cgroup', path)
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'memory.max'), `${512 << 20}\n`)
  const put = (name: string, text: string) => {
    writeFileSync(join(folder, 'new'), text)
    renameSync(join(folder, 'new'), join(folder, name))
  }
  const write = (use: number, inactive: number) => {
    // The stat first: in between it must not look as if more were used.
    put('memory.stat', `anon ${use - inactive}\ninactive_anon 0\ninactive_file ${inactive}\n`)
    put('memory.current', `${use}\n`)
  }
  write(100 << 20, 0)
  return write
}

t.test(
  'a pod whose memory grows, told by its cgroup of version 2; one that only reads files is not told',
  async (t) => {
    const escaped = web.uid.replaceAll('-', '_')
    const grow = podCgroup(`kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${escaped}.slice`)
    const readFiles = podCgroup(`kubepods/besteffort/pod${reader.uid}`)
    bindFor(agent.pid, join(lab.dir, 'cgroup'), '/sys/fs/cgroup')
    let [stopped, bytes] = [false, 100 << 20]
    const growing = (async () => {
      while (!stopped) {
        bytes += 1 << 20
        readFiles(bytes, bytes - (100 << 20))
        grow(bytes, 0)
        await pause(100)
      }
    })()
    try {
      t.match(await diagnosed.found('memory-leak', 'shop/web'), {
        says: /^The memory of pod shop\/web grows steadily, and reaches what there is for it in about \d/,
        evidence: [/^From \d+ MiB to \d+ MiB in \d.* s; there are 512 MiB for it$/],
      })
      const { findings } = await diagnosed.now()
      t.notOk(findings.some(({ kind, subject }) => kind === 'memory-leak' && subject === 'shop/reader'))
    } finally {
      stopped = true
      await growing
    }
    await diagnosed.gone('memory-leak', 'shop/web')
  },
)
