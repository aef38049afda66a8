import t from 'tap'
import type { CorsPlan } from '#contract'
import { decideRoute, responseEditsOf } from '#routing'
import { type FactsInput, facts, route, rule, service, snapshotOf } from './mesh-fixture.ts'

const PLAN: CorsPlan = {
  origins: ['https://shop.example', 'http://*.dev.example:8080', 'https://*.wild.example'],
  credentials: false,
  methods: ['GET', 'PUT'],
  headers: ['X-Token', 'Content-Type'],
  expose: ['X-Total'],
  maxAgeSeconds: 60,
}

/** What the answer of a request says to the browser; the name of the decision where it says nothing. */
function told(plan: Partial<CorsPlan>, request: FactsInput): Readonly<Record<string, string>> | string {
  const snapshot = snapshotOf(
    service('shop/web'),
    route('shop/r', [rule({ filters: [{ type: 'CORS', cors: { ...PLAN, ...plan } }] })]),
  )
  const web = snapshot.service('shop/web')
  const port = web?.ports[0]
  if (web === undefined || port === undefined) throw new Error('no Service')
  const asked = facts(request)
  const decision = decideRoute(snapshot, { client: undefined, service: web, port }, asked, 0)
  const edits =
    decision.kind === 'forward'
      ? responseEditsOf(decision, asked)
      : decision.kind === 'preflight'
        ? decision.responseEdits
        : []
  const headers = edits
    .flatMap(({ set, add }) => [...set, ...add])
    .map(({ name, value }) => [name.replace('access-control-', ''), value])
  return headers.length === 0 ? decision.kind : Object.fromEntries([['kind', decision.kind], ...headers])
}

const preflight = (origin: string, more: Readonly<Record<string, string>> = {}): FactsInput => ({
  method: 'OPTIONS',
  headers: { origin, 'access-control-request-method': 'PUT', ...more },
})

t.test('A preflight from an allowed origin is answered with what is allowed', async (t) => {
  t.strictSame(told({}, preflight('https://shop.example')), {
    kind: 'preflight',
    'allow-origin': 'https://shop.example',
    vary: 'Origin',
    'allow-methods': 'GET, PUT',
    'allow-headers': 'X-Token, Content-Type',
    'max-age': '60',
  })
  t.strictSame(told({ methods: [], headers: [] }, preflight('https://shop.example')), {
    kind: 'preflight',
    'allow-origin': 'https://shop.example',
    vary: 'Origin',
    'max-age': '60',
  })
})

t.test('Origins match by scheme, host and port; a wildcard stands for labels to its left', async (t) => {
  const cases: Readonly<Record<string, boolean>> = {
    'https://shop.example': true,
    'https://SHOP.example:443': true,
    'http://shop.example': false,
    'http://shop.example:443': false,
    'https://.wild.example': false,
    'https://shop.example:8443': false,
    'https://a.shop.example': false,
    'http://a.dev.example:8080': true,
    'http://a.b.dev.example:8080': true,
    'http://a.dev.example': false,
    'http://dev.example:8080': false,
    'https://x.wild.example': true,
    'https://evilwild.example': false,
    'https://x.wild.example.evil': false,
    'https://evil.test/.wild.example': false,
    'https://evil@x.wild.example': false,
    null: false,
  }
  for (const [origin, allowed] of Object.entries(cases))
    t.equal(told({}, preflight(origin)) !== 'preflight', allowed, origin)
  t.equal(told({ origins: [] }, preflight('https://shop.example')), 'preflight', 'none is allowed where none is named')
})

t.test('What is no preflight is sent on, and its answer marked for an allowed origin', async (t) => {
  t.strictSame(told({}, { headers: { origin: 'https://shop.example' } }), {
    kind: 'forward',
    'allow-origin': 'https://shop.example',
    vary: 'Origin',
    'expose-headers': 'X-Total',
  })
  t.equal(told({}, { headers: { origin: 'https://other.example' } }), 'forward')
  t.equal(told({}, {}), 'forward')
  t.match(told({}, { method: 'OPTIONS', headers: { origin: 'https://shop.example' } }), { kind: 'forward' })
})

t.test('Wildcards stand for all, and are spelt out where credentials are allowed', async (t) => {
  const all = { origins: ['*'], methods: ['*'], headers: ['*'], expose: ['*'] }
  const asked = preflight('https://any.example', { 'access-control-request-headers': 'x-a, x-b' })
  t.strictSame(told(all, asked), {
    kind: 'preflight',
    'allow-origin': '*',
    'allow-methods': '*',
    'allow-headers': '*',
    'max-age': '60',
  })
  t.strictSame(told({ ...all, credentials: true }, asked), {
    kind: 'preflight',
    'allow-origin': 'https://any.example',
    vary: 'Origin',
    'allow-credentials': 'true',
    'allow-methods': 'PUT',
    'allow-headers': 'x-a, x-b',
    'max-age': '60',
  })
  t.notMatch(told({ ...all, credentials: true }, preflight('https://any.example')), { 'allow-headers': String })
  const plain = { headers: { origin: 'https://any.example' } }
  t.strictSame(told(all, plain), { kind: 'forward', 'allow-origin': '*', 'expose-headers': '*' })
  t.notMatch(told({ ...all, credentials: true }, plain), { 'expose-headers': String })
})
