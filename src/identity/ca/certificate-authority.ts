/**
 * A certificate authority: one signing key with its certificate, the way from it to the roots, and the bundle of all
 * roots that are trusted. It signs X.509 SVIDs (SPIFFE X509-SVID specification) and decides nothing about who may ask.
 */
import { createPrivateKey, type KeyObject, randomBytes, type webcrypto, X509Certificate } from 'node:crypto'
import { WeirError } from '#base'
import { parseSpiffeId } from '#identity'
import { followChain } from './certificate-chain.ts'
import { generateRoot } from './generate-root.ts'
import { readPublicKey } from './key-pair.ts'
import { toRevocationListPem } from './pem.ts'
import { signingAlgorithm, toSigningKey } from './signing-key.ts'
import { SKEW_MS, wholeSeconds } from './validity.ts'
import * as x509 from './x509.ts'

/** What a CA is made of, PEM. */
export interface CaMaterial {
  readonly certificatePem: string
  /** PKCS#8 or SEC1 or PKCS#1. */
  readonly privateKeyPem: string
  /** Between the CA's certificate and a root; may hold the CA's certificate and roots too, in any order. */
  readonly chainPem: readonly string[]
  readonly rootsPem: readonly string[]
}

export interface SignRequest {
  /** SubjectPublicKeyInfo, PEM; or the key of a request that was read. */
  readonly publicKey: string | KeyObject
  readonly spiffeId: string
  /** From now to the end; cut to the CA's own end. At least a second. */
  readonly ttlMs: number
  readonly nowMs: number
}

export interface ServerSignRequest extends Omit<SignRequest, 'spiffeId'> {
  /** DNS names and IP addresses, at least one. */
  readonly hosts: readonly string[]
}

export interface IssuedCertificate {
  readonly certificatePem: string
  /** To be sent after the certificate: from the CA's own upwards, without the root. Empty when a root signed. */
  readonly intermediatesPem: readonly string[]
  readonly trustBundlePem: readonly string[]
  /** Upper-case hexadecimal. */
  readonly serial: string
  readonly notBeforeMs: number
  readonly notAfterMs: number
}

export interface RevocationListRequest {
  readonly entries: readonly { readonly serial: string; readonly revokedAtMs: number }[]
  readonly nowMs: number
  /** When a newer one will be there. */
  readonly nextUpdateMs: number
}

const MIN_TTL_MS = 1_000
const { clientAuth, serverAuth } = x509.ExtendedKeyUsage

export class CertificateAuthority {
  /** All trusted roots, PEM, one each; several while a root is being replaced. */
  readonly trustBundlePem: readonly string[]
  readonly intermediatesPem: readonly string[]
  readonly certificatePem: string
  /** First end of the CA's certificate and those above it: nothing it signs is of use after that. */
  readonly notAfterMs: number
  readonly #certificate: x509.X509Certificate
  readonly #notBeforeMs: number
  readonly #signingKey: webcrypto.CryptoKey
  readonly #signingAlgorithm: ReturnType<typeof signingAlgorithm>
  readonly #authorityKeyId: x509.Extension

  private constructor(parts: CheckedMaterial, signingKey: webcrypto.CryptoKey, authorityKeyId: x509.Extension) {
    this.trustBundlePem = parts.rootsPem
    this.intermediatesPem = parts.intermediatesPem
    this.certificatePem = parts.certificatePem
    this.notAfterMs = parts.notAfterMs
    this.#certificate = new x509.X509Certificate(parts.certificatePem)
    this.#notBeforeMs = this.#certificate.notBefore.getTime()
    this.#signingKey = signingKey
    this.#signingAlgorithm = signingAlgorithm(parts.privateKey)
    this.#authorityKeyId = authorityKeyId
  }

  /** A CA of its own, in memory: EC P-256, self-signed, 10 years. */
  static async generate(nowMs: number): Promise<CertificateAuthority> {
    return CertificateAuthority.fromMaterial(await generateRoot(nowMs), nowMs)
  }

  /** @throws WeirError WEIR_CA_MATERIAL, one line, when the parts do not make a CA that is valid now */
  static async fromMaterial(material: CaMaterial, nowMs: number): Promise<CertificateAuthority> {
    const checked = checkMaterial(material, nowMs)
    const certificate = new x509.X509Certificate(checked.certificatePem)
    const own = certificate.getExtension(x509.SubjectKeyIdentifierExtension)
    const authorityKeyId =
      own === null
        ? await x509.AuthorityKeyIdentifierExtension.create(certificate.publicKey)
        : new x509.AuthorityKeyIdentifierExtension(own.keyId)
    return new CertificateAuthority(checked, await toSigningKey(checked.privateKey), authorityKeyId)
  }

  /** An X.509 SVID for exactly that identity. Whether the asker may have it was decided before. */
  sign(request: SignRequest): Promise<IssuedCertificate> {
    if (parseSpiffeId(request.spiffeId) === undefined) {
      throw new WeirError('WEIR_CA_REQUEST', `${JSON.stringify(request.spiffeId)} is not the SPIFFE ID of a workload`)
    }
    const name = new x509.SubjectAlternativeNameExtension([{ type: 'url', value: request.spiffeId }], true)
    return this.#issue(request, name, [serverAuth, clientAuth])
  }

