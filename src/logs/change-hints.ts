/**
 * Tells which folders something was written in, as far as inotify has room for them; the others have to be looked at
 * (`covers`). A folder that tells too much is not watched for a while: looking is cheaper than being told each write.
 */
import { type FSWatcher, watch } from 'node:fs'

/** What one round of looking costs is less than this many events. */
const MAX_EVENTS = 20
/** Not watched for so long after that many. */
const PAUSE_MS = 5_000
const RETRY_MS = 60_000

interface Watched {
  readonly watcher: FSWatcher
  events: number
}

export class ChangeHints {
  readonly #onChange: (folder: string) => void
  readonly #now: () => number
  readonly #watch: typeof watch
  readonly #watched = new Map<string, Watched>()
  /** Folders that are looked at, until when. */
  readonly #paused = new Map<string, number>()
  #fullUntil = 0

  /** @param watchFolder `watch` of node:fs */
  constructor(onChange: (folder: string) => void, now: () => number, watchFolder: typeof watch = watch) {
    this.#onChange = onChange
    this.#now = now
    this.#watch = watchFolder
  }

  covers(folder: string): boolean {
    return this.#watched.has(folder)
  }

  /** Watches these and no others. */
  set(folders: Iterable<string>): void {
    const wanted = new Set(folders)
    for (const folder of [...this.#watched.keys()]) if (!wanted.has(folder)) this.#drop(folder)
    for (const folder of [...this.#paused.keys()]) if (!wanted.has(folder)) this.#paused.delete(folder)
    const now = this.#now()
    for (const folder of wanted) {
      if (now < this.#fullUntil) return
      if (this.#watched.has(folder) || (this.#paused.get(folder) ?? 0) > now) continue
      this.#paused.delete(folder)
      this.#add(folder)
    }
  }

  /** Once per round: what was told too often since the last is looked at instead. */
  roundEnded(): void {
    for (const [folder, watched] of this.#watched) {
      if (watched.events > MAX_EVENTS) {
        this.#drop(folder)
        this.#paused.set(folder, this.#now() + PAUSE_MS)
      } else watched.events = 0
    }
  }

  [Symbol.dispose](): void {
    for (const folder of [...this.#watched.keys()]) this.#drop(folder)
  }

  #add(folder: string): void {
    try {
      const watcher = this.#watch(folder, { persistent: false }, () => {
        watched.events++
        if (watched.events <= MAX_EVENTS + 1) this.#onChange(folder)
      })
      const watched: Watched = { watcher, events: 0 }
      watcher.on('error', () => this.#drop(folder))
      this.#watched.set(folder, watched)
    } catch (thrown) {
      // fs.inotify.max_user_watches or max_user_instances: others may give some back later.
      const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined
      if (code === 'ENOSPC' || code === 'EMFILE') this.#fullUntil = this.#now() + RETRY_MS
    }
  }

  #drop(folder: string): void {
    this.#watched.get(folder)?.watcher.close()
    this.#watched.delete(folder)
  }
}
