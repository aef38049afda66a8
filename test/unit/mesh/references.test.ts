import t from 'tap'
import { type Problem, renderProblem } from '#resources'
import { checkReferences } from '../../../src/mesh/compile/index.ts'
import { manifest, objectsOf, pod } from './compile-samples.ts'

const GATEWAY = 'gateway.networking.k8s.io/v1'
const OURS = 'weir.dev/v1alpha1'

const WEB =
  pod('web', '10.0.0.1', {
    more: 'labels: { app: web }',
    spec: 'containers: [{ ports: [{ name: http, containerPort: 8080 }] }]',
  }) + service('web', '{ selector: { app: web }, ports: [{ name: http, port: 80, targetPort: http }] }')

const GOOD = '[{ backendRefs: [{ name: web, port: 80 }] }]'

function service(name: string, spec: string): string {
  return manifest('v1', 'Service', name, `spec: ${spec}`)
}

function route(rules: string, parent = 'name: web'): string {
  const body = `spec: { parentRefs: [{ group: "", kind: Service, ${parent} }], rules: ${rules} }`
  return manifest(GATEWAY, 'HTTPRoute', 'r', body)
}

function told(text: string, node = 'a'): string[] {
  const line = (problem: Problem) => `${problem.severity ?? 'error'}: ${renderProblem(problem)}`
  return checkReferences(objectsOf(text), node).map(line)
}

t.test('What leads somewhere is not told', (t) => {
  const good = [
    route('[{ backendRefs: [{ name: web, port: 80 }] }]', 'name: web, port: 80'),
    route('[{ filters: [{ type: RequestRedirect, requestRedirect: { scheme: https } }] }]'),
    route('[{ backendRefs: [{ name: web, port: 80 }] }]', 'name: web, sectionName: http'),
    service('headless', '{ clusterIP: None, ports: [{ port: 1 }] }'),
    service('other', '{ type: ExternalName, externalName: example.org, selector: { app: none } }'),
    service('sliced', '{ selector: { app: none }, ports: [{ port: 80 }] }') +
      '---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n' +
      'metadata: { name: s, namespace: shop, labels: { kubernetes.io/service-name: sliced } }\naddressType: IPv4\n',
    manifest(OURS, 'AuthorizationPolicy', 'p', 'spec: { selector: { matchLabels: { app: web } } }'),
    manifest(OURS, 'AuthorizationPolicy', 'p', 'spec: { selector: { matchLabels: { app: web } } }', 'weir-system'),
    manifest(OURS, 'PeerAuthentication', 'p', 'spec: { mtls: { mode: STRICT } }'),
    manifest(OURS, 'AuthorizationPolicy', 'p', 'spec: { targetRefs: [{ kind: Service, name: web }] }'),
    pod('more', '10.0.0.2', { more: 'annotations: { weir.dev/mesh: enabled, weir.dev/dns: disabled, x.dev/mesh: y }' }),
    manifest(
      GATEWAY,
      'HTTPRoute',
      'edge',
      'spec: { parentRefs: [{ name: edge }], rules: [{ backendRefs: [{ name: x, port: 1 }] }] }',
    ),
  ]
  for (const text of good) t.strictSame(told(WEB + text), [], text)
  t.end()
})

