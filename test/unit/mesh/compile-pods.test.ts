import t from 'tap'
import { renderProblem } from '#resources'
import { compileWorld, enrolments } from '../../../src/mesh/compile/index.ts'
import { compile, objectsOf, pod } from './compile-samples.ts'

const OPTED = 'annotations: { weir.dev/mesh: enabled }'

function namespace(words: string): string {
  return `---\napiVersion: v1\nkind: Namespace\nmetadata: { name: shop, ${words} }\n`
}

t.test('A hand-written pod becomes a workload with its defaults', (t) => {
  const { get, lines } = compile(pod('web', 'FD00::0:1', { more: OPTED, status: 'podIPs: [{ ip: 10.0.0.1 }]' }))
  t.strictSame(get('workload', 'web'), {
    kind: 'workload',
    namespace: 'shop',
    name: 'web',
    uid: 'shop.web',
    serviceAccount: 'default',
    labels: {},
    addresses: ['10.0.0.1', 'fd00::1'],
    node: 'a',
    hostNetwork: false,
    optedIn: true,
    ready: true,
    terminating: false,
    owner: 'web',
    app: 'unknown',
    version: 'unknown',
    hostAddresses: [],
    probes: [],
  })
  t.strictSame(lines, [])
  t.end()
})

t.test('The pod’s own word on opting in wins over its namespace, whose label wins over its annotation', (t) => {
  const cases: [string, string, boolean][] = [
    ['', '', false],
    ['labels: { weir.dev/mesh: enabled }', '', true],
    ['annotations: { weir.dev/mesh: enabled }', '', true],
    ['labels: { weir.dev/mesh: disabled }, annotations: { weir.dev/mesh: enabled }', '', false],
    ['labels: { weir.dev/mesh: enabled }', 'annotations: { weir.dev/mesh: disabled }', false],
    ['labels: { weir.dev/mesh: disabled }', OPTED, true],
  ]
  for (const [words, more, expected] of cases) {
    const { get } = compile(namespace(words) + pod('web', '10.0.0.1', { more }))
    t.match(get('workload', 'web'), { optedIn: expected }, `${words} | ${more}`)
  }
  t.end()
})

t.test('Another word than enabled or disabled is told, and does not count', (t) => {
  const own = compile(
    namespace('labels: { weir.dev/mesh: enabled }') +
      pod('web', '10.0.0.1', { more: 'annotations: { weir.dev/mesh: "true" }' }),
  )
  t.match(own.get('workload', 'web'), { optedIn: true })
  t.strictSame(own.lines, [
    'Pod shop/web: metadata.annotations[weir.dev/mesh]: expected enabled or disabled, got "true"; the word of its namespace holds (enabled)',
  ])
  const ofNamespace = compile(namespace('labels: { weir.dev/mesh: "yes" }') + pod('web', '10.0.0.1'))
  t.match(ofNamespace.get('workload', 'web'), { optedIn: false })
  t.strictSame(ofNamespace.lines, [
    'Namespace shop: metadata.labels[weir.dev/mesh]: expected enabled or disabled, got "yes"; the namespace is not opted in',
  ])
  t.end()
})

t.test('A pod on the host network is never opted in, and claims no address', (t) => {
  const { get, lines } = compile(
    pod('host', '10.0.0.1', { more: OPTED, spec: 'hostNetwork: true' }) + pod('web', '10.0.0.1', { more: OPTED }),
  )
  t.match(get('workload', 'host'), { optedIn: false, hostNetwork: true })
  t.match(get('workload', 'web'), { addresses: ['10.0.0.1'] })
  t.strictSame(lines, [
    'Pod shop/host: metadata.annotations[weir.dev/mesh]: a pod on the host network is never enrolled: remove the annotation or hostNetwork',
  ])
  t.end()
})

