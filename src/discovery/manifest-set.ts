/**
 * What is in force of all manifest files together: for each file its last good contents and what is wrong with
 * the present ones. Pure: files are fed in, the sum is read out.
 */
import { type KubernetesObject, objectKey, type Problem } from '#resources'
import { duplicate, type FileObjects, type FileReading } from './manifest-file.ts'
import { unchangedOr } from './unchanged.ts'

interface FileState {
  readonly objects: FileObjects
  readonly problems: readonly Problem[]
}

const NOTHING: FileState = { objects: new Map(), problems: [] }
const NOTHING_APPLIES = 'nothing of this file is applied until it is mended'
const ONLY_POLICIES = 'of this file only security policies are in force until it is mended, the broken ones deny'
const STAYS = 'the last good contents stay in force until it is mended'

export class ManifestSet {
  readonly #files = new Map<string, FileState>()

  /** `first`: nothing is known from before this process, so that a broken file's policies must be guessed at. */
  apply(file: string, reading: FileReading, first: boolean): void {
    const before = this.#files.get(file) ?? NOTHING
    if (reading.kind === 'broken') {
      const known = this.#files.has(file)
      const objects = known || !first ? before.objects : reading.security
      const effect = before.objects.size > 0 ? STAYS : objects.size > 0 ? ONLY_POLICIES : NOTHING_APPLIES
      const problems = reading.problems.map((one, index) =>
        index === 0 ? { ...one, message: `${one.message}; ${effect}` } : one,
      )
      this.#files.set(file, { objects, problems })
      return
    }
    const objects = new Map(reading.objects)
    const problems = [...reading.problems]
    for (const key of reading.kept) {
      const last = before.objects.get(key)
      if (last !== undefined && !objects.has(key)) objects.set(key, last)
    }
    for (const [key, object] of objects) objects.set(key, unchangedOr(before.objects.get(key), object))
    this.#files.set(file, { objects, problems })
  }

  /** The file is there and cannot be read, or what it holds cannot be meant: its objects stay. */
  hold(file: string, message: string): void {
    const objects = (this.#files.get(file) ?? NOTHING).objects
    const effect = objects.size > 0 ? `; ${STAYS}` : ''
    this.#files.set(file, { objects, problems: [{ file, message: `${message}${effect}` }] })
  }

  remove(file: string): void {
    this.#files.delete(file)
  }

  objectCount(file: string): number {
    return this.#files.get(file)?.objects.size ?? 0
  }

  /**
   * Files in the order of their names; of an object in two files the first counts. Those in `missing` may have been
   * renamed: they fill in what no other file has.
   */
  sum(missing: ReadonlySet<string>): { objects: readonly KubernetesObject[]; problems: readonly Problem[] } {
    const objects = new Map<string, KubernetesObject>()
    const problems: Problem[] = []
    const names = [...this.#files.keys()].sort()
    for (const file of [...names.filter((name) => !missing.has(name)), ...names.filter((name) => missing.has(name))]) {
      const state = this.#files.get(file) ?? NOTHING
      problems.push(...state.problems)
      for (const object of state.objects.values()) {
        const key = objectKey(object)
        const first = objects.get(key)
        if (first === undefined) objects.set(key, object)
        else if (!missing.has(file)) problems.push(duplicate(object, first))
      }
    }
    return { objects: [...objects.values()], problems }
  }
}
