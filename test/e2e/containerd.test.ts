/** The fixture itself: real containers on a node of a lab, and nothing of them left behind. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { openLab } from '../support/lab.ts'
import { listCgroups } from '../support/lab-cgroups.ts'
import type { LabContainerPod } from '../support/lab-container-pod.ts'
import { bridgeConflist, Containerd } from '../support/lab-containerd.ts'
import { collectAbandonedLabs } from '../support/lab-registry.ts'
import { rootNetwork } from '../support/lab-root-network.ts'

/** Whatever pods are made of. */
async function leftIn(runtime: Containerd): Promise<object> {
  const { stdout: mounts } = await runtime.machine.exec('cat', ['/proc/1/mounts'])
  const { stdout: processes } = await runtime.machine.exec('ps', ['-eo', 'args'])
  const { stdout: links } = await runtime.machine.exec('ip', ['-o', 'link', 'show', 'type', 'veth'])
  return {
    sandboxes: await runtime.cri.listPodSandboxes(),
    networks: runtime.networkNamespaces,
    mounts: mounts.split('\n').filter((line) => line.includes('/run/containerd/') || line.includes('/run/netns/')),
    processes: processes.split('\n').filter((line) => /containerd-shim|lab-echo-server/.test(line)),
    cgroups: listCgroups(runtime.machine.cgroup).filter((path) => path.includes('/pod')),
    links,
  }
}

const NOTHING = { sandboxes: [], networks: [], mounts: [], processes: [], cgroups: [], links: '' }

t.test(
  'two pods on the bridge plugin reach each other over HTTP, and leave nothing when they are removed',
  async (t) => {
    await using lab = await openLab({ t })
    await using runtime = await Containerd.start(lab.node, { t })
    const web = await runtime.runPod({ name: 'web', namespace: 'shop', labels: { app: 'web' } })
    const client = await runtime.runPod({ name: 'client', namespace: 'shop' })
    await web.waitForLog(/^listening/)
    t.equal(web.addresses.length, 2, 'a pod has addresses of both families')
    for (const [index, address] of web.addresses.entries()) {
      const host = address.includes(':') ? `[${address}]` : address
      const answer = await client.echo(`http://${host}:8080/hello`)
      t.match(answer, { name: 'web', url: '/hello', remoteAddress: client.addresses[index] })
    }
    const inside = await client.fetchInContainer(`http://${web.ipv4}:8080/from-inside`)
    t.match(inside, /"url":"\/from-inside"/, 'a program in the container reaches it too')
    t.equal((await lab.node.echo(`http://${web.ipv4}:8080/`)).name, 'web', 'and the node does')
    t.strictSame([...runtime.networkNamespaces].sort(), [web.netns, client.netns].sort())

    await client.remove()
    await web.remove()
    t.strictSame(await leftIn(runtime), NOTHING)
  },
)

t.test('a machine with containers changes nothing outside, neither while it is up nor after', async (t) => {
  const before = rootNetwork()
  const mounts = () => readFileSync('/proc/self/mounts', 'utf8').replace(/^\S+ \/run\/netns.*\n/gm, '')
  const mountsBefore = mounts()
  const lab = await openLab({ t })
  const runtime = await Containerd.start(lab.node, { t })
  const web = await runtime.runPod({ name: 'web' })
  t.ok(listCgroups(`weir-${lab.id}-`).length > 0, 'its containers have cgroups below one of the lab')
  t.equal(rootNetwork(), before, 'no interface, route or rule')
  t.equal(mounts(), mountsBefore, 'no mount')
  for (const path of [web.netnsPath, '/run/containerd', '/etc/cni/net.d', `/var/lib/containerd`, '/opt/cni/bin']) {
    const isEmpty = !existsSync(path) || readdirSync(path).length === 0
    t.ok(isEmpty, `nothing in ${path}`)
  }
  // Not the runtime, but the lab, as a test that fails does it.
  await lab.close()
  t.strictSame(listCgroups(`weir-${lab.id}-`), [], 'no cgroup is left')
  t.equal(rootNetwork(), before)
  t.equal(mounts(), mountsBefore)
})

