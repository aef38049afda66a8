/** Which requests and connections a tap tells of. */
import t from 'tap'
import type { TapFilter } from '#contract'
import { type AccessEdgeDescription, AccessRecord } from '#telemetry'
import type { HttpExchange } from '../../../src/proxy/http-exchange.ts'
import { TapMatcher } from '../../../src/proxy/tap-filter.ts'
import { NO_FILTER } from './fake-tap.ts'

const EDGE: AccessEdgeDescription = {
  source: 'shop/web-5d9c-x1',
  sourceIdentity: 'spiffe://cluster.local/ns/shop/sa/web',
  destination: 'stock/db-0',
  destinationIdentity: 'spiffe://cluster.local/ns/stock/sa/db',
  destinationService: 'api.stock.svc.cluster.local',
  protocol: 'http',
  direction: 'outbound',
  reporter: 'both',
}
const OWNERS: Readonly<Record<string, string>> = { 'shop/web-5d9c-x1': 'web', 'stock/db-0': 'db' }

function fits(
  filter: Partial<TapFilter>,
  changes: { edge?: Partial<AccessEdgeDescription>; path?: string; record?: Partial<AccessRecord> } = {},
): boolean {
  const record = Object.assign(new AccessRecord(), {
    sourceAddress: '10.1.0.2',
    upstream: '10.1.0.9:5432',
    status: 200,
    durationMs: 3,
    ...changes.record,
  })
  const exchange = {
    method: 'GET',
    path: changes.path ?? '/reviews/1',
    header: (name: string) => (name === 'x-canary' ? 'yes' : undefined),
  } as unknown as HttpExchange
  const matcher = new TapMatcher({ ...NO_FILTER, ...filter }, (pod) => OWNERS[pod])
  return matcher.request({ ...EDGE, ...changes.edge }, record, exchange)
}

t.test(
  'an end is a pod, its workload, with or without its namespace, an address, an identity or a Service',
  async (t) => {
    for (const from of [...['web-5d9c-x1', 'shop/web-5d9c-x1', 'web', 'shop/web', '10.1.0.2', EDGE.sourceIdentity]]) {
      t.ok(fits({ from }), from)
      t.ok(fits({ end: from }), `either end: ${from}`)
      t.notOk(fits({ to: from }), `not the other: ${from}`)
    }
    for (const to of [
      'db-0',
      'db',
      'stock/db',
      '10.1.0.9',
      '10.1.0.9:5432',
      'api',
      'stock/api',
      EDGE.destinationService,
    ]) {
      t.ok(fits({ to }), to)
      t.notOk(fits({ from: to }), `not the other: ${to}`)
    }
    for (const to of ['b', 'db-', 'shop/db', 'ap', 'shop/api', '10.1.0.99', '10.1.0.9:54', 'unknown', 'api.shop']) {
      t.notOk(fits({ to }), to)
    }
    t.ok(fits({ from: 'unknown' }, { edge: { source: '', sourceIdentity: '' } }))
    t.ok(fits({ to: 'fd00::9' }, { record: { upstream: '[fd00::9]:80' } }))
    t.ok(fits({ from: 'fd00::9' }, { record: { sourceAddress: 'fd00::9' } }))
  },
)

t.test('a namespace is of either end, or of what was asked for', async (t) => {
  t.same(
    ['shop', 'stock', 'sto', 'other'].map((namespace) => fits({ namespace })),
    [true, true, false, false],
  )
  t.ok(fits({ namespace: 'stock' }, { edge: { destination: '' } }), 'by the Service alone')
})

t.test('a Service is named as in the cluster; a host outside by its whole name', async (t) => {
  const outside = { edge: { destinationService: 'api.example.com' } }
  t.same(
    ['api', 'stock/api', 'api.stock.svc.cluster.local', 'stock', 'shop/api'].map((service) => fits({ service })),
    [true, true, true, false, false],
  )
  t.same([fits({ service: 'api' }, outside), fits({ service: 'api.example.com' }, outside)], [false, true])
})

t.test('methods, paths, statuses, flags, durations and headers', async (t) => {
  t.same([fits({ methods: ['PUT', 'GET'] }), fits({ methods: ['POST'] })], [true, false])
  t.same([fits({ pathPrefix: '/reviews' }), fits({ pathPrefix: '/other' })], [true, false])
  t.same([fits({ pathRegex: 'views/[0-9]$' }), fits({ pathRegex: '^views' })], [true, false])
  t.same(
    [
      fits({
        statuses: [
          [404, 404],
          [200, 299],
        ],
      }),
      fits({ statuses: [[500, 599]] }),
    ],
    [true, false],
  )
  t.same([fits({ flags: ['RBAC', '-'] }), fits({ flags: ['UF'] })], [true, false])
  t.same([fits({ minDurationMs: 3 }), fits({ minDurationMs: 3.1 })], [true, false])
  const canary = { name: 'x-canary', value: 'yes' }
  t.same([fits({ headers: [canary] }), fits({ headers: [canary, { name: 'x-b', value: '' }] })], [true, false])
  t.notOk(fits({ pathRegex: '(' }), 'an expression that cannot be read fits nothing')
})

t.test('what is not shown of a path cannot be found out by asking for it', async (t) => {
  const path = '/a;jsessionid=s3cret/b'
  t.notOk(fits({ pathPrefix: '/a;jsessionid=s' }, { path }))
  t.notOk(fits({ pathRegex: 's3' }, { path }))
  t.ok(fits({ pathRegex: '^/a;jsessionid=.*/b$' }, { path }))
})

t.test(
  'connections have no method, path, status or headers; one that has begun neither flags nor a duration',
  async (t) => {
    const record = Object.assign(new AccessRecord(), { durationMs: 10, flags: 'UF' })
    const connection = (filter: Partial<TapFilter>, kind: 'connection' | 'opened' = 'connection') =>
      new TapMatcher({ ...NO_FILTER, ...filter }, () => undefined)[kind](EDGE, record)
    t.ok(connection({ from: 'shop/web-5d9c-x1', flags: ['UF'], minDurationMs: 5 }))
    for (const filter of [
      { methods: ['GET'] },
      { pathPrefix: '/' },
      { pathRegex: '.' },
      { statuses: [[0, 599]] as const },
    ]) {
      t.notOk(connection(filter))
    }
    t.ok(connection({}, 'opened'))
    t.notOk(connection({ flags: ['UF'] }, 'opened'))
    t.notOk(connection({ minDurationMs: 5 }, 'opened'))
  },
)
