import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type handleUnaryCall, Server, ServerCredentials, status } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import { askRuntime } from '../../../agent/cri/ask-runtime.ts'
import { findSandboxes, loadCriService } from '../../../agent/cri/cri-client.ts'
import type { CriSandbox } from '../../../agent/cri/cri-messages.ts'
import { createNetnsLookup } from '../../../agent/cri/netns-lookup.ts'
import { findNetnsInProc, parsePodUid } from '../../../agent/cri/proc-netns.ts'
import { parseSandboxInfo } from '../../../agent/cri/sandbox-info.ts'

const UID = '0f6b1a8e-6a53-4b0e-9d0c-1c2d3e4f5a6b'

interface FakeSandbox {
  readonly id: string
  readonly uid: string
  readonly createdAt?: string
  readonly state?: string
  readonly ips?: readonly string[]
  readonly info?: unknown
}

/** A CRI server as far as the lookup asks one. */
async function startRuntime(t: Test, sandboxes: readonly FakeSandbox[], fail = false): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), 'weir-cri-'))
  const server = new Server()
  const listSandboxes: handleUnaryCall<object, object> = (_call, reply) => {
    if (fail) return reply({ code: status.UNIMPLEMENTED, details: 'unknown service runtime.v1.RuntimeService' })
    const items = sandboxes.map(({ id, uid, createdAt = '1', state = 'SANDBOX_READY' }) => ({
      id,
      metadata: { name: `pod-${uid}`, uid, namespace: 'shop' },
      state,
      created_at: createdAt,
    }))
    return reply(null, { items })
  }
  const sandboxStatus: handleUnaryCall<{ pod_sandbox_id: string; verbose: boolean }, object> = (call, reply) => {
    const sandbox = sandboxes.find(({ id }) => id === call.request.pod_sandbox_id)
    if (sandbox === undefined || sandbox.info === 'gone') return reply({ code: status.NOT_FOUND })
    const [ip = '', ...more] = sandbox.ips ?? []
    return reply(null, {
      status: { network: { ip, additional_ips: more.map((one) => ({ ip: one })) } },
      info: call.request.verbose ? { info: JSON.stringify(sandbox.info) } : {},
    })
  }
  server.addService(loadCriService(), { ListPodSandbox: listSandboxes, PodSandboxStatus: sandboxStatus })
  const socket = join(dir, 'cri.sock')
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(`unix:${socket}`, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  )
  t.teardown(() => {
    server.forceShutdown()
    rmSync(dir, { recursive: true, force: true })
  })
  return socket
}

const runtimeSpec = (path?: string) => ({
  linux: { namespaces: [{ type: 'pid' }, { type: 'network', ...(path === undefined ? {} : { path }) }] },
})

t.test('the running sandbox that was made last is the pod’s', async (t) => {
  const socket = await startRuntime(t, [
    {
      id: 's1',
      uid: 'u1',
      createdAt: '9007199254740993',
      info: { pid: 11, runtimeSpec: runtimeSpec('/run/netns/old') },
    },
    {
      id: 's2',
      uid: 'u1',
      createdAt: '9007199254740995',
      ips: ['10.1.0.7', 'fd00::7'],
      info: { pid: 12, runtimeSpec: runtimeSpec('/run/netns/new') },
    },
    { id: 's3', uid: 'u1', createdAt: '9999999999999999', state: 'SANDBOX_NOTREADY', info: { pid: 13 } },
    { id: 's4', uid: 'u2', info: { pid: 14 } },
    { id: 's5', uid: 'u3', info: 'gone' },
    { id: 's6', uid: 'u4', info: { pid: 16 } },
  ])
  const found = await findSandboxes({ socket, uids: ['u1', 'u2', 'u3', 'none'], timeoutMs: 5_000 })
  t.same(found, [
    {
      uid: 'u1',
      namespace: 'shop',
      name: 'pod-u1',
      netns: '/run/netns/new',
      pid: 12,
      addresses: ['10.1.0.7', 'fd00::7'],
    },
    { uid: 'u2', namespace: 'shop', name: 'pod-u2', netns: undefined, pid: 14, addresses: [] },
  ])
})

t.test('the process that asks answers once and ends; errors are answers', async (t) => {
  const socket = await startRuntime(t, [{ id: 's1', uid: 'u1', info: { pid: 12 } }])
  const question = { socket, uids: ['u1'], timeoutMs: 5_000 }
  t.match(await askRuntime(question), { kind: 'sandboxes', sandboxes: [{ uid: 'u1', pid: 12 }] })
  const away = await askRuntime({ ...question, socket: '/none/cri.sock', timeoutMs: 500 })
  t.match(away, { kind: 'failure', why: String })
  const strange = await askRuntime({ ...question, socket: await startRuntime(t, [], true) })
  t.match(strange, { kind: 'failure', why: /UNIMPLEMENTED/ })
})

