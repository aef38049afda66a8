import t from 'tap'
import { compile, manifest, pod } from './compile-samples.ts'

function service(name: string, spec: string): string {
  return manifest('v1', 'Service', name, `spec: ${spec}`)
}

const WEB = pod('web-1', '10.0.0.1', {
  more: 'labels: { app: web }',
  spec: 'containers: [{ ports: [{ name: http, containerPort: 8080 }, { name: dns, containerPort: 53, protocol: UDP }] }]',
})

t.test('A Service without slices gets its endpoints from its selector, named target ports included', (t) => {
  const text =
    WEB +
    pod('web-2', '10.0.0.2', {
      more: 'labels: { app: web }',
      spec: 'containers: [{ ports: [{ name: http, containerPort: 9090 }] }]',
      status: 'conditions: [{ type: Ready, status: "False" }]',
    }) +
    pod('web-3', '10.0.0.3', { more: 'labels: { app: web }', status: 'phase: Failed' }) +
    pod('web-4', '10.0.0.4', { more: 'deletionTimestamp: 2026-01-01T00:00:00Z, labels: { app: web }' }) +
    pod('db', '10.0.0.9', { more: 'labels: { app: db }' }) +
    service(
      'web',
      '{ clusterIP: 10.96.0.1, selector: { app: web }, ports: [{ name: http-main, port: 80, targetPort: http }, { name: raw, port: 81 }, { name: u, port: 82, protocol: UDP }] }',
    )
  t.strictSame(compile(text).get('service', 'web'), {
    kind: 'service',
    namespace: 'shop',
    name: 'web',
    addresses: ['10.96.0.1'],
    ports: [
      { name: 'http-main', port: 80, protocol: 'http' },
      { name: 'raw', port: 81, protocol: 'unknown' },
    ],
    endpoints: {
      80: [
        { address: '10.0.0.1', port: 8080, ready: true, terminating: false, workload: 'shop/web-1' },
        { address: '10.0.0.2', port: 9090, ready: false, terminating: false, workload: 'shop/web-2' },
      ],
      81: [
        { address: '10.0.0.1', port: 81, ready: true, terminating: false, workload: 'shop/web-1' },
        { address: '10.0.0.2', port: 81, ready: false, terminating: false, workload: 'shop/web-2' },
        { address: '10.0.0.4', port: 81, ready: false, terminating: true, workload: 'shop/web-4' },
      ],
    },
    sliced: false,
  })
  t.end()
})

t.test('publishNotReadyAddresses makes every selected pod ready', (t) => {
  const unready = pod('web-1', '10.0.0.1', { more: 'labels: { app: web }', status: 'conditions: []' })
  const world = compile(
    unready + service('web', '{ selector: { app: web }, publishNotReadyAddresses: true, ports: [{ port: 80 }] }'),
  )
  t.match(world.get('service', 'web'), { endpoints: { 80: [{ ready: true }] } })
  t.end()
})

t.test('Endpoints are of the families of the Service', (t) => {
  const dual = pod('web-1', '10.0.0.1', {
    more: 'labels: { app: web }',
    status: 'podIPs: [{ ip: 10.0.0.1 }, { ip: fd00::1 }]',
  })
  const addresses = (spec: string): unknown => {
    const found = compile(dual + service('web', `{ ${spec}, selector: { app: web }, ports: [{ port: 80 }] }`)).get(
      'service',
      'web',
    )
    return found?.kind === 'service' ? found.endpoints['80']?.map(({ address }) => address) : undefined
  }
  t.strictSame(addresses('clusterIP: 10.96.0.1'), ['10.0.0.1'])
  t.strictSame(addresses('clusterIP: FD96::1'), ['fd00::1'])
  t.strictSame(addresses('clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1, fd96::1]'), ['10.0.0.1', 'fd00::1'])
  t.strictSame(addresses('clusterIP: None'), ['10.0.0.1', 'fd00::1'])
  t.strictSame(addresses('clusterIP: None, ipFamilies: [IPv6]'), ['fd00::1'])
  t.end()
})

t.test('EndpointSlices win over the selector, and find their pods by reference or by address', (t) => {
  const slice = (name: string, body: string): string =>
    `---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: { name: ${name}, namespace: shop, labels: { kubernetes.io/service-name: web } }\n${body}\n`
  const text =
    WEB +
    service(
      'web',
      '{ selector: { app: web }, ports: [{ name: http, port: 80, targetPort: http }, { name: other, port: 81 }] }',
    ) +
    slice(
      'web-a',
      'addressType: IPv4\nports: [{ name: http, port: 8080 }, { name: http, port: 1, protocol: UDP }]\nendpoints: [{ addresses: [10.0.0.7], targetRef: { kind: Pod, name: web-7 } }, { addresses: [10.0.0.1, 10.0.0.8], conditions: { ready: false, terminating: true } }]',
    ) +
    slice(
      'web-b',
      'addressType: IPv6\nports: [{ name: http, port: 8080 }]\nendpoints: [{ addresses: ["FD00::0:1"] }, { addresses: ["fd00::1"] }]',
    ) +
    slice('web-c', 'addressType: FQDN\nports: [{ name: http, port: 8080 }]\nendpoints: [{ addresses: [example.org] }]')
  t.match(compile(text).get('service', 'web'), {
    sliced: true,
    endpoints: {
      80: [
        { address: '10.0.0.1', port: 8080, ready: false, terminating: true, workload: 'shop/web-1' },
        { address: '10.0.0.7', port: 8080, ready: true, terminating: false, workload: 'shop/web-7' },
        { address: 'fd00::1', port: 8080, ready: true },
      ],
      81: [],
    },
  })
  const found = compile(text).get('service', 'web')
  t.equal(found?.kind === 'service' && found.endpoints['80']?.length, 3)
  t.strictSame(found?.kind === 'service' && found.endpoints['81'], [], 'no slice has this port')
  t.end()
})

