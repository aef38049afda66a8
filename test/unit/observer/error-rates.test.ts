/** Failures are told where they begin, from enough requests, and until they have ended. */
import t from 'tap'
import { edge, pod, START, Watched, WORLD } from './looks.ts'

const subjects = (found: readonly { readonly subject: string }[]) => found.map(({ subject }) => subject)

t.test('a rate that jumped, with what it was before, why, since when, and whose log to read', async (t) => {
  const watched = new Watched()
  const pods = [pod('shop/reviews-1', { lastLogMs: START })]
  watched.look({ pods, edges: [edge('frontend', 'reviews')] }, 31)
  const sinceMs = watched.atMs + 10_000
  const [found, ...others] = watched.look({ pods, edges: [edge('frontend', 'reviews', { failed: 30 })] }, 6)
  t.same(others, [])
  t.match(found, {
    kind: 'error-rate',
    severity: 'critical',
    subject: 'shop/frontend -> shop/reviews',
    says: '30 % of the requests from shop/frontend to shop/reviews fail (0 % before), because the application answers 500',
    evidence: ['180 of 600 requests in the last 60 s failed: 180 times the application answers 500 (- 500)'],
    next: 'weir logs shop/reviews-1 --since 10m',
    sinceMs,
  })
})

t.test('silent: no failures, few of them, and few requests', async (t) => {
  t.same(new Watched().look({ edges: [edge('a', 'b')] }, 12), [])
  t.same(new Watched().look({ edges: [edge('a', 'b', { requests: 1000, failed: 40 })] }, 12), [])
  t.same(new Watched().look({ edges: [edge('a', 'b', { requests: 3, failed: 3 })] }, 6), [], '18 requests')
  t.same(subjects(new Watched().look({ edges: [edge('a', 'b', { requests: 4, failed: 4 })] }, 6)), ['shop/a -> shop/b'])
})

t.test('few failures count where there were none, and not where there have always been some', async (t) => {
  const few = { edges: [edge('a', 'b', { requests: 1000, failed: 15 })] }
  const anew = new Watched()
  anew.look({ edges: [edge('a', 'b', { requests: 1000 })] }, 30)
  t.match(anew.look(few, 6), [{ severity: 'warning', says: /^1\.5 % of .* \(0 % before\)/ }])
  t.same(new Watched().look(few, 36), [])
})

t.test('once told it is told down to less, and then no more', async (t) => {
  const watched = new Watched()
  t.equal(watched.look({ edges: [edge('a', 'b', { failed: 6 })] }, 6).length, 1)
  t.equal(watched.look({ edges: [edge('a', 'b', { failed: 3 })] }, 6).length, 1, 'still above the lower threshold')
  t.same(watched.look({ edges: [edge('a', 'b', { failed: 1 })] }, 6), [])
  t.same(watched.look({ edges: [edge('a', 'b', { failed: 3 })] }, 6), [], 'and not from there on again')
})

t.test('a chain is told at its end, and its callers as what follows', async (t) => {
  const found = new Watched().look(
    {
      edges: [
        edge('web', 'frontend', { failed: 40, reason: '- 502' }),
        edge('frontend', 'reviews', { failed: 50 }),
        edge('reviews', 'ratings', { failed: 60, reason: 'UC 503' }),
        edge('reviews', 'stock'),
      ],
    },
    6,
  )
  t.equal(found.length, 1)
  t.match(found[0], {
    subject: 'shop/reviews -> shop/ratings',
    next: 'weir tap --from shop/reviews --to shop/ratings --flags UC --limit 3',
  })
  t.match(found[0]?.evidence.slice(1), [
    /^So: 50 % of the requests from shop\/frontend to shop\/reviews fail/,
    /^So: 40 % of the requests from shop\/web to shop\/frontend fail/,
  ])
})

t.test('a caller whose own calls do not fail likewise is the cause itself, and that is told', async (t) => {
  const found = new Watched().look(
    { edges: [edge('frontend', 'reviews', { failed: 50 }), edge('reviews', 'ratings', { failed: 6 })] },
    6,
  )
  t.same(subjects(found), ['shop/frontend -> shop/reviews', 'shop/reviews -> shop/ratings'])
  t.match(found[0]?.evidence[1], 'shop/reviews calls shop/ratings, and that does not fail likewise')
})

