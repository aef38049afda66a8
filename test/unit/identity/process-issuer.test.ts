import type { ChildProcess } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { mkdirSync, openSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { closeFd, openFdChannel } from '#linux'
import type { Issuer } from '../../../agent/identity/issuer.ts'
import { IDLE_MS } from '../../../agent/identity/issuer-process.ts'
import type { IssuerConfig } from '../../../agent/identity/open-issuer.ts'
import { ProcessIssuer } from '../../../agent/identity/process-issuer.ts'
import { FakeClock } from './fake-clock.ts'
import { makeIntermediate, makeRoot } from './openssl-pki.ts'

const ID = 'spiffe://cluster.local/ns/shop/sa/cart'

/** An issuer whose time stands still, and all processes it starts. */
async function start(t: Test, config: IssuerConfig) {
  const children: ChildProcess[] = []
  const note = (message: unknown) => {
    if (typeof message === 'object' && message !== null && 'process' in message)
      children.push(message.process as ChildProcess)
  }
  channel('child_process').subscribe(note)
  t.teardown(() => channel('child_process').unsubscribe(note))
  const clock = new FakeClock()
  const warnings: string[] = []
  const issuer = await ProcessIssuer.open(config, { clock, warn: (line) => warnings.push(line) })
  t.teardown(() => issuer[Symbol.dispose]())
  const last = () => {
    const child = children.at(-1)
    if (child === undefined) throw new Error('no process was started')
    return child
  }
  /** Lets the process at hand go idle, to its very end. */
  const idle = async () => {
    const exit = once(last(), 'exit')
    await clock.advance(IDLE_MS)
    await exit
  }
  return { issuer, clock, warnings, children, last, idle }
}

const issue = (issuer: Issuer, account = 'cart') =>
  issuer.issue(ID.replace('cart', account), 60_000, AbortSignal.timeout(20_000))

t.test('requests share one process, which ends when nothing was asked for a while', async (t) => {
  const { issuer, clock, children, last, idle } = await start(t, { kind: 'memory' })
  const both = await Promise.all([issue(issuer), issue(issuer, 'web')])
  t.strictSame(
    both.map(({ spiffeId }) => spiffeId),
    [ID, ID.replace('cart', 'web')],
  )
  await clock.advance(IDLE_MS - 1)
  t.equal((await issue(issuer)).spiffeId, ID)
  await clock.advance(IDLE_MS - 1)
  t.equal(children.length, 1)
  t.equal(last().exitCode ?? last().signalCode, null, 'each request keeps it for another while')
  await idle()
  t.equal(clock.timers, 0)
})

t.test('a CA in memory outlives the process that made it', async (t) => {
  const { issuer, children, idle } = await start(t, { kind: 'memory' })
  const before = await issue(issuer)
  await idle()
  t.equal(await issuer.readTrustBundle(), before.trustBundlePem)
  t.equal(children.length, 1, 'what is known starts no process')
  const after = await issue(issuer)
  t.equal(children.length, 2)
  t.equal(after.trustBundlePem, before.trustBundlePem)
  t.ok(new X509Certificate(after.certificateChainPem).verify(new X509Certificate(before.trustBundlePem).publicKey))
  t.not(after.privateKeyPem, before.privateKeyPem)
})

t.test('what was asked of a process that crashes fails, and the next request has another one', async (t) => {
  const { issuer, children, last } = await start(t, { kind: 'memory' })
  const root = await issuer.readTrustBundle()
  last().kill('SIGSTOP')
  const lost = [issue(issuer), issue(issuer, 'web')].map((asked) =>
    t.rejects(asked, {
      code: 'WEIR_IDENTITY_PROCESS',
      message: 'The process that makes certificates was ended by SIGKILL',
    }),
  )
  last().kill('SIGKILL')
  await Promise.all(lost)
  t.equal((await issue(issuer)).trustBundlePem, root)
  t.equal(children.length, 2)
})

t.test('a process that does not answer is ended', async (t) => {
  const { issuer, clock, last } = await start(t, { kind: 'memory' })
  last().kill('SIGSTOP')
  const failed = t.rejects(issue(issuer), { code: 'WEIR_IDENTITY_PROCESS', message: /gave no answer for 60 s and/ })
  const exit = once(last(), 'exit')
  await clock.advance(60_000)
  await failed
  await exit
})

t.test('with the issuer its process ends, and what was asked of it fails', async (t) => {
  const { issuer, clock, last } = await start(t, { kind: 'memory' })
  const exit = once(last(), 'exit')
  const refused = t.rejects(issue(issuer), { code: 'WEIR_IDENTITY_PROCESS', message: /was ended with the agent/ })
  issuer[Symbol.dispose]()
  await refused
  await exit
  await t.rejects(issue(issuer), { code: 'WEIR_IDENTITY_PROCESS' })
  t.equal(clock.timers, 0)
})

t.test('an agent that ends without a word leaves no process behind', async (t) => {
  const { last } = await start(t, { kind: 'memory' })
  const exit = once(last(), 'exit')
  last().disconnect()
  t.strictSame(await exit, [0, null])
})

t.test('the process has no descriptor of the agent, and no secret where others could read it', async (t) => {
  const file = openSync(join(t.testdir({ log: '' }), 'log'), 'a')
  const fds = openFdChannel()
  t.teardown(() => [file, ...fds].forEach(closeFd))
  const { issuer, last } = await start(t, { kind: 'memory' })
  await issue(issuer)
  const read = (file: string) => readFileSync(`/proc/${last().pid}/${file}`, 'utf8')
  t.notMatch(read('cmdline') + read('environ'), /PRIVATE|BEGIN/)
  const names = read('environ')
    .split('\0')
    .map((line) => line.split('=')[0])
  const expected = ['', 'NODE_COMPILE_CACHE', 'NODE_CHANNEL_FD', 'NODE_CHANNEL_SERIALIZATION_MODE']
  // The runner of the tests adds its own to every child of a test.
  const ofRunner = (name: string) => name.startsWith('_TAPJS_') || name === 'NODE_OPTIONS'
  t.strictSame(
    names.filter((name = '') => !expected.includes(name) && !ofRunner(name)),
    [],
  )
  const theirs = readdirSync(`/proc/${last().pid}/fd`).map((fd) => linkOf(`/proc/${last().pid}/fd/${fd}`))
  t.ok(theirs.includes('/dev/null'), 'so the look does see')
  for (const fd of [file, ...fds]) t.notOk(theirs.includes(linkOf(`/proc/self/fd/${fd}`)))
})

/** What a descriptor is, as `socket:[123]` or a path; empty when it was closed meanwhile. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

t.test('files that cannot be used are told at the opening, and no process stays', async (t) => {
  const directory = t.testdir({ cacerts: { 'ca-cert.pem': 'nothing' }, other: { 'notes.txt': '' }, token: 'x\n' })
  const children: ChildProcess[] = []
  const note = (message: unknown) => children.push((message as { readonly process: ChildProcess }).process)
  channel('child_process').subscribe(note)
  const bad: readonly (readonly [IssuerConfig, string, RegExp])[] = [
    [{ kind: 'directory', directory: join(directory, 'cacerts') }, 'WEIR_CA_FILES', /^\S+cacerts\/ca-\w+\.pem [^\n]+$/],
    [
      { kind: 'directory', directory: join(directory, 'other') },
      'WEIR_CA_FILES',
      /holds no CA but other files \(notes/,
    ],
    [
      {
        kind: 'remote',
        address: '127.0.0.1:1',
        rootFile: join(directory, 'no-root'),
        tokenFile: join(directory, 'token'),
      },
      'WEIR_IDENTITY_FILE',
      /^Cannot read the CA's root file \S+no-root: /,
    ],
  ]
  for (const [config, code, message] of bad) {
    // Time stands still: the process does not end by being idle.
    const opened = ProcessIssuer.open(config, { clock: new FakeClock(), warn: (line) => t.fail(line) })
    await t.rejects(opened, { name: 'WeirError', code, message })
  }
  channel('child_process').unsubscribe(note)
  t.equal(children.length, 3)
  for (const child of children) {
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  }
})

t.test("a directory's CA is looked at again only when its files have changed", async (t) => {
  const pki = t.testdir({})
  const root = makeRoot(pki, 'root')
  const ca = makeIntermediate(pki, 'ca', root)
  const next = makeRoot(pki, 'next')
  const directory = join(pki, 'cacerts')
  mkdirSync(directory)
  const write = (name: string, text: string) => writeFileSync(join(directory, name), text)
  write('ca-cert.pem', ca.pem)
  write('ca-key.pem', ca.key)
  write('cert-chain.pem', ca.pem + root.pem)
  write('root-cert.pem', root.pem)
  const { issuer, children, warnings, idle } = await start(t, { kind: 'directory', directory })
  const parts = (pem: string | undefined) => pem?.split('BEGIN CERTIFICATE').length
  t.equal(parts(await issuer.readTrustBundle()), 2)
  await idle()
  t.equal(parts(await issuer.readTrustBundle()), 2)
  t.equal(children.length, 1)

  write('root-cert.pem', root.pem + next.pem)
  t.equal(parts(await issuer.readTrustBundle()), 3)
  t.equal(parts(await issuer.readTrustBundle()), 3)
  t.equal(children.length, 2)
  await idle()

  // What an earlier process read stays in force in the next ones, and is told once.
  write('ca-key.pem', next.key)
  t.equal(parts((await issue(issuer)).trustBundlePem), 3)
  t.equal(children.length, 3)
  await idle()
  t.equal(parts((await issue(issuer)).certificateChainPem), 3, 'with the intermediate')
  t.equal(parts(await issuer.readTrustBundle()), 3)
  t.equal(children.length, 4)
  t.equal(warnings.length, 1)
  t.match(warnings[0], /ca-key\.pem is not the key of ca-cert\.pem.*; the CA read before stays in force/)
})
