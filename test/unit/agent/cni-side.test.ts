import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Enrolment, enrolments } from '#mesh/compile'
import type { KubernetesObject } from '#resources'
import { CniSide, type CniSideOptions } from '../../../agent/cni/cni-side.ts'
import type { FoundNetns } from '../../../agent/cri/netns-lookup.ts'
import { createLog } from '../../../agent/log.ts'
import { askAgent } from '../../../cni/plugin/ask-agent.ts'
import { objectsOf } from '../mesh/compile-samples.ts'

const POD =
  '{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, uid: u1, annotations: {weir.dev/mesh: enabled}}, spec: {nodeName: a}, status: {podIP: 10.1.0.7}}'
const PENDING = POD.replace('podIP: 10.1.0.7', 'phase: Pending')

function start(t: Test, options: Partial<CniSideOptions> = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'weir-cni-'))
  let wishes: readonly Enrolment[] = []
  let next = Promise.withResolvers<void>()
  const side = new CniSide({
    node: 'a',
    netnsFrom: 'runtime',
    stateDir: dir,
    log: createLog('silent', 'a'),
    onObjects: (objects: readonly KubernetesObject[]) => {
      wishes = enrolments(objects, 'a').enrolments
      next.resolve()
      next = Promise.withResolvers()
    },
    wishes: () => wishes,
    settled: () => Promise.resolve({ state: 'enrolled', detail: '' }),
    timeoutMs: 50,
    ...options,
  })
  t.teardown(async () => {
    await side[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true, force: true })
  })
  return { dir, side, wishes: () => wishes, next: () => next.promise }
}

t.test('a pod that nobody told of is looked up, and its namespace let go with the pod', async (t) => {
  const released: string[] = []
  const asked: string[][] = []
  const { side, wishes, next } = start(t, {
    lookup: {
      find: (pods) => {
        asked.push(pods.map(({ uid }) => uid))
        const found: FoundNetns = { netns: '/proc/self/fd/7', addresses: [], release: () => released.push('u1') }
        return Promise.resolve(new Map([['u1', found]]))
      },
    },
  })
  const compiledAgain = next()
  side.update(objectsOf(POD), true)
  t.same(side.enrollable(wishes()), [], 'not before it was looked for')
  await compiledAgain
  await next()
  t.match(side.enrollable(wishes()), [{ netns: '/proc/self/fd/7', uid: 'u1' }])
  t.same(asked, [['u1']])
  side.update([], true)
  t.same(released, ['u1'])
})

t.test('a pod that runs and cannot be found is told as a failure, one without a sandbox is not', async (t) => {
  const { side, wishes, next } = start(t, { lookup: { find: () => Promise.resolve(new Map()) } })
  side.update(objectsOf(`${POD}\n---\n${PENDING.replaceAll('web', 'new').replace('u1', 'u2')}`), true)
  await next()
  t.match(side.enrollable(wishes()), [{ uid: 'u1' }])
  t.equal(side.enrollable(wishes()).length, 1)
  t.equal(wishes().length, 2)
})

t.test('a lookup that fails is none', async (t) => {
  const { side, wishes, next } = start(t, { lookup: { find: () => Promise.reject(new Error('broken')) } })
  side.update(objectsOf(POD), true)
  await next()
  t.match(wishes(), [{ uid: 'u1' }])
})

t.test('in a directory without lookup every wish is passed on', (t) => {
  const { side, wishes } = start(t, { netnsFrom: 'annotation' })
  side.update(objectsOf(POD), true)
  t.equal(side.enrollable(wishes()).length, 1)
  t.end()
})

t.test('the plugin is answered, and the index written of whole sets only', async (t) => {
  const place = mkdtempSync(join(tmpdir(), 'weir-cni-'))
  t.teardown(() => rmSync(place, { recursive: true, force: true }))
  const [socketPath, indexPath] = [join(place, 's'), join(place, 'weir.d/index.json')]
  const { side, wishes, dir } = start(t, { socketPath, indexPath })
  await side.listen()
  side.update([], false)
  t.notOk(existsSync(indexPath))
  side.update(objectsOf(PENDING), true)
  t.equal(wishes()[0]?.netns, undefined)
  const attachment = {
    containerId: 'c1',
    ifName: 'eth0',
    network: 'net',
    netns: dir,
    pod: { namespace: 'shop', name: 'web', uid: 'u1' },
    addresses: ['10.1.0.7'],
  }
  const limits = { firstLineMs: 5_000, totalMs: 5_000 }
  t.match(await askAgent(socketPath, { command: 'ADD', attachment }, limits), { reply: { kind: 'enrolled' } })
  t.match(side.enrollable(wishes()), [{ netns: dir, addresses: ['10.1.0.7'] }])
  t.match(await askAgent(socketPath, { command: 'DEL', attachment }, limits), { reply: { kind: 'done' } })
  t.same(side.enrollable(wishes()), [])
  await side[Symbol.asyncDispose]()
  t.match(JSON.parse(readFileSync(indexPath, 'utf8')), { pods: [{ name: 'web', optedIn: true }] })
  t.notOk(existsSync(socketPath))
})
