/** The agent as its own CA, with the key of a directory or with one that lives as long as the agent. */
import { errorLine } from '#base'
import { type CaDirectory, type CaSnapshot, CertificateAuthority, createKeyPair, generateRoot } from '#identity/ca'
import type { IdentityMaterial, Issuer } from './issuer.ts'

/** A CA that may be another one after `refresh`; a directory, or one that stays. */
interface Source {
  readonly authority: CertificateAuthority
  readonly snapshot: CaSnapshot
  refresh(nowMs: number): Promise<unknown>
}

export class LocalIssuer implements Issuer {
  readonly description: string
  readonly #source: Source
  readonly #warn: (line: string) => void

  private constructor(description: string, source: Source, warn: (line: string) => void) {
    this.description = description
    this.#source = source
    this.#warn = warn
  }

  /**
   * A CA without files: pods of other nodes will not trust it, nor it them.
   * @param before the CA of a process before this one, to go on with
   */
  static async inMemory(nowMs: number, before?: CaSnapshot): Promise<LocalIssuer> {
    const snapshot = before ?? { material: await generateRoot(nowMs), readAtMs: nowMs, state: '' }
    const authority = await CertificateAuthority.fromMaterial(snapshot.material, snapshot.readAtMs)
    const source = { authority, snapshot, refresh: async () => undefined }
    return new LocalIssuer('own key, in memory', source, () => undefined)
  }

  /** @param warn told when the files were changed and are not good; the CA before the change stays in force */
  static inDirectory(directory: CaDirectory, warn: (line: string) => void): LocalIssuer {
    return new LocalIssuer(`own key, from ${directory.path}`, directory, warn)
  }

  /** With the CA's key; another object when the CA, or its files, changed. */
  get snapshot(): CaSnapshot {
    return this.#source.snapshot
  }

  async issue(spiffeId: string, ttlMs: number): Promise<IdentityMaterial> {
    await this.#refresh()
    const { privateKeyPem, publicKeyPem } = await createKeyPair()
    const issued = await this.#source.authority.sign({ publicKey: publicKeyPem, spiffeId, ttlMs, nowMs: Date.now() })
    const { certificatePem, intermediatesPem, trustBundlePem, serial, notBeforeMs, notAfterMs } = issued
    return {
      spiffeId,
      privateKeyPem,
      certificateChainPem: [certificatePem, ...intermediatesPem].join(''),
      trustBundlePem: trustBundlePem.join(''),
      serial,
      notBeforeMs,
      notAfterMs,
    }
  }

  async readTrustBundle(): Promise<string> {
    await this.#refresh()
    return this.#source.authority.trustBundlePem.join('')
  }

  [Symbol.dispose](): void {
    // Holds nothing but memory.
  }

  async #refresh(): Promise<void> {
    try {
      await this.#source.refresh(Date.now())
    } catch (thrown) {
      this.#warn(`${errorLine(thrown)}; the CA read before stays in force`)
    }
  }
}
