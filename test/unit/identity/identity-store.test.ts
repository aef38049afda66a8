import t, { type Test } from 'tap'
import { type IdentityChange, IdentityStore } from '../../../agent/identity/identity-store.ts'
import type { IdentityMaterial, Issuer } from '../../../agent/identity/issuer.ts'
import { decideRenewalMs, decideRetryMs } from '../../../agent/identity/renewal.ts'
import { FakeClock, settle } from './fake-clock.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const idOf = (account: string) => `spiffe://cluster.local/ns/shop/sa/${account}`
const pod = (serviceAccount: string) => ({ namespace: 'shop', serviceAccount })

/** Numbers its certificates; can be told to fail, and to hold its answers back. */
class FakeIssuer implements Issuer {
  readonly description = 'fake'
  readonly asked: { readonly spiffeId: string; readonly atMs: number }[] = []
  readonly #clock: FakeClock
  error: Error | undefined
  trust = 'root 1\n'
  held: PromiseWithResolvers<void> | undefined
  running = 0
  mostRunning = 0
  signal: AbortSignal | undefined

  constructor(clock: FakeClock) {
    this.#clock = clock
  }

  async issue(spiffeId: string, ttlMs: number, signal: AbortSignal): Promise<IdentityMaterial> {
    const serial = String(this.asked.push({ spiffeId, atMs: this.#clock.nowMs() }))
    this.signal = signal
    this.running += 1
    this.mostRunning = Math.max(this.mostRunning, this.running)
    await this.held?.promise
    this.running -= 1
    if (this.error !== undefined) throw this.error
    const nowMs = this.#clock.nowMs()
    const pems = {
      privateKeyPem: `key ${serial}`,
      certificateChainPem: `certificate ${serial}`,
      trustBundlePem: this.trust,
    }
    return { spiffeId, ...pems, serial, notBeforeMs: nowMs - 120_000, notAfterMs: nowMs + ttlMs }
  }

  async readTrustBundle(): Promise<string> {
    return this.trust
  }

  [Symbol.dispose](): void {}
}

function start(t: Test, ttlMs = DAY_MS) {
  const clock = new FakeClock()
  const issuer = new FakeIssuer(clock)
  const changes: IdentityChange[] = []
  const failures: { readonly spiffeId: string; readonly waitMs: number }[] = []
  const store = new IdentityStore({
    issuer,
    trustDomain: 'cluster.local',
    ttlMs,
    clock,
    onChange: (change) => changes.push(change),
    onFailure: (spiffeId, _error, nextTryMs) => failures.push({ spiffeId, waitMs: nextTryMs - clock.nowMs() }),
  })
  t.teardown(() => store[Symbol.dispose]())
  const told = () =>
    changes.splice(0).map((change) => (change.kind === 'issued' ? `issued ${change.material.serial}` : change.kind))
  return { clock, issuer, store, changes, failures, told }
}

t.test('a certificate is asked for with the first pod of an account, once', async (t) => {
  const { issuer, store, told } = start(t)
  t.equal(store.get(idOf('cart')), undefined)
  store.setWanted([pod('cart'), pod('web'), pod('cart')])
  store.setWanted([pod('web'), pod('cart')])
  t.equal(store.list()[0]?.state, 'pending')
  const [material, same] = await Promise.all([store.ready(idOf('cart')), store.ready(idOf('cart'))])
  t.equal(material, same)
  t.equal(store.get(idOf('cart')), material)
  await settle()
  t.strictSame(
    issuer.asked.map(({ spiffeId }) => spiffeId),
    [idOf('cart'), idOf('web')],
  )
  t.strictSame(told(), ['trust-bundle', 'issued 1', 'issued 2'], 'what is trusted comes first')
  t.strictSame(store.list(), [
    {
      spiffeId: idOf('cart'),
      state: 'valid',
      serial: '1',
      notBeforeMs: material.notBeforeMs,
      notAfterMs: material.notAfterMs,
      nextTryMs: material.notAfterMs - DAY_MS / 2,
      failures: 0,
      failingSinceMs: 0,
      lastError: '',
    },
    { ...store.list()[1], spiffeId: idOf('web'), serial: '2' },
  ])
})

t.test('it is renewed at half life, with a new key, again and again', async (t) => {
  const { clock, store, told } = start(t)
  store.setWanted([pod('cart')])
  await clock.advance(0)
  await clock.advance(DAY_MS / 2 - 1)
  t.strictSame(told(), ['trust-bundle', 'issued 1'])
  await clock.advance(1)
  t.strictSame(told(), ['issued 2'])
  t.equal(store.get(idOf('cart'))?.privateKeyPem, 'key 2')
  await clock.advance(3 * (DAY_MS / 2))
  t.strictSame(told(), ['issued 3', 'issued 4', 'issued 5'])
})

t.test('lifetimes of seconds are kept up with', async (t) => {
  const { clock, store, told } = start(t, 4_000)
  store.setWanted([pod('cart')])
  await clock.advance(20_000)
  t.equal(told().filter((line) => line.startsWith('issued')).length, 11)
})

t.test('renewals are spread over a tenth of the lifetime', (t) => {
  t.equal(decideRenewalMs(1000, 101_000, 0), 46_000)
  t.equal(decideRenewalMs(1000, 101_000, 0.5), 51_000)
  t.ok(decideRenewalMs(1000, 101_000, 0.999) < 56_000)
  t.equal(decideRenewalMs(1000, 1000, 0.5), 1500, 'what ends at once is no reason to spin')
  t.end()
})

t.test('failed tries back off with jitter, and faster while a certificate runs out', (t) => {
  const waits = (random: number) => [1, 2, 3, 20].map((failures) => decideRetryMs(0, failures, random, undefined))
  t.strictSame(waits(0), [250, 500, 1000, 15_000])
  t.strictSame(
    waits(0.9999).map((ms) => Math.round(ms / 10) * 10),
    [500, 1000, 2000, 15_000].map((ms) => Math.round(ms / 10) * 10),
  )
  t.equal(decideRetryMs(0, 20, 0, 40_000), 10_000, 'a quarter of what is left')
  t.equal(decideRetryMs(0, 20, 0, 100), 500, 'and not in a rush')
  t.equal(decideRetryMs(50_000, 20, 0, 40_000), 65_000, 'after the end connections fail: soon again')
  t.equal(decideRetryMs(0, 20, 0, 9_000_000), 75_000, 'with time left there is no hurry')
  t.end()
})

t.test('while the CA is away the old certificate is served, and the tries and their reason are shown', async (t) => {
  const { clock, issuer, store, failures, told } = start(t)
  store.setWanted([pod('cart')])
  await clock.advance(0)
  issuer.error = new Error('Cannot reach the CA:\nconnection refused')
  await clock.advance(DAY_MS / 2)
  const [failing] = store.list()
  t.match(failing, {
    state: 'failing',
    serial: '1',
    failures: 1,
    failingSinceMs: failing?.notBeforeMs === undefined ? -1 : failing.notBeforeMs + 120_000 + DAY_MS / 2,
    lastError: 'Cannot reach the CA:; connection refused',
  })
  t.equal(store.get(idOf('cart'))?.serial, '1')
  await clock.advance(HOUR_MS)
  const waits = failures.map(({ waitMs }) => waitMs)
  t.strictSame(waits.slice(0, 5), [375, 750, 1500, 3000, 6000])
  t.equal(store.list()[0]?.failingSinceMs, failing?.failingSinceMs, 'since the first failure')
  t.equal(Math.max(...waits), 112_500, 'the longest pause, at mean jitter')
  t.equal(store.get(idOf('cart'))?.serial, '1')
  issuer.error = undefined
  t.strictSame(told(), ['trust-bundle', 'issued 1'], 'proxies are not told of failures')
  await clock.advance(150_000)
  t.match(store.list()[0], { state: 'valid', failures: 0, failingSinceMs: 0, lastError: '' })
  t.match(told(), [/^issued \d+$/])
})

t.test('a certificate that ran out is said to be expired, and tries go on', async (t) => {
  const { clock, issuer, store } = start(t, 60_000)
  store.setWanted([pod('cart')])
  await clock.advance(0)
  issuer.error = new Error('away')
  await clock.advance(60_000)
  t.equal(store.list()[0]?.state, 'expired')
  const { length } = issuer.asked
  await clock.advance(600_000)
  t.ok(issuer.asked.length > length)
  issuer.error = undefined
  await clock.advance(150_000)
  t.equal(store.list()[0]?.state, 'valid')
})

t.test('who waits for a first certificate gets it when the CA comes back', async (t) => {
  const { clock, issuer, store } = start(t)
  issuer.error = new Error('away')
  store.setWanted([pod('cart')])
  const waiting = store.ready(idOf('cart'))
  await clock.advance(10_000)
  t.match(store.list()[0], { state: 'pending', lastError: 'away' })
  issuer.error = undefined
  await clock.advance(10_000)
  t.equal((await waiting).spiffeId, idOf('cart'))
})

t.test('with the last pod of an account its key goes, and nothing of it comes back', async (t) => {
  const { clock, issuer, store, told } = start(t)
  store.setWanted([pod('cart'), pod('web')])
  await clock.advance(0)
  told()
  store.setWanted([pod('web')])
  t.strictSame(told(), ['forgotten'])
  t.equal(store.get(idOf('cart')), undefined)
  await t.rejects(store.ready(idOf('cart')), { code: 'WEIR_IDENTITY_UNKNOWN' })
  t.equal(clock.timers, 2, 'one for the other account, one for the roots')
  const { length } = issuer.asked
  await clock.advance(DAY_MS / 2)
  t.strictSame(
    issuer.asked.slice(length).map(({ spiffeId }) => spiffeId),
    [idOf('web')],
    'it is not renewed',
  )
})

t.test('an answer that comes after its account was forgotten is dropped', async (t) => {
  const { clock, issuer, store, told } = start(t)
  issuer.held = Promise.withResolvers()
  store.setWanted([pod('cart')])
  const waiting = t.rejects(store.ready(idOf('cart')), { code: 'WEIR_IDENTITY_UNKNOWN' })
  await settle()
  store.setWanted([])
  await waiting
  store.setWanted([pod('cart')])
  await settle()
  issuer.held.resolve()
  await clock.advance(0)
  t.strictSame(told(), ['forgotten', 'trust-bundle', 'issued 2'], 'only the second asking counts')
  t.equal(store.get(idOf('cart'))?.serial, '2')
})

t.test('no more than eight are asked for at a time, and all are served', async (t) => {
  const { clock, issuer, store } = start(t)
  issuer.held = Promise.withResolvers()
  store.setWanted(Array.from({ length: 50 }, (_, index) => pod(`account-${index}`)))
  await settle()
  t.equal(issuer.asked.length, 8)
  issuer.held.resolve()
  await clock.advance(0)
  t.equal(issuer.mostRunning, 8)
  t.equal(store.list().filter(({ state }) => state === 'valid').length, 50)
})

t.test('a change of the trusted roots is told while no certificate is due', async (t) => {
  const { clock, issuer, store, told } = start(t)
  store.setWanted([pod('cart')])
  await clock.advance(60_000)
  t.strictSame(told(), ['trust-bundle', 'issued 1'])
  issuer.trust = 'root 1\nroot 2\n'
  await clock.advance(60_000)
  t.strictSame(told(), ['trust-bundle'], 'once')
  t.equal(store.trustBundlePem, 'root 1\nroot 2\n')
})

t.test('after its end it asks for nothing, tells nothing and holds no timer', async (t) => {
  const { clock, issuer, store, told } = start(t)
  issuer.held = Promise.withResolvers()
  store.setWanted([pod('cart')])
  await settle()
  store[Symbol.dispose]()
  t.equal(issuer.signal?.aborted, true, 'what is under way is cancelled')
  issuer.held.resolve()
  await clock.advance(DAY_MS)
  store.setWanted([pod('web')])
  await clock.advance(DAY_MS)
  t.strictSame(told(), [])
  t.equal(issuer.asked.length, 1)
  t.equal(clock.timers, 0)
})
