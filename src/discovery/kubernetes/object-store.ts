/**
 * What is known of one resource: parsed objects under their names, each with the version it was read at. Pure: lists,
 * events and single answers are fed in. Of two readings of one object the newer counts, whichever comes later, since
 * a single answer overtakes the watch; what is told of different objects is never put in order.
 */

import { unchangedOr } from '#discovery'
import { type KubernetesObject, type ParseOutcome, type Problem, parseObject } from '#resources'
import { type Fields, isFields } from './fields.ts'

export interface Entry {
  /** Absent: it does not validate, and never did while it was followed. */
  readonly object: KubernetesObject | undefined
  readonly problems: readonly Problem[]
  readonly version: string
  /** From a single answer: neither a list nor the watch has told of it. */
  readonly ahead: boolean
}

/** A list that is being read; nothing of it counts before it is whole. */
export interface Replacement {
  add(item: unknown): void
  /** @param version of the list */
  commit(version: string): void
}

/** Deletions that are remembered, so that what arrives late brings nothing back. */
const MAX_DELETED = 1024
/** A second copy of the object, of no use here. */
const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration'

export class ObjectStore {
  readonly #onChange: () => void
  #entries = new Map<string, Entry>()
  /** Names of entries that have problems. */
  #troubled = new Set<string>()
  readonly #deleted = new Map<string, string>()
  /** Names of what changed since it was last taken, and what was there then. */
  #changed = new Map<string, KubernetesObject | undefined>()

  constructor(onChange: () => void) {
    this.#onChange = onChange
  }

  get entries(): ReadonlyMap<string, Entry> {
    return this.#entries
  }

  /** Names whose object is another one than when this was last called, or is gone or new, with the one from then. */
  takeChanged(): ReadonlyMap<string, KubernetesObject | undefined> {
    const changed = this.#changed
    if (changed.size > 0) this.#changed = new Map()
    return changed
  }

  get problems(): readonly Problem[] {
    return [...this.#troubled].flatMap((key) => this.#entries.get(key)?.problems ?? [])
  }

  #note(key: string, before: Entry | undefined, entry: Entry | undefined): void {
    if (entry !== undefined && entry.problems.length > 0) this.#troubled.add(key)
    else this.#troubled.delete(key)
    if (before?.object !== entry?.object && !this.#changed.has(key)) this.#changed.set(key, before?.object)
  }

  /** @param shared apiVersion and kind, which items of a list do not repeat */
  begin(shared: Fields): Replacement {
    const entries = new Map<string, Entry>()
    return {
      add: (item) => {
        const { key, version } = identify(item)
        const before = this.#entries.get(key)
        const keepsAhead = before?.ahead === true && isOlder(version, before.version)
        const value = isFields(item) ? { ...shared, ...item } : item
        entries.set(key, keepsAhead ? before : read(value, version, before, false))
      },
      commit: (listVersion) => {
        for (const [key, entry] of this.#entries) {
          if (entry.ahead && !entries.has(key) && isOlder(listVersion, entry.version)) entries.set(key, entry)
        }
        const before = this.#entries
        this.#entries = entries
        for (const [key, entry] of before) if (!entries.has(key)) this.#note(key, entry, undefined)
        for (const [key, entry] of entries) this.#note(key, before.get(key), entry)
        if (before.size !== entries.size || [...entries].some(([key, entry]) => differs(before.get(key), entry))) {
          this.#onChange()
        }
      },
    }
  }

  /** Added or modified, as the watch tells it (`ahead` false) or as the answer to a question. */
  put(value: unknown, ahead = false): Entry {
    const { key, version } = identify(value)
    const before = this.#entries.get(key)
    const deletedAt = this.#deleted.get(key)
    const late = (before !== undefined && isOlder(version, before.version)) || isOlderOrSame(version, deletedAt)
    if (late) return before ?? read(value, version, undefined, ahead)
    const entry = read(value, version, before, ahead && before?.version !== version)
    this.#deleted.delete(key)
    this.#entries.set(key, entry)
    this.#note(key, before, entry)
    if (differs(before, entry)) this.#onChange()
    return entry
  }

  /** @param value the object's last state, at the version of its deletion */
  remove(value: unknown): void {
    const { key, version } = identify(value)
    const before = this.#entries.get(key)
    if (before !== undefined && isOlder(version, before.version)) return
    this.#deleted.set(key, version)
    for (const oldest of this.#deleted.keys()) {
      if (this.#deleted.size <= MAX_DELETED) break
      this.#deleted.delete(oldest)
    }
    this.#note(key, before, undefined)
    if (this.#entries.delete(key)) this.#onChange()
  }

  clear(): void {
    const before = this.#entries
    this.#entries = new Map()
    for (const [key, entry] of before) this.#note(key, entry, undefined)
    this.#deleted.clear()
    if (before.size > 0) this.#onChange()
  }
}

/** Whether one version comes before another of the same object; false where versions are no numbers. */
export function isOlder(version: string, than: string): boolean {
  if (!/^\d+$/.test(version) || !/^\d+$/.test(than)) return false
  return version.length === than.length ? version < than : version.length < than.length
}

function isOlderOrSame(version: string, than: string | undefined): boolean {
  return than !== undefined && (version === than || isOlder(version, than))
}

function read(value: unknown, version: string, before: Entry | undefined, ahead: boolean): Entry {
  const outcome: ParseOutcome = parseObject(trimmed(value))
  switch (outcome.kind) {
    case 'object':
      return { object: unchangedOr(before?.object, outcome.object), problems: outcome.problems, version, ahead }
    case 'ignored':
      return { object: undefined, problems: [], version, ahead }
    case 'rejected':
    case 'unrecognisable':
      // As with a file: the last good version stays in force.
      return { object: before?.object, problems: outcome.problems, version, ahead }
  }
}

function differs(before: Entry | undefined, entry: Entry): boolean {
  if (before === undefined) return entry.object !== undefined || entry.problems.length > 0
  return before.object !== entry.object || JSON.stringify(before.problems) !== JSON.stringify(entry.problems)
}

function trimmed(value: unknown): unknown {
  if (!isFields(value) || !isFields(value['metadata'])) return value
  const { annotations } = value['metadata']
  if (!isFields(annotations) || annotations[LAST_APPLIED] === undefined) return value
  const { [LAST_APPLIED]: _, ...others } = annotations
  return { ...value, metadata: { ...value['metadata'], annotations: others } }
}

/** What has no name at all shares one place, so that it is told of and takes no room. */
function identify(value: unknown): { readonly key: string; readonly version: string } {
  const metadata = isFields(value) && isFields(value['metadata']) ? value['metadata'] : {}
  const { namespace, name, resourceVersion } = metadata
  return {
    key: `${typeof namespace === 'string' ? namespace : ''}/${typeof name === 'string' ? name : ''}`,
    version: typeof resourceVersion === 'string' ? resourceVersion : '',
  }
}
