/** What can be seen of a pod from outside: when its log was last written to. */
import { type Dirent, existsSync, lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

/** Of containers, and of files of one. */
const MAX_ENTRIES = 64

/**
 * When one of a pod's logs was last written to, ms since the epoch; 0: there are files, and nothing was ever written.
 * Undefined where it has none, or where the runtime keeps them elsewhere and links to them.
 */
export function lastLogMs(root: string, pod: { namespace: string; name: string; uid: string }): number | undefined {
  const folder = join(root, `${pod.namespace}_${pod.name}_${pod.uid}`)
  let last: number | undefined
  for (const container of entries(folder)) {
    if (!container.isDirectory()) continue
    for (const file of entries(join(folder, container.name))) {
      if (file.isSymbolicLink()) return undefined
      if (!file.isFile()) continue
      const stat = lstatSync(join(folder, container.name, file.name), { throwIfNoEntry: false })
      if (stat !== undefined) last = Math.max(last ?? 0, stat.size > 0 ? stat.mtimeMs : 0)
    }
  }
  return last
}

function entries(folder: string): readonly Dirent[] {
  if (!existsSync(folder)) return []
  try {
    return readdirSync(folder, { withFileTypes: true }).slice(0, MAX_ENTRIES)
  } catch {
    return []
  }
}
