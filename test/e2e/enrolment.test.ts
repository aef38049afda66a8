/** Weir's agent and pods of a real runtime, whose network namespaces only that runtime's mounts show. */
import { join } from 'node:path'
import t from 'tap'
import { type Lab, openLab } from '../support/lab.ts'
import type { LabAgent } from '../support/lab-agent.ts'
import type { ContainerPodSpec, LabContainerPod } from '../support/lab-container-pod.ts'
import { Containerd } from '../support/lab-containerd.ts'

const shop = (name: string, spec: Partial<ContainerPodSpec> = {}): ContainerPodSpec => ({
  name,
  namespace: 'shop',
  serviceAccount: name,
  labels: { app: name },
  ...spec,
})

/** What the server in a container says of a request. */
interface Seen {
  readonly headers: Readonly<Record<string, string>>
}

/** Runs a pod, and tells the agent of it as the API server would. */
async function run(lab: Lab, runtime: Containerd, spec: ContainerPodSpec): Promise<LabContainerPod> {
  const pod = await runtime.runPod(spec)
  lab.apply(pod.manifest())
  return pod
}

async function rulesIn(pod: LabContainerPod): Promise<string> {
  const { stdout } = await pod.exec('sh', ['-c', 'iptables-save; ip6tables-save'])
  return stdout
}

const requestTo = (agent: LabAgent, path: string) =>
  agent.waitFor((line) => line['msg'] === 'request' && line['path'] === path)

t.test('two containers call each other as the accounts that they run as, and opting out leaves no rule', async (t) => {
  await using lab = await openLab({ t })
  await using runtime = await Containerd.start(lab.node, { t })
  const web = await run(lab, runtime, shop('web', { ports: [{ name: 'http', containerPort: 8080 }] }))
  const client = await run(lab, runtime, shop('client'))
  const stranger = await run(lab, runtime, shop('stranger', { optedIn: false }))
  const service = lab.addService({
    name: 'web',
    namespace: 'shop',
    selector: { app: 'web' },
    ports: [{ name: 'http', port: 80, targetPort: 8080 }],
  })
  const agent = await runtime.startAgent(lab.manifestsDir, { proxies: 1 })
  await web.waitForLog(/^listening/)

  const seen = JSON.parse(await client.fetchInContainer(`http://${service.ipv4}/by-service`)) as Seen
  t.match(seen, { name: 'web', url: '/by-service', remoteAddress: client.ipv4 }, 'the server sees the client itself')
  t.match(seen.headers['x-forwarded-client-cert'], 'URI=spiffe://cluster.local/ns/shop/sa/client', 'and who it is')
  t.match(
    await requestTo(agent, '/by-service'),
    {
      source: 'shop/client',
      sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/client',
      destination: 'shop/web',
      destinationIdentity: 'spiffe://cluster.local/ns/shop/sa/web',
      reporter: 'both',
    },
    'and so does the log; the request has not left the node',
  )

  const plain = JSON.parse(await stranger.fetchInContainer(`http://${web.ipv4}:8080/plain`)) as Seen
  t.notMatch(plain.headers, { 'x-forwarded-client-cert': String }, 'a container that is not enrolled is nobody')
  t.equal(await rulesIn(stranger), '', 'and has no rule')
  const pods = JSON.parse((await agent.cli('pods', ['--json'])).stdout) as { name: string; state: string }[]
  t.strictSame(
    pods.map(({ name, state }) => `${name} ${state}`),
    ['client enrolled', 'stranger outside', 'web enrolled'],
  )

  t.match(await rulesIn(web), 'WEIR_')
  const from = agent.logs.length
  lab.apply(web.manifest({ optedIn: false }))
  await agent.waitFor((line) => line['msg'] === 'pod un-enrolled', { from })
  t.notMatch(await rulesIn(web), 'WEIR_')
  t.equal(await agent.stop(), 0)
  t.notMatch(await rulesIn(client), 'WEIR_', 'the agent takes its rules with it')
})

t.test('containers of two nodes, each with a runtime and an agent, call each other through a tunnel', async (t) => {
  await using lab = await openLab({ t, nodes: 2 })
  const [left, right] = [lab.node, lab.nodeNamed('node-2')]
  const runtimes = await Promise.all([left, right].map((node) => Containerd.start(node, { t })))
  const [here, there] = runtimes as [Containerd, Containerd]
  const client = await run(lab, here, shop('client'))
  const web = await run(lab, there, shop('web', { ports: [{ name: 'http', containerPort: 8080 }] }))
  await web.waitForLog(/^listening/)
  const options = { proxies: 1, extraArgs: ['--ca-dir', join(lab.dir, 'ca')] }
  const agents = [await here.startAgent(lab.manifestsDir, options), await there.startAgent(lab.manifestsDir, options)]
  await using capture = await lab.capture(left)
  const seen = JSON.parse(await client.fetchInContainer(`http://${web.ipv4}:8080/between-nodes`)) as Seen
  t.match(seen, { name: 'web', remoteAddress: client.ipv4 })
  t.match(seen.headers['x-forwarded-client-cert'], 'URI=spiffe://cluster.local/ns/shop/sa/client')
  const { bytes, flows } = await capture.stop()
  t.notOk(bytes.includes('between-nodes'), 'nothing of it is readable on the way')
  t.ok(flows.length > 0, 'and it went that way')
  t.strictSame(await Promise.all(agents.map((agent) => agent.stop())), [0, 0])
  await Promise.all(runtimes.map((runtime) => runtime.close()))
})
