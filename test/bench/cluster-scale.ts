/**
 * What a large cluster costs an agent and a proxy: pods, Services and their EndpointSlices from an API server, a thousand of
 * the pods in the mesh, and routes and policies for one Service of ten. Prints the time to ready, processor time and memory;
 * then what a change of each kind costs (in brackets: in the main thread), and how soon it holds: so that two sizes can be
 * compared. Another agent holds the lease of who writes status.
 * `node test/bench/cluster-scale.ts [PODS [SERVICES]]…`, as root; pairs are measured one after the other.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { FakeApiServer } from '../support/fake-api-server.ts'
import { GATEWAY_API, WEIR_POLICIES } from '../support/fake-objects.ts'
import { openLab } from '../support/lab.ts'

const CHANGES = Number(process.env['CHANGES'] ?? 60)
const SETTLE_MS = Number(process.env['SETTLE_MS'] ?? 5_000)
const NODES = 100
const OPTED_IN = 1000
/** One Service of so many has routes and policies. */
const SPECIAL = 10
const NS_PER_MS = 1e6

const address = (second: number, i: number) => `10.${second + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`

function podOf(i: number, services: number, every: number, revision = 0) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `pod-${i}`,
      namespace: 'shop',
      uid: `uid-${i}`,
      labels: { app: `app-${i % services}`, revision: String(revision) },
      annotations: i % every === 0 ? { 'weir.dev/mesh': 'enabled' } : {},
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
  }
}

function serviceOf(i: number, sessionAffinity = 'None') {
  const clusterIP = address(96, i)
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: `app-${i}`, namespace: 'shop' },
    spec: {
      selector: { app: `app-${i}` },
      sessionAffinity,
      clusterIP,
      clusterIPs: [clusterIP],
      ports: [{ port: 80, targetPort: 8080, protocol: 'TCP' }],
    },
  }
}

/** `ready` says how many of its endpoints are. */
function sliceOf(i: number, pods: number, services: number, ready: number) {
  const endpoints = []
  for (let pod = i; pod < pods; pod += services) {
    endpoints.push({
      addresses: [address(100, pod)],
      conditions: { ready: endpoints.length < ready },
      targetRef: { kind: 'Pod', name: `pod-${pod}`, namespace: 'shop' },
    })
  }
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `app-${i}-a`, namespace: 'shop', labels: { 'kubernetes.io/service-name': `app-${i}` } },
    addressType: 'IPv4',
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    endpoints,
  }
}

const ofService = (i: number) => ({ group: '', kind: 'Service', name: `app-${i}` })

function routeOf(i: number, services: number, revision = 0) {
  return {
    apiVersion: 'gateway.networking.k8s.io/v1',
    kind: 'HTTPRoute',
    metadata: { name: `app-${i}`, namespace: 'shop', creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: {
      parentRefs: [ofService(i)],
      rules: [
        {
          matches: [{ path: { type: 'PathPrefix', value: `/${revision}` } }],
          backendRefs: [{ name: `app-${(i + 1) % services}`, port: 80 }],
        },
      ],
    },
  }
}

function authorizationOf(i: number, revision = 0) {
  return {
    apiVersion: 'weir.dev/v1alpha1',
    kind: 'AuthorizationPolicy',
    metadata: { name: `app-${i}`, namespace: 'shop' },
    spec: {
      selector: { matchLabels: { app: `app-${i}` } },
      rules: [{ to: [{ operation: { paths: [`/${revision}/*`] } }] }],
    },
  }
}

function trafficOf(i: number, attempts = 1) {
  return {
    apiVersion: 'weir.dev/v1alpha1',
    kind: 'TrafficPolicy',
    metadata: { name: `app-${i}`, namespace: 'shop', creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: { targetRefs: [ofService(i)], retry: { attempts, codes: [503] } },
  }
}

const LEASE = {
  apiVersion: 'coordination.k8s.io/v1',
  kind: 'Lease',
  metadata: { name: 'weir-status', namespace: 'weir-system' },
  spec: { holderIdentity: 'another', leaseDurationSeconds: 3600 },
}
const SERVICE_ENTRIES = {
  group: 'networking.istio.io',
  versions: ['v1'],
  plural: 'serviceentries',
  kind: 'ServiceEntry',
  namespaced: true,
}
const ENTRY = {
  apiVersion: 'networking.istio.io/v1',
  kind: 'ServiceEntry',
  metadata: { name: 'outside', namespace: 'shop' },
  spec: {
    hosts: ['outside.example'],
    ports: [{ number: 443, name: 'tls', protocol: 'TLS' }],
    resolution: 'DNS',
  },
}

/** `mainMs` is the main thread's part: what others do is garbage collection and compilation, mostly. */
function costOf(pid: number): { cpuMs: number; mainMs: number; rssMiB: number } {
  const msOf = (thread: string) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ')[0]) / NS_PER_MS
  const rss = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]
  const cpuMs = readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => sum + msOf(thread), 0)
  return { cpuMs, mainMs: msOf(String(pid)), rssMiB: Number(rss) / 1024 }
}

