/** An agent that follows a cluster: pods that the network plugin tells of, policies that come and go, a server that is away. */
import { readdirSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import t from 'tap'
import { parse } from 'yaml'
import type { CniReply } from '../../cni/protocol.ts'
import { FakeApiServer } from '../support/fake-api-server.ts'
import { type FakeObject, GATEWAY_API, WEIR_POLICIES } from '../support/fake-objects.ts'
import { type LabPod, openLab } from '../support/lab.ts'

const WEIR = join(import.meta.dirname, '../../scripts/weir')
const lab = await openLab({ t })
t.teardown(() => lab.close())
const { node } = lab
const spec = (name: string) => ({ name, namespace: 'shop', serviceAccount: name, labels: { app: name } })
const client = await lab.addPod(spec('client'))
const web = await lab.addPod(spec('web'))
await web.echoServer()
const service = lab.addService({
  name: 'web',
  namespace: 'shop',
  selector: { app: 'web' },
  ports: [{ port: 80, targetPort: 8080 }],
})

const at = { netnsPath: node.netnsPath, port: 6443 }
const api = await FakeApiServer.start({ at, resources: [...GATEWAY_API, ...WEIR_POLICIES] })
t.teardown(() => api[Symbol.asyncDispose]())
api.put({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } })
for (const file of readdirSync(lab.manifestsDir)) api.put(objectOf(file))
const kubeconfig = await api.kubeconfig(lab.dir)
const agent = await lab.startAgent({ proxies: 1, kubeconfig, extraArgs: ['--cri-socket', '/none'] })

function objectOf(file: string): FakeObject {
  // Whose network namespace is whose, the runtime says, not the object.
  const yaml = readFileSync(join(lab.manifestsDir, file), 'utf8').replace(/^ *weir\.dev\/netns:.*\n/m, '')
  return parse(yaml) as FakeObject
}

async function tell(request: object): Promise<CniReply> {
  const socket = connect(join(node.stateDir, 'cni.sock'))
  socket.write(`${JSON.stringify(request)}\n`)
  const last = (await text(socket)).trim().split('\n').at(-1)
  return JSON.parse(last ?? '') as CniReply
}

const attachmentOf = (pod: LabPod, netns = pod.netnsPath) => ({
  containerId: `sandbox-${pod.name}`,
  ifName: 'eth0',
  network: 'lab',
  netns,
  pod: { namespace: pod.namespace, name: pod.name, uid: pod.uid },
  addresses: pod.addresses,
})
const add = (pod: LabPod, netns?: string) => tell({ command: 'ADD', attachment: attachmentOf(pod, netns) })
const ask = () => client.curl(`http://${service.ipv4}/`)
const policy = (name: string, action: string, principal: string): FakeObject => ({
  apiVersion: 'weir.dev/v1alpha1',
  kind: 'AuthorizationPolicy',
  metadata: { name, namespace: 'shop' },
  spec: {
    selector: { matchLabels: { app: 'web' } },
    action,
    rules: [{ from: [{ source: { principals: [`cluster.local/ns/shop/sa/${principal}`] } }] }],
  },
})
/** Makes a change to the cluster; resolves when the proxy goes by it. */
async function change(edit: () => void): Promise<void> {
  const from = agent.logs.length
  edit()
  await agent.waitFor('world applied', { from })
}

t.test('a pod is enrolled as the network plugin tells of it, and known by its identity', async (t) => {
  t.match(await add(web), { kind: 'enrolled' })
  t.match(await add(client), { kind: 'enrolled' })
  const { name, headers } = await client.echo(`http://${service.ipv4}/`)
  t.equal(name, 'web')
  t.match(headers['x-forwarded-client-cert'], /URI=spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client/)
  t.match((await agent.cli('status')).stdout, /kubernetes/)
})

