/** Processes inside a lab's namespaces: short ones with their output, long ones that are watched and ended. */
import { type ChildProcess, spawn } from 'node:child_process'
import { EventEmitter } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { inNetns } from './lab-network.ts'

export interface ExecResult {
  /** Exit code; -1 when a signal (or the time limit) ended it. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface ExecOptions {
  readonly input?: string
  /** Then the process is killed; 40 000 ms by default. */
  readonly timeoutMs?: number
  readonly env?: Readonly<Record<string, string>>
}

export interface SpawnOptions {
  /** Of its output; `latin1` keeps each byte, as one character. */
  readonly encoding?: 'utf8' | 'latin1'
  readonly env?: Readonly<Record<string, string>>
}

/** Runs a command to its end inside a namespace. Fails only when the command cannot be started. */
export async function execInNetns(
  netns: string,
  command: string,
  args: readonly string[],
  options: ExecOptions = {},
): Promise<ExecResult> {
  const child = new LabProcess(netns, command, args, options.env === undefined ? {} : { env: options.env })
  child.endInput(options.input ?? '')
  const timer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? 40_000)
  try {
    const code = await child.exited
    return { code, stdout: child.stdout, stderr: child.stderr }
  } finally {
    clearTimeout(timer)
  }
}

/** A process inside a namespace; its output is kept. */
export class LabProcess implements AsyncDisposable {
  readonly pid: number
  /** Resolves with the exit code, -1 after a signal, once all output has been read. */
  readonly exited: Promise<number>
  stdout = ''
  stderr = ''
  readonly #child: ChildProcess
  readonly #title: string
  readonly #changes = new EventEmitter()
  #running = true
  #signal: NodeJS.Signals | null = null

  constructor(netns: string, command: string, args: readonly string[], options: SpawnOptions = {}) {
    const [file, fileArgs] = inNetns(netns, command, args, options.env)
    this.#title = `${command} ${args.join(' ')}`.slice(0, 200)
    this.#child = spawn(file, fileArgs, { stdio: 'pipe' })
    this.pid = this.#child.pid ?? -1
    this.#changes.setMaxListeners(0)
    this.#child.stdin?.on('error', () => {})
    const encoding = options.encoding ?? 'utf8'
    this.#child.stdout?.setEncoding(encoding).on('data', (text: string) => {
      this.stdout += text
      if (process.env['WEIR_LAB_VERBOSE'] && encoding === 'utf8') process.stderr.write(text)
      this.#changes.emit('change')
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text
      if (process.env['WEIR_LAB_VERBOSE']) process.stderr.write(text)
      this.#changes.emit('change')
    })
    this.exited = new Promise((resolve, reject) => {
      this.#child.once('error', reject)
      this.#child.once('close', (code, signal) => {
        this.#running = false
        this.#signal = signal
        resolve(code ?? -1)
        this.#changes.emit('change')
      })
    })
    // A caller that never looks at `exited` must not die of it.
    this.exited.catch(() => {})
  }

  get running(): boolean {
    return this.#running
  }

  write(text: string): void {
    this.#child.stdin?.write(text)
  }

  endInput(text = ''): void {
    this.#child.stdin?.end(text)
  }

  kill(signal: NodeJS.Signals): void {
    if (this.#running) this.#child.kill(signal)
  }

  /**
   * Waits until `probe` returns something, asking it after every output. Fails with all output when the process
   * ends first, or after `timeoutMs`.
   */
  async until<T>(what: string, probe: () => T | undefined, timeoutMs = 30_000): Promise<T> {
    const expired = AbortSignal.timeout(timeoutMs)
    for (;;) {
      const value = probe()
      if (value !== undefined) return value
      if (!this.#running || expired.aborted) {
        const why = this.#running ? `not within ${timeoutMs} ms` : `the process ended with ${await this.exited}`
        throw new Error(`Waiting for ${what} failed: ${why}\n${this.output()}`)
      }
      await new Promise<void>((resolve) => {
        const done = () => {
          this.#changes.off('change', done)
          expired.removeEventListener('abort', done)
          resolve()
        }
        this.#changes.once('change', done)
        expired.addEventListener('abort', done)
      })
    }
  }

  /** Waits for a complete line of standard output that `pattern` matches. */
  waitForLine(pattern: RegExp, timeoutMs?: number): Promise<string> {
    const probe = () =>
      this.stdout
        .split('\n')
        .slice(0, -1)
        .find((line) => pattern.test(line))
    return this.until(`a line like ${pattern}`, probe, timeoutMs)
  }

  /** All that it printed, for error messages. */
  output(): string {
    return `--- ${this.#title} (pid ${this.pid}${this.#signal === null ? '' : `, ended by ${this.#signal}`})\n${this.stdout}--- its standard error\n${this.stderr}---`
  }

  /** Asks it to end, kills it when it has not after `graceMs`. @returns the exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = 40_000): Promise<number> {
    this.kill(signal)
    const patience = new AbortController()
    const killer = delay(graceMs, undefined, { signal: patience.signal }).then(
      () => this.kill('SIGKILL'),
      () => {},
    )
    const code = await this.exited
    patience.abort()
    await killer
    return code
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop('SIGKILL')
  }
}