t.test('the verbose text of a runtime is read as far as it goes', (t) => {
  t.same(parseSandboxInfo(JSON.stringify({ pid: 7, runtimeSpec: runtimeSpec('/run/netns/a') })), {
    netns: '/run/netns/a',
    pid: 7,
  })
  const none = { netns: undefined, pid: undefined }
  for (const text of [
    undefined,
    '',
    'null',
    '[]',
    '{"pid":"7"}',
    '{"pid":0}',
    '{"pid":1.5}',
    '{"runtimeSpec":{"linux":{"namespaces":[null,{"type":"network","path":7}]}}}',
    '{"runtimeSpec":{"linux":{"namespaces":{}}}}',
    JSON.stringify({ runtimeSpec: runtimeSpec('relative') }),
  ]) {
    t.same(parseSandboxInfo(text), none, text ?? 'none')
  }
  t.end()
})

t.test('the pod of a process is read from its control group, of either driver', (t) => {
  const underscored = UID.replaceAll('-', '_')
  const cases: [string, string | undefined][] = [
    [
      `0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${underscored}.slice/cri-containerd-ab.scope`,
      UID,
    ],
    [`0::/kubepods.slice/kubepods-pod${underscored}.slice/cri-containerd-ab.scope`, UID],
    [`0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${underscored}.slice/x.scope`, UID],
    [`0::/../kubepods-besteffort-pod${underscored}.slice/x`, UID],
    [`0::/kubepods/besteffort/pod${UID}/ab`, UID],
    [`12:pids:/kubepods/pod${UID}/ab\n11:cpu:/kubepods/pod${UID}/ab`, UID],
    ['0::/kubepods/pod0123456789abcdef0123456789abcdef/x', '0123456789abcdef0123456789abcdef'],
    [`0::/kubepods/pod${UID}/ab/podaaaaaaaa-0000-0000-0000-000000000000`, UID],
    ['0::/system.slice/pods.service', undefined],
    ['0::/user.slice', undefined],
    ['', undefined],
  ]
  for (const [text, expected] of cases) t.equal(parsePodUid(text), expected, text)
  t.end()
})

/** Processes in network namespaces of their own, and a /proc in which they are of the pods given. */
async function fakeProc(t: Test, uids: readonly (string | undefined)[]) {
  const procDir = t.testdir({ self: { ns: {} }, sys: {} })
  symlinkSync('/proc/self/ns/net', join(procDir, 'self/ns/net'))
  const children: ChildProcess[] = []
  for (const [i, uid] of uids.entries()) {
    const child = spawn('unshare', ['--net', 'sh', '-c', 'echo; exec sleep 60'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    await once(child.stdout, 'data')
    children.push(child)
    const dir = join(procDir, String(child.pid))
    mkdirSync(join(dir, 'ns'), { recursive: true })
    symlinkSync(`/proc/${child.pid}/ns/net`, join(dir, 'ns/net'))
    writeFileSync(join(dir, 'cgroup'), uid === undefined ? '0::/' : `0::/kubepods/pod${uid}/x\n`)
    // Started in the reverse of their order.
    writeFileSync(join(dir, 'stat'), `${child.pid} (a) b) S ${'0 '.repeat(18)}${100 - i} 0\n`)
  }
  return { procDir, children }
}

/** Which namespace a path leads to. */
async function inode(path: string): Promise<bigint> {
  const { stat } = await import('node:fs/promises')
  return (await stat(path, { bigint: true })).ino
}

/** Network namespaces that this process holds open. */
function heldNamespaces(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith('net:')
    } catch {
      return false
    }
  }).length
}

t.test('a namespace is found by the pod’s first process, and stays when the process ends', async (t) => {
  const { procDir, children } = await fakeProc(t, [UID, UID, undefined])
  const before = heldNamespaces()
  const found = findNetnsInProc([UID, 'dddd'], procDir)
  t.same([...found.keys()], [UID])
  const [, first] = children
  const expected = await inode(`/proc/${first?.pid}/ns/net`)
  first?.kill('SIGKILL')
  if (first !== undefined) await once(first, 'exit')
  const held = found.get(UID)
  t.equal(await inode(held?.path ?? ''), expected)
  held?.release()
  held?.release()
  t.equal(heldNamespaces(), before)
})

