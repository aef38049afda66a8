/** Who is at the other end of a TLS connection: the one SPIFFE ID of a certificate that our roots vouch for. */
import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { parseSpiffeId } from '#identity'
import type { Credentials } from './credentials.ts'
import { type CertificateName, chainNames } from './revoked-certificates.ts'
import { firstWords } from './tls-problem.ts'

export type TunnelPeer =
  | {
      readonly kind: 'verified'
      readonly identity: string
      /** Of the peer's certificate and those above it: one of them may be revoked later. */
      readonly chain: readonly CertificateName[]
      /** Of the peer's certificate, ms since the epoch. */
      readonly validToMs: number
    }
  /** In words, for the log. */
  | { readonly kind: 'refused'; readonly reason: string }

/**
 * To be asked once the handshake is done, at either end. Expiry and chain are OpenSSL's to check; revocation and the name
 * are ours:
 * exactly one URI, a workload of `trustDomain`, and nothing else in the subject alternative names
 * (X509-SVID specification sections 2 and 5.2).
 */
export function verifyPeer(socket: TLSSocket, trustDomain: string, credentials: Credentials): TunnelPeer {
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return { kind: 'refused', reason: 'the peer sent no certificate' }
  const problem = chainProblem(socket)
  if (problem !== undefined) return { kind: 'refused', reason: `the peer's certificate does not verify: ${problem}` }
  const chain = chainNames(certificate)
  const refusal = credentials.refusal(chain)
  if (refusal !== undefined) return { kind: 'refused', reason: refusal }
  return nameOf(certificate, trustDomain, chain)
}

/**
 * What OpenSSL has against the chain. Node asks this itself at a client's end and in a `tls.Server`, not for a server's end
 * that is made of a socket, so it is asked here for both.
 */
function chainProblem(socket: TLSSocket): string | undefined {
  const { _handle: handle } = socket as unknown as {
    readonly _handle: { verifyError(): Error | null | undefined } | null
  }
  if (handle === null) return 'the connection is closed'
  const problem = handle.verifyError()
  return problem instanceof Error ? firstWords(problem.message) : undefined
}

function nameOf(
  { subjectAltName = '', validToDate }: X509Certificate,
  trustDomain: string,
  chain: readonly CertificateName[],
): TunnelPeer {
  if (subjectAltName === '') return { kind: 'refused', reason: "the peer's certificate has no SPIFFE ID" }
  const identity = subjectAltName.startsWith('URI:') ? subjectAltName.slice(4) : ''
  const parts = parseSpiffeId(identity)
  if (parts === undefined) {
    return { kind: 'refused', reason: `the peer's certificate is not a workload's: ${subjectAltName.slice(0, 200)}` }
  }
  if (parts.trustDomain !== trustDomain) {
    return { kind: 'refused', reason: `the peer is of trust domain ${parts.trustDomain}, not ${trustDomain}` }
  }
  return { kind: 'verified', identity, chain, validToMs: validToDate.getTime() }
}
