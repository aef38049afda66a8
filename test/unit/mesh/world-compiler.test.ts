/** A world that is followed is the world that is compiled from nothing, after any changes; and small changes stay small. */
import fc from 'fast-check'
import t from 'tap'
import type { MeshObject } from '#contract'
import { ObjectSet } from '#discovery'
import { type KubernetesObject, objectKey, type Problem, renderProblem } from '#resources'
import { changedObjects } from '../../../src/mesh/compile/changed-objects.ts'
import { checkReferences, compileWorld, diffWorld, enrolments, WorldCompiler } from '../../../src/mesh/compile/index.ts'
import { AutomaticAddresses } from '../../../src/mesh/compile/service-entries.ts'
import { changesOf, KIND_NAMES, type ObjectChange } from './any-objects.ts'
import { manifest, objectsOf } from './compile-samples.ts'

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
const podChange = fc.oneof(
  fc.record({ name, choice: podChoice }).map(({ name, choice }) => put(`v1 Pod p${name}`, podText(name, choice))),
  name.map((name) => put(`v1 Pod p${name}`)),
)
const sliceChange = fc.oneof(
  fc
    .record({
      name,
      service: fc.constantFrom('a', 'b', 'none', 'unknown'),
      endpoints: fc.array(endpoint, { maxLength: 4 }),
    })
    .map(({ name, service, endpoints }) => put(`slice ${name}`, sliceText(name, service, endpoints))),
  name.map((name) => put(`slice ${name}`)),
)
const anyChange = fc.oneof(podChange, sliceChange, changesOf(...KIND_NAMES), changesOf(...KIND_NAMES))
/** Of few kinds at once: so that they get in each other's way, and only in theirs. */
const someChange = fc.oneof(
  fc.uniqueArray(fc.constantFrom(...KIND_NAMES), { minLength: 1, maxLength: 3 }).map((kinds) => changesOf(...kinds)),
  fc.constantFrom(
    changesOf('Service', 'ServiceEntry'),
    changesOf('ServiceEntry'),
    changesOf('Service', 'HTTPRoute', 'GRPCRoute'),
    changesOf('Service', 'TrafficPolicy'),
    changesOf('BackendTLSPolicy', 'ConfigMap'),
    changesOf('AuthorizationPolicy'),
    fc.oneof(podChange, sliceChange, changesOf('Service')),
  ),
)

function put(what: string, text?: string): ObjectChange {
  return { what, text }
}

/** As changes name them. */
function nameOf({ group, kind, metadata: { name } }: KubernetesObject): string {
  return `${group === '' ? 'v1' : `${group}/v1alpha1`} ${kind} ${name}`
}

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

/** Throws when a world followed from `start` through the steps is ever another than one that is compiled from nothing. */
function followThrough(start: readonly KubernetesObject[], steps: readonly (readonly ObjectChange[])[]): void {
  const all = new Map(start.map((object) => [nameOf(object), object]))
  const compiler = new WorldCompiler(OPTIONS)
  compiler.update([...all.values()])
  let lastReferences = linesOf(checkReferences([...all.values()], NODE))
  const [set, told] = [new ObjectSet(), new WorldCompiler(OPTIONS)]
  for (const object of all.values()) set.add(object)
  told.update(set.objects, set.takeChange())
  const sent = new Map<string, MeshObject>(compileWorld([...all.values()], OPTIONS).objects)
  for (const step of steps) {
    for (const { what, text } of step) {
      if (text === undefined) all.delete(what)
      else all.set(what, objectOf(text))
    }
    const objects = [...all.values()]
    const got = compiler.update(objects)
    const whole = compileWorld(objects, OPTIONS)
    for (const object of [...set.objects]) if (!objects.includes(object)) set.remove(object)
    for (const object of objects) set.add(object)
    const byChange = told.update(set.objects, set.takeChange())
    const wholeOfSet = compileWorld(set.objects, OPTIONS)
    const none = { upsert: [], remove: [] }
    same(diffWorld(byChange.objects, wholeOfSet.objects), none, 'the world, told of the change')
    same(linesOf(byChange.problems), linesOf(wholeOfSet.problems), 'problems, told of the change')
    same(linesOf(told.references()), linesOf(checkReferences(set.objects, NODE)), 'references, told of the change')
    same(byChange.enrolments, enrolments(set.objects, NODE), 'enrolments, told of the change')
    same(diffWorld(got.objects, whole.objects), none, 'the world')
    same(linesOf(got.problems), linesOf(whole.problems), 'problems')
    const references = linesOf(checkReferences(objects, NODE))
    if (got.sameReferences) same(references, lastReferences, 'references that are said to be the same')
    lastReferences = references
    same(got.enrolments, enrolments(objects, NODE), 'enrolments')
    for (const key of got.delta.remove) sent.delete(key)
    for (const object of got.delta.upsert) sent.set(`${object.kind}:${object.namespace}/${object.name}`, object)
    same(diffWorld(sent, whole.objects), none, 'what the deltas lead to')
  }
}

