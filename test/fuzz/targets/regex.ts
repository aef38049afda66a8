/**
 * Regular expressions of routes: any pattern compiles or is refused; where JavaScript has the same dialect both say the
 * same of short texts; long texts cost what their length costs.
 */
import { compileRegex } from '../../../src/routing/linear-regex.ts'
import { Choices } from '../choices.ts'
import { type FuzzTarget, rule } from '../target.ts'

const ATOMS = ['a', 'b', '/', '.', '[ab]', '[^a]', '\\d', '\\w', '\\.', '(?:ab)', '(a|b)', '-', '0']
const REPEATS = ['', '', '*', '+', '?', '{2}', '{1,3}', '{0,}', '*?', '+?']

/** Small, and with few repetitions in repetitions: JavaScript's own matcher backtracks. */
function patternOf(choices: Choices, depth: number): string {
  let pattern = ''
  const parts = 1 + choices.below(4)
  for (let i = 0; i < parts; i++) {
    const atom = depth < 1 && choices.below(4) === 1 ? `(${patternOf(choices, depth + 1)})` : choices.pick(ATOMS)
    pattern += atom + choices.pick(REPEATS)
  }
  return choices.below(5) === 1 ? `${pattern}|${choices.pick(ATOMS)}` : pattern
}

export const regex: FuzzTarget = {
  name: 'regex',
  dictionary: [
    '(a+)+$',
    '[',
    ']',
    '(?i)',
    '(?:',
    ')',
    '{1000}',
    '{1000,1001}',
    '\\',
    '\\x{10ffff}',
    '\\pN',
    '^',
    '$',
    '|',
    '[[:alpha:]]',
    '\\Q',
  ],
  maxBytes: 300,
  run(input) {
    const free = compileRegex(input.toString('utf8'))
    if (free.ok) {
      free.regex.matches(input.toString('latin1'))
      free.regex.matches('a'.repeat(20_000))
    } else rule(free.error !== '', () => 'refused without a word')
    const choices = new Choices(input)
    const pattern = patternOf(choices, 0)
    const compiled = compileRegex(pattern)
    const expected = new RegExp(`^(?:${pattern})$`)
    rule(compiled.ok, () => `${pattern} is refused: ${compiled.ok ? '' : compiled.error}`)
    for (let i = 0; i < 6; i++) {
      const text = choices.list(6, () => choices.pick(['a', 'b', '/', '0', '.', '-'])).join('')
      rule(
        compiled.regex.matches(text) === expected.test(text),
        () => `${pattern} with ${JSON.stringify(text)}: JavaScript says ${expected.test(text)}`,
      )
    }
    return free.ok ? `matches ${pattern.length > 12}` : free.error.replace(/".*/s, '')
  },
}
