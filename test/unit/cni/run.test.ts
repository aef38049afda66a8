import fc from 'fast-check'
import t from 'tap'
import type { Asked } from '../../../cni/plugin/ask-agent.ts'
import { type PluginWorld, runPlugin } from '../../../cni/plugin/run.ts'
import type { CniRequest } from '../../../cni/protocol.ts'

const ADD = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c1',
  CNI_NETNS: '/run/netns/cni-1',
  CNI_IFNAME: 'eth0',
  CNI_ARGS: 'IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u1',
}
const PREV = {
  cniVersion: '1.0.0',
  interfaces: [{ name: 'veth1' }, { name: 'eth0', sandbox: '/run/netns/cni-1' }],
  ips: [
    { address: '10.1.0.7/24', interface: 1 },
    { address: 'fd00::7/64', interface: 1 },
    { address: '10.1.0.1/24', interface: 0 },
  ],
  routes: [{ dst: '0.0.0.0/0' }],
  strange: { kept: true },
}
const CONF = { cniVersion: '1.0.0', name: 'net', type: 'weir', index: '/index.json', prevResult: PREV }
const REFUSED: Asked = { kind: 'away', why: 'does not answer (ECONNREFUSED)', refused: true, saidOptedIn: false }
const SILENT: Asked = { kind: 'away', why: 'gave no answer within 8 s', refused: false, saidOptedIn: false }

function replied(reply: Extract<Asked, { kind: 'reply' }>['reply']): Asked {
  return { kind: 'reply', reply }
}

interface Case {
  readonly env?: Readonly<Record<string, string>>
  readonly conf?: unknown
  readonly stdin?: string
  /** In this order, the last again and again. */
  readonly asked?: readonly Asked[]
  readonly indexed?: boolean
}

async function call({ env = {}, conf = CONF, stdin, asked = [REFUSED], indexed = false }: Case = {}) {
  const requests: CniRequest[] = []
  const world: PluginWorld = {
    env: { ...ADD, ...env },
    stdin: stdin ?? JSON.stringify(conf),
    ask: (_, request) => {
      requests.push(request)
      return Promise.resolve(asked[Math.min(requests.length, asked.length) - 1] ?? REFUSED)
    },
    isIndexedAsOptedIn: () => ({ optedIn: indexed }),
    wait: () => Promise.resolve(),
  }
  const outcome = await runPlugin(world)
  return { ...outcome, requests, json: outcome.stdout === '' ? undefined : JSON.parse(outcome.stdout) }
}

t.test('ADD of an enrolled pod passes the result before it on as it came', async (t) => {
  const { exitCode, json, requests } = await call({ asked: [replied({ kind: 'enrolled' })] })
  t.equal(exitCode, 0)
  t.same(json, PREV)
  t.same(requests, [
    {
      command: 'ADD',
      attachment: {
        containerId: 'c1',
        ifName: 'eth0',
        network: 'net',
        netns: '/run/netns/cni-1',
        pod: { namespace: 'shop', name: 'web', uid: 'u1' },
        addresses: ['10.1.0.7', 'fd00::7'],
      },
    },
  ])
})

