/** Refusals by policy are told when they begin, with the change before them. */
import t from 'tap'
import { edge, START, Watched } from './looks.ts'

const CHANGE = { policy: 'AuthorizationPolicy shop/reviews', change: 'added' } as const

t.test('a policy that began to deny after a change is told with that change, as long as it denies', async (t) => {
  const watched = new Watched()
  watched.look({ edges: [edge('frontend', 'reviews')] }, 12)
  const atMs = watched.atMs + 10_000
  const denied = { edges: [edge('frontend', 'reviews', { denied: 100 })] }
  watched.look({
    ...denied,
    policyChanges: [
      { atMs, ...CHANGE },
      { atMs, policy: 'AuthorizationPolicy other/x', change: 'added' },
    ],
  })
  const expected = {
    kind: 'policy-denies',
    severity: 'critical',
    subject: 'shop/frontend -> shop/reviews',
    says: /requests from shop\/frontend to shop\/reviews are refused by policy, since AuthorizationPolicy shop\/reviews was added$/,
    next: 'weir tap --from shop/frontend --to shop/reviews --flags RBAC --limit 3',
    sinceMs: atMs,
  }
  t.match(watched.look(denied, 5), [expected])
  const later = { policy: 'AuthorizationPolicy shop/later', change: 'changed' } as const
  watched.look({ ...denied, policyChanges: [{ atMs: watched.atMs + 10_000, ...later }] })
  t.match(watched.look(denied, 100), [expected], 'also when nothing else is remembered, and after other changes')
  t.same(watched.look({ edges: [edge('frontend', 'reviews')] }, 6), [])
})

t.test('no tenant has its policies named for what those of another namespace refuse', async (t) => {
  const watched = new Watched()
  watched.look({ edges: [edge('frontend', 'reviews')] }, 12)
  const atMs = watched.atMs + 10_000
  const denied = { edges: [edge('frontend', 'reviews', { denied: 100 })] }
  const churn = Array.from({ length: 200 }, (_, i) => {
    return { atMs, policy: `AuthorizationPolicy evil/x${i}`, change: 'changed' } as const
  })
  const meshWide = { atMs, policy: 'AuthorizationPolicy root/all', change: 'added', isMeshWide: true } as const
  watched.look({ ...denied, policyChanges: [meshWide, ...churn] })
  t.match(watched.look(denied, 5), [{ says: /refused by policy, since AuthorizationPolicy root\/all was added$/ }])
  const other = new Watched()
  other.look({ edges: [edge('frontend', 'reviews')] }, 12)
  other.look({ ...denied, policyChanges: churn.map((one) => ({ ...one, atMs: other.atMs + 10_000 })) })
  t.match(other.look(denied, 5), [{ says: /refused by policy$/, severity: 'critical' }], 'a jump, and no cause known')
})

t.test('a change that refuses many is told once', async (t) => {
  const watched = new Watched()
  const edges = (denied: number) => [edge('a', 'b', { denied }), edge('c', 'd', { denied: denied / 2 })]
  watched.look({ edges: edges(0) }, 12)
  watched.look({ edges: edges(100), policyChanges: [{ atMs: watched.atMs + 10_000, ...CHANGE }] })
  const found = watched.look({ edges: edges(100) }, 5)
  t.match(found, [{ subject: 'shop/a -> shop/b' }])
  t.match(found[0]?.evidence.at(-1), /^So: 50 % of the requests from shop\/c to shop\/d are refused/)
})

t.test('silent: nothing refused, and few requests', async (t) => {
  t.same(new Watched().look({ edges: [edge('a', 'b')], policyChanges: [{ atMs: START, ...CHANGE }] }, 12), [])
  t.same(new Watched().look({ edges: [edge('a', 'b', { requests: 3, denied: 3 })] }, 6), [])
})

t.test('what has always been refused is worth knowing only', async (t) => {
  const found = new Watched().look({ edges: [edge('a', 'b', { denied: 100 })] }, 36)
  t.match(found, [{ severity: 'info', says: '100 % of the requests from shop/a to shop/b are refused by policy' }])
})

t.test('refusals that jumped without a change are told, too', async (t) => {
  const watched = new Watched()
  watched.look({ edges: [edge('a', 'b')] }, 12)
  t.match(watched.look({ edges: [edge('a', 'b', { denied: 10 })] }, 6), [{ severity: 'warning' }])
})

t.test('who fails because it is refused further down is told there', async (t) => {
  const watched = new Watched()
  watched.look({ edges: [edge('web', 'reviews'), edge('reviews', 'ratings')] }, 12)
  const found = watched.look(
    { edges: [edge('web', 'reviews', { failed: 100 }), edge('reviews', 'ratings', { denied: 100 })] },
    6,
  )
  t.match(found, [{ kind: 'policy-denies', subject: 'shop/reviews -> shop/ratings' }])
  t.match(found[0]?.evidence.at(-1), /^So: 100 % of the requests from shop\/web to shop\/reviews fail/)
})
