import { isIPv6 } from 'node:net'
import fc from 'fast-check'
import t from 'tap'
import { canonicalAddress, canonicalCidr, canonicalNetwork } from '#resources'

t.test('Addresses are written canonically', (t) => {
  const cases: [string, string | undefined][] = [
    ['10.0.0.1', '10.0.0.1'],
    ['FD00:0:0:0:0:0:0:1', 'fd00::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:a00:1', '10.0.0.1'],
    ['64:ff9b::1.2.3.4', '64:ff9b::102:304'],
    ['010.0.0.1', undefined],
    ['fe80::1%eth0', undefined],
    ['10.0.0', undefined],
    ['', undefined],
  ]
  for (const [text, expected] of cases) t.equal(canonicalAddress(text), expected, text)
  t.end()
})

t.test('Every IPv6 address has one text, which reads back as itself', (t) => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 }), (groups) => {
      const full = groups.map((group) => group.toString(16).toUpperCase().padStart(4, '0')).join(':')
      const text = canonicalAddress(full)
      return (
        text !== undefined &&
        (isIPv6(text) || !text.includes(':')) &&
        canonicalAddress(text) === text &&
        (!text.includes(':') || new URL(`http://[${full}]/`).hostname === `[${text}]`)
      )
    }),
    { numRuns: 300 },
  )
  t.end()
})

t.test('CIDR blocks keep their host bits and always have a length', (t) => {
  const cases: [string, string | undefined][] = [
    ['10.1.2.3/8', '10.1.2.3/8'],
    ['10.0.0.1', '10.0.0.1/32'],
    ['FD00::/8', 'fd00::/8'],
    ['::1', '::1/128'],
    ['0.0.0.0/0', '0.0.0.0/0'],
    ['::ffff:10.0.0.0/104', '10.0.0.0/8'],
    ['::ffff:10.0.0.0/8', undefined],
    ['10.0.0.0/33', undefined],
    ['10.0.0.0/08', undefined],
    ['10.0.0.0/', undefined],
    ['fd00::/129', undefined],
  ]
  for (const [text, expected] of cases) t.equal(canonicalCidr(text), expected, text)
  t.end()
})

t.test('A network has its host bits cleared', (t) => {
  const cases: [string, string | undefined][] = [
    ['10.1.2.3/8', '10.0.0.0/8'],
    ['10.1.2.3/17', '10.1.0.0/17'],
    ['10.1.255.3/17', '10.1.128.0/17'],
    ['10.1.2.3', '10.1.2.3/32'],
    ['10.1.2.3/0', '0.0.0.0/0'],
    ['FD00::1:2/112', 'fd00::1:0/112'],
    ['fd00:ffff::/17', 'fd00:8000::/17'],
    ['fd00::1', 'fd00::1/128'],
    ['::ffff:10.1.2.3/104', '10.0.0.0/8'],
    ['10.0.0.0/33', undefined],
  ]
  for (const [text, expected] of cases) t.equal(canonicalNetwork(text), expected, text)
  t.end()
})