t.test('the result has the version of the configuration, in each version', async (t) => {
  for (const cniVersion of ['0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
    const { json } = await call({ conf: { ...CONF, cniVersion }, asked: [replied({ kind: 'not-opted-in' })] })
    t.equal(json.cniVersion, cniVersion)
  }
})

t.test('without a result before it an empty one is given', async (t) => {
  const { json } = await call({
    conf: { cniVersion: '0.4.0', name: 'net' },
    asked: [replied({ kind: 'not-opted-in' })],
  })
  t.same(json, { interfaces: [], ips: [], cniVersion: '0.4.0' })
})

t.test('an opted-in pod does not start while the agent is away, and is told why', async (t) => {
  const { exitCode, json, requests } = await call({ indexed: true })
  t.equal(exitCode, 1)
  t.equal(json.code, 11)
  t.equal(json.cniVersion, '1.0.0')
  t.match(
    json.msg,
    /^weir: pod shop\/web is opted in but the node's agent at \/run\/weir\/cni.sock does not answer \(ECONNREFUSED\): see that the weir agent runs on this node/,
  )
  t.ok(requests.length > 10, 'an agent that is being replaced is waited for')
})

t.test('an agent that comes back within the wait is asked again', async (t) => {
  const { exitCode, requests } = await call({
    indexed: true,
    asked: [REFUSED, REFUSED, replied({ kind: 'enrolled' })],
  })
  t.equal(exitCode, 0)
  t.equal(requests.length, 3)
})

t.test('a pod that is not known as opted in starts without the agent, at once', async (t) => {
  for (const asked of [REFUSED, SILENT]) {
    const { exitCode, json, requests, stderr } = await call({ asked: [asked] })
    t.equal(exitCode, 0)
    t.same(json, PREV)
    t.equal(requests.length, 1)
    t.match(stderr, /pod shop\/web passes/)
  }
})

t.test('what the agent said before it fell silent counts more than the index', async (t) => {
  const { json } = await call({ asked: [{ ...SILENT, saidOptedIn: true }] })
  t.equal(json.code, 11)
})

t.test('a failed enrolment stops the pod with the reason', async (t) => {
  const { json } = await call({ asked: [replied({ kind: 'failed', why: 'Port 15006 is in use inside the pod' })] })
  t.same(
    [json.code, json.msg],
    [100, 'weir: pod shop/web is opted in but was not enrolled: Port 15006 is in use inside the pod'],
  )
})

t.test('where the agent does not know the pod, the index decides', async (t) => {
  for (const kind of ['unknown', 'malformed'] as const) {
    const asked = [replied({ kind, why: 'no such pod' })]
    t.equal((await call({ asked })).exitCode, 0)
    const refused = await call({ asked, indexed: true })
    t.match(refused.json, { code: 11, msg: 'cannot tell: no such pod' })
  }
})

t.test('pods of excluded namespaces, and containers that are no pods, are not asked about', async (t) => {
  const cases: Case[] = [
    { env: { CNI_ARGS: 'K8S_POD_NAMESPACE=kube-system;K8S_POD_NAME=dns' } },
    { env: { CNI_ARGS: 'K8S_POD_NAMESPACE=weir-system;K8S_POD_NAME=agent' } },
    { env: { CNI_ARGS: '' } },
    { conf: { ...CONF, excludeNamespaces: ['shop'] } },
  ]
  for (const one of cases) {
    for (const CNI_COMMAND of ['ADD', 'CHECK']) {
      const { exitCode, requests } = await call({ ...one, env: { ...one.env, CNI_COMMAND }, indexed: true })
      t.equal(exitCode, 0)
      t.equal(requests.length, 0)
    }
  }
})

t.test('CHECK answers nothing for a sound pod, and fails for opted-in ones only', async (t) => {
  const env = { CNI_COMMAND: 'CHECK' }
  for (const kind of ['enrolled', 'not-opted-in'] as const) {
    const { exitCode, stdout } = await call({ env, asked: [replied({ kind })] })
    t.same([exitCode, stdout], [0, ''])
  }
  t.match((await call({ env, asked: [replied({ kind: 'failed', why: 'x' })] })).json, { code: 100 })
  t.equal((await call({ env })).exitCode, 0)
  t.match((await call({ env, indexed: true })).json, { code: 11 })
})

t.test('DEL never fails, whatever is missing or strange', async (t) => {
  const env = { CNI_COMMAND: 'DEL', CNI_NETNS: '', CNI_ARGS: '' }
  t.equal((await call({ env, indexed: true })).exitCode, 0)
  t.equal((await call({ env, conf: { cniVersion: '9.0.0' } })).exitCode, 0)
  const { requests } = await call({ env, asked: [replied({ kind: 'done' })] })
  t.same(requests, [{ command: 'DEL', attachment: { containerId: 'c1', ifName: 'eth0' } }])
})

t.test('STATUS is ready without the agent: pods that did not opt in need the network too', async (t) => {
  const { exitCode, stdout, stderr } = await call({
    env: { CNI_COMMAND: 'STATUS', CNI_CONTAINERID: '', CNI_NETNS: '', CNI_IFNAME: '' },
  })
  t.same([exitCode, stdout], [0, ''])
  t.match(stderr, 'ECONNREFUSED')
})

t.test('GC tells the agent which attachments are left', async (t) => {
  const valid = [{ containerID: 'c1', ifname: 'eth0' }, { containerID: 7 }, 'x']
  const { exitCode, requests } = await call({
    env: { CNI_COMMAND: 'GC' },
    conf: { ...CONF, 'cni.dev/valid-attachments': valid },
  })
  t.equal(exitCode, 0)
  t.same(requests, [{ command: 'GC', network: 'net', valid: [{ containerId: 'c1', ifName: 'eth0' }] }])
})

t.test('VERSION tells what is supported, also without a configuration', async (t) => {
  const env = { CNI_COMMAND: 'VERSION' }
  const supportedVersions = ['0.3.1', '0.4.0', '1.0.0', '1.1.0']
  t.same((await call({ env, stdin: '' })).json, { cniVersion: '1.1.0', supportedVersions })
  t.same((await call({ env, conf: { cniVersion: '0.4.0' } })).json, { cniVersion: '0.4.0', supportedVersions })
})

t.test('errors have the codes of the specification and say what to do', async (t) => {
  const cases: [Case, number, RegExp][] = [
    [{ env: { CNI_COMMAND: '' } }, 4, /CNI_COMMAND: expected one of/],
    [{ env: { CNI_COMMAND: '__proto__' } }, 4, /CNI_COMMAND/],
    [{ env: { CNI_CONTAINERID: '', CNI_NETNS: '' } }, 4, /CNI_CONTAINERID, CNI_NETNS: must be set for ADD/],
    [{ env: { CNI_CONTAINERID: '../x' } }, 4, /CNI_CONTAINERID/],
    [{ env: { CNI_IFNAME: 'a/b' } }, 4, /CNI_IFNAME/],
    [{ stdin: '{"cniVersion":' }, 6, /not a JSON object/],
    [{ stdin: '[]' }, 6, /not a JSON object/],
    [{ conf: { ...CONF, cniVersion: '0.2.0' } }, 1, /"0.2.0" is not supported/],
    [{ conf: { name: 'x' } }, 1, /cniVersion "" is not supported/],
  ]
  for (const [one, code, msg] of cases) {
    const { exitCode, json } = await call(one)
    t.equal(exitCode, 1)
    t.match(json, { code, msg })
    t.equal(typeof json.cniVersion, 'string')
  }
})

t.test('a slip in our own fields stops no pod: the default holds, and is told', async (t) => {
  const conf = { ...CONF, socket: 7, timeoutMs: -1, excludeNamespaces: 'kube-system', index: [] }
  const { exitCode, stderr } = await call({ conf, asked: [replied({ kind: 'not-opted-in' })] })
  t.equal(exitCode, 0)
  for (const field of ['socket', 'timeoutMs', 'excludeNamespaces', 'index']) t.match(stderr, `weir: ${field}: unfit`)
})

t.test('whatever it is given, the plugin ends with a result or an error that a runtime can read', async () => {
  const names = ['cniVersion', 'name', 'prevResult', 'socket', 'index', 'excludeNamespaces', 'timeoutMs']
  const conf = fc.dictionary(fc.constantFrom(...names, 'cni.dev/valid-attachments'), fc.jsonValue())
  const stdin = fc.oneof(
    fc.string(),
    conf.map((fields) => JSON.stringify({ cniVersion: '1.0.0', ...fields })),
  )
  const env = fc.dictionary(
    fc.constantFrom('CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_ARGS'),
    fc.oneof(fc.string(), fc.constant('a'), fc.constant('K8S_POD_NAMESPACE=a;K8S_POD_NAME=b')),
  )
  const command = fc.constantFrom('ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION', 'add', '')
  await fc.assert(
    fc.asyncProperty(command, env, stdin, fc.boolean(), async (CNI_COMMAND, changes, text, indexed) => {
      const { exitCode, stdout, json } = await call({ env: { ...changes, CNI_COMMAND }, stdin: text, indexed })
      if (exitCode === 0) return stdout === '' || typeof json.cniVersion === 'string'
      return typeof json.code === 'number' && json.msg.startsWith('weir: ') && typeof json.cniVersion === 'string'
    }),
    { numRuns: 500 },
  )
})
