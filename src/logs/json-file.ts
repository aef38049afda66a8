/**
 * Lines appended to a file that is rotated by size: FILE, FILE.1, … FILE.N, the oldest removed. It can be set back to
 * where it was at some moment, so that what is written again after a crash is there once.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import type { WrittenFile } from './place-file.ts'

export interface JsonFileOptions {
  readonly path: string
  /** It is rotated when it has become larger. */
  readonly maxBytes: number
  /** Files in all, the one that is written to among them. */
  readonly files: number
  /** Set back to there, if it is still there. */
  readonly since: WrittenFile | undefined
  /** Right before and right after a rotation: the moment is to be remembered. */
  onRotation(): void
}

export class JsonFile {
  readonly #options: JsonFileOptions
  #fd: number
  #bytes: number
  #text = ''

  /** @throws as the file system does */
  constructor(options: JsonFileOptions) {
    this.#options = options
    if (options.since !== undefined) setBack(options.path, options.since)
    this.#fd = openSync(options.path, 'a', 0o640)
    this.#bytes = fstatSync(this.#fd).size
  }

  append(line: string): void {
    this.#text += line
  }

  /** @throws as the file system does; what is not written stays */
  flush(): void {
    if (this.#text === '') return
    const bytes = Buffer.from(this.#text)
    const before = this.#bytes
    try {
      for (let from = 0; from < bytes.length; ) from += writeSync(this.#fd, bytes, from)
    } catch (thrown) {
      // Not half a line: it is written again as a whole.
      ftruncateSync(this.#fd, before)
      throw thrown
    }
    this.#bytes += bytes.length
    this.#text = ''
    if (this.#bytes > this.#options.maxBytes) this.#rotate()
  }

  written(): WrittenFile {
    return { inode: fstatSync(this.#fd).ino, bytes: this.#bytes }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd)
  }

  #rotate(): void {
    const { path, files, onRotation } = this.#options
    onRotation()
    rmSync(`${path}.${files - 1}`, { force: true })
    for (let n = files - 1; n > 1; n--) renameIfThere(`${path}.${n - 1}`, `${path}.${n}`)
    if (files > 1) renameSync(path, `${path}.1`)
    else rmSync(path)
    closeSync(this.#fd)
    this.#fd = openSync(path, 'a', 0o640)
    this.#bytes = 0
    onRotation()
  }
}

/** Rotation is remembered at both ends: at most one has happened since. */
function setBack(path: string, { inode, bytes }: WrittenFile): void {
  if (sizeOf(path, inode) >= bytes) truncateSync(path, bytes)
  else if (sizeOf(`${path}.1`, inode) >= bytes) {
    truncateSync(`${path}.1`, bytes)
    renameSync(`${path}.1`, path)
  }
}

/** -1 when it is not that file. */
function sizeOf(path: string, inode: number): number {
  const stat = statSync(path, { throwIfNoEntry: false })
  return stat?.ino === inode ? stat.size : -1
}

function renameIfThere(from: string, to: string): void {
  if (statSync(from, { throwIfNoEntry: false }) !== undefined) renameSync(from, to)
}
