/** Pods of a runtime whose network chain has the plugin, and the agent that it asks. No pod names its namespace. */
import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { ANNOTATION } from '#contract'
import { openLab } from '../support/lab.ts'
import type { LabAgent } from '../support/lab-agent.ts'
import { installPlugin, readIndex, withPlugin } from '../support/lab-cni.ts'
import { type ContainerPodSpec, type LabContainerPod, pendingPod } from '../support/lab-container-pod.ts'
import { bridgeConflist, CNI_CONF_DIR, Containerd } from '../support/lab-containerd.ts'

const lab = await openLab({ t })
const runtime = await Containerd.start(lab.node, { t, cni: withPlugin(bridgeConflist(lab.node)) })
installPlugin(runtime)
t.teardown(async () => {
  await runtime.close()
  await lab.close()
})

const startAgent = (extraArgs: readonly string[] = []): Promise<LabAgent> =>
  runtime.startAgent(lab.manifestsDir, {
    proxies: 1,
    stateDir: '/run/weir',
    extraArgs: [`--cni-conf-dir=${CNI_CONF_DIR}`, ...extraArgs],
  })

/** As in a cluster: the object comes first, the kubelet starts the pod, then it tells the addresses. */
async function start(name: string, spec: Partial<ContainerPodSpec> = {}): Promise<LabContainerPod> {
  const uid = randomUUID()
  const whole = { name, namespace: 'shop', serviceAccount: name, labels: { app: name }, uid, ...spec }
  const file = lab.apply(pendingPod(whole, lab.node))
  try {
    const pod = await runtime.runPod(whole)
    lab.apply(pod.manifest({}, { namesNetns: false }))
    return pod
  } catch (error) {
    lab.remove(file)
    throw error
  }
}

async function isRedirected(pod: LabContainerPod): Promise<boolean> {
  return (await pod.exec('iptables-save')).stdout.includes('WEIR_')
}

interface Seen {
  readonly headers: Readonly<Record<string, string>>
}

t.test('an opted-in pod is enrolled before its container starts, and another is left alone', async (t) => {
  const agent = await startAgent()
  const web = await start('web', { ports: [{ name: 'http', containerPort: 8080 }] })
  await web.waitForLog(/^listening/)
  // The very first thing that the container does is a call.
  const call = `fetch('http://${web.ipv4}:8080/first').then((answer) => answer.text()).then(console.log)`
  const client = await start('client', { command: ['node', '-e', `${call}.then(() => setInterval(() => {}, 1000))`] })
  t.ok(await isRedirected(client))
  const seen = JSON.parse(await client.waitForLog(/^\{/)) as Seen
  t.match(seen.headers['x-forwarded-client-cert'], 'URI=spiffe://cluster.local/ns/shop/sa/client')
  const plain = await start('plain', { optedIn: false })
  t.notOk(await isRedirected(plain))
  const pods = JSON.parse((await agent.cli('pods', ['--json'])).stdout) as { name: string; state: string }[]
  t.strictSame(
    pods.map(({ name, state }) => `${name} ${state}`),
    ['client enrolled', 'plain outside', 'web enrolled'],
  )
  t.equal(await agent.stop(), 0)
})

t.test('while the agent is away opted-in pods do not start, and do once it is back', { timeout: 60_000 }, async (t) => {
  lab.apply({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'meshed', labels: { [ANNOTATION.mesh]: 'enabled' } },
  })
  const meshed = { namespace: 'meshed', optedIn: undefined }
  const agent = await startAgent()
  const kept = await start('kept', meshed)
  t.ok(await isRedirected(kept), 'a pod of an opted-in namespace is enrolled')
  const known = { name: 'known', ...meshed, optedIn: false, uid: randomUUID() }
  lab.apply(pendingPod(known, lab.node))
  while (!readIndex(runtime.machine).includes('"known"')) await delay(10)
  await agent.stop('SIGKILL')

  await t.rejects(
    start('late', meshed),
    /weir: pod meshed\/late is opted in but the node's agent at \/run\/weir\/cni.sock .*see that the weir agent runs/,
  )
  t.notOk(await isRedirected(await runtime.runPod(known)), 'one that opted out starts, as the agent last knew of it')
  t.notOk(await isRedirected(await start('other', { namespace: 'default', optedIn: false })), 'and so do others')

  const again = await startAgent()
  t.ok(await isRedirected(kept), 'a pod that was there before is enrolled again')
  const late = await start('late', meshed)
  t.ok(await isRedirected(late))
  t.equal(await again.stop(), 0)
  t.notOk(await isRedirected(late))
})
