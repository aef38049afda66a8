/**
 * Keys and certificates of the service accounts in use on this node: asked for when the first pod of an account
 * comes, renewed at half life, forgotten with its last pod. A certificate is served until another one is there.
 */
import { errorLine, Semaphore, WeirError } from '#base'
import { spiffeId } from '#identity'
import { type Clock, systemClock } from './clock.ts'
import type { IdentityMaterial, Issuer } from './issuer.ts'
import { decideRenewalMs, decideRetryMs } from './renewal.ts'

export interface ServiceAccount {
  readonly namespace: string
  readonly serviceAccount: string
}

export type IdentityChange =
  /** New, or renewed: for new connections from now on. */
  | { readonly kind: 'issued'; readonly material: IdentityMaterial }
  | { readonly kind: 'forgotten'; readonly spiffeId: string }
  /** All roots trusted from now on, PEM; comes before the first certificate. */
  | { readonly kind: 'trust-bundle'; readonly trustBundlePem: string }

export interface IdentityStatus {
  readonly spiffeId: string
  /** pending: none yet; failing: the last try failed, the certificate at hand is still good; expired: it is not. */
  readonly state: 'pending' | 'valid' | 'failing' | 'expired'
  /** Of the certificate at hand; empty and 0 while there is none. */
  readonly serial: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** When it is renewed, or tried again. */
  readonly nextTryMs: number
  /** Failed tries in a row. */
  readonly failures: number
  /** Of the first of them; 0 while there is none. */
  readonly failingSinceMs: number
  readonly lastError: string
}

export interface IdentityStoreOptions {
  readonly issuer: Issuer
  readonly trustDomain: string
  /** Asked for; the issuer may give less. */
  readonly ttlMs: number
  readonly onChange: (change: IdentityChange) => void
  /** Told of each failed try. */
  readonly onFailure?: (spiffeId: string, error: unknown, nextTryMs: number) => void
  readonly clock?: Clock
}

const CONCURRENT_ISSUES = 8
/** Longest sleep of a timer: the wall clock may be set, and the machine may sleep. */
const MAX_SLEEP_MS = 60_000
const TRUST_PERIOD_MS = 30_000

interface Entry {
  readonly spiffeId: string
  readonly first: PromiseWithResolvers<IdentityMaterial>
  material: IdentityMaterial | undefined
  nextTryMs: number
  failures: number
  failingSinceMs: number
  lastError: string
  timer: Disposable | undefined
}

export class IdentityStore {
  readonly #options: IdentityStoreOptions
  readonly #clock: Clock
  readonly #slots = new Semaphore(CONCURRENT_ISSUES)
  readonly #entries = new Map<string, Entry>()
  readonly #ended = new AbortController()
  #trustBundlePem: string | undefined
  #trustTimer: Disposable | undefined

  constructor(options: IdentityStoreOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#watchTrust()
  }

  /** All roots, PEM; undefined before the first certificate. */
  get trustBundlePem(): string | undefined {
    return this.#trustBundlePem
  }

