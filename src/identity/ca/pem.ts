/** PEM text with several blocks (RFC 7468). */

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

/** Each certificate of a bundle, one PEM text each, in order; whatever stands around them is left out. */
export function splitCertificates(text: string): string[] {
  return Array.from(text.matchAll(CERTIFICATE), ([block]) => `${block}\n`)
}
