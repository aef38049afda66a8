/** What agents wrote down of the pods they enrolled (STATE_DIR/pods), read without changing anything there. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

export interface KeptRecord {
  readonly uid: string
  /** `namespace/name`. */
  readonly workload: string
  /** Path of its network namespace. */
  readonly path: string
  /** Device and inode of the namespace that was enrolled. */
  readonly identity: string
}

export interface KeptRecords {
  readonly records: readonly KeptRecord[]
  /** Names of files there that are no records. */
  readonly strange: readonly string[]
}

/** A file this young may be one that is being written, ms. */
const YOUNG_MS = 10_000

export function readPodRecords(stateDir: string, nowMs: number): KeptRecords {
  const directory = join(stateDir, 'pods')
  const records: KeptRecord[] = []
  const strange: string[] = []
  for (const name of namesIn(directory)) {
    const record = name.endsWith('.json') ? readRecord(join(directory, name)) : undefined
    if (record !== undefined) records.push(record)
    else if (nowMs - changedMs(join(directory, name), nowMs) > YOUNG_MS) strange.push(join(directory, name))
  }
  return { records, strange }
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory).sort()
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'ENOENT') return []
    throw thrown
  }
}

function changedMs(path: string, nowMs: number): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? nowMs
}

function readRecord(path: string): KeptRecord | undefined {
  try {
    const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
    if (typeof value !== 'object' || value === null) return undefined
    if (!('uid' in value && 'workload' in value && 'path' in value && 'identity' in value)) return undefined
    const { uid, workload, path: netns, identity } = value
    return { uid: String(uid), workload: String(workload), path: String(netns), identity: String(identity) }
  } catch {
    return undefined
  }
}
