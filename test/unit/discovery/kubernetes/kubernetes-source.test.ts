import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { KubernetesSourceOptions } from '#discovery/kubernetes'
import { openKubernetesApi } from '#kubernetes'
import {
  namespaceObject,
  podObject,
  policyObject,
  routeObject,
  serviceObject,
} from '../../../support/cluster-objects.ts'
import { FakeApiServer, type FakeApiServerOptions } from '../../../support/fake-api-server.ts'
import { GATEWAY_API, WEIR_POLICIES } from '../../../support/fake-objects.ts'
import { FollowedCluster } from '../../../support/followed-cluster.ts'

interface Setup extends AsyncDisposable {
  readonly server: FakeApiServer
  readonly cluster: FollowedCluster
}

async function setUp(
  t: Test,
  options: Partial<KubernetesSourceOptions> = {},
  serverOptions: FakeApiServerOptions = {},
): Promise<Setup> {
  const directory = await mkdtemp(join(tmpdir(), 'weir-kubeconfig-'))
  t.teardown(() => rm(directory, { recursive: true }))
  const server = await FakeApiServer.start(serverOptions)
  const api = await openKubernetesApi({ kubeconfig: await server.kubeconfig(directory) })
  const cluster = new FollowedCluster({ api, ...options })
  return {
    server,
    cluster,
    [Symbol.asyncDispose]: async () => {
      await cluster[Symbol.asyncDispose]()
      await api[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

const isWatch = (plural: string) => (request: { path: string; query: Readonly<Record<string, string>> }) =>
  request.path.endsWith(`/${plural}`) && request.query['watch'] !== undefined
const isList = (plural: string) => (request: { path: string; query: Readonly<Record<string, string>> }) =>
  request.path.endsWith(`/${plural}`) && request.query['watch'] === undefined

t.test('The first set is whole, and what changes afterwards is told', async (t) => {
  await using setup = await setUp(t, {}, { resources: [...GATEWAY_API, ...WEIR_POLICIES] })
  const { server, cluster } = setup
  server.put(namespaceObject('shop'))
  server.put(podObject('web', { ip: '10.0.0.1' }))
  server.put(serviceObject('web'))
  server.put(routeObject('web', 'web'))
  server.put(policyObject('allow'))
  const first = await cluster.open()
  t.strictSame(first.keys, [
    '/Namespace:/shop',
    '/Service:shop/web',
    '/Pod:shop/web',
    'gateway.networking.k8s.io/HTTPRoute:shop/web',
    'weir.dev/AuthorizationPolicy:shop/allow',
  ])
  t.strictSame(first.lines, [])
  t.equal(cluster.calls, 1)
  await server.watches.opened('services')
  server.put(serviceObject('api'))
  const added = await cluster.until(({ keys }) => keys.includes('/Service:shop/api'))
  for (const object of first.objects) t.ok(added.objects.includes(object), 'what did not change is the same value')
  server.put(serviceObject('web', 81))
  await cluster.until(({ objects }) => JSON.stringify(objects).includes('81'))
  await server.watches.opened('pods')
  server.remove('v1', 'Pod', { namespace: 'shop', name: 'web' })
  await cluster.until(({ keys }) => !keys.includes('/Pod:shop/web'))
})

t.test('A change that says nothing of the mesh is not told', async (t) => {
  await using setup = await setUp(t)
  const { server, cluster } = setup
  const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'a' } }
  server.put({ ...node, status: { images: ['one'] } })
  await cluster.open()
  await server.watches.opened('nodes')
  server.put({ ...node, status: { images: ['two'] } })
  server.put({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'b' } })
  await cluster.until(({ keys }) => keys.includes('/Node:/b'))
  t.equal(cluster.calls, 2)
  t.equal(cluster.history[0]?.objects[0], cluster.history[1]?.objects[0])
})

t.test('Lists are read page by page, and nothing of a list counts before it is whole', async (t) => {
  await using setup = await setUp(t, { pageSize: 3 })
  const { server, cluster } = setup
  for (let index = 0; index < 8; index++) server.put(serviceObject(`service-${index}`))
  const { keys } = await cluster.open()
  t.equal(keys.length, 8)
  const pages = server.requests.filter(isList('services'))
  t.strictSame(
    pages.map(({ query }) => [query['limit'], query['continue'] !== undefined]),
    [
      ['3', false],
      ['3', true],
      ['3', true],
    ],
  )
})

t.test('A list that expires between its pages is read anew, in larger ones', async (t) => {
  await using setup = await setUp(t, { pageSize: 3 })
  const { server, cluster } = setup
  for (let index = 0; index < 8; index++) server.put(serviceObject(`service-${index}`))
  using _ = server.fault((request) => isList('services')(request) && 'continue' in request.query, { status: 410 }, 1)
  const { keys, lines } = await cluster.open()
  t.equal(keys.length, 8)
  t.strictSame(lines, [])
  t.strictSame(
    server.requests.filter(isList('services')).map(({ query }) => query['limit']),
    ['3', '3', '12'],
  )
})

t.test('With a node, its pods are followed until they are deleted and others while they run', async (t) => {
  await using setup = await setUp(t, { node: 'a' })
  const { server, cluster } = setup
  server.put(podObject('ours', { node: 'a', phase: 'Succeeded' }))
  server.put(podObject('theirs', { node: 'b' }))
  server.put(podObject('ended', { node: 'b', phase: 'Failed' }))
  server.put(podObject('pending'))
  const { keys } = await cluster.open()
  t.strictSame(keys, ['/Pod:shop/ours', '/Pod:shop/pending', '/Pod:shop/theirs'])
  await server.watches.opened('pods', 2)
  server.put(podObject('pending', { node: 'a' }))
  server.put(podObject('theirs', { node: 'b', phase: 'Succeeded' }))
  const moved = await cluster.until(({ keys }) => !keys.includes('/Pod:shop/theirs'))
  t.strictSame(moved.keys, ['/Pod:shop/ours', '/Pod:shop/pending'])
})

t.test('A stream that ends is taken up at the last version told, bookmarks included', async (t) => {
  await using setup = await setUp(t)
  const { server, cluster } = setup
  await cluster.open()
  await server.watches.opened('services')
  server.put(serviceObject('one'))
  await cluster.until(({ keys }) => keys.includes('/Service:shop/one'))
  server.put(namespaceObject('shop'))
  await cluster.until(({ keys }) => keys.includes('/Namespace:/shop'))
  const namespaceVersion = server.find('v1', 'Namespace', { name: 'shop' })?.metadata['resourceVersion']
  server.bookmark('services')
  const from = server.requests.length
  server.watches.end('services')
  const { query } = await server.seen(isWatch('services'), from)
  t.equal(query['resourceVersion'], namespaceVersion, 'that of the bookmark')
  t.equal(query['allowWatchBookmarks'], 'true')
  t.notOk(server.requests.slice(from).some(isList('services')), 'nothing is listed again')
})

t.test(
  'What happens while a cut stream is taken up is told, also when it is cut in the middle of a line',
  async (t) => {
    await using setup = await setUp(t)
    const { server, cluster } = setup
    await cluster.open()
    await server.watches.opened('services')
    server.put(serviceObject('one'))
    await cluster.until(({ keys }) => keys.includes('/Service:shop/one'))
    server.watches.sendText('services', '{"type":"DELETED","object":{"metadata":{"name":"one","name')
    server.watches.cut('services')
    server.put(serviceObject('two'))
    const { lines, keys } = await cluster.until((told) => told.keys.includes('/Service:shop/two'))
    t.ok(keys.includes('/Service:shop/one'))
    t.strictSame(lines, [])
  },
)

t.test('A watch whose version is forgotten lists again, and what was deleted meanwhile is gone', async (t) => {
  await using setup = await setUp(t)
  const { server, cluster } = setup
  server.put(serviceObject('stays'))
  server.put(serviceObject('goes'))
  const first = await cluster.open()
  await server.watches.opened('services')
  await server.vanish()
  server.remove('v1', 'Service', { namespace: 'shop', name: 'goes' })
  server.compact()
  await server.comeBack()
  const { objects } = await cluster.until(({ keys }) => !keys.includes('/Service:shop/goes'))
  const stayed = objects.filter(({ metadata }) => metadata.name === 'stays')
  t.equal(
    stayed[0],
    first.objects.find(({ metadata }) => metadata.name === 'stays'),
  )
})

t.test('Of two readings of one object the newer counts, whichever comes later', async (t) => {
  await using setup = await setUp(t)
  const { server, cluster } = setup
  server.put(serviceObject('web', 1))
  server.put(serviceObject('gone', 1))
  await cluster.open()
  await server.watches.opened('services')
  server.watches.hold()
  server.put(serviceObject('gone', 2))
  server.remove('v1', 'Service', { namespace: 'shop', name: 'gone' })
  server.put(serviceObject('web', 2))
  server.put(serviceObject('web', 3))
  server.put(serviceObject('last', 9))
  server.watches.release('reversed')
  server.put(serviceObject('after', 9))
  await cluster.until(({ keys }) => keys.includes('/Service:shop/after'))
  t.strictSame(new Set(cluster.last.keys.map((key) => key.split('/').at(-1))), new Set(['after', 'last', 'web']))
  t.match(cluster.find('/Service:shop/web'), { spec: { ports: [{ port: 3 }] } })
})

t.test('A line that is no JSON, and one that is too long, do no harm', async (t) => {
  await using setup = await setUp(t)
  const { server, cluster } = setup
  await cluster.open()
  await server.watches.opened('services')
  server.watches.sendText('services', 'not json\n')
  await server.seen(isWatch('services'), server.requests.length)
  await server.watches.opened('services')
  server.watches.sendText('services', 'x'.repeat(17 * 1024 * 1024))
  await server.seen(isWatch('services'), server.requests.length)
  await server.watches.opened('services')
  server.put(serviceObject('web'))
  await cluster.until(({ keys }) => keys.includes('/Service:shop/web'))
})

t.test('Definitions that are installed later are followed, and their objects go with them', async (t) => {
  await using setup = await setUp(t)
  const { server, cluster } = setup
  const first = await cluster.open()
  t.strictSame([first.keys, first.lines], [[], []])
  server.define(...GATEWAY_API, ...WEIR_POLICIES)
  server.put(routeObject('web', 'web'))
  server.put(policyObject('allow'))
  const { lines } = await cluster.until(({ keys }) => keys.length === 2)
  t.strictSame(lines, [])
  await server.watches.opened('httproutes')
  server.undefine(...GATEWAY_API)
  const without = await cluster.until(({ keys }) => keys.length === 1)
  t.strictSame(without.keys, ['weir.dev/AuthorizationPolicy:shop/allow'])
  t.strictSame(without.lines, [])
  server.define(...GATEWAY_API)
  server.put(routeObject('again', 'web'))
  await cluster.until(({ keys }) => keys.includes('gateway.networking.k8s.io/HTTPRoute:shop/again'))
})

t.test(
  'A server that denies a definition now and then, as one that is starting does, takes nothing away',
  async (t) => {
    await using setup = await setUp(t, { lookMs: 60_000 }, { resources: WEIR_POLICIES })
    const { server, cluster } = setup
    server.put(policyObject('allow'))
    await cluster.open()
    await server.watches.opened('authorizationpolicies')
    const isGroup = ({ path }: { path: string }): boolean => path === '/apis/weir.dev/v1alpha1'
    for (const round of [1, 2, 3]) {
      const from = server.requests.length
      using _watch = server.fault(isWatch('authorizationpolicies'), { status: 404 }, 1)
      using _look = server.fault(isGroup, { text: '{"kind":"APIResourceList","resources":[]}' }, 1)
      server.watches.end('authorizationpolicies')
      await server.seen(isGroup, from)
      await server.watches.opened('authorizationpolicies')
      server.put(policyObject(`policy-${round}`))
      await cluster.until(({ keys }) => keys.length === 1 + round)
    }
    t.ok(
      cluster.history.every(({ keys }) => keys.includes('weir.dev/AuthorizationPolicy:shop/allow')),
      'it was there all the time',
    )
  },
)

t.test('What a server denies before it is ready does not count: no world without policies is told', async (t) => {
  await using setup = await setUp(t, {}, { resources: WEIR_POLICIES })
  const { server, cluster } = setup
  server.put(policyObject('allow'))
  const none = server.fault(({ path }) => path === '/apis', { text: '{"kind":"APIGroupList","groups":[]}' })
  const unready = server.fault(({ path }) => path === '/readyz', { status: 500 }, 3)
  const opening = cluster.open()
  for (let count = 1; count <= 3; count++) {
    await server.seen(({ path }) => path === '/readyz', server.requests.length)
  }
  t.equal(cluster.calls, 0)
  none[Symbol.dispose]()
  unready[Symbol.dispose]()
  t.strictSame((await opening).keys, ['weir.dev/AuthorizationPolicy:shop/allow'])
})

t.test('A group that is listed and whose resources are not, is waited for', async (t) => {
  await using setup = await setUp(t, {}, { resources: WEIR_POLICIES })
  const { server, cluster } = setup
  server.put(policyObject('allow'))
  const fault = server.fault(({ path }) => path === '/apis/weir.dev/v1alpha1', { status: 404 })
  const opening = cluster.open()
  const lines = await cluster.untilWaiting(/./)
  t.match(lines, [
    /^Cannot ask the API server what it serves \(.*404.*\): which custom resources there are is not known$/,
  ])
  fault[Symbol.dispose]()
  t.strictSame((await opening).keys, ['weir.dev/AuthorizationPolicy:shop/allow'])
})

t.test('A policy that does not validate refuses; a Service that does not keeps its last good version', async (t) => {
  await using setup = await setUp(t, {}, { resources: WEIR_POLICIES })
  const { server, cluster } = setup
  server.put(serviceObject('web', 80))
  server.put(policyObject('allow', { rules: [{ from: 'nowhere' }] }))
  await cluster.open()
  t.match(cluster.find('weir.dev/AuthorizationPolicy:shop/allow'), { invalid: /spec\.rules\[0\]\.from/ })
  t.match(cluster.last.lines, [/^AuthorizationPolicy shop\/allow: spec\.rules\[0\]\.from: .*denies all/])
  await server.watches.opened('services')
  server.put(serviceObject('web', 99_999))
  await cluster.until(({ lines }) => lines.length === 2)
  t.match(cluster.find('/Service:shop/web'), { spec: { ports: [{ port: 80 }] } })
  await server.watches.opened('authorizationpolicies')
  server.put(policyObject('allow', {}))
  server.put(serviceObject('web', 81))
  await cluster.until(({ lines }) => lines.length === 0)
  t.match(cluster.find('/Service:shop/web'), { spec: { ports: [{ port: 81 }] } })
})

t.test('A missing permission is told with its verb, before and after opening, and waited for', async (t) => {
  await using setup = await setUp(t, {}, { resources: WEIR_POLICIES })
  const { server, cluster } = setup
  const listing = server.fault(isList('authorizationpolicies'), { status: 403, reason: 'Forbidden' })
  const opening = cluster.open()
  const lines = await cluster.untilWaiting(/May not/)
  t.strictSame(lines, [
    "May not list authorizationpolicies.weir.dev: grant the verb list on authorizationpolicies.weir.dev to the agent's service account",
  ])
  t.equal(cluster.calls, 0, 'without the policies there is no world')
  listing[Symbol.dispose]()
  await opening
  t.strictSame(cluster.last.lines, [])
  await server.watches.opened('services')
  const watching = server.fault(isWatch('services'), { status: 403 })
  server.watches.end('services')
  const told = await cluster.until(({ lines }) => lines.length > 0)
  t.match(told.lines, [/^May not watch services: grant the verb watch on services .*what was known stays in force$/])
  watching[Symbol.dispose]()
  await cluster.until(({ lines }) => lines.length === 0)
})

t.test('A server that vanishes leaves the last world, is told of with the time, and forgotten when back', async (t) => {
  const now = Date.parse('2026-03-04T05:06:07Z')
  await using setup = await setUp(t, { staleAfterMs: 20, now: () => now })
  const { server, cluster } = setup
  server.put(serviceObject('web'))
  const first = await cluster.open()
  t.equal(cluster.source.staleSince, undefined)
  await server.vanish()
  const away = await cluster.until(({ lines }) => lines.length > 0)
  t.match(away.lines, [
    /^The API server http:\S+ has not answered since 2026-03-04T05:06:07\.000Z \(.*the connection was refused .*\): serving goes on/,
  ])
  t.strictSame(away.objects, first.objects)
  t.equal(cluster.source.staleSince, now)
  await server.comeBack()
  await cluster.until(({ lines }) => lines.length === 0)
  t.equal(cluster.source.staleSince, undefined)
  await server.watches.opened('services')
  server.put(serviceObject('new'))
  await cluster.until(({ keys }) => keys.includes('/Service:shop/new'))
})

t.test(
  'A server that answers nothing, while its connections stay, is noticed; pages too large are made smaller',
  async (t) => {
    await using setup = await setUp(t, { staleAfterMs: 20, answerTimeoutMs: 50, pageSize: 4 })
    const { server, cluster } = setup
    for (let index = 0; index < 5; index++) server.put(serviceObject(`service-${index}`))
    using _ = server.fault((request) => isList('services')(request) && Number(request.query['limit']) > 1, {
      status: 413,
      reason: 'TooLarge',
    })
    await cluster.open()
    t.equal(cluster.last.keys.length, 5)
    await server.watches.opened('services')
    server.freeze()
    const { lines } = await cluster.until((told) => told.lines.length > 0)
    t.match(lines, [/has not answered since .*GET \S+\/apis: no (whole )?answer within 0\.05 s\): serving goes on/])
    server.thaw()
    await cluster.until((told) => told.lines.length === 0)
    server.put(serviceObject('after'))
    await cluster.until(({ keys }) => keys.includes('/Service:shop/after'))
  },
)

