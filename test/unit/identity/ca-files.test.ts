import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { CaDirectory, createKeyPair, describeCertificate } from '#identity/ca'
import { makeIntermediate, makeRoot, openssl } from './openssl-pki.ts'

const FILES = ['ca-cert.pem', 'ca-key.pem', 'cert-chain.pem', 'root-cert.pem']
const ID = 'spiffe://cluster.local/ns/shop/sa/cart'
const DAY_MS = 86_400_000

const open = (directory: string, nowMs = Date.now()) => CaDirectory.open(directory, nowMs)

async function issue({ authority }: CaDirectory) {
  const { publicKeyPem } = await createKeyPair()
  return authority.sign({ publicKey: publicKeyPem, spiffeId: ID, ttlMs: 60_000, nowMs: Date.now() })
}

/** The layout with an own root and intermediate; `change` spoils it. */
function cacerts(t: Test, change: Readonly<Record<string, string | undefined>> = {}): string {
  const pki = t.testdir({})
  const root = makeRoot(pki, 'root')
  const ca = makeIntermediate(pki, 'ca', root)
  const directory = join(pki, 'cacerts')
  mkdirSync(directory)
  const files = {
    'ca-cert.pem': ca.pem,
    'ca-key.pem': ca.key,
    'cert-chain.pem': ca.pem + root.pem,
    'root-cert.pem': root.pem,
  }
  for (const [name, text] of Object.entries({ ...files, ...change }))
    if (text !== undefined) writeFileSync(join(directory, name), text)
  return directory
}

t.test('an empty directory gets a CA, which is the same the next time', async (t) => {
  const directory = join(t.testdir({}), 'new', 'ca')
  const made = await open(directory)
  t.equal(made.created, true)
  t.strictSame(
    readdirSync(directory)
      .filter((name) => !name.startsWith('.'))
      .sort(),
    FILES,
  )
  for (const name of FILES) t.equal(statSync(join(directory, name)).mode & 0o777, 0o600, name)
  t.equal(statSync(directory).mode & 0o777, 0o700)
  const again = await open(directory)
  t.equal(again.created, false)
  t.equal(again.authority.certificatePem, made.authority.certificatePem)
  openssl(['pkey', '-in', join(directory, 'ca-key.pem'), '-noout', '-check'])
})

t.test('processes that start at once make one CA', async (t) => {
  const directory = join(t.testdir({}), 'ca')
  const face = new URL('../../../src/identity/ca/index.ts', import.meta.url).href
  const script = `const { CaDirectory } = await import(${JSON.stringify(face)})
    const { created, authority } = await CaDirectory.open(${JSON.stringify(directory)}, Date.now())
    console.log(JSON.stringify({ created, pem: authority.certificatePem }))`
  const run = async () => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let out = ''
    child.stdout.on('data', (chunk) => {
      out += chunk
    })
    await once(child, 'close')
    return JSON.parse(out) as { readonly created: boolean; readonly pem: string }
  }
  const runs = await Promise.all([run(), run(), run()])
  t.equal(runs.filter(({ created }) => created).length, 1)
  t.equal(new Set(runs.map(({ pem }) => pem)).size, 1)
})

t.test('callers in one process make one CA too', async (t) => {
  const directory = join(t.testdir({}), 'ca')
  const opened = await Promise.all([open(directory), open(directory), open(directory)])
  t.equal(opened.filter(({ created }) => created).length, 1)
  t.equal(new Set(opened.map(({ authority }) => authority.certificatePem)).size, 1)
})

t.test('a CA whose making was cut short is made again', async (t) => {
  const directory = join(t.testdir({}), 'ca')
  await open(directory)
  rmSync(join(directory, 'root-cert.pem'))
  await t.rejects(
    open(directory),
    { message: /root-cert\.pem is missing/ },
    'without the mark it is not ours to replace',
  )
  writeFileSync(join(directory, '.weir-unfinished'), '')
  t.equal((await open(directory)).created, true)
  t.notOk(existsSync(join(directory, '.weir-unfinished')))
})

