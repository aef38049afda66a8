/** Key pairs of workloads, and which foreign public keys are good enough for a certificate. */
import { createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'
import { errorLine, WeirError } from '#base'

export interface KeyPair {
  /** PKCS#8. Kept in memory only. */
  readonly privateKeyPem: string
  /** SubjectPublicKeyInfo. */
  readonly publicKeyPem: string
}

const generate = promisify(generateKeyPair)
const CURVES: ReadonlySet<string> = new Set(['prime256v1', 'secp384r1', 'secp521r1'])
const RSA_BITS = { min: 2048, max: 8192 }

/** A new EC P-256 pair. */
export async function createKeyPair(): Promise<KeyPair> {
  const { privateKey, publicKey } = await generate('ec', {
    namedCurve: 'P-256',
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  })
  return { privateKeyPem: privateKey, publicKeyPem: publicKey }
}

/** @throws WeirError WEIR_CA_REQUEST when it is no public key, or one too weak to certify */
export function readPublicKey(spki: string | Buffer): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey(typeof spki === 'string' ? spki : { key: spki, format: 'der', type: 'spki' })
  } catch (thrown) {
    throw new WeirError('WEIR_CA_REQUEST', `Cannot read the public key: ${errorLine(thrown)}`, { cause: thrown })
  }
  const weakness = keyWeakness(key)
  if (weakness !== undefined) throw new WeirError('WEIR_CA_REQUEST', `Cannot certify the public key: ${weakness}`)
  return key
}

/** Why a key is not good enough to sign or be certified; undefined when it is. */
export function keyWeakness(key: KeyObject): string | undefined {
  const { namedCurve = 'unknown', modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
  if (key.asymmetricKeyType === 'ec') {
    return CURVES.has(namedCurve) ? undefined : `curve ${namedCurve} is not one of P-256, P-384 and P-521`
  }
  if (key.asymmetricKeyType === 'rsa') {
    if (modulusLength >= RSA_BITS.min && modulusLength <= RSA_BITS.max) return undefined
    return `RSA of ${modulusLength} bits, expected ${RSA_BITS.min} to ${RSA_BITS.max}`
  }
  return `${key.asymmetricKeyType ?? 'secret'} key, expected EC or RSA`
}
