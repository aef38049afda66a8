/** Lines as JSON into a file. While it cannot be written, what is to come waits in the pods' own files. */
import { setTimeout as sleep } from 'node:timers/promises'
import { errorLine } from '#base'
import { JsonFile } from './json-file.ts'
import type { LogLine } from './log-line.ts'
import { renderLine } from './log-record.ts'
import type { WrittenFile } from './place-file.ts'
import type { ReadTarget } from './read-logs.ts'
import type { LogSink, SinkCounts } from './shipping.ts'

export interface FileSinkOptions {
  readonly path: string
  readonly maxBytes: number
  readonly files: number
  readonly written: WrittenFile | undefined
  remember(): void
  onProblem(problem: string): void
}

const RETRY_MS = 1_000

export class FileSink implements LogSink {
  readonly #options: FileSinkOptions
  readonly #file: JsonFile
  readonly #stopped = new AbortController()
  #sent = 0
  #problem = ''
  pending = 0

  /** @throws as the file system does */
  constructor(options: FileSinkOptions) {
    this.#options = options
    const { path, maxBytes, files, written, remember } = options
    this.#file = new JsonFile({ path, maxBytes, files, since: written, onRotation: remember })
  }

  line(target: ReadTarget, line: LogLine): void {
    this.#file.append(`${renderLine(line, target.owner)}\n`)
    this.pending++
  }

  settle(): Promise<void> | undefined {
    return this.#flush() ? undefined : this.#retry()
  }

  written(): WrittenFile {
    return this.#file.written()
  }

  counts(): SinkCounts {
    return { sent: this.#sent, lost: 0, problem: this.#problem }
  }

  stop(): void {
    this.#stopped.abort()
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]()
  }

  #flush(): boolean {
    try {
      this.#file.flush()
      this.#sent += this.pending
      this.pending = 0
      this.#problem = ''
      return true
    } catch (thrown) {
      const problem = `Log file ${this.#options.path} not written: ${errorLine(thrown)}`
      if (problem !== this.#problem) this.#options.onProblem(problem)
      this.#problem = problem
      return false
    }
  }

  async #retry(): Promise<void> {
    do await sleep(RETRY_MS, undefined, { signal: this.#stopped.signal }).catch(() => undefined)
    while (!this.#stopped.signal.aborted && !this.#flush())
  }
}
