/** Who makes certificates for the agent: itself with a key it was given, or a CA that it asks. */

/** A pod's side of mutual TLS. Lives in memory only: it is never written, logged or shown. */
export interface IdentityMaterial {
  readonly spiffeId: string
  /** PKCS#8. */
  readonly privateKeyPem: string
  /** The certificate and the intermediates after it, without the root. */
  readonly certificateChainPem: string
  /** All trusted roots, as known when this was issued. */
  readonly trustBundlePem: string
  /** Upper-case hexadecimal. */
  readonly serial: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

export interface Issuer extends Disposable {
  /** For people: where certificates come from. */
  readonly description: string
  /**
   * A new key and its certificate.
   * @param ttlMs what is asked for; the certificate may end earlier
   * @throws WeirError, one line
   */
  issue(spiffeId: string, ttlMs: number, signal: AbortSignal): Promise<IdentityMaterial>
  /** The trust bundle as it is now; undefined while none is known. Does not fail: problems are told elsewhere. */
  readTrustBundle(): Promise<string | undefined>
}
