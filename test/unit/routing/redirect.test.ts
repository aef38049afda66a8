import t from 'tap'
import type { RouteFilter } from '#contract'
import { decideRoute, type RouteDecision } from '#routing'
import { backend, calling, type FactsInput, facts, match, route, rule, service, snapshotOf } from './mesh-fixture.ts'

type Redirect = Omit<Extract<RouteFilter, { type: 'RequestRedirect' }>, 'type' | 'statusCode'>

function redirected(filter: Redirect, input: FactsInput = {}, port = 80, statusCode = 302): RouteDecision {
  const snapshot = snapshotOf(
    service('shop/web', { ports: [{ name: 'http', port, protocol: 'http' }] }),
    route('shop/r', [
      rule({
        matches: [match('PathPrefix /old')],
        backends: [],
        filters: [
          { type: 'RequestRedirect', statusCode, ...filter },
          { type: 'ResponseHeaderModifier', edit: { set: [{ name: 'x-moved', value: 'yes' }], add: [], remove: [] } },
        ],
      }),
    ]),
  )
  return decideRoute(snapshot, calling(snapshot, 'shop/web', port), facts({ path: '/old/a', ...input }), 0)
}

t.test('the Location follows the rules for scheme, host, port and path', async (t) => {
  const table: readonly (readonly [string, Redirect, FactsInput, number, string])[] = [
    ['nothing set', {}, {}, 80, 'http://web.shop/old/a'],
    ['the query is kept', {}, { query: 'a=1&b' }, 80, 'http://web.shop/old/a?a=1&b'],
    ['the port called', {}, { authority: 'web.shop:8080' }, 8080, 'http://web.shop:8080/old/a'],
    ['the port called, though the Host names none', {}, {}, 8080, 'http://web.shop:8080/old/a'],
    ['hostname', { hostname: 'example.org' }, {}, 80, 'http://example.org/old/a'],
    ['hostname keeps the port', { hostname: 'example.org' }, {}, 8080, 'http://example.org:8080/old/a'],
    ['https has its own port', { scheme: 'https' }, { authority: 'web.shop:8080' }, 8080, 'https://web.shop/old/a'],
    ['http has its own port', { scheme: 'http' }, {}, 8080, 'http://web.shop/old/a'],
    ['a port of its own', { port: 8443 }, {}, 80, 'http://web.shop:8443/old/a'],
    ['the default port is not written', { port: 80 }, {}, 8080, 'http://web.shop/old/a'],
    ['nor is that of https', { scheme: 'https', port: 443 }, {}, 80, 'https://web.shop/old/a'],
    ['the other default is written', { scheme: 'https', port: 80 }, {}, 80, 'https://web.shop:80/old/a'],
    ['443 over http is written', {}, {}, 443, 'http://web.shop:443/old/a'],
    ['a full path', { path: { type: 'ReplaceFullPath', value: '/new' } }, { query: 'q' }, 80, 'http://web.shop/new?q'],
    ['a prefix', { path: { type: 'ReplacePrefixMatch', value: '/new' } }, {}, 80, 'http://web.shop/new/a'],
    ['an IPv6 host', {}, { authority: '[fd00::1]:80' }, 80, 'http://[fd00::1]/old/a'],
    ['an IPv6 host without port', {}, { authority: '[fd00::1]' }, 80, 'http://[fd00::1]/old/a'],
    ['no Host at all', {}, { authority: '' }, 80, 'http://web.shop.svc/old/a'],
  ]
  for (const [name, filter, input, port, location] of table) {
    t.match(
      redirected(filter, input, port),
      { kind: 'redirect', status: 302, location, route: 'shop/r', rule: '0' },
      name,
    )
  }
})

t.test('every status of the specification is passed on, with the response edits', async (t) => {
  for (const status of [301, 302, 303, 307, 308]) {
    t.match(redirected({}, {}, 80, status), { status, responseEdits: [{ set: [{ name: 'x-moved' }] }] })
  }
})

t.test('a backend can redirect its share of the requests', async (t) => {
  const snapshot = snapshotOf(
    service('shop/web'),
    route('shop/r', [
      rule({
        backends: [
          backend('shop/web', 1),
          backend('shop/web', 1, { filters: [{ type: 'RequestRedirect', hostname: 'new.example', statusCode: 301 }] }),
        ],
      }),
    ]),
  )
  t.match(decideRoute(snapshot, calling(snapshot), facts(), 0.2), { kind: 'forward' })
  t.match(decideRoute(snapshot, calling(snapshot), facts(), 0.7), { kind: 'redirect', location: 'http://new.example/' })
})

t.test('a redirect and a rewrite do not go together', async (t) => {
  const snapshot = snapshotOf(
    service('shop/web'),
    route('shop/r', [
      rule({
        filters: [
          { type: 'RequestRedirect', statusCode: 302 },
          { type: 'URLRewrite', hostname: 'x.example' },
        ],
      }),
    ]),
  )
  t.match(decideRoute(snapshot, calling(snapshot), facts(), 0), { kind: 'fail', refusal: 'invalidRoute' })
})
