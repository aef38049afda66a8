import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Enrolment, enrolments } from '#mesh/compile'
import { CniSide } from '../../agent/cni/cni-side.ts'
import { AgentCounters } from '../../agent/counters.ts'
import { Enroller, type PodHost } from '../../agent/enrol/enroller.ts'
import { createLog } from '../../agent/log.ts'
import { createTestNode, inPod, kernelState, listenInPod, type TestPod } from '../support/agent-pods.ts'
import { objectsOf } from '../unit/mesh/compile-samples.ts'

const ROOT = join(import.meta.dirname, '../..')
const SOURCES = [process.execPath, join(ROOT, 'cni/main.ts')] as const

interface Called {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A socket's path has at most 107 bytes. */
function shortDir(t: Test): string {
  const dir = mkdtempSync(join(tmpdir(), 'weir-cni-'))
  t.teardown(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** A runtime's call of the plugin, for one pod in one network. */
function runtime(place: string, [program, ...args]: readonly [string, ...string[]] = SOURCES) {
  return (command: string, pod: TestPod, name: string, more: object = {}): Promise<Called> => {
    const prevResult = {
      cniVersion: '1.0.0',
      interfaces: [{ name: 'eth0', sandbox: pod.path }],
      ips: [
        { address: `${pod.v4}/16`, interface: 0 },
        { address: `${pod.v6}/64`, interface: 0 },
      ],
    }
    const conf = { cniVersion: '1.0.0', name: 'net', type: 'weir', prevResult, ...more }
    const env = {
      CNI_COMMAND: command,
      CNI_CONTAINERID: `c-${name}`,
      CNI_NETNS: pod.path,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=${name};K8S_POD_UID=uid-${name}`,
    }
    // Nothing else is in its environment, not even a PATH: hosts have no Node.
    const child = spawn(program, args, { stdio: 'pipe', env })
    child.stdin.end(JSON.stringify({ socket: join(place, 's'), index: join(place, 'index.json'), ...conf }))
    const output = { stdout: '', stderr: '' }
    child.stdout.on('data', (chunk: Buffer) => (output.stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (output.stderr += chunk.toString()))
    return new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('close', (code) => resolve({ code, ...output }))
    })
  }
}

const podText = (name: string, mesh: string) =>
  `{apiVersion: v1, kind: Pod, metadata: {name: ${name}, namespace: shop, uid: uid-${name}, annotations: {weir.dev/mesh: ${mesh}}}, spec: {nodeName: a}}`

/** The agent's side with a real enroller; proxies are played. */
async function startAgentSide(t: Test, place: string) {
  const served: string[] = []
  const host: PodHost = {
    addPod: ({ workload }) => served.push(workload),
    removePod: () => Promise.resolve(),
    forgetPod: () => undefined,
  }
  const log = createLog('silent', 'a')
  const enroller = new Enroller({ stateDir: join(place, 'state'), host, counters: new AgentCounters(), log })
  let wishes: readonly Enrolment[] = []
  const side = new CniSide({
    node: 'a',
    netnsFrom: 'runtime',
    stateDir: join(place, 'state'),
    socketPath: join(place, 's'),
    indexPath: join(place, 'index.json'),
    timeoutMs: 2_000,
    log,
    onObjects: (objects) => {
      wishes = enrolments(objects, 'a').enrolments
      void enroller.setWishes(side.enrollable(wishes))
    },
    wishes: () => wishes,
    settled: (uid, timeoutMs) => enroller.settled(uid, timeoutMs),
  })
  await side.listen()
  let stopped = false
  const stop = async () => {
    if (stopped) return
    stopped = true
    await side[Symbol.asyncDispose]()
    await enroller.stopRedirecting(false)
    await enroller.close(false)
  }
  t.teardown(stop)
  const set = (...texts: string[]) => side.update(objectsOf(texts.join('\n---\n')), true)
  return { side, enroller, served, set, stop }
}

t.test('when ADD returns the pod is in the mesh; when the agent is gone, an opted-in pod does not start', async (t) => {
  using node = createTestNode(3)
  const [web, plain, late] = [node.pod(0), node.pod(1), node.pod(2)]
  const place = shortDir(t)
  const agent = await startAgentSide(t, place)
  const call = runtime(place)
  const before = kernelState(web)
  agent.set(podText('web', 'enabled'), podText('plain', 'disabled'), podText('late', 'enabled'))

  const added = await call('ADD', web, 'web')
  t.equal(added.code, 0, added.stdout)
  t.match(JSON.parse(added.stdout), {
    cniVersion: '1.0.0',
    ips: [{ address: `${web.v4}/16` }, { address: `${web.v6}/64` }],
  })
  t.match(inPod(web, 'iptables-save'), 'WEIR_OUTPUT')
  t.match(inPod(web, 'ss', '-ltn'), ':15006')
  t.same(agent.served, ['shop/web'])

  t.equal((await call('ADD', plain, 'plain')).code, 0)
  t.notMatch(inPod(plain, 'iptables-save'), 'WEIR')
  t.equal((await call('CHECK', web, 'web')).code, 0)
  t.equal((await call('CHECK', plain, 'plain')).code, 0)

  t.equal((await call('DEL', web, 'web')).code, 0)
  const gone = async () => agent.enroller.list().every(({ uid }) => uid !== 'uid-web')
  for (let i = 0; i < 500 && !(await gone()); i++) await new Promise((resolve) => setTimeout(resolve, 10))
  t.equal(kernelState(web), before, 'nothing is left in a namespace that goes on')

  await agent.stop()
  const refused = await call('ADD', late, 'late')
  t.equal(refused.code, 1)
  t.match(JSON.parse(refused.stdout), {
    cniVersion: '1.0.0',
    code: 11,
    msg: /^weir: pod shop\/late is opted in but .*ENOENT/,
  })
  t.notMatch(inPod(late, 'iptables-save'), 'WEIR')
  t.equal((await call('ADD', plain, 'plain')).code, 0)
  t.equal((await call('ADD', plain, 'never-seen')).code, 0)
  t.equal((await call('CHECK', late, 'late')).code, 1)
  for (const command of ['DEL', 'GC', 'STATUS']) t.equal((await call(command, late, 'late')).code, 0, command)

  const next = await startAgentSide(t, place)
  next.set(podText('late', 'enabled'))
  t.equal((await call('ADD', late, 'late')).code, 0, 'the kubelet tries again')
  t.match(inPod(late, 'iptables-save'), 'WEIR_OUTPUT')
})

t.test('an enrolment that fails stops the pod with its reason, and the next one is a new try', async (t) => {
  using node = createTestNode(1)
  const pod = node.pod(0)
  const place = shortDir(t)
  const agent = await startAgentSide(t, place)
  const call = runtime(place)
  agent.set(podText('web', 'enabled'))
  const busy = await listenInPod(pod, '0.0.0.0', 15006, () => undefined)
  for (let i = 0; i < 4; i++) {
    const { code, stdout } = await call('ADD', pod, 'web')
    t.equal(code, 1)
    t.match(JSON.parse(stdout), { code: 100, msg: /pod shop\/web is opted in but was not enrolled: .*15006.*in use/ })
  }
  await new Promise((resolve) => busy.close(resolve))
  t.equal((await call('ADD', pod, 'web')).code, 0)
})

t.test('the same pod in a new sandbox is enrolled in that one', async (t) => {
  using node = createTestNode(2)
  const place = shortDir(t)
  const agent = await startAgentSide(t, place)
  const call = runtime(place)
  agent.set(podText('web', 'enabled'))
  t.equal((await call('ADD', node.pod(0), 'web')).code, 0)
  const answers = await Promise.all([call('ADD', node.pod(1), 'web'), call('ADD', node.pod(1), 'web')])
  t.same(
    answers.map(({ code }) => code),
    [0, 0],
  )
  t.match(inPod(node.pod(1), 'iptables-save'), 'WEIR_OUTPUT')
  t.match(agent.enroller.list(), [{ uid: 'uid-web', state: 'enrolled' }])
})

t.test('an agent that was restarted knows the pods that it was told of', async (t) => {
  using node = createTestNode(1)
  const pod = node.pod(0)
  const place = shortDir(t)
  const first = await startAgentSide(t, place)
  first.set(podText('web', 'enabled'))
  t.equal((await runtime(place)('ADD', pod, 'web')).code, 0)
  await first.stop()
  t.notMatch(inPod(pod, 'iptables-save'), 'WEIR')
  const second = await startAgentSide(t, place)
  second.set(podText('web', 'enabled'))
  t.match(await second.enroller.settled('uid-web', 30_000), { state: 'enrolled' })
  t.match(inPod(pod, 'iptables-save'), 'WEIR_OUTPUT')
})

t.test('who waits for a pod that is not wished for any more is told', async (t) => {
  const agent = await startAgentSide(t, shortDir(t))
  t.match(await agent.enroller.settled('never', 20), { state: 'failed', detail: /not to be enrolled/ })
})

t.test('the built executable runs without Node, and does the same', async (t) => {
  using node = createTestNode(1)
  const pod = node.pod(0)
  const place = shortDir(t)
  const binary = join(place, 'weir')
  execFileSync(join(ROOT, 'scripts/build-cni'), [binary], { stdio: ['ignore', 'ignore', 'inherit'] })
  const agent = await startAgentSide(t, place)
  agent.set(podText('web', 'enabled'))
  const call = runtime(place, [binary])
  const version = await call('VERSION', pod, 'web')
  t.same(JSON.parse(version.stdout).supportedVersions, ['0.3.1', '0.4.0', '1.0.0', '1.1.0'])
  const added = await call('ADD', pod, 'web')
  t.equal(added.code, 0, added.stdout)
  t.match(JSON.parse(added.stdout), { ips: [{ address: `${pod.v4}/16` }, {}] })
  t.match(inPod(pod, 'iptables-save'), 'WEIR_OUTPUT')
  await agent.stop()
  t.match(JSON.parse((await call('ADD', pod, 'web')).stdout), { code: 11 })
  writeFileSync(join(place, 'index.json'), '{"format":1,')
  const { code, stderr } = await call('ADD', pod, 'web')
  t.equal(code, 0)
  t.match(stderr, 'the index of opted-in pods')
})
