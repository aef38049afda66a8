/**
 * What the CNI plugin adds to a pod's start: RunPodSandbox through containerd, 50 pods of each kind, taking turns in one
 * run. `node test/bench/cni-add.ts [--pods N] [--json FILE]`, as root; needs scripts/setup. Exits 1 when the median of
 * opted-in pods exceeds that without the plugin by more than 150 ms.
 */
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { openLab } from '../support/lab.ts'
import { installPlugin, withPlugin } from '../support/lab-cni.ts'
import { type ContainerPodSpec, pendingPod, sandboxConfig } from '../support/lab-container-pod.ts'
import { BRIDGE_ONLY, bridgeConflist, CNI_CONF_DIR, Containerd } from '../support/lab-containerd.ts'

const LIMIT_MS = 150

const KINDS = [
  { kind: 'bridge alone', runtimeClass: BRIDGE_ONLY, optedIn: false },
  { kind: 'with the plugin, not opted in', runtimeClass: '', optedIn: false },
  { kind: 'with the plugin, opted in', runtimeClass: '', optedIn: true },
] as const

const { values } = parseArgs({ options: { pods: { type: 'string', default: '50' }, json: { type: 'string' } } })
const count = Number(values.pods)
if (!Number.isInteger(count) || count < 1) throw new Error('--pods takes a whole number from 1')

await using lab = await openLab()
await using runtime = await Containerd.start(lab.node, { cni: withPlugin(bridgeConflist(lab.node)) })
installPlugin(runtime)
const agent = await runtime.startAgent(lab.manifestsDir, {
  stateDir: '/run/weir',
  extraArgs: [`--cni-conf-dir=${CNI_CONF_DIR}`],
})

/** ms */
async function timeOf(name: string, { runtimeClass, optedIn }: (typeof KINDS)[number]): Promise<number> {
  const spec: ContainerPodSpec & { uid: string } = { name, uid: randomUUID(), optedIn }
  // As the API server does, tell of the pod before it is started.
  const file = await changing(() => lab.apply(pendingPod(spec, lab.node)))
  const sandbox = sandboxConfig(spec, lab.node, runtime.machine.cgroup)
  const startedAt = performance.now()
  const id = await runtime.cri.runPodSandbox(sandbox, runtimeClass)
  const tookMs = performance.now() - startedAt
  await runtime.removePod(id, sandbox.linux.cgroup_parent)
  await changing(() => lab.remove(file))
  return tookMs
}

/** Changes the objects; resolves when the agent has seen it. */
async function changing<T>(change: () => T): Promise<T> {
  const from = agent.logs.length
  const result = change()
  await agent.waitFor((line) => line['msg'] === 'world changed', { from })
  return result
}

function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

const times = KINDS.map((): number[] => [])
// One of each first, which is not counted.
for (let number = -1; number < count; number++) {
  for (const [index, kind] of KINDS.entries()) {
    const tookMs = await timeOf(`pod-${number + 1}-${index}`, kind)
    if (number >= 0) times[index]?.push(tookMs)
  }
}

const base = quantile(
  (times[0] ?? []).sort((a, b) => a - b),
  0.5,
)
const rows = KINDS.map(({ kind }, index) => {
  const sorted = (times[index] ?? []).sort((a, b) => a - b)
  const medianMs = quantile(sorted, 0.5)
  return { kind, pods: sorted.length, medianMs, p95Ms: quantile(sorted, 0.95), addedMs: medianMs - base }
})
for (const { kind, medianMs, p95Ms, addedMs } of rows) {
  const numbers = `median ${medianMs.toFixed(1)} ms, p95 ${p95Ms.toFixed(1)} ms, adds ${addedMs.toFixed(1)} ms`
  console.log(`${kind.padEnd(30)} ${numbers}`)
}
if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ rows }, null, 2)}\n`)
if ((rows.at(-1)?.addedMs ?? Number.NaN) > LIMIT_MS) {
  console.error(`cni-add: an opted-in pod waits more than ${LIMIT_MS} ms longer`)
  process.exitCode = 1
}