t.test('what never reached the application is not laid to what the application calls', async (t) => {
  const found = new Watched().look(
    {
      edges: [
        edge('frontend', 'reviews', { failed: 50, reason: 'UF 503' }),
        edge('reviews', 'ratings', { failed: 60 }),
      ],
    },
    6,
  )
  t.equal(found.length, 2)
})

t.test('services that call each other in a circle end at the worst edge', async (t) => {
  const edges = [
    edge('a', 'b', { failed: 30 }),
    edge('b', 'c', { failed: 50 }),
    edge('c', 'a', { failed: 40 }),
    edge('web', 'a', { failed: 25 }),
  ]
  t.same(subjects(new Watched().look({ edges }, 6)), ['shop/b -> shop/c'])
})

t.test('what fails several callers alike is told once; what fails another for another reason, by itself', async (t) => {
  const found = new Watched().look(
    {
      edges: [
        edge('a', 'reviews', { failed: 20 }),
        edge('b', 'reviews', { failed: 60 }),
        edge('c', 'reviews', { failed: 30 }),
        edge('d', 'reviews', { failed: 10, reason: 'UF 503' }),
      ],
    },
    6,
  )
  t.same(subjects(found), ['shop/b -> shop/reviews', 'shop/d -> shop/reviews'])
  t.match(found[0]?.evidence.slice(1), [
    /^So: 30 % of the requests from shop\/c/,
    /^So: 20 % of the requests from shop\/a/,
  ])
})

t.test('what is outside the mesh is named so', async (t) => {
  const [found] = new Watched().look({ edges: [{ ...edge('a', 'x', { failed: 50 }), edge: OUTSIDE }] }, 6)
  t.match(found, { says: /^50 % of the requests from shop\/a to outside the mesh fail/, next: 'weir edges' })
})

const OUTSIDE = { source: 'shop/a', destination: 'unknown', service: '' }

t.test('of several workloads behind a Service it is told which fails', async (t) => {
  const edges = [
    edge('frontend', 'reviews', { requests: 50, failed: 50, to: 'reviews-v2' }),
    edge('frontend', 'reviews', { requests: 50, to: 'reviews-v1' }),
  ]
  t.match(new Watched().look({ edges }, 6)[0]?.evidence.slice(1), [
    'Of 300 that went to shop/reviews-v2, 300 failed',
    'Of 300 that went to shop/reviews-v1, 0 failed',
  ])
})

t.test('a Service without endpoints is the cause of what it fails; a Service that nobody asks is none', async (t) => {
  const world = { ...WORLD, emptyServices: [{ service: 'shop/gone', unready: 0, routes: [] }] }
  const edges = [edge('web', 'gone', { failed: 100, reason: 'UH 503', to: 'unknown' })]
  const found = new Watched().look({ world, edges }, 6)
  t.equal(found.length, 1)
  t.match(found[0], {
    kind: 'no-endpoints',
    severity: 'critical',
    subject: 'shop/gone',
    says: 'Service shop/gone has no endpoint that is ready, and what shop/web asks of it fails',
    next: 'weir explain --from shop/web-1 --to http://gone.shop:80',
  })
  t.same(new Watched().look({ world }, 12), [])
})

t.test('a Service without endpoints that a route leads to is told, after some looks', async (t) => {
  const empty = { service: 'shop/gone', unready: 2, routes: ['HTTPRoute shop/reviews'] }
  const watched = new Watched()
  const world = { ...WORLD, emptyServices: [empty] }
  t.same(watched.look({ world }, 2), [])
  t.match(watched.look({ world }), [
    {
      kind: 'no-endpoints',
      severity: 'warning',
      says: /and HTTPRoute shop\/reviews leads to it$/,
      evidence: ['2 endpoints are there and not ready'],
    },
  ])
  t.same(watched.look(), [])
})

t.test('an invalid route is the cause of what it fails', async (t) => {
  const problems = [
    {
      severity: 'error' as const,
      object: 'HTTPRoute shop/r',
      place: 'r.yaml: HTTPRoute shop/r',
      message: 'no such Service',
    },
  ]
  const edges = [edge('web', 'reviews', { failed: 100, reason: 'NR 500', to: 'unknown' })]
  const found = new Watched().look({ problems, edges }, 6)
  t.equal(found.length, 1)
  t.match(found[0], { kind: 'invalid-route', severity: 'critical', subject: 'HTTPRoute shop/r', next: 'weir routes' })
  t.match(new Watched().look({ problems }), [{ kind: 'invalid-route', severity: 'warning' }])
})
