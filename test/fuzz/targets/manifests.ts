/** Manifests: any text is objects, or problems in words; the world compiled from it is the same each time. */
import { compileWorld, diffWorld, enrolments } from '#mesh/compile'
import { isInvalid, objectKey, renderProblem } from '#resources'
import { readManifest } from '../../../src/discovery/manifest-file.ts'
import { type FuzzTarget, rule } from '../target.ts'

const WORDS = [
  '---\n',
  '- ',
  '  ',
  ': ',
  '{}',
  '[]',
  '[',
  '{',
  '"',
  "'",
  '|',
  '>-',
  '&a ',
  '*a',
  '<<: *a',
  '!!binary ',
  '~',
  'null',
  'true',
  '-1',
  '1e400',
  '0x10',
  '99999999999999999999',
  '# ',
  '\t',
  '\xff',
  '\xef\xbb\xbf',
  '__proto__: 1\n',
  'constructor',
  'toString',
  'apiVersion: v1\nkind: Pod\n',
  'kind: List\nitems:\n',
  'kind: Service\n',
  'kind: AuthorizationPolicy\n',
  'apiVersion: security.istio.io/v1\n',
  'apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n',
  'apiVersion: weir.dev/v1alpha1\nkind: TrafficPolicy\n',
  'apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n',
  'metadata: { name: web, namespace: shop }\n',
  'name: web\n',
  'namespace: shop\n',
  'labels: { app: web }\n',
  'selector: { app: web }\n',
  'matchLabels: { app: web }\n',
  'spec:\n',
  'status: { podIP: 10.0.0.1 }\n',
  'ports: [{ port: 80, targetPort: web }]\n',
  'rules: [{}]\n',
  'matches: [{ path: { type: RegularExpression, value: "(a+)+$" } }]\n',
  'principals: ["*"]\n',
  'action: DENY\n',
  'weight: 1000001\n',
  'requestTimeout: 1h1s\n',
]

export const manifests: FuzzTarget = {
  name: 'manifests',
  dictionary: WORDS,
  maxBytes: 3000,
  run(input) {
    const reading = readManifest('some.yaml', input)
    const objects = [...(reading.kind === 'applied' ? reading.objects : reading.security).values()]
    for (const problem of reading.problems) {
      rule(
        problem.message !== '' && !renderProblem(problem).includes('\n'),
        () => `a problem in no words, or in many lines: ${JSON.stringify(problem)}`,
      )
    }
    if (reading.kind === 'broken') {
      rule(reading.problems.length > 0, () => 'not applied, and nobody is told why')
      for (const object of objects) rule(object.kind !== 'Pod', () => `${objectKey(object)} came out of a broken file`)
    }
    const one = compileWorld(objects, { trustDomain: 'cluster.local' })
    const other = compileWorld([...objects].reverse(), { trustDomain: 'cluster.local' })
    const { upsert, remove } = diffWorld(one.objects, other.objects)
    rule(upsert.length === 0 && remove.length === 0, () => `depends on the order: ${JSON.stringify([upsert, remove])}`)
    const sent = JSON.parse(JSON.stringify([...one.objects])) as [string, never][]
    rule(diffWorld(one.objects, new Map(sent)).upsert.length === 0, () => 'changes on its way to the proxies')
    enrolments(objects, 'node-1')
    const kinds = objects.map((object) => `${object.kind}${isInvalid(object) ? '!' : ''}`)
    const why = reading.problems[0]?.message.replace(/["\d].*/s, '') ?? ''
    return `${reading.kind} ${[...new Set(kinds)].sort().join()} ${why} ${one.problems.length > 0}`
  },
}
