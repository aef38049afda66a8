import { X509Certificate } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { normalizeSerial } from '#identity'
import { CaDirectory, createKeyPair, keepRevocationList, readRevocationLists, revokeInDirectory } from '#identity/ca'
import { parseRevokeArguments, revoke } from '../../../agent/ca/revoke.ts'
import { makeIntermediate, makeRoot, openssl } from './openssl-pki.ts'

const NOW_MS = Date.now()
const DAY_MS = 86_400_000

async function makeCa(t: Test) {
  const directory = t.testdir({})
  const { authority } = await CaDirectory.open(join(directory, 'ca'), NOW_MS)
  const sign = async (account: string) => {
    const { publicKeyPem } = await createKeyPair()
    const spiffeId = `spiffe://cluster.local/ns/shop/sa/${account}`
    return authority.sign({ publicKey: publicKeyPem, spiffeId, ttlMs: DAY_MS, nowMs: NOW_MS })
  }
  return { directory, caDir: join(directory, 'ca'), authority, sign }
}

t.test('a list may be empty, and of a CA with a key of any kind', async (t) => {
  const directory = t.testdir({})
  for (const kind of ['ec-pkcs8', 'ec-p384', 'rsa-pkcs8'] as const) {
    const root = makeRoot(directory, kind, kind)
    const caDir = join(directory, `${kind}.d`)
    mkdirSync(caDir)
    for (const name of ['ca-cert', 'cert-chain', 'root-cert']) writeFileSync(join(caDir, `${name}.pem`), root.pem)
    writeFileSync(join(caDir, 'ca-key.pem'), root.key)
    for (const serials of [[], ['A1']]) {
      const { file } = await revokeInDirectory(caDir, serials, Date.now())
      openssl(['crl', '-in', file, '-noout', '-verify', '-CAfile', root.path])
      const { revocations } = await readRevocationLists(readFileSync(file, 'utf8'), [root.pem])
      t.strictSame(revocations, [{ issuer: `O=Example\nCN=${kind}`, serials }])
    }
  }
})

t.test('what is revoked is what OpenSSL then refuses, and nothing else', async (t) => {
  const { directory, caDir, authority, sign } = await makeCa(t)
  const [bad, good] = [await sign('bad'), await sign('good')]
  const first = await revokeInDirectory(caDir, [bad.serial], NOW_MS)
  t.match(first, { file: join(caDir, 'ca-crl.pem'), count: 1, nextUpdateMs: NOW_MS + 7 * DAY_MS })
  t.equal(statSync(first.file).mode & 0o777, 0o644)
  const second = await revokeInDirectory(caDir, ['A1', bad.serial], NOW_MS + 1000)
  t.equal(second.count, 2, 'each serial once')
  t.equal((await revokeInDirectory(caDir, [], NOW_MS + 2000)).count, 2, 'only made to last longer')
  const text = openssl([
    'crl',
    '-in',
    first.file,
    '-noout',
    '-text',
    '-verify',
    '-CAfile',
    join(caDir, 'root-cert.pem'),
  ])
  t.match(text, /X509v3 CRL Number: *\n/)
  const verify = (pem: string) => {
    writeFileSync(join(directory, 'leaf.pem'), pem)
    const root = join(caDir, 'root-cert.pem')
    return openssl(['verify', '-crl_check', '-CAfile', root, '-CRLfile', first.file, join(directory, 'leaf.pem')])
  }
  t.match(verify(good.certificatePem), /OK/)
  t.throws(() => verify(bad.certificatePem), /certificate revoked/)
  const list = await readRevocationLists(readFileSync(first.file, 'utf8'), authority.trustBundlePem)
  t.strictSame(list.revocations[0]?.serials, [normalizeSerial(bad.serial), 'A1'])
  t.equal(list.nextUpdateMs, Math.floor((NOW_MS + 2000 + 7 * DAY_MS) / 1000) * 1000)
})

t.test("lists of openssl's making are read, of several CAs in one file, and kept by ours", async (t) => {
  const directory = t.testdir({})
  const root = makeRoot(directory, 'root')
  const intermediate = makeIntermediate(directory, 'between', root)
  const list = (ca: typeof root, serial: string) => {
    const work = join(directory, `${serial}.d`)
    mkdirSync(work)
    writeFileSync(join(work, 'index'), `R\t300101000000Z\t260101000000Z\t${serial}\tunknown\t/CN=x\n`)
    writeFileSync(
      join(work, 'cnf'),
      `[ca]\ndefault_ca=d\n[d]\ndatabase=${work}/index\ndefault_md=sha256\ndefault_crl_days=3\n`,
    )
    const args = ['-config', join(work, 'cnf'), '-cert', ca.path, '-keyfile', ca.keyPath]
    return openssl(['ca', '-gencrl', ...args])
  }
  const pem = list(root, '0A01') + list(intermediate, '0B02')
  const { revocations } = await readRevocationLists(pem, [intermediate.pem, root.pem])
  t.strictSame(revocations, [
    { issuer: 'O=Example\nCN=root', serials: ['A01'] },
    { issuer: 'O=Example\nCN=between', serials: ['B02'] },
  ])
  await t.rejects(readRevocationLists(pem, [root.pem]), /^in its list 2 is not signed by a CA that is trusted here/)

  const caDir = join(directory, 'ca')
  mkdirSync(caDir)
  const files = [
    ['ca-cert', intermediate.pem],
    ['ca-key', intermediate.key],
    ['cert-chain', intermediate.pem],
    ['root-cert', root.pem],
    ['ca-crl', pem],
  ] as const
  for (const [name, text] of files) writeFileSync(join(caDir, `${name}.pem`), text)
  await revokeInDirectory(caDir, ['C3'], Date.now())
  const after = await readRevocationLists(readFileSync(join(caDir, 'ca-crl.pem'), 'utf8'), [intermediate.pem, root.pem])
  t.strictSame(
    after.revocations.toSorted((a, b) => a.issuer.length - b.issuer.length),
    [
      { issuer: 'O=Example\nCN=root', serials: ['A01'] },
      { issuer: 'O=Example\nCN=between', serials: ['B02', 'C3'] },
    ],
  )
})

