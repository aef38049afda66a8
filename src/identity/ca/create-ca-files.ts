/**
 * Makes the CA of an empty directory. One process makes it, the others wait for it; one that dies half-way leaves
 * a mark by which the next knows to begin again.
 */
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { errorLine, WeirError } from '#base'
import { CA_FILES } from './ca-files.ts'
import { generateRoot } from './generate-root.ts'

const LOCK = '.weir-lock'
const UNFINISHED = '.weir-unfinished'
const LOCK_TIMEOUT_MS = 30_000
const LOCK_RETRY_MS = 20

/** True when this call made the files; false when they, or some of them, are there already. */
export async function createCaFiles(directory: string, nowMs: number): Promise<boolean> {
  try {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    if ((await standing(directory)) === 'ca') return false
    using _lock = await takeLock(directory)
    if ((await standing(directory)) === 'ca') return false
    await writeAll(directory, nowMs)
    return true
  } catch (thrown) {
    if (thrown instanceof WeirError) throw thrown
    throw new WeirError('WEIR_CA_FILES', `Cannot make a CA in ${directory}: ${errorLine(thrown)}`, { cause: thrown })
  }
}

/** @throws WeirError when files of something else are there: it is not ours to fill */
async function standing(directory: string): Promise<'ca' | 'empty'> {
  const names = await readdir(directory)
  if (names.includes(UNFINISHED)) return 'empty'
  if (names.some((name) => Object.values<string>(CA_FILES).includes(name))) return 'ca'
  const other = names.find((name) => !name.startsWith('.'))
  if (other === undefined) return 'empty'
  const what = `holds no CA but other files (${other}): name an empty directory to have a CA made`
  throw new WeirError('WEIR_CA_FILES', `${directory} ${what}`)
}

/** One process at a time changes the files of a CA. */
export async function takeLock(directory: string): Promise<Disposable> {
  const { lockFile } = await import('#linux')
  for (const end = performance.now() + LOCK_TIMEOUT_MS; performance.now() < end; await delay(LOCK_RETRY_MS)) {
    const lock = lockFile(join(directory, LOCK))
    if (lock !== undefined) return lock
  }
  throw new Error(`another process has held ${LOCK} for ${LOCK_TIMEOUT_MS / 1000} s`)
}

async function writeAll(directory: string, nowMs: number): Promise<void> {
  const material = await generateRoot(nowMs)
  await writeSynced(directory, UNFINISHED, '')
  await writeSynced(directory, CA_FILES.privateKey, material.privateKeyPem)
  await writeSynced(directory, CA_FILES.certificate, material.certificatePem)
  await writeSynced(directory, CA_FILES.chain, material.chainPem.join(''))
  await writeSynced(directory, CA_FILES.roots, material.rootsPem.join(''))
  await rm(join(directory, UNFINISHED))
}

/** Replaces a file in one step, its bytes on the disk first. */
export async function writeSynced(directory: string, name: string, text: string, mode = 0o600): Promise<void> {
  const temporary = join(directory, `.${name}.new`)
  await rm(temporary, { force: true })
  const file = await open(temporary, 'wx', mode)
  try {
    await file.chmod(mode)
    await file.writeFile(text)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(temporary, join(directory, name))
}
