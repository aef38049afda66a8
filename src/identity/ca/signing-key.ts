/** Keys of our KeyObject world as WebCrypto keys, which the X.509 library signs with. */
import { createPrivateKey, createPublicKey, type KeyObject, subtle, type webcrypto } from 'node:crypto'

interface SigningAlgorithm {
  readonly name: string
  readonly hash: string
  readonly namedCurve?: string
}

/** The hash is as strong as the curve (RFC 5480 section 4); RSA signs with PKCS#1 v1.5 and SHA-256. */
export function signingAlgorithm(key: KeyObject): SigningAlgorithm {
  switch (key.asymmetricKeyDetails?.namedCurve) {
    case undefined:
      return { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }
    case 'secp384r1':
      return { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' }
    case 'secp521r1':
      return { name: 'ECDSA', namedCurve: 'P-521', hash: 'SHA-512' }
    default:
      return { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  }
}

/** Not extractable: it signs, and no one can read it back. */
export function toSigningKey(key: KeyObject): Promise<webcrypto.CryptoKey> {
  const pkcs8 = key.export({ type: 'pkcs8', format: 'der' })
  return subtle.importKey('pkcs8', pkcs8, signingAlgorithm(key), false, ['sign'])
}

export async function toSigningPair(privateKeyPem: string): Promise<webcrypto.CryptoKeyPair> {
  const key = createPrivateKey(privateKeyPem)
  const spki = createPublicKey(key).export({ type: 'spki', format: 'der' })
  const publicKey = await subtle.importKey('spki', spki, signingAlgorithm(key), true, ['verify'])
  return { privateKey: await toSigningKey(key), publicKey }
}