t.test('Readiness is the Ready condition, and terminating what is being deleted or has finished', (t) => {
  const state = (options: { more?: string; status?: string }): unknown => {
    const found = compile(pod('web', '10.0.0.1', options)).get('workload', 'web')
    return found?.kind === 'workload' ? [found.ready, found.terminating, found.addresses.length] : undefined
  }
  t.strictSame(state({ status: 'conditions: [{ type: Ready, status: "True" }]' }), [true, false, 1])
  t.strictSame(state({ status: 'conditions: [{ type: Ready, status: "False" }]' }), [false, false, 1])
  t.strictSame(state({ status: 'conditions: []' }), [false, false, 1])
  t.strictSame(state({ more: 'deletionTimestamp: 2026-01-01T00:00:00Z' }), [true, true, 1])
  t.strictSame(state({ status: 'phase: Succeeded' }), [false, true, 0])
  t.strictSame(state({ status: 'phase: Failed, conditions: [{ type: Ready, status: "True" }]' }), [false, true, 0])
  t.end()
})

t.test('The owner is what people know the pod by', (t) => {
  const cases: [string, string][] = [
    ['labels: { pod-template-hash: 7d9f }, ownerReferences: [{ kind: ReplicaSet, name: shop-web-7d9f }]', 'shop-web'],
    ['ownerReferences: [{ kind: ReplicaSet, name: web-7d9f }]', 'web-7d9f'],
    ['ownerReferences: [{ kind: StatefulSet, name: db }]', 'db'],
    ['ownerReferences: [{ kind: Job, name: nightly-29123456 }]', 'nightly'],
    ['ownerReferences: [{ kind: Other, name: x }, { kind: DaemonSet, name: agent, controller: true }]', 'agent'],
  ]
  for (const [more, owner] of cases)
    t.match(compile(pod('p', '10.0.0.1', { more })).get('workload', 'p'), { owner }, more)
  const labels = (text: string): unknown =>
    compile(pod('p', '10.0.0.1', { more: `labels: { ${text} }` })).get('workload', 'p')
  t.match(labels('app: a, version: v1'), { app: 'a', version: 'v1' })
  t.match(labels('app.kubernetes.io/name: a, app.kubernetes.io/version: v1'), { app: 'a', version: 'v1' })
  t.end()
})

t.test('An address belongs to one pod: the living one, then the first by name', (t) => {
  const { get, lines } = compile(
    pod('b', '10.0.0.1') +
      pod('a', '10.0.0.1') +
      pod('0-old', '10.0.0.1', { more: 'deletionTimestamp: 2026-01-01T00:00:00Z' }),
  )
  t.match(get('workload', 'a'), { addresses: ['10.0.0.1'] })
  t.match(get('workload', 'b'), { addresses: [] })
  t.match(get('workload', '0-old'), { addresses: [] })
  t.strictSame(lines, [
    'Pod shop/b: status.podIPs: 10.0.0.1 is already the address of Pod shop/a, which keeps it: give each pod its own',
    'Pod shop/0-old: status.podIPs: 10.0.0.1 is already the address of Pod shop/a, which keeps it: give each pod its own',
  ])
  t.end()
})

t.test('A repeated uid is told, and the second pod gets one of its own', (t) => {
  const { get, lines } = compile(pod('a', '10.0.0.1', { more: 'uid: u' }) + pod('b', '10.0.0.2', { more: 'uid: u' }))
  t.match(get('workload', 'a'), { uid: 'u' })
  t.match(get('workload', 'b'), { uid: 'shop.b' })
  t.strictSame(lines, ['Pod shop/b: metadata.uid: u is already the uid of Pod shop/a: remove one of them'])
  t.end()
})

t.test('The opted-in pods of a node are enrolled with what they exclude', (t) => {
  const annotations = [
    'weir.dev/mesh: enabled',
    'weir.dev/netns: /run/netns/web',
    'weir.dev/exclude-outbound-ports: "3306, 6379"',
    'weir.dev/exclude-inbound-ports: "9090"',
    'weir.dev/exclude-outbound-cidrs: "169.254.169.254, FD00::/8"',
  ]
  const text =
    pod('web', '10.0.0.1', {
      more: `uid: u, annotations: { ${annotations.join(', ')} }`,
      spec: 'serviceAccountName: web',
    }) +
    pod('plain', '10.0.0.2') +
    pod('done', '10.0.0.3', { more: OPTED, status: 'phase: Succeeded' }) +
    pod('ending', '10.0.0.4', { more: `deletionTimestamp: 2026-01-01T00:00:00Z, ${OPTED}` }) +
    pod('elsewhere', '10.0.0.5', { more: OPTED }).replace('nodeName: a', 'nodeName: b')
  const { enrolments: found, problems } = enrolments(objectsOf(text), 'a')
  t.strictSame(found[1], {
    uid: 'u',
    namespace: 'shop',
    name: 'web',
    netns: '/run/netns/web',
    addresses: ['10.0.0.1'],
    serviceAccount: 'web',
    excludeOutboundPorts: [3306, 6379],
    excludeInboundPorts: [9090],
    excludeOutboundCidrs: ['169.254.169.254/32', 'fd00::/8'],
    captureDns: true,
  })
  t.strictSame(
    found.map(({ name }) => name),
    ['ending', 'web'],
  )
  t.strictSame(problems, [])
  t.end()
})

