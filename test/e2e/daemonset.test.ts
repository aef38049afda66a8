/** The agent from its image, as a container with all that daemonset.yaml gives it and nothing else. */
import { randomUUID } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { PLUGIN_TYPE } from '../../cni/install/network-list.ts'
import { openLab } from '../support/lab.ts'
import { readIndex } from '../support/lab-cni.ts'
import { type ContainerPodSpec, type LabContainerPod, pendingPod } from '../support/lab-container-pod.ts'
import { Containerd } from '../support/lab-containerd.ts'
import { daemonSetPod } from '../support/lab-daemonset.ts'
import { weirArchive } from '../support/lab-image.ts'

const MANIFESTS = '/etc/weir/manifests'

/** The objects come from a directory instead of an API server, certificates from a CA of the agent's own. */
const fromDirectory = (args: readonly string[]): readonly string[] => [
  ...args.filter((arg) => !/^--(kubernetes$|ca=|ca-root=|ca-crl=|join-token=)/.test(arg)),
  `--manifests=${MANIFESTS}`,
]

/** As daemonset.yaml gives it. */
const GRACE_SECONDS = 30

interface Seen {
  readonly headers: Readonly<Record<string, string>>
}

const lab = await openLab({ t })
const runtime = await Containerd.start(lab.node, { t, archives: [weirArchive()] })
t.teardown(async () => {
  await runtime.close()
  await lab.close()
})

/** @param ready in its log */
async function startAgent(ready = /"msg":"ready"/): Promise<LabContainerPod> {
  const agent = await runtime.runPod(
    daemonSetPod({
      machine: runtime.machine,
      args: fromDirectory,
      files: { 'ca-root': {}, 'join-token': {} },
      mounts: [{ hostPath: lab.manifestsDir, mountPath: MANIFESTS, readOnly: true }],
    }),
  )
  await agent.waitForLog(ready)
  return agent
}

/** As in a cluster: the object is there first, and names no network namespace. */
async function start(name: string, spec: Partial<ContainerPodSpec> = {}): Promise<LabContainerPod> {
  const whole = { name, namespace: 'shop', serviceAccount: name, labels: { app: name }, uid: randomUUID(), ...spec }
  lab.apply(pendingPod(whole, lab.node))
  const pod = await runtime.runPod(whole)
  lab.apply(pod.manifest({}, { namesNetns: false }))
  return pod
}

async function isRedirected(pod: LabContainerPod): Promise<boolean> {
  return (await pod.exec('iptables-save')).stdout.includes('WEIR_')
}

const web = await start('web')
// Nobody told of this one: of pods that were there first a directory has to say where their namespaces are.
lab.apply(web.manifest())
const ports = [{ name: 'http', port: 80, targetPort: 8080 }]
const service = lab.addService({ name: 'web', namespace: 'shop', selector: { app: 'web' }, ports })
await web.waitForLog(/^listening/)
let agent = await startAgent()

t.test('the agent in its container enrols pods that were there before, and is ready by its own probe', async (t) => {
  t.ok(await isRedirected(web), 'a pod that was there first')
  t.equal((await lab.node.curl(`http://${agent.ipv4}:15000/healthz/ready`)).status, 200, 'the kubelet finds it ready')
})

t.test('it puts its plugin into the chain, and pods that start are enrolled before their containers', async (t) => {
  while (!(await runtime.cri.networkPlugins()).includes(PLUGIN_TYPE)) await delay(10)
  const client = await start('client')
  t.ok(await isRedirected(client))
  const seen = JSON.parse(await client.fetchInContainer(`http://${service.ipv4}/hello`)) as Seen
  t.match(seen, { name: 'web', remoteAddress: client.ipv4 })
  t.match(seen.headers['x-forwarded-client-cert'], 'URI=spiffe://cluster.local/ns/shop/sa/client')
  const plain = await start('plain', { optedIn: false })
  t.notOk(await isRedirected(plain))
})

