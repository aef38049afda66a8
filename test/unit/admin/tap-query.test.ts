/** What may be asked of /tap, and how mistakes are told. */
import t from 'tap'
import { parseTapQuery } from '../../../agent/admin/tap-query.ts'
import { FakeBackend } from './fake-backend.ts'

const { snapshot } = new FakeBackend()
const parse = (query: string) => parseTapQuery(new URLSearchParams(query), snapshot, ['x-tenant'])

t.test('nothing is asked for: everything fits, at a rate that an agent bears', async (t) => {
  t.match(parse(''), {
    filter: { end: '', from: '', to: '', methods: [], statuses: [], flags: [], minDurationMs: 0, headers: [] },
    showHeaders: false,
    limit: 0,
    maxPerSecond: 200,
  })
})

t.test('each parameter', async (t) => {
  const query = new URLSearchParams([
    ['from', 'shop/web-1'],
    ['to', 'reviews'],
    ['namespace', 'shop'],
    ['service', 'shop/reviews'],
    ['method', 'get, post'],
    ['path', '/a'],
    ['path-regex', '^/a[0-9]'],
    ['status', '404,5xx,200-204,0'],
    ['flags', 'rbac,none'],
    ['min-duration', '1.5s'],
    ['header', 'X-Canary=yes'],
    ['header', 'x-b=a=b'],
    ['headers', 'true'],
    ['limit', '10'],
    ['rate', '1000'],
  ])
  t.same(parse(query.toString()), {
    filter: {
      end: '',
      from: 'shop/web-1',
      to: 'reviews',
      namespace: 'shop',
      service: 'shop/reviews',
      methods: ['GET', 'POST'],
      pathPrefix: '/a',
      pathRegex: '^/a[0-9]',
      statuses: [
        [404, 404],
        [500, 599],
        [200, 204],
        [0, 0],
      ],
      flags: ['RBAC', '-'],
      minDurationMs: 1500,
      headers: [
        { name: 'x-canary', value: 'yes' },
        { name: 'x-b', value: 'a=b' },
      ],
    },
    showHeaders: true,
    limit: 10,
    maxPerSecond: 1000,
  })
})

t.test('an end is known, or is an address, an identity or nobody', async (t) => {
  const ends = [
    ...['web-1', 'shop/web-1', 'reviews', 'shop/reviews', 'reviews.shop', 'reviews.shop.svc.cluster.local', 'unknown'],
    ...['10.1.2.3', '10.1.2.3:80', 'fd00::1', '[fd00::1]:80', 'spiffe://cluster.local/ns/shop/sa/web'],
  ]
  for (const end of ends) t.type(parse(new URLSearchParams({ end }).toString()), 'object', end)
  for (const end of ['nobody', 'away/web-1', 'web', '10.1.2', 'reviews.sho']) {
    t.match(parse(new URLSearchParams({ end }).toString()), /^No pod, workload or Service /, end)
  }
})

t.test('mistakes are told by the name of the parameter', async (t) => {
  for (const [query, says] of [
    ['colour=red', /^Parameter colour: not known; there are end, from/],
    ['from=web-1&from=web-1', /^Parameter from: given too often/],
    [`path=/${'a'.repeat(600)}`, /^Parameter path: longer than 512 characters/],
    ['namespace=nowhere', /^Parameter namespace: nothing is known of a namespace "nowhere"/],
    ['service=web-1', /^Parameter service: no Service web-1 is known here/],
    ['path=reviews', /^Parameter path: expected what a path begins with/],
    ['path=/a?b', /^Parameter path: without a query/],
    ['path-regex=(', /^Parameter path-regex: /],
    ['status=abc', /^Parameter status: expected such as 404, 5xx or 400-499/],
    ['status=500-400', /^Parameter status: /],
    ['flags=RBCA', /^Parameter flags: no flag "RBCA"; there are -, RBAC/],
    ['method=G ET', /^Parameter method: /],
    ['min-duration=5', /^Parameter min-duration: expected a duration such as 250ms or 2s, got "5"/],
    ['header=x-canary', /^Parameter header: expected NAME=VALUE/],
    ['headers=1', /^Parameter headers: expected true or false/],
    ['limit=0', /^Parameter limit: expected a number from 1/],
    ['rate=1001', /^Parameter rate: expected a number of events a second, from 1 to 1000/],
  ] as const) {
    t.match(parse(query), says, query)
  }
})

t.test('what is not shown is not looked for either', async (t) => {
  for (const name of ['Authorization', 'cookie', 'x_api_key', 'X-Tenant', 'my-token']) {
    const wrong = parse(new URLSearchParams({ header: `${name}=guess` }).toString())
    t.match(wrong, /is not shown, nor looked for$/, name)
    t.notMatch(wrong, /guess/)
  }
})