t.test('DNS is captured unless the annotation says disabled', (t) => {
  const found = (value: string) =>
    enrolments(
      objectsOf(pod('web', '10.0.0.1', { more: `annotations: { weir.dev/mesh: enabled, weir.dev/dns: ${value} }` })),
      'a',
    )
  t.match(found('disabled'), { enrolments: [{ captureDns: false }], problems: { length: 0 } })
  t.match(found('enabled'), { enrolments: [{ captureDns: true }], problems: { length: 0 } })
  const wrong = found('off')
  t.match(wrong.enrolments, [{ captureDns: true }])
  t.strictSame(wrong.problems.map(renderProblem), [
    'Pod shop/web: metadata.annotations[weir.dev/dns]: expected enabled or disabled, got "off"; queries are captured',
  ])
  t.end()
})

t.test('A bad entry of an annotation is told and excludes nothing, the good ones stand', (t) => {
  const annotations = [
    'weir.dev/mesh: enabled',
    'weir.dev/netns: web',
    'weir.dev/exclude-outbound-ports: "80,0,http,70000,443"',
    'weir.dev/exclude-outbound-cidrs: "10.0.0.0/40,10.1.0.0/16"',
    'weir.dev/exclude-inbound-ports: "9090,"',
  ]
  const { enrolments: found, problems } = enrolments(
    objectsOf(pod('web', '10.0.0.1', { more: `annotations: { ${annotations.join(', ')} }` })),
    'a',
  )
  t.match(found, [
    { excludeOutboundPorts: [80, 443], excludeInboundPorts: [9090], excludeOutboundCidrs: ['10.1.0.0/16'] },
  ])
  t.notOk('netns' in (found[0] ?? {}))
  const at = 'Pod shop/web: metadata.annotations[weir.dev'
  t.strictSame(problems.map(renderProblem), [
    `${at}/netns]: expected an absolute path such as /run/netns/NAME, got "web"`,
    `${at}/exclude-outbound-ports]: expected a port from 1 to 65535, got "0", and 2 more like it: these entries exclude nothing`,
    `${at}/exclude-inbound-ports]: expected a port from 1 to 65535, got ""; this entry excludes nothing`,
    `${at}/exclude-outbound-cidrs]: expected a CIDR block such as 10.0.0.0/8, got "10.0.0.0/40"; this entry excludes nothing`,
  ])
  t.end()
})

t.test('Two pods cannot share a network namespace, for it is what tells them apart', (t) => {
  const more = 'annotations: { weir.dev/mesh: enabled, weir.dev/netns: /run/netns/x }'
  const { enrolments: found, problems } = enrolments(
    objectsOf(pod('b', '10.0.0.2', { more }) + pod('a', '10.0.0.1', { more })),
    'a',
  )
  t.strictSame(
    found.map(({ name }) => name),
    ['a'],
  )
  t.strictSame(problems.map(renderProblem), [
    'Pod shop/b: metadata.annotations[weir.dev/netns]: /run/netns/x is already the network namespace of Pod shop/a: this pod is not enrolled',
  ])
  t.end()
})

