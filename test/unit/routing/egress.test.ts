import t from 'tap'
import type { AppProtocol, ExternalHost, MeshService } from '#contract'
import { bareName, decideEgress } from '#routing'
import { isAddress, isInBlock, parseBlock } from '../../../src/routing/address-block.ts'
import { endpoint, service, snapshotOf } from './mesh-fixture.ts'

function host(
  name: string,
  more: Partial<ExternalHost> = {},
  protocol: AppProtocol = 'http',
  namespace = 'shop',
): MeshService {
  const external: ExternalHost = { entry: name, resolution: 'DNS', cidrs: [], ...more }
  const ports = [{ name: protocol, port: 80, protocol }]
  return service(`${namespace}/${name}`, { ports, endpoints: { '80': [endpoint(name, { resolve: true })] }, external })
}

type Ask = Partial<Parameters<typeof decideEgress>[1]>

/** What is decided, in short. */
function decide(services: readonly MeshService[], name: string, ask: Ask = {}): string {
  const request = {
    namespace: 'shop',
    registryOnly: true,
    speaks: 'http',
    address: '192.0.2.1',
    port: 80,
    ...ask,
  } as const
  const found = decideEgress(snapshotOf(...services), { ...request, name })
  switch (found.kind) {
    case 'declared':
      return `to ${found.service.namespace}/${found.service.name}:${found.port.port}`
    case 'host':
      return `to ${found.host} itself`
    case 'undeclared':
      return `undeclared ${found.what}`
    case 'as-addressed':
      return `as addressed${found.service === undefined ? '' : ` (${found.service.name})`}`
  }
}

t.test('names are compared bare', async (t) => {
  const cases = {
    'A.Example.': 'a.example',
    'a.example:80': 'a.example',
    '[2001:db8::1]:80': '2001:db8::1',
    '::1': '::1',
    '10.0.0.1:8': '10.0.0.1',
    '': '',
  }
  for (const [text, bare] of Object.entries(cases)) t.equal(bareName(text), bare)
})

t.test('a declared name goes to what is declared, wherever it was sent; exact before wildcard', async (t) => {
  const all = [
    host('a.example'),
    host('*.example', { resolution: 'STATIC' }),
    host('*.b.example', { resolution: 'NONE' }),
  ]
  for (const registryOnly of [true, false]) {
    t.equal(decide(all, 'A.example.:80', { registryOnly }), 'to shop/a.example:80')
    t.equal(decide(all, 'x.y.example', { registryOnly }), 'to shop/*.example:80')
  }
  t.equal(decide(all, 'x.b.example'), 'to x.b.example itself')
  t.equal(decide(all, 'x.b.example', { registryOnly: false }), 'as addressed (*.b.example)')
})

t.test('only at its port, and by what that speaks', async (t) => {
  const http = [host('a.example')]
  t.equal(decide(http, 'a.example', { port: 81 }), 'undeclared host a.example')
  t.equal(decide(http, 'a.example', { speaks: 'tls' }), 'undeclared host a.example', 'no TLS to an HTTP port')
  t.equal(decide([host('a.example', {}, 'tls')], 'a.example', { speaks: 'tls' }), 'to shop/a.example:80')
  t.equal(decide([host('a.example', {}, 'tls')], 'a.example'), 'undeclared host a.example', 'no HTTP to a TLS port')
  t.equal(decide([host('a.example', {}, 'tcp')], 'a.example', { speaks: 'tls' }), 'to shop/a.example:80')
})

t.test('what is not declared passes, or not', async (t) => {
  t.equal(decide([], 'x.example', { registryOnly: false }), 'as addressed')
  t.equal(decide([host('a.example')], 'x.example', { registryOnly: false }), 'as addressed')
  t.equal(decide([], 'x.example'), 'undeclared host x.example')
  t.equal(decide([], ''), 'undeclared address 192.0.2.1:80')
  t.equal(decide([], '', { speaks: 'other', address: '2001:db8::1' }), 'undeclared address [2001:db8::1]:80')
})

t.test('an address counts where no name says otherwise', async (t) => {
  const cidrs = ['192.0.2.0/24']
  const http = [host('a.example', { resolution: 'NONE', cidrs })]
  t.equal(decide(http, ''), 'as addressed (a.example)')
  t.equal(decide(http, '192.0.2.1'), 'as addressed (a.example)', 'its own address as the name')
  t.equal(decide(http, '192.0.2.2'), 'undeclared host 192.0.2.2', 'another one')
  t.equal(decide(http, 'x.example'), 'undeclared host x.example')
  t.equal(decide(http, '', { address: '192.0.3.1' }), 'undeclared address 192.0.3.1:80')
  t.equal(decide(http, '', { speaks: 'other' }), 'undeclared address 192.0.2.1:80', 'HTTP is declared, not bytes')
  const tcp = [host('a.example', { resolution: 'NONE', cidrs }, 'tcp')]
  t.equal(decide(tcp, '', { speaks: 'other' }), 'as addressed (a.example)')
  t.equal(decide(tcp, 'x.example', { speaks: 'tls' }), 'as addressed (a.example)', 'bytes of any kind, TLS too')
})

t.test('an entry counts where it is exported to, and one’s own goes first', async (t) => {
  const theirs = host('a.example', { namespaces: ['away'] }, 'http', 'away')
  t.equal(decide([theirs], 'a.example'), 'undeclared host a.example')
  t.equal(decide([theirs], 'a.example', { namespace: 'away' }), 'to away/a.example:80')
  t.equal(decide([theirs], 'a.example', { namespace: undefined }), 'undeclared host a.example')
  const both = [host('a.example', {}, 'http', 'away'), host('a.example')]
  t.equal(decide(both, 'a.example'), 'to shop/a.example:80')
  t.equal(decide(both, 'a.example', { namespace: 'other' }), 'to away/a.example:80')
})

t.test('addresses in blocks', async (t) => {
  const cases: readonly (readonly [string, string, boolean])[] = [
    ['10.0.0.1', '10.0.0.0/8', true],
    ['11.0.0.1', '10.0.0.0/8', false],
    ['10.0.0.1', '0.0.0.0/0', true],
    ['10.0.0.1', '10.0.0.1/32', true],
    ['10.0.0.2', '10.0.0.1/32', false],
    ['2001:db8::1', '2001:db8::/32', true],
    ['2001:db9::1', '2001:db8::/32', false],
    ['::1', '::1/128', true],
    ['1:2:3:4:5:6:7:8', '1:2:3:4::/64', true],
    ['2001:db8::1', '0.0.0.0/0', false],
  ]
  for (const [address, block, expected] of cases)
    t.equal(isInBlock(address, parseBlock(block)), expected, `${address} in ${block}`)
  t.same(['10.0.0.1', '::1', 'a.example', '1.example'].map(isAddress), [true, true, false, false])
})
