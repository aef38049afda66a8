/** A new self-signed root: EC P-256, 10 years. */
import { randomBytes } from 'node:crypto'
import type { CaMaterial } from './certificate-authority.ts'
import { createKeyPair, readPublicKey } from './key-pair.ts'
import { signingAlgorithm, toSigningPair } from './signing-key.ts'
import { SKEW_MS, wholeSeconds } from './validity.ts'
import * as x509 from './x509.ts'

const LIFETIME_MS = 10 * 365 * 86_400_000

export async function generateRoot(nowMs: number): Promise<CaMaterial> {
  const { privateKeyPem, publicKeyPem } = await createKeyPair()
  const keys = await toSigningPair(privateKeyPem)
  const serialNumber = randomBytes(16).toString('hex')
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber,
    // Told apart by number: two roots of one name would be mistaken for each other while one replaces the other.
    name: `O=weir, CN=weir root ${serialNumber.slice(0, 16)}`,
    notBefore: new Date(wholeSeconds(nowMs - SKEW_MS)),
    notAfter: new Date(wholeSeconds(nowMs + LIFETIME_MS)),
    keys,
    signingAlgorithm: signingAlgorithm(readPublicKey(publicKeyPem)),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  const certificatePem = `${certificate.toString('pem')}\n`
  return { certificatePem, privateKeyPem, chainPem: [certificatePem], rootsPem: [certificatePem] }
}
