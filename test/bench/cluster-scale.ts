/**
 * What a large cluster costs an agent: 10,000 pods and 1,000 Services from an API server, a thousand of the pods in the
 * mesh. Prints the time to ready, processor time and memory, then what a change of one pod costs, and how soon it holds.
 * `node test/bench/cluster-scale.ts [PODS [SERVICES]]`, as root.
 */
import { readFileSync } from 'node:fs'
import { FakeApiServer } from '../support/fake-api-server.ts'
import { openLab } from '../support/lab.ts'

const [pods = 10_000, services = 1_000] = process.argv.slice(2).map(Number)
const CHANGES = 20
const NODES = 100
const TICKS_PER_SECOND = 100

await using lab = await openLab()
const at = { netnsPath: lab.node.netnsPath, port: 6443 }
await using api = await FakeApiServer.start({ at })
api.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } })
const address = (second: number, i: number) => `10.${second + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`
const pod = (i: number, revision = 0) => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: `pod-${i}`,
    namespace: 'shop',
    uid: `uid-${i}`,
    labels: { app: `app-${i % services}`, revision: String(revision) },
    annotations: i % 10 === 0 ? { 'weir.dev/mesh': 'enabled' } : {},
  },
  spec: {
    nodeName: `node-${2 + (i % NODES)}`,
    serviceAccountName: `app-${i % services}`,
    containers: [{ name: 'app', image: 'app:1', ports: [{ containerPort: 8080 }] }],
  },
  status: {
    phase: 'Running',
    podIP: address(100, i),
    podIPs: [{ ip: address(100, i) }],
    conditions: [{ type: 'Ready', status: 'True' }],
  },
})
for (let i = 0; i < pods; i++) api.put(pod(i))
for (let i = 0; i < services; i++) {
  const metadata = { name: `app-${i}`, namespace: 'shop' }
  const ports = [{ port: 80, targetPort: 8080, protocol: 'TCP' }]
  const clusterIP = address(96, i)
  api.put({
    apiVersion: 'v1',
    kind: 'Service',
    metadata,
    spec: { selector: { app: `app-${i}` }, clusterIP, clusterIPs: [clusterIP], ports },
  })
}

const begun = performance.now()
const agent = await lab.startAgent({ proxies: 1, kubeconfig: await api.kubeconfig(lab.dir), waitReady: false })
await agent.waitFor('ready', { timeoutMs: 120_000 })
const readyMs = performance.now() - begun
const cost = () => {
  const fields = readFileSync(`/proc/${agent.pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  const cpuMs = ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND
  const rss = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${agent.pid}/status`, 'latin1'))?.[1]
  return { cpuMs, rssMiB: Number(rss) / 1024 }
}
const atReady = cost()
const { stdout } = await agent.cli('status', ['--json'])
const { proxies } = JSON.parse(stdout) as { proxies: { rssBytes: number }[] }
const proxyMiB = (proxies[0]?.rssBytes ?? 0) / 2 ** 20

const delays: number[] = []
for (let i = 0; i < CHANGES; i++) {
  const from = agent.logs.length
  const changed = performance.now()
  api.put(pod(i * 10, i + 1))
  await agent.waitFor('world applied', { from })
  delays.push(performance.now() - changed)
}
const after = cost()
delays.sort((a, b) => a - b)
console.log(`${pods} pods, ${services} services`)
console.log(
  `ready after ${Math.round(readyMs)} ms; agent ${Math.round(atReady.cpuMs)} ms CPU, ${Math.round(atReady.rssMiB)} MiB; proxy ${Math.round(proxyMiB)} MiB`,
)
console.log(
  `a change of one pod: ${Math.round((after.cpuMs - atReady.cpuMs) / CHANGES)} ms CPU of the agent, in force after ${Math.round(delays[CHANGES >> 1] ?? 0)} ms (median); then ${Math.round(after.rssMiB)} MiB`,
)
