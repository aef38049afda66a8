import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Enrolment, enrolments } from '#mesh/compile'
import type { KubernetesObject, NamespaceObject, PodObject } from '#resources'
import { Attachments } from '../../../agent/cni/attachments.ts'
import { createDecider } from '../../../agent/cni/decider.ts'
import { IndexWriter, podIndexOf } from '../../../agent/cni/index-writer.ts'
import { PodFinder, type PodFinderOptions } from '../../../agent/cni/pod-finder.ts'
import type { CniAttachment } from '../../../cni/protocol.ts'
import { objectsOf } from '../mesh/compile-samples.ts'

const pod = (name: string, { mesh = '', uid = 'u1', node = 'a', namespace = 'shop', spec = '' } = {}) =>
  `{apiVersion: v1, kind: Pod, metadata: {name: ${name}, namespace: ${namespace}, uid: '${uid}', annotations: {${mesh && `weir.dev/mesh: ${mesh}`}}}, spec: {nodeName: ${node}, ${spec}}}`
const namespace = (name: string, mesh: string) =>
  `{apiVersion: v1, kind: Namespace, metadata: {name: ${name}, labels: {weir.dev/mesh: ${mesh}}}}`

function parse(...texts: string[]): KubernetesObject[] {
  return objectsOf(texts.join('\n---\n'))
}

function onlyPod(text: string): PodObject {
  const [object] = parse(text)
  if (object?.kind !== 'Pod' || !('spec' in object)) throw new Error('no pod')
  return object
}

function onlyNamespace(text: string): NamespaceObject {
  const [object] = parse(text)
  if (object?.kind !== 'Namespace' || 'invalid' in object) throw new Error('no namespace')
  return object
}

function start(t: Test, finderOptions: PodFinderOptions = {}) {
  const dir = t.testdir({ ns: '' })
  const attachments = new Attachments(dir, { node: 'a', netnsFrom: 'runtime' })
  const finder = new PodFinder({ timeoutMs: 50, ...finderOptions })
  let objects: readonly KubernetesObject[] = []
  let wishes: readonly Enrolment[] = []
  const calls: string[] = []
  const outcome = { state: 'enrolled', detail: '' } as { state: 'enrolled' | 'failed'; detail: string }
  const refresh = () => {
    calls.push('refresh')
    wishes = enrolments(attachments.layOver(objects), 'a').enrolments
  }
  const decider = createDecider({
    node: 'a',
    attachments,
    finder,
    refresh,
    wishes: () => wishes,
    settled: (uid) => {
      calls.push(`settled ${uid}`)
      return Promise.resolve(outcome)
    },
  })
  const told = (name: string, uid = 'u1'): CniAttachment => ({
    containerId: `c-${name}`,
    ifName: 'eth0',
    network: 'net',
    netns: join(dir, 'ns'),
    pod: { namespace: 'shop', name, uid },
    addresses: ['10.1.0.7'],
  })
  return {
    dir,
    decider,
    attachments,
    calls,
    outcome,
    add: (name: string, uid?: string) => decider.add(told(name, uid), () => calls.push('opted in')),
    check: (name: string) => decider.check(told(name)),
    set: (...texts: string[]) => {
      objects = parse(...texts)
      finder.update(objects, true)
    },
    wishes: () => wishes,
  }
}

t.test('an opted-in pod is known, then compiled in, then enrolled, then answered for', async (t) => {
  const { set, add, calls, wishes, dir } = start(t)
  set(pod('web', { mesh: 'enabled' }))
  t.same(await add('web'), { kind: 'enrolled' })
  t.same(calls, ['opted in', 'refresh', 'settled u1'])
  t.match(wishes(), [{ netns: join(dir, 'ns'), addresses: ['10.1.0.7'] }])
})

t.test('a pod that is not opted in costs no compilation, and is remembered for later', async (t) => {
  const { set, add, calls, attachments } = start(t)
  set(pod('web'), pod('no', { mesh: 'disabled', uid: 'u2' }), namespace('shop', 'enabled'), pod('lab', { uid: 'u3' }))
  t.same(await add('no', 'u2'), { kind: 'not-opted-in' })
  t.same(calls, [])
  t.match(attachments.get({ namespace: 'shop', name: 'no' }), { addresses: ['10.1.0.7'] })
  t.same(await add('web'), { kind: 'enrolled' }, 'its namespace is opted in')
})

