/** Names with stars. */
import fc from 'fast-check'
import t from 'tap'
import { matchesGlob } from '../../../../src/observer/alerts/glob.ts'

t.test('a star is any run of characters but a slash; alone it is everything', async (t) => {
  for (const [pattern, name, expected] of [
    ['*', 'shop/web', true],
    ['*', '', true],
    ['shop/*', 'shop/web', true],
    ['shop/*', 'shop/', true],
    ['shop/*', 'shop/a/b', false],
    ['*/web', 'shop/web', true],
    ['*/*', 'shop/web', true],
    ['*/*', 'web', false],
    ['shop/w*b', 'shop/web', true],
    ['shop/w*b*', 'shop/wabba', true],
    ['shop/w*b', 'shop/webs', false],
    ['shop/web', 'shop/web', true],
    ['shop/web', 'shop/web2', false],
    ['', 'a', false],
  ] as const) {
    t.equal(matchesGlob(pattern, name), expected, `${pattern} ${name}`)
  }
})

t.test('it says what a regular expression says', async (t) => {
  const text = fc.stringMatching(/^[ab/]{0,8}$/)
  fc.assert(
    fc.property(fc.stringMatching(/^[ab/*]{0,6}$/), text, (pattern, name) => {
      const expected = pattern === '*' || new RegExp(`^${pattern.replaceAll('*', '[^/]*')}$`).test(name)
      if (matchesGlob(pattern, name) !== expected) throw new Error(`${pattern} ${name}`)
    }),
    { numRuns: 2000 },
  )
  t.pass()
})
