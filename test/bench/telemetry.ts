/**
 * Case `telemetry`: what seeing costs. The same traffic through Weir with metrics and access log, with metrics alone and
 * with neither, in one run. The access log goes into a pipe that is read, as in a pod, where a container runtime reads
 * standard output; and into a file, which costs what memory costs that the kernel takes for it anew.
 */
import { execFileSync, spawn } from 'node:child_process'
import { join } from 'node:path'
import { type Lab, openLab } from '../support/lab.ts'
import { type Contender, compare } from './compare.ts'
import { BACKEND_PORT, startBackend } from './peers.ts'
import type { BenchOptions, BenchRow } from './rows.ts'
import { startWeir } from './weir-peer.ts'

export async function contender(lab: Lab, name: string, flags: readonly string[]): Promise<Contender> {
  const pod = (podName: string) =>
    lab.addPod({ name: podName, namespace: 'bench', serviceAccount: podName, labels: { app: podName } })
  const [client, web] = [await pod('client'), await pod('web')]
  await startBackend(web, lab.dir)
  const peer = await startWeir(lab, { name, portName: 'http', backendPort: BACKEND_PORT, method: 'GET', flags })
  return { host: client, peer }
}

export async function telemetry(options: BenchOptions): Promise<BenchRow[]> {
  await using piped = await openLab({ ipv6: false })
  await using filed = await openLab({ ipv6: false })
  await using metrics = await openLab({ ipv6: false })
  await using none = await openLab({ ipv6: false })
  const pipe = join(piped.dir, 'access.pipe')
  execFileSync('mkfifo', [pipe])
  // Ends with the last of those that write.
  spawn('dd', [`if=${pipe}`, 'of=/dev/null', 'bs=64k', 'status=none'], { stdio: 'ignore' })
  const contenders = [
    await contender(piped, 'weir', ['--access-log', pipe]),
    await contender(filed, 'log in a file', ['--access-log', join(filed.dir, 'access.log')]),
    await contender(metrics, 'metrics alone', ['--access-log', 'off']),
    await contender(none, 'neither', ['--access-log', 'off', '--metrics', 'off']),
  ]
  return await compare('telemetry', contenders, options)
}
