/** Certificates of this node's pods that have ended, or will: renewal is due at half of their time, so little left means it fails. */
import type { FindingSeverity } from '#contract'
import type { Detected } from '../detected.ts'
import type { LookHistory } from '../look-history.ts'
import type { CertificateSample, NodeLook } from '../node-look.ts'
import { durationWords } from '../words.ts'

/** Of its time, at which one is near its end: renewal has failed for as long again by then. */
export const NEAR_END_SHARE = 0.25
/** So little time is no warning any more. */
const LAST_SHARE = 0.05

export function detectCertificates(history: LookHistory): readonly Detected[] {
  const { last } = history
  if (last === undefined) return []
  const wrong = last.certificates.flatMap((certificate) => {
    const severity = severityOf(certificate, last)
    return severity === undefined ? [] : [{ certificate, severity }]
  })
  // One CA that cannot be reached is one cause, whoever waits for it.
  const byCause = Map.groupBy(
    wrong,
    ({ certificate, severity }) => `${severity} ${certificate.state} ${certificate.lastError}`,
  )
  return [...byCause.values()].flatMap((affected) => {
    const [first] = affected
    if (first === undefined) return []
    const { certificate, severity } = first
    const { identity, lastError } = certificate
    const more = affected.length > 1 ? ` and ${affected.length - 1} more` : ''
    return [
      {
        kind: 'certificate-expiry',
        severity,
        subject: identity,
        says: `The certificate of ${identity}${more} ${stateWords(certificate, last)}${lastError === '' ? '' : `: ${lastError}`}`,
        evidence: affected.slice(0, MAX_NAMED).map(({ certificate: { identity: who, notAfterMs } }) => {
          return notAfterMs === 0 ? `${who}: none yet` : `${who}: ends ${new Date(notAfterMs).toISOString()}`
        }),
        next: 'weir check',
        sinceMs: history.told('certificate-expiry', identity)?.sinceMs ?? last.atMs,
        hurt: 0,
      },
    ]
  })
}

const MAX_NAMED = 5

function severityOf(certificate: CertificateSample, last: NodeLook): FindingSeverity | undefined {
  const { state, notAfterMs, lastError, ttlMs } = certificate
  if (state === 'expired' || state === 'revoked') return 'critical'
  if (state === 'pending') return lastError === '' ? undefined : 'critical'
  const leftMs = notAfterMs - last.atMs
  if (leftMs < ttlMs * LAST_SHARE) return 'critical'
  return leftMs < ttlMs * NEAR_END_SHARE || state === 'failing' ? 'warning' : undefined
}

function stateWords({ state, notAfterMs }: CertificateSample, { atMs }: NodeLook): string {
  if (state === 'revoked') return 'is revoked: other nodes refuse its pods until it is renewed'
  if (state === 'expired' || notAfterMs <= atMs) return 'has ended: other nodes refuse its pods'
  if (state === 'pending') return 'was not issued: its pods cannot call other nodes'
  return `ends in ${durationWords(notAfterMs - atMs)} and was not renewed`
}
