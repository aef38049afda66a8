/** The plugin between a real runtime and an agent: who waits for whom, and what a kubelet is told when it fails. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { chainOnce } from '../../cni/install/chain.ts'
import { installExecutable, pluginEntry, uninstall } from '../../cni/install/install.ts'
import { PLUGIN_TYPE } from '../../cni/install/network-list.ts'
import type { CniReply } from '../../cni/protocol.ts'
import { openLab } from '../support/lab.ts'
import {
  CNI_SOCKET,
  installPlugin,
  pluginExecutable,
  StandInAgent,
  withPlugin,
  writeIndex,
} from '../support/lab-cni.ts'
import { bridgeConflist, CNI_CONF_DIR, Containerd } from '../support/lab-containerd.ts'

const lab = await openLab({ t })
const runtime = await Containerd.start(lab.node, { t, cni: withPlugin(bridgeConflist(lab.node)) })
installPlugin(runtime)
t.teardown(async () => {
  await runtime.close()
  await lab.close()
})

t.test('a pod starts once the agent has enrolled it, and the agent is told what it needs for that', async (t) => {
  const asked = Promise.withResolvers<void>()
  const enrolled = Promise.withResolvers<readonly CniReply[]>()
  await using agent = await StandInAgent.listen(runtime.machine, (request) => {
    if (request.command !== 'ADD') return Promise.resolve([{ kind: 'done' }])
    asked.resolve()
    return enrolled.promise
  })
  let started = false
  const starting = runtime.runPod({ name: 'web', namespace: 'shop' }).finally(() => {
    started = true
  })
  await Promise.race([asked.promise, starting])
  // Whatever else the runtime does by itself it does within this; a request of ours goes there and back.
  await runtime.cri.networkProblem()
  t.notOk(started, 'it waits for the answer')
  enrolled.resolve([{ kind: 'opted-in' }, { kind: 'enrolled' }])
  const pod = await starting
  t.match(agent.requests, [
    {
      command: 'ADD',
      attachment: {
        containerId: pod.id,
        ifName: 'eth0',
        network: 'lab',
        netns: `/var${pod.netnsPath}`,
        pod: { namespace: 'shop', name: 'web', uid: pod.uid },
        addresses: pod.addresses,
      },
    },
  ])
  await pod.remove()
  t.match(agent.requests.at(-1), { command: 'DEL', attachment: { containerId: pod.id, ifName: 'eth0' } })
})

t.test('an opted-in pod that cannot be enrolled does not start, and its event says why', async (t) => {
  await using agent = await StandInAgent.listen(runtime.machine, async (request) =>
    request.command === 'ADD'
      ? [{ kind: 'opted-in' }, { kind: 'failed', why: 'its rules were refused by the kernel' }]
      : [{ kind: 'done' }],
  )
  await t.rejects(
    runtime.runPod({ name: 'web', namespace: 'shop' }),
    /weir: pod shop\/web is opted in but was not enrolled: its rules were refused by the kernel/,
  )
  t.strictSame(await runtime.cri.listPodSandboxes(), [], 'nothing of it is left')
  t.ok(agent.requests.length > 0)
})

t.test('while the agent is away, opted-in pods do not start and others do', { timeout: 60_000 }, async (t) => {
  writeIndex(runtime.machine, {
    namespaces: ['shop'],
    pods: [{ namespace: 'shop', name: 'outside', optedIn: false }],
  })
  await t.rejects(
    runtime.runPod({ name: 'web', namespace: 'shop' }),
    /weir: pod shop\/web is opted in but the node's agent at \/run\/weir\/cni.sock .*see that the weir agent runs/,
  )
  for (const spec of [
    { name: 'outside', namespace: 'shop' },
    { name: 'plain' },
    { name: 'dns', namespace: 'kube-system' },
  ]) {
    const pod = await runtime.runPod(spec)
    t.equal(pod.addresses.length, 2, `${spec.namespace ?? 'default'}/${spec.name} starts`)
    await pod.remove()
  }
  t.strictSame(await runtime.cri.listPodSandboxes(), [])
})

t.test('the installer puts the plugin into the chain of a running runtime and takes it out again', async (t) => {
  await using another = await openLab({ t })
  await using fresh = await Containerd.start(another.node, { t })
  const { cri, cniBinDir, cniConfDir } = fresh
  const file = join(cniConfDir, '10-lab.conflist')
  const original = readFileSync(file, 'utf8')
  const until = async (plugins: readonly string[]) => {
    while (String(await cri.networkPlugins()) !== String(plugins)) await delay(10)
  }
  await until(['bridge'])
  const before = await fresh.runPod({ name: 'before' })

  installExecutable(pluginExecutable(), cniBinDir)
  t.match(chainOnce(cniConfDir, pluginEntry({ hostConfDir: CNI_CONF_DIR, socket: CNI_SOCKET })), { kind: 'chained' })
  await until(['bridge', PLUGIN_TYPE])
  await using agent = await StandInAgent.listen(fresh.machine, async ({ command }) =>
    command === 'ADD' ? [{ kind: 'not-opted-in' }] : [{ kind: 'done' }],
  )
  const pod = await fresh.runPod({ name: 'web' })
  t.match(agent.requests, [{ command: 'ADD', attachment: { pod: { name: 'web' } } }])
  await before.remove()
  t.equal(agent.requests.at(-1)?.command, 'DEL', 'the end of a pod that was there before is told too')

  t.strictSame(uninstall(cniConfDir, cniBinDir), ['10-lab.conflist'])
  t.equal(readFileSync(file, 'utf8'), original, 'the configuration is as it was')
  t.notOk(existsSync(join(cniBinDir, PLUGIN_TYPE)))
  await until(['bridge'])
  await pod.remove()
  await (await fresh.runPod({ name: 'after' })).remove()
  t.strictSame(await cri.listPodSandboxes(), [], 'pods start and end as before')
})
