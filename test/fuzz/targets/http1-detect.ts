/** What a connection speaks: once decided, more bytes do not change it, and what parses as a request is HTTP. */
import { detect, Head, mayBecomeRequest, PARSE_DONE } from '#http'
import { cutsOf, type FuzzTarget, rule } from '../target.ts'
import { HTTP1_WORDS } from './http1-words.ts'

export const http1Detect: FuzzTarget = {
  name: 'http1-detect',
  dictionary: HTTP1_WORDS,
  maxBytes: 10_000,
  run(input) {
    const whole = detect(input, 0, input.length)
    for (const cut of cutsOf(input.length)) {
      const early = detect(input, 0, cut)
      rule(early === 'more' || early === whole, () => `${early} after ${cut} bytes, ${whole} in the end`)
    }
    const head = new Head(16_384, 128)
    if (head.parseRequest(input, 0, input.length) === PARSE_DONE) {
      rule(whole === 'http1' || whole === 'http2', () => `a request is taken for ${whole}`)
    }
    return `${whole} ${mayBecomeRequest(input, 0, input.length)}`
  },
}
