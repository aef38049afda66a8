/**
 * What was done to which namespace, on disk before it is done: an agent that crashed leaves the next one able
 * to adopt its pods or to clear up after it. No secrets; a record that cannot be read is dropped.
 */
import { createHash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { RulesBefore } from '../iptables/pod-rules.ts'

export interface PodRecord {
  readonly uid: string
  readonly workload: string
  readonly path: string
  readonly identity: string
  readonly before: RulesBefore
}

export class PodRecords {
  readonly #dir: string
  /** By uid; undefined until it is asked for: before that another agent may write them. */
  #known: Map<string, PodRecord> | undefined

  constructor(stateDir: string) {
    this.#dir = join(stateDir, 'pods')
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 })
  }

  list(): readonly PodRecord[] {
    return [...this.#records().values()]
  }

  /** Of that very namespace. */
  find(identity: string): PodRecord | undefined {
    return this.list().find((record) => record.identity === identity)
  }

  write(record: PodRecord): void {
    if (isDeepStrictEqual(this.#records().get(record.uid), record)) return
    const path = this.#pathOf(record.uid)
    writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o600 })
    renameSync(`${path}.new`, path)
    this.#records().set(record.uid, record)
  }

  remove(uid: string): void {
    rmSync(this.#pathOf(uid), { force: true })
    this.#records().delete(uid)
  }

  #records(): Map<string, PodRecord> {
    this.#known ??= new Map(this.#read().map((record) => [record.uid, record]))
    return this.#known
  }

  #read(): readonly PodRecord[] {
    return readdirSync(this.#dir)
      .filter((name) => name.endsWith('.json'))
      .flatMap((name) => {
        try {
          const record: unknown = JSON.parse(readFileSync(join(this.#dir, name), 'utf8'))
          if (isPodRecord(record)) return [record]
        } catch {
          // Cut off in the middle of nothing worth keeping: dropped below.
        }
        rmSync(join(this.#dir, name), { force: true })
        return []
      })
  }

  /** A uid is text of a manifest: it may hold anything, a path separator included. */
  #pathOf(uid: string): string {
    return join(this.#dir, `${createHash('sha256').update(uid).digest('hex')}.json`)
  }
}

function isPodRecord(value: unknown): value is PodRecord {
  if (typeof value !== 'object' || value === null) return false
  if (!('uid' in value && 'path' in value && 'identity' in value && 'before' in value)) return false
  const { before } = value
  return (
    typeof value.uid === 'string' &&
    typeof value.path === 'string' &&
    typeof value.identity === 'string' &&
    typeof before === 'object' &&
    before !== null &&
    'families' in before &&
    Array.isArray(before.families) &&
    'tables' in before &&
    'backend' in before &&
    'sysctls' in before
  )
}
