/** The identities of the node's pods: kept by the store, handed to the proxies, told in the log. */
import { X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import { errorLine } from '#base'
import type { IdentityMaterial as ProxyMaterial, Revocations } from '#contract'
import { normalizeSerial, parseSpiffeId } from '#identity'
import type { AgentLog } from '../log.ts'
import { type IdentityStatus, IdentityStore } from './identity-store.ts'
import type { IdentityMaterial } from './issuer.ts'
import { type IssuerConfig, openIssuer } from './open-issuer.ts'
import type { ProcessIssuer } from './process-issuer.ts'
import { RevocationWatch } from './revocation-watch.ts'

export interface IdentityTaker {
  /** By `namespace/serviceaccount`; undefined: forgotten. */
  setIdentity(account: string, material: ProxyMaterial | undefined): void
}

export interface NodeIdentitiesOptions {
  readonly issuer: IssuerConfig
  readonly trustDomain: string
  readonly ttlMs: number
  /** `--ca-crl`; a CA's directory has one of its own. */
  readonly revocationFile?: string
  readonly taker: IdentityTaker
  readonly log: AgentLog
}

/** As others see it: a good certificate may be one that they refuse. */
export type NodeIdentityStatus = Omit<IdentityStatus, 'state'> & {
  readonly state: IdentityStatus['state'] | 'revoked'
}

interface Account {
  readonly namespace: string
  readonly serviceAccount: string
}

export class NodeIdentities implements Disposable {
  /** For people: who signs. */
  readonly issuer: string
  readonly #store: IdentityStore
  readonly #issuer: ProcessIssuer
  readonly #taker: IdentityTaker
  #issued = new Map<string, IdentityMaterial>()
  #failures = 0
  #watch: RevocationWatch | undefined

  /** @throws WeirError, one line, when the CA's files cannot be used */
  static async open(options: NodeIdentitiesOptions): Promise<NodeIdentities> {
    const { log } = options
    const issuer = await openIssuer(options.issuer, (line) => log.warn({ reason: line }, 'CA'))
    let made: NodeIdentities | undefined
    const store = new IdentityStore({
      issuer,
      trustDomain: options.trustDomain,
      ttlMs: options.ttlMs,
      onChange: (change) => {
        if (change.kind === 'issued') {
          const { spiffeId: identity, serial, notAfterMs } = change.material
          log.info({ identity, serial, notAfter: new Date(notAfterMs).toISOString() }, 'certificate issued')
          made?.hand(change.material)
        } else if (change.kind === 'forgotten') made?.forget(change.spiffeId)
        else made?.handAll()
      },
      onFailure: (identity, error, nextTryMs) => {
        made?.countFailure()
        log.error({ identity, reason: errorLine(error), retryInMs: nextTryMs - Date.now() }, 'certificate not issued')
      },
    })
    made = new NodeIdentities(store, options.taker, issuer)
    made.follow(options)
    return made
  }

  constructor(store: IdentityStore, taker: IdentityTaker, issuer: ProcessIssuer) {
    this.#store = store
    this.#taker = taker
    this.issuer = issuer.description
    this.#issuer = issuer
  }

  /** Goes by a revocation list where there is, or may be, one. */
  follow({ issuer, revocationFile, log }: NodeIdentitiesOptions): void {
    const own = issuer.kind === 'directory' ? join(issuer.directory, REVOCATION_FILE) : undefined
    const file = revocationFile ?? own
    if (file === undefined) return
    let told = false
    this.#watch = new RevocationWatch({
      file,
      optional: revocationFile === undefined,
      issuersPem: () => this.#issuersPem(),
      read: (pem, issuersPem) => this.#issuer.readRevocationList({ pem, issuersPem }),
      onChange: (revocations) => {
        const revoked = revocations.reduce((sum, { serials }) => sum + serials.length, 0)
        if (told || revoked > 0) log.info({ file, revoked }, 'revocation list in force')
        told ||= revoked > 0
        this.handAll()
      },
      onProblem: (problem) => {
        if (problem !== '') log.error({ problem }, 'problem')
      },
    })
  }

  /** What is wrong with the revocation list; empty when nothing is. */
  get revocationProblem(): string {
    return this.#watch?.problem ?? ''
  }

  /** Accounts of all pods that are enrolled, or still drain. */
  setWanted(accounts: Iterable<Account>): void {
    this.#store.setWanted(accounts)
  }

  list(): readonly NodeIdentityStatus[] {
    const revocations = this.#watch?.revocations ?? []
    return this.#store.list().map((status) => {
      const chain = this.#store.get(status.spiffeId)?.certificateChainPem
      const revoked = chain !== undefined && status.state !== 'expired' && isRevoked(chain, revocations)
      return revoked ? { ...status, state: 'revoked' } : status
    })
  }

  /** Tries to get a certificate that failed, since the start. */
  get failures(): number {
    return this.#failures
  }

  countFailure(): void {
    this.#failures += 1
  }

  hand(material: IdentityMaterial): void {
    this.#issued.set(material.spiffeId, material)
    const revocations = this.#watch?.revocations
    if (this.#watch !== undefined) {
      void this.#watch.look()
      // Handed over with all others as soon as it is known who is revoked.
      if (revocations === undefined) return
    }
    const account = accountOf(material.spiffeId)
    this.#taker.setIdentity(account, {
      identity: material.spiffeId,
      privateKey: material.privateKeyPem,
      certificateChain: material.certificateChainPem,
      trustBundle: this.#store.trustBundlePem ?? material.trustBundlePem,
      ...(revocations === undefined ? {} : { revocations }),
    })
  }

  /** The roots changed: all are handed over again. */
  handAll(): void {
    for (const material of this.#issued.values()) this.hand(material)
  }

  forget(spiffeId: string): void {
    this.#issued.delete(spiffeId)
    this.#taker.setIdentity(accountOf(spiffeId), undefined)
  }

  [Symbol.dispose](): void {
    this.#watch?.[Symbol.dispose]()
    this.#store[Symbol.dispose]()
    this.#issuer[Symbol.dispose]()
    this.#issued = new Map()
  }

  /** Of all CAs that certificates of this node lead to, each once. */
  #issuersPem(): string {
    const chains = [...this.#issued.values()].map(({ certificateChainPem }) => certificateChainPem)
    const texts = chains.flatMap((chain) => blocksOf(chain).slice(1))
    return [...new Set([...texts, ...blocksOf(this.#store.trustBundlePem ?? '')])].sort().join('')
  }
}

/** As in Istio's `cacerts`. */
const REVOCATION_FILE = 'ca-crl.pem'

/** PEM blocks of our own making: each ends its line. */
function blocksOf(pem: string): readonly string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?/g) ?? []
}

/** The certificate itself, or one of the CAs between it and a root. */
function isRevoked(chainPem: string, revocations: readonly Revocations[]): boolean {
  if (revocations.length === 0) return false
  return blocksOf(chainPem).some((block) => {
    const { issuer, serialNumber } = new X509Certificate(block)
    const serial = normalizeSerial(serialNumber) ?? ''
    return revocations.some((list) => list.issuer === issuer && list.serials.includes(serial))
  })
}

function accountOf(spiffeId: string): string {
  const parts = parseSpiffeId(spiffeId)
  return parts === undefined ? spiffeId : `${parts.namespace}/${parts.serviceAccount}`
}
