/**
 * The log files of one container: listed in order, opened without following links, and known by what they begin with.
 * A file's name, inode and even its compression change; its first line, with nanoseconds in it, does not.
 */
import { hash } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readdirSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, constants as zlib } from 'node:zlib'
import { type LogFileName, orderLogFiles } from './pod-folder.ts'

/** Where lines of one writer are: a folder of N.log files, or one file. */
export interface LogPlace {
  readonly folder: string
  /** A file in the folder that is all there is; undefined: those of a container. */
  readonly only: string | undefined
}

export interface OpenLog {
  readonly name: LogFileName
  readonly fd: number
  readonly inode: number
  /** Bytes it begins with: its first line, or HEAD_BYTES of it. Empty while that is not there yet. */
  readonly head: Buffer
  /** Of the head; empty while there is none. */
  readonly fingerprint: string
}

const HEAD_BYTES = 256
/** Compressed bytes that are sure to hold the head. */
const GZIP_HEAD_BYTES = 4096
const GZIP_HEAD_MAX = 8 << 20
const MAX_LISTINGS = 5

/** The oldest first; each is the caller's to close. None where the folder is gone. */
export function openLogs(place: LogPlace): readonly OpenLog[] {
  let names = listLogs(place)
  for (let tries = 1; ; tries++) {
    const opened = names.map((name) => openLog(place, name)).filter((log) => log !== undefined)
    // A file renamed meanwhile would be missed, or taken for another.
    const after = listLogs(place)
    if (tries === MAX_LISTINGS || sameNames(names, after)) return opened
    closeLogs(opened)
    names = after
  }
}

export function closeLogs(logs: readonly OpenLog[]): void {
  for (const { fd } of logs) closeSync(fd)
}

/** The first bytes of a plain file, as far as they will not change. */
export function readHead(fd: number): Buffer {
  const bytes = Buffer.allocUnsafe(HEAD_BYTES)
  return headOf(bytes.subarray(0, readSync(fd, bytes, 0, HEAD_BYTES, 0)))
}

function listLogs({ folder, only }: LogPlace): readonly LogFileName[] {
  try {
    if (only !== undefined) return [{ file: only, attempt: 0, rotated: '', gzip: false }]
    return orderLogFiles(readdirSync(folder))
  } catch {
    return []
  }
}

function sameNames(a: readonly LogFileName[], b: readonly LogFileName[]): boolean {
  return a.length === b.length && a.every(({ file }, i) => file === b[i]?.file)
}

function openLog({ folder }: LogPlace, name: LogFileName): OpenLog | undefined {
  let fd: number | undefined
  try {
    // Whoever can write there shall not make us read another file, or wait for a pipe.
    fd = openSync(join(folder, name.file), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
    const stat = fstatSync(fd)
    if (stat.isFile()) {
      const head = name.gzip ? gzipHead(fd) : readHead(fd)
      const fingerprint = head.length === 0 ? '' : hash('sha1', head, 'base64url').slice(0, 16)
      return { name, fd, inode: stat.ino, head, fingerprint }
    }
  } catch {
    // Gone again, or not ours to read: as if it was not there.
  }
  if (fd !== undefined) closeSync(fd)
  return undefined
}

function gzipHead(fd: number): Buffer {
  const packed = Buffer.allocUnsafe(GZIP_HEAD_BYTES)
  const length = readSync(fd, packed, 0, GZIP_HEAD_BYTES, 0)
  const options = { finishFlush: zlib.Z_SYNC_FLUSH, maxOutputLength: GZIP_HEAD_MAX }
  return headOf(gunzipSync(packed.subarray(0, length), options))
}

function headOf(bytes: Buffer): Buffer {
  const end = bytes.subarray(0, HEAD_BYTES).indexOf(10)
  if (end >= 0) return Buffer.from(bytes.subarray(0, end + 1))
  return bytes.length < HEAD_BYTES ? Buffer.alloc(0) : Buffer.from(bytes.subarray(0, HEAD_BYTES))
}
