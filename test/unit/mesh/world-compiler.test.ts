/** A world that is followed is the world that is compiled from nothing, after any changes; and small changes stay small. */
import fc from 'fast-check'
import t from 'tap'
import type { MeshObject } from '#contract'
import { ObjectSet } from '#discovery'
import { type KubernetesObject, objectKey, renderProblem } from '#resources'
import { changedObjects } from '../../../src/mesh/compile/changed-objects.ts'
import { compileWorld, diffWorld, enrolments, WorldCompiler } from '../../../src/mesh/compile/index.ts'
import { objectsOf } from './compile-samples.ts'

const NODE = 'node-1'
const OPTIONS = { trustDomain: 'cluster.local', node: NODE }

const ANNOTATIONS: Readonly<Record<string, string>> = {
  annotated: 'weir.dev/mesh: perhaps',
  outbound: 'weir.dev/outbound-traffic-policy: REGISTRY_ONLY',
  quarantined: 'weir.dev/quarantine: "true"',
}

interface PodChoice {
  readonly ip: number
  readonly app: string
  readonly node: string
  readonly state: string
  readonly more: string
}

function podText(name: number, { ip, app, node, state, more }: PodChoice): string {
  const phase = state === 'finished' ? 'Succeeded' : 'Running'
  const going = state === 'leaving' ? 'deletionTimestamp: "2026-01-01T00:00:00Z",' : ''
  return `
apiVersion: v1
kind: Pod
metadata: { name: p${name}, namespace: shop, uid: ${more === 'same uid' ? 'u' : `u${name}`}, ${going} labels: { app: ${app}, n: "${name % 2}" }, annotations: { ${ANNOTATIONS[more] ?? ''} } }
spec: { nodeName: ${node}, hostNetwork: ${more === 'host'}, containers: [{ name: a, ports: [{ name: web, containerPort: 80 }] }] }
status: { phase: ${phase}, podIP: ${ip === 0 ? '""' : `10.0.0.${ip}`}, conditions: [{ type: Ready, status: "${state === 'ready' ? 'True' : 'False'}" }] }
`
}

function sliceText(
  name: number,
  service: string,
  endpoints: readonly { ip: number; ready: boolean; pod: number }[],
): string {
  const lines = endpoints.map(
    ({ ip, ready, pod }) =>
      `{ addresses: [10.0.0.${ip}], conditions: { ready: ${ready} }${pod === 0 ? '' : `, targetRef: { kind: Pod, name: p${pod} }`} }`,
  )
  return `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: s${name}, namespace: shop, labels: { kubernetes.io/service-name: ${service} } }
addressType: IPv4
ports: [{ name: http, port: 80, protocol: TCP }]
endpoints: [${lines.join(', ')}]
`
}

const REST = objectsOf(`
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { weir.dev/mesh: enabled } }
---
apiVersion: v1
kind: Service
metadata: { name: a, namespace: shop }
spec: { selector: { app: a }, clusterIP: 10.96.0.1, ports: [{ name: http, port: 80, targetPort: web }] }
---
apiVersion: v1
kind: Service
metadata: { name: b, namespace: shop }
spec: { selector: { app: b, n: "1" }, clusterIP: 10.96.0.2, ports: [{ name: http, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: none, namespace: shop }
spec: { clusterIP: 10.96.0.1, ports: [{ name: http, port: 80 }] }
---
apiVersion: weir.dev/v1alpha1
kind: PeerAuthentication
metadata: { name: strict, namespace: shop }
spec: { selector: { matchLabels: { app: a } }, mtls: { mode: STRICT } }
`)

const podChoice = fc.record({
  ip: fc.nat(6),
  app: fc.constantFrom('a', 'b'),
  node: fc.constantFrom(NODE, 'node-2'),
  state: fc.constantFrom('ready', 'ready', 'waiting', 'leaving', 'finished'),
  more: fc.constantFrom('', '', '', '', 'host', 'annotated', 'quarantined', 'outbound', 'same uid'),
})
const name = fc.integer({ min: 1, max: 5 })
const endpoint = fc.record({ ip: fc.integer({ min: 1, max: 6 }), ready: fc.boolean(), pod: fc.nat(5) })
const change = fc.oneof(
  fc.record({ kind: fc.constant('pod' as const), name, choice: podChoice }),
  fc.record({ kind: fc.constant('pod gone' as const), name }),
  fc.record({
    kind: fc.constant('slice' as const),
    name,
    service: fc.constantFrom('a', 'b', 'none', 'unknown'),
    endpoints: fc.array(endpoint, { maxLength: 4 }),
  }),
  fc.record({ kind: fc.constant('slice gone' as const), name }),
  fc.record({ kind: fc.constant('service' as const), ip: fc.integer({ min: 1, max: 3 }) }),
)

