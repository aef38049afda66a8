/** What is followed change by change is what is laid over everything. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { ObjectSet } from '#discovery'
import { isInvalid, type KubernetesObject, objectKey, type PodObject } from '#resources'
import { Attachments } from '../../../agent/cni/attachments.ts'
import type { OverlayOptions } from '../../../agent/cni/overlay.ts'
import { objectsOf } from '../mesh/compile-samples.ts'

interface Choice {
  readonly uid: number
  readonly node: string
  readonly netns: boolean
  readonly ip: number
}

const known = new Map<string, PodObject>()
function podOf(name: number, { uid, node, netns, ip }: Choice): PodObject {
  const annotations = netns ? 'weir.dev/netns: /proc/1/ns/net' : ''
  const text = `{apiVersion: v1, kind: Pod, metadata: {name: p${name}, namespace: shop, uid: u${uid}, annotations: {${annotations}}}, spec: {nodeName: '${node}'}, status: {podIP: '${ip === 0 ? '' : `10.0.0.${ip}`}'}}`
  const pod = known.get(text) ?? objectsOf(text)[0]
  if (pod?.kind !== 'Pod' || isInvalid(pod)) throw new Error(text)
  known.set(text, pod)
  return pod
}

const name = fc.integer({ min: 1, max: 3 })
const choice = fc.record({
  uid: fc.integer({ min: 1, max: 2 }),
  node: fc.constantFrom('a', 'b', 'b', ''),
  netns: fc.boolean(),
  ip: fc.nat(2),
})
const step = fc.oneof(
  fc.record({ kind: fc.constant('pod' as const), name, choice }),
  fc.record({ kind: fc.constant('gone' as const), name }),
  fc.record({ kind: fc.constant('told' as const), name, choice, shown: fc.boolean() }),
  fc.record({ kind: fc.constant('ended' as const), name }),
)

function texts(objects: readonly KubernetesObject[]): string {
  return objects
    .map((object) => JSON.stringify(object))
    .sort()
    .join('\n')
}

t.test('after any changes of the source and words of the runtime', async (t) => {
  const dir = t.testdir({ ns: '' })
  let runs = 0
  fc.assert(
    fc.property(
      fc.array(fc.array(step, { maxLength: 3 }), { maxLength: 10 }),
      fc.constantFrom('runtime' as const, 'annotation' as const),
      (rounds, netnsFrom) => {
        const places = ['one', 'other'].map((place) => join(dir, `${place}-${++runs}`))
        const options = (): OverlayOptions => ({ node: 'a', netnsFrom })
        for (const place of places) mkdirSync(place)
        const [following, whole] = places.map((place) => new Attachments(place, options()))
        if (following === undefined || whole === undefined) throw new Error('no attachments')
        const [source, result] = [new ObjectSet(), new Set<KubernetesObject>()]
        const all = new Map<string, KubernetesObject>()
        for (const round of rounds) {
          for (const one of round) {
            if (one.kind === 'pod') all.set(`/Pod:shop/p${one.name}`, podOf(one.name, one.choice))
            else if (one.kind === 'gone') all.delete(`/Pod:shop/p${one.name}`)
            else if (one.kind === 'ended') {
              for (const side of [following, whole]) side.end({ containerId: `c${one.name}`, ifName: 'eth0' })
            } else {
              const pod = podOf(one.name, { ...one.choice, node: 'a' })
              const told = {
                containerId: `c${one.name}`,
                ifName: 'eth0',
                network: 'net',
                netns: join(dir, 'ns'),
                pod: { namespace: 'shop', name: pod.metadata.name },
                addresses: ['10.9.9.9'],
              }
              for (const side of [following, whole]) side.add(told, pod, one.shown)
            }
          }
          for (const object of [...source.objects]) if (all.get(objectKey(object)) !== object) source.remove(object)
          for (const object of all.values()) source.add(object)
          const followed = following.follow(source.objects, source.takeChange())
          for (const object of followed.change.removed) if (!result.delete(object)) return false
          for (const object of followed.change.added) result.add(object)
          const wanted = texts(whole.layOver([...all.values()]))
          if (texts(followed.objects) !== wanted || texts([...result]) !== wanted) return false
        }
        return true
      },
    ),
    { numRuns: 200 },
  )
})
