/**
 * The file with the alert rules, looked at whenever it is asked to. Rules once read stay in force until better ones replace them: a file that
 * is broken, or vanishes, ends no alert.
 */
import { resolve } from 'node:path'
import { parseDocument } from 'yaml'
import { errorLine } from '#base'
import { describeYamlError } from '#discovery'
import { type AlertsFile, parseAlerts } from '#observer/alerts'
import { fileState, readBounded } from '../../followed-file.ts'

export interface RulesFileOptions {
  readonly file: string
  /** Others are in force. */
  onRules(alerts: AlertsFile): void
  /** Others than before; empty: none. One line each. */
  onProblems(lines: readonly string[]): void
}

const MAX_FILE_BYTES = 256 << 10
/** Of more mistakes in a file, the first are told. */
const MAX_PROBLEMS = 20

export class RulesFile implements Disposable {
  readonly #options: RulesFileOptions
  #state = 'none'
  #problems: readonly string[] = []
  #readMs = 0
  #looking: Promise<void> | undefined
  #disposed = false

  constructor(options: RulesFileOptions) {
    this.#options = options
  }

  /** When the rules in force were read, ms since the epoch; 0: none were. */
  get readMs(): number {
    return this.#readMs
  }

  /** What is wrong with the file as it is now. */
  get problems(): readonly string[] {
    return this.#problems
  }

  /** Looks now; one look at a time. Never rejects. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  [Symbol.dispose](): void {
    this.#disposed = true
  }

  async #look(): Promise<void> {
    const { file } = this.#options
    const state = await fileState(file)
    if (state === this.#state || this.#disposed) return
    this.#state = state
    if (state === '') {
      // Where there never was one, nobody has written rules: a ConfigMap may be optional.
      this.#tell(this.#readMs === 0 ? [] : ['has vanished; to end its alerts put a file there that says "rules: []"'])
      return
    }
    const read = await readRules(file)
    if (this.#disposed) return
    if (!('rules' in read)) {
      this.#tell(read)
      return
    }
    this.#readMs = Date.now()
    this.#tell([])
    this.#options.onRules(read)
  }

  #tell(lines: readonly string[]): void {
    if (lines.length === 0 && this.#problems.length === 0) return
    this.#problems = lines
    this.#options.onProblems(lines)
  }
}

async function readRules(file: string): Promise<AlertsFile | readonly string[]> {
  let value: unknown
  try {
    const text = await readBounded(file, MAX_FILE_BYTES)
    if (text === undefined) return [`is larger than ${MAX_FILE_BYTES >> 10} KiB`]
    const document = parseDocument(text, { logLevel: 'silent', stringKeys: true })
    const [error] = document.errors
    if (error !== undefined) return [describeYamlError(error)]
    value = document.toJS({ maxAliasCount: 100 })
  } catch (thrown) {
    return [`cannot be read: ${errorLine(thrown)}`]
  }
  const parsed = parseAlerts(value)
  if (parsed.kind === 'issues') {
    return parsed.issues
      .slice(0, MAX_PROBLEMS)
      .map(({ field, message }) => (field === '' ? message : `${field}: ${message}`))
  }
  const { webhook, rules } = parsed.alerts
  if (webhook === undefined) return { webhook, rules }
  // Beside the rules: in a cluster both are mounted from one place.
  const beside = (path: string | undefined) => (path === undefined ? undefined : resolve(file, '..', path))
  const { bearerTokenFile, caFile } = webhook
  return { rules, webhook: { ...webhook, bearerTokenFile: beside(bearerTokenFile), caFile: beside(caFile) } }
}