t.test('One resource that the server cannot give is no outage', async (t) => {
  await using setup = await setUp(t, { staleAfterMs: 1000, lookMs: 60_000 })
  const { server, cluster } = setup
  server.put(serviceObject('web'))
  await cluster.open()
  await server.watches.opened('services')
  using _ = server.fault(isWatch('services'), { status: 500, message: 'etcd is sad' })
  server.watches.end('services')
  const { lines } = await cluster.until((told) => told.lines.length > 0)
  t.match(lines, [/^Cannot watch services \(.*500: etcd is sad\); since .* what was known stays in force$/])
  t.equal(cluster.source.staleSince, undefined)
})

t.test('A server that asks to wait is asked again after that', async (t) => {
  await using setup = await setUp(t)
  const { server, cluster } = setup
  const fault = { status: 429, reason: 'TooManyRequests', headers: { 'retry-after': '1' } }
  using _ = server.fault(isList('services'), fault, 1)
  const startedAt = performance.now()
  await cluster.open()
  t.ok(performance.now() - startedAt >= 1000)
})

t.test('A pod can be asked for before the watch tells of it, is then in the set, and is told once', async (t) => {
  await using setup = await setUp(t, { node: 'a' })
  const { server, cluster } = setup
  await cluster.open()
  await server.watches.opened('pods', 2)
  server.watches.hold()
  server.put(podObject('web', { node: 'a', ip: '10.0.0.1' }))
  const pod = await cluster.source.getPod('shop', 'web')
  t.match(pod, { kind: 'Pod', metadata: { name: 'web' }, status: { podIP: '10.0.0.1' } })
  await cluster.until(({ objects }) => objects.some((object) => object === pod))
  server.watches.release()
  server.put(namespaceObject('marker'))
  await cluster.until(({ keys }) => keys.includes('/Namespace:/marker'))
  t.equal(cluster.find('/Pod:shop/web'), pod)
  t.equal(cluster.calls, 3)
  t.equal(await cluster.source.getPod('shop', 'nobody'), undefined)
  server.put(podObject('odd', { node: 'a', ip: 'no address' }))
  await t.rejects(cluster.source.getPod('shop', 'odd'), {
    name: 'SourceError',
    message: /Pod shop\/odd: status\.podIP/,
  })
})

