/**
 * Follows one container from file to file: each line once, whatever becomes of the files. A file that is renamed,
 * compressed or copied and truncated is found again by its fingerprint; the next is begun when nothing more comes here.
 */
import { closeSync, fstatSync, readSync, statSync } from 'node:fs'
import { GzipReader } from './gzip-reader.ts'
import { DECODE_BYTES, type DecoderState, type JoinBudget, LineDecoder, type LineFormat } from './line-decoder.ts'
import { closeLogs, type LogPlace, type OpenLog, openLogs, readHead } from './log-files.ts'
import type { LogLine } from './log-line.ts'

/** Where it is; kept over restarts. */
export interface FollowerState {
  /** Of the file it reads; empty: of none. */
  readonly fingerprint: string
  /** Bytes of that file, uncompressed, that were told. */
  readonly offset: number
  /** Files that are done. */
  readonly done: readonly string[]
  readonly decoder?: DecoderState
}

export interface FollowerOptions {
  readonly place: LogPlace
  readonly format: LineFormat
  readonly budget: JoinBudget
  /** Where to go on; absent: from the beginning of the oldest file. */
  readonly state?: FollowerState | undefined
  readonly now: () => number
}

/** Bytes read at once: what others wait for at most. */
const SLICE_BYTES = 256 << 10
/** A rotated file in which nothing was written for so long is done: its writer has gone on to the next. */
const QUIET_MS = 1_000
/** Folders change within the clock's granularity: a listing is believed when the folder was at rest before it. */
const SETTLED_MS = 100
/** A kubelet keeps some five files of a container. */
const MAX_DONE = 64

/** One for all followers of a thread. */
export function createReadBuffer(): Buffer {
  return Buffer.allocUnsafeSlow(DECODE_BYTES)
}

interface Current {
  readonly log: OpenLog
  readonly gzip: GzipReader | undefined
  offset: number
  /** The folder holds what follows it. */
  hasNext: boolean
}

export class ContainerFollower {
  readonly #options: FollowerOptions
  readonly #decoder: LineDecoder
  readonly #done: Set<string>
  #resume: { readonly fingerprint: string; readonly offset: number } | undefined
  #current: Current | undefined
  #listedAt = -1
  #folderTime = -1
  /** Files of which something could not be read: gone, or truncated with no copy left. */
  missed = 0

  constructor(options: FollowerOptions) {
    const { format, budget, state } = options
    this.#options = options
    this.#decoder = new LineDecoder(format, budget, state?.decoder)
    this.#done = new Set(state?.done)
    if (state !== undefined && state.fingerprint !== '') this.#resume = state
  }

  get malformed(): number {
    return this.#decoder.malformed
  }

