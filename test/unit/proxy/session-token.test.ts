import fc from 'fast-check'
import t from 'tap'
import { SessionScope } from '../../../src/proxy/session-token.ts'

const scope = (rule = '0', seed = '') => new SessionScope('cluster.local', 'shop/web', rule, seed)
const token = (endpoint = 'pod 1') => ({
  backend: scope().backendId('shop/web:80'),
  endpoint: scope().endpointId(endpoint),
  startedMs: 1_790_000_000_000,
  usedMs: 1_790_000_001_234,
})

t.test('a token is read by every node that knows the rule, and by no other rule', async (t) => {
  const text = scope().seal(token())
  t.same(scope().open(text), token())
  t.equal(scope('1').open(text), undefined)
  t.equal(scope('0', 'uid-of-the-route').open(text), undefined)
  t.match(text, /^[\w-]+$/, 'fit for a cookie')
})

t.test('nothing but what was sealed is read', async () => {
  const text = scope().seal(token())
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.constantFrom('A', 'z', '_', '='), (at, char) => {
      const other = text.slice(0, at) + char + text.slice(at + 1)
      // The last character holds bits that are none of the token.
      const same = Buffer.from(other, 'base64url').equals(Buffer.from(text, 'base64url'))
      return same || scope().open(other) === undefined
    }),
  )
  fc.assert(fc.property(fc.string(), (other) => scope().open(other) === undefined))
})

t.test('names of endpoints tell nothing of them, and are all different', async (t) => {
  const names = Array.from({ length: 1000 }, (_, index) => scope().endpointId(`10.0.0.${index} 80`))
  t.equal(new Set(names).size, 1000)
  t.equal(scope('1').endpointId('10.0.0.1 80') === names[1], false, 'nor are they those of another rule')
})
