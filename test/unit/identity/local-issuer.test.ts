import { spawnSync } from 'node:child_process'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { splitCertificates } from '#identity/ca'
import type { Issuer } from '../../../agent/identity/issuer.ts'
import { type IssuerConfig, openIssuer } from '../../../agent/identity/open-issuer.ts'
import { makeIntermediate, makeRoot } from './openssl-pki.ts'

const ID = 'spiffe://cluster.local/ns/shop/sa/cart'
const ROOT = join(import.meta.dirname, '../../..')

/** Opened for the test alone. */
async function open(t: Test, config: IssuerConfig, warn: (line: string) => void = (line) => t.fail(line)) {
  const issuer = await openIssuer(config, warn)
  t.teardown(() => issuer[Symbol.dispose]())
  return issuer
}

const issue = (issuer: Issuer) => issuer.issue(ID, 60_000, AbortSignal.timeout(10_000))

t.test('an agent without any CA signs for its lifetime, for itself alone', async (t) => {
  const [one, other] = await Promise.all([open(t, { kind: 'memory' }), open(t, { kind: 'memory' })])
  const material = await issue(one)
  const leaf = new X509Certificate(material.certificateChainPem)
  t.equal(leaf.subjectAltName, `URI:${ID}`)
  t.ok(leaf.checkPrivateKey(createPrivateKey(material.privateKeyPem)))
  t.ok(leaf.verify(new X509Certificate(material.trustBundlePem).publicKey))
  t.equal(await one.readTrustBundle(), material.trustBundlePem)
  t.not((await issue(other)).trustBundlePem, material.trustBundlePem)
  t.not((await issue(one)).privateKeyPem, material.privateKeyPem, 'each certificate has a key of its own')
})

t.test('agents that share a directory trust each other', async (t) => {
  const directory = join(t.testdir({}), 'ca')
  const [one, other] = await Promise.all([
    open(t, { kind: 'directory', directory }),
    open(t, { kind: 'directory', directory }),
  ])
  const material = await issue(one)
  t.equal((await issue(other)).trustBundlePem, material.trustBundlePem)
  t.notOk(readFileSync(join(directory, 'ca-key.pem'), 'utf8').includes(material.privateKeyPem.slice(40, 80)))
  t.match(one.description, directory)
})

t.test("a user's intermediate goes along; files edited badly are told, and the CA before them goes on", async (t) => {
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
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text)
  const warnings: string[] = []
  const issuer = await open(t, { kind: 'directory', directory }, (line) => warnings.push(line))
  const subjects = (pem: string) => splitCertificates(pem).map((part) => new X509Certificate(part).subject)
  t.strictSame(subjects((await issue(issuer)).certificateChainPem), [undefined, 'O=Example\nCN=ca'])

  writeFileSync(join(directory, 'ca-key.pem'), root.key)
  t.strictSame(subjects((await issue(issuer)).certificateChainPem), [undefined, 'O=Example\nCN=ca'])
  await issuer.readTrustBundle()
  t.equal(warnings.length, 1)
  t.match(warnings[0], /ca-key\.pem is not the key of ca-cert\.pem.*; the CA read before stays in force/)
})

t.test('the agent loads neither the X.509 library nor gRPC; what it starts loads gRPC only to ask a CA', (t) => {
  const loaded = (file: string, then: string) => {
    const script = `const face = await import(${JSON.stringify(join(ROOT, file))}); ${then}
      const { createRequire } = await import('node:module')
      const found = Object.keys(createRequire('/').cache).map((path) => /node_modules\\/(@grpc|@peculiar|protobufjs)\\//.exec(path)?.[1])
      console.log(JSON.stringify([...new Set(found.filter((name) => name !== undefined))]))`
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
    t.equal(stderr, '')
    return JSON.parse(stdout) as string[]
  }
  const use = `const issuer = await face.openIssuer({ kind: 'memory' }); issuer[Symbol.dispose]()`
  t.strictSame(loaded('agent/identity/open-issuer.ts', use), [])
  t.strictSame(loaded('agent/main.ts', ''), [])
  t.strictSame(loaded('agent/identity/issuer-main.ts', ''), ['@peculiar'])
  t.strictSame(loaded('agent/identity/remote-issuer.ts', '').sort(), ['@grpc', '@peculiar'], 'so the look does see')
  t.end()
})
