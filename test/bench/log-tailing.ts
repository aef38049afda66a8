/**
 * What log tailing costs, with the agent's own log thread: bytes per second of a processor while all lines of N pods are
 * read, joined with their pods and written as JSON; memory; and what it takes while nothing is written.
 * `node test/bench/log-tailing.ts [--pods N]… [--mib N] [--idle-seconds N] [--json FILE]`
 */
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { type LogPod, parseLogQuery } from '#logs'
import { createLog } from '../../agent/log.ts'
import { LogDesk } from '../../agent/logs/log-desk.ts'

const { values } = parseArgs({
  options: {
    pods: { type: 'string', multiple: true, default: ['1', '10', '500'] },
    mib: { type: 'string', default: '256' },
    'idle-seconds': { type: 'string', default: '20' },
    json: { type: 'string' },
  },
})

interface Row {
  readonly pods: number
  readonly lines: number
  readonly mbPerCpuSecond: number
  readonly mbPerSecond: number
  readonly rssGrowthMiB: number
  readonly idleCpuPercent: number
  readonly idleFollowedCpuPercent: number
}

const MIB = 1 << 20

/** Lines as services write them, some 150 bytes with the runtime's header. */
function block(from: number): string {
  let text = ''
  for (let n = from; n < from + 1000; n++) {
    const time = `2026-11-21T10:15:02.${String(n % 1e9).padStart(9, '0')}Z`
    text += `${time} stdout F {"level":"info","msg":"request served","path":"/api/v1/reviews/${n}","status":200,"ms":${n % 100},"user":"u${n % 977}"}\n`
  }
  return text
}

async function cpuSeconds(seconds: number): Promise<number> {
  const before = process.cpuUsage()
  await sleep(seconds * 1000)
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
}

async function measure(count: number, mib: number, idleSeconds: number): Promise<Row> {
  const directory = mkdtempSync(join(tmpdir(), 'weir-bench-logs-'))
  const root = join(directory, 'pods')
  const pods = Array.from({ length: count }, (_, n): LogPod => {
    const name = `web-${n}`
    return {
      uid: `uid-${n}`,
      namespace: 'shop',
      name,
      node: 'node-1',
      serviceAccount: 'web',
      owner: 'web',
      labels: {},
      enrolled: true,
    }
  })
  let lines = 0
  let bytes = 0
  for (const { name, uid } of pods) {
    const folder = join(root, `shop_${name}_${uid}`, 'app')
    mkdirSync(folder, { recursive: true })
    const file = join(folder, '0.log')
    do {
      appendFileSync(file, block(lines))
      lines += 1000
    } while (statSync(file).size < (mib * MIB) / count)
    bytes += statSync(file).size
  }
  const rssBefore = process.memoryUsage.rss()
  const desk = new LogDesk({
    config: {
      node: 'node-1',
      root,
      which: 'enrolled',
      stateFolder: join(directory, 'state'),
      keepMs: 3_600_000,
      keepBytes: 16 * MIB,
      file: { path: join(directory, 'out.json'), maxBytes: 1e12, files: 2 },
      otlpUrl: undefined,
      access: { kind: 'none', why: 'bench' },
    },
    log: createLog('silent', 'node-1'),
    pods: () => pods,
  })
  const [cpu, begun] = [process.cpuUsage(), performance.now()]
  let rssPeak = 0
  desk.begin()
  for (;;) {
    rssPeak = Math.max(rssPeak, process.memoryUsage.rss())
    const sent = (await desk.status())?.sinks[0]?.sent
    if (sent === lines) break
    await sleep(20)
  }
  const seconds = (performance.now() - begun) / 1000
  const { user, system } = process.cpuUsage(cpu)
  await sleep(7_000)
  const idle = await cpuSeconds(idleSeconds)
  const query = parseLogQuery(new URLSearchParams('all=true&follow=true&tail=0'), Date.now())
  if (typeof query === 'string') throw new Error(query)
  desk.open(query, { frame: () => {}, ended: () => {} })
  await sleep(7_000)
  const followed = await cpuSeconds(idleSeconds)
  await desk.stop()
  rmSync(directory, { recursive: true })
  return {
    pods: count,
    lines,
    mbPerCpuSecond: bytes / (user + system),
    mbPerSecond: bytes / 1e6 / seconds,
    rssGrowthMiB: (rssPeak - rssBefore) / MIB,
    idleCpuPercent: (idle / idleSeconds) * 100,
    idleFollowedCpuPercent: (followed / idleSeconds) * 100,
  }
}

const rows: Row[] = []
for (const pods of values.pods)
  rows.push(await measure(Number(pods), Number(values.mib), Number(values['idle-seconds'])))
console.table(
  rows.map((row) =>
    Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Math.round(value * 100) / 100])),
  ),
)
if (values.json !== undefined) writeFileSync(values.json, JSON.stringify({ rows }))