t.test('a failed enrolment is told with its reason, an exception too', async (t) => {
  const { set, add, outcome, check, calls } = start(t)
  set(pod('web', { mesh: 'enabled' }))
  Object.assign(outcome, { state: 'failed', detail: 'Port 15006 is in use' })
  t.same(await add('web'), { kind: 'failed', why: 'Port 15006 is in use' })
  t.same(await check('web'), { kind: 'failed', why: 'Port 15006 is in use' })
  t.equal(calls.filter((call) => call === 'refresh').length, 1, 'CHECK changes nothing')
})

t.test('an opted-in pod of another node by its manifest is a mistake, and named', async (t) => {
  const { set, add } = start(t)
  set(pod('web', { mesh: 'enabled', node: 'b' }))
  t.match(await add('web'), { kind: 'failed', why: 'its spec.nodeName is b, this agent serves a (--node)' })
})

t.test('a pod on the host network is not opted in whatever it says', async (t) => {
  const { set, add } = start(t)
  set(pod('web', { mesh: 'enabled', spec: 'hostNetwork: true' }))
  t.same(await add('web'), { kind: 'not-opted-in' })
})

t.test('a pod whose object comes late is waited for, and unknown when it does not come', async (t) => {
  const { set, add } = start(t)
  const adding = add('web')
  set(pod('web', { mesh: 'enabled' }))
  t.same(await adding, { kind: 'enrolled' })
  t.match(await add('none'), { kind: 'unknown', why: 'the object of Pod shop/none was not seen within 0.05 s' })
  t.match(await add('web', 'another'), {
    kind: 'unknown',
    why: 'Pod shop/web has uid u1, the runtime starts another',
  })
})

t.test('a pod and its namespace are fetched where the watch does not show them yet', async (t) => {
  const { add, wishes } = start(t, {
    getPod: () => Promise.resolve(onlyPod(pod('web', { mesh: 'enabled' }))),
  })
  t.same(await add('web'), { kind: 'enrolled' })
  t.match(wishes(), [{ name: 'web', addresses: ['10.1.0.7'] }])
  const of = start(t, {
    getPod: () => Promise.resolve(onlyPod(pod('web'))),
    getNamespace: () => Promise.resolve(onlyNamespace(namespace('shop', 'enabled'))),
  })
  t.match(await of.add('web'), { kind: 'failed', why: /not among the pods/ }, 'the compiler has to know it as well')
})

t.test('what cannot be known is not taken for a no', async (t) => {
  const word = start(t, {
    getPod: () => Promise.resolve(onlyPod(pod('web', { mesh: 'enabled' }))),
    getNamespace: () => Promise.reject(new Error('503')),
  })
  t.same(await word.add('web'), { kind: 'enrolled' }, 'the pod’s own word is enough')
  const bare = () => Promise.resolve(onlyPod(pod('web')))
  const failing = start(t, { getPod: bare, getNamespace: () => Promise.reject(new Error('503')) })
  t.same(await failing.add('web'), { kind: 'unknown', why: 'Namespace shop cannot be read: 503' })
  const silent = start(t, { getPod: bare, getNamespace: () => new Promise(() => undefined) })
  t.same(await silent.add('web'), { kind: 'unknown', why: 'Namespace shop cannot be read: no answer in time' })
  const early = start(t, { getPod: bare })
  t.match(await early.add('web'), { kind: 'unknown', why: /has not been read yet/ })
  early.set(pod('other'))
  t.same(await early.add('web'), { kind: 'not-opted-in' }, 'read, and it has no such namespace')
  t.match(await start(t).add('web'), { kind: 'unknown', why: /has not read its source/ })
})

/** As the kubelet makes it of a file. */
const HASH = '0123456789abcdef0123456789abcdef'

