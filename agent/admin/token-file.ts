/** The token of the admin address: in a file, made when there is none to be found, read again when it has been replaced. */
import { randomBytes } from 'node:crypto'
import { existsSync, linkSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { errorLine, WeirError } from '#base'

const TOKEN_BYTES = 32
const MIN_LENGTH = 16
const MAX_LENGTH = 1_024
/** How often the file is looked at, at most. */
const LOOK_MS = 2_000

export class TokenFile {
  readonly #path: string
  readonly #warn: (problem: string) => void
  readonly #now: () => number
  #token: string
  #mark: string
  #lookedAtMs: number

  /**
   * @param canMake whether it is made where it does not exist
   * @throws `WEIR_ADMIN_TOKEN`, one line that names the file, when it cannot be read, made, or is no token
   */
  constructor(path: string, canMake: boolean, warn: (problem: string) => void, now: () => number = Date.now) {
    this.#path = path
    this.#warn = warn
    this.#now = now
    if (canMake) makeToken(path)
    this.#token = readToken(path)
    this.#mark = markOf(path)
    this.#lookedAtMs = now()
  }

  /** A file that has become unreadable, or no token, is told of; the last good one stays. */
  token(): string {
    if (this.#now() - this.#lookedAtMs < LOOK_MS) return this.#token
    this.#lookedAtMs = this.#now()
    try {
      const mark = markOf(this.#path)
      if (mark === this.#mark) return this.#token
      this.#token = readToken(this.#path)
      this.#mark = mark
    } catch (thrown) {
      this.#warn(errorLine(thrown))
    }
    return this.#token
  }
}

function markOf(path: string): string {
  const { mtimeMs, ino, size } = statSync(path)
  return `${mtimeMs} ${ino} ${size}`
}

/** Readable by root only, and never over one that is there; another agent sees it whole, or not at all. */
function makeToken(path: string): void {
  const draft = `${path}.${process.pid}`
  try {
    if (existsSync(path)) return
    rmSync(draft, { force: true })
    writeFileSync(draft, `${randomBytes(TOKEN_BYTES).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' })
    linkSync(draft, path)
  } catch (thrown) {
    if (thrown instanceof Error && 'code' in thrown && thrown.code === 'EEXIST') return
    throw tokenError(`Cannot make the token file ${path}: ${errorLine(thrown)}`)
  } finally {
    rmSync(draft, { force: true })
  }
}

function readToken(path: string): string {
  let text: string
  try {
    text = readFileSync(path, 'utf8').trim()
  } catch (thrown) {
    throw tokenError(`Cannot read the token file ${path}: ${errorLine(thrown)}`)
  }
  if (text.length >= MIN_LENGTH && text.length <= MAX_LENGTH && /^[\x21-\x7e]*$/.test(text)) return text
  throw tokenError(
    `Token file ${path}: expected one line of ${MIN_LENGTH} to ${MAX_LENGTH} visible ASCII characters, as openssl rand -base64 32 prints`,
  )
}

function tokenError(message: string): WeirError {
  return new WeirError('WEIR_ADMIN_TOKEN', message)
}
