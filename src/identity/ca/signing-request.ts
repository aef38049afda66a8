/** Certificate signing requests (PKCS#10, RFC 2986): ours are made here, those of others read with suspicion. */
import type { KeyObject } from 'node:crypto'
import { errorLine, WeirError } from '#base'
import { type KeyPair, readPublicKey } from './key-pair.ts'
import { signingAlgorithm, toSigningPair } from './signing-key.ts'
import { Pkcs10CertificateRequest, Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension } from './x509.ts'

export interface SigningRequest {
  /** Strong enough, and proved to be the asker's: the request's own signature verifies. */
  readonly publicKey: KeyObject
  /** All subject alternative names asked for, `TYPE:VALUE` (`uri:spiffe://…`). The subject is ignored. */
  readonly names: readonly string[]
}

const MAX_PEM_BYTES = 16 << 10
const SUBJECT_ALT_NAME = '2.5.29.17'
const PEM =
  /^\s*-----BEGIN (NEW )?CERTIFICATE REQUEST-----[A-Za-z0-9+/=\s]+-----END (NEW )?CERTIFICATE REQUEST-----\s*$/

/** PEM; empty subject and the SPIFFE ID as the only, critical name. */
export async function createSigningRequest(keyPair: KeyPair, spiffeId: string): Promise<string> {
  const keys = await toSigningPair(keyPair.privateKeyPem)
  const request = await Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: signingAlgorithm(readPublicKey(keyPair.publicKeyPem)),
    extensions: [new SubjectAlternativeNameExtension([{ type: 'url', value: spiffeId }], true)],
  })
  return `${request.toString('pem')}\n`
}

/** @throws WeirError WEIR_CA_REQUEST, one line, for anything but a sound request */
export async function readSigningRequest(pem: string): Promise<SigningRequest> {
  if (pem.length > MAX_PEM_BYTES) throw refusal(`it is larger than ${MAX_PEM_BYTES} bytes`)
  if (!PEM.test(pem)) throw refusal('it is not one PEM block CERTIFICATE REQUEST')
  let verified: boolean
  let request: Pkcs10CertificateRequest
  let names: readonly string[]
  try {
    request = new Pkcs10CertificateRequest(pem)
    names = namesOf(request)
    verified = await request.verify()
  } catch (thrown) {
    throw refusal(`it cannot be read: ${errorLine(thrown)}`, thrown)
  }
  const publicKey = readPublicKey(Buffer.from(request.publicKey.rawData))
  if (!verified) throw refusal('its signature does not verify with its own key')
  return { publicKey, names }
}

function namesOf(request: Pkcs10CertificateRequest): readonly string[] {
  const found: string[] = []
  for (const extension of request.extensions) {
    if (extension.type !== SUBJECT_ALT_NAME) continue
    const { names } = new SubjectAlternativeNameExtension(extension.rawData)
    for (const { type, value } of names.items) found.push(`${type === 'url' ? 'uri' : type}:${value}`)
  }
  return found
}

function refusal(why: string, cause?: unknown): WeirError {
  return new WeirError('WEIR_CA_REQUEST', `Cannot use the certificate signing request: ${why}`, { cause })
}