t.test('an upgrade loses no request: the new one takes over from the one before', { timeout: 60_000 }, async (t) => {
  // Keep-alive and new connections by turns, until it is told to end.
  const load = `
    import http from 'node:http'
    const agents = [new http.Agent({ keepAlive: true }), new http.Agent({ keepAlive: false })]
    const told = { served: 0, failed: [] }
    const one = (i) => new Promise((resolve) => {
      const ask = http.get(process.argv[1], { agent: agents[i % 2], timeout: 5000 }, (answer) => {
        answer.on('end', () => resolve(answer.statusCode === 200 ? undefined : String(answer.statusCode))).resume()
      })
      ask.on('timeout', () => ask.destroy(new Error('no answer'))).on('error', (error) => resolve(error.message))
    })
    let ending = false
    process.on('SIGTERM', () => { ending = true })
    console.log('under load')
    await Promise.all([0, 1, 2, 3].map(async (i) => {
      while (!ending) {
        const problem = await one(i)
        if (problem === undefined) told.served++
        else told.failed.push(problem)
      }
    }))
    console.log('told ' + JSON.stringify(told))`
  const client = await start('loader', {
    command: ['node', '--input-type=module', '-e', load, '--', `http://${service.ipv4}/`],
  })
  await client.waitForLog(/^under load/)
  const next = await startAgent(/"msg":"standby"/)
  t.equal((await lab.node.curl(`http://${next.ipv4}:15000/healthz/ready`)).status, 200, 'the kubelet may end the other')
  t.equal(await agent.stop(GRACE_SECONDS), 0)
  await next.waitForLog(/"msg":"ready"/)
  t.ok(await isRedirected(web))
  await client.stop()
  const [, text = '{}'] = /^told (.*)$/m.exec(client.logs()) ?? []
  const { served, failed } = JSON.parse(text) as { served: number; failed: string[] }
  t.ok(served > 20, `${served} were served`)
  t.same(failed, [])
  await agent.remove()
  agent = next
})

t.test('it ends by itself, and what it leaves stops only opted-in pods', { timeout: 60_000 }, async (t) => {
  const known = { name: 'late', namespace: 'shop', uid: randomUUID() }
  lab.apply(pendingPod(known, lab.node))
  while (!readIndex(runtime.machine).includes('"late"')) await delay(10)
  t.equal(await agent.stop(GRACE_SECONDS), 0)
  t.ok(await isRedirected(web), 'what no agent serves fails closed')
  await agent.remove()
  await t.rejects(
    runtime.runPod(known),
    /weir: pod shop\/late is opted in but the node's agent at \/run\/weir\/cni.sock/,
  )
  t.notOk(await isRedirected(await start('other', { namespace: 'default', optedIn: false })))

  agent = await startAgent()
  t.ok(await isRedirected(web), 'the next agent goes on, and is not stopped by the plugin of the one before')
  t.ok(await isRedirected(await runtime.runPod(known)))
})

t.test('taken off, it leaves nothing on the node', { timeout: 60_000 }, async (t) => {
  const { machine, cniConfDir, cniBinDir } = runtime
  const directories = ['--cni-conf-dir=/etc/cni/net.d', '--cni-bin-dir=/opt/cni/bin']
  const { stdout } = await agent.execInContainer(['/weir/scripts/weir', 'uninstall', ...directories])
  t.match(stdout, /^CNI plugin taken out of .*\nan agent runs here/)
  t.equal(await agent.stop(GRACE_SECONDS), 0)
  t.notOk(await isRedirected(web))
  t.notOk(existsSync(join(cniBinDir, PLUGIN_TYPE)))
  t.notMatch(
    readdirSync(cniConfDir)
      .map((name) => readFileSync(join(cniConfDir, name), 'utf8'))
      .join(),
    /weir/,
  )
  t.same(readdirSync(machine.pathOf('/run/weir')), [])
})
