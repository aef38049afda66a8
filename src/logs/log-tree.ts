/** The containers below /var/log/pods whose logs are of interest. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { type PodFolder, parsePodFolder } from './pod-folder.ts'

export interface LogContainer {
  /** `NAMESPACE_POD_UID/CONTAINER`. */
  readonly key: string
  readonly pod: PodFolder
  readonly container: string
  readonly folder: string
}

/** More are not followed: each costs a descriptor and some memory. */
const MAX_CONTAINERS = 4096
/** A folder that changed so shortly before it was read may have changed again within the same tick of its clock. */
const SETTLED_MS = 100

interface Known {
  readonly time: number
  readonly readAt: number
  readonly names: readonly string[]
}

export class LogTree {
  readonly root: string
  readonly #now: () => number
  /** Folders as they were read, by path. */
  #known = new Map<string, Known>()
  /** Containers beyond the bound in the last scan. */
  leftOut = 0

  constructor(root: string, now: () => number) {
    this.root = root
    this.#now = now
  }

  /** @param wants asked for each pod's folder */
  scan(wants: (pod: PodFolder) => boolean): readonly LogContainer[] {
    const known = new Map<string, Known>()
    const found: LogContainer[] = []
    let leftOut = 0
    for (const folder of this.#folders(this.root, known)) {
      const pod = parsePodFolder(folder)
      if (pod === undefined || !wants(pod)) continue
      for (const container of this.#folders(join(this.root, folder), known)) {
        if (found.length >= MAX_CONTAINERS) leftOut++
        else found.push({ key: `${folder}/${container}`, pod, container, folder: join(this.root, folder, container) })
      }
    }
    this.#known = known
    this.leftOut = leftOut
    return found
  }

  /** Links are not followed. */
  #folders(path: string, known: Map<string, Known>): readonly string[] {
    try {
      const time = statSync(path).mtimeMs
      const before = this.#known.get(path)
      const readAt = this.#now()
      const entry =
        before !== undefined && before.time === time && before.readAt - time > SETTLED_MS
          ? before
          : { time, readAt, names: subfolders(path) }
      known.set(path, entry)
      return entry.names
    } catch {
      return []
    }
  }
}

function subfolders(path: string): readonly string[] {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
}
