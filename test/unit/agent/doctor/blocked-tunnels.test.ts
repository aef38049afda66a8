import fc from 'fast-check'
import t from 'tap'
import { HBONE_PORT } from '#contract'
import { type BlockedTunnels, blockedTunnels } from '../../../../agent/doctor/blocked-tunnels.ts'
import type { NetworkPolicy, PolicyPod } from '../../../../agent/doctor/network-policy.ts'
import { policyLines } from '../../../../agent/doctor/policy-lines.ts'

type Spec = NetworkPolicy['spec']

const NAMESPACES = new Map([
  ['shop', { team: 'sales' }],
  ['bank', { team: 'money' }],
])
const WEB = pod('shop/web', '10.1.0.2', { app: 'web' })
const CART = pod('shop/cart', '10.2.0.3', { app: 'cart', tier: 'back' })
const TELLER = pod('bank/teller', '10.3.0.4', { app: 'teller' })
const PODS = [WEB, CART, TELLER]

function pod(name: string, address: string, labels: Record<string, string>, more: Partial<PolicyPod> = {}): PolicyPod {
  const [namespace = '', own = ''] = name.split('/')
  return { namespace, name: own, labels, addresses: [address], node: `node-of-${own}`, namedPorts: {}, ...more }
}

function policy(name: string, spec: Spec): NetworkPolicy {
  const [namespace = '', own = ''] = name.split('/')
  return { metadata: { namespace, name: own }, spec }
}

/** `web>cart` for each pair that a tunnel does not get through. */
function pairs(found: readonly BlockedTunnels[]): string[] {
  const short = (name: string) => name.slice(name.indexOf('/') + 1)
  const all = found.flatMap(({ direction, pods, peers }) =>
    pods.flatMap((one) =>
      peers
        .filter((other) => other !== one)
        .map((other) => (direction === 'ingress' ? `${short(other)}>${short(one)}` : `${short(one)}>${short(other)}`)),
    ),
  )
  return [...new Set(all)].sort()
}

const TO_CART = ['teller>cart', 'web>cart']
const CART_ONLY = { podSelector: { matchLabels: { app: 'cart' } } }
const TUNNEL = { protocol: 'TCP', port: HBONE_PORT }

