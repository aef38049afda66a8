import t from 'tap'
import { WantedAccounts } from '../../../agent/identity/wanted-accounts.ts'

const pod = (uid: string, serviceAccount = uid) => ({ uid, namespace: 'shop', serviceAccount })

t.test('a certificate is needed until the last connections of its pod have ended', async (t) => {
  const accounts = new WantedAccounts()
  const names = (...args: Parameters<WantedAccounts['update']>) =>
    Array.from(accounts.update(...args), ({ serviceAccount }) => serviceAccount)
  t.same(names([pod('a'), pod('b')], []), ['a', 'b'])
  t.same(names([pod('b')], [{ uid: 'a' }, { uid: 'b' }]), ['a', 'b'], 'it drains')
  t.same(names([pod('b')], [{ uid: 'b' }]), ['b'])
  t.same(names([], [{ uid: 'c' }]), [], 'of a pod that was never wanted nothing is known')
})

t.test('a pod that changes its account needs the new one alone', async (t) => {
  const accounts = new WantedAccounts()
  accounts.update([pod('a', 'old')], [])
  t.same([...accounts.update([pod('a', 'new')], [{ uid: 'a' }])], [{ namespace: 'shop', serviceAccount: 'new' }])
})
