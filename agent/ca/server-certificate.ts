/** The CA's own TLS certificate: signed by itself for where it listens, replaced at half life without a restart. */
import { hostname, networkInterfaces } from 'node:os'
import { ServerCredentials } from '@grpc/grpc-js'
import { type CertificateAuthority, createKeyPair, type IssuedCertificate } from '#identity/ca'

const TTL_MS = 24 * 3_600_000
const TLS = { minVersion: 'TLSv1.3' } as const

interface SecureContext {
  readonly key: string
  readonly cert: string
  readonly minVersion: typeof TLS.minVersion
}

class RenewableCredentials extends ServerCredentials {
  constructor(context: SecureContext) {
    super({ ...TLS, requestCert: false }, context)
  }

  /** For connections from now on. */
  renew(context: SecureContext): void {
    this.updateSecureContextOptions(context)
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other
  }
}

export class ServerCertificate {
  readonly hosts: readonly string[]
  readonly credentials: ServerCredentials
  readonly #credentials: RenewableCredentials
  #signer: CertificateAuthority
  #renewAtMs: number

  private constructor(hosts: readonly string[], signer: CertificateAuthority, made: Made) {
    this.hosts = hosts
    this.#signer = signer
    this.#credentials = new RenewableCredentials(made.context)
    this.credentials = this.#credentials
    this.#renewAtMs = made.renewAtMs
  }

  static async create(
    hosts: readonly string[],
    signer: CertificateAuthority,
    nowMs: number,
  ): Promise<ServerCertificate> {
    return new ServerCertificate(hosts, signer, await make(hosts, signer, nowMs))
  }

  /** Replaces the certificate when it is due, or when another CA signs now; true when it did. */
  async renewIfDue(signer: CertificateAuthority, nowMs: number): Promise<boolean> {
    if (signer === this.#signer && nowMs < this.#renewAtMs) return false
    const made = await make(this.hosts, signer, nowMs)
    this.#credentials.renew(made.context)
    this.#signer = signer
    this.#renewAtMs = made.renewAtMs
    return true
  }
}

interface Made {
  readonly context: SecureContext
  readonly renewAtMs: number
}

async function make(hosts: readonly string[], signer: CertificateAuthority, nowMs: number): Promise<Made> {
  const { privateKeyPem, publicKeyPem } = await createKeyPair()
  const issued: IssuedCertificate = await signer.signServer({ publicKey: publicKeyPem, hosts, ttlMs: TTL_MS, nowMs })
  return {
    context: { ...TLS, key: privateKeyPem, cert: [issued.certificatePem, ...issued.intermediatesPem].join('') },
    renewAtMs: nowMs + (issued.notAfterMs - nowMs) / 2,
  }
}

/** By what names and addresses clients may call who listens on `host`. */
export function serverHosts(host: string, names: readonly string[]): readonly string[] {
  return [...new Set([...hostsOf(host), ...names])]
}

function hostsOf(host: string): readonly string[] {
  if (host !== '0.0.0.0' && host !== '::') return [host]
  const addresses = Object.values(networkInterfaces()).flatMap((all) => all ?? [])
  // A link-local address means nothing without its link, which no certificate can name.
  const routable = addresses.filter(({ address, family }) => family === 'IPv4' || !/^fe[89ab]/i.test(address))
  return ['localhost', hostname(), ...routable.map(({ address }) => address)]
}
