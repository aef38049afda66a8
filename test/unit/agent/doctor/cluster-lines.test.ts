/** What the doctor says of an API server, against one in this process. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { CheckLine, MeshObject } from '#contract'
import { openKubernetesApi } from '#kubernetes'
import { agentVersionLines } from '../../../../agent/doctor/agent-versions.ts'
import { accessLines, clusterLines } from '../../../../agent/doctor/api-server.ts'
import { networkPolicyLines } from '../../../../agent/doctor/network-policies.ts'
import { FakeApiServer, type RecordedRequest } from '../../../support/fake-api-server.ts'
import { workload } from '../../admin/fake-backend.ts'

const REVIEWS = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews'
const POLICIES = {
  group: 'networking.k8s.io',
  versions: ['v1'],
  plural: 'networkpolicies',
  kind: 'NetworkPolicy',
  namespaced: true,
}
const SIGNAL = new AbortController().signal

async function cluster(t: Test, version = 'v1.31.4') {
  const directory = mkdtempSync(join(tmpdir(), 'weir-doctor-'))
  const server = await FakeApiServer.start()
  server.fault(({ path }) => path === '/version', { text: JSON.stringify({ major: '1', gitVersion: version }) })
  const api = await openKubernetesApi({ kubeconfig: await server.kubeconfig(directory) })
  t.teardown(async () => {
    await api[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true, force: true })
  })
  return { server, api }
}

const results = (lines: readonly CheckLine[]) => lines.map(({ result, what }) => `${result} ${what}`)

t.test('a server that answers, its version and its clock', async (t) => {
  const { api } = await cluster(t)
  t.strictSame(results(await clusterLines(api, [], { now: Date.now })), [
    `ok API server ${api.server} answers`,
    'ok Kubernetes v1.31.4',
    "ok clock agrees with the API server's",
  ])
  const ahead = await clusterLines(api, [], { now: () => Date.now() + 600_000 })
  t.match(results(ahead)[2], /^failure clock is (598|599|600) s ahead of the API server's/)
  const stale = await clusterLines(api, [], { now: Date.now, staleSince: 0 })
  t.match(results(stale)[3], 'failure what is known of the cluster is from 1970-01-01T00:00:00.000Z')
  const versions: readonly (readonly [string, RegExp | string])[] = [
    ['v1.26.9-eks-1', 'warning Kubernetes v1.26.9-eks-1 is older than 1.27'],
    ['v1.27.0', 'ok Kubernetes v1.27.0'],
    ['v2.0.0', 'ok Kubernetes v2.0.0'],
    [
      'v0.0.0-master+$Format:%H$',
      'warning Kubernetes v0.0.0-master+$Format:%H$: cannot tell how old it is see that it is 1.27 or later',
    ],
    ['', 'warning Kubernetes : cannot tell how old it is see that it is 1.27 or later'],
  ]
  for (const [version, line] of versions) {
    const other = await cluster(t, version)
    const [, told] = await clusterLines(other.api, [], { now: Date.now })
    t.ok(`${told?.result} ${told?.what} ${told?.remedy}`.startsWith(String(line)), version)
  }
})

t.test('a server that hangs, refuses or is gone is one failure, and nothing more is asked of it', async (t) => {
  const { server, api } = await cluster(t)
  const ask = () =>
    clusterLines(api, [{ name: 'asked', run: () => t.fail('it was asked') as never }], { now: Date.now })
  server.freeze()
  t.match(await ask(), [{ result: 'failure', what: /does not serve us/, remedy: /answer within 3 s/ }])
  server.thaw()
  server.setToken('another')
  t.match(await ask(), [
    { result: 'failure', what: /does not serve us/, remedy: /401: Unauthorized; .*mount the service account/ },
  ])
  await server.vanish()
  t.match(await ask(), [{ result: 'failure', remedy: /refused/ }])
})

t.test('permissions are asked for one by one, and the missing ones named', async (t) => {
  const { server, api } = await cluster(t)
  const attributes = ({ body }: RecordedRequest) =>
    (body as { spec: { resourceAttributes: Record<string, string> } }).spec.resourceAttributes
  const isReview = (request: RecordedRequest) => request.path === REVIEWS
  const isStatus = (request: RecordedRequest) => isReview(request) && attributes(request)['subresource'] === 'status'
  const answer = (allowed: boolean) => ({
    text: JSON.stringify({ kind: 'SelfSubjectAccessReview', status: { allowed } }),
  })
  using denied = server.fault(
    (request) => isStatus(request) && attributes(request)['group'] === 'weir.dev',
    answer(false),
  )
  server.fault(isReview, answer(true))
  t.match(await accessLines(api, 'weir-system', SIGNAL), [
    { result: 'failure', what: /: 4 of \d+ are missing: patch authorizationpolicies\/status.weir.dev, patch peer/ },
  ])
  denied[Symbol.dispose]()
  t.match(await accessLines(api, 'weir-system', SIGNAL), [{ result: 'ok' }])
  t.match(
    server.requests.filter(isReview).map(attributes),
    [{ verb: 'get', group: '', resource: 'namespaces' }],
    'as the API has them',
  )
})

t.test('agents of another version are named', async (t) => {
  const { server, api } = await cluster(t)
  const put = (name: string, version: string) =>
    server.put({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace: 'weir-system', name, labels: { 'app.kubernetes.io/version': version } },
      spec: { nodeName: `node-of-${name}`, containers: [{ image: `weir:${version}` }] },
    })
  const look = () => agentVersionLines(api, { version: '0.2.0', namespace: 'weir-system', signal: SIGNAL })
  t.match(await look(), [{ result: 'ok', what: 'versions: 0.2.0' }])
  put('a', '0.2.0')
  t.match(await look(), [{ result: 'ok', what: 'versions: 0.2.0, as all 1 pods of Weir' }])
  put('b', '0.1.0')
  t.match(await look(), [
    { result: 'warning', what: 'versions: this is 0.2.0; b on node-of-b is 0.1.0', remedy: /rollout/ },
  ])
  t.equal(server.requests.at(-1)?.query['labelSelector'], 'app.kubernetes.io/name=weir')
})

t.test('NetworkPolicies are listed when asked, and held against the enrolled pods', async (t) => {
  const { server, api } = await cluster(t)
  const world: readonly MeshObject[] = [
    workload('web-1', '10.1.0.2', { node: 'a' }),
    workload('cart-1', '10.2.0.2', { node: 'b' }),
    workload('plain-1', '10.3.0.2', { node: 'c', optedIn: false }),
  ]
  const look = () => networkPolicyLines(api, world, SIGNAL)
  t.match(await look(), [{ result: 'ok', what: /has none/ }])
  server.define(POLICIES)
  t.match(await look(), [{ result: 'ok', what: /^NetworkPolicies: 0/ }])
  server.put({
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: { namespace: 'shop', name: 'cart' },
    spec: { podSelector: { matchLabels: { app: 'cart' } }, ingress: [{ ports: [{ port: 8080 }] }] },
  })
  t.match(await look(), [
    { result: 'failure', what: 'NetworkPolicy shop/cart blocks tunnels (TCP 15008) to shop/cart-1 from shop/web-1' },
  ])
  server.fault(({ path }) => path.endsWith('/networkpolicies'), { status: 403 })
  t.match(await look(), [{ result: 'warning', what: /cannot be listed/, remedy: /grant list networkpolicies/ }])
})