t.test('A pod that is made again on another node is in the set once, as it is now', async (t) => {
  await using setup = await setUp(t, { node: 'a' })
  const { server, cluster } = setup
  server.put(podObject('web-0', { node: 'a', ip: '10.0.0.1' }))
  await cluster.open()
  await server.watches.opened('pods', 2)
  server.watches.hold()
  server.remove('v1', 'Pod', { namespace: 'shop', name: 'web-0' })
  server.put(podObject('web-0', { node: 'b', ip: '10.0.0.2' }))
  const pod = await cluster.source.getPod('shop', 'web-0')
  const both = await cluster.until(({ objects }) => objects.some((object) => object === pod))
  t.strictSame(both.keys, ['/Pod:shop/web-0'])
  server.watches.release()
  server.put(namespaceObject('marker'))
  await cluster.until(({ keys }) => keys.includes('/Namespace:/marker'))
  t.equal(cluster.find('/Pod:shop/web-0'), pod)
})

t.test('A pod of a single answer stays until a list that is newer does not have it', async (t) => {
  await using setup = await setUp(t)
  const { server, cluster } = setup
  await cluster.open()
  await server.watches.opened('pods')
  server.watches.hold()
  server.put(podObject('web', { ip: '10.0.0.1' }))
  await cluster.source.getPod('shop', 'web')
  await cluster.until(({ keys }) => keys.length === 1)
  server.remove('v1', 'Pod', { namespace: 'shop', name: 'web' })
  server.compact()
  server.watches.end('pods')
  await cluster.until(({ keys }) => keys.length === 0)
})

