import t from 'tap'
import { parseObject } from '#resources'

const targetRefs = [{ group: '', kind: 'Service', name: 'web', sectionName: 'https' }]
const validation = { hostname: 'web.example', wellKnownCACertificates: 'System' }

function parse(spec: object, version = 'v1') {
  const metadata = { name: 'p', namespace: 'shop' }
  return parseObject({ apiVersion: `gateway.networking.k8s.io/${version}`, kind: 'BackendTLSPolicy', metadata, spec })
}

t.test('a BackendTLSPolicy of both versions', async (t) => {
  for (const version of ['v1', 'v1alpha3']) {
    t.match(parse({ targetRefs, validation }, version), {
      kind: 'object',
      problems: [],
      object: { kind: 'BackendTLSPolicy' },
    })
  }
})

t.test('what does not fit is told by its field, and its Services are known nevertheless', async (t) => {
  const ca = [{ kind: 'ConfigMap', name: 'roots' }]
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ targetRefs }, /^spec.validation: is missing; until it is mended requests to its Services get 503/],
    [
      { targetRefs, validation: { hostname: 'a.b' } },
      /needs either caCertificateRefs or wellKnownCACertificates: System/,
    ],
    [{ targetRefs, validation: { ...validation, caCertificateRefs: ca } }, /needs either/],
    [{ targetRefs, validation: { ...validation, wellKnownCACertificates: 'Mine' } }, /expected "?System"?/],
    [{ targetRefs, validation: { ...validation, hostname: '*.a' } }, /spec.validation.hostname: expected a host name/],
    [{ targetRefs, validation: { ...validation, hostname: '10.0.0.1' } }, /got the IP address/],
    [
      { targetRefs, validation: { ...validation, subjectAltNames: [{ type: 'URI', hostname: 'a.b' }] } },
      /type URI needs the field uri/,
    ],
    [
      {
        targetRefs,
        validation: { ...validation, subjectAltNames: [{ type: 'Hostname', hostname: 'a.b', uri: 'a:b' }] },
      },
      /hostname only/,
    ],
    [{ targetRefs, validation, options: {} }, /spec.options: is not supported/],
    [
      { targetRefs: [...targetRefs, { kind: 'Gateway', name: 'g' }], validation },
      /only Services are backends here, got Gateway/,
    ],
  ]
  for (const [spec, expected] of cases) {
    const outcome = parse(spec)
    t.match(
      'problems' in outcome ? outcome.problems.map(({ field, message }) => `${field}: ${message}`).join('\n') : '',
      expected,
    )
    t.match(outcome, { kind: 'object', object: { invalid: String, services: ['web'] } })
  }
})
