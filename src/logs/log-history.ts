/**
 * What a container's files hold now, the oldest first, from a time on or the last of it; and where following goes on
 * from, so that a reader gets each line once.
 */
import { fstatSync, readSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import type { FollowerState } from './container-follower.ts'
import { GzipReader } from './gzip-reader.ts'
import { type JoinBudget, LineDecoder, type LineFormat } from './line-decoder.ts'
import { timeMicros } from './line-time.ts'
import { closeLogs, type LogPlace, type OpenLog, openLogs } from './log-files.ts'
import type { LogLine } from './log-line.ts'

/** A line with its time; lines without one have that of the line before. */
export interface TimedLine {
  readonly micros: number
  readonly line: LogLine
}

export interface HistoryOptions {
  readonly place: LogPlace
  readonly format: LineFormat
  readonly budget: JoinBudget
  /** Microseconds since the epoch; 0: from the beginning. */
  readonly sinceMicros: number
  readonly sliceBytes: number
  /** As `createReadBuffer` makes them; used between two awaits only. */
  readonly buffer: Buffer
  wants(line: LogLine): boolean
}

/** What is held when it is looked backwards for the last lines. */
const MAX_HELD_BYTES = 16 << 20
const FIRST_WINDOW_BYTES = 64 << 10
const SEEK_BYTES = 64 << 10

export class LogHistory {
  readonly #options: HistoryOptions
  readonly #logs: readonly OpenLog[]
  /** By log, what there was at the beginning; 0 for compressed ones, which do not grow. */
  readonly #sizes: readonly number[]
  #decoder: LineDecoder
  #micros = 0
  /** Of the newest file. */
  #end = 0

  constructor(options: HistoryOptions) {
    this.#options = options
    this.#logs = openLogs(options.place)
    this.#sizes = this.#logs.map(({ fd, name }) => (name.gzip ? 0 : fstatSync(fd).size))
    this.#decoder = new LineDecoder(options.format, options.budget)
    this.#end = this.#alignedEnd()
  }

  /** Where a follower goes on when all of it was read, or nothing was asked for. */
  end(): FollowerState {
    const newest = this.#logs.findLast(({ fingerprint, name }) => fingerprint !== '' && !name.gzip)
    const decoder = this.#decoder.state()
    return {
      fingerprint: newest?.fingerprint ?? '',
      offset: newest === undefined ? 0 : this.#end,
      done: this.#logs.map(({ fingerprint }) => fingerprint).filter((one) => one !== '' && one !== newest?.fingerprint),
      ...(decoder === undefined ? {} : { decoder }),
    }
  }

  /** All that is wanted, in blocks. */
  async *lines(): AsyncGenerator<readonly TimedLine[]> {
    const { sinceMicros } = this.#options
    for (const [index, log] of this.#logs.entries()) {
      if (fstatSync(log.fd).mtimeMs * 1000 < sinceMicros) continue
      if (log.name.gzip) yield* this.#gzipLines(log)
      else yield* this.#plainLines(log, this.#seek(log, this.#sizes[index] ?? 0), this.#sizes[index] ?? 0)
    }
  }

  /** The last that are wanted. */
  async last(count: number): Promise<readonly TimedLine[]> {
    const { sinceMicros } = this.#options
    let found: readonly TimedLine[] = []
    const atEnd = { decoder: this.#decoder, end: this.#end }
    for (let index = this.#logs.length - 1; index >= 0 && found.length < count; index--) {
      const log = this.#logs[index]
      if (log === undefined || fstatSync(log.fd).mtimeMs * 1000 < sinceMicros) break
      const before = await this.#lastOf(log, this.#sizes[index] ?? 0, count - found.length)
      // Parts at the end of the newest file belong to whoever goes on from there.
      if (index === this.#logs.length - 1) atEnd.decoder = this.#decoder
      found = [...before, ...found]
    }
    this.#decoder = atEnd.decoder
    this.#end = atEnd.end
    return found
  }

  [Symbol.dispose](): void {
    this.#decoder[Symbol.dispose]()
    closeLogs(this.#logs.filter(({ fd }) => !this.#closed.has(fd)))
  }

  /** Descriptors that a stream has closed. */
  readonly #closed = new Set<number>()

  async #lastOf(log: OpenLog, size: number, count: number): Promise<readonly TimedLine[]> {
    for (let window = FIRST_WINDOW_BYTES; ; window *= 4) {
      const from = Math.max(0, size - window)
      const kept: TimedLine[] = []
      let bytes = 0
      // In the middle of a file the first line may be the end of one that began before.
      const skip = from > 0 && !log.name.gzip
      this.#decoder = new LineDecoder(this.#options.format, this.#options.budget)
      const blocks = log.name.gzip
        ? this.#gzipLines(log)
        : this.#plainLines(log, skip ? lineStart(log.fd, from) : from, size, skip)
      for await (const block of blocks) {
        for (const one of block) {
          kept.push(one)
          bytes += one.line.message.length
          while (kept.length > count || (bytes > MAX_HELD_BYTES && kept.length > 1))
            bytes -= kept.shift()?.line.message.length ?? 0
        }
      }
      if (kept.length >= count || bytes > MAX_HELD_BYTES / 2 || from === 0) return kept
      this.#decoder[Symbol.dispose]()
    }
  }

  async *#plainLines(log: OpenLog, from: number, size: number, midway = false): AsyncGenerator<readonly TimedLine[]> {
    const { buffer, sliceBytes } = this.#options
    const skipped = new Set<string>(midway ? ['stdout', 'stderr'] : [])
    for (let offset = from; offset < size; ) {
      const block: TimedLine[] = []
      const tell = (line: LogLine) => {
        if (!skipped.delete(line.stream)) this.#add(block, line)
      }
      let length = readSync(log.fd, buffer, 0, Math.min(sliceBytes, size - offset), offset)
      let taken = this.#decoder.decode(buffer, length, tell)
      if (taken === 0 && length === sliceBytes) {
        length = readSync(log.fd, buffer, 0, Math.min(buffer.length, size - offset), offset)
        taken = this.#decoder.decode(buffer, length, tell)
      }
      if (taken === 0) return
      offset += taken
      if (block.length > 0) yield block
      await setImmediate()
    }
  }

  async *#gzipLines(log: OpenLog): AsyncGenerator<readonly TimedLine[]> {
    this.#closed.add(log.fd)
    using reader = new GzipReader(log.fd, 0)
    for (let before = 0; ; ) {
      const bytes = await reader.read()
      if (bytes.length === before) return
      const block: TimedLine[] = []
      const taken = this.#decoder.decode(bytes, bytes.length, (line) => this.#add(block, line))
      reader.taken(taken)
      before = bytes.length - taken
      if (block.length > 0) yield block
    }
  }

  #add(block: TimedLine[], line: LogLine): void {
    const { sinceMicros, wants } = this.#options
    const micros = line.time === '' ? this.#micros : timeMicros(line.time)
    if (!Number.isNaN(micros)) this.#micros = micros
    if (this.#micros >= sinceMicros && wants(line)) block.push({ micros: this.#micros, line })
  }

  #timeAt(text: string, at: number): string {
    if (this.#options.format === 'cri') return text.slice(at, Math.max(at, text.indexOf(' ', at)))
    return /"time":"([^"]*)"/.exec(text.slice(at, at + 128))?.[1] ?? ''
  }

  /** Behind the last line feed. */
  #alignedEnd(): number {
    const index = this.#logs.findLastIndex(({ fingerprint, name }) => fingerprint !== '' && !name.gzip)
    const log = this.#logs[index]
    const size = this.#sizes[index] ?? 0
    if (log === undefined) return 0
    const { buffer } = this.#options
    const from = Math.max(0, size - buffer.length)
    const length = readSync(log.fd, buffer, 0, size - from, from)
    return from + buffer.subarray(0, length).lastIndexOf(10) + 1
  }

  /** An offset before which all lines are older. */
  #seek({ fd }: OpenLog, size: number): number {
    const { sinceMicros, buffer } = this.#options
    let [low, high] = [0, sinceMicros > 0 ? size : 0]
    while (high - low > SEEK_BYTES) {
      const middle = Math.floor((low + high) / 2)
      const length = readSync(fd, buffer, 0, SEEK_BYTES, middle)
      const text = buffer.toString('latin1', 0, length)
      const at = text.indexOf('\n') + 1
      const micros = timeMicros(this.#timeAt(text, at))
      // A line too long to see its neighbour, or no time in it: from here on everything is looked at.
      if (at === 0 || Number.isNaN(micros)) break
      if (micros < sinceMicros) low = middle + at
      else high = middle
    }
    return low
  }
}

/** The first line that begins at or after an offset. */
function lineStart(fd: number, from: number): number {
  const bytes = Buffer.allocUnsafe(4096)
  for (let at = from; ; at += bytes.length) {
    const length = readSync(fd, bytes, 0, bytes.length, at)
    const end = bytes.subarray(0, length).indexOf(10)
    if (end >= 0) return at + end + 1
    if (length === 0) return from
  }
}
