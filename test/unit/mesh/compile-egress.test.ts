import t from 'tap'
import { parseObject, renderProblem } from '#resources'
import { compile, manifest, pod } from './compile-samples.ts'

const entry = (name: string, spec: string, namespace = 'shop') =>
  manifest('networking.istio.io/v1', 'ServiceEntry', name, `spec: ${spec}`, namespace)
const HTTP = 'ports: [{ number: 80, name: http, protocol: http }]'

t.test('each host of a ServiceEntry is a Service of that name', async (t) => {
  const { get, lines } = compile(
    entry(
      'e',
      '{ hosts: [api.example, "*.example"], addresses: [192.0.2.1, 10.9.0.0/16], endpoints: [{ address: 10.1.1.1, ports: { http: 81 } }], resolution: STATIC, ports: [{ number: 80, name: http, protocol: HTTP, targetPort: 8080 }, { number: 443, name: tls, protocol: HTTPS }], exportTo: [".", away] }',
    ),
  )
  t.same(lines, [])
  t.match(get('service', 'api.example'), {
    addresses: ['192.0.2.1'],
    ports: [
      { port: 80, protocol: 'http' },
      { port: 443, protocol: 'tls' },
    ],
    endpoints: { 80: [{ address: '10.1.1.1', port: 81 }], 443: [{ address: '10.1.1.1', port: 443 }] },
    external: {
      entry: 'e',
      resolution: 'STATIC',
      cidrs: ['10.9.0.0/16', '192.0.2.1/32'],
      namespaces: ['shop', 'away'],
    },
  })
  t.match(get('service', '*.example'), { external: { resolution: 'STATIC' } })
})

t.test('a host that is looked up, or has endpoints, gets an address of its own where it has none', async (t) => {
  const dns = compile(entry('e', `{ hosts: [a.example, b.example], resolution: DNS, ${HTTP} }`))
  const [a, b] = [dns.get('service', 'a.example'), dns.get('service', 'b.example')]
  t.match(a, {
    addresses: [/^240\.240\./, /^2001:2::/],
    endpoints: { 80: [{ address: 'a.example', port: 80, resolve: true }] },
  })
  t.notSame(a, b)
  t.same(
    compile(entry('e', `{ hosts: [a.example], resolution: DNS, ${HTTP} }`)).get('service', 'a.example'),
    a,
    'always the same',
  )
  for (const spec of [`{ hosts: [a.example], ${HTTP} }`, `{ hosts: [a.example], addresses: [10.9.0.0/16], ${HTTP} }`]) {
    t.match(compile(entry('e', spec)).get('service', 'a.example'), { addresses: [] })
  }
})

t.test('what two declare is the older one’s, and a Service keeps its address', async (t) => {
  const service = manifest('v1', 'Service', 'web', 'spec: { clusterIP: 10.96.0.1, ports: [{ port: 80 }] }')
  const spec = `{ hosts: [a.example], addresses: [10.96.0.1], endpoints: [{ address: 10.1.1.1 }], resolution: STATIC, ${HTTP} }`
  const { lines, get } = compile(service + entry('e', spec) + entry('f', spec))
  t.match(get('service', 'a.example'), { external: { entry: 'e' }, addresses: [/^240\./].slice(1) })
  t.match(lines.join('\n'), /ServiceEntry shop\/f: spec.hosts\[0\]: a.example is declared by another ServiceEntry/)
  t.match(lines.join('\n'), /spec.addresses\[0\]: 10.96.0.1 is the address of a Service/)
})

t.test('what does not fit is told by its field', async (t) => {
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ hosts: [] }, /spec.hosts: is an empty list/],
    [{ hosts: ['*'] }, /spec.hosts\[0\]: expected a host name/],
    [{ hosts: ['web.shop.svc.cluster.local'] }, /the cluster’s own Services/],
    [{ resolution: 'DYNAMIC_DNS' }, /spec.resolution: expected NONE, STATIC, DNS or DNS_ROUND_ROBIN/],
    [{ resolution: 'STATIC' }, /needs at least one/],
    [{ resolution: 'STATIC', endpoints: [{ address: 'a.b' }] }, /needs an IP address: use DNS/],
    [{ resolution: 'DNS', hosts: ['*.a.example'] }, /spec.hosts\[0\]: a wildcard cannot be looked up/],
    [{ endpoints: [{ address: '10.0.0.1' }] }, /spec.endpoints: resolution NONE has none/],
    [{ ports: [{ number: 80, protocol: 'MONGO' }] }, /spec.ports\[0\].protocol: expected HTTP/],
    [{ ports: [{ number: 80 }, { number: 80 }] }, /80 is already the number of ports\[0\]/],
    [{ ports: [{ number: 80, targetPort: 81 }] }, /targetPort: has no effect with resolution NONE/],
    [{ addresses: ['a'] }, /spec.addresses\[0\]: expected an IP address or a CIDR block/],
    [{ workloadSelector: {} }, /spec.workloadSelector: is not supported/],
    [{ subjectAltNames: [] }, /spec.subjectAltNames: is not supported/],
    [{ resolution: 'STATIC', endpoints: [{ address: '10.0.0.1', locality: 'a/b' }] }, /locality: is not supported/],
  ]
  for (const [more, expected] of cases) {
    const spec = { hosts: ['a.example'], ports: [{ number: 80 }], ...more }
    const outcome = parseObject({
      apiVersion: 'networking.istio.io/v1',
      kind: 'ServiceEntry',
      metadata: { name: 'e' },
      spec,
    })
    t.equal(outcome.kind, 'rejected')
    t.match('problems' in outcome ? outcome.problems.map(renderProblem).join('\n') : '', expected)
  }
})

t.test('REGISTRY_ONLY: a pod can only be stricter than its namespace', async (t) => {
  const namespace = (word: string) =>
    `---\napiVersion: v1\nkind: Namespace\nmetadata: { name: shop, annotations: { weir.dev/outbound-traffic-policy: ${word} } }\n`
  const own = (word: string) =>
    pod('web', '10.0.0.1', { more: `annotations: { weir.dev/outbound-traffic-policy: ${word} }` })
  const plain = pod('web', '10.0.0.1')
  const cases: readonly (readonly [string, string | undefined])[] = [
    [plain, undefined],
    [own('REGISTRY_ONLY'), 'REGISTRY_ONLY'],
    [own('ALLOW_ANY'), undefined],
    [namespace('REGISTRY_ONLY') + plain, 'REGISTRY_ONLY'],
    [namespace('REGISTRY_ONLY') + own('ALLOW_ANY'), 'REGISTRY_ONLY'],
    [namespace('ALLOW_ANY') + plain, 'ALLOW_ANY'],
    [namespace('ALLOW_ANY') + own('REGISTRY_ONLY'), 'REGISTRY_ONLY'],
    [own('registry'), 'REGISTRY_ONLY'],
  ]
  for (const [text, expected] of cases)
    t.equal((compile(text).get('workload', 'web') as { outbound?: string }).outbound, expected, text)
  t.match(compile(own('registry')).lines, [/expected REGISTRY_ONLY or ALLOW_ANY, got "registry"; REGISTRY_ONLY holds/])
  t.match(compile(own('ALLOW_ANY')).lines, [/has no effect: only its namespace may allow more/])
})