t.test('a pod that the kubelet read from a file is known by the uid that runtimes have for it', async (t) => {
  const { set, add, wishes } = start(t)
  const mirror = pod('web', { mesh: 'enabled', uid: 'api' }).replace(
    'annotations: {',
    `annotations: {kubernetes.io/config.hash: ${HASH}, `,
  )
  set(mirror)
  t.same(await add('web', HASH), { kind: 'enrolled' })
  t.match(wishes(), [{ uid: 'api', addresses: ['10.1.0.7'] }])
  t.match(podIndexOf(parse(mirror), 'a').pods, [{ uid: HASH }])
  // Anything else in that annotation is nobody's uid.
  const claim = mirror.replace(HASH, 'victim')
  t.match(podIndexOf(parse(claim), 'a').pods, [{ uid: 'api' }])
})

t.test('a source that fails is waited out', async (t) => {
  const { add, set } = start(t, { getPod: () => Promise.reject(new Error('503')) })
  set(pod('other'))
  t.match(await add('web'), { kind: 'unknown' })
  const adding = add('web')
  set(pod('web', { mesh: 'enabled' }))
  t.same(await adding, { kind: 'enrolled' })
})

t.test('DEL and GC take the pod out of the world', async (t) => {
  const { set, add, decider, wishes, dir } = start(t)
  set(pod('web', { mesh: 'enabled' }), pod('b', { mesh: 'enabled', uid: 'u2' }))
  await add('web')
  decider.end({ containerId: 'c-web', ifName: 'eth0' })
  t.same(
    wishes().map(({ name }) => name),
    ['b'],
  )
  await add('b', 'u2')
  rmSync(join(dir, 'ns'))
  decider.collect('net', [])
  t.same(wishes(), [])
})

t.test('the index holds opted-in namespaces, opted-in pods of this node, and who stands out', (t) => {
  const objects = parse(
    namespace('shop', 'enabled'),
    namespace('lab', 'disabled'),
    pod('web'),
    pod('out', { mesh: 'disabled', uid: 'u2' }),
    pod('in', { mesh: 'enabled', uid: 'u3', namespace: 'lab' }),
    pod('plain', { uid: 'u4', namespace: 'lab' }),
    pod('far', { mesh: 'enabled', uid: 'u5', node: 'b' }),
    pod('host', { mesh: 'enabled', uid: 'u6', spec: 'hostNetwork: true' }),
  )
  t.same(podIndexOf(objects, 'a'), {
    namespaces: ['shop'],
    pods: [
      { namespace: 'shop', name: 'web', uid: 'u1', optedIn: true },
      { namespace: 'shop', name: 'out', uid: 'u2', optedIn: false },
      { namespace: 'lab', name: 'in', uid: 'u3', optedIn: true },
    ],
  })
  t.end()
})

t.test('the index is written whole, when something changed, and a failure is told once', async (t) => {
  const dir = t.testdir({ file: '' })
  const failures: string[] = []
  const onFailure = (line: string) => failures.push(line)
  const path = join(dir, 'weir.d/index.json')
  const writer = new IndexWriter({ path, node: 'a', onFailure })
  writer.update(parse(namespace('one', 'enabled')))
  writer.update(parse(namespace('two', 'enabled')))
  await writer.idle()
  t.match(readFileSync(path, 'utf8'), '"namespaces":["two"]')
  rmSync(path)
  writer.update(parse(namespace('two', 'enabled')))
  await writer.idle()
  t.notOk(existsSync(path), 'nothing has changed')
  const broken = new IndexWriter({ path: join(dir, 'file/index.json'), node: 'a', onFailure })
  for (const mesh of ['enabled', 'disabled']) {
    broken.update(parse(namespace('one', mesh)))
    await broken.idle()
  }
  t.equal(failures.length, 1)
  t.match(failures[0], /^Index of opted-in pods .*file\/index.json: /)
  rmSync(join(dir, 'file'))
  writeFileSync(join(dir, 'other'), '')
  broken.update(parse(namespace('one', 'disabled')))
  await broken.idle()
  t.ok(existsSync(join(dir, 'file/index.json')), 'tried again')
})
