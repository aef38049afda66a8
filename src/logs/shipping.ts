/** Sends all lines on to one sink, from where it was when it was stopped; the sink decides when it takes more. */
import type { FollowerState } from './container-follower.ts'
import type { LogLine } from './log-line.ts'
import { readPlaces, type WrittenFile, writePlaces } from './place-file.ts'
import type { ReadTarget } from './read-logs.ts'
import { Tailer } from './tailer.ts'

export interface LogSink {
  line(target: ReadTarget, line: LogLine): void
  /** All lines so far are where they should be (or counted as lost); undefined: they are, already. */
  settle(isIdle: boolean): Promise<void> | undefined
  /** Lines that are not there yet. */
  readonly pending: number
  /** What of a file is written. */
  written?(): WrittenFile
  counts(): SinkCounts
  /** No more waiting: what is pending stays so. */
  stop(): void
  [Symbol.dispose](): void
}

export interface SinkCounts {
  readonly sent: number
  readonly lost: number
  /** What is wrong with where it goes to; empty while nothing is. */
  readonly problem: string
}

export interface ShippingOptions {
  /** Where its place is kept. */
  readonly placesPath: string
  /** @param written of the last run; @param remember to be called when the sink's own place must be kept at once */
  readonly openSink: (written: WrittenFile | undefined, remember: () => void) => LogSink | Promise<LogSink>
  readonly onProblem: (problem: string) => void
  readonly now: () => number
}

/** How much is sent twice after a crash, at most, where the sink cannot be set back. */
const SAVE_MS = 1_000

export class Shipping {
  readonly #options: ShippingOptions
  readonly #tailer: Tailer<ReadTarget>
  /** Of containers that have not been seen yet since the start. */
  readonly #before: Map<string, FollowerState>
  readonly #written: WrittenFile | undefined
  #sink: LogSink | undefined
  #savedAt = 0
  #isDirty = false
  #hasTargets = false

  constructor(options: ShippingOptions) {
    this.#options = options
    const places = readPlaces(options.placesPath)
    this.#before = new Map(Object.entries(places?.followed ?? {}))
    this.#written = places?.written
    this.#tailer = new Tailer<ReadTarget>({
      taker: {
        line: (target, line) => {
          this.#isDirty = true
          this.#sink?.line(target, line)
        },
        sliceEnded: () => this.#settle(false),
        idle: () => this.#settle(true),
      },
      resume: ({ key }) => this.#before.get(key),
      now: options.now,
    })
  }

  /** @throws when the sink cannot be opened */
  async start(): Promise<void> {
    this.#sink = await this.#options.openSink(this.#written, () => this.#save())
    this.#tailer.start()
  }

  setTargets(targets: readonly ReadTarget[]): void {
    this.#tailer.setTargets(targets)
    const present = new Set(targets.map(({ key }) => key))
    // Right after a start the cluster may not have told of all pods yet.
    if (this.#hasTargets) for (const key of this.#before.keys()) if (!present.has(key)) this.#before.delete(key)
    this.#hasTargets ||= targets.length > 0
  }

  counts(): SinkCounts & { readonly malformed: number; readonly missed: number } {
    const sink = this.#sink?.counts() ?? { sent: 0, lost: 0, problem: '' }
    return { ...sink, ...this.#tailer.counts() }
  }

  async stop(): Promise<void> {
    this.#sink?.stop()
    await this.#tailer.stop()
    if (this.#sink === undefined) return
    if (this.#sink.pending === 0) this.#save()
    this.#tailer[Symbol.dispose]()
    this.#sink[Symbol.dispose]()
  }

  async #settle(isIdle: boolean): Promise<void> {
    await this.#sink?.settle(isIdle)
    if (!this.#isDirty || this.#sink === undefined || this.#sink.pending > 0) return
    if (this.#options.now() - this.#savedAt < SAVE_MS) return
    this.#save()
  }

  #save(): void {
    const written = this.#sink?.written?.()
    try {
      const followed = { ...Object.fromEntries(this.#before), ...this.#tailer.states() }
      writePlaces(this.#options.placesPath, { version: 1, followed, ...(written === undefined ? {} : { written }) })
      this.#isDirty = false
      this.#savedAt = this.#options.now()
    } catch (thrown) {
      this.#options.onProblem(`Places of log shipping not kept in ${this.#options.placesPath}: ${String(thrown)}`)
    }
  }
}