t.test('a directory of something else is left alone', async (t) => {
  const directory = t.testdir({ 'hosts.conf': 'x' })
  await t.rejects(open(directory), {
    code: 'WEIR_CA_FILES',
    message: /holds no CA but other files \(hosts\.conf\): name an empty directory/,
  })
  t.strictSame(readdirSync(directory), ['hosts.conf'])
  await t.rejects(open(join(directory, 'hosts.conf')), { message: /Cannot make a CA in .*hosts\.conf/ })
})

t.test("a user's own intermediate signs, and is sent along", async (t) => {
  const directory = cacerts(t)
  const opened = await open(directory)
  t.equal(opened.created, false)
  const issued = await issue(opened)
  t.strictSame(
    issued.intermediatesPem.map((pem) => describeCertificate(pem).subject),
    ['O=Example, CN=ca'],
  )
  t.strictSame(
    issued.trustBundlePem.map((pem) => describeCertificate(pem).subject),
    ['O=Example, CN=root'],
  )
  t.strictSame(readdirSync(directory).sort(), FILES, 'nothing is written: it may be a mounted Secret')
})

for (const name of FILES) {
  t.test(`${name} missing is told with the remedy`, async (t) => {
    const directory = cacerts(t)
    rmSync(join(directory, name))
    await t.rejects(open(directory), {
      code: 'WEIR_CA_FILES',
      message: `${join(directory, name)} is missing: put ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem there, or name an empty directory to have a CA made`,
    })
  })

  t.test(`${name} that is a directory is told`, async (t) => {
    const directory = cacerts(t)
    rmSync(join(directory, name))
    mkdirSync(join(directory, name))
    await t.rejects(open(directory), { message: new RegExp(`${name} cannot be read: EISDIR`) })
  })

  t.test(`${name} that holds no PEM is told`, async (t) => {
    const directory = cacerts(t, { [name]: 'nothing of use\n' })
    const expected =
      name === 'ca-key.pem'
        ? /ca-key\.pem is no private key in PEM/
        : new RegExp(`${name} holds no PEM block CERTIFICATE`)
    await t.rejects(open(directory), { code: 'WEIR_CA_FILES', message: expected })
  })

  if (name !== 'ca-key.pem') {
    t.test(`${name} with a garbled certificate is told`, async (t) => {
      const directory = cacerts(t)
      const text = readFileSync(join(directory, name), 'utf8')
      writeFileSync(join(directory, name), text.replace(/\n.{20}/, '\nAAAAAAAAAAAAAAAAAAAA'))
      await t.rejects(open(directory), {
        message: new RegExp(`Cannot read certificate 1 of .*${name}: .*; write it again as PEM`),
      })
    })
  }
}

t.test('a key of another certificate, an encrypted one and a weak one are told, and never quoted', async (t) => {
  const other = makeRoot(t.testdir({}), 'other').key
  const weak = openssl(['genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:1024'])
  const encrypted = openssl(['pkcs8', '-topk8', '-passout', 'pass:secret'], other)
  const cases = [
    [other, /ca-key\.pem is not the key of ca-cert\.pem: put the two that belong together there/],
    [encrypted, /ca-key\.pem is encrypted: store it without a passphrase/],
    [weak, /ca-key\.pem is too weak: RSA of 1024 bits/],
  ] as const
  for (const [key, message] of cases) {
    const directory = cacerts(t, { 'ca-key.pem': key })
    const thrown = await open(directory).then(
      () => undefined,
      (error: Error) => error,
    )
    t.match(thrown, { code: 'WEIR_CA_FILES', message })
    t.notOk(key.split('\n').some((line) => line.length > 20 && thrown?.message.includes(line)))
  }
})

