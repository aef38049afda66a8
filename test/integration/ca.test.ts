import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Server, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js'
import t, { type Test } from 'tap'
import {
  CertificateAuthority,
  type CreateCertificateRequest,
  type CreateCertificateResponse,
  createKeyPair,
  describeCertificate,
  loadIstioCaService,
  readSigningRequest,
  splitCertificates,
} from '#identity/ca'
import { ServerCertificate } from '../../agent/ca/server-certificate.ts'
import { IdentityStore } from '../../agent/identity/identity-store.ts'
import type { Issuer } from '../../agent/identity/issuer.ts'
import { openIssuer } from '../../agent/identity/open-issuer.ts'

const WEIR = join(import.meta.dirname, '../../src/cli/main.ts')
const A = 'a1b2c3d4'.repeat(8)
const B = 'b5c6d7e8'.repeat(8)
const idOf = (account: string) => `spiffe://cluster.local/ns/shop/sa/${account}`
const HOUR_MS = 3_600_000

interface LogLine {
  readonly msg: string
  readonly [field: string]: unknown
}

/** A running `weir ca`; ends with the test. */
class CaProcess {
  readonly lines: LogLine[] = []
  text = ''
  readonly #child: ChildProcess
  readonly #exit: Promise<unknown[]>
  readonly #waiting = new Set<() => void>()

  constructor(t: Test, args: readonly string[]) {
    this.#child = spawn(process.execPath, [WEIR, 'ca', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#exit = once(this.#child, 'exit')
    t.teardown(() => void this.#child.kill('SIGKILL'))
    this.#child.stderr?.on('data', (chunk) => {
      this.text += chunk
    })
    const { stdout } = this.#child
    if (stdout === null) throw new Error('no stdout')
    createInterface({ input: stdout }).on('line', (line) => {
      this.text += `${line}\n`
      this.lines.push(JSON.parse(line) as LogLine)
      for (const look of this.#waiting) look()
    })
  }