t.test('the node’s own namespace is nobody’s', async (t) => {
  const { procDir, children } = await fakeProc(t, [UID])
  const [child] = children
  const link = join(procDir, String(child?.pid), 'ns/net')
  rmSync(link)
  symlinkSync('/proc/self/ns/net', link)
  const before = heldNamespaces()
  t.equal(findNetnsInProc([UID], procDir).size, 0)
  t.equal(heldNamespaces(), before)
})

t.test('the runtime is asked first; what it does not tell is looked for among the processes', async (t) => {
  const { procDir, children } = await fakeProc(t, [UID, 'bbbb', 'cccc'])
  const pidOf = (i: number) => children[i]?.pid ?? 0
  const sandbox = (uid: string, more: Partial<CriSandbox>): CriSandbox => ({
    uid,
    namespace: 'shop',
    name: uid,
    netns: undefined,
    pid: undefined,
    addresses: ['10.1.0.7'],
    ...more,
  })
  const path = `/proc/${pidOf(0)}/ns/net`
  const asked: string[][] = []
  const warnings: string[] = []
  const socket = await startRuntime(t, [])
  const pods = [UID, 'bbbb', 'cccc', 'dddd', 'eeee'].map((uid) => ({ uid, namespace: 'shop', name: uid }))
  const lookup = createNetnsLookup({
    criSockets: ['/none/cri.sock', socket],
    procDir,
    onWarning: (line) => warnings.push(line),
    ask: ({ uids }) => {
      asked.push([...uids])
      const sandboxes = [
        sandbox(UID, { netns: path }),
        sandbox('bbbb', { netns: '/run/netns/not-mounted-here', pid: pidOf(1) }),
        sandbox('cccc', {}),
        sandbox('dddd', { netns: '/proc/self/ns/net' }),
        // Of another pod by now.
        sandbox('eeee', { pid: pidOf(0) }),
      ]
      return Promise.resolve({ kind: 'sandboxes', sandboxes })
    },
  })
  const found = await lookup.find(pods)
  t.same(asked, [pods.map(({ uid }) => uid)])
  t.same([...found.keys()].sort(), [UID, 'bbbb', 'cccc'].sort())
  t.match(found.get(UID), { netns: path, addresses: ['10.1.0.7'] })
  for (const [uid, i] of [
    ['bbbb', 1],
    ['cccc', 2],
  ] as const) {
    const netns = found.get(uid)
    t.equal(await inode(netns?.netns ?? ''), await inode(`/proc/${pidOf(i)}/ns/net`))
    t.same(netns?.addresses, ['10.1.0.7'])
  }
  for (const { release } of found.values()) release()
  t.same(warnings, [])
})

t.test('a uid that anybody can claim leads to the sandbox of that very pod, and to no process', async (t) => {
  const hash = '0123456789abcdef0123456789abcdef'
  const { procDir, children } = await fakeProc(t, [hash, UID])
  const sandbox = (uid: string): CriSandbox => ({
    uid,
    namespace: 'kube-system',
    name: 'etcd',
    netns: `/proc/${children[0]?.pid ?? 0}/ns/net`,
    pid: undefined,
    addresses: ['10.1.0.7'],
  })
  const lookup = createNetnsLookup({
    criSockets: [await startRuntime(t, [])],
    procDir,
    onWarning: (line) => t.fail(line),
    ask: () => Promise.resolve({ kind: 'sandboxes', sandboxes: [sandbox(hash)] }),
  })
  const claims = [
    { uid: hash, namespace: 'evil', name: 'etcd' },
    { uid: hash, namespace: 'kube-system', name: 'other' },
  ]
  for (const claim of claims) t.equal((await lookup.find([claim])).size, 0)
  const [found] = (await lookup.find([{ uid: hash, namespace: 'kube-system', name: 'etcd' }])).values()
  t.match(found, { addresses: ['10.1.0.7'] }, 'the pod itself is found')
  found?.release()
})

t.test('without a runtime that answers the processes are enough', async (t) => {
  const { procDir } = await fakeProc(t, [UID])
  const warnings: string[] = []
  const options = { procDir, onWarning: (line: string) => warnings.push(line) }
  const pods = [{ uid: UID, namespace: 'shop', name: 'web' }]
  const without = await createNetnsLookup({ ...options, criSockets: [] }).find(pods)
  t.same(without.get(UID)?.addresses, [])
  const socket = await startRuntime(t, [])
  const ask = () => Promise.resolve({ kind: 'failure', why: 'no answer' } as const)
  const found = await createNetnsLookup({ ...options, criSockets: [socket], ask }).find(pods)
  t.ok(found.has(UID))
  t.match(warnings, [/Container runtime at .*cri.sock: no answer; looking in/])
  for (const { release } of [...without.values(), ...found.values()]) release()
})
