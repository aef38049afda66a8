/** The revocation list of a CA's directory (`ca-crl.pem`, where Istio has it too): added to, and kept from ending. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { errorLine, WeirError } from '#base'
import { normalizeSerial } from '#identity'
import { CA_FILES, readCaFiles } from './ca-files.ts'
import { type CaMaterial, CertificateAuthority } from './certificate-authority.ts'
import { takeLock, writeSynced } from './create-ca-files.ts'
import { toRevocationListPem } from './pem.ts'
import { expectSigner, readSignedLists } from './revocation-list.ts'
import * as x509 from './x509.ts'

export const REVOCATION_FILE = 'ca-crl.pem'

const LIFETIME_MS = 7 * 86_400_000

export interface RevokedNow {
  readonly file: string
  /** All that the list holds now. */
  readonly count: number
  /** Those of the serials asked for that were not on the list before. */
  readonly added: readonly string[]
  readonly nextUpdateMs: number
}

/** What the file holds: the CA's own list, and those of others as they are. */
interface Existing {
  /** By serial number, when it was revoked. */
  readonly dates: Map<string, number>
  /** Those that name somebody. */
  readonly others: readonly string[]
  /** When ours to renew: at the half of the life of the CA's own list, or of an empty one; infinite: not. */
  readonly renewAtMs: number
}

/**
 * Signs the list anew with further serials; lists of other CAs in the file stay as they are.
 * @param serials none: the list is only made to last longer
 * @throws WeirError, one line, when the CA's files or the list cannot be used
 */
export async function revokeInDirectory(
  directory: string,
  serials: readonly string[],
  nowMs: number,
): Promise<RevokedNow> {
  await expectCa(directory)
  const material = await readCaFiles(directory, nowMs)
  using _lock = await takeLock(directory)
  const existing = await readExisting(directory, material)
  const asked = serials.map((serial) => normalizeSerial(serial) ?? serial)
  const added = [...new Set(asked)].filter((serial) => !existing.dates.has(serial))
  for (const serial of added) existing.dates.set(serial, nowMs)
  const nextUpdateMs = await write(directory, material, existing, nowMs)
  return { file: join(directory, REVOCATION_FILE), count: existing.dates.size, added, nextUpdateMs }
}

/**
 * Makes an empty list where there is none, and signs one anew, with what it holds, from the half of its life.
 * @returns whether the file was written
 * @throws WeirError, one line, when the CA's files or the list cannot be used
 */
export async function keepRevocationList(directory: string, nowMs: number): Promise<boolean> {
  const material = await readCaFiles(directory, nowMs)
  if (nowMs < (await readExisting(directory, material)).renewAtMs) return false
  using _lock = await takeLock(directory)
  const existing = await readExisting(directory, material)
  if (nowMs < existing.renewAtMs) return false
  await write(directory, material, existing, nowMs)
  return true
}

/**
 * Brings this directory's list and one that was published elsewhere together. Nobody that a list of this CA names comes
 * back: what both name is named then, and a list that nobody of this CA has signed counts for nothing.
 * @param published PEM
 * @returns whether the list here is the one to publish; otherwise it is the published one now
 * @throws WeirError, one line, when the CA's own files cannot be used
 */
export async function reconcileRevocations(directory: string, published: string, nowMs: number): Promise<boolean> {
  const material = await readCaFiles(directory, nowMs)
  using _lock = await takeLock(directory)
  const text = await readText(join(directory, REVOCATION_FILE))
  const theirs = await sortLists(published, material).catch(() => undefined)
  if (theirs === undefined) return text !== undefined
  const own = text === undefined ? undefined : await sortLists(text, material).catch(() => undefined)
  const take = async (): Promise<boolean> => {
    await writeSynced(directory, REVOCATION_FILE, published, 0o644)
    return false
  }
  if (own === undefined) return take()
  const [ours, named] = [names(own), names(theirs)]
  const weLack = [...named].some((name) => !ours.has(name))
  const theyLack = [...ours].some((name) => !named.has(name))
  if (weLack && theyLack) {
    await write(directory, material, await sortLists(`${text}\n${published}`, material), nowMs)
    return true
  }
  // Of two that say the same the later one, so that all replicas end with one.
  if (weLack || (!theyLack && theirs.renewAtMs >= own.renewAtMs)) return take()
  return true
}

