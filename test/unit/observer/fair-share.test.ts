/** Of too many, some of each namespace. */
import t from 'tap'
import { fairShare, namespaceIn } from '#observer'

t.test('in rounds over namespaces, and in the order in which they came', async (t) => {
  const items = ['a/1', 'a/2', 'a/3', 'a/4', 'b/1', 'c/1', 'c/2']
  t.same(fairShare(items, 5, namespaceIn), ['a/1', 'a/2', 'b/1', 'c/1', 'c/2'])
  t.same(fairShare(items, 2, namespaceIn), ['a/1', 'b/1'])
  t.equal(fairShare(items, 7, namespaceIn), items)
})

t.test('whose a subject is', async (t) => {
  t.equal(namespaceIn('HTTPRoute shop/web'), 'shop')
  t.equal(namespaceIn('unknown -> shop/web'), 'shop')
  t.equal(namespaceIn('shop/a -> bank/b'), 'shop', 'who calls')
  t.equal(namespaceIn('shop/web:80 [fd00::1]:80'), 'shop')
  t.equal(namespaceIn('spiffe://cluster.local/ns/shop/sa/web'), 'shop')
  for (const nobody of ['proxy 1', 'agent', '', 'unknown']) t.equal(namespaceIn(nobody), '', nobody)
})
