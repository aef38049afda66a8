/** Comma lists in annotations. A bad entry is told and left out: what it would have let through stays inside the mesh. */
import type { PodObject } from '#resources'
import type { ProblemLog } from './problem-log.ts'

/** Each is a rule in the pod. */
const MAX_ENTRIES = 128
const MAX_SHOWN_CHARACTERS = 64

export interface ListWords {
  /** What an entry should be, e.g. `a port from 1 to 65535`. */
  readonly expected: string
  /** What a good entry does, e.g. `excludes`. */
  readonly effect: string
  readonly plural: string
}

export function readEntries<T>(
  pod: PodObject,
  annotation: string,
  parse: (text: string) => T | undefined,
  { expected, effect, plural }: ListWords,
  problems: ProblemLog,
): T[] {
  const text = pod.metadata.annotations[annotation]
  if (text === undefined || text.trim() === '') return []
  const values = new Set<T>()
  const field = `metadata.annotations[${annotation}]`
  const entries = text.split(',', MAX_ENTRIES + 1).map((part) => part.trim())
  const bad = entries.slice(0, MAX_ENTRIES).filter((entry) => {
    const value = parse(entry)
    if (value !== undefined) values.add(value)
    return value === undefined
  })
  // One line for all: an annotation may be large, and is somebody else's.
  if (bad.length > 0) {
    const more =
      bad.length > 1 ? `, and ${bad.length - 1} more like it: these entries ${plural}` : `; this entry ${effect}`
    const got = JSON.stringify(bad[0]?.slice(0, MAX_SHOWN_CHARACTERS))
    problems.add(pod, field, `expected ${expected}, got ${got}${more} nothing`)
  }
  if (entries.length > MAX_ENTRIES) {
    problems.add(pod, field, `has more than ${MAX_ENTRIES} entries: those beyond ${plural} nothing; give ranges`)
  }
  return [...values]
}