t.test('what is no list, or of nobody we trust, or changed on the way, is refused with its reason', async (t) => {
  const { caDir, authority } = await makeCa(t)
  const { file } = await revokeInDirectory(caDir, ['A1'], NOW_MS)
  const pem = readFileSync(file, 'utf8')
  const other = await makeCa(t)
  await t.rejects(readRevocationLists('', authority.trustBundlePem), /^holds no PEM block X509 CRL$/)
  await t.rejects(
    readRevocationLists(pem, other.authority.trustBundlePem),
    /is not signed by a CA that is trusted here/,
  )
  const garbage = '-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n'
  await t.rejects(readRevocationLists(garbage, authority.trustBundlePem), /^cannot be read: /)
  const der = Buffer.from(pem.replaceAll(/-----[^-]+-----|\n/g, ''), 'base64')
  der[der.length - 3] = (der[der.length - 3] ?? 0) ^ 1
  const forged = `-----BEGIN X509 CRL-----\n${der.toString('base64')}\n-----END X509 CRL-----\n`
  await t.rejects(readRevocationLists(forged, authority.trustBundlePem), /is not signed by a CA that is trusted here/)
  writeFileSync(file, garbage)
  await t.rejects(revokeInDirectory(caDir, ['B2'], NOW_MS), /ca-crl\.pem cannot be read: .*; mend it, or move it away/)
  chmodSync(file, 0o644)
})

t.test('a list that is damaged in any way is never taken for an empty one', async (t) => {
  const { directory, caDir, authority, sign } = await makeCa(t)
  const { serial } = await sign('bad')
  const { file } = await revokeInDirectory(caDir, [serial], NOW_MS)
  const pem = readFileSync(file, 'utf8')
  const { authority: stranger } = await CaDirectory.open(join(directory, 'stranger'), NOW_MS)
  const entries = [{ serial: 'C3', revokedAtMs: NOW_MS }]
  const foreign = await stranger.signRevocationList({ entries, nowMs: NOW_MS, nextUpdateMs: NOW_MS + DAY_MS })
  const damaged = {
    empty: '',
    garbage: 'garbage\n',
    'cut off': pem.slice(0, 200),
    'its end lost': pem.replace(/-----END.*\n/, ''),
    'its beginning lost': pem.replace(/-----BEGIN.*\n/, ''),
    'text after it': `${pem}garbage\n`,
    'a second that is cut off': pem + pem.slice(0, 200),
    'a first that is cut off': pem.slice(0, 200) + pem,
    'no base64': pem.replace('\nM', '\n*M'),
    'a block of something else': pem.replaceAll('X509 CRL', 'CERTIFICATE'),
    'a signature that is not good': pem.replace(/(.)(.)(==?\n|\n)-----END/, (_, a, b, end) => `${b}${a}${end}-----END`),
    'nothing but that of another CA': foreign,
  }
  for (const [what, text] of Object.entries(damaged)) {
    t.not(text, pem, what)
    writeFileSync(file, text)
    for (const act of [
      () => revokeInDirectory(caDir, ['B2'], NOW_MS),
      () => keepRevocationList(caDir, NOW_MS + 30 * DAY_MS),
    ]) {
      const message = /ca-crl\.pem .*; mend it, or move it away to begin a new list$/
      await t.rejects(act().then(String), { code: 'WEIR_CA_CRL', message }, what)
    }
    t.equal(readFileSync(file, 'utf8'), text, `${what}: left as it is`)
    await t.rejects(
      readRevocationLists(text, authority.trustBundlePem),
      { code: 'WEIR_CA_CRL' },
      `${what}, at an agent`,
    )
  }
  writeFileSync(file, `Certificate Revocation List (CRL):\n    Version 2\n${pem}\n`)
  t.equal((await revokeInDirectory(caDir, [], NOW_MS)).count, 1, "words before it are openssl's way")
  rmSync(file)
  t.equal((await revokeInDirectory(caDir, [], NOW_MS)).count, 0, 'no file, a new list')
})

