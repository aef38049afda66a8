/** The CustomResourceDefinitions of our policies say the same as the parser that judges policies. */
import t from 'tap'
import { parseObject } from '#resources'
import { at, list, objectsIn, readManifests, text } from './manifests.ts'

const definitions = readManifests().filter(({ kind }) => kind === 'CustomResourceDefinition')
const schemaOf = (kind: string) => {
  const definition = definitions.find((one) => text(one, 'spec.names.kind') === kind)
  return at(definition, 'spec.versions[0].schema.openAPIV3Schema')
}

const texts = (name: string, ...values: readonly string[]) => {
  return { [name]: values, [`not${name[0]?.toUpperCase()}${name.slice(1)}`]: values }
}
const targetRefs = [{ group: '', kind: 'Service', name: 'web', namespace: 'shop' }]
const selector = { matchLabels: { app: 'web' } }

const field = { name: 'x-a', value: 'b' }
const translatedHeaders = { rename: [{ from: 'x-b', to: 'x-c' }], set: [field], replace: [field], remove: ['x-d'] }
const bodyRules = [
  { rename: { path: '/a', to: 'b' } },
  { move: { from: '/l/*/a', to: '/l/*/b/c' } },
  { remove: '/l/*' },
  { default: { path: '/d', value: 1 } },
  { set: { path: '/e', value: null } },
]

/** Together they use every field there is. */
const SAMPLES: Readonly<Record<string, readonly object[]>> = {
  AuthorizationPolicy: [
    { targetRef: targetRefs[0], action: 'DENY', rules: [{}] },
    { targetRefs, rules: [{ from: [{ source: texts('serviceAccounts', 'shop/web') }] }] },
    {
      selector,
      action: 'ALLOW',
      rules: [
        {
          from: [
            {
              source: {
                ...texts('principals', 'cluster.local/ns/shop/sa/*'),
                ...texts('requestPrincipals', '*'),
                ...texts('namespaces', 'shop'),
                ...texts('ipBlocks', '10.0.0.0/8'),
                ...texts('remoteIpBlocks', 'fd00::/8'),
              },
            },
          ],
          to: [
            {
              operation: {
                ...texts('hosts', '*.example.com'),
                ...texts('ports', '8080'),
                ...texts('methods', 'GET'),
                ...texts('paths', '/a/{*}/b', '/c*'),
              },
            },
          ],
          when: [{ key: 'source.ip', ...texts('values', '10.0.0.1') }],
        },
      ],
    },
  ],
  PeerAuthentication: [{ selector, mtls: { mode: 'STRICT' }, portLevelMtls: { 8080: { mode: 'DISABLE' } } }],
  RequestAuthentication: [
    { targetRef: targetRefs[0] },
    { targetRefs },
    {
      selector,
      jwtRules: [
        { issuer: 'https://example.com', jwks: '{"keys":[]}' },
        {
          issuer: 'https://example.com',
          audiences: ['a'],
          jwksUri: 'https://example.com/keys',
          fromHeaders: [{ name: 'x-token', prefix: 'Bearer ' }],
          fromParams: ['token'],
          fromCookies: ['token'],
          outputPayloadToHeader: 'x-payload',
          outputClaimToHeaders: [{ header: 'x-user', claim: 'sub' }],
          spaceDelimitedClaims: ['scope'],
          forwardOriginalToken: true,
          timeout: '1m30s',
        },
      ],
    },
  ],
  TrafficPolicy: [
    {
      targetRefs,
      loadBalancing: { algorithm: 'ConsistentHash', hashOn: { type: 'Cookie', name: 'session' } },
      retry: {
        attempts: 3,
        codes: [503],
        failures: ['ConnectFailure', 'Reset', 'Timeout'],
        backoff: { base: '10ms', max: '1s' },
        perTryTimeout: '2s',
        grpcStatuses: ['UNAVAILABLE', 'INTERNAL'],
      },
      retryBudget: { percent: 10, minPerSecond: 5 },
      circuitBreaker: { maxConnections: 100, maxPendingRequests: 10, maxRequests: 50, maxRetries: 3 },
      outlierDetection: {
        consecutiveErrors: 5,
        consecutiveGatewayErrors: 3,
        consecutiveConnectErrors: 2,
        successRate: { minRequests: 100, minEndpoints: 5, stdevFactor: 1900 },
        interval: '10s',
        baseEjectionTime: '30s',
        maxEjectionTime: '5m',
        maxEjectedPercent: 50,
        panicPercent: 50,
      },
      rateLimits: [{ by: { type: 'Header', name: 'x-user' }, requests: 10, interval: '1s', burst: 20 }],
      faults: { delay: { percent: 1, duration: '1s' }, abort: { percent: 1, status: 503 } },
    },
    {
      targetRefs,
      loadBalancing: {
        algorithm: 'RoundRobin',
        slowStart: '30s',
        locality: {
          prefer: ['Node', 'Zone', 'Region'],
          failoverPercent: 70,
          weights: [{ from: 'eu-1', to: { 'eu-1/a': 80, 'eu-1/b': 20 } }],
        },
      },
      healthChecks: [
        {
          type: 'HTTP',
          http: { path: '/healthz', host: 'web.shop', statuses: ['200-299'] },
          interval: '5s',
          jitterPercent: 10,
          timeout: '1s',
          unhealthyThreshold: 2,
          healthyThreshold: 2,
        },
        { type: 'GRPC', grpc: { service: 'shop.Cart', host: 'web.shop' } },
        { type: 'TCP', tcp: { send: 'PING\r\n', expect: '+PONG' } },
      ],
      versioning: {
        default: '1',
        unknown: 'Refuse',
        maxBodyBytes: 1024,
        versions: [
          {
            name: '1',
            match: [
              { pathPrefix: '/v1' },
              { header: { name: 'api-version', value: '1' } },
              { mediaType: 'application/json; version=1' },
            ],
            deprecation: { since: '2026-01-01T00:00:00Z', sunset: '2027-01-01T00:00:00+01:00', link: 'https://a.b/c' },
            request: {
              paths: [{ prefix: '/v1', to: '/v2' }],
              query: { rename: [{ from: 'a', to: 'b' }], remove: ['c'], default: [{ name: 'd', value: '' }] },
              headers: translatedHeaders,
              body: bodyRules,
            },
            response: { headers: translatedHeaders, body: bodyRules, errorBody: bodyRules },
          },
        ],
      },
    },
  ],
}