t.test('what the containers of a killed process leave is collected', async (t) => {
  const script = `
import { openLab } from './test/support/lab.ts'
import { Containerd } from './test/support/lab-containerd.ts'
const lab = await openLab()
const runtime = await Containerd.start(lab.node)
await runtime.runPod({ name: 'web' })
console.log(lab.id)
setInterval(() => {}, 1000)`
  const { NODE_OPTIONS: _, ...env } = process.env
  const cwd = join(import.meta.dirname, '../..')
  const owner = spawn(process.execPath, ['--input-type=module', '-e', script], {
    cwd,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [id] = (await once(owner.stdout.setEncoding('utf8'), 'data')).map((text) => String(text).trim())
  const pods = () =>
    execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })
      .split('\n')
      .filter((line) => line.includes(`weir-${id}`))
  t.ok(listCgroups(`weir-${id}-`).length > 0)
  owner.kill('SIGKILL')
  await once(owner, 'close')
  collectAbandonedLabs()
  t.strictSame(listCgroups(`weir-${id}-`), [], 'no cgroup is left, so no process of a container')
  t.strictSame(pods(), [], 'nor is one of the runtime')
})

t.test('a pod that a network plugin refuses does not start, says why, and leaves nothing', async (t) => {
  await using lab = await openLab({ t })
  const { plugins, ...conflist } = bridgeConflist(lab.node)
  await using runtime = await Containerd.start(lab.node, {
    cni: { ...conflist, plugins: [...plugins, { type: 'no' }] },
  })
  const refusal = JSON.stringify({ cniVersion: '1.0.0', code: 100, msg: 'no', details: 'not today' })
  const plugin = `#!/bin/sh\n[ "$CNI_COMMAND" != ADD ] || { echo '${refusal}'; exit 1; }\n`
  writeFileSync(join(runtime.cniBinDir, 'no'), plugin, { mode: 0o755 })
  await t.rejects(runtime.runPod({ name: 'web' }), /RunPodSandbox: .*plugin type="no" failed \(add\): no; not today/)
  t.strictSame(await leftIn(runtime), NOTHING)
})

t.test('containers outlive a restart of the runtime, which knows them again', async (t) => {
  await using lab = await openLab({ t })
  await using runtime = await Containerd.start(lab.node, { t })
  const web = await runtime.runPod({ name: 'web' })
  await web.waitForLog(/^listening/)
  await runtime.restart()
  t.equal((await lab.node.echo(`http://${web.ipv4}:8080/`)).name, 'web')
  t.match((await web.execInContainer(['id'])).stdout, 'uid=0')
  await web.remove()
  t.strictSame(await leftIn(runtime), NOTHING)
})

t.test('a container has the capabilities, user, root and namespaces that it is given, and no others', async (t) => {
  await using lab = await openLab({ t })
  await using runtime = await Containerd.start(lab.node, { t })
  const capabilities = async (pod: LabContainerPod) =>
    /CapEff:\s+(\w+)/.exec((await pod.execInContainer(['cat', '/proc/1/status'])).stdout)?.[1]
  const command = ['sleep', '1000']
  const bare = await runtime.runPod({
    name: 'bare',
    command,
    securityContext: {
      capabilities: { drop: ['ALL'], add: ['NET_ADMIN'] },
      readOnlyRootFilesystem: true,
      allowPrivilegeEscalation: false,
    },
  })
  t.equal(await capabilities(bare), (1n << 12n).toString(16).padStart(16, '0'), 'NET_ADMIN alone')
  t.match((await bare.execInContainer(['touch', '/tmp/file'])).stderr, /Read-only file system/)
  const user = await runtime.runPod({ name: 'user', command, securityContext: { runAsUser: 1337, runAsGroup: 1337 } })
  t.match((await user.execInContainer(['id'])).stdout, /uid=1337 gid=1337/)
  const mounts = [{ hostPath: '/run/netns', mountPath: '/host/netns', mountPropagation: 'HostToContainer' as const }]
  const agent = await runtime.runPod({ name: 'agent', command, hostNetwork: true, hostPid: true, mounts })
  t.match((await agent.execInContainer(['ip', 'addr'])).stdout, /br0:/, 'the network of the node')
  t.match((await agent.execInContainer(['ps'])).stdout, /containerd-shim/, 'the processes of the node')
  const late = await runtime.runPod({ name: 'late', command })
  const seen = await agent.execInContainer(['cat', '/proc/self/mounts'])
  t.match(seen.stdout, `nsfs /host/netns/${late.netns} `, 'mounts that come later are passed on')
})