t.test('a list is made where there is none, and renewed at half its life with what it holds', async (t) => {
  const { caDir, authority } = await makeCa(t)
  const file = join(caDir, 'ca-crl.pem')
  const read = async () => readRevocationLists(readFileSync(file, 'utf8'), authority.trustBundlePem)
  t.equal(await keepRevocationList(caDir, NOW_MS), true)
  t.match(await read(), { revocations: [{ serials: [] }] })
  t.equal(await keepRevocationList(caDir, NOW_MS + 1000), false, 'not before it is due')
  await revokeInDirectory(caDir, ['A1', 'B2'], NOW_MS)
  t.equal(await keepRevocationList(caDir, NOW_MS + 3 * DAY_MS), false)
  t.equal(await keepRevocationList(caDir, NOW_MS + 4 * DAY_MS), true)
  const { revocations, nextUpdateMs } = await read()
  t.strictSame(revocations[0]?.serials, ['A1', 'B2'])
  t.equal(nextUpdateMs, Math.floor((NOW_MS + 11 * DAY_MS) / 1000) * 1000)
})

t.test('a CA in the place of another drops its empty list, and keeps one that names somebody', async (t) => {
  for (const serials of [[], ['A1']]) {
    const { directory, caDir, authority } = await makeCa(t)
    await revokeInDirectory(caDir, serials, NOW_MS)
    const next = join(directory, 'next')
    const { authority: heir } = await CaDirectory.open(next, NOW_MS)
    for (const name of ['ca-cert.pem', 'ca-key.pem', 'cert-chain.pem']) {
      writeFileSync(join(caDir, name), readFileSync(join(next, name)))
    }
    const roots = join(caDir, 'root-cert.pem')
    const list = async () =>
      readRevocationLists(readFileSync(join(caDir, 'ca-crl.pem'), 'utf8'), [
        ...authority.trustBundlePem,
        ...heir.trustBundlePem,
      ])
    const [old, own] = [authority.certificatePem, heir.certificatePem].map((pem) => new X509Certificate(pem).subject)
    writeFileSync(roots, [...authority.trustBundlePem, ...heir.trustBundlePem].join(''))
    t.equal(await keepRevocationList(caDir, NOW_MS), false, 'while both are trusted')
    writeFileSync(roots, heir.trustBundlePem.join(''))
    if (serials.length === 0) {
      t.equal(await keepRevocationList(caDir, NOW_MS), true)
      t.strictSame((await list()).revocations, [{ issuer: own, serials: [] }])
    } else {
      await t.rejects(keepRevocationList(caDir, NOW_MS), /is not signed by a CA that is trusted here/)
      t.strictSame((await list()).revocations, [{ issuer: old, serials }])
    }
  }
})

t.test('what was added is told apart from what was there, and a directory without a CA by its name', async (t) => {
  const { caDir, sign } = await makeCa(t)
  const serial = normalizeSerial((await sign('bad')).serial) ?? ''
  const first = await revoke(caDir, [serial], NOW_MS)
  t.match(first.output, `1 revoked, good until ${new Date(NOW_MS + 7 * DAY_MS).toISOString()}; added 1 (${serial}), `)
  t.match(first.output, /already there 0\n$/)
  t.strictSame(first.warnings, [])
  const second = await revoke(caDir, [serial, 'A1'], NOW_MS)
  t.match(second.output, `2 revoked, good until `)
  t.match(second.output, `added 1 (A1), already there 1 (${serial})\n`)
  t.match(second.warnings, [/^A1 is on the list now, but serial numbers of weir have some 32 digits/])
  t.match((await revoke(caDir, [], NOW_MS)).output, /2 revoked, good until \S+\n$/)
  const remedy = /name the directory of the CA that has issued the certificate \(--ca-dir\)$/
  await t.rejects(revoke(join(caDir, 'none'), [], NOW_MS), { message: remedy })
  await t.rejects(revoke(join(caDir, 'none'), [], NOW_MS), { message: /none is not there/ })
  await t.rejects(revoke(t.testdir({}), [], NOW_MS), { message: remedy })
})

t.test('serial numbers are read as people and tools write them', async (t) => {
  t.strictSame(['0a:01', '0x00FF', '0', 'F'.repeat(40)].map(normalizeSerial), ['A01', 'FF', '0', 'F'.repeat(40)])
  t.strictSame(['', 'x', 'F'.repeat(41), '-1'].map(normalizeSerial), [undefined, undefined, undefined, undefined])
  t.match(parseRevokeArguments(['0a:01', 'A01', '--ca-dir', '/ca']), { kind: 'revoke', caDir: '/ca', serials: ['A01'] })
  t.match(parseRevokeArguments(['--help']), { kind: 'help' })
  const mistakes = parseRevokeArguments(['zz', '--frob', '--ca-dir'])
  t.equal(mistakes.kind === 'errors' ? mistakes.errors.length : 0, 3)
  t.match(parseRevokeArguments(['A1']), { kind: 'errors', errors: ['--ca-dir: missing.'] })
})
