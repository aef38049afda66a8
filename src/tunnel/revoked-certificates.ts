/** Which certificates are revoked, as the agent told last: one for all identities of a proxy. */
import type { X509Certificate } from 'node:crypto'
import type { Revocations } from '#contract'
import { normalizeSerial } from '#identity'

/** By what a certificate is revoked. */
export interface CertificateName {
  readonly issuer: string
  /** Upper-case hexadecimal without leading zeros. */
  readonly serial: string
}

/** Longer ones do not verify. */
const MAX_CHAIN = 10

export class RevokedCertificates {
  #byIssuer = new Map<string, Set<string>>()
  #told = '[]'

  /** True when others than before are revoked. */
  update(revocations: readonly Revocations[]): boolean {
    const told = JSON.stringify(revocations)
    if (told === this.#told) return false
    this.#told = told
    this.#byIssuer = new Map()
    for (const { issuer, serials } of revocations) {
      const known = this.#byIssuer.get(issuer) ?? new Set()
      this.#byIssuer.set(issuer, known)
      for (const serial of serials) known.add(serial)
    }
    return true
  }

  /** The serial number of the first revoked certificate of a chain; undefined when all are good. */
  find(chain: readonly CertificateName[]): string | undefined {
    return chain.find(({ issuer, serial }) => this.#byIssuer.get(issuer)?.has(serial))?.serial
  }
}

/** A certificate and those that it came with, as far as they lead. */
export function chainNames(first: X509Certificate): readonly CertificateName[] {
  const names: CertificateName[] = []
  for (let at: X509Certificate | undefined = first; at && names.length < MAX_CHAIN; at = at.issuerCertificate) {
    names.push({ issuer: at.issuer, serial: normalizeSerial(at.serialNumber) ?? '' })
  }
  return names
}
