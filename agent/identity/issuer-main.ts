/**
 * The process that makes certificates for the agent: loads what that takes, answers over its IPC channel, and ends
 * with the channel. It writes nothing; keys leave it over the channel only.
 */
import { flushCompileCache } from 'node:module'
import { errorLine, WeirError } from '#base'
import { CaDirectory, type CaSnapshot, readRevocationLists, splitCertificates } from '#identity/ca'
import type { Issuer } from './issuer.ts'
import type {
  AgentToIssuer,
  IssuerAnswer,
  IssuerConfig,
  IssuerRequest,
  IssuerToAgent,
  RevocationListRequest,
} from './issuer-messages.ts'
import { LocalIssuer } from './local-issuer.ts'

/** The issuer, opened with the first request, and again with the next when that failed. */
class Served {
  readonly #config: IssuerConfig
  readonly #cancels = new Map<number, AbortController>()
  #snapshot: CaSnapshot | undefined
  #opening: Promise<Issuer> | undefined

  constructor(config: IssuerConfig, snapshot: CaSnapshot | undefined) {
    this.#config = config
    this.#snapshot = snapshot
  }

  async answer(id: number, request: IssuerRequest): Promise<void> {
    const controller = new AbortController()
    this.#cancels.set(id, controller)
    try {
      tell({ kind: 'answer', id, answer: await this.#act(request, controller.signal) })
    } catch (thrown) {
      const code = thrown instanceof WeirError ? { code: thrown.code } : {}
      tell({ kind: 'failure', id, ...code, message: errorLine(thrown) })
    }
    this.#cancels.delete(id)
  }

  cancel(id: number): void {
    this.#cancels.get(id)?.abort()
  }

  async #act({ certificate, revocationList }: IssuerRequest, signal: AbortSignal): Promise<IssuerAnswer> {
    if (revocationList !== undefined) return readList(revocationList)
    const issuer = await this.#open()
    const { description } = issuer
    try {
      if (certificate !== undefined) {
        const material = await issuer.issue(certificate.spiffeId, certificate.ttlMs, signal)
        return { description, trustBundlePem: material.trustBundlePem, material }
      }
      const trustBundlePem = await issuer.readTrustBundle()
      return trustBundlePem === undefined ? { description } : { description, trustBundlePem }
    } finally {
      this.#tellSnapshot(issuer)
    }
  }

  async #open(): Promise<Issuer> {
    this.#opening ??= openHere(this.#config, this.#snapshot)
    try {
      return await this.#opening
    } catch (thrown) {
      this.#opening = undefined
      throw thrown
    }
  }

  #tellSnapshot(issuer: Issuer): void {
    if (!(issuer instanceof LocalIssuer) || issuer.snapshot === this.#snapshot) return
    this.#snapshot = issuer.snapshot
    tell({ kind: 'snapshot', snapshot: issuer.snapshot })
  }
}

async function readList({ pem, issuersPem }: RevocationListRequest): Promise<IssuerAnswer> {
  const { revocations, nextUpdateMs } = await readRevocationLists(pem, splitCertificates(issuersPem))
  // Infinity is none of JSON's numbers.
  const end = Number.isFinite(nextUpdateMs) ? { nextUpdateMs } : {}
  return { description: '', revocationList: { revocations, ...end } }
}

/** What speaks gRPC is loaded only where a CA is asked. */
async function openHere(config: IssuerConfig, snapshot: CaSnapshot | undefined): Promise<Issuer> {
  switch (config.kind) {
    case 'memory':
      return LocalIssuer.inMemory(Date.now(), snapshot)
    case 'directory': {
      const { directory } = config
      const opened = snapshot ? CaDirectory.resume(directory, snapshot) : CaDirectory.open(directory, Date.now())
      return LocalIssuer.inDirectory(await opened, (line) => tell({ kind: 'warning', line }))
    }
    case 'remote': {
      const { RemoteIssuer } = await import('./remote-issuer.ts')
      return RemoteIssuer.open(config)
    }
  }
}

function tell(message: IssuerToAgent): void {
  process.send?.(message, undefined, undefined, () => undefined)
}

let served: Served | undefined
let flushed = false

/** Ended without notice, this process would not leave what it compiled for the next. */
function flushOnce(): void {
  if (!flushed) flushCompileCache()
  flushed = true
}

process.on('message', (message: AgentToIssuer) => {
  switch (message.kind) {
    case 'begin':
      served = new Served(message.config, message.snapshot)
      return
    case 'ask':
      void served?.answer(message.id, message.request).then(flushOnce)
      return
    case 'cancel':
      served?.cancel(message.id)
  }
})
process.on('disconnect', () => process.exit(0))