  /** The first line, from `from` on, that says it. */
  async said(msg: string, from = 0): Promise<LogLine> {
    for (;;) {
      const found = this.lines.slice(from).find((line) => line.msg === msg)
      if (found !== undefined) return found
      const { promise, resolve } = Promise.withResolvers<void>()
      this.#waiting.add(resolve)
      await Promise.race([promise, this.#exit.then(() => Promise.reject(new Error(`weir ca ended: ${this.text}`)))])
      this.#waiting.delete(resolve)
    }
  }

  async address(): Promise<string> {
    return String((await this.said('ready'))['address'])
  }

  async end(signal: NodeJS.Signals): Promise<unknown> {
    this.#child.kill(signal)
    const [code] = await this.#exit
    return code
  }
}

const pod = (name: string, account: string, node: string) =>
  [
    'apiVersion: v1',
    'kind: Pod',
    `metadata: {name: ${name}, namespace: shop, annotations: {weir.dev/mesh: enabled, weir.dev/netns: /run/netns/${name}}}`,
    `spec: {nodeName: ${node}, serviceAccountName: ${account}, containers: [{name: app}]}`,
    'status: {phase: Running}',
  ].join('\n')

/** Files of a CA for two nodes: cart and shared run on node-a, web and shared on node-b. */
function setUp(t: Test) {
  const directory = t.testdir({
    manifests: {},
    'token-a': `${A}\n`,
    'token-b': `${B}\n`,
    'token-bad': `${'c'.repeat(64)}\n`,
  })
  const path = (name: string) => join(directory, name)
  const pods = [
    pod('cart', 'cart', 'node-a'),
    pod('one', 'shared', 'node-a'),
    pod('web', 'web', 'node-b'),
    pod('two', 'shared', 'node-b'),
  ]
  writeFileSync(path('manifests/pods.yaml'), pods.join('\n---\n'))
  writeFileSync(path('tokens.yaml'), `node-a: ${A}\nnode-b: [${B}]\n`)
  for (const name of ['tokens.yaml', 'token-a', 'token-b', 'token-bad']) chmodSync(path(name), 0o600)
  const flags = (listen: string) => [
    '--listen',
    listen,
    '--ca-dir',
    path('ca'),
    '--join-tokens',
    path('tokens.yaml'),
    '--manifests',
    path('manifests'),
  ]
  const start = (listen = '127.0.0.1:0', ...more: string[]) => new CaProcess(t, [...flags(listen), ...more])
  const issuer = async (address: string, token = 'token-a', root = path('ca/root-cert.pem')) => {
    const opened = await openIssuer({ kind: 'remote', address, rootFile: root, tokenFile: path(token) }, (line) =>
      t.fail(line),
    )
    t.teardown(() => opened[Symbol.dispose]())
    return opened
  }
  return { path, start, issuer }
}

const issue = (issuer: Issuer, account: string, ttlMs = HOUR_MS) =>
  issuer.issue(idOf(account), ttlMs, AbortSignal.timeout(20_000))

t.test('a node gets certificates for its own pods, and only for them', async (t) => {
  const { path, start, issuer } = setUp(t)
  const ca = start('127.0.0.1:0', '--max-ttl', '24h')
  const address = await ca.address()
  const [a, b] = [await issuer(address), await issuer(address, 'token-b')]

  const cart = await issue(a, 'cart')
  const leaf = new X509Certificate(cart.certificateChainPem)
  t.equal(leaf.subjectAltName, `URI:${idOf('cart')}`)
  t.equal(cart.trustBundlePem, readFileSync(path('ca/root-cert.pem'), 'utf8'))
  t.ok(leaf.verify(new X509Certificate(cart.trustBundlePem).publicKey))
  const line = await ca.said('issued')
  t.match(line, {
    identity: idOf('cart'),
    node: 'node-a',
    serial: cart.serial,
    notAfter: new Date(cart.notAfterMs).toISOString(),
  })
  t.equal((await issue(a, 'cart', 48 * HOUR_MS)).notAfterMs - Date.now() <= 24 * HOUR_MS, true, 'the lifetime is cut')
  t.equal(
    (await issue(b, 'shared')).spiffeId,
    (await issue(a, 'shared')).spiffeId,
    'an account of both nodes is for both',
  )

  for (const [asker, node, account] of [
    [a, 'node-a', 'web'],
    [b, 'node-b', 'cart'],
    [a, 'node-a', 'nobody'],
  ] as const) {
    const from = ca.lines.length
    await t.rejects(issue(asker, account), {
      code: 'WEIR_IDENTITY_REFUSED',
      message: `The CA at ${address} refuses: no pod of shop/${account} runs on node ${node}`,
    })
    t.match(await ca.said('refused', from), { node, identity: idOf(account), reason: 'denied', level: 40 })
  }
  const from = ca.lines.length
  await t.rejects(issue(await issuer(address, 'token-bad'), 'cart'), {
    code: 'WEIR_IDENTITY_REFUSED',
    message: /does not take the token in .*token-bad: the token is of no node/,
  })
  const refused = await ca.said('refused', from)
  t.match(refused, { reason: 'unauthenticated', identity: idOf('cart') })
  t.notOk('node' in refused)

  writeFileSync(path('manifests/more.yaml'), pod('late', 'late', 'node-a'))
  const store = new IdentityStore({
    issuer: a,
    trustDomain: 'cluster.local',
    ttlMs: HOUR_MS,
    onChange: () => undefined,
  })
  t.teardown(() => store[Symbol.dispose]())
  store.setWanted([{ namespace: 'shop', serviceAccount: 'late' }])
  t.equal((await store.ready(idOf('late'))).spiffeId, idOf('late'), 'a pod that the CA hears of later is served then')

  t.equal(await ca.end('SIGTERM'), 0)
  t.equal(ca.lines.at(-1)?.msg, 'stopped')
  for (const secret of [A, B, 'c'.repeat(64), 'PRIVATE KEY']) t.notOk(ca.text.includes(secret), 'no secret is logged')
})

t.test('it speaks HTTP/2 over TLS 1.3 only, with a certificate for where it listens', async (t) => {
  const { path, start, issuer } = setUp(t)
  for (const [listen, name] of [
    ['127.0.0.1:0', '127.0.0.1'],
    ['[::1]:0', '::1'],
    ['localhost:0', 'localhost'],
  ] as const) {
    const address = await start(listen).address()
    t.equal((await issue(await issuer(address), 'cart')).spiffeId, idOf('cart'), listen)
    const check = name === 'localhost' ? ['-verify_hostname', name] : ['-verify_ip', name]
    const client = (...more: string[]) =>
      spawnSync(
        'openssl',
        ['s_client', '-connect', address, '-CAfile', path('ca/root-cert.pem'), '-alpn', 'h2', ...check, ...more],
        { input: '', encoding: 'utf8' },
      ).stdout
    t.match(client(), /ALPN protocol: h2[\s\S]*Verify return code: 0 \(ok\)/)
    t.match(client('-tls1_2'), /Cipher is \(NONE\)/)
  }
})

t.test('a CA that is away is asked again until it is back; what is at hand is served meanwhile', async (t) => {
  const { path, start, issuer } = setUp(t)
  const first = start()
  const address = await first.address()
  const serials: string[] = []
  let known = 0
  const failed = Promise.withResolvers<unknown>()
  const twice = Promise.withResolvers<void>()
  const again = Promise.withResolvers<void>()
  const store = new IdentityStore({
    issuer: await issuer(address),
    trustDomain: 'cluster.local',
    ttlMs: 2_000,
    onChange: (change) => {
      if (change.kind !== 'issued') return
      serials.push(change.material.serial)
      if (known > 0) again.resolve()
    },
    onFailure: (_id, error) => {
      failed.resolve(error)
      if ((store.list()[0]?.failures ?? 0) >= 2) twice.resolve()
    },
  })
  t.teardown(() => store[Symbol.dispose]())
  store.setWanted([{ namespace: 'shop', serviceAccount: 'cart' }])
  await store.ready(idOf('cart'))
  const root = store.trustBundlePem
  t.equal(await first.end('SIGKILL'), null)
  t.match(await failed.promise, {
    code: 'WEIR_IDENTITY_UNREACHABLE',
    message: new RegExp(`Cannot reach the CA at ${address}`),
  })
  await twice.promise
  known = serials.length
  t.match(store.list()[0], { serial: serials.at(-1), lastError: /Cannot reach the CA/ })
  t.equal(store.get(idOf('cart'))?.serial, serials.at(-1))

  const second = start(address)
  t.match(await second.said('ready'), { created: false })
  await second.said('issued')
  await again.promise
  t.match(store.list()[0], { serial: serials[known], failures: 0, lastError: '' })
  t.equal(store.trustBundlePem, root, 'the CA is the same as before')
  t.equal(root, readFileSync(path('ca/root-cert.pem'), 'utf8'))
})

t.test('one root takes the place of another while both are trusted, without a restart', async (t) => {
  const { path, start, issuer } = setUp(t)
  const ca = start()
  const asking = await issuer(await ca.address())
  const before = await issue(asking, 'cart')
  const old = readFileSync(path('ca/root-cert.pem'), 'utf8')

  const next = join(path('ca'), '../next')
  mkdirSync(next)
  const made = await openIssuer({ kind: 'directory', directory: next }, (line) => t.fail(line))
  const fresh = (await made.readTrustBundle()) ?? ''
  writeFileSync(path('ca/root-cert.pem'), old + fresh)
  t.match(await ca.said('CA changed'), { roots: 2 })
  await ca.said('own certificate renewed')
  const between = await issue(asking, 'cart')
  t.equal(splitCertificates(between.trustBundlePem).length, 2)
  t.equal(describeCertificate(between.certificateChainPem).issuer, describeCertificate(old).subject)

  // A moment in which key and certificate do not fit together is told, and harms nothing.
  for (const name of ['ca-cert.pem', 'ca-key.pem', 'cert-chain.pem'])
    writeFileSync(path(`ca/${name}`), readFileSync(join(next, name)))
  await ca.said('own certificate renewed', ca.lines.length)
  const after = await issue(asking, 'cart')
  t.equal(describeCertificate(after.certificateChainPem).issuer, describeCertificate(fresh).subject)

  const bundle = path('bundle.pem')
  writeFileSync(bundle, after.trustBundlePem)
  for (const { certificateChainPem } of [before, between, after]) {
    writeFileSync(path('leaf.pem'), certificateChainPem)
    const { stdout } = spawnSync('openssl', ['verify', '-x509_strict', '-CAfile', bundle, path('leaf.pem')], {
      encoding: 'utf8',
    })
    t.match(stdout, /leaf\.pem: OK/)
  }
})

t.test('what the CA cannot do without is told in one line, with an exit code', async (t) => {
  const { path } = setUp(t)
  const flags = {
    listen: '127.0.0.1:0',
    'ca-dir': path('ca'),
    'join-tokens': path('tokens.yaml'),
    manifests: path('manifests'),
  }
  const run = (change: Readonly<Record<string, string>>, ...more: string[]) => {
    const args = Object.entries({ ...flags, ...change }).flatMap(([name, value]) => [`--${name}`, value])
    const { status, stdout, stderr } = spawnSync(process.execPath, [WEIR, 'ca', ...args, ...more], {
      encoding: 'utf8',
      timeout: 30_000,
    })
    return { status, stdout, stderr }
  }
  t.match(run({}, '--kubernetes'), {
    status: 64,
    stdout: '',
    stderr: /^weir ca: --join-tokens: not together with --kubernetes\.\nweir ca: --manifests: not together with/,
  })
  t.match(run({}, '--secret', 'a/b'), { status: 64, stderr: /^weir ca: --secret: only with --kubernetes\.\n$/ })
  t.match(run({ 'cert-ttl': 'soon' }), { status: 64, stderr: /^weir ca: --cert-ttl: expected a duration.*\n$/ })
  t.match(run({ 'join-tokens': path('none') }), {
    status: 69,
    stdout: '',
    stderr: /^weir ca: Cannot read the join tokens .*none: ENOENT.*\n$/,
  })
  t.match(run({ manifests: path('none') }), { status: 69, stderr: /^weir ca: .*none.*\n$/ })
  t.notOk(existsSync(path('ca')), 'and no CA was made')
  t.match(run({ 'ca-dir': path('manifests') }), {
    status: 69,
    stderr: /^weir ca: .*manifests holds no CA but other files.*\n$/,
  })
  t.match(run({ listen: '192.0.2.77:0' }), {
    status: 69,
    stderr: /^weir ca: Cannot listen on 192\.0\.2\.77:0 \(--listen\): .*\n$/,
  })
  t.match(run({}, '--help'), { status: 0, stdout: /^weir ca --listen HOST:PORT/, stderr: '' })
})

t.test('where agent and CA are of different minds, the agent says which of its flags is to be looked at', async (t) => {
  const { path, start } = setUp(t)
  const address = await start().address()
  const warnings: string[] = []
  const open = async (token: string, node?: string) => {
    const files = { rootFile: path('ca/root-cert.pem'), tokenFile: path(token) }
    const config = { kind: 'remote', address, ...files, ...(node === undefined ? {} : { node }) } as const
    const opened = await openIssuer(config, (line) => warnings.push(line))
    t.teardown(() => opened[Symbol.dispose]())
    return opened
  }
  const token = path('token-a')
  for (const [node, end] of [
    ['node-b', `; the token in ${token} is node-a's, this agent is node-b: give it its own token`],
    [undefined, `; the token in ${token} is node-a's: if this agent is another node, give it its own token`],
    ['node-a', ''],
  ] as const) {
    await t.rejects(issue(await open('token-a', node), 'web'), {
      message: new RegExp(`: no pod of shop/web runs on node node-a${end}$`),
    })
  }
  const id = 'spiffe://other.org/ns/shop/sa/cart'
  await t.rejects((await open('token-a', 'node-a')).issue(id, HOUR_MS, AbortSignal.timeout(20_000)), {
    message: /refuses: the trust domain here is cluster\.local; the agent's --trust-domain is other\.org$/,
  })
  t.strictSame(warnings, [])
  chmodSync(path('token-b'), 0o644)
  await open('token-b')
  t.strictSame(warnings, [`${path('token-b')} (--join-token) can be read by all users: chmod 600 ${path('token-b')}`])
})

t.test('the CA says at once when an edit of the tokens is not good, and keeps a list of the revoked', async (t) => {
  const { path, start } = setUp(t)
  chmodSync(path('tokens.yaml'), 0o644)
  const ca = start()
  await ca.address()
  t.match(await ca.said('problem'), { problem: /tokens\.yaml can be read by all users: chmod 600 / })
  t.equal((await ca.said('revocation list written'))['file'], path('ca/ca-crl.pem'))
  const from = ca.lines.length
  chmodSync(path('tokens.yaml'), 0o600)
  writeFileSync(path('tokens.yaml'), 'node-a: [\n')
  t.match(await ca.said('problem', from), { problem: /cannot be read as YAML.*; the tokens read before stay in force/ })
  const revoke = (...args: string[]) => {
    const argv = [WEIR, 'ca', 'revoke', ...args, '--ca-dir', path('ca')]
    return spawnSync(process.execPath, argv, { encoding: 'utf8' })
  }
  t.match(revoke('A1'), {
    status: 0,
    stdout: /: 1 revoked, .*; added 1 \(A1\), already there 0\n$/,
    stderr: /^weir ca: warning: A1 /,
  })
  writeFileSync(path('ca/ca-crl.pem'), '')
  t.match(revoke(), {
    status: 69,
    stdout: '',
    stderr: /ca-crl\.pem holds no PEM block X509 CRL; mend it, or move it away/,
  })
})

t.test("a CA whose own certificate the node's root does not vouch for is not told the token", async (t) => {
  const { path, start, issuer } = setUp(t)
  const ca = start()
  const address = await ca.address()
  const other = await CertificateAuthority.generate(Date.now())
  writeFileSync(path('other.pem'), other.certificatePem)
  await t.rejects(issue(await issuer(address, 'token-a', path('other.pem')), 'cart'), {
    code: 'WEIR_IDENTITY_UNREACHABLE',
    message: new RegExp(
      `^The certificate of the CA at ${address} is not vouched for by --ca-root ${path('other.pem')}: ` +
        `[^;]*; put the CA's root-cert\\.pem there$`,
    ),
  })
  writeFileSync(path('none.pem'), 'no certificate\n')
  await t.rejects(issuer(address, 'token-a', path('none.pem')), {
    message: /none\.pem \(--ca-root\) holds no PEM block CERTIFICATE/,
  })
  t.strictSame(
    ca.lines.map(({ msg }) => msg),
    ['revocation list written', 'ready'],
    'no request was made',
  )
  writeFileSync(path('other.pem'), readFileSync(path('ca/root-cert.pem')))
})

type Answer = (request: CreateCertificateRequest, ca: CertificateAuthority) => Promise<CreateCertificateResponse>

/** A CA that answers what it is told to. */
async function fakeCa(t: Test, directory: string, answer: Answer): Promise<string> {
  const ca = await CertificateAuthority.generate(Date.now())
  writeFileSync(join(directory, 'root.pem'), ca.certificatePem)
  const own = await ServerCertificate.create(['127.0.0.1'], ca, Date.now())
  const server = new Server()
  t.teardown(() => server.forceShutdown())
  server.addService(await loadIstioCaService(), {
    CreateCertificate: (
      call: ServerUnaryCall<CreateCertificateRequest, CreateCertificateResponse>,
      callback: sendUnaryData<CreateCertificateResponse>,
    ) => void answer(call.request, ca).then((response) => callback(null, response)),
  })
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  server.bindAsync('127.0.0.1:0', own.credentials, (error, port) => (error === null ? resolve(port) : reject(error)))
  return `127.0.0.1:${await promise}`
}

t.test("answers in either of Istio's forms are taken, and none that is not good", async (t) => {
  const directory = t.testdir({ token: `${A}\n` })
  chmodSync(join(directory, 'token'), 0o600)
  let answer: Answer = () => Promise.reject(new Error('not yet'))
  const address = await fakeCa(t, directory, (request, ca) => answer(request, ca))
  const files = { rootFile: join(directory, 'root.pem'), tokenFile: join(directory, 'token') }
  const issuer = await openIssuer({ kind: 'remote', address, ...files }, (line) => t.fail(line))
  t.teardown(() => issuer[Symbol.dispose]())
  const sign = async (ca: CertificateAuthority, csr: string, account = 'cart', nowMs = Date.now()) => {
    const { publicKey } = await readSigningRequest(csr)
    return (await ca.sign({ publicKey, spiffeId: idOf(account), ttlMs: HOUR_MS, nowMs })).certificatePem
  }
  const stranger = await CertificateAuthority.generate(Date.now())

  answer = async ({ csr }, ca) => ({ cert_chain: [await sign(ca, csr), ca.certificatePem], root_cert: null })
  t.equal((await issue(issuer, 'cart')).trustBundlePem, readFileSync(files.rootFile, 'utf8'), 'root last in the chain')
  answer = async ({ csr }, ca) => ({
    cert_chain: [await sign(ca, csr)],
    root_cert: { ca_cert: [ca.certificatePem, stranger.certificatePem] },
  })
  const apart = await issue(issuer, 'cart')
  t.equal(splitCertificates(apart.trustBundlePem).length, 2, 'roots apart')
  t.equal(splitCertificates(apart.certificateChainPem).length, 1)

  const bad: readonly (readonly [string, RegExp, Answer])[] = [
    ['nothing', /holds no certificate/, async () => ({ cert_chain: [], root_cert: null })],
    ['no root', /holds no root/, async ({ csr }, ca) => ({ cert_chain: [await sign(ca, csr)], root_cert: null })],
    [
      'another identity',
      /it is for spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web/,
      async ({ csr }, ca) => ({ cert_chain: [await sign(ca, csr, 'web'), ca.certificatePem], root_cert: null }),
    ],
    [
      'another root',
      /no root and no intermediate has issued/,
      async ({ csr }, ca) => ({ cert_chain: [await sign(ca, csr), stranger.certificatePem], root_cert: null }),
    ],
    [
      'expired',
      /ended at/,
      async ({ csr }, ca) => ({
        cert_chain: [await sign(ca, csr, 'cart', Date.now() - 2 * HOUR_MS), ca.certificatePem],
        root_cert: null,
      }),
    ],
    [
      'another key',
      /it is for another key/,
      async (_request, ca) => {
        const { publicKeyPem } = await createKeyPair()
        const issued = await ca.sign({
          publicKey: publicKeyPem,
          spiffeId: idOf('cart'),
          ttlMs: HOUR_MS,
          nowMs: Date.now(),
        })
        return { cert_chain: [issued.certificatePem, ca.certificatePem], root_cert: null }
      },
    ],
    [
      'garbage',
      /gave no good certificate/,
      async (_request, ca) => ({
        cert_chain: ['-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n', ca.certificatePem],
        root_cert: null,
      }),
    ],
  ]
  for (const [name, message, given] of bad) {
    answer = given
    await t.rejects(issue(issuer, 'cart'), { code: 'WEIR_IDENTITY_ANSWER', message }, name)
  }
})
