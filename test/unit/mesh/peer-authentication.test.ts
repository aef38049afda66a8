import t from 'tap'
import type { PeerModes } from '#contract'
import { listPeerAuthentications } from '../../../src/mesh/compile/index.ts'
import { compile, manifest, objectsOf, pod } from './compile-samples.ts'

const OURS = 'weir.dev/v1alpha1'
const WEB = pod('web', '10.0.0.1', { more: 'labels: { app: web }' })

function peer(spec: string, { name = 'p', namespace = 'shop', created = '' } = {}): string {
  const metadata = created === '' ? '' : `, creationTimestamp: "${created}"`
  return manifest(OURS, 'PeerAuthentication', `${name}${metadata}`, `spec: ${spec}`, namespace)
}

function modesOf(...policies: string[]): { modes: PeerModes | undefined; lines: readonly string[] } {
  const { get, lines } = compile(WEB + policies.join(''))
  const workload = get('workload', 'web')
  return { modes: workload?.kind === 'workload' ? workload.peerModes : undefined, lines }
}

const MESH = { namespace: 'weir-system', name: 'mesh' }
const OWN = 'selector: { matchLabels: { app: web } }'

t.test('the narrower policy decides, UNSET leaves it to the wider one, PERMISSIVE is the default', (t) => {
  const cases: readonly [string, readonly string[], PeerModes | undefined][] = [
    ['none', [], undefined],
    ['unset everywhere', [peer('{}'), peer('{}', MESH)], undefined],
    ['mesh', [peer('{ mtls: { mode: STRICT } }', MESH)], { mode: 'STRICT', ports: {}, policy: 'weir-system/mesh' }],
    [
      'namespace',
      [peer('{ mtls: { mode: PERMISSIVE } }'), peer('{ mtls: { mode: STRICT } }', MESH)],
      { mode: 'PERMISSIVE', ports: {}, policy: 'shop/p' },
    ],
    [
      'an unset namespace',
      [peer('{}'), peer('{ mtls: { mode: STRICT } }', MESH)],
      { mode: 'STRICT', ports: {}, policy: 'weir-system/mesh' },
    ],
    [
      'the pod',
      [peer(`{ ${OWN}, mtls: { mode: DISABLE } }`, { name: 'own' }), peer('{ mtls: { mode: STRICT } }')],
      { mode: 'DISABLE', ports: {}, policy: 'shop/own' },
    ],
    [
      'a port of it',
      [
        peer(`{ ${OWN}, portLevelMtls: { 8080: { mode: PERMISSIVE }, 81: {} } }`, { name: 'own' }),
        peer('{ mtls: { mode: STRICT } }'),
      ],
      { mode: 'STRICT', ports: { 8080: 'PERMISSIVE' }, policy: 'shop/p' },
    ],
    [
      'only a port',
      [peer(`{ ${OWN}, portLevelMtls: { 80: { mode: STRICT } } }`, { name: 'own' })],
      { mode: 'PERMISSIVE', ports: { 80: 'STRICT' }, policy: 'shop/own' },
    ],
    ['other pods', [peer('{ selector: { matchLabels: { app: db } }, mtls: { mode: STRICT } }')], undefined],
    ['another namespace', [peer('{ mtls: { mode: STRICT } }', { namespace: 'bank' })], undefined],
    [
      'the oldest of two',
      [
        peer('{ mtls: { mode: PERMISSIVE } }', { name: 'a', created: '2026-02-01T00:00:00Z' }),
        peer('{ mtls: { mode: STRICT } }', { name: 'b', created: '2026-01-01T00:00:00Z' }),
      ],
      { mode: 'STRICT', ports: {}, policy: 'shop/b' },
    ],
  ]
  for (const [name, policies, expected] of cases) {
    t.strictSame(modesOf(...policies).modes, expected, name)
    t.strictSame(modesOf(...policies.toReversed()).modes, expected, `${name}, in the other order`)
  }
  t.end()
})

t.test('a selector in the root namespace is ignored, and that is said', (t) => {
  const { modes, lines } = modesOf(peer(`{ ${OWN}, mtls: { mode: STRICT } }`, MESH))
  t.equal(modes, undefined)
  t.strictSame(lines, [
    'PeerAuthentication weir-system/mesh: spec.selector: is ignored in the root namespace; put the policy beside its pods',
  ])
  t.end()
})

t.test('probes of all containers are known, named ports by their number, and the addresses of the node', (t) => {
  const { get } = compile(
    pod('web', '10.0.0.1', {
      spec: `containers: [
        { ports: [{ name: http, containerPort: 8080 }],
          livenessProbe: { httpGet: { path: "healthz?full=1", port: http } },
          readinessProbe: { httpGet: { port: 8080 } }, startupProbe: { exec: { command: [true] } } },
        { livenessProbe: { tcpSocket: { port: 9000 } }, readinessProbe: { grpc: { port: 9001 } },
          startupProbe: { tcpSocket: { port: nobody } } } ]`,
      status: 'hostIP: 192.0.2.1, hostIPs: [{ ip: 192.0.2.1 }, { ip: "2001:DB8::1" }]',
    }),
  )
  t.match(get('workload', 'web'), {
    hostAddresses: ['192.0.2.1', '2001:db8::1'],
    probes: [{ port: 8080, path: '/healthz' }, { port: 8080, path: '/' }, { port: 9000 }, { port: 9001 }],
  })
  t.end()
})

t.test('the node’s end of a bridge, or of a pair of interfaces, is one of its addresses', (t) => {
  const hosts = (ranges: string) => {
    const node = `---\napiVersion: v1\nkind: Node\nmetadata: { name: a }\nspec: { ${ranges} }\n`
    const workload = compile(pod('web', '10.0.0.5', { status: 'hostIP: 192.0.2.1' }) + node).get('workload', 'web')
    return workload?.kind === 'workload' ? workload.hostAddresses : []
  }
  t.strictSame(hosts('podCIDRs: [10.0.0.0/24, "FD00:1::/64"]'), ['192.0.2.1', '10.0.0.1', 'fd00:1::1'])
  t.strictSame(hosts('podCIDR: 10.0.0.128/25'), ['192.0.2.1', '10.0.0.129'])
  t.strictSame(hosts('podCIDRs: [anything, 10.0.0.255/24, "fd00::1/64"]'), ['192.0.2.1'])
  t.strictSame(hosts(''), ['192.0.2.1'])
  t.end()
})

t.test('the list says which pods each one decides for', (t) => {
  const text = [
    WEB,
    pod('db', '10.0.0.2', { more: 'labels: { app: db }' }),
    peer(`{ ${OWN}, portLevelMtls: { 8080: { mode: PERMISSIVE } } }`, { name: 'own' }),
    peer('{ mtls: { mode: STRICT } }'),
    peer('{ mtls: { mode: DISABLE } }', MESH),
  ].join('')
  const options = { trustDomain: 'cluster.local', rootNamespace: 'weir-system' }
  t.strictSame(listPeerAuthentications(objectsOf(text), options), [
    {
      namespace: 'shop',
      name: 'own',
      scope: 'workload',
      selector: { app: 'web' },
      mode: 'UNSET',
      ports: { 8080: 'PERMISSIVE' },
      pods: ['shop/web'],
    },
    {
      namespace: 'shop',
      name: 'p',
      scope: 'namespace',
      selector: {},
      mode: 'STRICT',
      ports: {},
      pods: ['shop/db', 'shop/web'],
    },
    { namespace: 'weir-system', name: 'mesh', scope: 'mesh', selector: {}, mode: 'DISABLE', ports: {}, pods: [] },
  ])
  t.end()
})
