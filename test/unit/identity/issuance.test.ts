import { createHash } from 'node:crypto'
import { chmodSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { CertificateAuthority, createKeyPair, createSigningRequest, describeCertificate } from '#identity/ca'
import { parseCaArguments } from '../../../agent/ca/config.ts'
import { decideIssuance, type IssuanceRequest, type IssuanceRules } from '../../../agent/ca/issuance.ts'
import { findNode, JoinTokens, parseJoinTokens } from '../../../agent/ca/join-tokens.ts'
import { serverHosts } from '../../../agent/ca/server-certificate.ts'

const ID = 'spiffe://cluster.local/ns/shop/sa/cart'
const WEB = 'spiffe://cluster.local/ns/shop/sa/web'
const A = 'a1b2c3d4'.repeat(8)
const B = 'Zm9vYmFyYmF6cXV4Zm9vYg'
const HOUR_MS = 3_600_000

async function setUp() {
  const authority = await CertificateAuthority.generate(Date.now())
  const rules: IssuanceRules = {
    authority: () => authority,
    prove: async (token) =>
      token === A
        ? { kind: 'node', node: 'node-a' }
        : token === 'unknown'
          ? { kind: 'unknown', why: 'the API server is away' }
          : { kind: 'nobody', why: 'the token is of no node' },
    runsOn: (node, namespace, account) => node === 'node-a' && namespace === 'shop' && account === 'cart',
    trustDomain: 'cluster.local',
    ttlMs: 24 * HOUR_MS,
    maxTtlMs: 48 * HOUR_MS,
  }
  const csrFor = async (id: string) => createSigningRequest(await createKeyPair(), id)
  const csr = await csrFor(ID)
  const nowMs = Math.floor(Date.now() / 1000) * 1000
  const ask = (change: Partial<IssuanceRequest> = {}) =>
    decideIssuance({ authorization: `Bearer ${A}`, csr, identity: ID, ttlMs: HOUR_MS, ...change }, rules, nowMs)
  return { ask, csr, csrFor, nowMs }
}

t.test('a node gets a certificate for an account of its own pods', async (t) => {
  const { ask, nowMs } = await setUp()
  const outcome = await ask()
  if (outcome.kind !== 'issued') return t.fail(outcome.why)
  t.match(outcome, { node: 'node-a', identity: ID })
  t.match(describeCertificate(outcome.issued.certificatePem), { spiffeId: ID, notAfterMs: nowMs + HOUR_MS })
  t.equal((await ask({ identity: undefined })).kind, 'issued', 'also when only the signing request names it')
  t.equal((await ask({ authorization: `bearer ${A}` })).kind, 'issued', 'the scheme has no case')
  return undefined
})

t.test('what cannot be told now may be asked again', async (t) => {
  const { ask } = await setUp()
  t.match(await ask({ authorization: 'Bearer unknown' }), {
    kind: 'refused',
    reason: 'unavailable',
    why: 'the API server is away',
  })
})

t.test('the lifetime is what was asked for, bounded', async (t) => {
  const { ask, nowMs } = await setUp()
  const lifetimeOf = async (ttlMs: number) => {
    const outcome = await ask({ ttlMs })
    return outcome.kind === 'issued' ? outcome.issued.notAfterMs - nowMs : outcome.why
  }
  t.equal(await lifetimeOf(60_000), 60_000)
  t.equal(await lifetimeOf(0), 24 * HOUR_MS, 'the default')
  t.equal(await lifetimeOf(-5), 24 * HOUR_MS)
  t.equal(await lifetimeOf(49 * HOUR_MS), 48 * HOUR_MS, 'cut')
  t.equal(await lifetimeOf(Number.MAX_SAFE_INTEGER), 48 * HOUR_MS)
})

t.test('whoever is no node is told so and nothing else', async (t) => {
  const { ask } = await setUp()
  for (const authorization of [
    undefined,
    '',
    'Bearer',
    `Basic ${A}`,
    `Bearer ${B}`,
    `Bearer ${A}x`,
    A,
    `Bearer ${A} ${A}`,
  ]) {
    const outcome = await ask({ authorization, csr: 'nonsense' })
    t.match(outcome, { kind: 'refused', reason: 'unauthenticated', node: undefined }, String(authorization))
    t.notMatch(JSON.stringify(outcome), A)
  }
})

t.test("another node's identity is denied, with node and identity for the log", async (t) => {
  const { ask, csrFor } = await setUp()
  const denied = (why: RegExp, identity = WEB) => ({ kind: 'refused', reason: 'denied', node: 'node-a', identity, why })
  t.match(await ask({ identity: WEB, csr: await csrFor(WEB) }), denied(/no pod of shop\/web runs on node node-a/))
  t.match(await ask({ identity: undefined, csr: await csrFor(WEB) }), denied(/no pod of shop\/web/))
  t.match(
    await ask({ csr: await csrFor(WEB) }),
    denied(/names another identity/, ID),
    'nor by way of the signing request',
  )
  const elsewhere = ID.replace('cluster.local', 'elsewhere')
  t.match(
    await ask({ identity: elsewhere, csr: await csrFor(elsewhere) }),
    denied(/trust domain here is cluster\.local/, elsewhere),
  )
})

t.test('what makes no sense is said to be invalid', async (t) => {
  const { ask } = await setUp()
  t.match(await ask({ csr: 'nonsense' }), { reason: 'invalid', why: /Cannot use the certificate signing request/ })
  t.match(await ask({ csr: '' }), { reason: 'invalid' })
  t.match(await ask({ identity: 'cart' }), { reason: 'invalid', why: /not the SPIFFE ID of a workload/ })
  t.match(await ask({ identity: 'spiffe://cluster.local/ns/shop/sa/../../x' }), { reason: 'invalid' })
  const long = await ask({ identity: 'x'.repeat(100_000) })
  t.ok(long.kind === 'refused' && (long.identity?.length ?? 0) <= 512, 'the log is not flooded')
})

t.test('join tokens are read from YAML and JSON, plain and hashed, several for a node', (t) => {
  const hash = createHash('sha256').update('another secret token').digest('hex')
  const tokens = parseJoinTokens(`node-a: [${A}, "${B}"]\nnode-b: sha256:${hash}\n`, 'tokens')
  t.equal(findNode(tokens, A), 'node-a')
  t.equal(findNode(tokens, B), 'node-a')
  t.equal(findNode(tokens, 'another secret token'), 'node-b')
  for (const wrong of ['', A.slice(1), `${A} `, hash, `sha256:${hash}`]) t.equal(findNode(tokens, wrong), undefined)
  t.equal(findNode(parseJoinTokens(JSON.stringify({ 'node-a': A }), 'tokens'), A), 'node-a')
  t.strictSame(parseJoinTokens('{}', 'tokens'), [])
  t.end()
})

t.test('a bad token file is told by its field, without the token', (t) => {
  const cases = [
    ['', /expected a mapping/],
    ['- a', /expected a mapping/],
    ['node-a: [', /cannot be read as YAML or JSON/],
    [`node-a: ${A}\nnode-a: ${B}`, /names each node once/],
    ['node-a: short', /node-a: expected a token of 128 bits or more/],
    [`node-a: ${A.slice(0, 31)}`, /node-a: expected a token of 128 bits/],
    ['node-a: 12345678901234567890123456789012', /node-a: expected a token of 128 bits or more as text/],
    ['node-a: sha256:abc', /node-a: expected/],
    [`node-a: ["with space ${B}"]`, /node-a: expected/],
    ['node-a:', /node-a: expected/],
    [`Node_A: ${A}`, /"Node_A" is not a node name/],
    [`node-a: ${A}\nnode-b: ${A}`, /node-a and node-b have the same token/],
  ] as const
  for (const [text, message] of cases) {
    try {
      parseJoinTokens(text, 'tokens.yaml')
      t.fail(`taken: ${text}`)
    } catch (thrown) {
      t.match(thrown, { code: 'WEIR_CA_TOKENS', message }, text)
      t.notMatch(String(thrown), new RegExp(`${A}|${B}|short`))
    }
  }
  t.end()
})

t.test('the token file is followed; what is broken or gone changes nothing', async (t) => {
  const file = join(t.testdir({ 'tokens.yaml': `node-a: ${A}\n` }), 'tokens.yaml')
  const warnings: string[] = []
  await JoinTokens.open(file, (line) => warnings.push(line))
  t.strictSame(warnings.splice(0), [`${file} can be read by all users: chmod 600 ${file}`])
  chmodSync(file, 0o600)
  const tokens = await JoinTokens.open(file, (line) => warnings.push(line))
  const nodeOf = async (token: string) => {
    const proof = await tokens.prove(token)
    return proof.kind === 'node' ? proof.node : proof.why
  }
  t.equal(await nodeOf(A), 'node-a')
  writeFileSync(file, `node-a: ${B}\nnode-b: ${A}\n`)
  t.strictSame([await nodeOf(A), await nodeOf(B)], ['node-b', 'node-a'])
  writeFileSync(file, 'node-a: oops\n')
  t.strictSame([await nodeOf(A), await nodeOf(A)], ['node-b', 'node-b'])
  t.equal(warnings.length, 1, 'told once')
  rmSync(file)
  t.equal(await nodeOf(A), 'node-b')
  t.match(warnings[1], /Cannot read the join tokens .*ENOENT/)
  await t.rejects(
    JoinTokens.open(file, () => undefined),
    { code: 'WEIR_CA_TOKENS' },
  )
})

t.test('the command line of the CA tells all mistakes at once', (t) => {
  const good = ['--listen', '[::]:15012', '--ca-dir', '/ca', '--join-tokens', '/t', '--manifests', '/m']
  const parse = (...more: string[]) => parseCaArguments([...good, ...more])
  t.strictSame(parse('--cert-ttl=1h30m', '--names', 'ca.mesh,10.0.0.1'), {
    kind: 'config',
    config: {
      host: '::',
      port: 15012,
      caDir: '/ca',
      nodes: { kind: 'files', joinTokens: '/t', manifests: '/m' },
      trustDomain: 'cluster.local',
      ttlMs: 5_400_000,
      maxTtlMs: 24 * HOUR_MS,
      names: ['ca.mesh', '10.0.0.1'],
      logLevel: 'info',
    },
  })
  t.match(parse('--cert-ttl', '48h'), { config: { ttlMs: 48 * HOUR_MS, maxTtlMs: 48 * HOUR_MS } })
  t.match(parse('--help'), { kind: 'help' })
  t.strictSame(parseCaArguments([]), {
    kind: 'errors',
    errors: [
      '--listen: missing; see weir ca --help.',
      '--ca-dir: missing; see weir ca --help.',
      '--join-tokens: missing; see weir ca --help.',
      '--manifests: missing; see weir ca --help.',
    ],
  })
  t.match(parseCaArguments(['--listen', ':0', '--typo', 'x', '--ca-dir']), {
    errors: [
      'Unknown argument --typo; see weir ca --help.',
      'Unknown argument x; see weir ca --help.',
      '--ca-dir: needs a value.',
      '--join-tokens: missing; see weir ca --help.',
      '--manifests: missing; see weir ca --help.',
      '--listen: expected HOST:PORT, an IPv6 address in brackets, got ":0".',
    ],
  })
  for (const [flag, value, message] of [
    ['--cert-ttl', '10', '--cert-ttl: expected a duration from 1s to 2160h, such as 24h or 1h30m, got "10".'],
    ['--max-ttl', '1h', '--max-ttl: must not be shorter than --cert-ttl.'],
    ['--trust-domain', 'UP', '--trust-domain: expected a trust domain such as cluster.local, got "UP".'],
    ['--names', 'a b', '--names: expected DNS names and IP addresses by comma, got "a b".'],
    ['--log-level', 'loud', '--log-level: expected one of debug, info, warn, error, silent, got "loud".'],
    ['--ca-dir', '/other', '--ca-dir: given twice.'],
  ] as const) {
    t.strictSame(parse(flag, value), { kind: 'errors', errors: [message] }, flag)
  }
  const cluster = ['--listen', '[::]:15012', '--ca-dir', '/ca', '--kubernetes']
  t.match(parseCaArguments(cluster), {
    config: { nodes: { kind: 'kubernetes', audience: 'weir-ca', agentAccount: 'weir-system/weir-agent' } },
  })
  t.match(parseCaArguments([...cluster, '--secret=weir-system/weir-ca', '--agent-account', 'mesh/agent']), {
    config: { nodes: { secret: 'weir-system/weir-ca', configMap: undefined, agentAccount: 'mesh/agent' } },
  })
  t.strictSame(parseCaArguments([...cluster, '--secret', 'weir-ca', '--manifests', '/m']), {
    kind: 'errors',
    errors: ['--manifests: not together with --kubernetes.', '--secret: expected NAMESPACE/NAME, got "weir-ca".'],
  })
  t.strictSame(parse('--audience', 'x'), { kind: 'errors', errors: ['--audience: only with --kubernetes.'] })
  t.end()
})

t.test("the CA's own certificate names where it listens", (t) => {
  t.strictSame(serverHosts('10.0.0.1', []), ['10.0.0.1'])
  t.strictSame(serverHosts('ca.mesh', ['10.0.0.1', 'ca.mesh']), ['ca.mesh', '10.0.0.1'])
  const everywhere = serverHosts('0.0.0.0', ['ca.mesh'])
  for (const host of ['localhost', '127.0.0.1', 'ca.mesh']) t.ok(everywhere.includes(host), host)
  t.notOk(everywhere.includes('0.0.0.0'))
  t.end()
})
