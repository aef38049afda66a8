/** What an identity proves itself with, ready for TLS. Private keys stay in the memory of this process. */
import { constants, X509Certificate } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { IdentityMaterial } from '#contract'
import { type CertificateName, chainNames, type RevokedCertificates } from './revoked-certificates.ts'

/** As in Istio ambient: TLS 1.3 with AES-GCM. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384'

export class Credentials {
  readonly identity: string
  /** ms since the epoch. */
  readonly validToMs: number
  /** Serves both ends of a tunnel. Sessions are not resumed: each connection proves its identity anew. */
  readonly context: SecureContext
  readonly #material: Pick<IdentityMaterial, 'certificateChain' | 'trustBundle'>
  readonly #own: readonly CertificateName[]
  readonly #revoked: RevokedCertificates

  /**
   * @param revoked asked at each handshake, and whenever it has changed
   * @throws an OpenSSL error when key, certificate or bundle cannot be read or do not belong together
   */
  constructor(material: IdentityMaterial, revoked: RevokedCertificates) {
    this.identity = material.identity
    this.#material = { certificateChain: material.certificateChain, trustBundle: material.trustBundle }
    const certificate = new X509Certificate(material.certificateChain)
    this.validToMs = certificate.validToDate.getTime()
    this.#own = chainNames(certificate)
    this.#revoked = revoked
    this.context = createSecureContext({
      key: material.privateKey,
      cert: material.certificateChain,
      ca: material.trustBundle,
      minVersion: 'TLSv1.3',
      ciphers: CIPHERS,
      secureOptions: constants.SSL_OP_NO_TICKET,
    })
  }

  /** Is it this certificate, and are these the roots? */
  isOf({ certificateChain, trustBundle }: IdentityMaterial): boolean {
    return this.#material.certificateChain === certificateChain && this.#material.trustBundle === trustBundle
  }

  /** Why a peer with these certificates is refused; undefined when none of them is revoked. */
  refusal(peer: readonly CertificateName[]): string | undefined {
    const serial = this.#revoked.find(peer)
    return serial === undefined ? undefined : `the peer's certificate is revoked (serial ${serial})`
  }

  /** What a peer may have had against us: the end of a sentence, or nothing. */
  get blame(): string {
    const serial = this.#revoked.find(this.#own)
    if (serial !== undefined) return `: the pod's own certificate is revoked (serial ${serial})`
    if (Date.now() < this.validToMs) return ''
    return `: the pod's own certificate ended at ${new Date(this.validToMs).toISOString()}, see weir check`
  }
}
