import t from 'tap'
import { RevokedCertificates } from '#tunnel'

t.test('a certificate is revoked by its CA and serial number together, anywhere in the chain', async (t) => {
  const revoked = new RevokedCertificates()
  const name = (issuer: string, serial: string) => ({ issuer, serial })
  const leaf = name('CN=between', 'A1')
  t.equal(revoked.find([leaf]), undefined)
  t.equal(revoked.update([]), false)
  t.equal(revoked.update([{ issuer: 'CN=between', serials: ['A1', 'B2'] }]), true)
  t.equal(revoked.update([{ issuer: 'CN=between', serials: ['A1', 'B2'] }]), false, 'the same again')
  t.equal(revoked.find([leaf]), 'A1')
  t.equal(revoked.find([name('CN=other', 'A1')]), undefined)
  t.equal(revoked.find([name('CN=between', 'A10')]), undefined)
  const lists = [
    { issuer: 'CN=root', serials: ['C3'] },
    { issuer: 'CN=root', serials: ['D4'] },
  ]
  t.equal(revoked.update(lists), true)
  t.equal(revoked.find([leaf]), undefined, 'taken off the list')
  t.equal(revoked.find([leaf, name('CN=root', 'C3')]), 'C3')
  t.equal(revoked.find([leaf, name('CN=root', 'D4')]), 'D4', 'two lists of one CA')
})
