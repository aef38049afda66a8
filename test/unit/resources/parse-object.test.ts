import t from 'tap'
import { objectKey, parseObject, renderProblem } from '#resources'
import { objectOf, outcomeOf, policy, problemsOf, route } from './samples.ts'

t.test(
  'What kubectl prints of a pod, a Service and an EndpointSlice is accepted, unknown fields and nulls included',
  (t) => {
    const pod = objectOf(`
apiVersion: v1
kind: Pod
metadata:
  name: web-7d9f-x
  namespace: shop
  uid: 0c2d
  creationTimestamp: null
  managedFields: [{ manager: kubectl, fieldsV1: { "f:metadata": {} } }]
  labels: { app: web, pod-template-hash: 7d9f }
  ownerReferences: [{ apiVersion: apps/v1, kind: ReplicaSet, name: web-7d9f, controller: true, blockOwnerDeletion: true, uid: u }]
spec:
  nodeName: a
  serviceAccountName: web
  tolerations: [{ key: k, operator: Exists, tolerationSeconds: 300 }]
  containers: [{ name: web, image: web, resources: {}, ports: [{ name: http, containerPort: 8080, protocol: TCP }], env: null }]
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ ip: 10.0.0.1 }, { ip: "FD00::1" }]
  conditions: [{ type: Ready, status: "True", lastProbeTime: null }]
`)
    t.match(pod, {
      kind: 'Pod',
      metadata: { uid: '0c2d', ownerReferences: [{ kind: 'ReplicaSet' }] },
      spec: { hostNetwork: false },
    })
    t.notOk('creationTimestamp' in pod.metadata, 'a null is an absent field')
    t.equal(objectKey(pod), '/Pod:shop/web-7d9f-x')
    const service = objectOf(`
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1]
  internalTrafficPolicy: Cluster
  sessionAffinity: None
  ports: [{ name: http, port: 80, targetPort: http, protocol: TCP, nodePort: 30000 }]
  selector: null
status: { loadBalancer: {} }
`)
    t.match(service, { spec: { ports: [{ port: 80, targetPort: 'http' }], selector: {} } })
    const slice = objectOf(`
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, namespace: shop, generateName: web- }
addressType: IPv4
endpoints: [{ addresses: [10.0.0.1], conditions: { ready: null, serving: true }, nodeName: a, zone: z, hints: { forZones: [{ name: z }] } }]
ports: null
`)
    t.match(slice, { endpoints: [{ addresses: ['10.0.0.1'], conditions: { serving: true } }], ports: [] })
    t.end()
  },
)

t.test('Kinds that do not concern the mesh are ignored silently', (t) => {
  for (const [apiVersion, kind] of [
    ['v1', 'Secret'],
    ['apps/v1', 'Deployment'],
    ['serving.knative.dev/v1', 'Service'],
    ['policy.linkerd.io/v1alpha1', 'AuthorizationPolicy'],
    ['policy.linkerd.io/v1beta1', 'HTTPRoute'],
    ['gateway.networking.k8s.io/v1', 'Gateway'],
    ['gateway.networking.k8s.io/v1alpha2', 'UDPRoute'],
    ['networking.istio.io/v1', 'Sidecar'],
  ]) {
    t.strictSame(parseObject({ apiVersion, kind }), { kind: 'ignored' }, `${apiVersion} ${kind}`)
  }
  t.end()
})

t.test('A kind misspelt in a group that is read, or put into the wrong group, is an error', (t) => {
  const known = 'AuthorizationPolicy, PeerAuthentication, RequestAuthentication, TrafficPolicy'
  const cases: [string, string, string][] = [
    [
      'weir.dev/v1alpha1',
      'AuthorisationPolicy',
      'kind: unknown kind "AuthorisationPolicy" in weir.dev; did you mean AuthorizationPolicy?',
    ],
    ['v1', 'Servce', 'kind: unknown kind "Servce" in v1; did you mean Service?'],
    ['weir.dev/v1alpha1', 'Banana', `kind: unknown kind "Banana" in weir.dev: known are ${known};`],
    [
      'security.istio.io/v1',
      'RequestAuthenication',
      'kind: unknown kind "RequestAuthenication" in security.istio.io; did you mean RequestAuthentication?',
    ],
    [
      'gateway.networking.k8s.io/v1',
      'HttpRoute',
      'kind: unknown kind "HttpRoute" in gateway.networking.k8s.io; did you mean HTTPRoute?',
    ],
    [
      'authentication.istio.io/v1',
      'RequestAuthentication',
      'apiVersion: RequestAuthentication is not in the API group "authentication.istio.io"; did you mean security.istio.io/v1?',
    ],
    [
      'networking.k8s.io/v1',
      'HTTPRoute',
      'apiVersion: HTTPRoute is not in the API group "networking.k8s.io"; did you mean gateway.networking.k8s.io/v1?',
    ],
    ['v1', 'TCPRoute', 'apiVersion: TCPRoute is not in the API group "v1"; did you mean gateway.networking.k8s.io/v1?'],
    [
      'weir.dev/v1alpha1',
      'HTTPRoute',
      'apiVersion: HTTPRoute is not in the API group "weir.dev"; did you mean gateway.networking.k8s.io/v1?',
    ],
  ]
  for (const [apiVersion, kind, text] of cases) {
    const [line, ...more] = problemsOf(`{ apiVersion: ${apiVersion}, kind: ${kind}, metadata: { name: a } }`)
    t.equal(line, `${kind} default/a: ${text} ${text.endsWith(';') ? 'it' : 'It'} is not in force`)
    t.strictSame(more, [])
  }
  t.end()
})

