/** Whether one certificate leads to a trusted root (RFC 5280 section 6, as far as a mesh's own CA needs it). */
import type { X509Certificate } from 'node:crypto'

const MAX_LENGTH = 10

export type ChainOutcome =
  | {
      readonly kind: 'trusted'
      /** Certificates between the first one and the root, in order. */
      readonly intermediates: readonly X509Certificate[]
      /** The first end of all certificates of the chain, root included. */
      readonly notAfterMs: number
    }
  | { readonly kind: 'untrusted'; readonly why: string }

/**
 * Follows the issuers of `first` through `intermediates` to one of `roots`; of several roots that fit (one renewed
 * with the same key) any valid one does. Names are not looked at: those are the caller's to compare.
 */
export function followChain(
  first: X509Certificate,
  intermediates: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  nowMs: number,
): ChainOutcome {
  const path = [first]
  let refused: ChainOutcome | undefined
  for (let at = first; path.length <= MAX_LENGTH; ) {
    for (const root of roots) {
      if (!root.raw.equals(at.raw) && !isIssuerOf(root, at)) continue
      const outcome = checkPath(root.raw.equals(at.raw) ? path : [...path, root], nowMs)
      if (outcome.kind === 'trusted') return outcome
      refused ??= outcome
    }
    const issuer = intermediates.find((candidate) => !holds(path, candidate) && isIssuerOf(candidate, at))
    if (issuer === undefined) {
      return refused ?? { kind: 'untrusted', why: `no root and no intermediate has issued ${nameOf(at)}` }
    }
    path.push(issuer)
    at = issuer
  }
  return { kind: 'untrusted', why: `the chain is longer than ${MAX_LENGTH} certificates` }
}

/** @param path from the first certificate to the root */
function checkPath(path: readonly X509Certificate[], nowMs: number): ChainOutcome {
  for (const [index, certificate] of path.entries()) {
    const why = index > 0 && !certificate.ca ? 'is not a CA' : untimely(certificate, nowMs)
    if (why !== undefined) return { kind: 'untrusted', why: `${nameOf(certificate)} ${why}` }
  }
  const notAfterMs = Math.min(...path.map(({ validToDate }) => validToDate.getTime()))
  return { kind: 'trusted', intermediates: path.slice(1, -1), notAfterMs }
}

/** Why a certificate is not valid now, as the end of a sentence; undefined when it is. */
export function untimely({ validFromDate, validToDate }: X509Certificate, nowMs: number): string | undefined {
  if (nowMs > validToDate.getTime()) return `ended at ${validToDate.toISOString()}`
  if (nowMs < validFromDate.getTime()) return `begins only at ${validFromDate.toISOString()}`
  return undefined
}

function isIssuerOf(issuer: X509Certificate, certificate: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey)
}

function holds(path: readonly X509Certificate[], certificate: X509Certificate): boolean {
  return path.some((part) => part.raw.equals(certificate.raw))
}

function nameOf(certificate: X509Certificate): string {
  const subject = (certificate.subject ?? '').split('\n').join(', ')
  return subject === '' ? `certificate ${certificate.serialNumber}` : JSON.stringify(subject)
}