const parsed = new Map<string, KubernetesObject>()
function objectOf(text: string): KubernetesObject {
  const known = parsed.get(text) ?? objectsOf(text)[0]
  if (known === undefined) throw new Error(text)
  parsed.set(text, known)
  return known
}

function same(got: unknown, wanted: unknown, what: string): void {
  const [one, other] = [JSON.stringify(got), JSON.stringify(wanted)]
  if (one !== other) throw new Error(`${what}: ${one}\ninstead of ${other}`)
}

t.test('after any changes it is what compiling everything gives, and the deltas lead there', async () => {
  fc.assert(
    fc.property(fc.array(fc.array(change, { minLength: 1, maxLength: 3 }), { maxLength: 12 }), (steps) => {
      const all = new Map(REST.map((object) => [objectKey(object), object]))
      const compiler = new WorldCompiler(OPTIONS)
      compiler.update([...all.values()])
      const [set, told] = [new ObjectSet(), new WorldCompiler(OPTIONS)]
      for (const object of all.values()) set.add(object)
      told.update(set.objects, set.takeChange())
      const sent = new Map<string, MeshObject>(compileWorld([...all.values()], OPTIONS).objects)
      for (const step of steps) {
        for (const one of step) {
          if (one.kind === 'pod gone') all.delete(`/Pod:shop/p${one.name}`)
          else if (one.kind === 'slice gone') all.delete(`discovery.k8s.io/EndpointSlice:shop/s${one.name}`)
          else {
            const text =
              one.kind === 'pod'
                ? podText(one.name, one.choice)
                : one.kind === 'slice'
                  ? sliceText(one.name, one.service, one.endpoints)
                  : `apiVersion: v1\nkind: Service\nmetadata: { name: a, namespace: shop }\nspec: { selector: { app: a }, clusterIP: 10.96.0.${one.ip}, ports: [{ port: 80 }] }`
            const object = objectOf(text)
            all.set(objectKey(object), object)
          }
        }
        const objects = [...all.values()]
        const got = compiler.update(objects)
        const whole = compileWorld(objects, OPTIONS)
        for (const object of [...set.objects]) if (all.get(objectKey(object)) !== object) set.remove(object)
        for (const object of objects) set.add(object)
        const byChange = told.update(set.objects, set.takeChange())
        const wholeOfSet = compileWorld(set.objects, OPTIONS)
        same(
          diffWorld(byChange.objects, wholeOfSet.objects),
          { upsert: [], remove: [] },
          'the world, told of the change',
        )
        same(byChange.enrolments, enrolments(set.objects, NODE), 'enrolments, told of the change')
        const difference = diffWorld(got.objects, whole.objects)
        same(difference, { upsert: [], remove: [] }, 'the world')
        same(got.problems.map(renderProblem).sort(), whole.problems.map(renderProblem).sort(), 'problems')
        same(got.enrolments, enrolments(objects, NODE), 'enrolments')
        for (const key of got.delta.remove) sent.delete(key)
        for (const object of got.delta.upsert) sent.set(`${object.kind}:${object.namespace}/${object.name}`, object)
        same(diffWorld(sent, whole.objects), { upsert: [], remove: [] }, 'what the deltas lead to')
      }
    }),
    { numRuns: 300 },
  )
})

t.test('a pod that becomes ready, and a slice that says so, touch what depends on them only', async (t) => {
  const pods = [1, 2, 3].map((i) => podText(i, { ip: i, app: 'a', node: 'node-2', state: 'ready', more: '' }))
  const objects = [...REST.slice(0, 2), ...pods.map(objectOf)]
  const compiler = new WorldCompiler(OPTIONS)
  compiler.update(objects)
  const waiting = objectOf(podText(2, { ip: 2, app: 'a', node: 'node-2', state: 'waiting', more: '' }))
  const changed = compiler.update(
    objects.map((object) => (objectKey(object) === objectKey(waiting) ? waiting : object)),
  )
  t.strictSame(
    changed.delta.upsert.map(({ kind, name }) => `${kind} ${name}`),
    ['workload p2', 'service a'],
  )
  t.equal(changed.sameReferences, true)
  const more = compiler.update([...objects, objectOf(sliceText(1, 'a', [{ ip: 1, ready: true, pod: 1 }]))])
  t.equal(more.sameReferences, false, 'a Service that has slices now')
})

t.test('what changed between two lists is found, wherever it stands', async () => {
  const letter = fc.constantFrom(
    ...REST,
    ...[1, 2, 3, 4].map((i) => objectOf(podText(i, { ip: i, app: 'a', node: NODE, state: 'ready', more: '' }))),
  )
  const list = fc.uniqueArray(letter)
  fc.assert(
    fc.property(list, list, (before, after) => {
      const { removed, added } = changedObjects(before, after)
      const left = new Set([...before].filter((object) => !removed.includes(object)))
      for (const object of added) left.add(object)
      return left.size === after.length && after.every((object) => left.has(object))
    }),
  )
})
