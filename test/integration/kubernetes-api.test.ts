import t from 'tap'
import { type KubernetesApi, KubernetesError, openKubernetesApi } from '#kubernetes'
import { namespaceObject, podObject, policyObject, routeObject, serviceObject } from '../support/cluster-objects.ts'
import type { FakeObject } from '../support/fake-objects.ts'
import { FollowedCluster } from '../support/followed-cluster.ts'
import { realApiServerFolder, startRealApiServer } from '../support/real-api-server.ts'

const folder = realApiServerFolder()
const skip = folder === undefined ? 'KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver' : false

const CRD = 'apiextensions.k8s.io/v1'

function definition(group: string, version: string, kind: string, plural: string): FakeObject {
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } }
  return {
    apiVersion: CRD,
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${plural}.${group}`,
      // The API server wants a review for groups of its own projects.
      annotations: { 'api-approved.kubernetes.io': 'https://github.com/kubernetes-sigs/gateway-api/pull/2466' },
    },
    spec: {
      group,
      scope: 'Namespaced',
      names: { kind, plural, singular: kind.toLowerCase() },
      versions: [{ name: version, served: true, storage: true, subresources: { status: {} }, schema }],
    },
  }
}

const POLICIES = definition('weir.dev', 'v1alpha1', 'AuthorizationPolicy', 'authorizationpolicies')
const ROUTES = definition('gateway.networking.k8s.io', 'v1', 'HTTPRoute', 'httproutes')

const PLURALS: Readonly<Record<string, string>> = {
  Namespace: 'namespaces',
  Pod: 'pods',
  Service: 'services',
  AuthorizationPolicy: 'authorizationpolicies',
  HTTPRoute: 'httproutes',
  CustomResourceDefinition: 'customresourcedefinitions',
  ClusterRole: 'clusterroles',
  ClusterRoleBinding: 'clusterrolebindings',
}

function collection({ apiVersion, kind, metadata: { namespace } }: FakeObject): string {
  const root = apiVersion.includes('/') ? `/apis/${apiVersion}` : `/api/${apiVersion}`
  return `${root}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${PLURALS[kind]}`
}

/** Creates it; while its definition is not established yet, again. */
async function create(api: KubernetesApi, object: FakeObject): Promise<unknown> {
  for (;;) {
    try {
      return await api.request('POST', collection(object), { body: object })
    } catch (thrown) {
      if (!(thrown instanceof KubernetesError) || thrown.status !== 404) throw thrown
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }
}

async function createPod(api: KubernetesApi, pod: FakeObject): Promise<void> {
  await create(api, pod)
  const path = `${collection(pod)}/${pod.metadata.name}/status`
  await api.request('PATCH', path, { body: { status: pod['status'] }, contentType: 'application/merge-patch+json' })
}

function remove(api: KubernetesApi, object: FakeObject): Promise<unknown> {
  const query = { gracePeriodSeconds: object.kind === 'Pod' ? 0 : undefined }
  return api.request('DELETE', `${collection(object)}/${object.metadata.name}`, { query })
}

function grant(verbs: readonly string[]): readonly FakeObject[] {
  const rbac = 'rbac.authorization.k8s.io'
  const groups = ['', 'discovery.k8s.io', 'gateway.networking.k8s.io', 'weir.dev']
  const rules = [{ apiGroups: groups, resources: ['*'], verbs }]
  return [
    { apiVersion: `${rbac}/v1`, kind: 'ClusterRole', metadata: { name: 'weir' }, rules },
    {
      apiVersion: `${rbac}/v1`,
      kind: 'ClusterRoleBinding',
      metadata: { name: 'weir' },
      roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: 'weir' },
      subjects: [{ kind: 'User', name: 'weir' }],
    },
  ]
}

t.test('The source follows a real API server', { skip }, async (t) => {
  if (folder === undefined) return
  await using server = await startRealApiServer(folder)
  await using admin = await openKubernetesApi({ kubeconfig: await server.kubeconfig('admin') })
  await using api = await openKubernetesApi({ kubeconfig: await server.kubeconfig('weir') })
  await using cluster = new FollowedCluster({
    api,
    node: 'a',
    pageSize: 7,
    lookMs: 200,
    staleAfterMs: 100,
    backoff: { baseMs: 50, maxMs: 500 },
  })
  await create(admin, POLICIES)
  await create(admin, namespaceObject('shop'))
  for (let index = 0; index < 30; index++) await create(admin, serviceObject(`service-${index}`))
  await createPod(admin, podObject('ours', { node: 'a', ip: '10.0.0.1' }))
  await createPod(admin, podObject('theirs', { node: 'b', ip: '10.0.0.2' }))
  await createPod(admin, podObject('ended', { node: 'b', phase: 'Succeeded' }))
  await create(admin, policyObject('allow', { rules: [{}] }))

  const opening = cluster.open()
  await cluster.untilWaiting(/^May not list namespaces: grant the verb list on namespaces to/)
  t.equal(cluster.calls, 0, 'nothing is granted yet')
  for (const object of grant(['get', 'list', 'watch'])) await create(admin, object)
  const first = await opening
  t.strictSame(first.lines, [])
  const names = (kind: string): readonly string[] =>
    cluster.last.objects.filter((object) => object.kind === kind).map(({ metadata }) => metadata.name)
  t.equal(names('Service').filter((name) => name.startsWith('service-')).length, 30, 'all pages')
  t.strictSame(names('Pod'), ['ours', 'theirs'])
  t.strictSame(names('AuthorizationPolicy'), ['allow'])

  const late = podObject('late', { node: 'a', ip: '10.0.0.3' })
  await create(admin, late)
  t.match(await cluster.source.getPod('shop', 'late'), { kind: 'Pod', spec: { nodeName: 'a' } })
  await createPod(admin, podObject('later', { node: 'b', ip: '10.0.0.4' }))
  await cluster.until(({ keys }) => keys.includes('/Pod:shop/late') && keys.includes('/Pod:shop/later'))
  await remove(admin, late)
  await cluster.until(({ keys }) => !keys.includes('/Pod:shop/late'))
  const path = '/api/v1/namespaces/shop/pods/theirs/status'
  const ended = { body: { status: { phase: 'Failed' } }, contentType: 'application/merge-patch+json' }
  await admin.request('PATCH', path, ended)
  await cluster.until(({ keys }) => !keys.includes('/Pod:shop/theirs'))

  await create(admin, ROUTES)
  const route = routeObject('web', 'web')
  await create(admin, route)
  await cluster.until(({ keys }) => keys.includes('gateway.networking.k8s.io/HTTPRoute:shop/web'))
  await remove(admin, ROUTES)
  await cluster.until(({ keys }) => !keys.includes('gateway.networking.k8s.io/HTTPRoute:shop/web'))
  t.strictSame(cluster.last.lines, [])

  const before = cluster.last
  await server.stop()
  const away = await cluster.until(({ lines }) => lines.length > 0)
  t.match(away.lines, [/has not answered since .*: serving goes on with what was known$/])
  t.strictSame(away.objects, before.objects)
  t.type(cluster.source.staleSince, 'number')
  const from = cluster.history.length
  await server.start()
  await cluster.until(({ lines }) => lines.length === 0)
  await create(admin, serviceObject('after'))
  await remove(admin, serviceObject('service-0'))
  await cluster.until(({ keys }) => keys.includes('/Service:shop/after') && !keys.includes('/Service:shop/service-0'))
  t.ok(
    cluster.history.slice(from).every(({ keys }) => keys.includes('weir.dev/AuthorizationPolicy:shop/allow')),
    'the policy was there all the time',
  )
})

t.test('What a real API server refuses comes as its status and reason', { skip }, async (t) => {
  if (folder === undefined) return
  await using server = await startRealApiServer(folder)
  await using admin = await openKubernetesApi({ kubeconfig: await server.kubeconfig('admin') })
  await using weir = await openKubernetesApi({ kubeconfig: await server.kubeconfig('weir') })
  const refused = (status: number, reason: string) => ({ name: 'KubernetesError', status, reason })
  await t.rejects(weir.request('GET', '/api/v1/pods'), refused(403, 'Forbidden'))
  await t.rejects(admin.request('GET', '/api/v1/namespaces/none/pods/none'), refused(404, 'NotFound'))
  await t.rejects(admin.request('GET', '/apis/weir.dev/v1alpha1/any'), { name: 'KubernetesError', status: 404 })
  await create(admin, namespaceObject('shop'))
  await t.rejects(create(admin, namespaceObject('shop')), refused(409, 'AlreadyExists'))
  const path = '/api/v1/namespaces/shop'
  const outdated = { metadata: { resourceVersion: '1', labels: { a: 'b' } } }
  const patch = { body: outdated, contentType: 'application/merge-patch+json' }
  await t.rejects(admin.request('PATCH', path, patch), refused(409, 'Conflict'))
  await t.rejects(admin.request('POST', '/api/v1/namespaces', { body: { metadata: {} } }), refused(422, 'Invalid'))
  await t.rejects(admin.request('GET', '/api/v1/namespaces', { maxBytes: 100 }), refused(200, 'TooLarge'))
  const types: string[] = []
  const query = { resourceVersion: 0, timeoutSeconds: 1 }
  await admin.watch('/api/v1/namespaces', { query, onEvent: ({ type }) => types.push(type) })
  t.ok(types.length > 0 && types.every((type) => type === 'ADDED'))
  // A version from before the server's memory: how the source learns that it has to list again.
  await server.stop()
  await server.start()
  const told: unknown[] = []
  const old = { resourceVersion: 1, timeoutSeconds: 1 }
  await admin.watch('/api/v1/namespaces', { query: old, onEvent: (event) => told.push(event) })
  t.match(told, [{ type: 'ERROR', object: { kind: 'Status', code: 410, reason: 'Expired' } }])
})
