/** The server name of a ClientHello: once decided, more bytes do not change it, and what is read is a host name. */
import { MAX_HELLO_BYTES, readClientHello } from '#http'
import { cutsOf, type FuzzTarget, rule } from '../target.ts'

export const clientHello: FuzzTarget = {
  name: 'client-hello',
  dictionary: [
    '\x16\x03\x01',
    '\x15\x03\x01\x00\x02',
    '\x00\x00\x00\x10',
    '\x00\x0b',
    'a.example',
    '\x01\x00\x00',
    '\x1a\x1a\x00\x01\x00',
    '.',
    '\x00',
  ],
  maxBytes: 4000,
  run(input) {
    const whole = readClientHello(input)
    for (const cut of cutsOf(input.length)) {
      const early = readClientHello(input, 0, cut)
      rule(
        early.kind === 'more' || JSON.stringify(early) === JSON.stringify(whole),
        () => `${JSON.stringify(early)} after ${cut} bytes, ${JSON.stringify(whole)} in the end`,
      )
    }
    rule(whole.kind !== 'more' || input.length <= MAX_HELLO_BYTES + 16_389, () => 'more is awaited for ever')
    if (whole.kind !== 'hello') return whole.kind === 'unreadable' ? whole.why.replace(/\d+/g, 'N') : whole.kind
    rule(/^$|^[a-z0-9_:-]+(\.[a-z0-9_-]+)*$/.test(whole.serverName), () => JSON.stringify(whole.serverName))
    return `hello ${whole.serverName !== ''}`
  },
}
