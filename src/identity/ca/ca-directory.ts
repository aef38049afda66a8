/** The CA of a directory, followed: edited files take effect without a restart, broken ones leave the old CA at work. */
import { stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { CA_FILES, readCaFiles } from './ca-files.ts'
import { type CaMaterial, CertificateAuthority } from './certificate-authority.ts'
import { createCaFiles } from './create-ca-files.ts'

/** A CA as one process knew it, for another to go on with. Holds the CA's key: never write or log it. */
export interface CaSnapshot {
  readonly material: CaMaterial
  /** When the material was found good. */
  readonly readAtMs: number
  /** Of the files then; opaque. Empty for a CA without files. */
  readonly state: string
}

export class CaDirectory {
  readonly path: string
  /** Whether the CA was made just now, because the directory was empty. */
  readonly created: boolean
  #authority: CertificateAuthority
  #snapshot: CaSnapshot

  private constructor(path: string, created: boolean, authority: CertificateAuthority, snapshot: CaSnapshot) {
    this.path = path
    this.created = created
    this.#authority = authority
    this.#snapshot = snapshot
  }

  /**
   * Makes the CA when the directory is empty or not there.
   * @throws WeirError WEIR_CA_FILES, one line naming the file and the remedy
   */
  static async open(directory: string, nowMs: number): Promise<CaDirectory> {
    const path = resolve(directory)
    const created = await createCaFiles(path, nowMs)
    const state = await fileState(path)
    const material = await readCaFiles(path, nowMs)
    const authority = await CertificateAuthority.fromMaterial(material, nowMs)
    return new CaDirectory(path, created, authority, { material, readAtMs: nowMs, state })
  }

  /** As another process left it, whatever became of the files since: `refresh` looks at them. */
  static async resume(directory: string, snapshot: CaSnapshot): Promise<CaDirectory> {
    const authority = await CertificateAuthority.fromMaterial(snapshot.material, snapshot.readAtMs)
    return new CaDirectory(resolve(directory), false, authority, snapshot)
  }

  get authority(): CertificateAuthority {
    return this.#authority
  }

  /** Another object whenever something changed, also when changed files were not good. */
  get snapshot(): CaSnapshot {
    return this.#snapshot
  }

  /**
   * Reads the files again if they have changed; true when another CA, or another trust bundle, is in force now.
   * @throws WeirError WEIR_CA_FILES once per change, when they are not good; the old CA stays
   */
  async refresh(nowMs: number): Promise<boolean> {
    const state = await fileState(this.path)
    if (state === this.#snapshot.state) return false
    this.#snapshot = { ...this.#snapshot, state }
    const material = await readCaFiles(this.path, nowMs)
    this.#authority = await CertificateAuthority.fromMaterial(material, nowMs)
    this.#snapshot = { ...this.#snapshot, material, readAtMs: nowMs }
    return true
  }
}

async function fileState(path: string): Promise<string> {
  const states = Object.values(CA_FILES).map(async (name) => {
    try {
      const { ino, size, mtimeNs, ctimeNs } = await stat(join(path, name), { bigint: true })
      return `${ino}:${size}:${mtimeNs}:${ctimeNs}`
    } catch {
      return 'missing'
    }
  })
  return (await Promise.all(states)).join(' ')
}
