import t from 'tap'
import { firstQueryValue } from '../../../src/routing/query.ts'

t.test('the first value of a parameter is found and decoded', async (t) => {
  const table: readonly (readonly [string, string, string | undefined])[] = [
    ['', 'a', undefined],
    ['a', 'a', ''],
    ['a=', 'a', ''],
    ['a=1', 'a', '1'],
    ['b=2&a=1', 'a', '1'],
    ['a=1&a=2', 'a', '1'],
    ['ab=1', 'a', undefined],
    ['a=b=c', 'a', 'b=c'],
    ['x&a=1', 'a', '1'],
    ['&&a=1', 'a', '1'],
    ['b&c=a=1', 'a', undefined],
    ['a=%20x%C3%A9', 'a', ' xé'],
    ['%61=1', 'a', '1'],
    ['%6', 'a', undefined],
    ['a=1+2', 'a', '1+2'],
    ['a=%zz', 'a', '%zz'],
    ['a=%ff', 'a', '%ff'],
    ['A=1', 'a', undefined],
  ]
  for (const [query, name, expected] of table) t.equal(firstQueryValue(query, name), expected, `${name} of ${query}`)
})
