/** Who is at the other end of a TLS connection: the one SPIFFE ID of a certificate that our roots vouch for. */
import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { parseSpiffeId } from '#identity'

export type TunnelPeer =
  | { readonly kind: 'verified'; readonly identity: string }
  /** In words, for the log. */
  | { readonly kind: 'refused'; readonly reason: string }

/**
 * To be asked once the handshake is done, at either end. Expiry and chain are OpenSSL's to check; the name is ours:
 * exactly one URI, a workload of `trustDomain`, and nothing else in the subject alternative names
 * (X509-SVID specification sections 2 and 5.2).
 */
export function verifyPeer(socket: TLSSocket, trustDomain: string): TunnelPeer {
  const certificate = socket.getPeerX509Certificate()
  if (certificate === undefined) return { kind: 'refused', reason: 'the peer sent no certificate' }
  const problem = chainProblem(socket)
  if (problem !== undefined) return { kind: 'refused', reason: `the peer's certificate does not verify: ${problem}` }
  return nameOf(certificate, trustDomain)
}

/**
 * What OpenSSL has against the chain. Node asks this itself at a client's end and in a `tls.Server`, not for a server's end
 * that is made of a socket, so it is asked here for both.
 */
function chainProblem(socket: TLSSocket): string | undefined {
  const { _handle: handle } = socket as unknown as { readonly _handle: { verifyError(): Error | undefined } | null }
  if (handle === null) return 'the connection is closed'
  return handle.verifyError()?.message
}

function nameOf({ subjectAltName = '' }: X509Certificate, trustDomain: string): TunnelPeer {
  if (subjectAltName === '') return { kind: 'refused', reason: "the peer's certificate has no SPIFFE ID" }
  const identity = subjectAltName.startsWith('URI:') ? subjectAltName.slice(4) : ''
  const parts = parseSpiffeId(identity)
  if (parts === undefined) {
    return { kind: 'refused', reason: `the peer's certificate is not a workload's: ${subjectAltName.slice(0, 200)}` }
  }
  if (parts.trustDomain !== trustDomain) {
    return { kind: 'refused', reason: `the peer is of trust domain ${parts.trustDomain}, not ${trustDomain}` }
  }
  return { kind: 'verified', identity }
}
