/** PEM text with several blocks (RFC 7468). */

const CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g

const REVOCATION_LIST = /-----BEGIN X509 CRL-----([^-]*)-----END X509 CRL-----/g
const BASE64 = /^[A-Za-z0-9+/]+={0,2}$/

export type RevocationBlocks =
  | { readonly kind: 'blocks'; readonly blocks: readonly Buffer<ArrayBuffer>[] }
  /** `why` is the end of a sentence about the file. */
  | { readonly kind: 'bad'; readonly why: string }

/**
 * Each revocation list of a file as DER, in order, at least one. Who was revoked by a part of the file that cannot be
 * read would go free: only words before a block are passed over, as openssl writes them.
 */
export function splitRevocationLists(text: string): RevocationBlocks {
  const blocks: Buffer<ArrayBuffer>[] = []
  let end = 0
  for (const { 0: block, 1: body = '', index } of text.matchAll(REVOCATION_LIST)) {
    const base64 = body.replace(/\s+/g, '')
    if (text.slice(end, index).includes('-----')) return broken('something else that is PEM, or a part of it')
    if (!BASE64.test(base64) || base64.length % 4 !== 0) return broken('a PEM block X509 CRL that is not base64')
    blocks.push(Buffer.from(base64, 'base64'))
    end = index + block.length
  }
  const rest = text.slice(end)
  if (rest.includes('-----')) return broken('a PEM block that is cut off, or none of X509 CRL')
  if (blocks.length === 0) return { kind: 'bad', why: 'holds no PEM block X509 CRL' }
  return rest.trim() === '' ? { kind: 'blocks', blocks } : broken('text after its last PEM block')
}

function broken(what: string): RevocationBlocks {
  return { kind: 'bad', why: `holds ${what}` }
}

export function toRevocationListPem(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN X509 CRL-----\n${lines.join('\n')}\n-----END X509 CRL-----\n`
}

/** Each certificate of a bundle, one PEM text each, in order; whatever stands around them is left out. */
export function splitCertificates(text: string): string[] {
  return Array.from(text.matchAll(CERTIFICATE), ([block]) => `${block}\n`)
}