function linesOf(problems: readonly Problem[]): readonly string[] {
  return problems.map(renderProblem).sort()
}

t.test('after any changes it is what compiling everything gives, and the deltas lead there', async () => {
  const steps = fc.array(fc.array(anyChange, { minLength: 1, maxLength: 3 }), { maxLength: 12 })
  fc.assert(
    fc.property(steps, (steps) => followThrough(REST, steps)),
    { numRuns: 200 },
  )
})

t.test('likewise after changes of few kinds, in a world without problems', async () => {
  const calm = REST.filter(({ metadata: { name } }) => name !== 'none')
  const steps = someChange.chain((one) => fc.array(fc.array(one, { minLength: 1, maxLength: 2 }), { maxLength: 8 }))
  fc.assert(
    fc.property(steps, (steps) => followThrough(calm, steps)),
    { numRuns: 1500 },
  )
})

t.test('a GRPCRoute keeps its ports when an HTTPRoute of its name changes', async () => {
  const route = (kind: string, rule = ''): ObjectChange => ({
    what: `${kind} r1`,
    text: manifest(
      'gateway.networking.k8s.io/v1',
      kind,
      'r1',
      `spec: { parentRefs: [{ group: "", kind: Service, name: a }], rules: [{ backendRefs: []${rule} }] }`,
    ),
  })
  const mirror = ', filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: b, port: 80 } } }]'
  const calm = REST.filter(({ metadata: { name } }) => name !== 'none')
  followThrough(calm, [[route('GRPCRoute')], [route('HTTPRoute')], [route('HTTPRoute', mirror)]])
})