t.test('A pod in the same circumstances compiles to the same value, and else to another', (t) => {
  const [web] = objectsOf(pod('web', '10.0.0.1', { more: OPTED }))
  if (web === undefined) throw new Error('No pod')
  const rest = (text: string) => [web, ...objectsOf(text)]
  const compiled = (text: string) => {
    const { objects } = compileWorld(rest(text), { trustDomain: 'cluster.local' })
    return [...objects.values()].find((object) => object.kind === 'workload' && object.name === 'web')
  }
  const before = compiled('')
  t.ok(before)
  t.equal(compiled(pod('other', '10.0.0.2')), before)
  const changes = [
    '---\napiVersion: v1\nkind: Node\nmetadata: { name: a }\nspec: { podCIDR: 10.0.0.0/24 }\n',
    '---\napiVersion: weir.dev/v1alpha1\nkind: PeerAuthentication\nmetadata: { name: p, namespace: shop }\nspec: { mtls: { mode: STRICT } }\n',
    pod('a', '10.0.0.1'),
  ]
  for (const change of changes) {
    const after = compiled(change)
    t.notSame(after, before, change)
  }
  t.same(compiled(''), before)
  t.end()
})

t.test('An annotation with very many entries costs one line, and excludes no more than a pod may have rules', (t) => {
  const enrolmentOf = (ports: string) =>
    enrolments(
      objectsOf(
        pod('web', '10.0.0.1', {
          more: `annotations: { weir.dev/mesh: enabled, weir.dev/exclude-outbound-ports: "${ports}" }`,
        }),
      ),
      'a',
    )
  const bad = enrolmentOf('x,'.repeat(100_000))
  t.strictSame(bad.enrolments[0]?.excludeOutboundPorts, [])
  t.equal(bad.problems.length, 2)
  t.ok(bad.problems.every(({ message }) => message.length < 200))
  t.match(bad.problems[0]?.message, /got "x", and 127 more like it: these entries exclude nothing$/)
  const many = enrolmentOf(Array.from({ length: 200 }, (_, i) => i + 1).join())
  t.equal(many.enrolments[0]?.excludeOutboundPorts.length, 128)
  t.match(many.problems, [{ message: /^has more than 128 entries: those beyond exclude nothing/ }])
  t.end()
})

t.test('A quarantine is read with its exceptions; what cannot be read closes, and is told', (t) => {
  const read = (annotations: string, opted = 'weir.dev/mesh: enabled, ') => {
    const more = `annotations: { ${opted}${annotations} }`
    const { get, lines } = compile(pod('web', '10.0.0.1', { more }))
    const workload = get('workload', 'web')
    return { quarantine: workload?.kind === 'workload' ? workload.quarantine : undefined, lines }
  }
  t.same(read('weir.dev/quarantine: "true", weir.dev/quarantine-allow: "10.0.0.5, 10.1.2.3/16,fd00::1:2/112"'), {
    quarantine: { allow: ['10.0.0.5/32', '10.1.0.0/16', 'fd00::1:0/112'] },
    lines: [],
  })
  t.same(read('weir.dev/quarantine: "false"'), { quarantine: undefined, lines: [] })
  t.same(read('weir.dev/quarantine: "True"').quarantine, { allow: [], doubtful: true })
  t.match(read('weir.dev/quarantine: "True"').lines, [/expected true or false, got "True"; the pod is in quarantine/])
  t.match(read('weir.dev/quarantine: "true", weir.dev/quarantine-allow: "::/0"'), {
    quarantine: { allow: [] },
    lines: [/expected a CIDR block such as 10.0.0.5\/32, got "::\/0"; this entry allows nothing/],
  })
  t.match(read('weir.dev/quarantine-allow: 10.0.0.5').lines, [/has no effect: the pod is not in quarantine/])
  t.match(read('weir.dev/quarantine: "true"', '').lines, [/is not in force: it is not in the mesh/])
  t.end()
})

t.test('An enrolment has what the kernel is to let through: blocks, and probes from the node', (t) => {
  const text = pod('web', '10.0.0.1', {
    more: 'annotations: { weir.dev/mesh: enabled, weir.dev/quarantine: "true", weir.dev/quarantine-allow: 10.0.0.5 }',
    spec: 'containers: [{ livenessProbe: { tcpSocket: { port: 81 } }, readinessProbe: { httpGet: { port: 80, path: /x } } }]',
    status: 'hostIPs: [{ ip: 192.0.2.1 }]',
  })
  t.match(enrolments(objectsOf(text), 'a').enrolments, [
    { quarantine: { allow: ['10.0.0.5/32'], probeHosts: ['192.0.2.1'], probePorts: [80, 81] } },
  ])
  t.end()
})
