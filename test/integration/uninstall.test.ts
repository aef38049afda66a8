/** Taking Weir off a node: nothing of it stays, in pods or on the disk; and an upgrade is no uninstall. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { FakeApiServer } from '../support/fake-api-server.ts'
import { openLab } from '../support/lab.ts'

const WEIR = join(import.meta.dirname, '../../scripts/weir')
const lab = await openLab({ t })
t.teardown(() => lab.close())
const { node } = lab
const client = await lab.addPod({ name: 'client', namespace: 'shop' })
const web = await lab.addPod({ name: 'web', namespace: 'shop' })
const before = (await client.exec('iptables-save')).stdout
const LIST = `${JSON.stringify({ cniVersion: '1.0.0', name: 'lab', plugins: [{ type: 'bridge' }] }, undefined, 2)}\n`
const [confDir, binDir] = [join(lab.dir, 'net.d'), join(lab.dir, 'bin')]
mkdirSync(confDir)
mkdirSync(binDir)
writeFileSync(join(confDir, '10-lab.conflist'), LIST)
const plugin = join(lab.dir, 'plugin')
writeFileSync(plugin, '#!/bin/sh\n', { mode: 0o755 })

const cni = ['--cni-conf-dir', confDir, '--cni-bin-dir', binDir]
const startAgent = () => lab.startAgent({ proxies: 1, extraArgs: [...cni, '--cni-plugin', plugin, '--keep-rules'] })
const uninstall = (...more: string[]) => node.exec(WEIR, ['uninstall', '--state-dir', node.stateDir, ...cni, ...more])
const rulesOf = async (pod: typeof client) => (await pod.exec('iptables-save')).stdout.replace(/^[#:].*\n/gm, '')
const isInstalled = () => [
  existsSync(join(binDir, 'weir')),
  readFileSync(join(confDir, '10-lab.conflist'), 'utf8') !== LIST,
]

t.test('a running agent takes all of it along when it ends, though it was told to keep rules', async (t) => {
  const agent = await startAgent()
  t.same(isInstalled(), [true, true])
  t.match(await rulesOf(client), /WEIR/)
  const { code, stdout } = await uninstall()
  t.equal(code, 0)
  t.match(stdout, /^CNI plugin taken out of 10-lab\.conflist\nan agent runs here: .*stop it now\n$/)
  writeFileSync(join(confDir, 'another'), '')
  t.same(isInstalled(), [false, false])
  await agent.process.stop('SIGTERM')
  t.same(isInstalled(), [false, false], 'the agent has not put it back')
  t.same(readdirSync(confDir), ['10-lab.conflist', 'another'])
  for (const pod of [client, web]) t.notMatch(await rulesOf(pod), /WEIR/)
  t.equal(
    (await client.exec('iptables-save')).stdout.replace(/^#.*\n|\[\d+:\d+\]/gm, ''),
    before.replace(/^#.*\n|\[\d+:\d+\]/gm, ''),
  )
  t.notOk(existsSync(node.stateDir), 'nor is its state there')
})

t.test('what an agent that is gone has left is removed without it', async (t) => {
  const agent = await startAgent()
  await agent.process.stop('SIGKILL')
  t.match(await rulesOf(client), /WEIR/)
  const { code, stdout } = await uninstall()
  t.equal(code, 0)
  t.match(stdout, /taken out of 10-lab\.conflist\nrules of 2 pods removed, and /)
  t.notMatch(await rulesOf(client), /WEIR/)
  t.same(isInstalled(), [false, false])
  t.notOk(existsSync(node.stateDir))
  t.match(
    await uninstall(),
    { code: 0, stdout: /no network configuration names the CNI plugin\nrules of 0 pods/ },
    'again',
  )
})

t.test('before a pod of a DaemonSet stops, only one that goes with its DaemonSet is taken off', async (t) => {
  const at = { netnsPath: node.netnsPath, port: 6443 }
  const daemonsets = { group: 'apps', versions: ['v1'], plural: 'daemonsets', kind: 'DaemonSet', namespaced: true }
  await using api = await FakeApiServer.start({ at, resources: [daemonsets] })
  const daemonSet = (more: object) =>
    api.put({
      apiVersion: 'apps/v1',
      kind: 'DaemonSet',
      metadata: { name: 'weir-agent', namespace: 'weir-system', ...more },
    })
  const ask = ['--if-deleted', 'weir-system/weir-agent', '--kubeconfig', await api.kubeconfig(lab.dir)]
  const agent = await startAgent()
  daemonSet({})
  t.match(await uninstall(...ask), { code: 0, stdout: 'DaemonSet weir-system/weir-agent stays: nothing is removed\n' })
  t.same(isInstalled(), [true, true])
  for (const status of [401, 403]) {
    using _ = api.fault(({ path }) => path.endsWith('/weir-agent'), { status })
    const { code, stdout } = await uninstall(...ask)
    t.equal(code, 0)
    t.match(stdout, new RegExp(`^Cannot ask for DaemonSet .*${status}.*: nothing is removed\\n`))
  }
  await api.vanish()
  t.match(await uninstall(...ask), { code: 69, stderr: /^weir uninstall: .*refused/ })
  t.same(isInstalled(), [true, true], 'in doubt it stays')
  await api.comeBack()
  daemonSet({ deletionTimestamp: '2026-01-01T00:00:00Z' })
  t.match(await uninstall(...ask), { code: 0, stdout: /^CNI plugin taken out of 10-lab\.conflist\n/ })
  await agent.process.stop('SIGTERM')
  t.notMatch(await rulesOf(client), /WEIR/)
})

t.test('an agent that cannot install the plugin says so and ends', async (t) => {
  const args = ['--node', 'node-1', '--manifests', lab.manifestsDir, '--state-dir', node.stateDir, '--proxies', '1']
  const wrong = ['--cni-conf-dir', confDir, '--cni-bin-dir', join(lab.dir, 'none'), '--cni-plugin', plugin]
  const { code, stderr } = await node.exec(WEIR, ['agent', ...args, ...wrong])
  t.equal(code, 69)
  t.match(stderr, /^weir agent: .*none \(--cni-bin-dir\) is no directory; name the one of the node's plugins\.\n$/)
  t.notMatch(await rulesOf(client), /WEIR/)
})

t.test('wrong command lines are told', async (t) => {
  const cases: readonly [string[], RegExp][] = [
    [['--cni-conf-dir', '/x'], /--cni-conf-dir and --cni-bin-dir go together/],
    [['--if-deleted', 'weir-agent'], /--if-deleted: expected NAMESPACE\/NAME, got "weir-agent"/],
    [['--frob'], /--frob.*see weir uninstall --help/],
  ]
  for (const [args, told] of cases) {
    t.match(await node.exec(WEIR, ['uninstall', ...args]), { code: 64, stderr: told })
  }
  t.match((await node.exec(WEIR, ['uninstall', '--help'])).stdout, /^weir uninstall \[options\]/)
})