function names({ dates, others }: Existing): Set<string> {
  return new Set([...dates.keys(), ...others])
}

/** @returns when the next list must be there */
async function write(directory: string, material: CaMaterial, existing: Existing, nowMs: number): Promise<number> {
  const authority = await CertificateAuthority.fromMaterial(material, nowMs)
  const nextUpdateMs = nowMs + LIFETIME_MS
  const entries = [...existing.dates].map(([serial, revokedAtMs]) => ({ serial, revokedAtMs }))
  const list = await authority.signRevocationList({ entries, nowMs, nextUpdateMs })
  // Holds no secret, and is for others to read.
  await writeSynced(directory, REVOCATION_FILE, [list, ...existing.others].join(''), 0o644)
  return nextUpdateMs
}

/** Only a file that is not there is an empty list: of one that is damaged nobody knows whom it names. */
async function readExisting(directory: string, material: CaMaterial): Promise<Existing> {
  const file = join(directory, REVOCATION_FILE)
  const text = await readText(file)
  if (text === undefined) return { dates: new Map(), others: [], renewAtMs: Number.NEGATIVE_INFINITY }
  try {
    return await sortLists(text, material)
  } catch (thrown) {
    const remedy = 'mend it, or move it away to begin a new list'
    throw new WeirError('WEIR_CA_CRL', `${file} ${errorLine(thrown)}; ${remedy}`, { cause: thrown })
  }
}

/** @throws WeirError, the end of a sentence about the file */
async function sortLists(text: string, material: CaMaterial): Promise<Existing> {
  const known = [material.certificatePem, ...material.chainPem, ...material.rootsPem]
  const own = new x509.X509Certificate(material.certificatePem)
  const dates = new Map<string, number>()
  const others: string[] = []
  let renewAtMs = Number.POSITIVE_INFINITY
  for (const signed of await readSignedLists(text, known)) {
    const { list, der, issuer } = signed
    // Left behind by a CA that this one has taken the place of.
    if (issuer === undefined && list.entries.length === 0 && !isNameOf(list, known)) {
      renewAtMs = Number.NEGATIVE_INFINITY
      continue
    }
    const isOwn = expectSigner(signed).issuer.equal(own)
    if (!isOwn && list.entries.length > 0) {
      others.push(toRevocationListPem(der))
      continue
    }
    for (const { serialNumber, revocationDate } of list.entries) {
      dates.set(normalizeSerial(serialNumber) ?? serialNumber, revocationDate.getTime())
    }
    const endMs = list.nextUpdate?.getTime() ?? Number.POSITIVE_INFINITY
    renewAtMs = Math.min(renewAtMs, (list.thisUpdate.getTime() + endMs) / 2)
  }
  return { dates, others, renewAtMs }
}

function isNameOf(list: x509.X509Crl, certificatesPem: readonly string[]): boolean {
  return certificatesPem.some((pem) => new x509.X509Certificate(pem).subject === list.issuer)
}

async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return undefined
    throw new WeirError('WEIR_CA_CRL', `Cannot read ${file}: ${errorLine(thrown)}`, { cause: thrown })
  }
}

/** Other than where a CA is served, none is made here: the one that has issued the certificate must be there. */
async function expectCa(directory: string): Promise<void> {
  const remedy = 'name the directory of the CA that has issued the certificate (--ca-dir)'
  try {
    if ((await readdir(directory)).includes(CA_FILES.certificate)) return
  } catch (thrown) {
    const why = codeOf(thrown) === 'ENOENT' ? 'is not there' : `cannot be read: ${errorLine(thrown)}`
    throw new WeirError('WEIR_CA_FILES', `${directory} ${why}: ${remedy}`, { cause: thrown })
  }
  throw new WeirError('WEIR_CA_FILES', `${directory} holds no CA (no ${CA_FILES.certificate}): ${remedy}`)
}

function codeOf(thrown: unknown): unknown {
  return thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
}
