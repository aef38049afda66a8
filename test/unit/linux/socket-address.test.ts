import { SocketAddress } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { decodeSocketAddress, encodeSocketAddress } from '#linux'

t.test('addresses survive encoding, in canonical text', (t) => {
  fc.assert(
    fc.property(fc.ipV6(), fc.integer({ min: 0, max: 65535 }), (address, port) => {
      const decoded = decodeSocketAddress(encodeSocketAddress({ address, port }))
      const canonical = new SocketAddress({ family: 'ipv6', address }).address.replace(/^::ffff:(?=\d+\.)/, '')
      // The C library writes ::1.2.3.4 where RFC 5952 leaves hexadecimal.
      return decoded?.port === port && (decoded.address === canonical || canonical.includes('.'))
    }),
  )
  fc.assert(
    fc.property(fc.ipV4(), fc.integer({ min: 0, max: 65535 }), (address, port) => {
      const decoded = decodeSocketAddress(encodeSocketAddress({ address, port }))
      return decoded?.address === address && decoded.port === port
    }),
  )
  t.end()
})

t.test('a mapped address is told as IPv4', (t) => {
  t.equal(decodeSocketAddress(encodeSocketAddress({ address: '::ffff:10.0.0.1', port: 80 }))?.address, '10.0.0.1')
  t.end()
})

t.test('the longest run of zeros is shortened, the first of equals', (t) => {
  const canonical = (address: string) => decodeSocketAddress(encodeSocketAddress({ address, port: 1 }))?.address
  t.equal(canonical('2001:DB8:0:0:1:0:0:1'), '2001:db8::1:0:0:1')
  t.equal(canonical('2001:db8:0:1:1:1:1:1'), '2001:db8:0:1:1:1:1:1')
  t.equal(canonical('0:0:0:0:0:0:0:0'), '::')
  t.end()
})

t.test('what is no address is refused', (t) => {
  for (const address of [
    '',
    'localhost',
    '1.2.3',
    '1::2::3',
    ':::',
    '12345::',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    'g::',
  ]) {
    t.throws(() => encodeSocketAddress({ address, port: 1 }), { code: 'WEIR_LINUX_ADDRESS' }, address)
  }
  t.end()
})
