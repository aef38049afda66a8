/**
 * Bodies that are translated: read where JSON.parse reads, but for names that come twice and what is beyond the bounds; the
 * same value comes out; whatever rules do, it is JSON within its bound, and no prototype is touched.
 */
import type { BodyRule } from '#contract'
import { translateBody } from '#translation'
import { compileRule } from '../../../src/translation/body-rules.ts'
import { type FuzzTarget, rule } from '../target.ts'

const RULES: readonly BodyRule[] = [
  { type: 'Rename', path: ['a'], to: '__proto__' },
  { type: 'Move', from: ['l', null, 'b'], to: ['l', null, 'c', 'd'] },
  { type: 'Move', from: ['c'], to: ['constructor', 'prototype', 'polluted'] },
  { type: 'Default', path: ['l', null, 'e'], value: '{"f":[1.0]}' },
  { type: 'Remove', path: ['l', '1'] },
  { type: 'Set', path: ['__proto__', 'polluted'], value: 'true' },
  { type: 'Remove', path: ['x', null] },
]
const compiled = RULES.map(compileRule)
const MOST = 4096
/** Refused, though JSON.parse takes it. */
const OURS = /^(?:a name comes twice|nested deeper|more than)/

function parsed(bytes: Uint8Array): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) }
  } catch {
    return undefined
  }
}

export const json: FuzzTarget = {
  name: 'json',
  dictionary: [
    '"a":',
    '"l":[',
    '{"b":1}',
    '"\\u0061"',
    '__proto__',
    '1.0e-5',
    '-0',
    'null',
    '\\',
    ',',
    '{}',
    '[]',
    '\ufeff',
  ],
  maxBytes: 1000,
  run(input) {
    const expected = parsed(input)
    const same = translateBody(input, [], MOST)
    if (same.kind === 'malformed') {
      const known = OURS.test(same.problem)
      rule(expected === undefined || known, () => `refused, but JSON.parse takes it: ${same.problem}`)
      return known ? 'refused by us' : same.problem.replace(/ at character .*/, '')
    }
    rule(expected !== undefined, () => 'taken, but JSON.parse refuses it')
    if (same.kind === 'too-large') return 'too large'
    const again = JSON.stringify(JSON.parse(same.text))
    rule(again === JSON.stringify(expected.value), () => `${same.text} is another value`)
    const changed = translateBody(input, compiled, MOST)
    if (changed.kind === 'translated') {
      rule(changed.text.length <= MOST, () => 'longer than it may be')
      rule(parsed(Buffer.from(changed.text)) !== undefined, () => `no JSON came out: ${changed.text}`)
    }
    rule(!('polluted' in {}), () => 'a prototype was changed')
    return `translated, ${changed.kind}`
  },
}
