/** The identities of the node's pods: kept by the store, handed to the proxies, told in the log. */
import { errorLine } from '#base'
import type { IdentityMaterial as ProxyMaterial } from '#contract'
import { parseSpiffeId } from '#identity'
import type { AgentLog } from '../log.ts'
import { type IdentityStatus, IdentityStore } from './identity-store.ts'
import type { IdentityMaterial } from './issuer.ts'
import { type IssuerConfig, openIssuer } from './open-issuer.ts'

export interface IdentityTaker {
  /** By `namespace/serviceaccount`; undefined: forgotten. */
  setIdentity(account: string, material: ProxyMaterial | undefined): void
}

export interface NodeIdentitiesOptions {
  readonly issuer: IssuerConfig
  readonly trustDomain: string
  readonly ttlMs: number
  readonly taker: IdentityTaker
  readonly log: AgentLog
}

interface Account {
  readonly namespace: string
  readonly serviceAccount: string
}

export class NodeIdentities implements Disposable {
  /** For people: who signs. */
  readonly issuer: string
  readonly #store: IdentityStore
  readonly #close: () => void
  readonly #taker: IdentityTaker
  #issued = new Map<string, IdentityMaterial>()

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
      onFailure: (identity, error, nextTryMs) =>
        log.error({ identity, reason: errorLine(error), retryInMs: nextTryMs - Date.now() }, 'certificate not issued'),
    })
    made = new NodeIdentities(store, options.taker, issuer.description, () => issuer[Symbol.dispose]())
    return made
  }

  constructor(store: IdentityStore, taker: IdentityTaker, issuer: string, close: () => void) {
    this.#store = store
    this.#taker = taker
    this.issuer = issuer
    this.#close = close
  }

  /** Accounts of all pods that are enrolled, or still drain. */
  setWanted(accounts: Iterable<Account>): void {
    this.#store.setWanted(accounts)
  }

  list(): readonly IdentityStatus[] {
    return this.#store.list()
  }

  hand(material: IdentityMaterial): void {
    this.#issued.set(material.spiffeId, material)
    const account = accountOf(material.spiffeId)
    this.#taker.setIdentity(account, {
      identity: material.spiffeId,
      privateKey: material.privateKeyPem,
      certificateChain: material.certificateChainPem,
      trustBundle: this.#store.trustBundlePem ?? material.trustBundlePem,
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
    this.#store[Symbol.dispose]()
    this.#close()
    this.#issued = new Map()
  }
}

function accountOf(spiffeId: string): string {
  const parts = parseSpiffeId(spiffeId)
  return parts === undefined ? spiffeId : `${parts.namespace}/${parts.serviceAccount}`
}
