import fc from 'fast-check'
import t from 'tap'
import { compileRegex } from '../../../src/routing/linear-regex.ts'

function matches(pattern: string, text: string): boolean {
  const compiled = compileRegex(pattern)
  if (!compiled.ok) throw new Error(compiled.error)
  return compiled.regex.matches(text)
}

t.test('the whole text must match', async (t) => {
  const table: readonly (readonly [string, string, boolean])[] = [
    ['', '', true],
    ['', 'a', false],
    ['abc', 'abc', true],
    ['abc', 'xabc', false],
    ['abc', 'abcx', false],
    ['/v[0-9]+/.*', '/v12/items', true],
    ['/v[0-9]+/.*', '/v/items', false],
    ['a|bc|', 'bc', true],
    ['a|bc|', '', true],
    ['a|bc', 'abc', false],
    ['(?:ab)*', 'ababab', true],
    ['(?P<name>ab)+?', 'abab', true],
    ['(?<name>ab)?', '', true],
    ['a{2}', 'aa', true],
    ['a{2}', 'aaa', false],
    ['a{2,}', 'aaaa', true],
    ['a{2,3}', 'aaaa', false],
    ['a{,3}', 'a{,3}', true],
    ['[^/]+', 'abc', true],
    ['[^/]+', 'a/c', false],
    ['[]a]+', ']a', true],
    ['[a-]+', 'a-', true],
    ['[\\d_-]+', '1_-2', true],
    ['\\w+\\s\\S\\D\\W', 'ab cd!', true],
    ['\\x41\\x{42}\\.', 'AB.', true],
    ['a.c', 'a\nc', false],
    ['(?s)a.c', 'a\nc', true],
    ['(?i)ABC[x-z]', 'abcY', true],
    ['(?i:a)b', 'Ab', true],
    ['(?i:a)b', 'AB', false],
    ['a(?i)b', 'aB', true],
    ['(a(?i)b)c', 'aBC', false],
    ['^abc$', 'abc', true],
    ['a^b', 'ab', false],
    ['(^a|b)+', 'ab', true],
    ['(^a|b)+', 'aba', false],
    ['(a$|b)+', 'ba', true],
    ['(a$|b)+', 'ab', false],
    ['a*$^', '', true],
    ['a*$^', 'a', false],
    ['\\Aa\\z', 'a', true],
    ['.*é.*', 'caffé!', true],
  ]
  for (const [pattern, text, expected] of table) {
    t.equal(matches(pattern, text), expected, `${JSON.stringify(pattern)} on ${JSON.stringify(text)}`)
  }
})

t.test('what is not supported or malformed is refused with its place', async (t) => {
  for (const pattern of [
    '(',
    ')',
    'a)',
    '[a',
    '*a',
    'a**',
    '(?=a)',
    '(?<!a)',
    '\\1',
    '\\b',
    '\\pL',
    '[z-a]',
    'a{3,2}',
    '[[:alpha:]]',
    'a{2000}',
    '\\',
    '\\xZZ',
  ]) {
    const compiled = compileRegex(pattern)
    t.notOk(compiled.ok, pattern)
    if (!compiled.ok) t.match(compiled.error, / at offset \d+ of /)
  }
})

t.test('expressions that explode are refused, and those that backtrack are not slow', async (t) => {
  t.notOk(compileRegex('((a{1000}){1000}){1000}').ok)
  t.notOk(compileRegex('(((){1000}){1000}){1000}').ok)
  t.notOk(compileRegex('('.repeat(1000)).ok)
  // A backtracking matcher needs 2^60000 steps for the first.
  t.equal(matches('(a+)+b', 'a'.repeat(60_000)), false)
  t.equal(matches('(a|a)*(a|a)*(a|a)*$', 'a'.repeat(60_000)), true)
})

t.test('the automaton may forget its states without changing its answers', async (t) => {
  // Tells its last 12 letters apart: thousands of states.
  const pattern = `(a|b)*a${'(a|b)'.repeat(12)}`
  const builtIn = new RegExp(`^(?:${pattern})$`)
  const compiled = compileRegex(pattern)
  if (!compiled.ok) throw new Error(compiled.error)
  let seed = 1
  let text = ''
  for (let i = 0; i < 4000; i += 1) {
    seed = (seed * 1103515245 + 12345) % 2147483648
    text += seed > 1073741824 ? 'a' : 'b'
  }
  for (let length = 0; length < text.length; length += 97) {
    const part = text.slice(0, length)
    t.equal(compiled.regex.matches(part), builtIn.test(part), `length ${length}`)
  }
})

t.test('it agrees with the built-in engine', async () => {
  const atom = fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', '\\d', 'c')
  const expression: fc.Arbitrary<string> = fc.letrec<{ node: string }>((tie) => ({
    node: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      atom,
      fc.tuple(tie('node'), tie('node')).map(([a, b]) => a + b),
      fc.tuple(tie('node'), tie('node')).map(([a, b]) => `(?:${a}|${b})`),
      fc.tuple(tie('node'), fc.constantFrom('*', '+', '?', '{2}', '{0,2}', '{1,}')).map(([a, q]) => `(?:${a})${q}`),
      fc.tuple(tie('node'), fc.constantFrom('^', '$')).map(([a, anchor]) => `(?:${anchor}|${a})`),
    ),
  })).node
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', '1', '\n'), maxLength: 8 })
  fc.assert(
    fc.property(expression, text, (pattern, text) => {
      const expected = new RegExp(`^(?:${pattern})$`).test(text)
      if (matches(pattern, text) !== expected)
        throw new Error(`${pattern} on ${JSON.stringify(text)}: want ${expected}`)
    }),
    { interruptAfterTimeLimit: 2000, numRuns: 2000 },
  )
})