t.test('A burst of changes is told in few calls, and the last one holds them all', async (t) => {
  await using setup = await setUp(t, { gapMs: 20 })
  const { server, cluster } = setup
  await cluster.open()
  await server.watches.opened('pods')
  for (let index = 0; index < 2000; index++) server.put(podObject(`pod-${index}`))
  await cluster.until(({ keys }) => keys.length === 2000)
  t.ok(cluster.calls < 100, `${cluster.calls} calls`)
})

t.test('A server that does not answer at the start is waited for, or given up on when told to', async (t) => {
  await using setup = await setUp(t, { staleAfterMs: 10 })
  const { server, cluster } = setup
  await server.vanish()
  const opening = cluster.open()
  const [line] = await cluster.untilWaiting(/has not answered/)
  t.match(line, /^The API server http:\S+ has not answered since .*refused \(ECONNREFUSED\)\)$/)
  await server.comeBack()
  await opening
  t.equal(cluster.calls, 1)

  await using other = await setUp(t, { staleAfterMs: 1, waitMs: 60 })
  await other.server.vanish()
  await t.rejects(other.cluster.open(), {
    name: 'SourceError',
    message: /^Cannot read the cluster at http:\S+ within 0\.06 s: The API server .* has not answered/,
  })
})

t.test('Aborted or disposed of, the source tells nothing more and holds nothing', async (t) => {
  const abort = new AbortController()
  await using setup = await setUp(t, { signal: abort.signal })
  const { server, cluster } = setup
  await cluster.open()
  await server.watches.opened('services')
  server.put(serviceObject('web'))
  abort.abort(new Error('enough'))
  await cluster.source[Symbol.asyncDispose]()
  t.equal(cluster.calls, 1)
  const late = new AbortController()
  await using other = await setUp(t, { signal: late.signal })
  using _ = other.server.fault(isList('services'), 'hang')
  const opening = other.cluster.open()
  await other.server.seen(isList('services'))
  late.abort(new Error('enough'))
  await t.rejects(opening, { message: 'enough' })
})

t.test('Only the kinds that are asked for are followed', async (t) => {
  await using setup = await setUp(t, { only: ['Pod', 'Namespace'] }, { resources: WEIR_POLICIES })
  const { server, cluster } = setup
  server.put(namespaceObject('shop'))
  server.put(podObject('web'))
  server.put(serviceObject('web'))
  t.strictSame((await cluster.open()).keys, ['/Namespace:/shop', '/Pod:shop/web'])
  t.notOk(server.requests.some(isList('services')))
  t.notOk(server.requests.some(isList('authorizationpolicies')))
})
