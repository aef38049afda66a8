import { createHash, createPublicKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { connect, createServer, type TLSSocket } from 'node:tls'
import t, { type Test } from 'tap'
import { CertificateAuthority, createKeyPair, describeCertificate, type IssuedCertificate } from '#identity/ca'
import { makeIntermediate, makeKey, makeRoot, openssl } from './openssl-pki.ts'

const ID = 'spiffe://cluster.local/ns/shop/sa/cart'
const DAY_MS = 86_400_000
const wholeSecond = () => Math.floor(Date.now() / 1000) * 1000

async function issue(ca: CertificateAuthority, nowMs = Date.now(), ttlMs = DAY_MS) {
  const keyPair = await createKeyPair()
  return { keyPair, issued: await ca.sign({ publicKey: keyPair.publicKeyPem, spiffeId: ID, ttlMs, nowMs }) }
}

/** What openssl says of the chain, with its strictest reading of RFC 5280, as a server's and as a client's. */
function verify(t: Test, issued: IssuedCertificate, rootsPem: string): void {
  const directory = t.testdir({
    'leaf.pem': issued.certificatePem,
    'roots.pem': rootsPem,
    'between.pem': issued.intermediatesPem.join(''),
  })
  const between = issued.intermediatesPem.length > 0 ? ['-untrusted', join(directory, 'between.pem')] : []
  for (const purpose of ['sslserver', 'sslclient']) {
    const args = ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', join(directory, 'roots.pem'), ...between]
    t.match(openssl([...args, join(directory, 'leaf.pem')]), /leaf\.pem: OK/, purpose)
  }
}

t.test('a certificate is an X.509 SVID, field by field', async (t) => {
  const nowMs = wholeSecond()
  const ca = await CertificateAuthority.generate(nowMs)
  const { keyPair, issued } = await issue(ca, nowMs)
  const certificate = new X509Certificate(issued.certificatePem)
  t.equal(certificate.subject, undefined, 'the subject is empty')
  t.equal(certificate.subjectAltName, `URI:${ID}`)
  t.equal(certificate.ca, false)
  t.equal(certificate.validFromDate.getTime(), nowMs - 120_000)
  t.equal(certificate.validToDate.getTime(), nowMs + DAY_MS)
  t.equal(issued.notBeforeMs, nowMs - 120_000)
  t.equal(issued.notAfterMs, nowMs + DAY_MS)
  t.equal(certificate.serialNumber, issued.serial)
  t.ok(certificate.publicKey.equals(createPublicKey(keyPair.publicKeyPem)))
  t.strictSame(certificate.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2'], 'server and client')

  const text = openssl(['x509', '-noout', '-text'], issued.certificatePem)
  t.match(text, /Version: 3 /)
  t.match(text, /Subject Alternative Name: critical\n +URI:spiffe:\/\/cluster\.local\/ns\/shop\/sa\/cart\n/)
  t.match(text, /X509v3 Key Usage: critical\n +Digital Signature\n/, 'and no other usage')
  t.match(text, /Basic Constraints: critical\n +CA:FALSE\n/)
  t.match(text, /Extended Key Usage: \n +TLS Web Server Authentication, TLS Web Client Authentication\n/)
  t.match(text, /ASN1 OID: prime256v1/)
  t.match(text, /Signature Algorithm: ecdsa-with-SHA256/)
  const ownKey = /Subject Key Identifier: \n +([0-9A-F:]+)/
  const root = openssl(['x509', '-noout', '-text'], ca.certificatePem)
  t.equal(/Authority Key Identifier: \n +(?:keyid:)?([0-9A-F:]+)/.exec(text)?.[1], ownKey.exec(root)?.[1])
  // RFC 5280 section 4.2.1.2 (1): SHA-1 of the key's bits, of which the last 65 bytes of a P-256 SPKI consist.
  const point = certificate.publicKey.export({ type: 'spki', format: 'der' }).subarray(-65)
  t.equal(ownKey.exec(text)?.[1]?.replaceAll(':', '').toLowerCase(), createHash('sha1').update(point).digest('hex'))
  verify(t, issued, ca.trustBundlePem.join(''))
})

t.test('a generated root is a CA for ten years and nothing else', async (t) => {
  const nowMs = wholeSecond()
  const ca = await CertificateAuthority.generate(nowMs)
  const root = new X509Certificate(ca.certificatePem)
  t.equal(root.ca, true)
  t.equal(root.validToDate.getTime() - nowMs, 3650 * DAY_MS)
  t.equal(ca.notAfterMs, nowMs + 3650 * DAY_MS)
  t.strictSame(ca.trustBundlePem, [ca.certificatePem])
  t.strictSame(ca.intermediatesPem, [])
  const text = openssl(['x509', '-noout', '-text'], ca.certificatePem)
  t.match(text, /Basic Constraints: critical\n +CA:TRUE\n/)
  t.match(text, /Key Usage: critical\n +Certificate Sign, CRL Sign\n/)
  const other = new X509Certificate((await CertificateAuthority.generate(nowMs)).certificatePem)
  t.not(other.subject, root.subject, 'two roots have two names')
})

t.test('serial numbers are random and have 128 bits', async (t) => {
  const ca = await CertificateAuthority.generate(Date.now())
  const serials = await Promise.all(Array.from({ length: 40 }, async () => (await issue(ca)).issued.serial))
  t.equal(new Set(serials).size, 40)
  // Leading zero bytes are not written: in 40 draws some number reaches the top byte.
  t.equal(Math.max(...serials.map(({ length }) => length)), 32)
  t.ok(
    serials.some((serial) => /^[89A-F]/.test(serial) && serial.length === 32),
    'the top bit is used and the number stays positive',
  )
})

t.test('no certificate outlives the CA', async (t) => {
  const nowMs = wholeSecond()
  const ca = await CertificateAuthority.generate(nowMs)
  const lateMs = ca.notAfterMs - 3_600_000
  t.equal((await issue(ca, lateMs)).issued.notAfterMs, ca.notAfterMs)
  t.equal((await issue(ca, lateMs, 60_000)).issued.notAfterMs, lateMs + 60_000)
  await t.rejects(issue(ca, ca.notAfterMs), { code: 'WEIR_CA_EXPIRED', message: /replace its certificate/ })
  const early = (await issue(ca, nowMs, 60_000)).issued
  t.ok(early.notBeforeMs >= new X509Certificate(ca.certificatePem).validFromDate.getTime(), 'nor begins before it')
})

t.test('what is no workload identity, no lifetime or no good key is not signed', async (t) => {
  const ca = await CertificateAuthority.generate(Date.now())
  const { publicKeyPem } = await createKeyPair()
  const directory = t.testdir({})
  const weak = join(directory, 'weak.key')
  openssl(['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024', '-out', weak])
  const sign = async (change: object) =>
    ca.sign({ publicKey: publicKeyPem, spiffeId: ID, ttlMs: DAY_MS, nowMs: Date.now(), ...change })
  for (const spiffeId of [
    '',
    'https://a/b',
    'spiffe://cluster.local/ns/a',
    'spiffe://td/ns/a/sa/b c',
    'spiffe://td/ns/../sa/b',
  ]) {
    await t.rejects(
      sign({ spiffeId }),
      { code: 'WEIR_CA_REQUEST', message: /not the SPIFFE ID of a workload/ },
      spiffeId,
    )
  }
  for (const ttlMs of [0, -1, 999, Number.NaN])
    await t.rejects(sign({ ttlMs }), { message: /at least 1s/ }, String(ttlMs))
  await t.rejects(sign({ publicKey: openssl(['pkey', '-in', weak, '-pubout']) }), { message: /RSA of 1024 bits/ })
  const ed = openssl(['pkey', '-pubout'], openssl(['genpkey', '-algorithm', 'ED25519']))
  await t.rejects(sign({ publicKey: ed }), { message: /ed25519 key, expected EC or RSA/ })
  const k1 = openssl(['ec', '-pubout'], openssl(['ecparam', '-name', 'secp256k1', '-genkey', '-noout']))
  await t.rejects(sign({ publicKey: k1 }), { message: /secp256k1 is not one of/ })
  await t.rejects(sign({ publicKey: 'nonsense' }), { message: /Cannot read the public key/ })
})

for (const kind of ['ec-pkcs8', 'ec-sec1', 'ec-p384', 'rsa-pkcs8', 'rsa-pkcs1'] as const) {
  t.test(`a user's own root signs with its ${kind} key`, async (t) => {
    const root = makeRoot(t.testdir({}), 'own root', kind)
    const material = { certificatePem: root.pem, privateKeyPem: root.key, chainPem: [], rootsPem: [root.pem] }
    const { issued } = await issue(await CertificateAuthority.fromMaterial(material, Date.now()))
    verify(t, issued, root.pem)
    const issuer = (pem: string, which: string) => openssl(['x509', '-noout', `-${which}_hash`], pem)
    t.equal(issuer(issued.certificatePem, 'issuer'), issuer(root.pem, 'subject'))
  })
}

t.test('an intermediate signs under the root, sends itself along, and ends what it signs', async (t) => {
  const directory = t.testdir({})
  const root = makeRoot(directory, 'root')
  const upper = makeIntermediate(directory, 'upper', root, 300)
  const lower = makeIntermediate(directory, 'lower', upper, 100)
  const material = {
    certificatePem: lower.pem,
    privateKeyPem: lower.key,
    chainPem: [root.pem, upper.pem],
    rootsPem: [root.pem],
  }
  const ca = await CertificateAuthority.fromMaterial(material, Date.now())
  const { issued } = await issue(ca, Date.now(), 365 * DAY_MS)
  t.strictSame(
    issued.intermediatesPem.map((pem) => describeCertificate(pem).subject),
    ['O=Example, CN=lower', 'O=Example, CN=upper'],
  )
  t.equal(issued.notAfterMs, new X509Certificate(lower.pem).validToDate.getTime())
  verify(t, issued, root.pem)
})

t.test('while one root replaces another, certificates of both verify against the bundle', async (t) => {
  const directory = t.testdir({})
  const [before, after] = [makeRoot(directory, 'before'), makeRoot(directory, 'after')]
  const rootsPem = [before.pem, after.pem]
  const load = (own: typeof before) =>
    CertificateAuthority.fromMaterial(
      { certificatePem: own.pem, privateKeyPem: own.key, chainPem: [], rootsPem },
      Date.now(),
    )
  for (const ca of [await load(before), await load(after)]) {
    const { issued } = await issue(ca)
    t.strictSame(issued.trustBundlePem, rootsPem)
    verify(t, issued, rootsPem.join(''))
  }
})

t.test('material that does not fit together is refused', async (t) => {
  const directory = t.testdir({})
  const [root, other] = [makeRoot(directory, 'root'), makeRoot(directory, 'other')]
  const material = { certificatePem: root.pem, privateKeyPem: root.key, chainPem: [], rootsPem: [other.pem] }
  await t.rejects(CertificateAuthority.fromMaterial(material, Date.now()), {
    code: 'WEIR_CA_MATERIAL',
    message: /no root and no intermediate has issued/,
  })
})

t.test('two workloads meet over TLS 1.3 and know each other; a stranger gets nowhere', async (t) => {
  const ca = await CertificateAuthority.generate(Date.now())
  const side = async (from: CertificateAuthority, spiffeId: string) => {
    const { privateKeyPem, publicKeyPem } = await createKeyPair()
    const issued = await from.sign({ publicKey: publicKeyPem, spiffeId, ttlMs: 60_000, nowMs: Date.now() })
    return {
      key: privateKeyPem,
      cert: issued.certificatePem,
      ca: [...ca.trustBundlePem],
      minVersion: 'TLSv1.3' as const,
    }
  }
  const server = createServer({ ...(await side(ca, ID)), requestCert: true, rejectUnauthorized: true })
  t.teardown(() => server.close())
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const call = (material: object) => {
    const socket = connect({ host: '127.0.0.1', port, checkServerIdentity: () => undefined, ...material })
    t.teardown(() => socket.destroy())
    return socket
  }
  const client = call(await side(ca, 'spiffe://cluster.local/ns/shop/sa/web'))
  const [[accepted]] = (await Promise.all([once(server, 'secureConnection'), once(client, 'secureConnect')])) as [
    [TLSSocket],
    unknown,
  ]
  t.equal(client.authorized, true)
  t.equal(client.getPeerX509Certificate()?.subjectAltName, `URI:${ID}`)
  t.equal(accepted.getPeerX509Certificate()?.subjectAltName, 'URI:spiffe://cluster.local/ns/shop/sa/web')

  const stranger = call(await side(await CertificateAuthority.generate(Date.now()), ID))
  const [, refused] = (await once(server, 'tlsClientError')) as [Error, TLSSocket]
  t.match(refused.authorizationError, /^UNABLE_TO_/, 'its issuer is not known')
  stranger.destroy()
})

t.test('the description of a certificate names no identity that is not plainly there', async (t) => {
  const ca = await CertificateAuthority.generate(wholeSecond())
  const { issued } = await issue(ca)
  const said = describeCertificate(issued.certificatePem)
  t.strictSame(said, {
    spiffeId: ID,
    notBeforeMs: issued.notBeforeMs,
    notAfterMs: issued.notAfterMs,
    serial: issued.serial,
    subject: '',
    issuer: describeCertificate(ca.certificatePem).subject,
  })
  const directory = t.testdir({})
  const named = (name: string) => {
    const config = join(directory, 'san.cnf')
    writeFileSync(config, `[req]\ndistinguished_name=dn\n[dn]\n[ext]\nsubjectAltName=@names\n[names]\n${name}\n`)
    const key = makeKey(directory, 'named', 'ec-pkcs8')
    return describeCertificate(
      openssl([
        'req',
        '-x509',
        '-new',
        '-key',
        key,
        '-config',
        config,
        '-extensions',
        'ext',
        '-subj',
        '/CN=x',
        '-days',
        '1',
      ]),
    )
  }
  t.equal(named(`URI.1=${ID}`).spiffeId, ID)
  t.equal(named(`URI.1=${ID}\nURI.2=spiffe://cluster.local/ns/shop/sa/web`).spiffeId, undefined, 'two')
  t.equal(named('DNS.1=cart.shop').spiffeId, undefined, 'none')
  t.equal(named(`DNS.1=a, URI:${ID}, b`).spiffeId, undefined, 'one hidden in a DNS name')
})