  state(): FollowerState {
    const decoder = this.#decoder.state()
    return {
      fingerprint: this.#current?.log.fingerprint ?? this.#resume?.fingerprint ?? '',
      offset: this.#current?.offset ?? this.#resume?.offset ?? 0,
      done: [...this.#done],
      ...(decoder === undefined ? {} : { decoder }),
    }
  }

  /**
   * Tells the lines of one slice. Answers whether there may be more at once.
   * @param buffer of `createReadBuffer`; not kept
   */
  async read(buffer: Buffer, tell: (line: LogLine) => void): Promise<boolean> {
    const current = this.#current ?? this.#open()
    if (current === undefined) return false
    if (await this.#readSlice(current, buffer, tell)) return true
    if (this.#current !== current) return true
    if (!current.hasNext) {
      if (!this.#findNext(current)) return false
      current.hasNext = true
      // What was written before the next file came to be.
      if (await this.#readSlice(current, buffer, tell)) return true
    }
    return this.#goOn(current, buffer, tell)
  }

  [Symbol.dispose](): void {
    this.#close()
    this.#decoder[Symbol.dispose]()
  }

  async #readSlice(current: Current, buffer: Buffer, tell: (line: LogLine) => void): Promise<boolean> {
    if (current.gzip !== undefined) {
      const bytes = await current.gzip.read()
      const taken = this.#decoder.decode(bytes, bytes.length, tell)
      current.gzip.taken(taken)
      current.offset += taken
      // Without a whole line in it, it is read again, longer, unless it has ended.
      return taken > 0 || (bytes.length > 0 && (await current.gzip.read()).length > bytes.length)
    }
    const { fd } = current.log
    let length = readSync(fd, buffer, 0, SLICE_BYTES, current.offset)
    if (length === 0 ? fstatSync(fd).size < current.offset : !readHead(fd).equals(current.log.head)) {
      this.#relocate(current, tell)
      return false
    }
    let taken = this.#decoder.decode(buffer, length, tell)
    if (taken === 0 && length === SLICE_BYTES) {
      length = readSync(fd, buffer, 0, buffer.length, current.offset)
      taken = this.#decoder.decode(buffer, length, tell)
    }
    current.offset += taken
    return taken > 0
  }

  /** The file that was begun, or else the oldest that is not done. */
  #open(): Current | undefined {
    if (!this.#hasChanged()) return undefined
    const logs = openLogs(this.#options.place)
    const resume = this.#resume
    if (resume !== undefined) {
      // Of a copy and its original, the original: it may go on.
      const found = logs.findLast(({ fingerprint }) => fingerprint === resume.fingerprint)
      if (logs.length === 0) return undefined
      this.#resume = undefined
      if (found !== undefined) return this.#take(found, resume.offset, logs)
      this.#lose(resume.fingerprint)
    }
    const next = logs.find(({ fingerprint }) => fingerprint !== '' && !this.#done.has(fingerprint))
    if (next !== undefined) return this.#take(next, 0, logs)
    closeLogs(logs)
    return undefined
  }

  #take(log: OpenLog, offset: number, logs: readonly OpenLog[]): Current {
    closeLogs(logs.filter((other) => other !== log))
    const gzip = log.name.gzip ? new GzipReader(log.fd, offset) : undefined
    this.#current = { log, gzip, offset, hasNext: false }
    // What comes after it was not looked for.
    this.#folderTime = -1
    return this.#current
  }

  #findNext({ log }: Current): boolean {
    if (!this.#hasChanged()) return false
    const logs = openLogs(this.#options.place)
    closeLogs(logs)
    // One that has no whole line yet is looked at again, though that will not change the folder.
    if (logs.some(({ fingerprint }) => fingerprint === '')) this.#folderTime = -1
    return logs.some(({ fingerprint: one }) => one !== '' && one !== log.fingerprint && !this.#done.has(one))
  }

  async #goOn(current: Current, buffer: Buffer, tell: (line: LogLine) => void): Promise<boolean> {
    const { log, gzip } = current
    if (gzip !== undefined) this.#decoder.tellRest(await gzip.read(), tell)
    else {
      const writtenAgoMs = this.#options.now() - fstatSync(log.fd).mtimeMs
      if (writtenAgoMs >= 0 && writtenAgoMs < QUIET_MS) return false
      const rest = readSync(log.fd, buffer, 0, buffer.length, current.offset)
      this.#decoder.tellRest(buffer.subarray(0, rest), tell)
    }
    this.#finish(log.fingerprint)
    const next = this.#open()
    // Parts of a line may be in two files, but of one run of the container.
    if (next !== undefined && next.log.name.attempt !== log.name.attempt) this.#decoder.tellTorn(tell)
    return next !== undefined
  }

  /** The file was truncated: what was not read of it is in a copy, or nowhere. */
  #relocate(current: Current, tell: (line: LogLine) => void): void {
    const { log, offset } = current
    const logs = openLogs(this.#options.place)
    const copy = logs.find(({ fingerprint, inode }) => fingerprint === log.fingerprint && inode !== log.inode)
    this.#close()
    if (copy !== undefined) {
      this.#take(copy, offset, logs)
      return
    }
    closeLogs(logs)
    this.#decoder.tellTorn(tell)
    this.#lose(log.fingerprint)
    this.#folderTime = -1
  }

  #lose(fingerprint: string): void {
    this.missed++
    this.#finish(fingerprint)
  }

  #finish(fingerprint: string): void {
    this.#close()
    this.#done.add(fingerprint)
    const [oldest] = this.#done
    if (this.#done.size > MAX_DONE && oldest !== undefined) this.#done.delete(oldest)
    this.#folderTime = -1
  }

  #close(): void {
    const current = this.#current
    this.#current = undefined
    if (current?.gzip !== undefined) current.gzip[Symbol.dispose]()
    else if (current !== undefined) closeSync(current.log.fd)
  }

  /** Has the folder changed since it was listed? A file that had no whole line then may have one now. */
  #hasChanged(): boolean {
    const { place, now } = this.#options
    if (this.#current === undefined || place.only !== undefined) return true
    let time = 0
    try {
      time = statSync(place.folder).mtimeMs
    } catch {
      return false
    }
    if (time === this.#folderTime && this.#listedAt - time > SETTLED_MS) return false
    this.#folderTime = time
    this.#listedAt = now()
    return true
  }
}
