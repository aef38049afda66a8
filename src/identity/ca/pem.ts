/** PEM text with several blocks (RFC 7468). */

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

const REVOCATION_LIST = /-----BEGIN X509 CRL-----([^-]+)-----END X509 CRL-----/g

/** Each revocation list of a file as DER, in order. */
export function splitRevocationLists(text: string): Buffer<ArrayBuffer>[] {
  return Array.from(text.matchAll(REVOCATION_LIST), ([, base64 = '']) => Buffer.from(base64, 'base64'))
}

export function toRevocationListPem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN X509 CRL-----\n${lines.join('\n')}\n-----END X509 CRL-----\n`
}

/** Each certificate of a bundle, one PEM text each, in order; whatever stands around them is left out. */
export function splitCertificates(text: string): string[] {
  return Array.from(text.matchAll(CERTIFICATE), ([block]) => `${block}\n`)
}
