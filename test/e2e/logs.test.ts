/** Logs as a real container runtime writes them: `weir logs` of pods of containerd, beside what the runtime itself tells. */
import { join } from 'node:path'
import t from 'tap'
import { openLab } from '../support/lab.ts'
import type { ContainerPodSpec, LabContainerPod } from '../support/lab-container-pod.ts'
import { Containerd } from '../support/lab-containerd.ts'

const WEIR = join(import.meta.dirname, '../../scripts/weir')

const lab = await openLab({ t })
const runtime = await Containerd.start(lab.node, { t })
t.teardown(async () => {
  await runtime.close()
  await lab.close()
})

interface Line {
  readonly kind: string
  readonly time: string
  readonly stream: string
  readonly namespace: string
  readonly pod: string
  readonly container: string
  readonly uid: string
  readonly message: string
  readonly traceId?: string
}

async function run(name: string, script: string, spec: Partial<ContainerPodSpec> = {}): Promise<LabContainerPod> {
  const command = ['sh', '-c', `${script}\necho ready; exec sleep 1000`]
  const pod = await runtime.runPod({ name, namespace: 'shop', labels: { app: name }, command, ...spec })
  lab.apply(pod.manifest(), `${name}.yaml`)
  await pod.waitForLog(/^ready$/)
  return pod
}

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
/** Longer than what containerd writes as one part (16 KiB). */
const LONG = 40_000
const web = await run(
  'web',
  `echo one; echo "two trace_id=${TRACE}" >&2; busybox head -c ${LONG} /dev/zero | busybox tr '\\0' x; echo; printf '\\377\\376 bytes\\n'; printf 'no end'; echo`,
)
const other = await run('other', 'echo other', { optedIn: false })
const agent = await runtime.startAgent(lab.manifestsDir, { proxies: 1 })

async function logs(...args: readonly string[]): Promise<readonly Line[]> {
  const { code, stdout, stderr } = await agent.cli('logs', ['--json', ...args])
  if (code !== 0) throw new Error(`weir logs ended with ${code}: ${stderr}`)
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line)
}

t.test(
  'what a container wrote comes as it wrote it: streams, long lines whole, bytes that are no text marked',
  async (t) => {
    const lines = await logs('shop/web')
    // Of two streams the runtime keeps no order.
    const of = (wanted: string) => lines.filter(({ stream }) => stream === wanted).map(({ message }) => message)
    t.same(of('stderr'), [`two trace_id=${TRACE}`])
    t.same(of('stdout'), ['one', 'x'.repeat(LONG), '\ufffd\ufffd bytes', 'no end', 'ready'])
    t.match(lines[0], { kind: 'line', namespace: 'shop', pod: 'web', container: 'app', uid: web.uid })
    t.match(lines[0]?.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z$/)
  },
)

t.test('lines of one trace, lines that match; and none of pods that are not in the mesh', async (t) => {
  t.match(await logs('--all', '--trace', TRACE), [{ pod: 'web', message: `two trace_id=${TRACE}`, traceId: TRACE }])
  t.same(
    (await logs('--all', '--grep', '^on')).map(({ message }) => message),
    ['one'],
  )
  t.same(new Set((await logs('--all')).map(({ pod }) => pod)), new Set(['web']))
  t.match(await agent.cli('logs', ['shop/other']), { code: 1, stderr: /other/ })
  t.match(other.logs(), /^other$/m, 'though it wrote some')
})

t.test('following: lines come as they are written, over a rotation as the kubelet does it', async (t) => {
  const following = runtime.machine.spawn(WEIR, [
    'logs',
    'shop/web',
    '-f',
    '--tail',
    '1',
    '--json',
    '--state-dir',
    lab.stateDir,
  ])
  await using _ = following
  const seen = (text: string) => following.waitForLine(new RegExp(`"message":"${text}"`))
  await seen('ready')
  const say = (text: string) => web.execInContainer(['sh', '-c', `echo ${text} > /proc/1/fd/1`])
  await say('before')
  await seen('before')
  await web.rotateLog()
  await say('after')
  await seen('after')
  const messages = following.stdout
    .split('\n')
    .flatMap((line) => (line === '' ? [] : [(JSON.parse(line) as Line).message]))
  t.same(
    messages.filter((message) => message !== undefined),
    ['ready', 'before', 'after'],
  )
})

t.test('a pod that is gone: its last lines are still told, and that it is gone', async (t) => {
  await web.execInContainer(['sh', '-c', 'echo the last > /proc/1/fd/1'])
  await web.waitForLog(/^the last$/)
  // The agent has seen all that is there: it holds the files of pods open.
  t.match((await logs('shop/web', '--tail', '1'))[0], { message: 'the last' })
  await web.remove()
  web.removeLogs()
  const from = agent.logs.length
  lab.apply('# nothing', 'web.yaml')
  await agent.waitFor('world applied', { from })
  const { stdout } = await agent.cli('logs', ['shop/web', '--tail', '2'])
  t.match(stdout, /shop\/web.*gone.* \| after\n.*shop\/web.*gone.* \| the last\n$/)
})
