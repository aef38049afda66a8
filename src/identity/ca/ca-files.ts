/**
 * A CA in a directory, in the layout that Istio calls `cacerts`: ca-cert.pem, ca-key.pem, root-cert.pem and
 * cert-chain.pem. Everything wrong there is one line that names the file and the remedy.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { errorLine, WeirError } from '#base'
import type { CaMaterial } from './certificate-authority.ts'
import { followChain, untimely } from './certificate-chain.ts'
import { keyWeakness } from './key-pair.ts'
import { splitCertificates } from './pem.ts'
import * as x509 from './x509.ts'

export const CA_FILES = {
  certificate: 'ca-cert.pem',
  privateKey: 'ca-key.pem',
  roots: 'root-cert.pem',
  chain: 'cert-chain.pem',
} as const

/** @throws WeirError WEIR_CA_FILES when the four files do not make a CA that can sign now */
export async function readCaFiles(directory: string, nowMs: number): Promise<CaMaterial> {
  const wrong = (file: string, what: string) => new WeirError('WEIR_CA_FILES', `${join(directory, file)} ${what}`)
  const [certificates, privateKeyPem, roots, chain] = await Promise.all([
    readCertificates(directory, CA_FILES.certificate),
    readText(directory, CA_FILES.privateKey),
    readCertificates(directory, CA_FILES.roots),
    readCertificates(directory, CA_FILES.chain),
  ])
  const [certificate, ...more] = certificates
  if (certificate === undefined) throw wrong(CA_FILES.certificate, 'holds no certificate')
  const privateKey = readPrivateKey(privateKeyPem, (what) => wrong(CA_FILES.privateKey, what))
  if (!mayIssue(certificate)) {
    throw wrong(
      CA_FILES.certificate,
      'is not the certificate of a CA: put one there with basicConstraints CA:TRUE and keyUsage keyCertSign',
    )
  }
  const late = untimely(certificate, nowMs)
  if (late !== undefined) throw wrong(CA_FILES.certificate, `${late}: put a valid certificate and its key there`)
  if (!certificate.checkPrivateKey(privateKey)) {
    throw wrong(
      CA_FILES.privateKey,
      `is not the key of ${CA_FILES.certificate}: put the two that belong together there`,
    )
  }
  const outcome = followChain(certificate, [...more, ...chain], roots, nowMs)
  if (outcome.kind === 'untrusted') {
    throw wrong(
      CA_FILES.chain,
      `does not lead from ${CA_FILES.certificate} to ${CA_FILES.roots}: ${outcome.why}; put the certificates between them in the one and the root in the other`,
    )
  }
  const texts = (parsed: readonly X509Certificate[]) => parsed.map((part) => part.toString())
  return {
    certificatePem: certificate.toString(),
    privateKeyPem,
    chainPem: texts([...more, ...chain]),
    rootsPem: texts(withoutRepeats(roots)),
  }
}

async function readText(directory: string, file: string): Promise<string> {
  try {
    return await readFile(join(directory, file), 'utf8')
  } catch (thrown) {
    const missing = thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT'
    const why = missing
      ? `is missing: put ${Object.values(CA_FILES).join(', ')} there, or name an empty directory to have a CA made`
      : `cannot be read: ${errorLine(thrown)}`
    throw new WeirError('WEIR_CA_FILES', `${join(directory, file)} ${why}`, { cause: thrown })
  }
}

async function readCertificates(directory: string, file: string): Promise<readonly X509Certificate[]> {
  const blocks = splitCertificates(await readText(directory, file))
  if (blocks.length === 0) {
    throw new WeirError('WEIR_CA_FILES', `${join(directory, file)} holds no PEM block CERTIFICATE: put one there`)
  }
  return blocks.map((block, index) => {
    try {
      return new X509Certificate(block)
    } catch (thrown) {
      const which = `certificate ${index + 1} of ${join(directory, file)}`
      throw new WeirError('WEIR_CA_FILES', `Cannot read ${which}: ${errorLine(thrown)}; write it again as PEM`, {
        cause: thrown,
      })
    }
  })
}

function readPrivateKey(pem: string, wrong: (what: string) => WeirError): KeyObject {
  let key: KeyObject
  try {
    key = createPrivateKey(pem)
  } catch {
    // The cause could quote the key.
    const encrypted = /ENCRYPTED/.test(pem)
    throw wrong(
      encrypted
        ? 'is encrypted: store it without a passphrase'
        : 'is no private key in PEM: PKCS#8, SEC1 or PKCS#1 is expected',
    )
  }
  const weakness = keyWeakness(key)
  if (weakness !== undefined) throw wrong(`is too weak: ${weakness}`)
  return key
}

function mayIssue(certificate: X509Certificate): boolean {
  const usage = new x509.X509Certificate(certificate.raw).getExtension(x509.KeyUsagesExtension)
  return certificate.ca && (usage === null || (usage.usages & x509.KeyUsageFlags.keyCertSign) !== 0)
}

function withoutRepeats(certificates: readonly X509Certificate[]): readonly X509Certificate[] {
  const seen = new Map(certificates.map((part) => [part.fingerprint256, part]))
  return [...seen.values()]
}
