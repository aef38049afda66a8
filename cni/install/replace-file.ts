/** Files put in place in one step: whoever reads meanwhile sees the old one or the new one, never a part. */
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  closeSync,
  copyFileSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** Changes with any writing or replacing of the file; undefined when there is none. */
export function fileStamp(path: string): string | undefined {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false })
  return stat === undefined ? undefined : `${stat.ino} ${stat.size} ${stat.mtimeNs} ${stat.ctimeNs}`
}

/**
 * Writes a file with the mode and owner of the one it replaces (or of `like`), 0644 when there is none.
 * @param stamp what the file must still be at the last moment; false is answered, and nothing done, if it is not
 */
export function replaceFile(
  path: string,
  text: string,
  { stamp, like = path }: { stamp?: string; like?: string } = {},
) {
  return putInPlace(path, (temporary) => {
    writeFileSync(temporary, text, { mode: 0o600, flag: 'wx' })
    const model = statSync(like, { throwIfNoEntry: false })
    if (model !== undefined) chownSync(temporary, model.uid, model.gid)
    chmodSync(temporary, model === undefined ? 0o644 : model.mode & 0o7777)
    return () => stamp === undefined || fileStamp(path) === stamp
  })
}

/** Copies an executable, also over one that runs. */
export function replaceExecutable(path: string, source: string): void {
  putInPlace(path, (temporary) => {
    copyFileSync(source, temporary)
    chmodSync(temporary, 0o755)
    return () => true
  })
}

function putInPlace(path: string, make: (temporary: string) => () => boolean): boolean {
  // No runtime takes a file with this ending for a configuration.
  const temporary = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}.weir-new`)
  rmSync(temporary, { force: true })
  try {
    const isStillWanted = make(temporary)
    const fd = openSync(temporary, 'r')
    try {
      fsyncSync(fd)
    } finally {
      closeSync(fd)
    }
    if (!isStillWanted()) return false
    renameSync(temporary, path)
    return true
  } finally {
    rmSync(temporary, { force: true })
  }
}
