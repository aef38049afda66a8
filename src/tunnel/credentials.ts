/** What an identity proves itself with, ready for TLS. Private keys stay in the memory of this process. */
import { constants } from 'node:crypto'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { IdentityMaterial } from '#contract'

/** As in Istio ambient: TLS 1.3 with AES-GCM. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384'

export class Credentials {
  readonly identity: string
  /** Serves both ends of a tunnel. Sessions are not resumed: each connection proves its identity anew. */
  readonly context: SecureContext

  /** @throws an OpenSSL error when key, certificate or bundle cannot be read or do not belong together */
  constructor(material: IdentityMaterial) {
    this.identity = material.identity
    this.context = createSecureContext({
      key: material.privateKey,
      cert: material.certificateChain,
      ca: material.trustBundle,
      minVersion: 'TLSv1.3',
      ciphers: CIPHERS,
      secureOptions: constants.SSL_OP_NO_TICKET,
    })
  }
}
