/** Objects of all kinds that the mesh knows, few enough to get in each other's way, for properties of what is compiled from them. */
import fc from 'fast-check'

export interface ObjectChange {
  /** API version, kind and name. */
  readonly what: string
  /** As YAML; undefined: it goes. */
  readonly text: string | undefined
}

interface Kind {
  readonly apiVersion: string
  readonly kind: string
  readonly names: readonly string[]
  /** As flow YAML; the metadata is that besides name and namespace. */
  readonly body: fc.Arbitrary<{ readonly metadata?: string; readonly spec: string }>
}

const GATEWAY = 'gateway.networking.k8s.io/v1'
const ALPHA = 'gateway.networking.k8s.io/v1alpha2'
const ISTIO = 'security.istio.io/v1'
const OWN = 'weir.dev/v1alpha1'

const service = fc.constantFrom('a', 'b', 'none', 'missing')
const ip = fc.integer({ min: 1, max: 4 }).map((last) => `10.96.0.${last}`)
const age = fc.constantFrom(
  '',
  'creationTimestamp: "2026-01-01T00:00:00Z"',
  'creationTimestamp: "2026-01-02T00:00:00Z"',
)
const parents = fc
  .array(fc.tuple(service, fc.constantFrom('', ', port: 80', ', port: 81', ', sectionName: http')), {
    minLength: 1,
    maxLength: 2,
  })
  .map((refs) => `[${refs.map(([name, more]) => `{ group: "", kind: Service, name: ${name}${more} }`).join(', ')}]`)
const backend = fc
  .tuple(
    service,
    fc.constantFrom(
      ', port: 80',
      ', port: 80',
      ', port: 81',
      '',
      ', port: 80, weight: 0',
      ', port: 80, namespace: other',
    ),
  )
  .map(([name, more]) => `{ name: ${name}${more} }`)
const backends = fc.array(backend, { maxLength: 2 }).map((refs) => `[${refs.join(', ')}]`)
const streamBackends = fc.array(backend, { minLength: 1, maxLength: 2 }).map((refs) => `[${refs.join(', ')}]`)
const selector = fc.constantFrom('{}', '{ app: a }', '{ app: b }', '{ app: c }', '{ app: b, n: "1" }')
const targets = fc
  .uniqueArray(service, { minLength: 1, maxLength: 2 })
  .map((names) => `[${names.map((name) => `{ group: "", kind: Service, name: ${name} }`).join(', ')}]`)
const policyTarget = fc.oneof(
  selector.map((labels) => `selector: { matchLabels: ${labels} }`),
  targets.map((refs) => `targetRefs: ${refs}`),
  fc.constant('targetRefs: [{ group: gateway.networking.k8s.io, kind: Gateway, name: edge }]'),
)
const routeBody = (kind: string, rules: fc.Arbitrary<string>) =>
  fc.record({ metadata: age, parents, rules }).map(({ metadata, parents, rules }) => ({
    metadata,
    spec: `spec: { parentRefs: ${parents}, rules: ${rules}${kind === 'TLSRoute' ? ', hostnames: [a.example]' : ''} }`,
  }))
const session = fc.constantFrom('', '', ', sessionPersistence: { sessionName: s }')
const mirror = fc.constantFrom(
  '',
  '',
  ', filters: [{ type: RequestMirror, requestMirror: { backendRef: { name: b, port: 80 } } }]',
)
const authorization = fc
  .tuple(policyTarget, fc.constantFrom('action: ALLOW', 'action: DENY', 'action: NONE'))
  .map(([target, action]) => ({ spec: `spec: { ${target}, ${action}, rules: [{}] }` }))

