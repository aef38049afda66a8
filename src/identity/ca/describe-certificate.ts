/** What a certificate says, for status output and checks; read with Node's own parser. */
import { X509Certificate } from 'node:crypto'

export interface CertificateDescription {
  /** The only URI name when it is a SPIFFE ID; undefined otherwise. */
  readonly spiffeId: string | undefined
  readonly notBeforeMs: number
  readonly notAfterMs: number
  /** Upper-case hexadecimal, as openssl prints it. */
  readonly serial: string
  readonly subject: string
  readonly issuer: string
}

/** @throws Error when the text is no certificate */
export function describeCertificate(pem: string): CertificateDescription {
  const certificate = new X509Certificate(pem)
  return {
    spiffeId: spiffeIdOf(certificate),
    notBeforeMs: certificate.validFromDate.getTime(),
    notAfterMs: certificate.validToDate.getTime(),
    serial: certificate.serialNumber,
    subject: oneLine(certificate.subject),
    issuer: oneLine(certificate.issuer),
  }
}

function spiffeIdOf({ subjectAltName = '' }: X509Certificate): string | undefined {
  // Inside a value Node writes a comma as \u002c, in quotes: no name can look like two.
  const uris = subjectAltName.split(', ').filter((name) => name.startsWith('URI:'))
  const [only] = uris
  return uris.length === 1 && only?.startsWith('URI:spiffe://') ? only.slice('URI:'.length) : undefined
}

/** Node prints a distinguished name with a line per part, and an empty one as undefined. */
function oneLine(name: string | undefined): string {
  return (name ?? '').split('\n').join(', ')
}