t.test('policies and routes come into force as the cluster has them, and their status says so', async (t) => {
  await change(() => api.put(policy('no-client', 'DENY', 'client')))
  t.equal((await ask()).status, 403)
  const patched = await api.seen(({ method, path }) => method === 'PATCH' && path.endsWith('/no-client/status'))
  t.match(patched.body, { status: { conditions: [{ type: 'WeirAccepted', status: 'True', reason: 'Accepted' }] } })
  await change(() => api.remove('weir.dev/v1alpha1', 'AuthorizationPolicy', { namespace: 'shop', name: 'no-client' }))
  t.equal((await ask()).status, 200)
  const from = api.requests.length
  await change(() =>
    api.put({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'web', namespace: 'shop' },
      spec: {
        parentRefs: [{ group: '', kind: 'Service', name: 'web' }],
        rules: [{ backendRefs: [{ name: 'wbe', port: 80 }] }],
      },
    }),
  )
  t.equal((await ask()).status, 500)
  const told = await api.seen(({ method, path }) => method === 'PATCH' && path.endsWith('/httproutes/web/status'), from)
  t.match(told.body, {
    status: {
      parents: [
        {
          controllerName: 'weir.dev/mesh',
          parentRef: { kind: 'Service', name: 'web' },
          conditions: [
            { type: 'Accepted', status: 'True' },
            {
              type: 'ResolvedRefs',
              status: 'False',
              reason: 'BackendNotFound',
              message: /Service shop\/wbe does not exist/,
            },
          ],
        },
      ],
    },
  })
  await change(() => api.remove('gateway.networking.k8s.io/v1', 'HTTPRoute', { namespace: 'shop', name: 'web' }))
  t.equal((await ask()).status, 200)
  const grpcFrom = api.requests.length
  await change(() =>
    api.put({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'GRPCRoute',
      metadata: { name: 'calls', namespace: 'shop' },
      spec: {
        parentRefs: [{ group: '', kind: 'Service', name: 'web' }],
        rules: [{ matches: [{ method: { service: 'shop.v1.Carts' } }], backendRefs: [{ name: 'web', port: 80 }] }],
      },
    }),
  )
  t.equal((await ask()).status, 404, 'what is no call of that service')
  const calls = await api.seen(
    ({ method, path }) => method === 'PATCH' && path.endsWith('/grpcroutes/calls/status'),
    grpcFrom,
  )
  t.match(calls.body, { status: { parents: [{ conditions: [{ type: 'Accepted', status: 'True' }, {}] }] } })
  await change(() => api.remove('gateway.networking.k8s.io/v1', 'GRPCRoute', { namespace: 'shop', name: 'calls' }))
  t.equal((await ask()).status, 200)
  const tlsFrom = api.requests.length
  await change(() =>
    api.put({
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'BackendTLSPolicy',
      metadata: { name: 'web', namespace: 'shop' },
      spec: {
        targetRefs: [{ group: '', kind: 'Service', name: 'web' }],
        validation: {
          hostname: 'web.example',
          caCertificateRefs: [{ group: '', kind: 'ConfigMap', name: 'none' }],
        },
      },
    }),
  )
  const tls = await api.seen(
    ({ method, path }) => method === 'PATCH' && path.endsWith('/backendtlspolicies/web/status'),
    tlsFrom,
  )
  const [accepted, resolved] = [{ reason: 'NoValidCACertificate' }, { reason: 'InvalidCACertificateRef' }]
  t.match(tls.body, {
    status: { ancestors: [{ ancestorRef: { kind: 'Service', name: 'web' }, conditions: [accepted, resolved] }] },
  })
  t.equal((await ask()).status, 503, 'nothing is sent in plain text')
  await change(() => api.remove('gateway.networking.k8s.io/v1', 'BackendTLSPolicy', { namespace: 'shop', name: 'web' }))
  t.equal((await ask()).status, 200)
})