t.test('A route without its Service, and a backend that does not exist, are told with their consequence', (t) => {
  const cases: [string, string][] = [
    [
      route(GOOD, 'name: wbe'),
      'warning: HTTPRoute shop/r: spec.parentRefs[0]: Service shop/wbe does not exist: the route does nothing there; is it misspelt?',
    ],
    [
      route(GOOD, 'name: web, port: 81'),
      'warning: HTTPRoute shop/r: spec.parentRefs[0].port: Service shop/web has no port 81, it has 80 (http): the route does nothing there',
    ],
    [
      route(GOOD, 'name: web, sectionName: htpp'),
      'warning: HTTPRoute shop/r: spec.parentRefs[0].sectionName: Service shop/web has no port named htpp, it has 80 (http): the route does nothing there',
    ],
    [
      route('[{ backendRefs: [{ name: v9, port: 80 }] }]'),
      'error: HTTPRoute shop/r: spec.rules[0].backendRefs[0]: Service shop/v9 does not exist; the requests of this rule get 500: correct the reference, or add what it names',
    ],
    [
      route('[{ backendRefs: [{ name: web, port: 80, weight: 90 }, { name: web, port: 8080, weight: 10 }] }]'),
      'error: HTTPRoute shop/r: spec.rules[0].backendRefs[1]: Service shop/web has no port 8080, it has 80 (http); its share of requests (10 %) gets 500: correct the reference, or add what it names',
    ],
    [
      route('[{ backendRefs: [{ name: web, port: 80 }, { name: v9, port: 80, weight: 0 }] }]'),
      'warning: HTTPRoute shop/r: spec.rules[0].backendRefs[1]: Service shop/v9 does not exist; its weight is 0, so that no request gets there',
    ],
    [
      route('[{ name: nothing }]'),
      'warning: HTTPRoute shop/r: spec.rules[0]: has neither backendRefs nor a RequestRedirect: its requests get 500; add one of them',
    ],
    [
      route('[{ backendRefs: [{ name: web, port: 80, weight: 0 }, { name: web, port: 80, weight: 0 }] }]'),
      'warning: HTTPRoute shop/r: spec.rules[0].backendRefs: all weights are 0: the requests of this rule get 500; give one backend a weight, or leave the weights out',
    ],
    [
      route('[{ backendRefs: [{ name: web, port: 80, weight: 0 }] }]').replace('HTTPRoute', 'TCPRoute'),
      'warning: TCPRoute shop/r: spec.rules[0].backendRefs: all weights are 0: the connections of this rule are reset; give one backend a weight, or leave the weights out',
    ],
  ]
  for (const [text, line] of cases) t.strictSame(told(WEB + text), [line])
  t.end()
})

t.test('Selectors, targets and target ports that find nothing are warnings', (t) => {
  const cases: [string, string][] = [
    [
      service('lost', '{ selector: { app: wbe }, ports: [{ port: 80 }] }'),
      'warning: Service shop/lost: spec.selector: app=wbe matches no Pod of namespace shop: it has no endpoints, requests to it get 503',
    ],
    [
      service('lost', '{ selector: { app: web }, ports: [{ port: 80, targetPort: htpp }] }'),
      'warning: Service shop/lost: spec.ports[0].targetPort: no container of the Pods that it selects has a TCP port named htpp: requests to port 80 get 503',
    ],
    ...['AuthorizationPolicy', 'PeerAuthentication', 'RequestAuthentication'].map((kind): [string, string] => [
      manifest(OURS, kind, 'p', 'spec: { selector: { matchLabels: { app: web, v: "2" } } }'),
      `warning: ${kind} shop/p: spec.selector: app=web,v=2 matches no Pod of namespace shop: it applies to nothing`,
    ]),
    [
      manifest(OURS, 'AuthorizationPolicy', 'p', 'spec: { selector: { matchLabels: { app: wbe } } }', 'weir-system'),
      'warning: AuthorizationPolicy weir-system/p: spec.selector: app=wbe matches no Pod of the mesh: it applies to nothing',
    ],
    [
      manifest(OURS, 'AuthorizationPolicy', 'p', 'spec: { targetRefs: [{ kind: Service, name: wbe }] }'),
      'warning: AuthorizationPolicy shop/p: spec.targetRefs[0]: Service shop/wbe does not exist: it applies to nothing there',
    ],
  ]
  for (const [text, line] of cases) t.strictSame(told(WEB + text), [line])
  t.end()
})

