import t from 'tap'
import type { PathRewrite, RouteFilter } from '#contract'
import { decideRoute, rewriteTarget } from '#routing'
import { backend, calling, facts, match, route, rule, service, snapshotOf } from './mesh-fixture.ts'

function targetFor(path: string, matchPath: string, rewrite: PathRewrite, query = ''): string {
  const snapshot = snapshotOf(
    service('shop/web'),
    route('shop/r', [rule({ matches: [match(matchPath)], filters: [{ type: 'URLRewrite', path: rewrite }] })]),
  )
  const request = facts({ path, query })
  const decision = decideRoute(snapshot, calling(snapshot), request, 0)
  if (decision.kind !== 'forward') throw new Error(`not forwarded: ${JSON.stringify(decision)}`)
  if (!decision.rewrites) throw new Error('does not rewrite')
  return rewriteTarget(decision, request)
}

t.test('prefixes are replaced as in the table of the Gateway API', async (t) => {
  const table: readonly (readonly [string, string, string, string])[] = [
    ['/foo/bar', '/foo', '/xyz', '/xyz/bar'],
    ['/foo/bar', '/foo', '/xyz/', '/xyz/bar'],
    ['/foo/bar', '/foo/', '/xyz', '/xyz/bar'],
    ['/foo/bar', '/foo/', '/xyz/', '/xyz/bar'],
    ['/foo', '/foo', '/xyz', '/xyz'],
    ['/foo/', '/foo', '/xyz', '/xyz/'],
    ['/foo/bar', '/foo', '', '/bar'],
    ['/foo/', '/foo', '', '/'],
    ['/foo', '/foo', '', '/'],
    ['/foo/', '/foo', '/', '/'],
    ['/foo', '/foo', '/', '/'],
    // Beyond the table.
    ['/foo', '/foo/', '/xyz', '/xyz'],
    ['/', '/', '/xyz', '/xyz/'],
    ['/bar', '/', '/xyz', '/xyz/bar'],
    ['/bar', '/', '/', '/bar'],
    ['/foo//bar', '/foo', '/xyz', '/xyz//bar'],
    ['/foo/%2e%2e/bar', '/foo', '/xyz', '/xyz/%2e%2e/bar'],
    ['/foo/bar', '/foo', 'xyz', '/xyz/bar'],
    ['*', '/', '/xyz', '*'],
  ]
  for (const [path, prefix, value, expected] of table) {
    t.equal(
      targetFor(path, `PathPrefix ${prefix}`, { type: 'ReplacePrefixMatch', value }),
      expected,
      `${path} ${prefix} ${value}`,
    )
  }
})

t.test('a full path is replaced whole, whatever matched', async (t) => {
  t.equal(targetFor('/foo/bar', 'PathPrefix /foo', { type: 'ReplaceFullPath', value: '/one' }), '/one')
  t.equal(targetFor('/foo', 'Exact /foo', { type: 'ReplaceFullPath', value: '/one/' }), '/one/')
  t.equal(targetFor('/foo', 'RegularExpression /f.*', { type: 'ReplaceFullPath', value: 'one' }), '/one')
})

t.test('the query is kept as it was sent', async (t) => {
  t.equal(
    targetFor('/foo/a', 'PathPrefix /foo', { type: 'ReplacePrefixMatch', value: '/x' }, 'a=%20&b'),
    '/x/a?a=%20&b',
  )
  t.equal(targetFor('/foo/a', 'PathPrefix /foo', { type: 'ReplaceFullPath', value: '/x' }, 'a=1'), '/x?a=1')
})

t.test('each match of a rule replaces its own prefix', async (t) => {
  const filters: RouteFilter[] = [{ type: 'URLRewrite', path: { type: 'ReplacePrefixMatch', value: '/x' } }]
  const snapshot = snapshotOf(
    service('shop/web'),
    route('shop/r', [rule({ matches: [match('PathPrefix /a'), match('PathPrefix /long/b')], filters })]),
  )
  for (const path of ['/a/1', '/long/b/1']) {
    const decision = decideRoute(snapshot, calling(snapshot), facts({ path }), 0)
    t.equal(decision.kind === 'forward' ? rewriteTarget(decision, facts({ path })) : '', '/x/1')
    t.equal(
      decideRoute(snapshot, calling(snapshot), facts({ path }), 0.5),
      decision,
      'and is the same object each time',
    )
  }
})

t.test('replacing a prefix where none was matched fails the requests', async (t) => {
  for (const path of ['Exact /foo', 'RegularExpression /foo']) {
    const snapshot = snapshotOf(
      service('shop/web'),
      route('shop/r', [
        rule({
          matches: [match(path)],
          filters: [{ type: 'URLRewrite', path: { type: 'ReplacePrefixMatch', value: '/x' } }],
        }),
      ]),
    )
    const decision = decideRoute(snapshot, calling(snapshot), facts({ path: '/foo' }), 0)
    t.match(decision, { kind: 'fail', refusal: 'invalidRoute', why: /PathPrefix/ })
  }
})

t.test('a rewrite of the backend goes before that of the rule, field by field', async (t) => {
  const snapshot = snapshotOf(
    service('shop/web'),
    route('shop/r', [
      rule({
        filters: [{ type: 'URLRewrite', hostname: 'rule.example', path: { type: 'ReplaceFullPath', value: '/rule' } }],
        backends: [backend('shop/web', 1, { filters: [{ type: 'URLRewrite', hostname: 'backend.example' }] })],
      }),
    ]),
  )
  const decision = decideRoute(snapshot, calling(snapshot), facts({ path: '/a' }), 0)
  t.match(decision, { hostname: 'backend.example', path: { value: '/rule' }, rewrites: true })
})

t.test('rewriting the Host alone leaves the target as it is', async (t) => {
  const snapshot = snapshotOf(
    service('shop/web'),
    route('shop/r', [rule({ filters: [{ type: 'URLRewrite', hostname: 'one.example' }] })]),
  )
  t.match(decideRoute(snapshot, calling(snapshot), facts(), 0), { hostname: 'one.example', rewrites: false })
})
