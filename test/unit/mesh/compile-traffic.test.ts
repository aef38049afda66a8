import t from 'tap'
import { compile, manifest } from './compile-samples.ts'

const OURS = 'weir.dev/v1alpha1'
const policy = (spec: string, name = 'p') =>
  manifest(OURS, 'TrafficPolicy', name, `spec: { targetRefs: [{ kind: Service, name: web }], ${spec} }`, 'shop')

t.test('defaults are filled in, times are in milliseconds, header names in lower case', async (t) => {
  const spec =
    'retry: { codes: [503, 503] }, outlierDetection: {}, rateLimits: [{ requests: 5, by: { type: Header, name: X-User } }], faults: { delay: { duration: 1m30s } }'
  t.match(compile(policy(spec)).get('traffic-policy', 'p'), {
    services: ['web'],
    retry: { attempts: 2, codes: [503], connectFailure: false, reset: false, backoffMs: 25, maxBackoffMs: 250 },
    outliers: {
      consecutiveErrors: 5,
      intervalMs: 10_000,
      baseEjectionMs: 30_000,
      maxEjectionMs: 300_000,
      maxEjectedPercent: 10,
      panicPercent: 50,
    },
    rateLimits: [{ key: { type: 'Header', name: 'x-user' }, requests: 5, intervalMs: 1_000, burst: 5 }],
    faults: { delay: { percent: 100, ms: 90_000 } },
  })
})

t.test('health checks and locality weights become what proxies read', async (t) => {
  const checks =
    'healthChecks: [{ type: HTTP, http: { statuses: ["204", "300-399"] } }, { type: GRPC }, { type: TCP, tcp: { send: "Grüß\\r\\n" }, interval: 1s, jitterPercent: 50 }]'
  const weights = 'loadBalancing: { locality: { weights: [{ from: eu-1/a, to: { eu-1/a: 80, us/*: 20 } }] } }'
  const rest = { intervalMs: 10_000, jitterMs: 1_000, timeoutMs: 2_000, unhealthyThreshold: 3, healthyThreshold: 1 }
  const statuses = [
    { from: 204, to: 204 },
    { from: 300, to: 399 },
  ]
  t.match(compile(policy(`${checks}, ${weights}`)).get('traffic-policy', 'p'), {
    healthChecks: [
      { ...rest, probe: { type: 'HTTP', path: '/', statuses } },
      { ...rest, probe: { type: 'GRPC', service: '' } },
      { intervalMs: 1_000, jitterMs: 500, probe: { type: 'TCP', send: 'Gr\u00c3\u00bc\u00c3\u009f\r\n' } },
    ],
    balancing: {
      locality: {
        weights: [
          {
            from: { region: 'eu-1', zone: 'a' },
            to: [
              { place: { region: 'eu-1', zone: 'a' }, percent: 80 },
              { place: { region: 'us' }, percent: 20 },
            ],
          },
        ],
      },
    },
  })
})

t.test('one that does not validate says so and nothing else', async (t) => {
  t.strictSame(compile(policy('retry: {}')).get('traffic-policy', 'p'), {
    kind: 'traffic-policy',
    namespace: 'shop',
    name: 'p',
    createdAt: '',
    services: ['web'],
    rateLimits: [],
    invalid: 'spec.retry: needs codes, failures or grpcStatuses: nothing would be retried',
  })
})

t.test('of two for one Service the first applies, and the other is told', async (t) => {
  const { lines } = compile(policy('', 'b') + policy('', 'a'))
  t.same(lines, [
    'TrafficPolicy shop/b: spec.targetRefs[0]: TrafficPolicy a is older and applies to Service web instead: merge them',
  ])
})

t.test('a route’s retry takes its failures with it', async (t) => {
  const route = manifest(
    'gateway.networking.k8s.io/v1',
    'HTTPRoute',
    'r',
    'spec: { parentRefs: [{ group: "", kind: Service, name: web }], rules: [{ retry: { codes: [500], backoff: 100ms } }] }',
    'shop',
  )
  t.match(compile(route).get('http-route', 'r'), {
    rules: [
      {
        retry: {
          attempts: 2,
          codes: [500],
          connectFailure: true,
          reset: true,
          timeout: true,
          backoffMs: 100,
          maxBackoffMs: 1_000,
        },
      },
    ],
  })
})

t.test('what tells of a version is looked for in lower case, media types without spaces', async (t) => {
  const spec =
    'versioning: { default: "1", versions: [{ name: "1", match: [{ header: { name: Api-Version, value: "V1" } }, { mediaType: "Application/JSON; Version=A" }] }] }'
  t.match(compile(policy(spec)).get('traffic-policy', 'p'), {
    versioning: {
      default: '1',
      unknown: 'Pass',
      maxBodyBytes: 1024 * 1024,
      versions: [
        {
          name: '1',
          matches: [
            { type: 'Header', name: 'api-version', value: 'V1' },
            { type: 'MediaType', mediaType: 'application/json', parameters: [{ name: 'version', value: 'a' }] },
          ],
        },
      ],
    },
  })
})

t.test('a translation is compiled to what proxies carry out', async (t) => {
  const spec = `versioning: { versions: [{ name: "1", match: [{ pathPrefix: /v1 }],
    deprecation: { since: "2026-01-01T01:00:00.5+01:00", sunset: "2027-01-01T00:00:00Z", link: "https://a.b/" },
    request: { paths: [{ prefix: /v1, to: /v2 }], headers: { rename: [{ from: X-Old, to: X-New }], remove: [X-Gone] },
      body: [{ rename: { path: "/a~1b/*/c", to: d } }, { remove: /x/0 }, { default: { path: /e, value: { f: 1 } } }] },
    response: { body: [{ move: { from: /a, to: /b } }, { set: { path: /v, value: null } }] } }] }`
  t.match(compile(policy(spec)).get('traffic-policy', 'p'), {
    versioning: {
      default: undefined,
      versions: [
        {
          deprecation: {
            deprecation: '@1767225600',
            sunset: 'Fri, 01 Jan 2027 00:00:00 GMT',
            link: '<https://a.b/>; rel="deprecation"',
          },
          request: {
            prefixes: [{ from: '/v1', to: '/v2' }],
            headers: { rename: [{ from: 'x-old', to: 'X-New' }], set: [], replace: [], remove: ['x-gone'] },
            body: [
              { type: 'Rename', path: ['a/b', null, 'c'], to: 'd' },
              { type: 'Remove', path: ['x', '0'] },
              { type: 'Default', path: ['e'], value: '{"f":1}' },
            ],
          },
          response: {
            body: [
              { type: 'Move', from: ['a'], to: ['b'] },
              { type: 'Set', path: ['v'], value: 'null' },
            ],
            errorBody: [],
          },
        },
      ],
    },
  })
})
