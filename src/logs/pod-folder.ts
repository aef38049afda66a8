/** Names below /var/log/pods, as the kubelet gives them: NAMESPACE_POD_UID/CONTAINER/N.log, rotated N.log.TIME[.gz]. */

export interface PodFolder {
  readonly namespace: string
  readonly name: string
  readonly uid: string
}

/** No part can hold an underscore: they are DNS names and a UUID or a hash. */
export function parsePodFolder(folder: string): PodFolder | undefined {
  const [namespace = '', name = '', uid = '', ...more] = folder.split('_')
  return namespace === '' || name === '' || uid === '' || more.length > 0 ? undefined : { namespace, name, uid }
}

export interface LogFileName {
  readonly file: string
  /** How often the container had been started before. */
  readonly attempt: number
  /** `20261121-101500`, the node's local time; empty for the file that is written to. */
  readonly rotated: string
  readonly gzip: boolean
}

const FILE = /^(\d{1,9})\.log(?:\.(\d{8}-\d{6})(\.gz)?)?$/

/** Undefined for what is none, such as `.gz.tmp` or `.tmp` of a compression that goes on. */
export function parseLogFile(file: string): LogFileName | undefined {
  const [, attempt, rotated = '', gzip] = FILE.exec(file) ?? []
  return attempt === undefined ? undefined : { file, attempt: Number(attempt), rotated, gzip: gzip !== undefined }
}

/** The files of a container, the oldest first. Of one that is there compressed too, the compressed one: it is whole. */
export function orderLogFiles(files: readonly string[]): readonly LogFileName[] {
  const present = new Set(files)
  return files
    .filter((file) => !present.has(`${file}.gz`))
    .map(parseLogFile)
    .filter((name) => name !== undefined)
    .sort((a, b) => a.attempt - b.attempt || compareRotated(a.rotated, b.rotated))
}

function compareRotated(a: string, b: string): number {
  if (a === b) return 0
  if (a === '' || b === '') return a === '' ? 1 : -1
  return a < b ? -1 : 1
}
