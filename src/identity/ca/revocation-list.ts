/** Certificate revocation lists (RFC 5280 section 5), read with suspicion: only lists that one of our CAs has signed. */
import { X509Certificate } from 'node:crypto'
import { errorLine, WeirError } from '#base'
import type { Revocations } from '#contract'
import { normalizeSerial } from '#identity'
import { splitRevocationLists } from './pem.ts'
import * as x509 from './x509.ts'

export interface RevocationList {
  /** One for each list of the file. */
  readonly revocations: readonly Revocations[]
  /** When the first of the lists ends; infinite when none says so. */
  readonly nextUpdateMs: number
}

/**
 * @param issuersPem certificates of all CAs that may have signed one
 * @throws WeirError WEIR_CA_CRL, the end of a sentence about the file, when one of its lists is not good
 */
export async function readRevocationLists(pem: string, issuersPem: readonly string[]): Promise<RevocationList> {
  const read: Revocations[] = []
  let nextUpdateMs = Number.POSITIVE_INFINITY
  for (const signed of await readSignedLists(pem, issuersPem)) {
    const { list, issuer } = expectSigner(signed)
    const serials = list.entries.map(({ serialNumber }) => normalizeSerial(serialNumber) ?? '')
    read.push({ issuer: new X509Certificate(issuer.toString('pem')).subject, serials })
    nextUpdateMs = Math.min(nextUpdateMs, list.nextUpdate?.getTime() ?? Number.POSITIVE_INFINITY)
  }
  return { revocations: read, nextUpdateMs }
}

export interface SignedList {
  readonly der: Buffer<ArrayBuffer>
  readonly list: x509.X509Crl
  /** Undefined when none of the CAs has signed it. */
  readonly issuer: x509.X509Certificate | undefined
  /** Which of the file's lists it is, for a sentence about the file; ends with a space unless it is empty. */
  readonly which: string
}

/**
 * Every list of the file, at least one, each with who signed it.
 * @throws WeirError WEIR_CA_CRL, the end of a sentence about the file
 */
export async function readSignedLists(pem: string, issuersPem: readonly string[]): Promise<readonly SignedList[]> {
  const found = splitRevocationLists(pem)
  if (found.kind === 'bad') throw new WeirError('WEIR_CA_CRL', found.why)
  const issuers = issuersPem.map((text) => new x509.X509Certificate(text))
  const read: SignedList[] = []
  for (const [index, der] of found.blocks.entries()) {
    const which = found.blocks.length === 1 ? '' : `in its list ${index + 1} `
    const list = parse(der, which)
    read.push({ der, list, issuer: await signerOf(list, issuers), which })
  }
  return read
}

/** @throws WeirError WEIR_CA_CRL, the end of a sentence about the file, when none of the CAs has signed the list */
export function expectSigner({ list, issuer, which }: SignedList) {
  if (issuer !== undefined) return { list, issuer }
  const by = JSON.stringify(list.issuer.slice(0, 200))
  throw new WeirError('WEIR_CA_CRL', `${which}is not signed by a CA that is trusted here, but in the name of ${by}`)
}

function parse(block: Buffer<ArrayBuffer>, which: string): x509.X509Crl {
  try {
    return new x509.X509Crl(block)
  } catch (thrown) {
    throw new WeirError('WEIR_CA_CRL', `${which}cannot be read: ${errorLine(thrown)}`, { cause: thrown })
  }
}

/** The CA that signed it; undefined when none of them did. */
async function signerOf(
  list: x509.X509Crl,
  issuers: readonly x509.X509Certificate[],
): Promise<x509.X509Certificate | undefined> {
  const name = Buffer.from(list.issuerName.toArrayBuffer())
  for (const issuer of issuers) {
    if (!name.equals(Buffer.from(issuer.subjectName.toArrayBuffer()))) continue
    // A signature of another kind than the key's is one that does not verify.
    if (await list.verify({ publicKey: issuer }).catch(() => false)) return issuer
  }
  return undefined
}