t.test('what a policy blocks is what the documentation of NetworkPolicy says', async (t) => {
  const cases: readonly (readonly [string, Spec, readonly string[]])[] = [
    ['no rule: selected pods take nothing', { ...CART_ONLY }, TO_CART],
    ['an empty selector selects all pods of the namespace', {}, ['cart>web', 'teller>cart', 'teller>web', 'web>cart']],
    ['no pod is selected', { podSelector: { matchLabels: { app: 'none' } } }, []],
    ['an empty rule lets everything in', { ...CART_ONLY, ingress: [{}] }, []],
    ['the tunnel’s port', { ...CART_ONLY, ingress: [{ ports: [TUNNEL] }] }, []],
    ['TCP where no protocol is said', { ...CART_ONLY, ingress: [{ ports: [{ port: HBONE_PORT }] }] }, []],
    ['another port', { ...CART_ONLY, ingress: [{ ports: [{ port: 8080 }] }] }, TO_CART],
    ['all ports of another protocol', { ...CART_ONLY, ingress: [{ ports: [{ protocol: 'UDP' }] }] }, TO_CART],
    ['all ports of TCP', { ...CART_ONLY, ingress: [{ ports: [{ protocol: 'TCP' }] }] }, []],
    ['a range around it', { ...CART_ONLY, ingress: [{ ports: [{ port: 15000, endPort: 15008 }] }] }, []],
    ['a range below it', { ...CART_ONLY, ingress: [{ ports: [{ port: 15000, endPort: 15007 }] }] }, TO_CART],
    ['a name that no container declares', { ...CART_ONLY, ingress: [{ ports: [{ port: 'hbone' }] }] }, TO_CART],
    [
      'pods of the own namespace by label',
      { ...CART_ONLY, ingress: [{ from: [{ podSelector: { matchLabels: { app: 'web' } } }] }] },
      ['teller>cart'],
    ],
    [
      'a pod selector alone does not reach other namespaces',
      { ...CART_ONLY, ingress: [{ from: [{ podSelector: { matchLabels: { app: 'teller' } } }] }] },
      TO_CART,
    ],
    [
      'a namespace by label',
      { ...CART_ONLY, ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'money' } } }] }] },
      ['web>cart'],
    ],
    [
      'a namespace by its name',
      {
        ...CART_ONLY,
        ingress: [{ from: [{ namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': 'bank' } } }] }],
      },
      ['web>cart'],
    ],
    [
      'both selectors in one peer: both must match',
      {
        ...CART_ONLY,
        ingress: [{ from: [{ namespaceSelector: {}, podSelector: { matchLabels: { app: 'teller' } } }] }],
      },
      ['web>cart'],
    ],
    [
      'both selectors as two peers: either',
      {
        ...CART_ONLY,
        ingress: [
          { from: [{ namespaceSelector: { matchLabels: { team: 'money' } } }, { podSelector: { matchLabels: {} } }] },
        ],
      },
      [],
    ],
    [
      'a block of addresses',
      { ...CART_ONLY, ingress: [{ from: [{ ipBlock: { cidr: '10.1.0.0/16' } }] }] },
      ['teller>cart'],
    ],
    [
      'a block with an exception',
      { ...CART_ONLY, ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.3.0.0/16'] } }] }] },
      ['teller>cart'],
    ],
    ['a block of the other family', { ...CART_ONLY, ingress: [{ from: [{ ipBlock: { cidr: '::/0' } }] }] }, TO_CART],
    [
      'expressions: In, and a key that is missing for NotIn',
      {
        ...CART_ONLY,
        ingress: [
          {
            from: [
              {
                podSelector: {
                  matchExpressions: [
                    { key: 'app', operator: 'In', values: ['web', 'x'] },
                    { key: 'tier', operator: 'NotIn', values: ['back'] },
                  ],
                },
              },
            ],
          },
        ],
      },
      ['teller>cart'],
    ],
    [
      'expressions: Exists and DoesNotExist',
      {
        podSelector: {
          matchExpressions: [
            { key: 'tier', operator: 'Exists' },
            { key: 'nothing', operator: 'DoesNotExist' },
          ],
        },
      },
      TO_CART,
    ],
    [
      'egress rules make it a policy of both directions',
      { ...CART_ONLY, ingress: [{}], egress: [{ ports: [{ port: 53 }] }] },
      ['cart>teller', 'cart>web'],
    ],
    ['only what policyTypes says', { ...CART_ONLY, policyTypes: ['Egress'] }, ['cart>teller', 'cart>web']],
    [
      'egress rules do not count where policyTypes leaves them out',
      { ...CART_ONLY, policyTypes: ['Ingress'], ingress: [{}], egress: [{ ports: [{ port: 53 }] }] },
      [],
    ],
    [
      'egress to some',
      { ...CART_ONLY, policyTypes: ['Egress'], egress: [{ to: [{ podSelector: {} }] }] },
      ['cart>teller'],
    ],
  ]
  for (const [name, spec, expected] of cases) {
    t.strictSame(pairs(blockedTunnels([policy('shop/p', spec)], PODS, NAMESPACES)), expected, name)
  }
})

t.test('policies add up: what one of them allows passes', async (t) => {
  const deny = policy('shop/deny', {})
  const allow = policy('shop/allow', { ...CART_ONLY, ingress: [{ ports: [TUNNEL] }] })
  t.strictSame(pairs(blockedTunnels([deny, allow], PODS, NAMESPACES)), ['cart>web', 'teller>web'])
  const both = blockedTunnels([deny, policy('shop/other', CART_ONLY)], PODS, NAMESPACES)
  t.strictSame(
    both.map(({ policies, pods }) => `${policies.join('+')}: ${pods.join()}`).sort(),
    ['shop/deny+shop/other: shop/cart', 'shop/deny: shop/web'],
    'those that block together are named together',
  )
})

t.test('a named port is looked up at the destination', async (t) => {
  const named = { namedPorts: { hbone: HBONE_PORT } }
  const declaring = pod('shop/cart', '10.2.0.3', { app: 'cart' }, named)
  const ingress = policy('shop/p', { ...CART_ONLY, ingress: [{ ports: [{ port: 'hbone' }] }] })
  t.strictSame(pairs(blockedTunnels([ingress], [WEB, declaring], NAMESPACES)), [])
  const egress = policy('shop/p', { policyTypes: ['Egress'], egress: [{ ports: [{ port: 'hbone' }] }] })
  t.strictSame(pairs(blockedTunnels([egress], [WEB, declaring], NAMESPACES)), ['cart>web'])
})

t.test('pods of one node need no tunnel', async (t) => {
  const near = { node: 'one' }
  const pods = [pod('shop/web', '10.1.0.2', { app: 'web' }, near), pod('shop/cart', '10.1.0.3', { app: 'cart' }, near)]
  t.strictSame(blockedTunnels([policy('shop/deny', {})], pods, NAMESPACES), [])
})

t.test('only where another port is let through is something lost that was allowed', async (t) => {
  const extents = (spec: Spec) =>
    blockedTunnels([policy('shop/p', spec)], [WEB, CART], NAMESPACES).map(({ extent }) => extent)
  t.strictSame(extents(CART_ONLY), ['wholly'])
  t.strictSame(extents({ ...CART_ONLY, ingress: [{ ports: [{ port: 8080 }] }] }), ['partly'])
  t.strictSame(extents({ ...CART_ONLY, ingress: [{ ports: [{ port: 53, protocol: 'UDP' }] }] }), ['wholly'])
})

t.test('a line names policy, pods and what to add; many are few lines', async (t) => {
  const web = policy('shop/web-only', { ...CART_ONLY, ingress: [{ ports: [{ port: 8080 }] }] })
  const [line] = policyLines(blockedTunnels([web], [WEB, CART], NAMESPACES), 1)
  t.match(line, {
    result: 'failure',
    what: 'NetworkPolicy shop/web-only blocks tunnels (TCP 15008) to shop/cart from shop/web',
    remedy: /add in the rule under spec.ingress .* ports: \[\{ protocol: TCP, port: 15008 \}\]/,
  })
  const [apart] = policyLines(blockedTunnels([policy('shop/deny', CART_ONLY)], PODS, NAMESPACES), 1)
  t.match(apart, {
    result: 'warning',
    what: /shop\/deny .* to shop\/cart from bank\/teller, shop\/web, as it does all/,
  })
  t.match(policyLines([], 3), [{ result: 'ok', what: /^NetworkPolicies: 3, none/ }])
  const many = Array.from({ length: 50 }, (_, i) =>
    policy(`shop/p${i}`, { podSelector: { matchLabels: { n: `${i}` } } }),
  )
  const pods = many.map((_, i) => pod(`shop/pod-${i}`, `10.9.0.${i}`, { n: `${i}` }))
  const lines = policyLines(blockedTunnels(many, pods, NAMESPACES), 50)
  t.equal(lines.length, 21)
  t.ok(lines.every(({ what, remedy }) => what.length + remedy.length < 600))
})

const labels = fc.record({ app: fc.constantFrom('web', 'cart', 'db') }, { requiredKeys: [] })
const selector = fc.record({ matchLabels: labels }, { requiredKeys: [] })
const peer = fc.oneof(
  fc.record({ podSelector: selector }),
  fc.record({ namespaceSelector: selector, podSelector: selector }),
  fc.record({ ipBlock: fc.record({ cidr: fc.constantFrom('10.0.0.0/8', '10.1.0.0/16', '::/0') }) }),
)
const port = fc.record(
  { port: fc.constantFrom(80, 15000, HBONE_PORT), endPort: fc.constantFrom(15010) },
  { requiredKeys: ['port'] },
)
const ports = fc.array(port, { maxLength: 2 })
const peers = fc.array(peer, { maxLength: 2 })
const spec: fc.Arbitrary<Spec> = fc.record(
  {
    podSelector: selector,
    policyTypes: fc.subarray(['Ingress', 'Egress']),
    ingress: fc.array(fc.record({ from: peers, ports }), { maxLength: 2 }),
    egress: fc.array(fc.record({ to: peers, ports }), { maxLength: 2 }),
  },
  { requiredKeys: ['podSelector'] },
)
const policies = fc
  .array(fc.tuple(fc.constantFrom('shop', 'bank'), spec), { maxLength: 5 })
  .map((list) => list.map(([namespace, one], i) => policy(`${namespace}/p${i}`, one)))
const pods = fc
  .array(fc.tuple(fc.constantFrom('shop', 'bank'), labels, fc.integer({ min: 1, max: 2 })), { maxLength: 6 })
  .map((list) =>
    list.map(([namespace, own, net], i) =>
      pod(`${namespace}/pod-${i}`, `10.${net}.0.${i}`, own as Record<string, string>),
    ),
  )

t.test('judging pods by class is judging each pair', async (t) => {
  // A label of its own makes a class of each pod; no selector looks at it.
  fc.assert(
    fc.property(policies, pods, (some, those) => {
      const apart = those.map((one) => ({ ...one, labels: { ...one.labels, name: one.name } }))
      t.strictSame(pairs(blockedTunnels(some, those, NAMESPACES)), pairs(blockedTunnels(some, apart, NAMESPACES)))
    }),
    { numRuns: 200 },
  )
})

t.test('a policy that lets the tunnel’s port through everywhere leaves nothing blocked', async (t) => {
  const open = ['shop', 'bank'].map((namespace) =>
    policy(`${namespace}/open`, {
      policyTypes: ['Ingress', 'Egress'],
      ingress: [{ ports: [TUNNEL] }],
      egress: [{ ports: [TUNNEL] }],
    }),
  )
  fc.assert(
    fc.property(policies, pods, (some, those) => {
      t.strictSame(blockedTunnels([...some, ...open], those, NAMESPACES), [])
    }),
    { numRuns: 200 },
  )
})