async function measure(pods: number, services: number): Promise<void> {
  await using lab = await openLab()
  const at = { netnsPath: lab.node.netnsPath, port: 6443 }
  await using api = await FakeApiServer.start({ at, resources: [...GATEWAY_API, ...WEIR_POLICIES, SERVICE_ENTRIES] })
  const every = Math.max(1, Math.floor(pods / OPTED_IN))
  api.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } })
  api.put(LEASE)
  for (let i = 0; i < pods; i++) api.put(podOf(i, services, every))
  for (let i = 0; i < services; i++) {
    api.put(serviceOf(i))
    api.put(sliceOf(i, pods, services, Number.POSITIVE_INFINITY))
    if (i % SPECIAL !== 0) continue
    api.put(routeOf(i, services))
    api.put(authorizationOf(i))
    api.put(trafficOf(i))
  }
  const begun = performance.now()
  const agent = await lab.startAgent({ proxies: 1, kubeconfig: await api.kubeconfig(lab.dir), waitReady: false })
  await agent.waitFor('ready', { timeoutMs: 240_000 })
  const readyMs = performance.now() - begun
  const { stdout } = await agent.cli('status', ['--json'])
  const { proxies } = JSON.parse(stdout) as { proxies: { pid: number }[] }
  const proxyPid = proxies[0]?.pid ?? 0
  const [agentCost, proxyCost] = [costOf(agent.pid), costOf(proxyPid)]
  console.log(`${pods} pods, ${services} Services, ${pods} endpoints`)
  console.log(
    `  ready after ${Math.round(readyMs)} ms; agent ${Math.round(agentCost.cpuMs)} ms CPU, ${Math.round(agentCost.rssMiB)} MiB; proxy ${Math.round(proxyCost.cpuMs)} ms CPU, ${Math.round(proxyCost.rssMiB)} MiB`,
  )
  const change = async (what: string, put: (i: number) => void): Promise<void> => {
    const before = [costOf(agent.pid), costOf(proxyPid)]
    const delays: number[] = []
    for (let i = 0; i < CHANGES; i++) {
      const from = agent.logs.length
      const changed = performance.now()
      put(i)
      await agent.waitFor('world applied', { from, timeoutMs: 60_000 })
      delays.push(performance.now() - changed)
    }
    delays.sort((a, b) => a - b)
    const [ofAgent, ofProxy] = [costOf(agent.pid), costOf(proxyPid)].map(({ cpuMs, mainMs }, i) => {
      const [all, main] = [cpuMs - (before[i]?.cpuMs ?? 0), mainMs - (before[i]?.mainMs ?? 0)]
      return `${(all / CHANGES).toFixed(1)} (${(main / CHANGES).toFixed(1)})`
    })
    console.log(
      `  ${what}: ${ofAgent} ms CPU of the agent, ${ofProxy} ms of the proxy, in force after ${Math.round(delays[CHANGES >> 1] ?? 0)} ms (median)`,
    )
  }
  const some = (i: number, of: number) => Math.floor((i * of) / CHANGES)
  const special = (i: number) => some(i, services) - (some(i, services) % SPECIAL)
  // What loading leaves to be done is not what a change costs.
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS))
  const [settledAgent, settledProxy] = [costOf(agent.pid).cpuMs, costOf(proxyPid).cpuMs]
  console.log(
    `  then left alone for ${SETTLE_MS / 1000} s: ${Math.round(settledAgent - agentCost.cpuMs)} ms CPU of the agent, ${Math.round(settledProxy - proxyCost.cpuMs)} ms of the proxy`,
  )
  await change('first of all, an endpoint not ready any more', (i) =>
    api.put(sliceOf(some(i, services), pods, services, 1)),
  )
  await change('a pod labelled otherwise', (i) => api.put(podOf(some(i, pods), services, every, i + 1)))
  await change('an endpoint ready again', (i) => api.put(sliceOf(some(i, services), pods, services, 2)))
  await change('an HTTPRoute', (i) => api.put(routeOf(special(i), services, i + 1)))
  await change('an AuthorizationPolicy', (i) => api.put(authorizationOf(special(i), i + 1)))
  await change('a TrafficPolicy', (i) => api.put(trafficOf(special(i), 2 + (i % 2))))
  await change('a Service', (i) => api.put(serviceOf(some(i, services), 'ClientIP')))
  await change('a ServiceEntry', (i) => api.put({ ...ENTRY, spec: { ...ENTRY.spec, hosts: [`outside-${i}.example`] } }))
  await change('with a ServiceEntry, a pod labelled otherwise', (i) =>
    api.put(podOf(some(i, pods), services, every, CHANGES + i)),
  )
  console.log(
    `  then agent ${Math.round(costOf(agent.pid).rssMiB)} MiB, proxy ${Math.round(costOf(proxyPid).rssMiB)} MiB`,
  )
}

const sizes = process.argv.slice(2).map(Number)
if (sizes.length === 0) sizes.push(10_000, 1000, 100_000, 10_000)
for (let i = 0; i < sizes.length; i += 2) await measure(sizes[i] ?? 0, sizes[i + 1] ?? 1000)