t.test(
  'a Service, a route or a policy that changes is all that is compiled, also where there is a ServiceEntry',
  async (t) => {
    const ofA = 'group: "", kind: Service, name: a'
    const one = (apiVersion: string, kind: string, body: string): string =>
      `{ apiVersion: ${apiVersion}, kind: ${kind}, metadata: { name: ${kind === 'Service' ? 'a' : 'one'}, namespace: shop }, ${body} }`
    const validation = (host: string) => `validation: { hostname: ${host}.example, wellKnownCACertificates: System }`
    const texts: Readonly<Record<string, readonly [string, string]>> = {
      service: [
        one('v1', 'Service', 'spec: { clusterIP: 10.96.0.1, ports: [{ port: 80 }] }'),
        one('v1', 'Service', 'spec: { clusterIP: 10.96.0.1, ports: [{ port: 81 }] }'),
      ],
      'http-route': [
        one('gateway.networking.k8s.io/v1', 'HTTPRoute', `spec: { parentRefs: [{ ${ofA} }] }`),
        one('gateway.networking.k8s.io/v1', 'HTTPRoute', `spec: { parentRefs: [{ ${ofA}, port: 80 }] }`),
      ],
      'authorization-policy': [
        one('security.istio.io/v1', 'AuthorizationPolicy', 'spec: { action: DENY, rules: [{}] }'),
        one('security.istio.io/v1', 'AuthorizationPolicy', 'spec: { action: ALLOW, rules: [{}] }'),
      ],
      'traffic-policy': [
        one('weir.dev/v1alpha1', 'TrafficPolicy', `spec: { targetRefs: [{ ${ofA} }], retryBudget: { percent: 10 } }`),
        one('weir.dev/v1alpha1', 'TrafficPolicy', `spec: { targetRefs: [{ ${ofA} }], retryBudget: { percent: 20 } }`),
      ],
      'backend-tls': [
        one(
          'gateway.networking.k8s.io/v1',
          'BackendTLSPolicy',
          `spec: { targetRefs: [{ ${ofA} }], ${validation('a')} }`,
        ),
        one(
          'gateway.networking.k8s.io/v1',
          'BackendTLSPolicy',
          `spec: { targetRefs: [{ ${ofA} }], ${validation('b')} }`,
        ),
      ],
    }
    const rest = objectsOf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: out, namespace: shop }
spec: { hosts: [out.example], ports: [{ number: 80, name: http, protocol: HTTP }], resolution: DNS }
`)
    const first = Object.values(texts).map(([text]) => objectOf(text))
    const compiler = new WorldCompiler(OPTIONS)
    const { problems } = compiler.update([...rest, ...first])
    for (const [at, [kind, [before, after]]] of Object.entries(texts).entries()) {
      const without = first.toSpliced(at, 1)
      for (const text of [after, before]) {
        const { delta, problems: now } = compiler.update([...rest, ...without, objectOf(text)])
        t.strictSame([delta.upsert.map((one) => one.kind), delta.remove], [[kind], []], kind)
        // A list made anew is what tells that all was compiled.
        t.equal(now, problems, `${kind}: nothing else was looked at`)
      }
      const gone = compiler.update([...rest, ...without])
      t.strictSame([gone.delta.upsert, gone.delta.remove.length, gone.problems === problems], [[], 1, true], kind)
      compiler.update([...rest, ...first])
    }
  },
)

t.test(
  'a ServiceEntry that changes is all that is compiled; hosts whose automatic addresses meet are dealt them as ever',
  async (t) => {
    const entry = (host: string, port = 80): ObjectChange => ({
      what: `networking.istio.io/v1 ServiceEntry ${host}`,
      text: `{ apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: { name: ${host}, namespace: shop }, spec: { hosts: [${host}.example], ports: [{ number: ${port}, name: http, protocol: HTTP }], resolution: DNS } }`,
    })
    const compiler = new WorldCompiler(OPTIONS)
    const { problems } = compiler.update([objectOf(entry('a').text ?? ''), objectOf(entry('b').text ?? '')])
    const changed = compiler.update([objectOf(entry('a').text ?? ''), objectOf(entry('b', 81).text ?? '')])
    t.match(changed.delta, { upsert: [{ name: 'b.example' }], remove: [] })
    t.equal(changed.problems, problems, 'nothing else was looked at')

    const addresses = new Map<string, string>()
    let pair: readonly string[] = []
    for (let i = 0; pair.length === 0; i++) {
      const [address = ''] = new AutomaticAddresses().take(`shop/h${i}.example`)
      const other = addresses.get(address)
      if (other !== undefined) pair = [other, `h${i}`]
      addresses.set(address, `h${i}`)
    }
    const step = fc
      .constantFrom(...pair, 'other')
      .chain((host) => fc.constantFrom<ObjectChange>(entry(host), entry(host, 81), { ...entry(host), text: undefined }))
    const steps = fc.array(fc.array(step, { minLength: 1, maxLength: 2 }), { maxLength: 8 })
    fc.assert(
      fc.property(steps, (steps) => followThrough([], steps)),
      { numRuns: 300 },
    )
  },
)

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
