/**
 * Certificates from a process that lives only while some are made: what makes them takes tens of MiB and is needed
 * seldom. What must outlast that process, a CA in memory above all, is kept here, in memory.
 */
import { readFile, stat } from 'node:fs/promises'
import { errorLine, WeirError } from '#base'
import type { CaSnapshot, RevocationList } from '#identity/ca'
import { type Clock, systemClock } from './clock.ts'
import type { IdentityMaterial, Issuer } from './issuer.ts'
import type { IssuerAnswer, IssuerConfig, IssuerRequest, RevocationListRequest } from './issuer-messages.ts'
import { IssuerProcess } from './issuer-process.ts'
import { readPemState } from './pem-state.ts'

export interface ProcessIssuerOptions {
  /**
   * Told when the files of the CA were changed and are not good, and the CA before the change stays in force; and when
   * others can read the token.
   */
  readonly warn: (line: string) => void
  readonly clock?: Clock
}

/** How every JSON web token begins: `{"` in base64. */
const JWT = 'eyJ'
/** Rights of users that are neither the owner nor of the group. */
const OTHERS = 0o007

export class ProcessIssuer implements Issuer {
  readonly #config: IssuerConfig
  readonly #options: ProcessIssuerOptions
  #description = ''
  #process: IssuerProcess | undefined
  #snapshot: CaSnapshot | undefined
  #trustBundlePem: string | undefined
  /** Of the CA's directory, when the trust bundle was last asked for. */
  #pemState = ''
  #disposed = false

  private constructor(config: IssuerConfig, options: ProcessIssuerOptions) {
    this.#config = config
    this.#options = options
  }

  /** @throws WeirError, one line, when a file is missing or bad; a CA that is away is no error */
  static async open(config: IssuerConfig, options: ProcessIssuerOptions): Promise<ProcessIssuer> {
    const issuer = new ProcessIssuer(config, options)
    try {
      issuer.#pemState = await issuer.#readPemState()
      await issuer.#ask()
      if (config.kind === 'remote' && (await isOpenToAll(config.tokenFile))) {
        options.warn(`${config.tokenFile} (--join-token) can be read by all users: chmod 600 ${config.tokenFile}`)
      }
      return issuer
    } catch (thrown) {
      issuer[Symbol.dispose]()
      throw thrown
    }
  }

  get description(): string {
    return this.#description
  }

  async issue(spiffeId: string, ttlMs: number, signal: AbortSignal): Promise<IdentityMaterial> {
    const { material } = await this.#ask({ certificate: { spiffeId, ttlMs } }, signal)
    if (material === undefined) throw new Error('The answer to a request for a certificate holds none')
    return material
  }

  /** Starts the process only when files of the CA's directory have changed. */
  async readTrustBundle(): Promise<string | undefined> {
    const state = await this.#readPemState()
    if (state === this.#pemState || this.#disposed) return this.#trustBundlePem
    try {
      await this.#ask()
      this.#pemState = state
    } catch (thrown) {
      if (!this.#disposed) this.#options.warn(`${errorLine(thrown)}; the roots known before stay in force`)
    }
    return this.#trustBundlePem
  }

  /** @throws WeirError WEIR_CA_CRL, the end of a sentence about the file, when the list is not good */
  async readRevocationList(request: RevocationListRequest): Promise<RevocationList> {
    const { revocationList } = await this.#ask({ revocationList: request })
    if (revocationList === undefined) throw new Error('The answer to a revocation list holds none')
    return { nextUpdateMs: Number.POSITIVE_INFINITY, ...revocationList }
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    this.#process?.[Symbol.dispose]()
    this.#snapshot = undefined
  }

  async #ask(request: IssuerRequest = {}, signal?: AbortSignal): Promise<IssuerAnswer> {
    if (this.#disposed) throw new WeirError('WEIR_IDENTITY_PROCESS', 'The agent ends and makes no more certificates')
    this.#process ??= this.#start()
    const answer = await this.#process.ask(request, signal)
    if (request.revocationList === undefined) this.#description = answer.description
    this.#trustBundlePem = answer.trustBundlePem ?? this.#trustBundlePem
    return answer
  }

  #start(): IssuerProcess {
    return new IssuerProcess({
      config: this.#config,
      snapshot: this.#snapshot,
      clock: this.#options.clock ?? systemClock,
      onSnapshot: (snapshot) => {
        this.#snapshot = snapshot
      },
      onWarning: (line) => this.#options.warn(line),
      onEnd: () => {
        this.#process = undefined
      },
    })
  }

  async #readPemState(): Promise<string> {
    return this.#config.kind === 'directory' ? readPemState(this.#config.directory) : ''
  }
}

/** Not asked of the tokens of a cluster: they end by themselves, and the kubelet chooses the mode of their files. */
async function isOpenToAll(tokenFile: string): Promise<boolean> {
  const [{ mode }, token] = await Promise.all([stat(tokenFile), readFile(tokenFile, 'utf8')])
  return (mode & OTHERS) !== 0 && !token.startsWith(JWT)
}