t.test('an expired CA, one that begins later, and what is no CA are told', async (t) => {
  const directory = cacerts(t)
  await t.rejects(open(directory, Date.now() + 250 * DAY_MS), {
    message: /ca-cert\.pem ended at 20.*Z: put a valid certificate and its key there/,
  })
  await t.rejects(open(directory, Date.now() - 5 * DAY_MS), { message: /ca-cert\.pem begins only at 20/ })
  const pki = t.testdir({})
  const noCa = makeRoot(pki, 'leaf', 'ec-pkcs8', ['basicConstraints=critical,CA:FALSE'])
  const noSigner = makeRoot(pki, 'signs-not', 'ec-pkcs8', [
    'basicConstraints=critical,CA:TRUE',
    'keyUsage=critical,digitalSignature',
  ])
  for (const { pem, key } of [noCa, noSigner]) {
    const spoilt = cacerts(t, { 'ca-cert.pem': pem, 'ca-key.pem': key, 'root-cert.pem': pem, 'cert-chain.pem': pem })
    await t.rejects(open(spoilt), {
      message: /ca-cert\.pem is not the certificate of a CA: put one there with basicConstraints CA:TRUE/,
    })
  }
})

t.test('a chain that leads to none of the roots is told', async (t) => {
  const other = makeRoot(t.testdir({}), 'elsewhere').pem
  const directory = cacerts(t, { 'root-cert.pem': other, 'cert-chain.pem': other })
  await t.rejects(open(directory), {
    message:
      /cert-chain\.pem does not lead from ca-cert\.pem to root-cert\.pem: no root and no intermediate has issued "O=Example, CN=ca"; put/,
  })
})

t.test('a root that is renewed with its old key goes on, beside the expired one', async (t) => {
  const pki = t.testdir({})
  const root = makeRoot(pki, 'root')
  const renewed = openssl(['x509', '-in', root.path, '-signkey', root.keyPath, '-days', '3000', '-set_serial', '77'])
  const directory = join(pki, 'ca')
  mkdirSync(directory)
  const write = (name: string, text: string) => writeFileSync(join(directory, name), text)
  write('ca-cert.pem', renewed)
  write('ca-key.pem', root.key)
  write('cert-chain.pem', renewed)
  write('root-cert.pem', root.pem + renewed)
  const opened = await open(directory, Date.now() + 500 * DAY_MS)
  t.equal(opened.authority.trustBundlePem.length, 2)
})

t.test('a root is replaced in three edits, followed without a restart', async (t) => {
  const pki = t.testdir({})
  const [before, after] = [makeRoot(pki, 'before'), makeRoot(pki, 'after')]
  const directory = join(pki, 'ca')
  mkdirSync(directory)
  const write = (files: Readonly<Record<string, string>>) => {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  }
  const fingerprint = (pems: readonly string[]) => pems.map((pem) => createHash('sha256').update(pem).digest('hex'))
  write({
    'ca-cert.pem': before.pem,
    'ca-key.pem': before.key,
    'cert-chain.pem': before.pem,
    'root-cert.pem': before.pem,
  })
  const followed = await open(directory)
  t.equal(await followed.refresh(Date.now()), false, 'nothing has changed')

  write({ 'root-cert.pem': before.pem + after.pem })
  t.equal(await followed.refresh(Date.now()), true)
  t.strictSame(fingerprint((await issue(followed)).trustBundlePem), fingerprint([before.pem, after.pem]))
  t.equal(describeCertificate((await issue(followed)).certificatePem).issuer, 'O=Example, CN=before')

  write({ 'ca-cert.pem': after.pem })
  await t.rejects(
    followed.refresh(Date.now()),
    { message: /ca-key\.pem is not the key of ca-cert\.pem/ },
    'half of the edit',
  )
  t.equal(await followed.refresh(Date.now()), false, 'told once')
  t.equal(
    describeCertificate((await issue(followed)).certificatePem).issuer,
    'O=Example, CN=before',
    'the old CA stays',
  )
  write({ 'ca-key.pem': after.key, 'cert-chain.pem': after.pem })
  t.equal(await followed.refresh(Date.now()), true)
  t.equal(describeCertificate((await issue(followed)).certificatePem).issuer, 'O=Example, CN=after')

  write({ 'root-cert.pem': after.pem })
  t.equal(await followed.refresh(Date.now()), true)
  t.strictSame(fingerprint((await issue(followed)).trustBundlePem), fingerprint([after.pem]))
})