const KINDS: readonly Kind[] = [
  {
    apiVersion: 'v1',
    kind: 'Service',
    names: ['a', 'a', 'b', 'none', 'c'],
    body: fc
      .tuple(
        ip,
        selector,
        fc.constantFrom(
          'ports: [{ name: http, port: 80, targetPort: web }]',
          'ports: [{ name: http, port: 80 }]',
          'ports: [{ name: http, port: 80 }], sessionAffinity: ClientIP',
          'ports: [{ name: grpc, port: 81, appProtocol: grpc }, { name: http, port: 80 }]',
          'ports: [{ name: tcp, port: 80 }]',
          'ports: [{ name: http, port: 80 }, { name: again, port: 80 }]',
        ),
        fc.constantFrom('clusterIP', 'clusterIP', 'clusterIP', 'None', 'ExternalName'),
      )
      .map(([address, labels, ports, type]) => {
        const kind =
          type === 'ExternalName'
            ? 'type: ExternalName, externalName: out.example'
            : `clusterIP: ${type === 'None' ? 'None' : address}`
        return { spec: `spec: { selector: ${labels}, ${ports}, ${kind} }` }
      }),
  },
  {
    apiVersion: GATEWAY,
    kind: 'HTTPRoute',
    names: ['r1', 'r2'],
    body: fc.oneof(
      routeBody(
        'HTTPRoute',
        fc
          .tuple(backends, session, mirror)
          .map(([refs, more, filters]) => `[{ backendRefs: ${refs}${more}${filters} }]`),
      ),
      parents.map((refs) => ({
        spec: `spec: { parentRefs: ${refs}, rules: [{ surprise: 1, matches: [{ path: { type: Wrong } }] }] }`,
      })),
    ),
  },
  {
    apiVersion: GATEWAY,
    kind: 'GRPCRoute',
    names: ['r1', 'g2'],
    body: routeBody(
      'GRPCRoute',
      backends.map((refs) => `[{ backendRefs: ${refs} }]`),
    ),
  },
  {
    apiVersion: ALPHA,
    kind: 'TCPRoute',
    names: ['r1'],
    body: routeBody(
      'TCPRoute',
      streamBackends.map((refs) => `[{ backendRefs: ${refs} }]`),
    ),
  },
  {
    apiVersion: ALPHA,
    kind: 'TLSRoute',
    names: ['r1'],
    body: routeBody(
      'TLSRoute',
      streamBackends.map((refs) => `[{ backendRefs: ${refs} }]`),
    ),
  },
  {
    apiVersion: ISTIO,
    kind: 'AuthorizationPolicy',
    names: ['p1', 'p2'],
    body: authorization,
  },
  {
    apiVersion: OWN,
    kind: 'AuthorizationPolicy',
    names: ['p1', 'p1.security.istio.io'],
    body: authorization,
  },
  {
    apiVersion: OWN,
    kind: 'TrafficPolicy',
    names: ['t1', 't2', 't3'],
    body: fc
      .tuple(
        age,
        targets,
        fc.constantFrom(
          'retryBudget: { percent: 10, minPerSecond: 1 }',
          'retry: { attempts: 2, codes: [503] }',
          'retry: { attempts: 1 }',
        ),
      )
      .map(([metadata, refs, more]) => ({ metadata, spec: `spec: { targetRefs: ${refs}, ${more} }` })),
  },
  {
    apiVersion: GATEWAY,
    kind: 'BackendTLSPolicy',
    names: ['b1', 'b2'],
    body: fc
      .tuple(
        age,
        targets,
        fc.constantFrom(
          'wellKnownCACertificates: System',
          'wellKnownCACertificates: System',
          'caCertificateRefs: [{ group: "", kind: ConfigMap, name: roots }]',
        ),
      )
      .map(([metadata, refs, roots]) => ({
        metadata,
        spec: `spec: { targetRefs: ${refs}, validation: { hostname: a.example, ${roots} } }`,
      })),
  },
  {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    names: ['roots'],
    body: fc.constantFrom({ spec: 'data: {}' }, { spec: 'data: { ca.crt: no }' }),
  },
  {
    apiVersion: 'networking.istio.io/v1',
    kind: 'ServiceEntry',
    names: ['e1', 'e2'],
    body: fc
      .tuple(
        age,
        fc.uniqueArray(fc.constantFrom('x.example', 'y.example', 'c'), { minLength: 1 }),
        fc.option(ip, { nil: undefined }),
        fc.constantFrom(
          'resolution: DNS',
          'resolution: NONE',
          'resolution: STATIC, endpoints: [{ address: 10.96.0.2 }]',
        ),
      )
      .map(([metadata, hosts, address, more]) => ({
        metadata,
        spec: `spec: { hosts: [${hosts.join(', ')}], ports: [{ number: 80, name: http, protocol: HTTP }], ${
          address === undefined ? '' : `addresses: [${address}], `
        }${more} }`,
      })),
  },
  {
    apiVersion: 'gateway.networking.k8s.io/v1beta1',
    kind: 'ReferenceGrant',
    names: ['g1'],
    body: fc.constantFrom('HTTPRoute', 'GRPCRoute').map((kind) => ({
      spec: `spec: { from: [{ group: gateway.networking.k8s.io, kind: ${kind}, namespace: shop }], to: [{ group: "", kind: Service }] }`,
    })),
  },
  {
    apiVersion: ISTIO,
    kind: 'RequestAuthentication',
    names: ['q1'],
    body: fc
      .tuple(policyTarget, fc.constantFrom('', ', jwtRules: [{ issuer: someone }]'))
      .map(([target, rules]) => ({ spec: `spec: { ${target}${rules} }` })),
  },
  {
    apiVersion: OWN,
    kind: 'PeerAuthentication',
    names: ['strict'],
    body: fc
      .tuple(selector, fc.constantFrom('STRICT', 'PERMISSIVE'))
      .map(([labels, mode]) => ({ spec: `spec: { selector: { matchLabels: ${labels} }, mtls: { mode: ${mode} } }` })),
  },
  {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    names: ['a'],
    body: fc.constant({ spec: '' }),
  },
]

