/** Routes: the index answers as the specification read literally does, for any set of routes and any request. */
import type { HttpFacts, HttpRoute, RouteMatch, RouteRule, StringMatch } from '#contract'
import { decideRoute } from '#routing'
import {
  backend,
  calling,
  facts,
  match,
  route,
  service,
  snapshotOf,
  workload,
} from '../../unit/routing/mesh-fixture.ts'
import { Choices } from '../choices.ts'
import { type FuzzTarget, rule } from '../target.ts'
import { expectedRule } from './routes-by-the-book.ts'

const PATHS = ['/', '/a', '/a/', '/a/b', '/a/b/', '/ab', '/a/b/c', '/%61', '/A']
const EXPRESSIONS = ['/a.*', '/[ab]+', '/a/(b|c)', '.*', '/']
const METHODS = ['GET', 'POST', 'get']
const HEADERS = ['x-a', 'X-A', 'x-b', 'host']
const VALUES = ['1', '2', 'web', '']

function valueMatch(choices: Choices): StringMatch {
  return choices.below(4) === 1
    ? { type: 'RegularExpression', value: choices.pick(['1|2', '.', 'w.*']) }
    : { type: 'Exact', value: choices.pick(VALUES) }
}

function routeMatch(choices: Choices): RouteMatch {
  const type = choices.pick(['PathPrefix', 'Exact', 'PathPrefix', 'RegularExpression'] as const)
  const value = choices.pick(type === 'RegularExpression' ? EXPRESSIONS : PATHS)
  return match(`${type} ${value}`, {
    ...(choices.below(4) === 1 ? { method: choices.pick(METHODS) } : {}),
    headers: choices.list(2, () => ({ name: choices.pick(HEADERS), match: valueMatch(choices) })),
    query: choices.list(1, () => ({ name: choices.pick(['q', 'r']), match: valueMatch(choices) })),
  })
}

function routeRule(choices: Choices, name: string): RouteRule {
  const matches = [routeMatch(choices), ...choices.list(1, () => routeMatch(choices))]
  return { name, matches, filters: [], backends: [backend('shop/web')] }
}

function routesOf(choices: Choices): HttpRoute[] {
  return Array.from({ length: 1 + choices.below(4) }, (_, i) => {
    const namespace = choices.pick(['shop', 'shop', 'client'])
    const rules = Array.from({ length: 1 + choices.below(3) }, (_, j) => routeRule(choices, `r${j}`))
    return route(`${namespace}/route-${choices.below(3)}${i}`, rules, {
      createdAt: choices.pick(['2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z', '']),
      ...(choices.below(12) === 1 ? { invalid: 'spec.rules: broken' } : {}),
    })
  })
}

function request(choices: Choices): HttpFacts {
  return facts({
    path: choices.pick([...PATHS, '/a/b/c/d', '/c', '*', '/a//b']),
    method: choices.pick(METHODS),
    query: choices.pick(['', 'q=1', 'q=2&q=1', 'r=web&q', '%71=1']),
    authority: choices.pick(['web', '1', '']),
    headers: {
      ...(choices.below(2) ? { 'x-a': choices.pick(VALUES) } : {}),
      ...(choices.below(2) ? { 'x-b': '2' } : {}),
    },
  })
}

export const routes: FuzzTarget = {
  name: 'routes',
  dictionary: ['\x00', '\x01\x01', '\x00\x00\x01', '\x03'],
  maxBytes: 240,
  run(input) {
    const choices = new Choices(input)
    const all = routesOf(choices)
    const client = workload(`${choices.pick(['client', 'elsewhere', 'shop'])}/caller`)
    const snapshot = snapshotOf(service('shop/web'), client, ...all)
    const ways: string[] = []
    for (let i = 0; i < 5; i++) {
      const asked = request(choices)
      const decision = decideRoute(snapshot, calling(snapshot, 'shop/web', 80, client), asked, 0)
      const got = `${decision.route ?? '-'} ${decision.rule ?? '-'}`
      const expected = expectedRule(all, 'shop', client.namespace, asked)
      rule(
        got === expected,
        () => `${JSON.stringify(asked)} goes to ${got} instead of ${expected} of ${JSON.stringify(all)}`,
      )
      ways.push(decision.kind + (decision.rule ?? '-'))
    }
    return ways.join()
  },
}