/** Names of the fields that a value has, each with the names before it; keys of maps are one field, `*`. */
function fieldsOf(value: unknown, schema: unknown, path: string, found: Set<string>): void {
  if (Array.isArray(value)) {
    for (const item of value) fieldsOf(item, at(schema, 'items'), `${path}[]`, found)
  } else if (typeof value === 'object' && value !== null) {
    const values = at(schema, 'additionalProperties')
    for (const [name, item] of Object.entries(value)) {
      const inner = `${path}.${values === undefined ? name : '*'}`
      found.add(inner)
      fieldsOf(item, values ?? at(schema, `properties.${name}`), inner, found)
    }
  }
}

function fieldsOfSchema(schema: unknown, path: string, found: Set<string>): void {
  if (at(schema, 'items') !== undefined) fieldsOfSchema(at(schema, 'items'), `${path}[]`, found)
  const values = at(schema, 'additionalProperties')
  for (const [name, inner] of Object.entries({
    ...(at(schema, 'properties') ?? {}),
    ...(values ? { '*': values } : {}),
  })) {
    found.add(`${path}.${name}`)
    fieldsOfSchema(inner, `${path}.${name}`, found)
  }
}

for (const [kind, samples] of Object.entries(SAMPLES)) {
  t.test(`${kind}: definition and parser know the same fields`, async (t) => {
    const used = new Set<string>()
    for (const spec of samples) {
      const object = { apiVersion: 'weir.dev/v1alpha1', kind, metadata: { name: 'x', namespace: 'shop' }, spec }
      t.match(parseObject(object), { kind: 'object' })
      fieldsOf(spec, at(schemaOf(kind), 'properties.spec'), 'spec', used)
    }
    const defined = new Set<string>()
    fieldsOfSchema(at(schemaOf(kind), 'properties.spec'), 'spec', defined)
    t.same([...used].sort(), [...defined].sort())
  })
}

t.test('there is a definition for each policy of our group, and for nothing else', async (t) => {
  t.same(definitions.map((one) => text(one, 'spec.names.kind')).sort(), Object.keys(SAMPLES).sort())
  for (const one of definitions) {
    t.equal(one.metadata.name, `${text(one, 'spec.names.plural')}.weir.dev`)
    t.ok(list(one, 'spec.versions[0].additionalPrinterColumns').length > 1)
    t.same(at(one, 'spec.versions[0].subresources'), { status: {} })
  }
})

// The API server establishes a definition only if it is; see its documentation on "structural schemas".
const JUNCTORS = new Set(['allOf', 'anyOf', 'oneOf', 'not'])
const NOT_IN_JUNCTORS = ['type', 'default', 'description', 'additionalProperties', 'nullable']

function structuralErrors(schema: unknown, path = '$', inJunctor = false): readonly string[] {
  if (typeof schema !== 'object' || schema === null) return [`${path} is no schema`]
  const errors: string[] = []
  const anything = 'x-kubernetes-preserve-unknown-fields' in schema
  if (!inJunctor && !anything && !('type' in schema)) errors.push(`${path} has no type`)
  if (inJunctor) errors.push(...NOT_IN_JUNCTORS.filter((name) => name in schema).map((name) => `${path}.${name}`))
  if ('properties' in schema && 'additionalProperties' in schema) errors.push(`${path} has both kinds of properties`)
  for (const [name, inner] of Object.entries(schema)) {
    const place = `${path}.${name}`
    if (name === 'properties') {
      for (const [field, one] of Object.entries(inner as object)) {
        errors.push(...structuralErrors(one, `${place}.${field}`, inJunctor))
      }
    } else if (name === 'items' || name === 'additionalProperties')
      errors.push(...structuralErrors(inner, place, inJunctor))
    else if (JUNCTORS.has(name)) {
      for (const one of Array.isArray(inner) ? inner : [inner]) errors.push(...structuralErrors(one, place, true))
    }
  }
  return errors
}

t.test('the schemas are structural, and every list in them is bounded', async (t) => {
  for (const one of definitions) {
    const schema = at(one, 'spec.versions[0].schema.openAPIV3Schema')
    t.same(structuralErrors(schema), [])
    const spec = at(schema, 'properties.spec')
    for (const [path, node] of objectsIn(spec)) {
      if (node['type'] === 'array') t.type(node['maxItems'], 'number', `${one.metadata.name} ${path}`)
    }
  }
})

t.test('a schema without a type is found', async (t) => {
  t.same(structuralErrors({ type: 'object', properties: { a: { not: { type: 'string' } } } }), [
    '$.properties.a has no type',
    '$.properties.a.not.type',
  ])
})