/** What is there once in a cluster, not in namespaces. */
const WIDE: readonly Kind[] = [
  {
    apiVersion: 'v1',
    kind: 'Namespace',
    names: ['shop'],
    body: fc.constantFrom(
      { metadata: 'labels: { weir.dev/mesh: enabled }', spec: '' },
      { metadata: '', spec: '' },
      { metadata: 'annotations: { weir.dev/outbound-traffic-policy: REGISTRY_ONLY }', spec: '' },
    ),
  },
  {
    apiVersion: 'v1',
    kind: 'Node',
    names: ['node-1', 'node-2'],
    body: fc.constantFrom(
      { metadata: 'labels: { topology.kubernetes.io/zone: z1 }', spec: '' },
      { metadata: 'labels: { topology.kubernetes.io/zone: z2 }', spec: '' },
    ),
  },
]

function changeOf({ apiVersion, kind, names, body }: Kind, namespace: string): fc.Arbitrary<ObjectChange> {
  return fc
    .record({ name: fc.constantFrom(...names), body: fc.option(body, { nil: undefined, freq: 3 }) })
    .map(({ name, body }) => {
      const what = `${apiVersion} ${kind} ${name}`
      if (body === undefined) return { what, text: undefined }
      const { metadata = '', spec } = body
      const head = [`name: ${name}`, ...(namespace === '' ? [] : [`namespace: ${namespace}`]), metadata]
      const text = `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: { ${head.filter((part) => part !== '').join(', ')} }\n${spec}\n`
      return { what, text }
    })
}

/** One object of a kind put or gone; pods and EndpointSlices are not among them. */
export function changesOf(...kinds: readonly string[]): fc.Arbitrary<ObjectChange> {
  const namespaced = KINDS.filter(({ kind }) => kinds.includes(kind)).map((kind) => changeOf(kind, 'shop'))
  return fc.oneof(...namespaced, ...WIDE.filter(({ kind }) => kinds.includes(kind)).map((kind) => changeOf(kind, '')))
}

export const KIND_NAMES: readonly string[] = [...new Set([...KINDS, ...WIDE].map(({ kind }) => kind))]
