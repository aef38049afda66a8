/**
 * Follows many containers, in turns of one slice each, so that a loud one holds up nobody for longer than that. Where
 * whoever takes the lines asks it to wait, it waits: the files hold what is to come.
 */
import { setImmediate, setTimeout as sleep } from 'node:timers/promises'
import { ChangeHints } from './change-hints.ts'
import { ContainerFollower, createReadBuffer, type FollowerState } from './container-follower.ts'
import { JoinBudget, type LineFormat } from './line-decoder.ts'
import type { LogPlace } from './log-files.ts'
import type { LogLine } from './log-line.ts'

export interface TailTarget {
  readonly key: string
  readonly place: LogPlace
  readonly format: LineFormat
}

export interface TailTaker<T extends TailTarget> {
  line(target: T, line: LogLine): void
  /** After each slice; nothing is read until it resolves. */
  sliceEnded?(): Promise<void> | undefined
  /** There is nothing to read for now. */
  idle?(): Promise<void> | undefined
}

export interface TailerOptions<T extends TailTarget> {
  readonly taker: TailTaker<T>
  /** Where to go on with a target; undefined: from its beginning. */
  readonly resume: (target: T) => FollowerState | undefined
  readonly now: () => number
  /** Latest look at folders that tell nothing. Default 250. */
  readonly pollMs?: number
  /** Latest look at all folders. Default 2 000. */
  readonly fullPollMs?: number
}

/** All unfinished lines together. */
const MAX_JOIN_BYTES = 32 << 20
/** Others of this thread wait no longer. */
const TURN_MS = 10
const GATHER_MS = 20

interface Followed<T> {
  target: T
  readonly follower: ContainerFollower
  /** No longer among the targets: gone when all of it was read. */
  leaving: boolean
}

export class Tailer<T extends TailTarget> {
  readonly #options: TailerOptions<T>
  readonly #budget = new JoinBudget(MAX_JOIN_BYTES)
  readonly #buffer = createReadBuffer()
  readonly #followed = new Map<string, Followed<T>>()
  readonly #byFolder = new Map<string, string>()
  readonly #hinted = new Set<string>()
  readonly #hints: ChangeHints
  #wake: (() => void) | undefined
  #stopped = false
  #running: Promise<void> | undefined
  #missed = 0
  #malformed = 0

  constructor(options: TailerOptions<T>) {
    this.#options = options
    this.#hints = new ChangeHints((folder) => {
      const key = this.#byFolder.get(folder)
      if (key === undefined) return
      this.#hinted.add(key)
      this.#wake?.()
    }, options.now)
  }

  /** Lines that were not of the format, and files of which something is missing. */
  counts(): { readonly malformed: number; readonly missed: number; readonly joinBytes: number } {
    const all = [...this.#followed.values()].map(({ follower }) => follower)
    const malformed = all.reduce((sum, one) => sum + one.malformed, this.#malformed)
    return {
      malformed,
      missed: all.reduce((sum, one) => sum + one.missed, this.#missed),
      joinBytes: this.#budget.bytes,
    }
  }

  /** These are followed from now on; those that are not among them any more until their end. */
  setTargets(targets: readonly T[]): void {
    const wanted = new Set(targets.map(({ key }) => key))
    for (const [key, followed] of this.#followed) followed.leaving = !wanted.has(key)
    for (const target of targets) {
      const { key, place, format } = target
      const known = this.#followed.get(key)
      if (known !== undefined) {
        known.target = target
        continue
      }
      const { now } = this.#options
      const state = this.#options.resume(target)
      const follower = new ContainerFollower({ place, format, budget: this.#budget, now, state })
      this.#followed.set(key, { target, follower, leaving: false })
      this.#byFolder.set(place.folder, key)
      this.#hinted.add(key)
    }
    this.#hints.set(targets.map(({ place }) => place.folder))
    this.#wake?.()
  }

  /** Of all that are followed, by key. Only meaningful from within the taker, or when it has stopped. */
  states(): Record<string, FollowerState> {
    return Object.fromEntries([...this.#followed].map(([key, { follower }]) => [key, follower.state()]))
  }

  start(): void {
    this.#running = this.#run()
  }

  /** Resolves when the slice in hand is done. Rejects for what the taker threw. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#wake?.()
    this.#hints[Symbol.dispose]()
    await this.#running
  }

  /** After `stop`. */
  [Symbol.dispose](): void {
    for (const { follower } of this.#followed.values()) follower[Symbol.dispose]()
    this.#followed.clear()
  }

  /** Rejects when it ends by itself: for what the taker threw. */
  get ended(): Promise<void> {
    return this.#running ?? Promise.resolve()
  }

  async #run(): Promise<void> {
    const { now, pollMs = 250, fullPollMs = 2_000 } = this.#options
    let fullAt = 0
    while (!this.#stopped) {
      const isFull = now() >= fullAt || now() < fullAt - fullPollMs
      if (isFull) fullAt = now() + fullPollMs
      const due = [...this.#followed]
        .filter(
          ([key, { target, leaving }]) =>
            isFull || leaving || this.#hinted.has(key) || !this.#hints.covers(target.place.folder),
        )
        .map(([key]) => key)
      this.#hinted.clear()
      await this.#readAll(due)
      this.#hints.roundEnded()
      if (this.#stopped) return
      await this.#options.taker.idle?.()
      await this.#rest(pollMs)
    }
  }

  /** Until none of them has more. */
  async #readAll(keys: readonly string[]): Promise<void> {
    const { taker, now } = this.#options
    let turnEnds = now() + TURN_MS
    let busy = keys
    while (busy.length > 0) {
      const still: string[] = []
      for (const key of busy) {
        const followed = this.#followed.get(key)
        if (followed === undefined) continue
        const more = await followed.follower.read(this.#buffer, (line) => taker.line(followed.target, line))
        if (more) {
          still.push(key)
          await taker.sliceEnded?.()
        } else if (followed.leaving) this.#drop(key, followed)
        if (this.#stopped) return
        if (now() < turnEnds) continue
        await setImmediate()
        turnEnds = now() + TURN_MS
      }
      busy = still
    }
  }

  #drop(key: string, { target, follower }: Followed<T>): void {
    this.#missed += follower.missed
    this.#malformed += follower.malformed
    follower[Symbol.dispose]()
    this.#followed.delete(key)
    this.#byFolder.delete(target.place.folder)
  }

  async #rest(ms: number): Promise<void> {
    if (this.#hinted.size === 0) {
      const { promise, resolve } = Promise.withResolvers<void>()
      const timer = setTimeout(resolve, ms)
      this.#wake = resolve
      await promise
      clearTimeout(timer)
      this.#wake = undefined
    }
    // What is told of comes with more like it.
    if (this.#hinted.size > 0 && !this.#stopped) await sleep(GATHER_MS)
  }
}
