import t from 'tap'
import { type Resolution, resolveName } from '#dns'
import { World } from '#mesh'
import { endpoint, service } from '../routing/mesh-fixture.ts'

const V4 = '10.96.0.1'
const V6 = 'fd96::1'
const { snapshot } = (() => {
  const world = new World()
  const upsert = [
    service('shop/web', { addresses: [V4, V6] }),
    service('bank/api', { addresses: ['10.96.0.2'] }),
    service('shop/pending', { addresses: [] }),
    service('shop/out', { externalName: 'outside.example' }),
    service('shop/portless', { headless: true, ports: [], endpoints: {} }),
    service('shop/empty', { headless: true, endpoints: { '80': [endpoint('10.0.0.9', { ready: false })] } }),
    service('shop/db', {
      headless: true,
      ports: [
        { name: 'sql', port: 3306, protocol: 'tcp' },
        { name: 'admin', port: 80, protocol: 'http' },
      ],
      endpoints: {
        '3306': [
          endpoint('10.0.0.1', { port: 3307, hostname: 'db-0' }),
          endpoint('fd00::1', { port: 3307, hostname: 'db-0' }),
          endpoint('10.0.0.2', { port: 3307 }),
          endpoint('10.0.0.3', { port: 3307, ready: false, hostname: 'db-2' }),
        ],
        '80': [endpoint('10.0.0.1', { hostname: 'db-0' }), endpoint('10.0.0.2')],
      },
    }),
  ]
  world.apply({ version: 1, reset: true, upsert, remove: [] })
  return world
})()

function said(resolution: Resolution): string {
  if (resolution.kind === 'alias') return `alias ${resolution.target}`
  if (resolution.kind === 'forward') return 'forward'
  const texts = resolution.answers.map((record) =>
    record.type === 'SRV' ? `${record.target}:${record.port}` : record.address,
  )
  return texts.length === 0 ? 'nothing' : texts.join(' ')
}

const CASES: readonly (readonly [name: string, type: string, expected: string])[] = [
  // Every form of a Service's name.
  ['web', 'A', V4],
  ['web.shop', 'A', V4],
  ['web.shop.svc', 'A', V4],
  ['web.shop.svc.cluster.local', 'A', V4],
  ['web', 'AAAA', V6],
  ['api', 'A', 'forward'],
  ['api.bank', 'A', '10.96.0.2'],
  ['api.bank.svc.cluster.local', 'AAAA', 'nothing'],
  ['web', 'MX', 'nothing'],
  ['out', 'A', 'alias outside.example'],
  ['out.shop.svc.cluster.local', 'MX', 'alias outside.example'],
  // A resolver's search list is seen through, but a name without a namespace belongs to the first domain only.
  ['web.shop.shop.svc.cluster.local', 'A', V4],
  ['api.bank.shop.svc.cluster.local', 'A', '10.96.0.2'],
  ['api.bank.svc.shop.svc.cluster.local', 'A', '10.96.0.2'],
  ['api.bank.svc.cluster.local.svc.cluster.local', 'A', '10.96.0.2'],
  ['api.bank.cluster.local', 'A', '10.96.0.2'],
  ['web.svc.cluster.local', 'A', 'forward'],
  ['web.cluster.local', 'A', 'forward'],
  // Pods of a headless Service.
  ['db', 'A', '10.0.0.1 10.0.0.2'],
  ['db', 'AAAA', 'fd00::1'],
  ['db-0.db.shop', 'A', '10.0.0.1'],
  ['db-0.db.shop.svc.cluster.local', 'AAAA', 'fd00::1'],
  ['10-0-0-2.db.shop.svc.cluster.local', 'A', '10.0.0.2'],
  ['db-2.db.shop.svc.cluster.local', 'A', 'forward'],
  ['db-0.web.shop.svc.cluster.local', 'A', 'forward'],
  ['empty', 'A', 'nothing'],
  // Ports.
  ['_http._tcp.web', 'SRV', 'web.shop.svc.cluster.local:80'],
  ['_http._tcp.web.shop.svc.cluster.local', 'SRV', 'web.shop.svc.cluster.local:80'],
  ['_http._tcp.web.shop.svc.cluster.local', 'A', 'nothing'],
  [
    '_sql._tcp.db.shop.svc.cluster.local',
    'SRV',
    'db-0.db.shop.svc.cluster.local:3307 10-0-0-2.db.shop.svc.cluster.local:3307',
  ],
  ['_nope._tcp.web.shop.svc.cluster.local', 'SRV', 'forward'],
  ['_http._udp.web.shop.svc.cluster.local', 'SRV', 'forward'],
  // What the mesh does not know is not denied.
  ['pending', 'A', 'forward'],
  ['portless', 'A', 'forward'],
  ['example.org', 'A', 'forward'],
  ['nothing.shop.svc.cluster.local', 'A', 'forward'],
  ['svc.cluster.local', 'A', 'forward'],
  ['cluster.local', 'NS', 'forward'],
  ['', 'NS', 'forward'],
  ['a.b.c.web.shop.svc.cluster.local', 'A', 'forward'],
]

for (const [name, type, expected] of CASES) {
  t.test(`${type} of ${name || 'the root'} is ${expected}`, (t) => {
    t.equal(said(resolveName(snapshot, 'shop', name, type)), expected)
    t.end()
  })
}

t.test('a short name is that of the asking pod’s namespace', (t) => {
  t.equal(said(resolveName(snapshot, 'bank', 'web', 'A')), 'forward')
  t.equal(said(resolveName(snapshot, 'bank', 'api', 'A')), '10.96.0.2')
  t.end()
})

t.test('a port comes with the addresses of its targets', (t) => {
  t.match(resolveName(snapshot, 'shop', '_sql._tcp.db', 'SRV'), {
    additionals: [
      { type: 'A', name: 'db-0.db.shop.svc.cluster.local', address: '10.0.0.1' },
      { type: 'AAAA', name: 'db-0.db.shop.svc.cluster.local', address: 'fd00::1' },
      { type: 'A', name: '10-0-0-2.db.shop.svc.cluster.local', address: '10.0.0.2' },
    ],
  })
  t.end()
})
