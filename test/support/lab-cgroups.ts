/** The cgroups of a lab's containers: found by their path in each hierarchy, and removed. */
import { readdirSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'

const CGROUPS = '/sys/fs/cgroup'
const PATIENCE_MS = 5_000
const RETRY_MS = 10

/** Directories of the cgroups whose path begins with `prefix`, such as `weir-1a2b3c-`; those that lie below others first. */
export function listCgroups(prefix: string): string[] {
  const [top = ''] = prefix.split('/')
  return hierarchies().flatMap((hierarchy) =>
    directoriesIn(hierarchy)
      .filter((name) => name.startsWith(top))
      .flatMap((name) => withAllBelow(hierarchy, name))
      .filter((path) => path.startsWith(prefix))
      .map((path) => join(hierarchy, path)),
  )
}

/**
 * Removes them. Synchronous, as it also runs from a process's exit hook. The processes in them must have been killed; the
 * kernel lets go of a cgroup a little after the last one has gone, which is waited for, 2 s at most.
 */
export function removeCgroups(prefix: string): void {
  const pause = new Int32Array(new SharedArrayBuffer(4))
  for (let waitedMs = 0; ; waitedMs += RETRY_MS) {
    const inUse = listCgroups(prefix).filter((path) => !removed(path))
    if (inUse.length === 0 || waitedMs > PATIENCE_MS) return
    Atomics.wait(pause, 0, 0, RETRY_MS)
  }
}

/** One for each set of controllers (cgroup v1), or the only one (v2). */
function hierarchies(): string[] {
  const mounts = readFileSync('/proc/self/mounts', 'utf8').split('\n')
  return mounts.flatMap((line) => {
    const [, path = '', type = ''] = line.split(' ')
    return /^cgroup2?$/.test(type) && path.startsWith(CGROUPS) ? [path] : []
  })
}

function withAllBelow(hierarchy: string, path: string): string[] {
  const below = directoriesIn(join(hierarchy, path)).flatMap((name) => withAllBelow(hierarchy, join(path, name)))
  return [...below, path]
}

function directoriesIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
  } catch {
    // Gone meanwhile.
    return []
  }
}

/** A cgroup's files go with its directory. */
function removed(path: string): boolean {
  try {
    rmdirSync(path)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'ENOENT'
  }
}