t.test('weir quarantine sets it through the API for who may, and tells who may not what to run', async (t) => {
  const refused = await agent.cli('quarantine', ['shop/web', '--kubeconfig', '/none', '--allow', '10.0.0.5/32'])
  t.match(refused, {
    code: 1,
    stdout:
      'kubectl annotate pod -n shop web --overwrite weir.dev/quarantine=true weir.dev/quarantine-allow=10.0.0.5/32\n',
    stderr: /^weir quarantine may not change pods here \(.*\/none.*\); someone who may does it so:\n$/,
  })
  t.equal((await ask()).status, 200)
  t.match(await agent.cli('quarantine', ['shop/web', '--kubeconfig', kubeconfig]), {
    code: 0,
    stdout: 'Pod shop/web is in quarantine, in force; allowed: nobody.\n',
  })
  t.equal((await ask()).status, 503, 'no endpoint is left')
  t.equal((await client.curl(`http://${web.ipv4}:8080/`)).status, 403)
  t.match(await agent.cli('release', ['shop/web', '--kubeconfig', kubeconfig]), {
    code: 0,
    stdout: 'Pod shop/web is released.\n',
  })
  t.equal((await ask()).status, 200)
})

t.test('a pod that cannot be enrolled does not start, and an Event on it says why', async (t) => {
  const late = await lab.addPod(spec('late'))
  api.put(objectOf('pod-shop-late.yaml'))
  t.match(await add(late, '/run/netns/none'), { kind: 'failed', why: /\/run\/netns\/none/ })
  const event = await api.seen(({ method, path }) => method === 'POST' && path === '/api/v1/namespaces/shop/events')
  t.match(event.body, {
    involvedObject: { kind: 'Pod', name: 'late', uid: late.uid },
    type: 'Warning',
    reason: 'EnrolmentFailed',
    message: /^Not in the mesh: .*\/run\/netns\/none/,
  })
  t.match(await add(late), { kind: 'enrolled' }, 'told again, rightly')
  await change(() => api.remove('v1', 'Pod', { namespace: 'shop', name: 'late' }))
})

t.test('while the API server is away all goes on as it was, and how long is told', async (t) => {
  await api.vanish()
  await agent.waitFor((line) => /has not answered since/.test(String(line['problem'])), { timeoutMs: 30_000 })
  t.equal((await ask()).status, 200)
  const check = await agent.cli('check')
  t.equal(check.code, 1)
  t.match(check.stdout, /has not answered since .*: serving goes on with what was known/)
  api.put(policy('late', 'DENY', 'client'))
  t.equal((await ask()).status, 200)
  const from = agent.logs.length
  await api.comeBack()
  await agent.waitFor('world applied', { from, timeoutMs: 60_000 })
  t.equal((await ask()).status, 403, 'what changed meanwhile is in force')
})

t.test('agent and CA wait for an API server that is away, say so, and end when they are told to', async (t) => {
  await api.vanish()
  const kubernetes = ['--kubernetes', '--kubeconfig', kubeconfig]
  const away = (line: string) => /API server .*has not answered/.test(line)
  const ca = node.spawn(WEIR, ['ca', '--listen', '127.0.0.1:0', '--ca-dir', join(lab.dir, 'ca'), ...kubernetes])
  const stateDir = join(lab.dir, 'waiting')
  const waiting = await lab.startAgent({
    proxies: 1,
    kubeconfig,
    stateDir,
    waitReady: false,
    extraArgs: ['--admin', 'none'],
  })
  await ca.until('the CA to say what it waits for', () => away(ca.stdout) || undefined)
  await waiting.waitFor((line) => away(String(line['problem'])), { timeoutMs: 20_000 })
  t.match(await waiting.cli('check'), { code: 1, stdout: /failure +Cluster: .*API server .* has not answered/ })
  t.match(await waiting.cli('status'), { stdout: /Ready +no/ })
  t.equal(await ca.stop('SIGTERM'), 0)
  t.equal(await waiting.process.stop('SIGTERM'), 0)
  t.notOk(waiting.logs.some((line) => line['msg'] === 'start failed'))
  await api.comeBack()
})

t.test('an agent that ends leaves no rule, and one that starts finds the pods it was told of', async (t) => {
  await agent.process.stop('SIGTERM')
  t.notMatch((await web.exec('iptables-save')).stdout, /WEIR/)
  const next = await lab.startAgent({ proxies: 1, kubeconfig, extraArgs: ['--cri-socket', '/none'] })
  t.match((await next.cli('pods')).stdout, /shop\/web +enrolled/)
  t.equal((await ask()).status, 403)
})
