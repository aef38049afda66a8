/**
 * The revocation list that the node goes by, followed live. Once read, a list stays in force until a good one replaces
 * it, also past its own end: nobody that was revoked comes back because a file was lost, or is late.
 */
import { errorLine } from '#base'
import type { Revocations } from '#contract'
import type { RevocationList } from '#identity/ca'
import { fileState, isMissingFile, readBounded } from '../followed-file.ts'
import { type Clock, systemClock } from './clock.ts'

export interface RevocationWatchOptions {
  readonly file: string
  /** That there is no file means that nobody is revoked; otherwise it is an error. */
  readonly optional: boolean
  /** Certificates of the CAs that may sign the list, PEM; empty while none is known. */
  issuersPem(): string
  /** @throws an error whose message is the end of a sentence about the file */
  read(pem: string, issuersPem: string): Promise<RevocationList>
  /** Another list is in force. */
  onChange(revocations: readonly Revocations[]): void
  /** Another problem, or none: empty. */
  onProblem(line: string): void
  readonly clock?: Clock
}

const LOOK_PERIOD_MS = 2_000
const MAX_FILE_BYTES = 1 << 20
const MISSING = 'is missing: make one where the CA is (weir ca revoke --ca-dir DIR), and copy DIR/ca-crl.pem here'

export class RevocationWatch implements Disposable {
  readonly #options: RevocationWatchOptions
  readonly #clock: Clock
  #revocations: readonly Revocations[] | undefined
  #nextUpdateMs = Number.POSITIVE_INFINITY
  /** Of the file and the CAs, when last looked at. */
  #state = ''
  /** Of the file as it was then. */
  #fault = ''
  #problem = ''
  #timer: Disposable | undefined
  #looking: Promise<void> | undefined
  #disposed = false

  constructor(options: RevocationWatchOptions) {
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#wait()
  }

  /** Undefined until it is known who is revoked: nobody is to be trusted before. */
  get revocations(): readonly Revocations[] | undefined {
    return this.#revocations
  }

  /** One line; empty when there is nothing to say. */
  get problem(): string {
    return this.#problem
  }

  /** Looks now; one look at a time. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  [Symbol.dispose](): void {
    this.#disposed = true
    this.#timer?.[Symbol.dispose]()
  }

  #wait(): void {
    this.#timer = this.#clock.after(LOOK_PERIOD_MS, () => {
      void this.look().then(() => {
        if (!this.#disposed) this.#wait()
      })
    })
  }

  async #look(): Promise<void> {
    const { file, optional } = this.#options
    const issuersPem = this.#options.issuersPem()
    if (issuersPem === '') return
    const written = await fileState(file)
    const state = `${written} ${issuersPem}`
    if (state !== this.#state) {
      this.#state = state
      if (written === '' && optional) this.#take({ revocations: [], nextUpdateMs: Number.POSITIVE_INFINITY })
      else await this.#read(issuersPem)
    }
    if (!this.#disposed) this.#tell()
  }

  async #read(issuersPem: string): Promise<void> {
    try {
      const text = await readBounded(this.#options.file, MAX_FILE_BYTES).catch((thrown: unknown) => {
        throw new Error(isMissingFile(thrown) ? MISSING : `cannot be read: ${errorLine(thrown)}`)
      })
      if (text === undefined) throw new Error('is larger than 1 MiB')
      this.#take(await this.#options.read(text, issuersPem))
    } catch (thrown) {
      this.#fault = errorLine(thrown)
    }
  }

  #take({ revocations, nextUpdateMs }: RevocationList): void {
    this.#fault = ''
    this.#nextUpdateMs = nextUpdateMs
    const same = JSON.stringify(revocations) === JSON.stringify(this.#revocations)
    this.#revocations = revocations
    if (!same && !this.#disposed) this.#options.onChange(revocations)
  }

  #tell(): void {
    const line = this.#describe()
    if (line === this.#problem) return
    this.#problem = line
    this.#options.onProblem(line)
  }

  #describe(): string {
    const { file } = this.#options
    if (this.#fault !== '') {
      const meanwhile =
        this.#revocations === undefined
          ? 'no certificate is used until it can be read'
          : 'the list read before stays in force'
      return `The revocation list ${file} ${this.#fault}; ${meanwhile}`
    }
    if (this.#clock.nowMs() < this.#nextUpdateMs) return ''
    const ended = new Date(this.#nextUpdateMs).toISOString()
    return `The revocation list ${file} was to be replaced by ${ended} and stays in force: put a newer one there`
  }
}