t.test('The protocol is that of appProtocol, else of the name’s prefix, else to be detected', (t) => {
  const cases: [string, string][] = [
    ['name: http', 'http'],
    ['name: http-web', 'http'],
    ['name: grpc-web-x', 'http'],
    ['name: grpc-api', 'grpc'],
    ['name: http2', 'http2'],
    ['name: https-x', 'tls'],
    ['name: tcp', 'tcp'],
    ['name: httpish', 'unknown'],
    ['name: web', 'unknown'],
    ['name: tcp, appProtocol: kubernetes.io/h2c', 'http2'],
    ['name: http, appProtocol: kubernetes.io/ws', 'http'],
    ['name: http, appProtocol: example.org/mine', 'unknown'],
    ['appProtocol: HTTP', 'http'],
  ]
  for (const [port, protocol] of cases) {
    t.match(
      compile(service('web', `{ ports: [{ port: 80, ${port} }] }`)).get('service', 'web'),
      { ports: [{ protocol }] },
      port,
    )
  }
  t.end()
})

t.test('Headless and external Services have no address, a selectorless one no endpoints', (t) => {
  t.match(compile(service('web', '{ clusterIP: None, ports: [{ port: 80 }] }')).get('service', 'web'), {
    addresses: [],
    endpoints: { 80: [] },
  })
  t.match(
    compile(
      WEB +
        service('web', '{ type: ExternalName, externalName: x.org, selector: { app: web }, ports: [{ port: 80 }] }'),
    ).get('service', 'web'),
    { addresses: [], endpoints: { 80: [] } },
  )
  t.end()
})

t.test('What a name means is told: headless, an alias, a hostname below its own Service only', (t) => {
  const named = (name: string, ip: string, subdomain: string) =>
    pod(name, ip, { more: 'labels: { app: web }', spec: `hostname: ${name}, subdomain: ${subdomain}` })
  const pods = named('Web-0', '10.0.0.1', 'web') + named('web-1', '10.0.0.2', 'other')
  const headless = compile(pods + service('web', '{ clusterIP: None, selector: { app: web }, ports: [{ port: 80 }] }'))
  t.match(headless.get('service', 'web'), {
    headless: true,
    endpoints: { 80: [{ address: '10.0.0.1', hostname: 'web-0' }, { hostname: undefined }] },
  })
  const slice = manifest(
    'discovery.k8s.io/v1',
    'EndpointSlice',
    'web-a',
    'addressType: IPv4\nports: [{ port: 80 }]\nendpoints: [{ addresses: [10.0.0.9], hostname: db-0 }, { addresses: [10.0.1.0], hostname: a.b }]',
  ).replace('namespace: shop', 'namespace: shop, labels: { kubernetes.io/service-name: web }')
  t.match(compile(slice + service('web', '{ clusterIP: None, ports: [{ port: 80 }] }')).get('service', 'web'), {
    endpoints: {
      80: [
        { address: '10.0.0.9', hostname: 'db-0' },
        { address: '10.0.1.0', hostname: undefined },
      ],
    },
  })
  t.match(compile(service('out', '{ type: ExternalName, externalName: X.Example. }')).get('service', 'out'), {
    externalName: 'x.example',
    headless: undefined,
  })
  t.match(compile(service('web', '{ clusterIP: 10.96.0.1 }')).get('service', 'web'), { headless: undefined })
  t.end()
})

t.test('A ClusterIP belongs to one Service, the first by name', (t) => {
  const { get, lines } = compile(service('b', '{ clusterIP: 10.96.0.1 }') + service('a', '{ clusterIP: 10.96.0.1 }'))
  t.match(get('service', 'a'), { addresses: ['10.96.0.1'] })
  t.match(get('service', 'b'), { addresses: [] })
  t.strictSame(lines, [
    'Service shop/b: spec.clusterIPs: 10.96.0.1 is already the address of Service shop/a, which keeps it: give each Service its own',
  ])
  t.end()
})

t.test('A pod in quarantine is an endpoint that nobody is sent to, whatever else says that it is ready', (t) => {
  const cut = pod('web-1', '10.0.0.1', { more: 'labels: { app: web }, annotations: { weir.dev/quarantine: "true" }' })
  const selected = service('web', '{ selector: { app: web }, publishNotReadyAddresses: true, ports: [{ port: 80 }] }')
  t.match(compile(cut + selected).get('service', 'web'), {
    endpoints: { 80: [{ address: '10.0.0.1', ready: false, workload: 'shop/web-1' }] },
  })
  const slice = (more: string) =>
    manifest(
      'discovery.k8s.io/v1',
      'EndpointSlice',
      'web-x',
      `addressType: IPv4\nports: [{ port: 80 }]\nendpoints: [{ addresses: [10.0.0.1], conditions: { ready: true }${more} }]`,
      'shop, labels: { kubernetes.io/service-name: web }',
    )
  for (const more of ['', ', targetRef: { kind: Pod, name: web-1 }']) {
    t.match(
      compile(cut + selected + slice(more)).get('service', 'web'),
      { endpoints: { 80: [{ ready: false }] } },
      more,
    )
  }
  t.end()
})
