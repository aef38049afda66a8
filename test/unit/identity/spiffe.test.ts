import fc from 'fast-check'
import t from 'tap'
import { parseSpiffeId, peerIdentity, spiffeId } from '#identity'

const name = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/)

t.test('an ID is written as Istio writes it', async (t) => {
  t.equal(spiffeId('cluster.local', 'shop', 'web'), 'spiffe://cluster.local/ns/shop/sa/web')
})

t.test('reading gives back what was written', async (t) => {
  fc.assert(
    fc.property(name, name, name, (trustDomain, namespace, serviceAccount) => {
      t.strictSame(parseSpiffeId(spiffeId(trustDomain, namespace, serviceAccount)), {
        trustDomain,
        namespace,
        serviceAccount,
      })
    }),
    { interruptAfterTimeLimit: 2000, markInterruptAsFailure: false },
  )
})

t.test('what is not exactly a workload ID is refused', async (t) => {
  for (const text of [
    '',
    'cluster.local/ns/shop/sa/web',
    'SPIFFE://cluster.local/ns/shop/sa/web',
    'spiffe://Cluster.local/ns/shop/sa/web',
    'spiffe:///ns/shop/sa/web',
    'spiffe://cluster.local/ns/shop/sa/web/',
    'spiffe://cluster.local/ns/shop/sa/web/extra',
    'spiffe://cluster.local/ns/shop/sa/',
    'spiffe://cluster.local/ns//sa/web',
    'spiffe://cluster.local/ns/../sa/web',
    'spiffe://cluster.local/sa/shop/ns/web',
    'spiffe://cluster.local:80/ns/shop/sa/web',
    'spiffe://user@cluster.local/ns/shop/sa/web',
    'spiffe://cluster.local/ns/shop/sa/web?x',
    'spiffe://cluster.local/ns/shop/sa/web#x',
    'spiffe://cluster.local/ns/shop/sa/w%65b',
    'spiffe://cluster.local/ns/shop/sa/web\n',
    `spiffe://cluster.local/ns/shop/sa/${'w'.repeat(2048)}`,
  ]) {
    t.equal(parseSpiffeId(text), undefined, JSON.stringify(text))
  }
})

t.test('parts that would change the shape of an ID are a bug', async (t) => {
  t.throws(() => spiffeId('cluster.local/ns/admin', 'a', 'b'), RangeError)
  t.throws(() => spiffeId('cluster.local', 'a/sa/root', 'b'), RangeError)
  t.throws(() => spiffeId('cluster.local', 'a', '..'), RangeError)
  t.throws(() => spiffeId('', 'a', 'b'), RangeError)
})

t.test('a peer is named without the scheme', async (t) => {
  const peer = peerIdentity('cluster.local', { namespace: 'shop', serviceAccount: 'web' })
  t.strictSame(peer, { namespace: 'shop', serviceAccount: 'web', principal: 'cluster.local/ns/shop/sa/web' })
  t.ok(Object.isFrozen(peer))
})
