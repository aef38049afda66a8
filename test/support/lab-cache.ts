/** What takes seconds to build and is the same each time is kept, beside what other tools keep. */
import { existsSync, globSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'

const CACHE = join(import.meta.dirname, '../../node_modules/.cache/weir-lab')

/**
 * The file of that name in this version; made when there is none, which replaces other versions.
 * @param version fit for a file name
 * @param make writes it, at the path that it is given
 */
export function cached(name: string, version: string, make: (draft: string) => void): string {
  mkdirSync(CACHE, { recursive: true })
  const file = `${name}-${version}`
  const path = join(CACHE, file)
  if (existsSync(path)) return path
  const earlier = readdirSync(CACHE).filter((other) => other.startsWith(`${name}-`))
  // Two that make it at once do no harm.
  const draft = join(CACHE, `draft-${process.pid}-${name}`)
  make(draft)
  renameSync(draft, path)
  for (const other of earlier) rmSync(join(CACHE, other), { force: true })
  return path
}

/** A version of files and folders below `root`, by the time of the last change and their number. */
export function newestChange(root: string, paths: readonly string[]): string {
  const files = paths.flatMap((path) =>
    statSync(join(root, path)).isDirectory() ? globSync(join(root, path, '**/*')) : [join(root, path)],
  )
  const times = files.map((file) => statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0)
  return `${Math.max(...times).toFixed(0)}-${files.length}`
}