  /** A TLS server certificate, for the CA's own service. */
  signServer(request: ServerSignRequest): Promise<IssuedCertificate> {
    const names = request.hosts.map((host) => ({
      type: isAddress(host) ? ('ip' as const) : ('dns' as const),
      value: host,
    }))
    return this.#issue(request, new x509.SubjectAlternativeNameExtension(names, true), [serverAuth])
  }

  /** A revocation list (RFC 5280 section 5), PEM: everything that this CA has revoked. */
  async signRevocationList({ entries, nowMs, nextUpdateMs }: RevocationListRequest): Promise<string> {
    const list = await x509.X509CrlGenerator.create({
      issuer: this.#certificate.subjectName,
      thisUpdate: new Date(wholeSeconds(nowMs - SKEW_MS)),
      nextUpdate: new Date(wholeSeconds(nextUpdateMs)),
      signingKey: this.#signingKey,
      signingAlgorithm: this.#signingAlgorithm,
      extensions: [this.#authorityKeyId, listNumber(nowMs)],
      entries: entries.map(({ serial, revokedAtMs }) => ({
        serialNumber: serial.padStart(serial.length + (serial.length % 2), '0'),
        revocationDate: new Date(wholeSeconds(revokedAtMs)),
        reason: x509.X509CrlReason.privilegeWithdrawn,
      })),
    })
    return toRevocationListPem(Buffer.from(list.rawData))
  }

  async #issue(
    request: Omit<SignRequest, 'spiffeId'>,
    names: x509.Extension,
    usages: x509.ExtendedKeyUsage[],
  ): Promise<IssuedCertificate> {
    const { nowMs } = request
    if (!(request.ttlMs >= MIN_TTL_MS)) {
      throw new WeirError('WEIR_CA_REQUEST', `A certificate must last at least 1s, not ${request.ttlMs} ms`)
    }
    const notAfterMs = wholeSeconds(Math.min(nowMs + request.ttlMs, this.notAfterMs))
    if (notAfterMs <= nowMs) {
      throw new WeirError('WEIR_CA_EXPIRED', `The CA ended ${iso(this.notAfterMs)}: replace its certificate`)
    }
    const key = typeof request.publicKey === 'string' ? readPublicKey(request.publicKey) : request.publicKey
    const spki = key.export({ type: 'spki', format: 'der' })
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: randomBytes(16).toString('hex'),
      issuer: this.#certificate.subjectName,
      notBefore: new Date(wholeSeconds(Math.max(nowMs - SKEW_MS, this.#notBeforeMs))),
      notAfter: new Date(notAfterMs),
      publicKey: spki,
      signingKey: this.#signingKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        // Of keys that only sign, TLS 1.3 needs no more (RFC 8446 section 4.4.2.2).
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension(usages),
        await x509.SubjectKeyIdentifierExtension.create(spki),
        this.#authorityKeyId,
        names,
      ],
    })
    return {
      certificatePem: `${certificate.toString('pem')}\n`,
      intermediatesPem: this.intermediatesPem,
      trustBundlePem: this.trustBundlePem,
      serial: certificate.serialNumber.toUpperCase(),
      notBeforeMs: certificate.notBefore.getTime(),
      notAfterMs,
    }
  }
}

interface CheckedMaterial {
  readonly certificatePem: string
  readonly privateKey: KeyObject
  readonly intermediatesPem: readonly string[]
  readonly rootsPem: readonly string[]
  readonly notAfterMs: number
}

function checkMaterial(material: CaMaterial, nowMs: number): CheckedMaterial {
  const certificate = new X509Certificate(material.certificatePem)
  const privateKey = createPrivateKey(material.privateKeyPem)
  const roots = material.rootsPem.map((pem) => new X509Certificate(pem))
  const chain = material.chainPem.map((pem) => new X509Certificate(pem))
  const outcome = followChain(certificate, chain, roots, nowMs)
  if (outcome.kind === 'untrusted') throw new WeirError('WEIR_CA_MATERIAL', `Cannot use the CA: ${outcome.why}`)
  const isRoot = roots.some((root) => root.raw.equals(certificate.raw))
  return {
    certificatePem: material.certificatePem,
    privateKey,
    intermediatesPem: isRoot ? [] : [certificate, ...outcome.intermediates].map((part) => part.toString()),
    rootsPem: material.rootsPem,
    notAfterMs: outcome.notAfterMs,
  }
}

function isAddress(host: string): boolean {
  return host.includes(':') || /^\d+\.\d+\.\d+\.\d+$/.test(host)
}

/** Grows from list to list, as it must (RFC 5280 section 5.2.3): milliseconds since the epoch, as DER INTEGER. */
function listNumber(nowMs: number): x509.Extension {
  const hex = Math.floor(nowMs).toString(16)
  const bytes = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex')
  const positive = (bytes[0] ?? 0) < 0x80 ? bytes : Buffer.concat([Buffer.from([0]), bytes])
  return new x509.Extension('2.5.29.20', false, Buffer.concat([Buffer.from([2, positive.length]), positive]))
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}