t.test('Annotations and labels of the mesh that nobody reads are warnings', (t) => {
  const namespace = (more: string) => `---\napiVersion: v1\nkind: Namespace\nmetadata: { name: shop, ${more} }\n`
  const cases: [string, string][] = [
    [
      pod('x', '10.0.0.9', { more: 'annotations: { weir.dev/mseh: enabled }' }),
      'Pod shop/x: metadata.annotations[weir.dev/mseh]: unknown annotation weir.dev/mseh; did you mean weir.dev/mesh?',
    ],
    [
      pod('x', '10.0.0.9', { more: 'annotations: { wier.dev/mesh: enabled }' }),
      'Pod shop/x: metadata.annotations[wier.dev/mesh]: unknown annotation wier.dev/mesh; did you mean weir.dev/mesh?',
    ],
    [
      pod('x', '10.0.0.9', { more: 'labels: { weir.dev/mesh: enabled }' }),
      'Pod shop/x: metadata.labels[weir.dev/mesh]: has no effect as a label: make it an annotation',
    ],
    [
      namespace('labels: { weir.dev/mash: enabled }'),
      'Namespace shop: metadata.labels[weir.dev/mash]: unknown label weir.dev/mash; did you mean weir.dev/mesh?',
    ],
    [
      namespace('annotations: { weir.dev/netns: /run/netns/x }'),
      'Namespace shop: metadata.annotations[weir.dev/netns]: has no effect on a Namespace: annotate its Pods',
    ],
  ]
  for (const [text, line] of cases) t.strictSame(told(WEB + text), [`warning: ${line}`])
  const [far, ...more] = told(WEB + pod('x', '10.0.0.9', { more: 'annotations: { weir.dev/banana: "1" }' }))
  t.match(far, /unknown annotation weir\.dev\/banana; known are weir\.dev\/mesh, /)
  t.strictSame(more, [])
  t.end()
})

t.test('A node name that no pod has is a warning while pods of other nodes exist', (t) => {
  t.strictSame(told(WEB, 'node-9'), [
    'warning: --node node-9: no Pod has spec.nodeName node-9; the manifests name a: is --node right?',
  ])
  t.strictSame(told('', 'node-9'), [])
  t.end()
})

t.test('A TrafficPolicy for what is no HTTP is told', async (t) => {
  const policy = manifest(OURS, 'TrafficPolicy', 'p', 'spec: { targetRefs: [{ kind: Service, name: db }] }')
  const db = (protocol: string) =>
    service(
      'db',
      `{ type: ExternalName, externalName: a.b, ports: [{ name: ${protocol}-a, port: 1 }, { name: tcp, port: 2 }] }`,
    )
  t.strictSame(told(WEB + db('tls') + policy), [
    'warning: TrafficPolicy shop/p: spec.targetRefs[0]: all ports of Service db are declared tcp or tls: nothing of it applies to their connections',
  ])
  t.strictSame(told(WEB + db('http') + policy), [])
  t.strictSame(told(WEB + policy), [
    'warning: TrafficPolicy shop/p: spec.targetRefs[0]: Service shop/db does not exist: it applies to nothing there',
  ])
})

t.test('An HTTPRoute beside a GRPCRoute at one port is warned of', (t) => {
  const grpc = manifest(GATEWAY, 'GRPCRoute', 'g', 'spec: { parentRefs: [{ group: "", kind: Service, name: web }] }')
  t.strictSame(told(WEB + grpc + route('[{ backendRefs: [{ name: web, port: 80 }] }]')), [
    'warning: HTTPRoute shop/r: spec.parentRefs[0]: GRPCRoute g binds port 80 of Service shop/web, too, and only routes of one kind can: this one does nothing there; give them ports of their own',
  ])
  t.match(told(WEB + grpc.replace('name: web', 'name: wbe')), [
    /warning: GRPCRoute shop.g: .*Service shop.wbe does not exist/,
  ])
  t.end()
})

t.test('Versions of what is declared gRPC are refused by name', async (t) => {
  const versioning = 'versioning: { default: "1", versions: [{ name: "1" }] }'
  const policy = manifest(
    OURS,
    'TrafficPolicy',
    'p',
    `spec: { targetRefs: [{ kind: Service, name: db }], ${versioning} }`,
  )
  const db = (protocol: string) =>
    service(
      'db',
      `{ type: ExternalName, externalName: a.b, ports: [{ name: ${protocol}-a, port: 1 }, { name: http, port: 2 }] }`,
    )
  t.strictSame(told(WEB + db('grpc') + policy), [
    'error: TrafficPolicy shop/p: spec.versioning: port 1 of Service db is declared grpc, whose messages have no versions that could be translated: it does not apply there; version the proto packages, and route them by a GRPCRoute',
  ])
  t.strictSame(told(WEB + db('http2') + policy), [])
})