  /** The accounts of this node's pods, all of them: others are forgotten, new ones asked for at once. */
  setWanted(accounts: Iterable<ServiceAccount>): void {
    if (this.#ended.signal.aborted) return
    const wanted = new Set<string>()
    for (const { namespace, serviceAccount } of accounts) {
      wanted.add(spiffeId(this.#options.trustDomain, namespace, serviceAccount))
    }
    for (const entry of this.#entries.values()) if (!wanted.has(entry.spiffeId)) this.#forget(entry)
    for (const id of wanted) if (!this.#entries.has(id)) this.#begin(id)
  }

  get(id: string): IdentityMaterial | undefined {
    return this.#entries.get(id)?.material
  }

  /**
   * The certificate at hand, or the first one as soon as it is there, however often that is tried.
   * @throws WeirError WEIR_IDENTITY_UNKNOWN when no pod of this node has, or has any longer, that identity
   */
  async ready(id: string): Promise<IdentityMaterial> {
    const entry = this.#entries.get(id)
    if (entry === undefined) throw unknownIdentity(id)
    return entry.material ?? (await entry.first.promise)
  }

  list(): IdentityStatus[] {
    return [...this.#entries.values()]
      .map((entry) => describeEntry(entry, this.#clock.nowMs()))
      .sort((a, b) => (a.spiffeId < b.spiffeId ? -1 : 1))
  }

  /** Forgets everything, without a word to `onChange`. */
  [Symbol.dispose](): void {
    this.#ended.abort()
    this.#trustTimer?.[Symbol.dispose]()
    for (const entry of this.#entries.values()) this.#drop(entry)
  }

  #begin(id: string): void {
    const first = Promise.withResolvers<IdentityMaterial>()
    // That nobody waits for it is no error.
    first.promise.catch(() => undefined)
    const entry: Entry = {
      spiffeId: id,
      first,
      material: undefined,
      nextTryMs: this.#clock.nowMs(),
      failures: 0,
      failingSinceMs: 0,
      lastError: '',
      timer: undefined,
    }
    this.#entries.set(id, entry)
    void this.#renew(entry)
  }

  #drop(entry: Entry): void {
    entry.timer?.[Symbol.dispose]()
    this.#entries.delete(entry.spiffeId)
    entry.first.reject(unknownIdentity(entry.spiffeId))
  }

  #forget(entry: Entry): void {
    this.#drop(entry)
    this.#options.onChange({ kind: 'forgotten', spiffeId: entry.spiffeId })
  }

  async #renew(entry: Entry): Promise<void> {
    const { issuer, ttlMs } = this.#options
    try {
      const material = await this.#slots.run(async () =>
        this.#holds(entry) ? issuer.issue(entry.spiffeId, ttlMs, this.#ended.signal) : undefined,
      )
      // An identity that was forgotten meanwhile, or forgotten and wanted again, has no use for it.
      if (material === undefined || !this.#holds(entry)) return
      this.#take(entry, material)
    } catch (thrown) {
      if (this.#holds(entry)) this.#fail(entry, thrown)
    }
    this.#sleep(entry)
  }

  #take(entry: Entry, material: IdentityMaterial): void {
    entry.material = material
    entry.failures = 0
    entry.failingSinceMs = 0
    entry.lastError = ''
    entry.nextTryMs = decideRenewalMs(this.#clock.nowMs(), material.notAfterMs, this.#clock.random())
    this.#trust(material.trustBundlePem)
    this.#options.onChange({ kind: 'issued', material })
    entry.first.resolve(material)
  }

  #fail(entry: Entry, thrown: unknown): void {
    entry.failures += 1
    if (entry.failures === 1) entry.failingSinceMs = this.#clock.nowMs()
    entry.lastError = errorLine(thrown)
    const notAfterMs = entry.material?.notAfterMs
    entry.nextTryMs = decideRetryMs(this.#clock.nowMs(), entry.failures, this.#clock.random(), notAfterMs)
    this.#options.onFailure?.(entry.spiffeId, thrown, entry.nextTryMs)
  }

  #holds(entry: Entry): boolean {
    return this.#entries.get(entry.spiffeId) === entry
  }

  #sleep(entry: Entry): void {
    if (!this.#holds(entry)) return
    const leftMs = entry.nextTryMs - this.#clock.nowMs()
    entry.timer = this.#clock.after(Math.min(Math.max(leftMs, 0), MAX_SLEEP_MS), () => {
      if (this.#clock.nowMs() < entry.nextTryMs) this.#sleep(entry)
      else void this.#renew(entry)
    })
  }

  #trust(trustBundlePem: string): void {
    if (trustBundlePem === this.#trustBundlePem) return
    this.#trustBundlePem = trustBundlePem
    this.#options.onChange({ kind: 'trust-bundle', trustBundlePem })
  }

  /** Follows the roots also while no certificate is due: in a rotation every node must trust the new root first. */
  #watchTrust(): void {
    this.#trustTimer = this.#clock.after(TRUST_PERIOD_MS, () => {
      void this.#options.issuer.readTrustBundle().then((trustBundlePem) => {
        if (this.#ended.signal.aborted) return
        if (trustBundlePem !== undefined) this.#trust(trustBundlePem)
        this.#watchTrust()
      })
    })
  }
}

function describeEntry(entry: Entry, nowMs: number): IdentityStatus {
  const { material, failures, failingSinceMs, lastError, nextTryMs } = entry
  return {
    spiffeId: entry.spiffeId,
    state: stateOf(entry, nowMs),
    serial: material?.serial ?? '',
    notBeforeMs: material?.notBeforeMs ?? 0,
    notAfterMs: material?.notAfterMs ?? 0,
    nextTryMs,
    failures,
    failingSinceMs,
    lastError,
  }
}

function stateOf({ material, failures }: Entry, nowMs: number): IdentityStatus['state'] {
  if (material === undefined) return 'pending'
  if (nowMs >= material.notAfterMs) return 'expired'
  return failures > 0 ? 'failing' : 'valid'
}

function unknownIdentity(id: string): WeirError {
  return new WeirError('WEIR_IDENTITY_UNKNOWN', `No pod of this node has the identity ${id}`)
}