t.test('No kind of the core group is taken for a misspelt one of ours', (t) => {
  const others =
    'Binding ComponentStatus ConfigMap Endpoints Event LimitRange PersistentVolume PersistentVolumeClaim PodTemplate ' +
    'ReplicationController ResourceQuota Secret PodList NodeList'
  for (const kind of others.split(' ')) {
    t.strictSame(problemsOf(`{ apiVersion: v1, kind: ${kind}, metadata: { name: a } }`), [], kind)
  }
  t.end()
})

t.test('A route or policy that does not validate says what comes of it', (t) => {
  const lines = (text: string) => {
    const outcome = outcomeOf(text)
    return outcome.kind === 'object' ? outcome.problems.map(renderProblem) : []
  }
  t.match(lines(route('rules: 7')), [/^HTTPRoute shop\/web: spec\.rules: expected .* reach it get 500$/])
  t.match(lines(policy('action: NO')), [/^AuthorizationPolicy shop\/web: spec\.action: .* denies all that it selects$/])
  t.end()
})

t.test('What is no Kubernetes object is told apart from one that does not validate', (t) => {
  const cases: [string, string][] = [
    ['just text', 'expected a Kubernetes object (a mapping), got string'],
    ['[1]', 'expected a Kubernetes object (a mapping), got a list'],
    ['{ kind: Pod }', 'apiVersion: is missing'],
    ['{ apiVersion: v1 }', 'kind: is missing'],
    ['{ apiVersion: 1, kind: Pod }', 'apiVersion: expected a string such as v1, got number'],
    ['{ apiVersion: v1, kind: Pod }', 'Pod: metadata.name: is missing'],
  ]
  for (const [text, line] of cases) {
    t.equal(outcomeOf(text).kind, 'unrecognisable', text)
    t.strictSame(problemsOf(text), [line])
  }
  const rejected = outcomeOf('{ apiVersion: v1, kind: Pod, metadata: { name: a }, spec: { nodeName: 7 } }')
  t.match(rejected, { kind: 'rejected', key: '/Pod:default/a' })
  t.end()
})

t.test('A rejected object names field, expectation and remedy', (t) => {
  const cases: [string, string][] = [
    [
      '{ apiVersion: v1, kind: Pod, metadata: { name: a, annotations: { weir.dev/exclude-inbound-ports: 80 } } }',
      'Pod default/a: metadata.annotations[weir.dev/exclude-inbound-ports]: expected a string, got number; put it in quotes',
    ],
    [
      '{ apiVersion: v1, kind: Pod, metadata: { name: a }, status: { podIP: 10.0.0 } }',
      'Pod default/a: status.podIP: expected an IP address, got "10.0.0"',
    ],
    [
      '{ apiVersion: v1, kind: Service, metadata: { name: a }, spec: { ports: [{ port: http }] } }',
      'Service default/a: spec.ports[0].port: expected a number, got string',
    ],
    [
      '{ apiVersion: v1, kind: Service, metadata: { name: a }, spec: { clusterIP: none } }',
      'Service default/a: spec.clusterIP: expected an IP address or None, got "none"',
    ],
    ['{ apiVersion: v2, kind: Node, metadata: { name: a } }', 'Node a: apiVersion: v2 is not known for Node: use v1'],
    [
      '{ apiVersion: discovery.k8s.io/v1beta1, kind: EndpointSlice, metadata: { name: a }, addressType: IPv4 }',
      'EndpointSlice default/a: apiVersion: discovery.k8s.io/v1beta1 is not known for EndpointSlice: use discovery.k8s.io/v1',
    ],
  ]
  for (const [text, line] of cases) t.strictSame(problemsOf(text), [line])
  t.end()
})

t.test('A key that JavaScript treats as special stays a plain label', (t) => {
  const object = objectOf(
    '{ apiVersion: v1, kind: Namespace, metadata: { name: a, labels: { __proto__: x, constructor: y } } }',
  )
  t.strictSame(Object.entries(object.metadata.labels), [
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ])
  t.equal(Object.getPrototypeOf(object.metadata.labels), Object.prototype)
  t.end()
})

t.test('A problem is one line, whatever it quotes', (t) => {
  const line = renderProblem({
    file: 'a.yaml',
    document: 2,
    item: 3,
    object: 'Pod a/b',
    field: 'spec',
    message: 'got\n"x"',
  })
  t.equal(line, 'a.yaml (document 2, item 3): Pod a/b: spec: got "x"')
  t.equal(renderProblem({ file: 'a.yaml', message: 'is empty' }), 'a.yaml: is empty')
  t.end()
})
