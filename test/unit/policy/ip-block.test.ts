import { BlockList, isIP, isIPv4, isIPv6 } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { blockContains, IpAddress, parseIpBlock, readIp } from '#policy'

function contains(block: string, address: string): boolean | undefined {
  const compiled = parseIpBlock(block)
  const parsed = new IpAddress()
  if (compiled === undefined || !readIp(address, parsed)) return undefined
  return blockContains(compiled, parsed)
}

t.test('blocks contain what they should', async (t) => {
  const table: [string, string, boolean][] = [
    ['10.0.0.0/8', '10.255.1.2', true],
    ['10.0.0.0/8', '11.0.0.0', false],
    ['10.9.9.9/8', '10.0.0.1', true],
    ['10.0.0.1', '10.0.0.1', true],
    ['10.0.0.1', '10.0.0.2', false],
    ['0.0.0.0/0', '255.255.255.255', true],
    ['255.255.255.255/32', '255.255.255.255', true],
    ['128.0.0.0/1', '127.255.255.255', false],
    ['0.0.0.0/0', '::1', false],
    ['::/0', '1.2.3.4', false],
    ['::/0', '2001:db8::1', true],
    ['2001:db8::/32', '2001:db8:ffff::1', true],
    ['2001:db8::/32', '2001:db9::', false],
    ['fd00::/9', 'fd7f::1', true],
    ['fd00::/9', 'fd80::1', false],
    ['fe80::1', 'fe80::1%eth0', true],
    ['10.0.0.0/8', '::ffff:10.1.2.3', true],
    ['::ffff:10.0.0.0/104', '10.1.2.3', true],
    ['::ffff:0a01:0203', '10.1.2.3', true],
    ['2001:db8::1/128', '2001:0DB8:0:0:0:0:0:1', true],
  ]
  for (const [block, address, expected] of table) t.equal(contains(block, address), expected, `${block} ${address}`)
})

t.test('malformed blocks and addresses are refused', async (t) => {
  for (const text of [
    '',
    '10',
    '10.0.0',
    '10.0.0.0.0',
    '10.0.0.256',
    '010.0.0.1',
    '10.0.0.0/',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    '10.0.0.0/8/8',
    ':',
    ':1',
    '1:',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '::/129',
    'g::',
    '12345::',
    '::1.2.3',
    '1:2:3:4:5:6:7:1.2.3.4',
    'fe80::1%eth0/64',
    'web',
  ]) {
    t.equal(parseIpBlock(text), undefined, JSON.stringify(text))
  }
})

const v4 = fc.ipV4()
const v6 = fc.oneof(
  fc.ipV6(),
  fc.array(fc.constantFrom('0', '1', 'ffff', 'db8'), { minLength: 8, maxLength: 8 }).map((groups) => groups.join(':')),
)

t.test('addresses are read exactly as node:net reads them', async (t) => {
  const noise = fc.string({
    unit: fc.constantFrom(':', '::', '.', '0', '1', 'f', '25', '1.2.3.4', 'ffff'),
    maxLength: 12,
  })
  fc.assert(
    fc.property(fc.oneof(noise, v4, v6), (text) => {
      if (readIp(text, new IpAddress()) !== isIP(text) > 0) throw new Error(text)
    }),
    { numRuns: 5000, interruptAfterTimeLimit: 2000, markInterruptAsFailure: false },
  )
  t.pass('agrees')
})

t.test('blocks match exactly as those of node:net', async (t) => {
  const mapped = (text: string): boolean => {
    const address = new IpAddress()
    return readIp(text, address) && address.family === 4 && isIPv6(text)
  }
  let hits = 0
  const check = (network: string, length: number, address: string): void => {
    if (mapped(network) || mapped(address)) return
    const list = new BlockList()
    list.addSubnet(network, length, isIPv4(network) ? 'ipv4' : 'ipv6')
    const expected = list.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
    if (expected) hits++
    if (contains(`${network}/${length}`, address) !== expected) throw new Error(`${network}/${length} ${address}`)
  }
  fc.assert(
    fc.property(v4, fc.integer({ min: 0, max: 32 }), v4, (network, length, address) => {
      check(network, length, address)
      check(network, length, network)
    }),
    { numRuns: 2000, interruptAfterTimeLimit: 2000, markInterruptAsFailure: false },
  )
  fc.assert(
    fc.property(v6, fc.integer({ min: 0, max: 128 }), v6, (network, length, address) => {
      check(network, length, address)
      check(network, length, network)
    }),
    { numRuns: 2000, interruptAfterTimeLimit: 2000, markInterruptAsFailure: false },
  )
  t.ok(hits > 1000)
})
