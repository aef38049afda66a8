/** Adds to the revocation list of a CA's directory (`ca-crl.pem`, where Istio has it too). */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { errorLine, WeirError } from '#base'
import { normalizeSerial } from '#identity'
import { readCaFiles } from './ca-files.ts'
import { CertificateAuthority } from './certificate-authority.ts'
import { takeLock, writeSynced } from './create-ca-files.ts'
import { splitRevocationLists, toRevocationListPem } from './pem.ts'
import { signerOf } from './revocation-list.ts'
import * as x509 from './x509.ts'

export const REVOCATION_FILE = 'ca-crl.pem'

const LIFETIME_MS = 7 * 86_400_000

export interface RevokedNow {
  readonly file: string
  /** All that the list holds now. */
  readonly count: number
  readonly nextUpdateMs: number
}

/**
 * Signs the list anew with further serials; lists of other CAs in the file stay as they are.
 * @param serials normalized; none: the list is only made to last longer
 * @throws WeirError, one line, when the CA's files or the list cannot be used
 */
export async function revokeInDirectory(
  directory: string,
  serials: readonly string[],
  nowMs: number,
): Promise<RevokedNow> {
  const material = await readCaFiles(directory, nowMs)
  const authority = await CertificateAuthority.fromMaterial(material, nowMs)
  const file = join(directory, REVOCATION_FILE)
  using _lock = await takeLock(directory)
  const own = new x509.X509Certificate(material.certificatePem)
  const dates = new Map<string, number>()
  const others: string[] = []
  for (const block of splitRevocationLists(await readExisting(file))) {
    const list = parse(block, file)
    if ((await signerOf(list, [own])) === undefined) {
      others.push(toRevocationListPem(block))
      continue
    }
    for (const { serialNumber, revocationDate } of list.entries) {
      dates.set(normalizeSerial(serialNumber) ?? serialNumber, revocationDate.getTime())
    }
  }
  for (const serial of serials) if (!dates.has(serial)) dates.set(serial, nowMs)
  const nextUpdateMs = nowMs + LIFETIME_MS
  const entries = [...dates].map(([serial, revokedAtMs]) => ({ serial, revokedAtMs }))
  const list = await authority.signRevocationList({ entries, nowMs, nextUpdateMs })
  // Holds no secret, and is for others to read.
  await writeSynced(directory, REVOCATION_FILE, [list, ...others].join(''), 0o644)
  return { file, count: entries.length, nextUpdateMs }
}

async function readExisting(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return ''
    throw new WeirError('WEIR_CA_CRL', `Cannot read ${file}: ${errorLine(thrown)}`, { cause: thrown })
  }
}

function parse(block: Buffer<ArrayBuffer>, file: string): x509.X509Crl {
  try {
    return new x509.X509Crl(block)
  } catch (thrown) {
    const remedy = 'mend it, or move it away to begin a new list'
    throw new WeirError('WEIR_CA_CRL', `${file} cannot be read: ${errorLine(thrown)}; ${remedy}`, { cause: thrown })
  }
}
