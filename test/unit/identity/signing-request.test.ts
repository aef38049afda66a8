import { createPublicKey } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { createKeyPair, createSigningRequest, readSigningRequest } from '#identity/ca'
import { makeKey, openssl } from './openssl-pki.ts'

const ID = 'spiffe://cluster.local/ns/shop/sa/cart'

t.test('a request of ours says only the key and the identity, and openssl agrees', async (t) => {
  const keyPair = await createKeyPair()
  const pem = await createSigningRequest(keyPair, ID)
  const text = openssl(['req', '-noout', '-text', '-verify'], pem)
  t.match(text, /Subject: \n/)
  t.match(text, /Subject Alternative Name: critical\n +URI:spiffe:\/\/cluster\.local\/ns\/shop\/sa\/cart\n/)
  const read = await readSigningRequest(pem)
  t.strictSame(read.names, [`uri:${ID}`])
  t.ok(read.publicKey.equals(createPublicKey(keyPair.publicKeyPem)))
})

t.test("openssl's requests are read, with every name they ask for", async (t) => {
  const directory = t.testdir({})
  const config = join(directory, 'req.cnf')
  const names = ['URI:spiffe://a/ns/b/sa/c', 'DNS:cart.shop', 'IP:10.0.0.1', 'email:x@y.z', 'URI:https://elsewhere/']
  writeFileSync(
    config,
    `[req]\ndistinguished_name=dn\nreq_extensions=ext\n[dn]\n[ext]\nsubjectAltName=${names.join(',')}\n`,
  )
  for (const kind of ['ec-pkcs8', 'ec-p384', 'rsa-pkcs8'] as const) {
    const key = makeKey(directory, kind, kind)
    const pem = openssl(['req', '-new', '-key', key, '-config', config, '-subj', '/O=Example/CN=cart'])
    const read = await readSigningRequest(pem)
    t.strictSame(
      read.names,
      ['uri:spiffe://a/ns/b/sa/c', 'dns:cart.shop', 'ip:10.0.0.1', 'email:x@y.z', 'uri:https://elsewhere/'],
      kind,
    )
  }
  writeFileSync(config, '[req]\ndistinguished_name=dn\n[dn]\n')
  const bare = openssl([
    'req',
    '-new',
    '-key',
    makeKey(directory, 'bare', 'ec-sec1'),
    '-config',
    config,
    '-subj',
    '/CN=cart',
  ])
  t.strictSame((await readSigningRequest(bare)).names, [], 'and none where none is asked for')
})

t.test('what is no sound request is refused in one line', async (t) => {
  const pem = await createSigningRequest(await createKeyPair(), ID)
  const other = await createSigningRequest(await createKeyPair(), ID)
  const der = (text: string) => Buffer.from(text.replace(/-----[^-]+-----/g, ''), 'base64')
  const wrap = (bytes: Buffer) =>
    `-----BEGIN CERTIFICATE REQUEST-----\n${bytes.toString('base64')}\n-----END CERTIFICATE REQUEST-----\n`
  const forged = der(pem)
  // The name is signed: one letter of it changed, and the signature no longer holds.
  forged.writeUInt8('C'.charCodeAt(0), forged.indexOf('/cart') + 1)
  const cases: readonly (readonly [string, string, RegExp])[] = [
    ['empty', '', /not one PEM block/],
    ['garbage', 'x'.repeat(100), /not one PEM block/],
    ['too large', pem + ' '.repeat(20_000), /larger than 16384 bytes/],
    ['a certificate', pem.replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE'), /not one PEM block/],
    ['no DER', wrap(Buffer.from('nonsense')), /cannot be read|does not verify|Cannot read/],
    ['cut short', wrap(der(pem).subarray(0, 100)), /cannot be read/],
    ['two requests', pem + other, /./],
    ['another name than was signed', wrap(forged), /signature does not verify/],
  ]
  for (const [name, text, message] of cases)
    await t.rejects(readSigningRequest(text), { code: 'WEIR_CA_REQUEST', message }, name)
  for (let i = 0; i < 200; i += 1) {
    const bytes = der(pem)
    bytes.writeUInt8(bytes.readUInt8(i) ^ 0x55, i)
    await t.rejects(readSigningRequest(wrap(bytes)), { code: 'WEIR_CA_REQUEST' }, `byte ${i} changed`)
  }
})

t.test('a weak key is not certified', async (t) => {
  const directory = t.testdir({})
  const key = join(directory, 'weak.key')
  openssl(['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024', '-out', key])
  const pem = openssl(['req', '-new', '-key', key, '-subj', '/CN=x'])
  await t.rejects(readSigningRequest(pem), {
    code: 'WEIR_CA_REQUEST',
    message: /RSA of 1024 bits, expected 2048 to 8192/,
  })
})
