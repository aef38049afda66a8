import t from 'tap'
import { checkReferences, conditionsOf } from '../../../src/mesh/compile/index.ts'
import { compile, manifest, objectsOf } from './compile-samples.ts'

const GATEWAY = 'gateway.networking.k8s.io/v1'
const WEB = manifest('v1', 'Service', 'web', 'spec: { ports: [{ name: tls, port: 443 }] }')
const route = (kind: string, backends: string, parent = 'name: web') =>
  manifest(
    GATEWAY,
    kind,
    'r',
    `spec: { parentRefs: [{ group: "", kind: Service, ${parent} }], ${kind === 'TLSRoute' ? 'hostnames: [a.example],' : ''} rules: [{ backendRefs: ${backends} }] }`,
  )

for (const [kind, name] of [
  ['TLSRoute', 'tls-route'],
  ['TCPRoute', 'tcp-route'],
] as const) {
  t.test(`${kind}s with a Service as parent are compiled, with their weights`, async (t) => {
    const { get, lines } = compile(WEB + route(kind, '[{ name: web, port: 443, weight: 3 }, { name: x, kind: Odd }]'))
    t.match(get(name, 'r'), {
      parents: [{ service: { namespace: 'shop', name: 'web' } }],
      hostnames: kind === 'TLSRoute' ? ['a.example'] : [],
      rules: [{ backends: [{ weight: 3, service: { name: 'web', port: 443 } }, { invalid: /Odd x is no backend/ }] }],
    })
    t.match(lines, [/backendRefs\[1\]: Odd x is no backend: only Services are; its share of connections is reset/])
    t.equal(compile(route(kind, '[{ name: web }]').replace('Service', 'Gateway')).get(name, 'r'), undefined)
  })

  t.test(`what became of a ${kind} is told in its status`, async (t) => {
    const statusOf = (text: string) => conditionsOf(objectsOf(text)).find((status) => status.kind === kind)
    const parents = (reason: string, refs: string) => ({ parents: [{ conditions: [{ reason }, { reason: refs }] }] })
    t.match(statusOf(WEB + route(kind, '[{ name: web, port: 443 }]')), parents('Accepted', 'ResolvedRefs'))
    t.match(statusOf(WEB + route(kind, '[{ name: no, port: 443 }]')), parents('Accepted', 'BackendNotFound'))
    t.match(
      statusOf(WEB + route(kind, '[{ name: web, port: 1 }]', 'name: w')),
      parents('NoMatchingParent', 'BackendNotFound'),
    )
    const far = statusOf(WEB + route(kind, '[{ name: web, namespace: far, port: 443 }]'))
    t.match(far, parents('Accepted', 'RefNotPermitted'))
    t.match(JSON.stringify(far), `must allow ${kind}s of shop`)
    const invalid = statusOf(WEB + route(kind, '[]'))
    t.match(invalid, {
      parents: [{ conditions: [{ reason: 'UnsupportedValue', message: /its connections are reset/ }] }],
    })
  })

  t.test(`references of a ${kind} that lead nowhere are problems`, async (t) => {
    const problems = checkReferences(
      objectsOf(WEB + route(kind, '[{ name: no, port: 1 }, { name: web, port: 443 }]')),
      'a',
    )
    t.match(problems, [{ message: /Service shop\/no does not exist; its share of connections \(50 %\) is reset/ }])
  })
}
